"""One function of every number of an array, on the CPU."""

import numpy as np
from numba import prange

from . import types  # noqa: F401 (it says how a kernel takes a cell)
from .blocks import share
from .compiled import kernel
from .memory import empty
from .simd import lanes, load_first, size_of, store_first
from .threads import launching, threads

SMALLEST_PART = 1 << 14  # numbers below which another thread does not pay


@kernel
def _value(cell, real, parts, count, x, y):
    """Write ``f(x)`` to y for `count` numbers at addresses x and y, split into parts for the threads."""
    for part in prange(parts):
        first, mine = share(count, parts, part)
        for i in range(first, first + mine, lanes(real)):
            at, rest = i * size_of(real), first + mine - i
            store_first(cell.activation.value(load_first(real, x + at, rest)), y + at, rest)


@kernel
def _times_slope(cell, real, parts, count, kept, dy, dx):
    """Write ``dy f'(x)`` to dx for `count` numbers at these addresses; kept: what f keeps of x."""
    for part in prange(parts):
        first, mine = share(count, parts, part)
        for i in range(first, first + mine, lanes(real)):
            at, rest = i * size_of(real), first + mine - i
            slope = cell.activation.slope(load_first(real, kept + at, rest))
            store_first(load_first(real, dy + at, rest) * slope, dx + at, rest)


def _parts(count):
    """Into how many parts so many numbers are split, one for each thread that pays."""
    return max(1, min(threads(), count // SMALLEST_PART))


def value(cell, x, y=None):
    """``f(x)`` as a C-contiguous array, `y` (is modified) or a new one, f being the cell's activation."""
    x = np.ascontiguousarray(x)
    y = empty(x.shape, x.dtype) if y is None else y
    with launching():
        _value(cell, x.dtype.type(0), _parts(x.size), x.size, x.ctypes.data, y.ctypes.data)
    return y


def times_slope(cell, kept, dy, dx):
    """Write ``dy * f'(x)``, from what f keeps of x, to the C-contiguous array `dx` (is modified)."""
    kept, dy = np.ascontiguousarray(kept), np.ascontiguousarray(dy)
    with launching():
        _times_slope(
            cell, dx.dtype.type(0), _parts(dx.size), dx.size, kept.ctypes.data, dy.ctypes.data, dx.ctypes.data
        )
