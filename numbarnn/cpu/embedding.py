"""Rows of a table on the CPU: read by index, written by index, and summed by index.

Indices are vectors of int64 whose numbers have been checked: a kernel reads wherever they point.  Tables and rows are
C-contiguous, (rows, columns).
"""

import numpy as np

from .blocks import entry, share
from .compiled import Task
from .jobs import run
from .records import integers, place
from .routine_call import record_at
from .simd import lanes, load_first, size_of, splat, store_first
from .threads import parts_for

SMALLEST_PART = 1 << 13  # numbers below which another thread does not pay
COPY = np.dtype(integers("parts", "count", "columns", "source", "from_rows", "target", "to_rows"))
COUNT = place(COPY, "count")
SUM = np.dtype(integers("bounds", "columns", "order", "starts", "indices", "source", "target", "accumulate"))


@Task
def _copy(cell, number, record, part):
    """Copy rows of the source to rows of the target, one part of them; without a table of indices row i is the i-th."""
    real, call = number(0), record_at(record, COPY)[0]
    row, size, columns = call.columns * size_of(real), size_of(real), call.columns
    first, mine = share(call.count, call.parts, part)
    for i in range(first, first + mine):
        source = call.source + (entry(call.from_rows, i) if call.from_rows else i) * row
        to = call.target + (entry(call.to_rows, i) if call.to_rows else i) * row
        for c in range(0, columns, lanes(real)):
            store_first(load_first(real, source + c * size, columns - c), to + c * size, columns - c)


@Task
def _add(cell, number, record, part):
    """Add rows of the source to the rows of the target that a table of indices names, in order."""
    real, call = number(0), record_at(record, COPY)[0]
    row, size, columns = call.columns * size_of(real), size_of(real), call.columns
    for i in range(call.count):
        source, to = call.source + i * row, call.target + entry(call.to_rows, i) * row
        for c in range(0, columns, lanes(real)):
            total = load_first(real, to + c * size, columns - c) + load_first(real, source + c * size, columns - c)
            store_first(total, to + c * size, columns - c)


@Task
def _sum(cell, number, record, part):
    """Write the sum of each group's rows of the source; bounds: the first group of each part; see `sum_rows`."""
    real, call = number(0), record_at(record, SUM)[0]
    row, size, columns = call.columns * size_of(real), size_of(real), call.columns
    for group in range(entry(call.bounds, part), entry(call.bounds, part + 1)):
        to = call.target + (entry(call.indices, group) if call.indices else group) * row
        begin, end = entry(call.starts, group), entry(call.starts, group + 1)
        for c in range(0, columns, lanes(real)):
            total = splat(real, 0)
            for k in range(begin, end):
                total = total + load_first(real, call.source + entry(call.order, k) * row + c * size, columns - c)
            if call.accumulate:
                total = total + load_first(real, to + c * size, columns - c)
            store_first(total, to + c * size, columns - c)


def _copies(shape, source, from_rows, target, to_rows, parts):
    """The COPY record of so many rows and columns; no indices: None."""
    addresses = (0 if array is None else array.ctypes.data for array in (source, from_rows, target, to_rows))
    return np.array((parts, *shape, *addresses), COPY)


def take_rows(table, indices, target):
    """Write ``table[indices]`` to `target` (is modified)."""
    parts = parts_for(target.size, SMALLEST_PART)
    run(_copy, None, table.dtype, _copies(target.shape, table, indices, target, None, parts), parts)


def add_take(program, table, indices, rows, per_step):
    """Add `take_rows` to a program; `per_step`: rows of a step, of as many steps as the program takes at once."""
    record = _copies(rows.shape, table, indices, rows, None, 1)
    program.add_job(_copy, None, table.dtype, record, table, indices, written=[rows], per_step=[(COUNT, per_step)])


def put_rows(table, indices, source):
    """Write `source` to ``table[indices]`` (is modified); no index may be there twice."""
    parts = parts_for(source.size, SMALLEST_PART)
    run(_copy, None, table.dtype, _copies(source.shape, source, None, table, indices, parts), parts)


def add_add(program, table, indices, rows):
    """Add to a program that each row is added to ``table[index]`` (is modified), one after the other."""
    record = _copies(rows.shape, rows, None, table, indices, 1)
    program.add_job(_add, None, table.dtype, record, rows, indices, written=[table])


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
    parts, count = parts_for(source.size, SMALLEST_PART), groups.starts[-1]
    # Each thread takes groups of about as many rows in all: the sum of a frequent index is long.
    bounds = np.searchsorted(groups.starts[:-1], np.arange(parts + 1) * count // parts)
    bounds[-1] = len(groups.indices)
    record = np.array(
        (
            bounds.ctypes.data, source.shape[1], groups.order.ctypes.data, groups.starts.ctypes.data,
            0 if compact else groups.indices.ctypes.data, source.ctypes.data, target.ctypes.data, accumulate,
        ),
        SUM,
    )  # fmt: skip
    run(_sum, None, source.dtype, record, parts)
