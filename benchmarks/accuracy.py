"""Largest float32 errors of outputs and gradients, relative to the largest number of the array, beside PyTorch's."""

from dataclasses import replace

import numba
import numpy as np

from .cases import SHAPES, Case, ours, torch_layer
from .turns import Worker


def answering(make):
    """A worker that does a case's work once and answers with arrays by name."""

    def answer(case):
        y, dx, gradients = make(case)()
        return {"y": np.array(y), "dx": np.array(dx), **{name: np.array(value) for name, value in gradients.items()}}

    return answer


def numbarnn_answers(threads):
    """Ours, in a process of its own."""
    numba.set_num_threads(threads)
    return answering(ours)


def torch_answers(threads):
    """PyTorch's, in a process of its own."""
    import torch

    torch.set_num_threads(threads)
    return answering(torch_layer)


def errors(found, exact):
    """The largest error of y, dx and the weights, each relative to the largest exact number of its array."""
    worst = {"y": 0.0, "dx": 0.0, "weights": 0.0}
    for name, value in exact.items():
        error = np.abs(found[name].astype(np.float64) - value).max() / np.abs(value).max()
        kind = name if name in worst else "weights"
        worst[kind] = max(worst[kind], float(error))
    return worst


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--quick", action="store_true", help="leave out the largest shapes")


def run(quick):
    """A row for each cell and shape."""
    threads = numba.get_num_threads()
    workers = {"numbarnn": Worker(numbarnn_answers, threads), "torch": Worker(torch_answers, threads)}
    rows = []
    for cell in ("GRU", "LSTM", "RNN"):
        for shape in SHAPES:
            if quick and shape[3] >= 512:
                continue
            case = Case("both", cell, *shape, "float32")
            exact = workers["torch"](replace(case, dtype="float64", numbers="float32"))  # PyTorch's, not our own
            rows.append({"cell": cell, "shape": shape, **{n: errors(w(case), exact) for n, w in workers.items()}})
    for worker in workers.values():
        worker.close()
    return {"rows": rows}


def table(result):
    """The result as lines of Markdown."""
    kinds = ("y", "dx", "weights")
    head = ["cell", "T, N, I, H, layers", *(f"{kind}: numbarnn | PyTorch | ratio" for kind in kinds)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 11]
    largest = 0.0
    for row in result["rows"]:
        fields = [row["cell"], ", ".join(map(str, row["shape"]))]
        for kind in kinds:
            mine, theirs = row["numbarnn"][kind], row["torch"][kind]
            largest = max(largest, mine / theirs)
            fields += [f"{mine:.1e}", f"{theirs:.1e}", f"{mine / theirs:.2f}"]
        lines.append("| " + " | ".join(fields) + " |")
    return "\n".join([*lines, "", f"Largest ratio: {largest:.2f}."])
