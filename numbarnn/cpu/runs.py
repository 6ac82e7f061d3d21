"""Runs of numbers that are copied or added from place to place, on the CPU: how weights that have parts are put together."""

import numpy as np

from .blocks import entry
from .compiled import Task
from .records import integers
from .routine_call import record_at
from .simd import lanes, load_first, size_of, store_first

RUNS = np.dtype(integers("table", "count"))
ENTRIES = 5  # of a run: the addresses of its source and target, its numbers, whether the target is added to, and the sign


@Task
def _runs(cell, number, record, part):
    """Write, or add, each run of the table, one after the other."""
    real, call = number(0), record_at(record, RUNS)[0]
    for i in range(call.count):
        source, target = entry(call.table, ENTRIES * i), entry(call.table, ENTRIES * i + 1)
        count, added = entry(call.table, ENTRIES * i + 2), entry(call.table, ENTRIES * i + 3)
        negative = entry(call.table, ENTRIES * i + 4) < 0
        for k in range(0, count, lanes(real)):
            at, rest = k * size_of(real), count - k
            value = load_first(real, source + at, rest)
            if negative:
                value = -value
            if added:
                value = load_first(real, target + at, rest) + value
            store_first(value, target + at, rest)


def runs_of(source, target, added, sign):
    """The entries of arrays of one shape whose numbers lie in columns or rows: a run for each stretch of both."""
    if source.ndim == 1:
        source, target = source[:, None], target[:, None]
    if source.strides[0] != source.itemsize or target.strides[0] != target.itemsize:
        raise ValueError(f"source: expected arrays whose columns are without gaps, got strides {source.strides}")
    rows, columns = source.shape
    return [
        (source.ctypes.data + j * source.strides[1], target.ctypes.data + j * target.strides[1], rows, added, sign)
        for j in range(columns)
    ]


def add_runs(program, dtype, entries, read, written):
    """Add runs to a program, of arrays that stay where they are; entries: of `runs_of`, in order."""
    table = np.array(entries, np.int64)
    record = np.array((table.ctypes.data, len(table)), np.int64)
    program.records.append(table)  # a copy of the program has addresses of its own in it
    program.add_job(_runs, None, dtype, record, table, *read, written=written)
