"""Rows that are made of other rows, on the CPU: side by side along their channels, summed, or summed over the steps.

Rows lie as a descriptor says, at any strides and of any packing; those that are written have contiguous channels.
"""

import numpy as np

from .blocks import entry, share
from .compiled import Task
from .jobs import run
from .records import ROWS, integers, place
from .routine_call import record_at
from .rows import row_address
from .simd import get, lanes, load_first, put, size_of, splat, store_first
from .threads import parts_for

SMALLEST_PART = 1 << 13  # numbers below which another thread does not pay
PIECE = np.dtype(
    [("source", ROWS)]
    + integers(
        "columns",  # channels
        "place",  # of the first of them in the target's row, in bytes
        "adds",  # 1 to add to what is there, 0 to overwrite it
    )
)
JOIN = np.dtype(
    [("target", ROWS)]
    + integers(
        "parts",  # into which the steps are split
        "steps",
        "runs",
        "lengths",  # [runs] steps of each run, the longest first; 0 where all have all
        "pieces",  # [count] of PIECE
        "count",
    )
)
SUMS = np.dtype(
    [("source", ROWS)]
    + integers(
        "parts",  # into which the sequences are split
        "sequences",
        "steps",
        "lengths",  # as of JOIN
        "order",  # [runs] the runs of a sequence one after the other in time; 0 where a sequence is a run
        "firsts",  # [sequences + 1] where the runs of each begin
        "columns",
        "target",  # [sequences, columns]
    )
)
STEPS, PIECE_BYTES = place(JOIN, "steps"), PIECE.itemsize


@Task
def _join(cell, number, record, part):
    """Write the pieces of each row of the target, one after the other, of one part of the steps."""
    real, call = number(0), record_at(record, JOIN)[0]
    size, width = size_of(real), lanes(real)
    first, mine = share(call.steps, call.parts, part)
    for step in range(first, first + mine):
        for row in range(call.runs):
            if call.lengths != 0 and entry(call.lengths, row) <= step:
                break
            target = row_address(call.target, step, row)
            for index in range(call.count):
                piece = record_at(call.pieces + index * PIECE_BYTES, PIECE)[0]
                source, to, columns = row_address(piece.source, step, row), target + piece.place, piece.columns
                if piece.source.channel_stride != size:
                    for i in range(columns):
                        single = get(real, source + i * piece.source.channel_stride)
                        put(get(real, to + i * size) + single if piece.adds else single, to + i * size)
                    continue
                for i in range(0, columns, width):
                    rest = columns - i
                    value = load_first(real, source + i * size, rest)
                    if piece.adds:
                        value = load_first(real, to + i * size, rest) + value
                    store_first(value, to + i * size, rest)


@Task
def _sum(cell, number, record, part):
    """Write the sum of the steps of each sequence of one part, from its first step on."""
    real, call = number(0), record_at(record, SUMS)[0]
    size, width, stride = size_of(real), lanes(real), call.source.channel_stride
    first, mine = share(call.sequences, call.parts, part)
    for sequence in range(first, first + mine):
        to = call.target + sequence * call.columns * size
        begin = entry(call.firsts, sequence) if call.order else sequence
        end = entry(call.firsts, sequence + 1) if call.order else sequence + 1
        for i in range(0, call.columns, width if stride == size else 1):
            total, single = splat(real, 0), real
            for at in range(begin, end):
                row = entry(call.order, at) if call.order else at
                for step in range(entry(call.lengths, row) if call.lengths else call.steps):
                    source = row_address(call.source, step, row) + i * stride
                    if stride == size:
                        total = total + load_first(real, source, call.columns - i)
                    else:
                        single = single + get(real, source)
            if stride == size:
                store_first(total, to + i * size, call.columns - i)
            else:
                put(single, to + i * size)


class Join:
    """Rows that are made of pieces of other rows, as these are at each run.

    Parameters
    ----------
    target : TensorDescriptor
        Of contiguous channels (is modified).
    pieces : sequence of (TensorDescriptor, int, bool)
        Of the packing of the target each: which rows, the channel of the target from which on they are written, and
        whether they are added to what earlier pieces have written there.
    """

    def __init__(self, target, pieces):
        packing, item = target.packing, target.dtype.itemsize
        self._pieces = np.array([(each.record, each.channels, at * item, adds) for each, at, adds in pieces], PIECE)
        self._kept, self._target = [each for each, _, _ in pieces], target
        self.parts = parts_for(packing.rows * target.channels, SMALLEST_PART)
        lengths = 0 if packing.uniform else packing.length.ctypes.data
        self._record = np.array(
            (*target.record, self.parts, packing.steps, packing.batch, lengths, self._pieces.ctypes.data, len(pieces)),
            np.int64,
        )

    def run(self):
        """Write the rows."""
        run(_join, None, self._target.dtype, self._record, self.parts)

    def add_to(self, program):
        """Add it to a program, of as many steps as that takes at once."""
        program.records.append(self._pieces.view(np.int64))  # a copy of the program has addresses of its own in it
        program.add_job(
            _join, None, self._target.dtype, self._record, self, written=[self._target.array], count=self.parts,
            per_step=[(STEPS, 1)], threads=self.parts,
        )  # fmt: skip


class StepSums:
    """The sums of the rows of each sequence over its steps, from the first one on, so that none depends on the batch.

    Parameters
    ----------
    source : TensorDescriptor
    target : numpy.ndarray
        (N, C), contiguous (is modified); 0 for a sequence without steps.
    """

    def __init__(self, source, target):
        packing, self._kept, self._target = source.packing, [source], target
        self.parts = min(parts_for(packing.rows * source.channels, SMALLEST_PART), max(1, packing.sequences))
        tables = 0, 0, 0
        if not packing.uniform:
            order, firsts = packing.runs_of_sequences
            self._kept += [order, firsts]
            tables = packing.length.ctypes.data, order.ctypes.data, firsts.ctypes.data
        self._record = np.array(
            (*source.record, self.parts, packing.sequences, packing.steps, *tables, source.channels, target.ctypes.data),
            np.int64,
        )

    def run(self):
        """Write the sums."""
        run(_sum, None, self._target.dtype, self._record, self.parts)

    def add_to(self, program):
        """Add it to a program of whole sequences."""
        program.add_job(
            _sum, None, self._target.dtype, self._record, self, written=[self._target], count=self.parts, threads=self.parts
        )
