"""A layer's call beside onnxruntime: the same float32 numbers, each library in a process of its own, in turns."""

import argparse
import functools
import statistics
from dataclasses import replace

import numba
import numpy as np

from .accuracy import errors
from .cases import GATES, Case, ours, torch_layer
from .cpu import Library, numbers_of, time_text
from .onnx_models import session
from .turns import Worker

SHAPES = ((120, 1, 10, 56), (90, 1, 48, 272), (900, 1, 2, 36), (90, 30, 40, 120), (50, 60, 96, 480))
OTHERS = (
    (1, 1, 12, 40), (40, 1, 24, 96), (200, 1, 5, 150), (64, 1, 80, 384), (30, 1, 128, 640), (2000, 1, 1, 16),
    (25, 8, 16, 64), (150, 4, 32, 200), (28, 128, 28, 128), (60, 16, 64, 320), (20, 200, 10, 50), (365, 50, 8, 90),
)  # fmt: skip
LEAST, MEANS = 1.1, {"LSTM": 1.3, "GRU": 1.5, "RNN": 2.5}  # goals: every shape, and the geometric mean of a cell
ROUNDS, SECONDS = 9, 0.1


def onnx_layer(case, threads):
    """Like `cases.ours`, in onnxruntime."""
    values, x, _ = case.arrays()
    made = session(case.cell, values, threads)
    return lambda: made.run(None, {"x": x})[0][:, 0]


class Answering(Library):
    """A library that also answers with y."""

    def output(self):
        """The y of the case last prepared."""
        return np.array(self.call())


def numbarnn_library(threads):
    """Our library, in a process of its own."""
    numba.set_num_threads(threads)
    return Answering(ours, threads)


def onnx_library(threads):
    """onnxruntime, in a process of its own."""
    return Answering(functools.partial(onnx_layer, threads=threads), threads)


def torch_library(threads):
    """PyTorch, in a process of its own: its float64 tells what is exact."""
    import torch

    torch.set_num_threads(threads)
    return Answering(torch_layer, threads)


MAKERS = {"numbarnn": numbarnn_library, "onnxruntime": onnx_library, "torch": torch_library}
shape_of = numbers_of("T,N,I,H")


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--cells", nargs="+", choices=tuple(GATES), default=("LSTM", "GRU", "RNN"))
    parser.add_argument("--shapes", nargs="+", type=shape_of, default=SHAPES, metavar="T,N,I,H")
    parser.add_argument("--others", action=argparse.BooleanOptionalAction, default=False, help="more shapes")
    parser.add_argument("--threads", type=int, default=numba.get_num_threads())
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="about how long one turn lasts")


def compare(workers, case, rounds, seconds):
    """Seconds of one call in each library, medians of rounds that take turns, and the errors of y."""
    exact = {
        "y": workers["torch"]("prepare", replace(case, dtype="float64", numbers="float32")) and workers["torch"]("output")
    }
    timed = {name: workers[name] for name in ("numbarnn", "onnxruntime")}
    calls, found = {}, {}
    for name, worker in timed.items():
        calls[name] = max(1, round(seconds / worker("prepare", case)))
        found[name] = errors({"y": worker("output")}, exact)["y"]
    times = {name: [] for name in timed}
    for _ in range(rounds):
        for name, worker in timed.items():
            times[name].append(worker("measure", calls[name]))
    pairs = zip(times["numbarnn"], times["onnxruntime"])
    return {
        "cell": case.cell, "shape": [case.steps, case.batch, case.channels, case.hidden], "errors": found,
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "ratio": statistics.median(theirs / mine for mine, theirs in pairs),
    }  # fmt: skip


def run(cells, shapes, others, threads, rounds, seconds):
    """A row for each cell and shape."""
    workers, rows = {name: Worker(make, threads) for name, make in MAKERS.items()}, []
    for cell in cells:
        for steps, batch, channels, hidden in (*shapes, *(OTHERS if others else ())):
            case = Case("forward", cell, steps, batch, channels, hidden, 1, "float32")
            rows.append(compare(workers, case, rounds, seconds))
            print(_row(rows[-1]), flush=True)
    for worker in workers.values():
        worker.close()
    return {"threads": threads, "rows": rows}


def _row(row):
    fields = [row["cell"], ", ".join(map(str, row["shape"]))]
    fields += [time_text(row["seconds"][name]) for name in ("numbarnn", "onnxruntime")]
    fields += [f"{row['ratio']:.2f}", *(f"{row['errors'][name]:.1e}" for name in ("numbarnn", "onnxruntime"))]
    return "| " + " | ".join(fields) + " |"


def table(result):
    """The result as lines of Markdown."""
    head = ["cell", "T, N, I, H", "numbarnn", "onnxruntime", "ratio", "our error", "its error"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *map(_row, result["rows"])]
    lines += ["", "| cell | least ratio | geometric mean | goal |", "|---|---|---|---|"]
    for cell in dict.fromkeys(row["cell"] for row in result["rows"]):
        ratios = [row["ratio"] for row in result["rows"] if row["cell"] == cell]
        lines.append(f"| {cell} | {min(ratios):.2f} | {statistics.geometric_mean(ratios):.2f} | {LEAST}, {MEANS[cell]} |")
    return "\n".join(lines)
