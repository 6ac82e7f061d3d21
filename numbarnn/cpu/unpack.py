"""From the rows of a ragged batch, step by step, to the sequences of the caller."""

import numpy as np

from . import jobs
from .blocks import entry
from .compiled import Task
from .records import ROWS, UNPACK, place
from .routine_call import record_at
from .rows import row_address
from .simd import get, lanes, load, load_first, put, size_of, splat, store, store_first
from .threads import threads

SOURCE, TARGET = place(UNPACK, "source"), place(UNPACK, "target")
RUNS, PARTS, BLOCK, COLUMNS, LENGTHS, ENDS = (
    place(UNPACK, name) for name in ("runs", "parts", "block", "columns", "lengths", "ends")
)
MOST_RUNS = 16  # of a block: their rows of a step lie on few pages


@Task
def unpack_task(cell, number, record, part):
    """Every so-manieth block of runs, step after step: copy their rows, and write zeros where a sequence has ended."""
    real, call = number(0), record_at(record, UNPACK)[0]
    size, width, zero = size_of(real), lanes(real), splat(real, 0)
    whole = call.columns // width * width
    for block in range(part * call.block, call.runs, call.parts * call.block):
        end, last = min(block + call.block, call.runs), 0
        for run in range(block, end):
            last = max(last, entry(call.ends, run))
        for step in range(last):
            for run in range(block, end):
                if step >= entry(call.ends, run):
                    continue
                target = row_address(call.target, step, run)
                if step >= entry(call.lengths, run):
                    for i in range(0, whole, width):
                        store(zero, target + i * size)
                    store_first(zero, target + whole * size, call.columns - whole)
                    continue
                source = row_address(call.source, step, run)
                if call.source.channel_stride != size:
                    for i in range(call.columns):
                        put(get(real, source + i * call.source.channel_stride), target + i * size)
                    continue
                for i in range(0, whole, width):
                    store(load(real, source + i * size), target + i * size)
                rest = call.columns - whole
                store_first(load_first(real, source + whole * size, rest), target + whole * size, rest)


def unpack(source, target, lengths, ends, columns, dtype):
    """Write rows to others, and zeros after each run until ``ends[run]`` steps.

    source, target: descriptors, of which the target's channels are contiguous and its memory is modified;
    lengths, ends: of each run, int64; columns: channels.
    """
    parts = min(threads(), len(lengths))
    jobs.run(unpack_task, None, dtype, _record(source, target, lengths, ends, columns, parts), parts)


def add_unpack(program, source, target, lengths):
    """Add `unpack` without zeros behind runs to a program; lengths are of the runs when it is run."""
    record = _record(source, target, lengths, lengths, target.channels, 1)
    program.add_job(unpack_task, None, target.dtype, record, source, target, lengths)


def _record(source, target, lengths, ends, columns, parts):
    """A record of UNPACK, as integers."""
    words = ROWS.itemsize // 8
    record = np.zeros(UNPACK.itemsize // 8, np.int64)
    record[SOURCE : SOURCE + words], record[TARGET : TARGET + words] = source.record, target.record
    record[RUNS], record[COLUMNS], record[PARTS] = len(lengths), columns, parts
    record[BLOCK] = max(1, min(MOST_RUNS, len(lengths) // parts))
    record[LENGTHS], record[ENDS] = lengths.ctypes.data, ends.ctypes.data
    return record
