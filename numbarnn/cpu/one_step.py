"""Tasks of layers one step after the other, all layers at each step, in compiled code.

Forward and backward of a whole sequence leave the loop over time to each layer (`recurrent`).  Where outputs are part of
the next input the loop is outside, and takes the same tasks, on copies of the same records that see a single step: the
segment of one step that begins at the step they `start` at.  They write the same tape to the same places, with the same
bits.  What a record counts from the beginning of its segment, all but x, the drives and the states, *moves* along.

A part of the batch goes through all steps, or a chunk of them, by itself: no thread waits for another.  Parts are as in
`rows.task_rows`: neighbouring rows of a uniform batch, every so-manieth row of a ragged one.
"""

import numpy as np

from ..engine.inlined import inlined
from .blocks import entry, set_entry
from .compiled import Task
from .failures import call_or_raise
from .memory import borrow
from .records import FORWARD, ROWS, integers, place
from .routine_call import record_at
from .rows import row_address, rows_before, working
from .tapes import F_PACK, F_POOL, F_X, ROWS_WORDS
from .threads import threads_for

# Which rows of a batch a part has, as in `rows.task_rows`.
PART = integers("batch", "table", "first", "stride", "most")

# What a part of the batch takes at each step.
CALLS = [
    *PART,
    *integers(
        "calls",  # [count, 3]: a task, its record, its index
        "count",
        "moves",  # [move_count, 5]: where an integer is, what it is at step 0, and what a step, a row at work, and a row at
        "move_count",  # work since the start add to it
        "start",  # the first of the steps to take
    ),
]

# A task that takes numbers one by one, of a step's rows wherever these lie.
EACH = np.dtype(
    PART
    + integers(
        "time",
        "task",
        "record",
        "size",  # of a row, as the record counts it
        "many",  # rows that it takes at once: all where they lie one after the other, else one
        "arrays",  # [array_count] of ROWS
        "places",  # [array_count]: where in the record the address of each goes
        "array_count",
        "sizes",  # [size_count]: where in the record it says how many numbers there are
        "size_count",
    )
)
WORD, ROWS_BYTES = 8, ROWS.itemsize


@inlined
def rows_at(part, step):
    """How many rows of a part are at work at a step."""
    return working(part, step, part.first, part.stride, part.most)


@inlined
def take_calls(part, step):
    """Have all done that a step asks for."""
    rows = rows_before(part, step)
    since = rows - rows_before(part, part.start)
    for i in range(part.move_count):
        move = part.moves + 5 * WORD * i
        moved = step * entry(move, 2) + rows * entry(move, 3) + since * entry(move, 4)
        set_entry(entry(move, 0), 0, entry(move, 1) + moved)
    for i in range(part.count):
        call = part.calls + 3 * WORD * i
        call_or_raise(entry(call, 0), (0, 0, entry(call, 1), entry(call, 2)))


@Task
def each_task(cell, number, record, index):
    """The task of the EACH record, of all rows that are at work at its time."""
    each = record_at(record, EACH)[0]
    rows = rows_at(each, each.time)
    for r in range(0, rows, each.many):
        for i in range(each.size_count):
            set_entry(entry(each.sizes, i), 0, min(each.many, rows - r) * each.size)
        for i in range(each.array_count):
            array = record_at(each.arrays + i * ROWS_BYTES, ROWS)[0]
            set_entry(entry(each.places, i), 0, row_address(array, each.time, each.first + r * each.stride))
        call_or_raise(each.task, (0, 0, each.record, 0))


class StepCalls:
    """What is called at each step, in order, for each part of the batch.

    Parameters
    ----------
    packing : Uniform or Packing
    dtype : numpy.dtype
    products : int
        Multiplications of numbers by parameters in all of them.
    parts : int, optional
        Into which the batch is split; as many as pay if None.
    """

    def __init__(self, packing, dtype, products, parts=None):
        self.packing, self.dtype, self.products = packing, dtype, products
        self.parts = parts = parts or max(1, min(packing.batch, threads_for(products)))
        self._calls, self._moves = ([[] for _ in range(parts)] for _ in range(2))
        self._kept = [packing]

    def rows_of(self, part):
        """(batch, table, first, stride, most) of a part: PART."""
        batch, table = self.packing.batch, self.packing.table_address
        if table:
            return batch, table, part, self.parts, (batch - part + self.parts - 1) // self.parts
        first = batch * part // self.parts
        return batch, table, first, 1, batch * (part + 1) // self.parts - first

    def add(self, part, task, cell, record, moves, index=0):
        """Add a call of a task with a record of integers.

        moves: {which of them: what a step, a row at work, and a row at work since the start add to it}.
        """
        address = record.ctypes.data
        self._calls[part] += task.address(cell, self.dtype), address, index
        for word, steps in moves.items():
            self._moves[part] += address + WORD * word, record[word], *steps
        self._kept.append(record)

    def add_each(self, task, cell, arrays, make, in_rows=False, *kept):
        """Add a task that takes the numbers of a step one by one.

        arrays: descriptors; make: the record of a count, of numbers or of rows, and the addresses of the arrays; kept: what
        lives as long.
        """
        channels, item = arrays[0].channels, self.dtype.itemsize
        joined = all(each.packing.uniform and each.strides[1] == channels * item for each in arrays)
        size = 1 if in_rows else channels
        tables = np.array([each.record for each in arrays], np.int64)
        self._kept += arrays, tables, kept
        for part in range(self.parts):
            rows = self.rows_of(part)
            own = make(-1, [-2 - i for i in range(len(arrays))])  # numbers that nothing else is
            words = [int(np.flatnonzero(own == -2 - i)[0]) for i in range(len(arrays))], np.flatnonzero(own == -1)
            places, sizes = (own.ctypes.data + WORD * np.array(each, np.int64) for each in words)
            record = np.array(
                (*rows, 0, task.address(cell, self.dtype), own.ctypes.data, size, max(1, rows[-1]) if joined else 1,
                 tables.ctypes.data, places.ctypes.data, len(places), sizes.ctypes.data, len(sizes)), np.int64,
            )  # fmt: skip
            self._kept += own, places, sizes
            self.add(part, each_task, None, record, {place(EACH, "time"): (1, 0, 0)})

    def add_forward(self, tape, source, outputs):
        """Add the steps of a layer's `launch.Tape`; source, outputs: descriptors, (T, N, channels).

        Returns the record of all steps, whose weights `pack` packs.
        """
        plans, size = tape.plans, tape.size
        block = borrow(plans.scratch.nbytes)
        record = tape.forward.record.copy()
        plans.forward.move(record, 0, block[1])
        self._kept += block, tape
        for part in range(self.parts):
            own = self.of_one_step(record, FORWARD, outputs)
            own[[F_PACK, F_POOL]] = 0
            own[F_X : F_X + ROWS_WORDS] = source.record
            kept = int(record[place(FORWARD, "operand_kept")])
            self.add(part, plans.kernels.forward_task, size.cell, own, self.moves_of(tape, FORWARD, kept), part)
        return record

    def of_one_step(self, record, kind, outputs):
        """A copy of a record that sees one step of the batch, and the parts of it."""
        own = record.copy()
        for name, value in {
            "steps": 1, "start": 0, "total": self.packing.steps, "chunk": 1, "batch": self.packing.batch,
            "table": self.packing.table_address, "tasks": self.parts, "splits": 1, "parts": self.parts, "whole": 1,
            "zero_start": 0,
        }.items():  # fmt: skip
            own[place(kind, name)] = value
        self.set_states(own, kind, outputs)
        return own

    def set_states(self, record, kind, outputs):
        """Let h of a record begin a block before the outputs, for one sequence's outputs may lie in other blocks."""
        if self.packing.uniform:
            record[place(kind, "h")] = outputs.address - self.packing.batch * outputs.strides[1]

    def moves_of(self, tape, kind, operand_kept):
        """What moves of a record of one step: where it starts, and what a tape has of each step besides the states."""
        found, item = {place(kind, "start"): (1, 0, 0)}, self.dtype.itemsize
        for name, numbers in tape.size.gates(1).items():
            if numbers and (tape.keep.gates or name == "operand"):
                found[place(kind, name)] = 0, (operand_kept if name == "operand" else 1) * numbers * item, 0
        return found

    def made(self, kind, **values):
        """A record for each part, of a dtype that begins with CALLS; the rest by the names of fields."""
        records = np.zeros((self.parts, kind.itemsize // WORD), np.int64)
        for part, record in enumerate(records):
            calls, moves = (np.array(each[part], np.int64) for each in (self._calls, self._moves))
            self._kept += calls, moves
            own = calls.ctypes.data, len(calls) // 3, moves.ctypes.data, len(moves) // 5, 0
            record[: len(CALLS)] = *self.rows_of(part), *own
            for name, value in values.items():
                at = place(kind, name)
                record[at : at + np.size(value)] = value
        return records
