"""The GPU beside PyTorch's cuDNN: layers, the training of Deep Diamond's network, and whether it is right.

Everything runs in processes of their own, and is kept as it comes: what crashes or hangs loses nothing but itself.
"""

import json
import math
import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from numbarnn.engine import processors

from . import gpu_cases, gpu_checks, jobs
from .cpu import shape_of

PATIENCE = 90  # seconds for one row, compilation included
AT_ONCE = 8  # groups of checks
AT_A_TIME = 2  # shapes of a cell
CELLS = ("GRU", "LSTM", "RNN")


def add_arguments(parser):
    """The options of the command line."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="no times: is it right? CPU parity, finite differences, bits")
    what.add_argument("--probe", action="store_true", help="no times of layers: what machine is this?")
    parser.add_argument("--seconds", type=float, default=240.0, help="for everything; what is not reached is said")
    parser.add_argument("--cells", nargs="*", choices=CELLS, default=CELLS)
    parser.add_argument("--shapes", nargs="+", type=shape_of, default=gpu_cases.SHAPES, metavar="T,N,I,H,layers")
    parser.add_argument("--groups", nargs="*", choices=tuple(gpu_checks.GROUPS), default=tuple(gpu_checks.GROUPS))
    parser.add_argument(
        "--sizes", nargs="+", type=gpu_checks.size_of, metavar="T,N,I,H", default=(),
        help="of the layers that are checked: smaller ones for an emulated GPU",
    )  # fmt: skip


class Kept:
    """The result so far, in a file from the first answer on."""

    def __init__(self, name, folder):
        self.path = None if folder is None else Path(folder) / f"{name}.json"
        self.result, self.lock = {"name": name, "failures": []}, threading.Lock()

    def keep(self):
        """Write it."""
        if self.path is not None:
            with self.lock:  # checks run side by side
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.write_text(json.dumps(self.result, indent=1) + "\n")

    def fail(self, what, reason):
        """Note a failure."""
        self.result["failures"].append(f"{what}: {reason}")
        print(f"FAILED {what}: {reason}", flush=True)
        self.keep()


def run(check, probe, seconds, cells, shapes, groups, sizes=(), save=None):
    """Probe the machine, then check or measure."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS", "0")
    kept = Kept("gpu_check" if check else "gpu_probe" if probe else "gpu", save)
    deadline = time.monotonic() + seconds
    _probe(kept, deadline, only=probe)
    if "device" not in kept.result["probe"]:
        return kept.result  # no GPU, no more
    if check:
        _check(kept, deadline, groups, sizes)
    elif not probe:
        _measure(kept, deadline, cells, shapes)
    return kept.result


def _probe(kept, deadline, only):
    found = kept.result.setdefault("probe", {})

    def take(answer):
        if "machine" in answer:
            kept.result["machine"] = answer["machine"]
        else:
            if answer.get("failed"):
                kept.fail(f"probe {answer['probe']}", answer["found"])
            else:
                found[answer["probe"]] = answer["found"]
        print(json.dumps(answer), flush=True)
        kept.keep()

    reason = jobs.run("benchmarks.gpu_cases", ["probe" if only else "device"], PATIENCE, deadline, take)
    if reason:
        kept.fail("probe", reason)


def _check(kept, deadline, groups, sizes):
    words = [",".join(map(str, size)) for size in sizes]
    checks = kept.result.setdefault("checks", [])

    def take(answer):
        checks.append(answer)
        if not answer["ok"]:
            kept.fail(f"{answer['group']}, {answer['check']}", answer["reason"])
        kept.keep()

    def work(group):
        own = words if group in gpu_checks.LAYERS else []
        reason = jobs.run("benchmarks.gpu_checks", [group, *own], 150, deadline, take)
        if reason:
            kept.fail(group, reason)

    at_once = max(1, min(AT_ONCE, processors.usable() // 2))
    os.environ.setdefault("NUMBA_NUM_THREADS", "2")
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(work, groups))


def _measure(kept, deadline, cells, shapes):
    rows = kept.result.setdefault("rows", [])

    def take(answer):
        if "profile" in answer:
            kept.result["profile"] = answer["profile"]
        elif "training" in answer:
            kept.result["training"] = answer
        else:
            rows.append(answer)
        for variant, reason in answer.get("reasons", {}).items():
            which = (answer.get("cell", "training"), answer.get("shape", ""), answer.get("work", ""), variant)
            kept.fail(" ".join(map(str, which)), reason)
        kept.keep()
        print("." if "profile" in answer else json.dumps(answer), flush=True)

    def train():
        reason = jobs.run("benchmarks.gpu_cases", ["training"], PATIENCE, deadline, take)
        if reason:
            kept.fail("training", reason)

    def measure(cell, some):
        lost = set()
        while deadline > time.monotonic():
            words = [",".join(map(str, shape)) for shape in _left(rows, some, cell, lost)]
            reason = jobs.run("benchmarks.gpu_cases", [cell, *words], PATIENCE, deadline, take)
            left = _left(rows, some, cell, lost)
            if reason:
                kept.fail(f"{cell} {left[0] if left else ''}", reason)
                lost.update(left[:1])  # the process died of this one: go on with the next
            if not left[1:]:
                break
        else:
            kept.fail(cell, f"out of time, not reached: {_left(rows, some, cell, lost)}")

    for first in range(0, len(shapes), AT_A_TIME):  # the first shapes of all cells before the next ones of any
        for cell in cells:
            measure(cell, shapes[first : first + AT_A_TIME])
        if first == 0:
            train()


def _left(rows, shapes, cell, lost):
    """Shapes without both rows."""
    done = {tuple(row["shape"]) for row in rows if row["cell"] == cell and row["work"] == "both"}
    return [shape for shape in shapes if shape not in done | lost]


def _ms(value):
    return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _ratio(ms, above, below):
    return "" if ms.get(above) is None or ms.get(below) is None else f"{ms[above] / ms[below]:.2f}"


def table(result):
    """The result as lines of Markdown."""
    lines = []
    if "probe" in result:
        lines += ["| | |", "|---|---|", *(f"| {name} | {found} |" for name, found in result["probe"].items()), ""]
    if "checks" in result:
        lines += _check_lines(result["checks"])
    if "rows" in result:
        lines += _row_lines(result["rows"])
    if "training" in result:
        lines += _training_lines(result["training"])
    if result.get("failures"):
        lines += ["", f"{len(result['failures'])} failures:", "", *(f"* {failure}" for failure in result["failures"])]
    return "\n".join(lines)


def _check_lines(checks):
    lines = ["| group | passed | worst error / allowed | time |", "|---|---|---|---|"]
    for group in dict.fromkeys(check["group"] for check in checks):
        mine = [check for check in checks if check["group"] == group]
        worst = max((c["error"] / c["allowed"] for c in mine if c["allowed"]), default=0.0)
        passed = sum(check["ok"] for check in mine)
        lines.append(f"| {group} | {passed} of {len(mine)} | {worst:.2g} | {sum(c['seconds'] for c in mine):.0f} s |")
    return lines


def _row_lines(rows):
    lines = [
        "Milliseconds of one call, medians; in brackets microseconds of a step. Ratios: PyTorch's time to ours.",
        "The GPU's clock runs from the first launch to the end of the last kernel, and so it has the host's time, too.",
    ]
    for work, label in (("forward", "Forward"), ("both", "Forward and backward")):
        mine = [row for row in rows if row["work"] == work]
        lines += [
            "", f"**{label}**", "",
            "| cell | T,N,I,H,layers | numbarnn | PyTorch | ratio | TF32 | PyTorch TF32 | ratio | without cuBLAS | per step "
            "| error | PyTorch's |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
        ]  # fmt: skip
        for row in mine:
            ms, wrong, shape = row["ms"], row["error"], row["shape"]
            steps = int(shape[0]) * int(shape[4])
            each = f" ({1e3 * ms['numbarnn'] / steps:.2f})" if "numbarnn" in ms else ""
            errors = [f"{wrong[name]:.1e}" if name in wrong else "" for name in ("numbarnn", "PyTorch")]
            cells = [
                row["cell"], ",".join(map(str, shape)), _ms(ms.get("numbarnn")) + each, _ms(ms.get("PyTorch")),
                _ratio(ms, "PyTorch", "numbarnn"), _ms(ms.get("numbarnn TF32")), _ms(ms.get("PyTorch TF32")),
                _ratio(ms, "PyTorch TF32", "numbarnn TF32"), _ms(ms.get("without cuBLAS")), _ms(ms.get("per step")), *errors,
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
        ratios = [row["ms"]["PyTorch"] / row["ms"]["numbarnn"] for row in mine if {"PyTorch", "numbarnn"} <= set(row["ms"])]
        if ratios:
            mean = math.exp(statistics.fmean(math.log(ratio) for ratio in ratios))
            lines += ["", f"Ratio in float32, geometric mean of {len(ratios)}: {mean:.2f}, least {min(ratios):.2f}."]
    by = sorted({row["reference"] for row in rows if "reference" in row})
    return [*lines, "", f"Errors: the largest of y, dx and all gradients, per largest number, against {', '.join(by)}."]


def _training_lines(training):
    lines = ["", "**Deep Diamond's network: one update (batch of 32)**", "", "| | ms | ratio to PyTorch |", "|---|---|---|"]
    for name, value in training["ms"].items():
        lines.append(f"| {name} | {value:.3f} | {_ratio(training['ms'], 'PyTorch', name)} |")
    wrong = training["error"].get("numbarnn")
    lines += ["", f"Deep Diamond's own figure, on its author's GPU: {gpu_cases.DEEP_DIAMOND_MS:.2f} ms."]
    return lines if wrong is None else [*lines, f"Error of our gradient, against PyTorch's in float64: {wrong:.1e}."]
