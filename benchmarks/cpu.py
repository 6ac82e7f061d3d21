"""Every cell and shape on the CPU, beside PyTorch and JAX: forward, forward and backward, and one streamed step."""

import argparse
import statistics
import time

import numba
import numpy as np

from numbarnn.cpu import product, simd, vectors

from .cases import SHAPES, STREAMED, Case, jax_layer, ours, torch_layer
from .turns import Worker, warm

ROUNDS, SECONDS = 5, 0.12  # turns of each library, and about how long one lasts
PEAK_ROWS, PEAK_DEPTH = 5 * product.TILE_ROWS[product.MAX_VECTORS], 64
WORKS = ("both", "forward", "step", "cell")
GOALS = {  # (every shape, geometric mean) of PyTorch's time to ours
    ("both", "GRU", "float32"): (1.4, 4),
    ("both", "RNN", "float32"): (1.4, 3.3),
    ("both", "LSTM", "float32"): (1.1, 1.45),
    ("both", "any", "float64"): (1.3, 3),
    ("step", "any", "float32"): (10, 15),
}


@numba.njit(parallel=True)
def panels(real, c, a, b, threads, repeats):
    """Each thread repeats the product on operands of its own that stay in its L1 cache."""
    vector = vectors.VECTOR_BYTES
    row = product.MAX_VECTORS * vector
    size = simd.size_of(real)
    for thread in numba.prange(threads):
        for _ in range(repeats):
            mine = c + thread * PEAK_ROWS * row
            product.product(
                real, mine, row, mine, row, vector, a, PEAK_DEPTH * size, size, PEAK_DEPTH, 0, b, row, PEAK_DEPTH, PEAK_ROWS,
                product.MAX_VECTORS,
            )  # fmt: skip


def peak(dtype, threads, seconds=0.02):
    """GFLOP/s of the product on operands in the L1 cache, all threads."""
    lanes = product.MAX_VECTORS * vectors.lanes_of(dtype)
    c, b = np.zeros((threads * PEAK_ROWS, lanes), dtype), np.zeros((PEAK_DEPTH, lanes), dtype)
    a = np.zeros((PEAK_ROWS, PEAK_DEPTH), dtype)
    repeats, best = 200, 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        panels(a.dtype.type(0), c.ctypes.data, a.ctypes.data, b.ctypes.data, threads, repeats)
        flops = 2 * threads * repeats * PEAK_ROWS * PEAK_DEPTH * lanes
        best = max(best, flops / (time.perf_counter() - start) / 1e9)
    return best


class Library:
    """One library in its process: ``prepare`` a case, then ``measure`` it."""

    def __init__(self, make, threads):
        self.make, self.threads, self.call = make, threads, None

    def __call__(self, request, *arguments):
        return getattr(self, request)(*arguments)

    def prepare(self, case):
        """Build the case and run it until nothing compiles and memory is touched; seconds of one call."""
        self.call = None
        self.call = self.make(case)
        for _ in range(3):
            start = time.perf_counter()
            self.call()
        return time.perf_counter() - start

    def measure(self, calls):
        """Seconds of one call, mean of `calls`."""
        warm(self.call)
        start = time.perf_counter()
        for _ in range(calls):
            self.call()
        return (time.perf_counter() - start) / calls

    def peak(self, dtype):
        """See `peak`."""
        return peak(dtype, self.threads)


def numbarnn_library(threads):
    """Our library, in a process of its own."""
    numba.set_num_threads(threads)
    return Library(ours, threads)


def torch_library(threads):
    """PyTorch, in a process of its own."""
    import torch

    torch.set_num_threads(threads)
    return Library(torch_layer, threads)


def jax_library(threads):
    """JAX, in a process of its own; its threads follow from the processors it is bound to."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", True)
    return Library(jax_layer, threads)


MAKERS = {"numbarnn": numbarnn_library, "torch": torch_library, "jax": jax_library}


def numbers_of(names):
    """What reads an option of as many numbers, each at least 1, as there are names between commas."""

    def shape(text):
        found, count = tuple(int(number) for number in text.split(",")), len(names.split(","))
        if len(found) != count or min(found) < 1:
            raise argparse.ArgumentTypeError(f"expected {count} numbers {names}, got {text!r}")
        return found

    return shape


LAYER = "T,N,I,H,layers"
shape_of = numbers_of(LAYER)


def add_arguments(parser):
    """The options of the command line."""
    parser.add_argument("--works", nargs="+", choices=WORKS, default=WORKS)
    parser.add_argument("--cells", nargs="+", choices=("GRU", "LSTM", "RNN"), default=("GRU", "LSTM", "RNN"))
    parser.add_argument("--shapes", nargs="+", type=shape_of, default=SHAPES, metavar=LAYER)
    parser.add_argument("--dtype", nargs="+", choices=("float32", "float64"), default=("float32", "float64"))
    parser.add_argument("--threads", type=int, default=numba.get_num_threads())
    parser.add_argument("--peers", nargs="*", choices=("torch", "jax"), default=("torch", "jax"))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")


def cases(works, cells, shapes, dtypes):
    """All cases that are asked for, in the order of the table."""
    for work in works:
        for dtype in dtypes:
            for cell in cells:
                for shape in shapes:
                    if work not in ("step", "cell") or shape in STREAMED:
                        yield Case(work, cell, *shape, dtype)


def compare(workers, meter, case, rounds, seconds):
    """Seconds of one call in each library, medians of rounds that take turns, and our share of the peak.

    meter: what measures the peak has a process of its own, since the threads that it leaves spinning are Numba's.
    """
    libraries = {n: w for n, w in workers.items() if n != "jax" or (case.cell != "RNN" and case.work in ("both", "forward"))}
    calls = {name: max(1, round(seconds / worker("prepare", case))) for name, worker in libraries.items()}
    times, peaks = {name: [] for name in libraries}, []
    for _ in range(rounds):
        for name, worker in libraries.items():
            times[name].append(worker("measure", calls[name]))
        peaks.append(meter("peak", case.dtype))
    median = {name: statistics.median(values) for name, values in times.items()}
    rate, top = case.flops / median["numbarnn"] / 1e9, max(peaks)
    return {
        "work": case.work, "cell": case.cell, "shape": case.shape, "dtype": case.dtype, "seconds": median,
        "ratio": {
            name: statistics.median(b / a for a, b in zip(times["numbarnn"], times[name]))
            for name in libraries if name != "numbarnn"
        },
        "gflops": rate, "peak_gflops": top, "share": rate / top,
    }  # fmt: skip


def run(works, cells, shapes, dtype, threads, peers, quick):
    """A row for each case; `quick` takes shorter and fewer turns."""
    workers = {name: Worker(MAKERS[name], threads) for name in ("numbarnn", *peers)}
    meter = Worker(numbarnn_library, threads)
    rounds, seconds = (3, SECONDS / 3) if quick else (ROUNDS, SECONDS)
    rows = []
    for case in cases(works, cells, shapes, dtype):
        rows.append(compare(workers, meter, case, rounds, seconds))
        print(_row(rows[-1]), flush=True)
    for worker in (*workers.values(), meter):
        worker.close()
    return {"threads": threads, "rounds": rounds, "rows": of_the_peak(rows)}


def of_the_peak(rows):
    """Rows (are modified) whose peak is the largest of their dtype: some turns were beside another library's threads."""
    for dtype in {row["dtype"] for row in rows}:
        own = [row for row in rows if row["dtype"] == dtype]
        top = max(row["peak_gflops"] for row in own)
        for row in own:
            row["peak_gflops"], row["share"] = top, row["gflops"] / top
    return rows


HEAD = ["work", "dtype", "cell", "T, N, I, H, layers", "numbarnn", "PyTorch", "ratio", "JAX", "ratio", "GFLOP/s", "of peak"]


def time_text(seconds):
    """Seconds as a table shows them."""
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} us"


def _row(row):
    fields = [row["work"], row["dtype"], row["cell"], ", ".join(map(str, row["shape"]))]
    fields.append(time_text(row["seconds"]["numbarnn"]))
    for name in ("torch", "jax"):
        present = name in row["ratio"]
        fields += [time_text(row["seconds"][name]), f"{row['ratio'][name]:.2f}"] if present else ["", ""]
    return "| " + " | ".join([*fields, f"{row['gflops']:.0f}", f"{row['share']:.0%}"]) + " |"


def means(rows):
    """{(work, cell or any, dtype, peer): (least ratio, geometric mean)}."""
    found = {}
    for row in rows:
        for peer, ratio in row["ratio"].items():
            for cell in (row["cell"], "any"):
                found.setdefault((row["work"], cell, row["dtype"], peer), []).append(ratio)
    return {key: (min(ratios), statistics.geometric_mean(ratios)) for key, ratios in found.items()}


def table(result):
    """The result as lines of Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD), *map(_row, result["rows"])]
    lines += ["", "| work | cell | dtype | peer | least ratio | geometric mean | goal |", "|" + "---|" * 7]
    for (work, cell, dtype, peer), (least, mean) in means(result["rows"]).items():
        goal = GOALS.get((work, cell, dtype)) if peer == "torch" else (1.3, 3) if (work, cell) == ("both", "any") else None
        goal = f"{goal[0]}, {goal[1]}" if goal else ""
        lines.append(f"| {work} | {cell} | {dtype} | {peer} | {least:.2f} | {mean:.2f} | {goal} |")
    return "\n".join(lines)


def plot(result, path):
    """Ratios of forward + backward as an SVG: a panel for each dtype, a bar for each cell and shape, 1 being PyTorch."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "numbarnn"  # the same result gives the same file
    import matplotlib.pyplot as plt

    rows = [row for row in result["rows"] if row["work"] == "both" and "torch" in row["ratio"]]
    dtypes, cells = sorted({row["dtype"] for row in rows}), sorted({row["cell"] for row in rows})
    figure, panels = plt.subplots(len(dtypes), sharex=True, squeeze=False, figsize=(9, 3.2 * len(dtypes)))
    shapes = list(dict.fromkeys(tuple(row["shape"]) for row in rows))
    for panel, dtype in zip(panels[:, 0], dtypes):
        for index, cell in enumerate(cells):
            ratios = {tuple(r["shape"]): r["ratio"]["torch"] for r in rows if (r["dtype"], r["cell"]) == (dtype, cell)}
            at = [shapes.index(shape) + (index - (len(cells) - 1) / 2) * 0.8 / len(cells) for shape in ratios]
            panel.bar(at, [ratio - 1 for ratio in ratios.values()], 0.8 / len(cells), bottom=1, label=cell)
        panel.set_yscale("log")
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set_ylabel(f"PyTorch's time / ours, {dtype}")
        panel.grid(axis="y", alpha=0.3)
    panels[0, 0].legend()
    labels = [", ".join(map(str, shape)) for shape in shapes]
    panels[-1, 0].set_xticks(range(len(shapes)), labels, rotation=35, ha="right", fontsize=8)
    panels[-1, 0].set_xlabel("T, N, I, H, layers")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
