"""What an update of a graph costs: two inputs, values that are joined, a connection that skips a layer; beside PyTorch."""

import statistics
import time

import numpy as np

import numbarnn as nr
from numbarnn.graphs.joining import Step

STEPS, BATCHES, HIDDEN = 50, (8, 64), (32, 128)
CHANNELS = {"x": 8, "z": 4, "s": 3}  # of which s has no steps
ROUNDS, CALLS = 9, 12


def graph(hidden):
    """Two recurrent layers that read joined values, and a layer of all of them."""
    nodes = {
        "a": nr.Node(nr.GRU(hidden), ["x", "z"]),
        "b": nr.Node(nr.GRU(hidden), ["a", "x", "s"]),
        "y": nr.Node(nr.Dense(1), ["b", "a", "z"]),
    }
    inputs = {name: nr.Input(channels, steps=name != "s") for name, channels in CHANNELS.items()}
    return nr.Graph(inputs, nodes, "y", seed=0)


def arrays(batch):
    """(inputs by name, targets)."""
    random = np.random.default_rng(0)
    shapes = {name: (batch, channels) if name == "s" else (STEPS, batch, channels) for name, channels in CHANNELS.items()}
    inputs = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return inputs, random.standard_normal((STEPS, batch, 1)).astype(np.float32)


def seconds(call):
    """The median time of a call, the first ones left out: they compile, and prepare what comes."""
    for _ in range(3):
        call()
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        found.append((time.perf_counter() - start) / CALLS)
    return statistics.median(found)


def ours(batch, hidden):
    """(seconds of a loss and its gradient, of what lies between the nodes in it)."""
    (inputs, y), net = arrays(batch), graph(hidden)
    losses, gradient = net._found_loss("mse"), net.params.zeros()
    samples = net._samples(inputs, {"y": y}, None, losses)
    workspaces, chosen = net._workspaces(net.split(gradient.flat), net._own, ("all", None)), np.arange(batch)
    whole = seconds(lambda: workspaces.gradient(samples, chosen, losses, None))
    last = workspaces._last
    steps = [getattr(take, "__self__", None) for take, _ in (*last._passage.steps, *last._back.steps)]
    return whole, sum(seconds(step.fill) for step in steps if isinstance(step, Step))


def theirs(batch, hidden):
    """Seconds of the same by PyTorch."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.GRU(CHANNELS["x"] + CHANNELS["z"], hidden)
            self.b = torch.nn.GRU(hidden + CHANNELS["x"] + CHANNELS["s"], hidden)
            self.y = torch.nn.Linear(2 * hidden + CHANNELS["z"], 1)

        def forward(self, x, z, s):
            a, _ = self.a(torch.cat([x, z], 2))
            b, _ = self.b(torch.cat([a, x, s.expand(len(x), -1, -1)], 2))
            return self.y(torch.cat([b, a, z], 2))

    inputs, y = arrays(batch)
    net, given, y = Net(), {name: torch.from_numpy(array) for name, array in inputs.items()}, torch.from_numpy(y)

    def update():
        net.zero_grad()
        torch.nn.functional.mse_loss(net(**given), y).backward()

    return seconds(update)


def run():
    """Seconds of each case: all of ours, then all of PyTorch's."""
    cases = [(batch, hidden) for batch in BATCHES for hidden in HIDDEN]
    mine = [ours(*case) for case in cases]
    try:
        other = [theirs(*case) for case in cases]
    except ImportError:
        other = [None] * len(cases)
    return {
        "cases": [
            {"batch": batch, "hidden": hidden, "seconds": whole, "between": between, "torch": its}
            for (batch, hidden), (whole, between), its in zip(cases, mine, other)
        ]
    }


def table(result):
    """The result as lines of Markdown."""
    lines = [f"A loss and its gradient, T = {STEPS}, float32; joins and sums of derivatives in a call each:", ""]
    lines += ["| N | H | numbarnn | joins and sums | PyTorch | PyTorch / numbarnn |", "|" + "---|" * 6]
    for case in result["cases"]:
        other = case["torch"]
        beside = "- | -" if other is None else f"{1e3 * other:.2f} ms | {other / case['seconds']:.2f}"
        part = f"{1e6 * case['between']:.0f} us, {case['between'] / case['seconds']:.1%}"
        lines.append(f"| {case['batch']} | {case['hidden']} | {1e3 * case['seconds']:.2f} ms | {part} | {beside} |")
    return "\n".join(lines)
