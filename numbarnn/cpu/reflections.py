"""Householder reflections of matrices that fit in a core's cache, in float64: ``Q R`` without a call of BLAS.

OpenBLAS shares even small work among threads of its own, which get in the way of those that compute other windows; these
kernels have one order of sums.  A reflection is ``H = I - tau v v^T``, with v[k] = 1 and zeros before (Golub and Van Loan
2013, *Matrix Computations*, algorithms 5.1.1 and 5.2.1).
"""

import functools

import numpy as np

from ..engine.inlined import inlined
from .compiled import kernel
from .simd import first_lane, fma, get, lane_sum, lanes, load, load_first, put, size_of, splat, store, store_first

SMALL, LARGE = 1e-280, 1e280  # of sums of squares that are as exact as others


@inlined
def reflect(real, v, tau, a, count):
    """``a -= tau (v . a) v`` of `count` numbers (is modified); v, a: addresses."""
    total, size = splat(real, 0), size_of(real)
    whole, left = count // lanes(real) * lanes(real), count % lanes(real)
    for i in range(0, whole, lanes(real)):
        total = fma(load(real, v + i * size), load(real, a + i * size), total)
    total = fma(load_first(real, v + whole * size, left), load_first(real, a + whole * size, left), total)
    factor = lane_sum(total) * -tau
    for i in range(0, whole, lanes(real)):
        store(fma(factor, load(real, v + i * size), load(real, a + i * size)), a + i * size)
    rest = fma(factor, load_first(real, v + whole * size, left), load_first(real, a + whole * size, left))
    store_first(rest, a + whole * size, left)


@inlined
def reflect_four(real, v, tau, a, row, count):
    """`reflect` of four rows, `row` bytes apart: each has the bits that it has alone."""
    size, b, c, d = size_of(real), a + row, a + 2 * row, a + 3 * row
    whole, left = count // lanes(real) * lanes(real), count % lanes(real)
    end = whole * size
    first, second, third, fourth = splat(real, 0), splat(real, 0), splat(real, 0), splat(real, 0)
    for i in range(0, whole, lanes(real)):
        at = i * size
        own = load(real, v + at)
        first = fma(own, load(real, a + at), first)
        second = fma(own, load(real, b + at), second)
        third = fma(own, load(real, c + at), third)
        fourth = fma(own, load(real, d + at), fourth)
    last = load_first(real, v + end, left)
    by_first = lane_sum(fma(last, load_first(real, a + end, left), first)) * -tau
    by_second = lane_sum(fma(last, load_first(real, b + end, left), second)) * -tau
    by_third = lane_sum(fma(last, load_first(real, c + end, left), third)) * -tau
    by_fourth = lane_sum(fma(last, load_first(real, d + end, left), fourth)) * -tau
    for i in range(0, whole, lanes(real)):
        at = i * size
        way = load(real, v + at)
        store(fma(by_first, way, load(real, a + at)), a + at)
        store(fma(by_second, way, load(real, b + at)), b + at)
        store(fma(by_third, way, load(real, c + at)), c + at)
        store(fma(by_fourth, way, load(real, d + at)), d + at)
    store_first(fma(by_first, last, load_first(real, a + end, left)), a + end, left)
    store_first(fma(by_second, last, load_first(real, b + end, left)), b + end, left)
    store_first(fma(by_third, last, load_first(real, c + end, left)), c + end, left)
    store_first(fma(by_fourth, last, load_first(real, d + end, left)), d + end, left)


@inlined
def reflect_rows(real, v, tau, a, row, rows, count):
    """`reflect` of some rows."""
    whole = rows // 4 * 4
    for first in range(0, whole, 4):
        reflect_four(real, v, tau, a + first * row, row, count)
    for first in range(whole, rows):
        reflect(real, v, tau, a + first * row, count)


@inlined
def squares(real, a, count):
    """The sum of the squares of `count` numbers."""
    total, size = splat(real, 0), size_of(real)
    for i in range(0, count, lanes(real)):
        value = load_first(real, a + i * size, count - i)
        total = fma(value, value, total)
    return first_lane(lane_sum(total))


@inlined
def make_reflection(real, v, count):
    """(tau, r): write over a column (is modified) what reflects it to r times the first unit vector."""
    size, scale = size_of(real), 1.0
    first, rest = get(real, v), squares(real, v + size, count - 1)
    if not SMALL < rest + first * first < LARGE:
        most = 0.0
        for i in range(count):
            most = max(most, abs(get(real, v + i * size)))
        if most > 0 and most < np.inf:
            scale = most
            for i in range(count):
                put(get(real, v + i * size) / scale, v + i * size)
            first, rest = get(real, v), squares(real, v + size, count - 1)
    tau, result = 0.0, first
    if rest != 0:
        result = -np.copysign(np.sqrt(first * first + rest), first)
        tau = (result - first) / result
        for i in range(1, count):
            put(get(real, v + i * size) / (first - result), v + i * size)
    put(real + 1.0, v)
    return tau, result * scale


@inlined
def before(real, k):
    """The number k, or one before it, where a vector of a row begins: whoever reads on from there finds whole vectors."""
    return k // lanes(real) * lanes(real)


@functools.partial(kernel, releases=True)
def decompose(windows, reflectors, taus, logs, composed):
    """Q R of the tangents after each window, one window after the other (all are modified).

    windows: (W, N, K, S), the tangents themselves; or, if they are `composed`, (W, N, S, S), the rows of matrices to which Q
    of the window before is applied first.  reflectors, taus: (N, K, S), (N, K): Q, zeros before each v[k].  logs: (W, N, K),
    the logarithms of R's diagonal.
    """
    count, batch, _, size = windows.shape
    kept, real, row = logs.shape[2], 0.0, size * 8
    for w in range(count):
        for n in range(batch):
            v, a = reflectors[n].ctypes.data, windows[w, n].ctypes.data
            if composed:
                for first in range(0, size, 4):  # whose rows stay in the cache while all reflections pass by
                    rows = min(4, size - first)
                    for k in range(kept):
                        at = before(real, k)
                        reflect_rows(real, v + k * row + at * 8, taus[n, k], a + first * row + at * 8, row, rows, size - at)
                for k in range(kept):
                    for i in range(size):
                        reflectors[n, k, i] = windows[w, n, i, k]
            else:
                reflectors[n] = windows[w, n]
            for k in range(kept):
                at = before(real, k)
                place = v + k * row + at * 8
                taus[n, k], result = make_reflection(real, v + k * row + k * 8, size - k)
                reflectors[n, k, :k] = 0
                if taus[n, k] != 0:
                    reflect_rows(real, place, taus[n, k], place + row, row, kept - k - 1, size - at)
                logs[w, n, k] = np.log(np.abs(result))


@functools.partial(kernel, releases=True)
def columns_of(reflectors, taus, tangents):
    """Write the columns of Q, (N, K, S), from what `decompose` has left of it (`tangents` is modified)."""
    batch, kept, size = tangents.shape
    real, row = 0.0, size * 8
    for n in range(batch):
        q = tangents[n]
        q[...] = 0
        for k in range(kept):
            q[k, k] = 1
        for k in range(kept - 1, -1, -1):
            at = before(real, k)
            v = reflectors[n].ctypes.data + k * row + at * 8
            reflect_rows(real, v, taus[n, k], q.ctypes.data + k * row + at * 8, row, kept - k, size - at)
