"""What an update of an embedding costs for vocabularies of all sizes, the rows that are used being as many."""

import statistics
import threading
import time

import numba
import numpy as np

import numbarnn as nr

from .sentiment import Paced
from .turns import Worker

USED, SIZE, STEPS, BATCH, UPDATES = 1000, 64, 50, 32, 20  # USED: indices that occur; UPDATES: before it is the other's turn
VOCABULARIES = (1_000, 10_000, 100_000, 1_000_000)
RATE = 0.001


def samples(vocabulary):
    """(indices (T, N), labels): 1,000 different indices spread over the vocabulary."""
    random = np.random.default_rng(0)
    count = BATCH * UPDATES
    return random.integers(0, USED, (STEPS, count)) * (vocabulary // USED), random.integers(0, 2, count)


def numbarnn_library(threads):
    """Our trainer of one network after another: seconds of some updates with so many words."""
    numba.set_num_threads(threads)
    losses = {}

    def start(vocabulary):
        losses[vocabulary] = Paced()
        x, labels = samples(vocabulary)

        def fit():
            numba.set_num_threads(threads)
            net = nr.Network([nr.Embedding(vocabulary, SIZE), nr.Last(), nr.Dense(2)], seed=0)
            net.fit(np.tile(x, 100), np.tile(labels, 100), losses[vocabulary], nr.Adam(RATE), 1, BATCH, progress=False)

        threading.Thread(target=fit, daemon=True).start()

    def work(vocabulary):
        if vocabulary not in losses:
            start(vocabulary)
        begin = time.perf_counter()
        losses[vocabulary].advance(UPDATES)
        return time.perf_counter() - begin

    return work


def torch_library(threads, sparse=False):
    """PyTorch's, likewise."""
    import torch

    torch.set_num_threads(threads)
    kept = {}

    def start(vocabulary):
        embedding, linear = torch.nn.Embedding(vocabulary, SIZE, sparse=sparse), torch.nn.Linear(SIZE, 2)
        way = torch.optim.SparseAdam if sparse else torch.optim.Adam
        optimizers = way(embedding.parameters(), RATE), torch.optim.Adam(linear.parameters(), RATE)
        return embedding, linear, optimizers, *(torch.from_numpy(array) for array in samples(vocabulary))

    def work(vocabulary):
        if vocabulary not in kept:
            kept[vocabulary] = start(vocabulary)
        embedding, linear, optimizers, x, labels = kept[vocabulary]
        begin = time.perf_counter()
        for chosen in torch.arange(len(labels)).split(BATCH):
            for optimizer in optimizers:
                optimizer.zero_grad()
            logits = linear(embedding(x[:, chosen])[-1])
            torch.nn.functional.cross_entropy(logits, labels[chosen]).backward()
            for optimizer in optimizers:
                optimizer.step()
        return time.perf_counter() - begin

    return work


def torch_sparse_library(threads):
    """PyTorch's, with its sparse gradient and its SparseAdam."""
    return torch_library(threads, sparse=True)


MAKERS = {"numbarnn": numbarnn_library, "torch": torch_library, "torch, sparse": torch_sparse_library}
LABELS = {"numbarnn": "numbarnn, Adam", "torch": "PyTorch, Adam", "torch, sparse": "PyTorch, SparseAdam"}


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--turns", type=int, default=10, help=f"of each library, {UPDATES} updates each")


def run(turns):
    """{library: {vocabulary: seconds of each turn}}, by turns."""
    threads = numba.get_num_threads()
    seconds = {name: {str(vocabulary): [] for vocabulary in VOCABULARIES} for name in MAKERS}
    workers = {name: Worker(make, threads) for name, make in MAKERS.items()}
    for vocabulary in VOCABULARIES:
        for turn in range(turns + 1):
            for name, worker in workers.items():
                taken = worker(vocabulary)
                if turn:  # the first one compiles, and touches memory for the first time
                    seconds[name][str(vocabulary)].append(taken)
    for worker in workers.values():
        worker.close()
    return {"updates": UPDATES, "seconds": seconds}


def table(result):
    """The result as lines of Markdown."""
    lines = [
        f"An update of an embedding of {SIZE} numbers, {STEPS} steps of {BATCH} sequences, {USED:,} different indices; "
        f"milliseconds, median (least) of turns of {result['updates']} updates",
        "",
        f"| vocabulary | {' | '.join(LABELS.values())} |",
        "|---" * (1 + len(LABELS)) + "|",
    ]
    for vocabulary in VOCABULARIES:
        cells = []
        for name in LABELS:
            each = [1e3 * seconds / result["updates"] for seconds in result["seconds"][name][str(vocabulary)]]
            cells.append(f"{statistics.median(each):.2f} ({min(each):.2f})")
        lines.append(f"| {vocabulary:,} | {' | '.join(cells)} |")
    return "\n".join(lines)
