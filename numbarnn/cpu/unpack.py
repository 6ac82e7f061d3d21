"""From the rows of a ragged batch, step by step, to the sequences of the caller."""

import numpy as np

from . import jobs
from .blocks import entry
from .compiled import Task
from .records import ROWS, UNPACK, place
from .routine_call import record_at
from .rows import row_address
from .simd import get, lanes, load_first, put, size_of, splat, store_first
from .threads import threads

SOURCE, TARGET = place(UNPACK, "source"), place(UNPACK, "target")
RUNS, PARTS, COLUMNS, LENGTHS, ENDS = (place(UNPACK, name) for name in ("runs", "parts", "columns", "lengths", "ends"))


@Task
def unpack_task(cell, number, record, part):
    """Every so-manieth run: copy its rows, and write zeros where its sequence has ended."""
    real, call = number(0), record_at(record, UNPACK)[0]
    size, width, zero = size_of(real), lanes(real), splat(real, 0)
    for run in range(part, call.runs, call.parts):
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


def unpack(source, target, lengths, ends, columns, dtype):
    """Write rows to others, and zeros after each run until ``ends[run]`` steps.

    source, target: descriptors, of which the target's channels are contiguous and its memory is modified;
    lengths, ends: of each run, int64; columns: channels.
    """
    parts = min(threads(), len(lengths))
    jobs.run(unpack_task, None, dtype, _record(source, target, lengths, ends, columns, parts), parts)


def add_unpack(program, source, target, lengths):
    """Add `unpack` without zeros behind runs to a program; lengths are those of the runs when it is run."""
    record = _record(source, target, lengths, lengths, target.channels, 1)
    program.add_job(unpack_task, None, target.dtype, record, source, target, lengths)


def _record(source, target, lengths, ends, columns, parts):
    """A record of UNPACK, as integers."""
    words = ROWS.itemsize // 8
    record = np.zeros(UNPACK.itemsize // 8, np.int64)
    record[SOURCE : SOURCE + words], record[TARGET : TARGET + words] = source.record, target.record
    record[RUNS], record[COLUMNS], record[PARTS] = len(lengths), columns, parts
    record[LENGTHS], record[ENDS] = lengths.ctypes.data, ends.ctypes.data
    return record
