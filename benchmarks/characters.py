"""A character model of Shakespeare, three LSTM layers of 512 units: loss over passes, and the time of one beside PyTorch."""

import math
import os
import statistics
import time

import numba
import numpy as np

import numbarnn as nr

from .turns import Worker

STEPS, EMBEDDING, HIDDEN, LAYERS, RATE, CLIP = 100, 128, 512, 3, 0.002, 1.0
PART = 50_000  # characters of the single sequence
STRIPS = 32  # of the whole text, side by side
HELD = 0.1  # of the whole text, its end, for validation
WRITTEN = 200  # characters after each pass
TITLES = {1: f"the first {PART:,} characters, one sequence", STRIPS: f"the whole text, {STRIPS} strips"}


def network(characters, hidden=HIDDEN, layers=LAYERS, embedding=EMBEDDING, seed=0):
    """Embedding, LSTM, a logit for each character."""
    return nr.Network([nr.Embedding(characters, embedding), nr.LSTM(hidden, layers=layers), nr.Dense(characters)], seed=seed)


def read(count):
    """(Vocabulary, (x, y) to train on, (x, y) to validate with or None) of so many strips, each character's index its input.

    One sequence has the first characters of the text, several the whole text.
    """
    text = nr.datasets.shakespeare()
    text = text[:PART] if count == 1 else text
    vocabulary = nr.Vocabulary.of([text], special=(), split="characters")
    indices = vocabulary.encode(text)
    cut = len(indices) - (0 if count == 1 else round(HELD * len(indices)))
    return vocabulary, samples(indices[:cut], count), None if count == 1 else samples(indices[cut:], count)


def samples(indices, count):
    """(x, y): so many strips of a text, and what follows each character."""
    return nr.strips(indices[:-1], count), nr.strips(indices[1:], count)


def trainer_of(vocabulary):
    """A training that has not begun."""
    return nr.Trainer(network(len(vocabulary)), "cross_entropy", nr.Adam(RATE), clip=CLIP)


def numbarnn_library(threads):
    """Our training: seconds of some updates, from a state of zeros on."""
    numba.set_num_threads(threads)
    kept = {}

    def work(count, updates):
        if count not in kept:
            vocabulary, samples, _ = read(count)
            kept[count] = trainer_of(vocabulary), *samples
        trainer, x, y = kept[count]
        x, y = x[: updates * STEPS], y[: updates * STEPS]
        start = time.perf_counter()
        trainer.fit(x, y, epochs=1, batch_size=count, carry=True, steps=STEPS, progress=False)
        return time.perf_counter() - start

    return work


def torch_network(characters, hidden=HIDDEN, layers=LAYERS, embedding=EMBEDDING):
    """The same network in PyTorch, called with indices and a state."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(characters, embedding)
            self.lstm, self.out = torch.nn.LSTM(embedding, hidden, layers), torch.nn.Linear(hidden, characters)

        def forward(self, x, state=None):
            y, state = self.lstm(self.embedding(x), state)
            return self.out(y), state

    return Model()


def torch_update(model, optimizer, x, y, state):
    """(loss, state) of one update of PyTorch's, the state cut off from what it comes from."""
    import torch

    optimizer.zero_grad()
    logits, state = model(x, state)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    return loss.detach(), tuple(part.detach() for part in state)


def torch_library(threads):
    """PyTorch's training: seconds of some updates, likewise."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    kept = {}

    def work(count, updates):
        if count not in kept:
            vocabulary, samples, _ = read(count)
            x, y = (torch.from_numpy(part.astype(np.int64)) for part in samples)
            model = torch_network(len(vocabulary))
            kept[count] = model, torch.optim.Adam(model.parameters(), RATE), x, y
        model, optimizer, x, y = kept[count]
        start, state = time.perf_counter(), None
        for first in range(0, updates * STEPS, STEPS):
            _, state = torch_update(model, optimizer, x[first : first + STEPS], y[first : first + STEPS], state)
        return time.perf_counter() - start

    return work


MAKERS = {"numbarnn": numbarnn_library, "PyTorch": torch_library}


def times(turns, most):
    """{strips: {library: seconds of an update, each turn}}, by turns, each library in a process of its own."""
    threads, found = numba.get_num_threads(), {}
    workers = {name: Worker(make, threads) for name, make in MAKERS.items()}
    for count in (1, STRIPS):
        updates = most if count == 1 else max(1, most // 4)
        for worker in workers.values():
            worker(count, 2)  # compilation, and memory that is touched for the first time
        seconds = {name: [] for name in workers}
        for _ in range(turns):
            for name, worker in workers.items():
                seconds[name].append(worker(count, updates) / updates)
        found[count] = seconds
    for worker in workers.values():
        worker.close()
    return found


def train(count, passes, folder):
    """Loss and validation loss of each pass, and what is written in the end; `folder` is where a stopped one goes on."""
    vocabulary, (x, y), held = read(count)
    trainer, callbacks = trainer_of(vocabulary), []

    def show(net, history):
        text = nr.sample(net, "The ", WRITTEN, seed=len(history.loss), vocabulary=vocabulary)
        print(f"pass {len(history.loss)}: {history.loss[-1]:.3f} nats, {history.seconds[-1]:.0f} s\n{text}\n", flush=True)

    if folder is not None:
        folder = f"{folder}/{count}"
        if os.path.isdir(folder):
            trainer = nr.Trainer.load(folder)
        callbacks = [nr.Checkpoint(folder, every=100, unit="update")]
    left = passes - len(trainer.history.loss)
    if left > 0:
        trainer.fit(
            x, y, epochs=left, carry=True, steps=STEPS, batch_size=count, validation=held, callbacks=[show, *callbacks],
            progress=False,
        )  # fmt: skip
    written = nr.sample(trainer.network, "The ", WRITTEN, seed=passes, vocabulary=vocabulary)
    return {"loss": trainer.history.loss, "validation": trainer.history.validation, "written": written}


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--turns", type=int, default=15, help="of each library, by turns")
    parser.add_argument("--updates", type=int, default=8, help="of a turn; a quarter of them on strips")
    parser.add_argument("--passes", type=int, default=40, help=f"over the first {PART:,} characters; 0 leaves them out")
    parser.add_argument("--epochs", type=int, default=10, help="over the whole text; 0 leaves them out")
    parser.add_argument("--folder", help="checkpoints, from which a training that was stopped goes on")
    parser.add_argument("--quick", action="store_true", help="times alone, and few of them")


def run(turns, updates, passes, epochs, folder, quick):
    """Times of updates, and the trainings."""
    if quick:
        turns, updates, passes, epochs = 5, 4, 0, 0
    trainings = {count: train(count, most, folder) for count, most in ((1, passes), (STRIPS, epochs)) if most}
    return {"seconds": times(turns, updates), "trainings": trainings}


def table(result):
    """The result as lines of Markdown."""
    lines = [f"Three LSTM layers of {HIDDEN} units, pieces of {STEPS} steps, Adam; an update, medians (least)", ""]
    lines += ["| text | | an update | a pass | time to ours |", "|---" * 5 + "|"]
    for count, libraries in result["seconds"].items():
        count = int(count)
        whole = (PART if count == 1 else round(1_115_394 * (1 - HELD))) // (count * STEPS)
        for name, seconds in libraries.items():
            middle, ratios = statistics.median(seconds), [b / a for a, b in zip(libraries["numbarnn"], seconds)]
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if name != "numbarnn" else ""
            update = f"{1e3 * middle:.1f} ({1e3 * min(seconds):.1f}) ms"
            lines.append(f"| {TITLES[count]} | {name} | {update} | {whole * middle:.0f} s | {ratio} |")
    for count, training in result["trainings"].items():
        loss, held = training["loss"], training["validation"]
        lines += [
            "",
            f"Loss on {TITLES[int(count)]}:",
            "",
        ]
        lines += ["| pass | nats | validation, bits per character |", "|---" * 3 + "|"]
        for index in sorted({*range(0, len(loss), 5), len(loss) - 1}):
            bits = f"{held[index] / math.log(2):.3f}" if held else ""
            lines.append(f"| {index + 1} | {loss[index]:.3f} | {bits} |")
        lines += [
            "",
            "What it has written after the last one:",
            "",
            *(f"    {line}" for line in training["written"].split("\n")),
        ]
    return "\n".join(lines)
