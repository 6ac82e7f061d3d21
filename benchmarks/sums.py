"""Sums of sequences, one unit, an update for each sequence: what the call of a training step costs, here and in PyTorch."""

import statistics
import time

import numba
import numpy as np

from numbarnn import RNN, Adam, Last, Network, Ragged

from .turns import Worker

COUNT, VALUES, LENGTHS = 1000, (1, 10), (2, 7)  # sequences, and what their values and lengths lie between
RATE, BLOCK = 0.001, 5  # BLOCK: epochs that one library trains before it is the other's turn
LABELS = {
    "numbarnn": "numbarnn",
    "torch": "PyTorch",
    "torch fused": "PyTorch, `Adam(fused=True)`",
    "torch RNN": "PyTorch, `nn.RNN` with relu, which is the identity on these sums",
}


def sequences(seed=0):
    """(x, y): the sequences as a Ragged, (1000, 1) sums."""
    random = np.random.default_rng(seed)
    lengths = random.integers(LENGTHS[0], LENGTHS[1] + 1, COUNT)
    x = Ragged.of([random.integers(VALUES[0], VALUES[1] + 1, (n, 1)).astype(np.float32) for n in lengths])
    return x, np.array([one.sum(axis=0) for one in x])


class Trainer:
    """One library in its process: trains some epochs, answers with the seconds."""

    def __init__(self, train):
        self.train = train

    def __call__(self, epochs):
        start = time.perf_counter()
        self.train(epochs)
        return time.perf_counter() - start


def numbarnn_library(threads):
    """Our trainer."""
    numba.set_num_threads(threads)
    network = Network([RNN(1, "identity"), Last()], channels=1)
    x, y = sequences()
    return Trainer(lambda epochs: network.fit(x, y, "mae", Adam(RATE), epochs, batch_size=1, progress=False))


def torch_unit():
    """The unit written out: PyTorch's layer has no identity."""
    import torch

    class Unit(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs = torch.nn.Linear(1, 1)
            self.recurrent = torch.nn.Parameter(torch.rand(1, 1))

        def forward(self, x):
            h = torch.zeros(1, 1)
            for drive in self.inputs(x).split(1):
                h = torch.addmm(drive, h, self.recurrent)
            return h

    return Unit()


def torch_library(threads, fused=False, module=False):
    """PyTorch's trainer: of the unit, or of PyTorch's own layer with relu."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rnn = torch.nn.RNN(1, 1, nonlinearity="relu")
    unit = torch_unit()
    run = (lambda x: rnn(x)[0][-1:]) if module else unit
    optimizer = torch.optim.Adam((rnn if module else unit).parameters(), RATE, fused=fused or None)
    x, y = sequences()
    pairs = [(torch.from_numpy(one.copy()), torch.from_numpy(sum_)) for one, sum_ in zip(x, y)]

    def train(epochs):
        for _ in range(epochs):
            for index in torch.randperm(COUNT).tolist():
                one, target = pairs[index]
                optimizer.zero_grad()
                loss = (run(one) - target).abs().mean()
                loss.backward()
                optimizer.step()

    return Trainer(train)


def torch_fused_library(threads):
    """The same with the optimizer in one kernel."""
    return torch_library(threads, fused=True)


def torch_module_library(threads):
    """PyTorch's own layer."""
    return torch_library(threads, module=True)


MAKERS = {
    "numbarnn": numbarnn_library,
    "torch": torch_library,
    "torch fused": torch_fused_library,
    "torch RNN": torch_module_library,
}


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--epochs", type=int, default=50)


def run(epochs):
    """Seconds of each block of epochs, by turns, and PyTorch's to ours."""
    threads = numba.get_num_threads()
    workers = {name: Worker(make, threads) for name, make in MAKERS.items()}
    for worker in workers.values():
        worker(1)  # compilation, and what is made once
    seconds = {name: [] for name in workers}
    for _ in range(max(1, epochs // BLOCK)):
        for name, worker in workers.items():
            seconds[name].append(worker(BLOCK))
    for worker in workers.values():
        worker.close()
    return {
        "epochs": BLOCK * len(seconds["numbarnn"]),
        "seconds": {name: sum(own) for name, own in seconds.items()},
        "us_per_update": {name: 1e6 * statistics.median(own) / COUNT / BLOCK for name, own in seconds.items()},
        "ratios": {
            name: statistics.median(theirs / ours for ours, theirs in zip(seconds["numbarnn"], own))
            for name, own in seconds.items()
        },
    }


def table(result):
    """The result as lines of Markdown."""
    updates = result["epochs"] * COUNT
    lines = [f"| | {updates:,} updates | an update (median) | to ours |", "|---|---|---|---|"]
    for name, label in LABELS.items():
        lines.append(
            f"| {label} | {result['seconds'][name]:.1f} s | {result['us_per_update'][name]:.0f} us"
            f" | {result['ratios'][name]:.1f} |"
        )
    return "\n".join(lines)
