"""Products of matrices along time, ``D_n ... D_2 D_1``, by themselves or applied to tangents, in float64."""

import numpy as np

from . import jobs
from .blocks import share, vector_bytes, vectors_for
from .compiled import Task
from .memory import empty, give, take
from .product import MAX_VECTORS
from .records import integers
from .routine_call import invoke, record_at
from .routines import ROUTINES
from .simd import get, lanes, load, load_first, put, size_of, splat, store, store_first
from .threads import threads_for
from .vectors import lanes_of

CHAIN = np.dtype(
    integers(
        "product",  # a routine
        "zeros",  # one vector
        "matrices",  # [steps, batch, S, S]
        "steps",
        "batch",
        "size",  # S
        "window",  # steps of each window but the last, which has those that are left
        "splits",  # parts of the tangents, whole panels
        "columns",  # tangents K
        "start",  # [batch, K, S]: what the first window's matrices are applied to; 0 for their own product
        "scratch",  # [tasks, 2, S, padded K]
        "target",  # [windows, batch, K, S] of tangents; [windows, batch, S, S], the rows of a product
    )
)


@Task
def chain_task(cell, number, record, index):
    """Some columns of the product of one window of one sequence."""
    real, call = number(0), record_at(record, CHAIN)[0]
    size, panel = size_of(real), MAX_VECTORS * lanes(real)
    window, n, split = index // call.splits // call.batch, index // call.splits % call.batch, index % call.splits
    panels = (call.columns + panel - 1) // panel
    first, count = share(panels, call.splits, split)
    first, end = first * panel, min(call.columns, (first + count) * panel)
    if end <= first:
        return
    vectors = vectors_for(real, end - first)
    row, matrix = vectors * vector_bytes(real), call.size * call.size * size
    whole = call.size * vectors_for(real, call.columns) * vector_bytes(real)
    now = call.scratch + 2 * index * whole
    new = now + whole
    begin, stop = window * call.window, min(call.steps, (window + 1) * call.window)
    target = call.target + (window * call.batch + n) * call.columns * call.size * size
    if call.start:
        tangents = call.start + (n * call.columns + first) * call.size * size
        for i in range(call.size):
            store(splat(real, 0), now + i * row + (vectors - 1) * vector_bytes(real))
        for k in range(end - first):
            for i in range(call.size):
                put(get(real, tangents + (k * call.size + i) * size), now + i * row + k * size)
    else:
        source = call.matrices + (begin * call.batch + n) * matrix + first * size
        for i in range(call.size):
            for v in range(vectors):
                left = end - first - v * lanes(real)
                value = load_first(real, source + (i * call.size + v * lanes(real)) * size, left)
                store(value, now + i * row + v * vector_bytes(real))
        begin += 1
    for step in range(begin, stop):
        factor = call.matrices + (step * call.batch + n) * matrix
        invoke(
            call.product,
            real,
            (
                new, row, call.zeros, 0, 0, factor, call.size * size, size, call.size, 0, now, row, call.size, call.size,
                vectors,
            ),
        )  # fmt: skip
        now, new = new, now
    if call.start:
        for k in range(end - first):
            for i in range(call.size):
                put(get(real, now + i * row + k * size), target + ((first + k) * call.size + i) * size)
    else:
        for i in range(call.size):
            for v in range(vectors):
                left, at = end - first - v * lanes(real), i * row + v * vector_bytes(real)
                store_first(load(real, now + at), target + (i * call.size + first + v * lanes(real)) * size, left)


def targets(matrices, window, columns=None):
    """An array for what `chains` makes: (windows, N, K, S)."""
    steps, batch, size, _ = matrices.shape
    return empty((-(-steps // window), batch, columns or size, size), matrices.dtype)


def chains(matrices, window, start=None, target=None, alone=False):
    """What the matrices of each window of steps make together: of tangents (windows, N, K, S), or the products themselves.

    Parameters
    ----------
    matrices : numpy.ndarray
        (T, N, S, S) in float64, contiguous.
    window : int
        Steps of a window.
    start : numpy.ndarray, optional
        (N, K, S), contiguous: the tangents that the matrices of a single window are applied to.  Without them the products
        of the windows are found, (windows, N, S, S).
    target : numpy.ndarray, optional
        Where they are written (is modified); new by default.
    alone : bool
        By this thread alone.
    """
    target = targets(matrices, window, None if start is None else start.shape[1]) if target is None else target
    steps, (windows, batch, columns, size) = len(matrices), target.shape
    panel = MAX_VECTORS * lanes_of(matrices.dtype)
    sharing = 1 if alone else threads_for(batch * steps * columns * size * size)
    splits = max(1, min(-(-columns // panel), 2 * sharing // (windows * batch))) if sharing > 1 else 1
    tasks, padded = windows * batch * splits, -(-columns // panel) * panel
    scratch, zeros, record = take(tasks * 2 * size * padded * 8), np.zeros(lanes_of(matrices.dtype)), np.zeros(1, CHAIN)
    for name, value in {
        "product": ROUTINES["product"].address(matrices.dtype), "zeros": zeros.ctypes.data, "steps": steps, "batch": batch,
        "matrices": matrices.ctypes.data, "size": size, "window": window, "splits": splits, "columns": columns,
        "start": 0 if start is None else start.ctypes.data, "scratch": scratch[1], "target": target.ctypes.data,
    }.items():  # fmt: skip
        record[name] = value
    if alone:
        jobs.run_aside(chain_task, None, matrices.dtype, record, tasks)
    else:
        jobs.run(chain_task, None, matrices.dtype, record, tasks, sharing)
    give(scratch)
    return target
