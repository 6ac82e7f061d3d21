"""Batches of sequences of different lengths: beside the same batch padded, and PyTorch's pack_padded_sequence."""

import statistics
from dataclasses import dataclass, replace

import numba
import numpy as np

from . import cases
from .cpu import ROUNDS, SECONDS, Library, time_text
from .turns import Worker

WORKS, CELLS, SEQUENCES = ("both", "forward"), ("GRU", "LSTM", "RNN"), 64
LENGTHS = {  # in any order; every sequence has a step at least: PyTorch takes no empty ones
    "1 to 100": np.linspace(1, 100, SEQUENCES),
    "40 to 60, one 1000": np.append(np.linspace(40, 60, SEQUENCES - 1), 1000),
}
FORMS = ("lengths", "Ragged", "padded")
OF_PADDED, OF_TORCH = 0.65, 5  # goals: most of our time padded, uniform lengths; least ratio of PyTorch's time to ours


@dataclass(frozen=True)
class Case(cases.Case):
    """`cases.Case` with the length of each sequence.

    form: of ours, ``lengths`` (a padded x and ``lengths=``), ``Ragged`` (one sequence after the other), or ``padded``
    (all sequences have all steps, the padding is computed too).
    """

    lengths: tuple = ()
    form: str = "lengths"

    @property
    def share(self):
        """The part of the padded steps that sequences have."""
        return sum(self.lengths) / (self.steps * self.batch)


def ours(case):
    """A function that does the case's work and returns y, or (y, dx, gradients by name), as arrays; Ragged ones as rows."""
    import numbarnn as nr

    values, x, dy = case.arrays()
    options = {}
    if case.form == "lengths":
        options = {"lengths": np.array(case.lengths)}
    elif case.form == "Ragged":
        x, dy = (nr.Ragged.of([a[:length, n] for n, length in enumerate(case.lengths)]) for a in (x, dy))
    layer = getattr(nr, case.cell)(case.hidden, layers=case.layers)
    p = layer.init(case.channels, dtype=case.dtype)
    for name, value in values.items():
        p[name] = value
    gradient = p.zeros()

    def rows(array):
        return array.data if case.form == "Ragged" else array

    def forward():
        return rows(layer(p, x, **options)[0])

    def both():
        y, _, tape = layer.forward(p, x, **options)
        found = layer.backward(tape, dy, into=gradient)
        return rows(y), rows(found.x), dict(gradient.items())

    return {"forward": forward, "both": both}[case.work]


def torch_packed(case):
    """Like `ours`, in PyTorch: packed at each call, the outputs padded again."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    values, x, dy = case.arrays()
    module = getattr(torch.nn, case.cell)(case.channels, case.hidden, case.layers, dtype=getattr(torch, case.dtype))
    with torch.no_grad():
        for name, value in values.items():
            getattr(module, name).copy_(torch.from_numpy(value))
    x, dy, lengths = torch.from_numpy(x), torch.from_numpy(dy), torch.tensor(case.lengths)

    def run(inputs):
        y, _ = module(pack_padded_sequence(inputs, lengths, enforce_sorted=False))
        return pad_packed_sequence(y, total_length=case.steps)[0]

    def forward():
        with torch.inference_mode():
            return run(x).numpy()

    def both():
        inputs = x.detach().requires_grad_()
        module.zero_grad(set_to_none=True)
        y = run(inputs)
        y.backward(dy)
        return y.detach().numpy(), inputs.grad.numpy(), {n: p.grad.numpy() for n, p in module.named_parameters()}

    return {"forward": forward, "both": both}[case.work]


def numbarnn_library(threads):
    """Our library, in a process of its own."""
    numba.set_num_threads(threads)
    return Library(ours, threads)


def torch_library(threads):
    """PyTorch, in a process of its own."""
    import torch

    torch.set_num_threads(threads)
    return Library(torch_packed, threads)


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--works", nargs="+", choices=WORKS, default=WORKS)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--threads", type=int, default=numba.get_num_threads())
    parser.add_argument("--peers", nargs="*", choices=("torch",), default=("torch",))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")


def compare(workers, case, rounds, seconds):
    """Seconds of one call in each form and library, medians of rounds that take turns, and our ratios to them."""
    calls = {}
    for name, worker in workers.items():
        form = name if name in FORMS else "lengths"
        calls[name] = max(1, round(seconds / worker("prepare", replace(case, form=form))))
    times = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            times[name].append(worker("measure", calls[name]))
    ratios = {name: statistics.median(b / a for a, b in zip(times["lengths"], times[name])) for name in times}
    return {
        "work": case.work, "cell": case.cell, "shape": case.shape, "share": case.share,
        "seconds": {name: statistics.median(values) for name, values in times.items()}, "ratio": ratios,
    }  # fmt: skip


def run(works, cells, threads, peers, quick):
    """A row for each work, cell and kind of lengths; `quick` takes shorter and fewer turns."""
    makers = dict.fromkeys(FORMS, numbarnn_library) | ({"torch": torch_library} if "torch" in peers else {})
    workers = {name: Worker(make, threads) for name, make in makers.items()}
    rounds, seconds = (3, SECONDS / 3) if quick else (ROUNDS, SECONDS)
    rows = []
    for work in works:
        for cell in cells:
            for name, sorted_lengths in LENGTHS.items():
                lengths = tuple(np.random.default_rng(0).permutation(sorted_lengths.astype(int)).tolist())
                case = Case(work, cell, max(lengths), SEQUENCES, 64, 128, 1, "float32", lengths=lengths)
                rows.append({"lengths": name, **compare(workers, case, rounds, seconds)})
                print(_row(rows[-1]), flush=True)
    for worker in workers.values():
        worker.close()
    return {"threads": threads, "rounds": rounds, "rows": rows}


HEAD = [
    "work", "cell", "lengths", "steps there are", "numbarnn, lengths=", "numbarnn, Ragged", "numbarnn, padded",
    "PyTorch, packed", "lengths= / padded", "PyTorch / lengths=",
]  # fmt: skip


def _row(row):
    fields = [row["work"], row["cell"], row["lengths"], f"{row['share']:.1%}"]
    fields += [time_text(row["seconds"][name]) for name in FORMS]
    packed = "torch" in row["ratio"]
    fields += [time_text(row["seconds"]["torch"]) if packed else "", f"{1 / row['ratio']['padded']:.2f}"]
    return "| " + " | ".join([*fields, f"{row['ratio']['torch']:.2f}" if packed else ""]) + " |"


def table(result):
    """The result as lines of Markdown."""
    rows = result["rows"]
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD), *map(_row, rows)]
    lines += ["", "| worst of | found | goal |", "|" + "---|" * 3]
    uniform = [1 / row["ratio"]["padded"] for row in rows if row["lengths"] == "1 to 100"]
    lines.append(f"| lengths= / padded, lengths 1 to 100 | {max(uniform):.2f} | at most {OF_PADDED} |")
    gated = [row["ratio"].get("torch") for row in rows if row["work"] == "both" and row["cell"] != "RNN"]
    if gated and all(gated):
        lines.append(f"| PyTorch / lengths=, GRU and LSTM, forward + backward | {min(gated):.2f} | at least {OF_TORCH} |")
    return "\n".join(lines)
