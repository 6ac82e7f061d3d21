"""Knet's sentiment classifier of film reviews: accuracy over seeds, with padding and ragged, and its time beside PyTorch."""

import json
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numba
import numpy as np

import numbarnn as nr

from .turns import Worker

WORDS, STEPS, EMBEDDING, HIDDEN, RATE, BATCH = 30_000, 150, 125, 100, 0.001, 64  # Knet's
SPECIAL = ("<padding>", "<start>", "<unknown>")
UPDATES = 8  # of one library, before it is the other's turn
KNET = 0.853  # its test accuracy
KEPT = Path(__file__).parent / "results" / "sentiment.json"
FORMS = {  # what is read of a review, and Adam's rate
    "padded": (f"{STEPS} words, padded", RATE),
    "cosine": (f"{STEPS} words, padded, the rate falling along a cosine", nr.cosine(RATE)),
    "ragged": ("whole, ragged", RATE),
}


def as_indices(reviews, words=WORDS):
    """Reviews of ``nr.datasets.imdb`` as a Ragged of indices: 1, then the words; rank 1 is 3, and 2 whatever is too rare.

    Parameters
    ----------
    reviews : Reviews
    words : int
        How many indices there are, those three included.
    """
    starts = reviews.offsets[:-1]
    indices = np.minimum(reviews.ranks, words) + 2
    indices = np.insert(np.where(indices < words, indices, 2), starts, 1)
    return nr.Ragged(indices.astype(np.uint16), np.append(starts, len(reviews.ranks)) + np.arange(len(reviews) + 1))


def network(seed=0, words=WORDS, embedding=EMBEDDING, hidden=HIDDEN):
    """Embedding, GRU, the last state, two logits."""
    return nr.Network([nr.Embedding(words, embedding), nr.GRU(hidden), nr.Last(), nr.Dense(2)], seed=seed)


def train(x, labels, test, test_labels, epochs, seed, rate=RATE, **sizes):
    """Loss, test accuracy and seconds of each epoch, and seconds of testing."""
    net = network(seed, **sizes)
    accuracies, testing = [], []

    def measure(net, history):
        start = time.perf_counter()
        accuracies.append(nr.accuracy(net.predict(test), test_labels))
        testing.append(time.perf_counter() - start)

    history = net.fit(
        x, labels, "cross_entropy", nr.Adam(rate), epochs, BATCH, seed=seed, callbacks=[measure], progress=False
    )
    return {"loss": history.loss, "accuracy": accuracies, "seconds": history.seconds, "testing": statistics.median(testing)}


def _padded_training_set():
    reviews = nr.datasets.imdb().train
    return nr.padded(as_indices(reviews), STEPS), reviews.labels


@dataclass(frozen=True)
class Paced(nr.CrossEntropy):
    """A cross entropy that waits before each batch: one training, of which some updates are made at a time."""

    waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    permits: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def of_rows(self, logits, labels):
        self.waiting.release()
        self.permits.acquire()
        return super().of_rows(logits, labels)

    def advance(self, updates):
        """Let the training make so many updates."""
        for _ in range(updates):
            self.waiting.acquire()
            self.permits.release()
        self.waiting.acquire()
        self.waiting.release()


def numbarnn_library(threads):
    """Our trainer: seconds of some updates."""
    numba.set_num_threads(threads)
    loss = Paced()

    def fit():
        numba.set_num_threads(threads)
        network().fit(*_padded_training_set(), loss, nr.Adam(RATE), 1000, BATCH, progress=False)

    threading.Thread(target=fit, daemon=True).start()

    def work():
        start = time.perf_counter()
        loss.advance(UPDATES)
        return time.perf_counter() - start

    return work


def torch_library(threads, sparse=False):
    """PyTorch's trainer: seconds of some updates."""
    import torch

    torch.set_num_threads(threads)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(WORDS, EMBEDDING, sparse=sparse)
            self.gru, self.out = torch.nn.GRU(EMBEDDING, HIDDEN), torch.nn.Linear(HIDDEN, 2)

        def forward(self, x):
            return self.out(self.gru(self.embedding(x))[0][-1])

    torch.manual_seed(0)
    model = Model()
    if sparse:
        others = [*model.gru.parameters(), *model.out.parameters()]
        optimizers = torch.optim.SparseAdam(model.embedding.parameters(), RATE), torch.optim.Adam(others, RATE)
    else:
        optimizers = (torch.optim.Adam(model.parameters(), RATE),)
    x, labels = (torch.from_numpy(array.astype(np.int64)) for array in _padded_training_set())

    def batches():
        while True:
            yield from torch.randperm(len(labels)).split(BATCH)

    left = batches()

    def work():
        start = time.perf_counter()
        for _ in range(UPDATES):
            chosen = next(left)
            for optimizer in optimizers:
                optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[:, chosen]), labels[chosen]).backward()
            for optimizer in optimizers:
                optimizer.step()
        return time.perf_counter() - start

    return work


def torch_sparse_library(threads):
    """PyTorch's trainer with its sparse gradient and its SparseAdam."""
    return torch_library(threads, sparse=True)


MAKERS = {"numbarnn": numbarnn_library, "torch": torch_library, "torch, sparse": torch_sparse_library}
LABELS = {"numbarnn": "numbarnn", "torch": "PyTorch, Adam", "torch, sparse": "PyTorch, sparse gradient and SparseAdam"}


def times(turns):
    """{library: seconds of some updates, each time}, by turns, each in a process of its own on the same processors."""
    threads = numba.get_num_threads()
    workers = {name: Worker(make, threads) for name, make in MAKERS.items()}
    for worker in workers.values():
        worker()  # compilation, and memory that is touched for the first time
    seconds = {name: [] for name in workers}
    for _ in range(turns):
        for name, worker in workers.items():
            seconds[name].append(worker())
    for worker in workers.values():
        worker.close()
    return seconds


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ragged-seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--turns", type=int, default=60, help=f"of each library, {UPDATES} updates each")
    parts = ("times", *FORMS)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="the others are those that are kept")


def run(seeds, ragged_seeds, epochs, turns, only):
    """Accuracies over seeds, of the forms of the reviews, and the times of our and PyTorch's updates."""
    result = {"updates": UPDATES, "runs": {}} if set(only) == {"times", *FORMS} else json.loads(KEPT.read_text())
    if "times" in only:
        result["seconds"] = seconds = times(turns)
        result["ratios"] = {
            name: [theirs / ours for ours, theirs in zip(seconds["numbarnn"], seconds[name])] for name in list(MAKERS)[1:]
        }
    reviews = nr.datasets.imdb()
    labels = reviews.train.labels, reviews.test.labels
    for form in (form for form in FORMS if form in only):
        x, test = (as_indices(part) for part in (reviews.train, reviews.test))
        if form != "ragged":
            x, test = nr.padded(x, STEPS), nr.padded(test, STEPS)
        count = ragged_seeds if form == "ragged" else seeds
        result["runs"][form] = [train(x, labels[0], test, labels[1], epochs, seed, FORMS[form][1]) for seed in range(count)]
    return result


def spread(values):
    """Mean, and least and most of several."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def table(result):
    """The result as lines of Markdown."""
    runs = result["runs"]
    epochs = len(runs["padded"][0]["loss"])
    head = " | ".join(f"after epoch {epoch}" for epoch in range(1, epochs + 1))
    lines = [f"Test accuracy, mean over seeds (least to most); Knet's program: {KNET}", ""]
    lines += [f"| reviews | seeds | {head} | an epoch | testing |", "|---" * (epochs + 4) + "|"]
    for form, (title, _) in FORMS.items():
        cells = [spread([one["accuracy"][epoch] for one in runs[form]]) for epoch in range(epochs)]
        epoch = statistics.median(s for one in runs[form] for s in one["seconds"])
        testing = statistics.median(one["testing"] for one in runs[form])
        lines.append(f"| {title} | {len(runs[form])} | {' | '.join(cells)} | {epoch:.1f} s | {testing:.1f} s |")
    lines += ["", f"Padded reviews, {result['updates']} updates by turns, a process each; medians:", ""]
    lines += ["| | an update | the fastest | 25,000 reviews | time to ours |", "|---|---|---|---|---|"]
    for name, seconds in result["seconds"].items():
        middle = statistics.median(seconds)
        ratios = result["ratios"].get(name)
        ratio = "" if ratios is None else f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        update, fastest = middle / result["updates"], min(seconds) / result["updates"]
        epoch = update * 25_000 / BATCH
        lines.append(f"| {LABELS[name]} | {1e3 * update:.1f} ms | {1e3 * fastest:.1f} ms | {epoch:.1f} s | {ratio} |")
    return "\n".join(lines)
