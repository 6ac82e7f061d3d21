"""Time of a layer with each activation function, relative to the same layer with tanh, float32."""

import statistics
import time

import numpy as np

from numbarnn.cells.activations import FUNCTIONS

SHAPE = 100, 32, 64, 128  # T, N, I, H
LAYERS = {"RNN": ("activation",), "GRU": ("activation",), "LSTM": ("activation", "output_activation")}
WORK = ("forward", "both")


def calls(layer):
    """{work: a function that does it}: a forward call; forward and the gradient of parameters and input."""
    steps, batch, channels, hidden = SHAPE
    random = np.random.default_rng(0)
    p = layer.init(channels, scheme="pytorch")
    p.flat *= 0.5  # what grows without bound stays in range
    x = random.standard_normal((steps, batch, channels)).astype(np.float32)
    dy = random.standard_normal((steps, batch, hidden)).astype(np.float32)
    gradient = p.zeros()

    def both():
        _, _, tape = layer.forward(p, x)
        layer.backward(tape, dy, into=gradient)

    return {"forward": lambda: layer(p, x), "both": both}


def medians(work, rounds):
    """{name: median seconds} of functions that take turns."""
    seconds = {name: [] for name in work}
    for call in work.values():
        call()
    for _ in range(rounds):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--rounds", type=int, default=50)


def run(rounds):
    """A row for each cell and function: its times over the times of tanh, measured in turn."""
    import numbarnn as nr

    rows = []
    for cell, fields in LAYERS.items():
        layers = {n: getattr(nr, cell)(SHAPE[-1], **dict.fromkeys(fields, n)) for n in FUNCTIONS if n != "linear"}
        made = {name: calls(layer) for name, layer in layers.items()}
        found = {work: medians({name: call[work] for name, call in made.items()}, rounds) for work in WORK}
        for name in made:
            ratios = {work: found[work][name] / found[work]["tanh"] for work in WORK}
            rows.append({"cell": cell, "name": name, "ratios": ratios})
    return {"shape": SHAPE, "rows": rows}


def table(result):
    """The result as lines of Markdown."""
    rows = result["rows"]
    lines = ["| function | " + " | ".join(LAYERS) + " |", "|---|" + "---|" * len(LAYERS)]
    for name in dict.fromkeys(row["name"] for row in rows):
        ratios = {row["cell"]: row["ratios"] for row in rows if row["name"] == name}
        lines.append(f"| {name} | " + " | ".join(" / ".join(f"{ratios[c][w]:.2f}" for w in WORK) for c in LAYERS) + " |")
    shape, largest = ", ".join(map(str, result["shape"])), max(max(row["ratios"].values()) for row in rows)
    about = f"Time over tanh's, forward / forward and backward; T, N, I, H = {shape}.  Largest ratio: {largest:.2f}."
    return "\n".join([*lines, "", about])
