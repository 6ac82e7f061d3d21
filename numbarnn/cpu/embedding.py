"""Rows of a table on the CPU: read by index, written by index, and summed by index.

Indices are vectors of int64 whose numbers have been checked: a kernel reads wherever they point.  Tables and rows are
C-contiguous, (rows, columns).
"""

import numpy as np
from numba import prange

from .blocks import entry, share
from .compiled import kernel
from .simd import lanes, load_first, size_of, splat, store_first
from .threads import launching, threads

SMALLEST_PART = 1 << 13  # numbers below which another thread does not pay


@kernel
def _take(real, parts, count, columns, table, indices, target):
    """Copy row ``indices[i]`` of the table to row i of the target, for `count` rows at these addresses."""
    row, size, width = columns * size_of(real), size_of(real), lanes(real)
    for part in prange(parts):
        first, mine = share(count, parts, part)
        for i in range(first, first + mine):
            source, to = table + entry(indices, i) * row, target + i * row
            for c in range(0, columns, width):
                store_first(load_first(real, source + c * size, columns - c), to + c * size, columns - c)


@kernel
def _put(real, parts, count, columns, table, indices, source):
    """Copy row i of the source to row ``indices[i]`` of the table, for `count` rows at these addresses."""
    row, size, width = columns * size_of(real), size_of(real), lanes(real)
    for part in prange(parts):
        first, mine = share(count, parts, part)
        for i in range(first, first + mine):
            begin, to = source + i * row, table + entry(indices, i) * row
            for c in range(0, columns, width):
                store_first(load_first(real, begin + c * size, columns - c), to + c * size, columns - c)


@kernel
def _sum(real, parts, bounds, columns, order, starts, indices, source, target, accumulate):
    """Write the sum of each group's rows of the source; bounds: the first group of each part; see `sum_rows`."""
    row, size, width = columns * size_of(real), size_of(real), lanes(real)
    for part in prange(parts):
        for group in range(entry(bounds, part), entry(bounds, part + 1)):
            to = target + (entry(indices, group) if indices else group) * row
            begin, end = entry(starts, group), entry(starts, group + 1)
            for c in range(0, columns, width):
                total = splat(real, 0)
                for k in range(begin, end):
                    total = total + load_first(real, source + entry(order, k) * row + c * size, columns - c)
                if accumulate:
                    total = total + load_first(real, to + c * size, columns - c)
                store_first(total, to + c * size, columns - c)


def _parts(count):
    """Into how many parts so many numbers are split, one for each thread that pays."""
    return max(1, min(threads(), count // SMALLEST_PART))


def take_rows(table, indices, target):
    """Write ``table[indices]`` to `target` (is modified)."""
    count, columns = target.shape
    with launching():
        _take(
            table.dtype.type(0), _parts(target.size), count, columns, table.ctypes.data, indices.ctypes.data,
            target.ctypes.data,
        )  # fmt: skip


def put_rows(table, indices, source):
    """Write `source` to ``table[indices]`` (is modified); no index may be there twice."""
    count, columns = source.shape
    with launching():
        _put(
            table.dtype.type(0), _parts(source.size), count, columns, table.ctypes.data, indices.ctypes.data,
            source.ctypes.data,
        )  # fmt: skip


def sum_rows(source, groups, target, compact, accumulate=False):
    """Write the sum of each group's rows to a row of `target` (is modified); no other row is touched.

    Parameters
    ----------
    source : numpy.ndarray
        (indices, columns).
    groups : Groups
    target : numpy.ndarray
        (table rows, columns), where the sum of index i goes to row i; with `compact` (groups, columns), in order.
    compact : bool
    accumulate : bool
        Add to the rows instead of overwriting them.
    """
    parts, count = _parts(source.size), groups.starts[-1]
    # Each thread takes groups of about as many rows in all: the sum of a frequent index is long.
    bounds = np.searchsorted(groups.starts[:-1], np.arange(parts + 1) * count // parts)
    bounds[-1] = len(groups.indices)
    with launching():
        _sum(
            source.dtype.type(0), parts, bounds.ctypes.data, source.shape[1], groups.order.ctypes.data,
            groups.starts.ctypes.data, 0 if compact else groups.indices.ctypes.data, source.ctypes.data,
            target.ctypes.data, accumulate,
        )  # fmt: skip
