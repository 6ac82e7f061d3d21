"""From the rows of a ragged batch, step by step, to the sequences of the caller."""

import numpy as np
from numba import njit, prange

from .blocks import entry
from .compiled import kernel
from .records import ROWS, UNPACK, place
from .routine_call import record_at
from .rows import row_address
from .simd import get, lanes, load_first, put, size_of, splat, store_first
from .threads import launching, threads

SOURCE, TARGET = place(UNPACK, "source"), place(UNPACK, "target")
RUNS, COLUMNS, LENGTHS, ENDS = (place(UNPACK, name) for name in ("runs", "columns", "lengths", "ends"))


@njit
def unpack_task(real, calls, part, parts):
    """Every so-manieth run."""
    call = calls[0]
    size, width, zero = size_of(real), lanes(real), splat(real, 0)
    for run in range(part, call.runs, parts):
        length = entry(call.lengths, run)
        for step in range(entry(call.ends, run)):
            target = row_address(call.target, step, run)
            source = row_address(call.source, step, run) if step < length else 0
            if source and call.source.channel_stride != size:
                for i in range(call.columns):
                    put(get(real, source + i * call.source.channel_stride), target + i * size)
                continue
            for i in range(0, call.columns, width):
                value = load_first(real, source + i * size, call.columns - i) if source else zero
                store_first(value, target + i * size, call.columns - i)


@kernel
def unpack_rows(real, address, parts):
    """Copy the rows of the UNPACK record at `address`, and write zeros where a sequence has ended."""
    calls = record_at(address, UNPACK)
    for part in prange(parts):
        unpack_task(real, calls, part, parts)


def unpack(source, target, lengths, ends, columns, dtype):
    """Write rows to others, and zeros after each run until ``ends[run]`` steps.

    source, target: descriptors, of which the target's channels are contiguous and its memory is modified;
    lengths, ends: of each run, int64; columns: channels.
    """
    words = ROWS.itemsize // 8
    record = np.zeros(UNPACK.itemsize // 8, np.int64)
    record[SOURCE : SOURCE + words], record[TARGET : TARGET + words] = source.record, target.record
    record[RUNS], record[COLUMNS] = len(lengths), columns
    record[LENGTHS], record[ENDS] = lengths.ctypes.data, ends.ctypes.data
    with launching():
        unpack_rows(dtype.type(0), record.ctypes.data, min(threads(), len(lengths)))
