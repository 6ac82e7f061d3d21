"""Products of matrices along time, and their orthogonal and triangular factors, in float64.

A chain multiplies the matrices of some steps, ``D_n ... D_2 D_1``, or applies them to tangents; `orthogonalise` takes these
apart into ``Q R`` by LAPACK's Householder reflectors, and hands Q on to the next window of steps.
"""

import functools

import numpy as np
from numba.extending import get_cython_function_address

from . import jobs
from .atomics import call_function
from .blocks import share, vector_bytes, vectors_for
from .compiled import Task, kernel
from .memory import give, take
from .product import MAX_VECTORS
from .records import integers
from .routine_call import invoke, record_at
from .routines import ROUTINES
from .simd import get, lanes, lanes_of, load_first, put, size_of, splat, store
from .threads import threads_for

REFLECTORS = 12  # that are applied together
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
        "start",  # [batch, K, S]: what the first window's matrices are applied to; 0 for the matrices' own product
        "scratch",  # [tasks, 2, S, padded K]
        "target",  # [windows, batch, K, S]
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
    target = call.target + ((window * call.batch + n) * call.columns + first) * call.size * size
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
    for k in range(end - first):
        for i in range(call.size):
            put(get(real, now + i * row + k * size), target + (k * call.size + i) * size)


def targets(matrices, window, columns=None):
    """An array for what `chains` makes: (windows, N, K, S)."""
    steps, batch, size, _ = matrices.shape
    return np.empty((-(-steps // window), batch, columns or size, size))


def chains(matrices, window, start=None, target=None, alone=False):
    """What the matrices of each window of steps make together, (windows, N, K, S): a column after the other.

    Parameters
    ----------
    matrices : numpy.ndarray
        (T, N, S, S) in float64, contiguous.
    window : int
        Steps of a window.
    start : numpy.ndarray, optional
        (N, K, S), contiguous: the tangents that the matrices of a single window are applied to; else the unit vectors.
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


@functools.cache
def lapack():
    """The addresses of LAPACK's dgeqrt and dgemqrt, as SciPy has it."""
    return tuple(get_cython_function_address("scipy.linalg.cython_lapack", name) for name in ("dgeqrt", "dgemqrt"))


@functools.partial(kernel, releases=True)
def orthogonalise(geqrt, gemqrt, windows, reflectors, triangles, logs, composed):
    """Q R of the tangents after each window, one window after the other (all but the addresses are modified).

    windows: (W, N, K, S) of `chains`: the tangents themselves; or, if they are `composed`, those of the unit vectors (K is
    S), to which Q of the window before is applied first.  reflectors, triangles: (N, K, S), (N, K, nb): Q, as dgeqrt has
    it.  logs: (W, N, K): the logarithms of R's diagonal.
    """
    count, batch, columns, size = windows.shape
    kept, block = logs.shape[2], triangles.shape[2]
    m, k, nb = np.full(1, size, np.int32), np.full(1, kept, np.int32), np.full(1, block, np.int32)
    info, work = np.zeros(1, np.int32), np.empty(size * block)
    right, plain = np.full(1, 82, np.uint8), np.full(1, 78, np.uint8)  # "R", "N"
    for w in range(count):
        for n in range(batch):
            a = windows[w, n]
            v, t = reflectors[n], triangles[n]
            if composed:
                call_function(
                    gemqrt,
                    (
                        right.ctypes.data, plain.ctypes.data, m.ctypes.data, m.ctypes.data, k.ctypes.data, nb.ctypes.data,
                        v.ctypes.data, m.ctypes.data, t.ctypes.data, nb.ctypes.data, a.ctypes.data, m.ctypes.data,
                        work.ctypes.data, info.ctypes.data,
                    ),
                )  # fmt: skip
            v[...] = a[:kept]
            call_function(
                geqrt,
                (
                    m.ctypes.data, k.ctypes.data, nb.ctypes.data, v.ctypes.data, m.ctypes.data, t.ctypes.data,
                    nb.ctypes.data, work.ctypes.data, info.ctypes.data,
                ),
            )  # fmt: skip
            for i in range(kept):
                logs[w, n, i] = np.log(np.abs(v[i, i]))


@functools.partial(kernel, releases=True)
def tangents_of(gemqrt, reflectors, triangles, tangents):
    """Write the columns of Q, (N, K, S), from what `orthogonalise` has left of it (`tangents` is modified)."""
    batch, columns, size = tangents.shape
    block = triangles.shape[2]
    m, k, nb = np.full(1, size, np.int32), np.full(1, columns, np.int32), np.full(1, block, np.int32)
    info, work = np.zeros(1, np.int32), np.empty(columns * block)
    left, plain = np.full(1, 76, np.uint8), np.full(1, 78, np.uint8)  # "L", "N"
    for n in range(batch):
        v, t, q = reflectors[n], triangles[n], tangents[n]
        q[...] = 0
        for i in range(columns):
            q[i, i] = 1
        call_function(
            gemqrt,
            (
                left.ctypes.data, plain.ctypes.data, m.ctypes.data, k.ctypes.data, k.ctypes.data, nb.ctypes.data,
                v.ctypes.data, m.ctypes.data, t.ctypes.data, nb.ctypes.data, q.ctypes.data, m.ctypes.data, work.ctypes.data,
                info.ctypes.data,
            ),
        )  # fmt: skip
