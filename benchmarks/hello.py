"""Deep Diamond's network (three GRU layers of 128), trained here and in PyTorch, by turns."""

import statistics
import time

import numba
import numpy as np

from numbarnn import Adam
from numbarnn.cpu import dense, optimizers, recurrent
from numbarnn.demo.counting import counting_network, counting_windows

from .turns import Worker

BATCH, RATE, BLOCK = 32, 0.005, 10  # BLOCK: epochs that one library trains before it is the other's turn


def torch_trainer(threads):
    """A function that trains PyTorch's network for some epochs."""
    import torch

    torch.set_num_threads(threads)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.others = torch.nn.GRU(1, 128), torch.nn.GRU(128, 128, 2)
            self.dense, self.out = torch.nn.Linear(128, 128), torch.nn.Linear(128, 1)

        def forward(self, x):
            y, _ = self.others(self.first(x)[0])
            return self.out(torch.relu(self.dense(y[-1])))

    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    x, y = (torch.from_numpy(np.array(array)) for array in counting_windows())

    def train(epochs):
        for _ in range(epochs):
            order = torch.randperm(len(y))
            for chosen in order.split(BATCH):
                optimizer.zero_grad()
                loss = 0.5 * ((model(x[:, chosen]) - y[chosen]) ** 2).mean()
                loss.backward()
                optimizer.step()

    return train


def our_trainer(threads):
    """A function that trains our network for some epochs."""
    numba.set_num_threads(threads)
    network = counting_network()
    x, y = counting_windows()

    def train(epochs):
        network.fit(x, y, "quadratic", Adam(RATE), epochs, BATCH, progress=False)

    return train


class Timed:
    """A kernel that adds up the time of its calls."""

    def __init__(self, kernel):
        self.kernel, self.seconds = kernel, 0.0

    def __call__(self, *arguments):
        start = time.perf_counter()
        self.kernel(*arguments)
        self.seconds += time.perf_counter() - start


def breakdown(epochs, threads):
    """Milliseconds of one of our updates, by kernel; the rest is Python."""
    train = our_trainer(threads)
    train(BLOCK)
    kernels = {}
    for module, name in ((recurrent, "forward"), (recurrent, "backward"), (dense, "forward"), (dense, "backward")):
        kernels[f"{module.__name__.rpartition('.')[2]} {name}"] = Timed(getattr(module, name))
        setattr(module, name, kernels[f"{module.__name__.rpartition('.')[2]} {name}"])
    optimizers.adam = kernels["adam"] = Timed(optimizers.adam)
    start = time.perf_counter()
    train(epochs)
    total = time.perf_counter() - start
    updates = epochs * -(-195 // BATCH)
    parts = {name: 1e3 * timed.seconds / updates for name, timed in kernels.items()}
    return {**parts, "Python": 1e3 * total / updates - sum(parts.values())}


class Trainer:
    """One library in its process: trains some epochs, answers with the seconds."""

    def __init__(self, train):
        self.train = train

    def __call__(self, epochs):
        start = time.perf_counter()
        self.train(epochs)
        return time.perf_counter() - start


def numbarnn_library(threads):
    """Our trainer, in a process of its own."""
    return Trainer(our_trainer(threads))


def torch_library(threads):
    """PyTorch's trainer, in a process of its own."""
    return Trainer(torch_trainer(threads))


MAKERS = {"numbarnn": numbarnn_library, "torch": torch_library}


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--epochs", type=int, default=100)


def run(epochs):
    """Seconds of each block of epochs, here and in PyTorch, and their ratio."""
    threads = numba.get_num_threads()
    workers = {name: Worker(make, threads) for name, make in MAKERS.items()}
    for worker in workers.values():
        worker(BLOCK)  # compilation, and memory that is touched for the first time
    seconds = {name: [] for name in workers}
    for _ in range(max(1, epochs // BLOCK)):
        for name, worker in workers.items():
            seconds[name].append(worker(BLOCK))
    for worker in workers.values():
        worker.close()
    updates = BLOCK * -(-195 // BATCH)
    per_update = {name: 1e3 * statistics.median(values) / updates for name, values in seconds.items()}
    ratios = [b / a for a, b in zip(seconds["numbarnn"], seconds["torch"])]
    return {
        "epochs": len(ratios) * BLOCK,
        "seconds": {name: sum(values) for name, values in seconds.items()},
        "ms_per_update": per_update,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "ms_by_part": breakdown(epochs, threads),
    }


def table(result):
    """The result as lines of Markdown."""
    lines = ["| | total | an update (median) |", "|---|---|---|"]
    for name, label in (("numbarnn", "numbarnn"), ("torch", "PyTorch")):
        lines.append(f"| {label} | {result['seconds'][name]:.2f} s | {result['ms_per_update'][name]:.2f} ms |")
    lines.append(f"| ratio | | {result['ratio']:.2f} ({min(result['ratios']):.2f} to {max(result['ratios']):.2f}) |")
    parts = ", ".join(f"{name} {ms:.2f}" for name, ms in result["ms_by_part"].items())
    return "\n".join([*lines, "", f"Of our update, in ms: {parts}."])
