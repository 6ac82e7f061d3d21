"""What the product of a time step can reach: some rows times weights of several sizes, repeated as a loop over time does."""

import statistics
import time

import numba
import numpy as np

from numbarnn.cpu import product, simd, vectors

from .cpu import peak

ROWS = (1, 4, 16, 64)
MEGABYTES = (0.125, 0.5, 1, 2, 4, 16)
DEPTH = 512


@numba.njit(parallel=True)
def steps(real, c, a, weights, blocks, rows, threads, repeats):
    """Each thread multiplies the same rows by its own part of the weights, block after block, to and fro."""
    wide, vector = product.MAX_VECTORS, vectors.VECTOR_BYTES
    row, size = wide * vector, simd.size_of(real)
    for thread in numba.prange(threads):
        first = weights + thread * blocks * DEPTH * row
        mine = c + thread * blocks * rows * row
        for repeat in range(repeats):
            for index in range(1 if rows == 1 else blocks):
                if rows == 1:
                    last, sign = (0, 1) if repeat % 2 == 0 else (blocks - 1, -1)
                    product.row_product(
                        real, mine + last * row, sign * row, mine + last * row, sign * row, vector, a, size, DEPTH, 0,
                        first + last * DEPTH * row, sign * DEPTH * row, row, DEPTH, wide, blocks,
                    )  # fmt: skip
                else:
                    block = index if repeat % 2 == 0 else blocks - 1 - index
                    target = mine + block * rows * row
                    product.product(
                        real, target, row, target, row, vector, a, DEPTH * size, size, DEPTH, 0,
                        first + block * DEPTH * row, row, DEPTH, rows, wide,
                    )  # fmt: skip


def measure(rows, megabytes, dtype, threads):
    """Seconds of one step."""
    columns = product.MAX_VECTORS * vectors.lanes_of(dtype)
    blocks = max(1, round(megabytes * (1 << 20) / (threads * DEPTH * columns * np.dtype(dtype).itemsize)))
    weights = np.zeros(threads * blocks * DEPTH * columns, dtype)
    a, c = np.zeros(rows * DEPTH, dtype), np.zeros(threads * blocks * rows * columns, dtype)
    arguments = (weights.dtype.type(0), c.ctypes.data, a.ctypes.data, weights.ctypes.data, blocks, rows, threads)
    steps(*arguments, 2)
    repeats = max(2, round(0.05 / (megabytes * 1e-4 + rows * megabytes * 5e-6)))
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        steps(*arguments, repeats)
        seconds.append((time.perf_counter() - start) / repeats)
    return statistics.median(seconds), weights.nbytes, 2 * rows * weights.size


def run():
    """A row for each number of rows and size of weights, float32."""
    threads, rows = numba.get_num_threads(), []
    for count in ROWS:
        for megabytes in MEGABYTES:
            seconds, nbytes, flops = measure(count, megabytes, "float32", threads)
            top = max(peak("float32", threads) for _ in range(3))
            rate = flops / seconds / 1e9
            rows.append({"rows": count, "megabytes": megabytes, "gflops": rate, "share": rate / top})
            rows[-1]["gigabytes"] = nbytes / seconds / 1e9
    return {"threads": threads, "rows": rows}


def table(result):
    """The result as lines of Markdown."""
    lines = [f"Weights split over {result['threads']} threads; GFLOP/s, share of the peak, GB/s of weights read:", ""]
    head = " | ".join(f"{m:g} MB" for m in MEGABYTES)
    lines += [f"| rows of the batch | {head} |", "|" + "---|" * (1 + len(MEGABYTES))]
    for count in ROWS:
        cells = [row for row in result["rows"] if row["rows"] == count]
        values = (f"{row['gflops']:.0f}, {row['share']:.0%}, {row['gigabytes']:.0f}" for row in cells)
        lines.append(f"| {count} | " + " | ".join(values) + " |")
    return "\n".join(lines)
