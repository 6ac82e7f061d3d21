"""Ragged batches in programs that are made once: what changes from batch to batch are a table, and numbers in records.

Everything is made for the longest sequences in an `arrays.packing.Room`.  Before a batch its packing's table is written
over the room's, and steps, rows and chunks into the records: then nothing is computed that the batch has not.
"""

import numpy as np

from .compiled import Function
from .elementwise import COUNT, FURTHER
from .records import BACKWARD, FORWARD, integers, place
from .routine_call import copy_bytes, numbers_at, record_at
from .sizes import backward_chunk

ROWS_OF_STEPS = np.dtype(integers("source", "target", "starts", "table", "batch", "steps", "bytes"))
ENDS = np.dtype(integers("source", "source_row", "target", "target_row", "rows", "count", "bytes", "put"))


@Function
def gather_rows(record):
    """Write the rows of a batch's steps, step by step without a gap: row r at step t is ``source[starts[r] + t]``."""
    call = record_at(record, ROWS_OF_STEPS)[0]
    starts, table = numbers_at(np.int64, call.starts, call.batch), numbers_at(np.int64, call.table, call.steps + 3)
    target = call.target
    for t in range(call.steps):
        for r in range(table[t + 3] - table[t + 2]):
            copy_bytes(call.source + (starts[r] + t) * call.bytes, target, call.bytes)
            target += call.bytes


@Function
def move_ends(record):
    """Copy row ``rows[n]`` of the source to row n of the target; or, if `put` is 1, row n to row ``rows[n]``."""
    call = record_at(record, ENDS)[0]
    rows = numbers_at(np.int64, call.rows, call.count)
    for n in range(call.count):
        source, target = (n, rows[n]) if call.put else (rows[n], n)
        copy_bytes(call.source + source * call.source_row, call.target + target * call.target_row, call.bytes)


def add_gather_rows(program, target, starts, room):
    """Add `gather_rows` to a program, into (rows, C); returns its record, whose source is to be set."""
    addresses = (array.ctypes.data for array in (target, starts, room.table))
    record = np.array((0, *addresses, room.batch, room.steps, target[0].nbytes), ROWS_OF_STEPS)
    program.add(gather_rows, record, target, starts, room)
    return record


def add_ends(program, source, target, rows, put):
    """Add `move_ends` to a program, of (rows, C) arrays whose channels lie side by side."""
    (source_row, _), (target_row, _) = source.strides, target.strides
    places = source.ctypes.data, source_row, target.ctypes.data, target_row, rows.ctypes.data
    record = np.array((*places, len(rows), target.shape[1] * target.itemsize, put), ENDS)
    program.add(move_ends, record, source, target, rows)


class Changes:
    """The numbers in records that follow the packing of a batch: none are addresses, as other workers take them over.

    Attributes
    ----------
    arrays : list of numpy.ndarray
        Views of them, and the room's table.
    """

    def __init__(self, room):
        self.room, self._named, self.arrays = room, [], [room.table]

    def add(self, view, name, each=1, first=0):
        """Add a number, a view of one: `first`, and `each` times "steps", "rows", "chunk" or "chunk_rows"."""
        self._named.append((view, name, each, first))
        self.arrays.append(view)

    def add_pass(self, record, backward=False):
        """Add the numbers of a FORWARD or BACKWARD record, as integers."""
        names = {"steps": "steps", "total": "steps"} | ({"chunk": "chunk", "chunk_rows": "chunk_rows"} if backward else {})
        for field, name in names.items():
            at = place(BACKWARD if backward else FORWARD, field)
            self.add(record[at : at + 1], name)

    def add_sum(self, record, dx):
        """Add the count of a record of `elementwise.add_sum`, and where the second of two directions begins behind dx."""
        row = dx.array[0].nbytes
        self.add(record[COUNT : COUNT + 1], "rows", dx.channels)
        self.add(record[FURTHER : FURTHER + 1], "rows", row, -row * self.room.rows)

    def add_counts(self, records):
        """Add the counts of structured records, of what is done for each row of the room."""
        for record in records:
            for field in {"count", "rows"} & set(record.dtype.names or ()):
                self.add(record[field].reshape(1), "rows", int(record[field]) // self.room.rows)

    def write(self, packing):
        """Write what a packing has (the arrays are modified)."""
        chunk = backward_chunk(packing)
        values = {"steps": packing.steps, "rows": packing.rows, "chunk": chunk, "chunk_rows": packing.most_rows(chunk)}
        self.room.table[: len(packing.table)] = packing.table
        for view, name, each, first in self._named:
            view[0] = first + each * values[name]
