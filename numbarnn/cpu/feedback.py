"""Layers step after step, in one call, where outputs are part of the next input; and back through all of the steps.

Forward and backward of a whole sequence leave the loop over time to each layer (`recurrent`).  Here the loop is outside: at
each step the next input is made of what is given and of the output before, and all layers take it.  The same tasks do the
work, on copies of the same records that see a single step: the addresses in them *move* by a step's bytes from call to call.
They write the same tape to the same places, with the same bits.

Back from the last step to the first, each step has the derivatives with respect to inputs and states, for what reaches an
output by way of the next input is known no sooner, and those of the slots are kept.  After a chunk of steps the products
over all of them sum the gradients of the weights, as in the ordinary backward (`weights.gradient_task`).

A part of the batch goes through all steps, or a chunk of them, by itself: no thread waits for another.
"""

import numpy as np

from ..engine.inlined import inlined
from . import elementwise
from .blocks import entry, set_entry, vector_bytes, vectors_for
from .compiled import Function, Task
from .failures import call_or_raise
from .jobs import LONG, call, call_long, run
from .launch import (
    B_DCELLS,
    B_DRIVES,
    B_DX,
    B_DY,
    B_POOL,
    B_X,
    F_DRIVES,
    F_PACK,
    F_POOL,
    F_X,
    ROWS_WORDS,
)
from .memory import borrow
from .passes import share_out
from .pool import share
from .product import MAX_VECTORS
from .programs import Program
from .records import BACKWARD, FORWARD, ROWS, integers, place
from .routine_call import copy_bytes, record_at
from .simd import get, put, size_of
from .threads import sharing, threads_for
from .weights import input_gradient

# What a part of the batch is told.
FED = np.dtype(
    integers(
        "start",
        "end",  # of the steps to take
        "batch",
        "first",  # the part's first row
        "rows",
        "channels",  # of an input
        "outputs",  # which are the first channels of the next input
        "given",  # of the caller, with the strides of steps, rows and channels in bytes
        "given_step",
        "given_row",
        "given_channel",
        "forcing",  # (T, N, outputs), from 0 for the output before to 1 for what is given
        "x",  # (T, N, channels), what the layers read
        "y",  # (T, N, outputs), what they write; backward: dL/dy
        "dx",  # backward: (T, N, channels)
        "calls",  # [count, 3] of a step: a task, its record, its index
        "count",
        "moves",  # [move_count, 3]: where an address is, what it is at step 0, and the bytes of a step
        "move_count",
    )
)
ITEM, START, END = FED.itemsize, place(FED, "start"), place(FED, "end")

# What keeps the derivatives of slots of one part of the batch at a step, among those of a chunk.
KEEP = np.dtype(
    integers(
        "step",  # the BACKWARD record that sees the step
        "time",  # which step it is
        "chunk",  # steps of a chunk
        "first",
        "rows",
        "dpre",  # of a chunk, as in the record of the gradients
        "dprojected",
        "chunk_rows",  # room for its rows
    )
)

# The way back: chunk after chunk, from the last one on.
BACK = np.dtype(
    integers(
        "share",
        "pool",
        "task",
        "feds",  # [parts] of FED
        "parts",
        "steps",
        "chunk",
        "gradients",  # [count]: addresses of BACKWARD records
        "count",
    )
)
BACK_POOL = place(BACK, "pool")


@inlined
def take_calls(fed, step):
    """Have all done that a step asks for."""
    for i in range(fed.move_count):
        move = fed.moves + 24 * i
        set_entry(entry(move, 0), 0, entry(move, 1) + step * entry(move, 2))
    for i in range(fed.count):
        call = fed.calls + 24 * i
        call_or_raise(entry(call, 0), (0, 0, entry(call, 1), entry(call, 2)))


@inlined
def feed(one, fed, step):
    """Write the inputs of a step: ``a given + (1 - a) y`` of the step before, for a of 0 and 1 the one or the other."""
    size = size_of(one)
    for n in range(fed.first, fed.first + fed.rows):
        row = step * fed.batch + n
        given = fed.given + step * fed.given_step + n * fed.given_row
        x, a = fed.x + row * fed.channels * size, fed.forcing + row * fed.outputs * size
        y = fed.y + (row - fed.batch) * fed.outputs * size
        for c in range(fed.channels):
            strength = get(one, a + c * size) if c < fed.outputs else one
            if strength == one:
                put(get(one, given + c * fed.given_channel), x + c * size)
            elif strength == 0:
                put(get(one, y + c * size), x + c * size)
            else:
                known, own = get(one, given + c * fed.given_channel), get(one, y + c * size)
                put(strength * known + (one - strength) * own, x + c * size)


@inlined
def feed_adjoint(one, fed, step):
    """Add what the inputs of a step ask of the outputs of the one before to dL/dy of that."""
    size = size_of(one)
    for n in range(fed.first, fed.first + fed.rows):
        row = step * fed.batch + n
        dx, a = fed.dx + row * fed.channels * size, fed.forcing + row * fed.outputs * size
        dy = fed.y + (row - fed.batch) * fed.outputs * size
        for c in range(fed.outputs):
            strength = get(one, a + c * size)
            if strength != one:
                put(get(one, dy + c * size) + (one - strength) * get(one, dx + c * size), dy + c * size)


@Task
def forward_task(cell, number, record, part):
    """All steps of one part of the batch."""
    one, fed = number(1), record_at(record + part * ITEM, FED)[0]
    for step in range(fed.start, fed.end):
        feed(one, fed, step)
        take_calls(fed, step)


@Task
def backward_task(cell, number, record, part):
    """Back through some steps of one part of the batch."""
    one, fed = number(1), record_at(record + part * ITEM, FED)[0]
    for step in range(fed.end - 1, fed.start - 1, -1):
        take_calls(fed, step)
        if step > 0:
            feed_adjoint(one, fed, step)


@Task
def inputs_task(cell, number, record, part):
    """dL/dx of one part of the batch at a step, from the derivatives that a layer's `backward_task` has left."""
    real, call = number(0), record_at(record, BACKWARD)[0]
    input_gradient(real, call, 0, part, call.dpre, call.batch, 0)


@inlined
def keep_blocks(real, source, rows, first, count, target, target_rows, position, units, slots, per_block):
    """Copy some rows in blocks ``[blocks, rows, (slot, unit)]`` to a position among more rows in blocks."""
    vector, vectors = vector_bytes(real), vectors_for(real, units)
    for before in range(0, vectors, per_block):
        row, block = slots * min(per_block, vectors - before) * vector, before * slots * vector
        to = target + block * target_rows + (position + first) * row
        copy_bytes(source + block * rows + first * row, to, count * row)


@Task
def keep_task(cell, number, record, index):
    """Keep the derivatives of slots that a layer's `backward_task` has left, as the KEEP record says."""
    real, keep = number(0), record_at(record, KEEP)[0]
    call = record_at(keep.step, BACKWARD)[0]
    position = keep.time % keep.chunk * call.batch
    keep_blocks(
        real, call.dpre, call.chunk_rows, keep.first, keep.rows, keep.dpre, keep.chunk_rows, position, call.hidden,
        call.slots, call.per_block,
    )  # fmt: skip
    if call.projection.slots:
        keep_blocks(
            real, call.dprojected, call.chunk_rows, keep.first, keep.rows, keep.dprojected, keep.chunk_rows, position,
            call.width, 1, MAX_VECTORS,
        )  # fmt: skip


@Function
def backward(record):
    """The way back of the BACK record."""
    back = record_at(record, BACK)[0]
    for index in range((back.steps + back.chunk - 1) // back.chunk, 0, -1):
        start = (index - 1) * back.chunk
        end = min(start + back.chunk, back.steps)
        for part in range(back.parts):
            feds = record_at(back.feds + part * ITEM, FED)
            feds[0].start, feds[0].end = start, end
        call_or_raise(back.share, (back.pool, back.task, back.feds, back.parts))
        for i in range(back.count):
            address = entry(back.gradients, i)
            calls = record_at(address, BACKWARD)
            calls[0].chunk_start, calls[0].chunk_steps = start, end - start
            share_out(calls[0], calls[0].work.gradient_task, address, calls[0].directions * calls[0].parts)


@Function
def pack(record):
    """Pack the weights of the FORWARD record, and the transposed ones if it says so."""
    call = record_at(record, FORWARD)[0]
    share_out(call, call.work.pack_task, record, call.directions * call.parts)
    if call.pack == 2:
        share_out(call, call.work.transpose_task, record, call.directions * call.parts)


class FedSteps:
    """What is called at each step, in order, for each part of the batch.

    Parameters
    ----------
    steps, batch : int
    dtype : numpy.dtype
    products : int
        Multiplications of numbers by parameters in all of them.
    parts : int, optional
        Into which the batch is split; as many as pay if None.
    """

    def __init__(self, steps, batch, dtype, products, parts=None):
        self.steps, self.batch, self.dtype, self.long = steps, batch, dtype, products >= LONG
        self.parts = parts = parts or min(batch, threads_for(products))
        self._calls, self._moves = ([[] for _ in range(parts)] for _ in range(2))
        self._kept, self._keeps, self._back, self._threads = [], [], None, 1
        self._packs, self._gradients, self._chunk = Program(), [], max(1, steps)

    def add(self, part, task, cell, record, moves, index=0):
        """Add a call of a task with a record of integers; moves: {which of them is an address: bytes of a step}."""
        address = record.ctypes.data
        self._calls[part] += task.address(cell, self.dtype), address, index
        self._moves[part] += (number for word, step in moves.items() for number in (address + 8 * word, record[word], step))
        self._kept.append(record)

    def add_elementwise(self, task, cell, arrays, make):
        """Add a task that takes the numbers of a step one by one; each part of the batch has its own.

        arrays: (T, N, C) each, or (N, C) of all steps; make: the record of a count and the addresses of the arrays.
        """
        for part in range(self.parts):
            first, rows = share_of(self.batch, self.parts, part)
            rest = [array.reshape(-1, *array.shape[-2:]) for array in arrays]
            record = make(rows * rest[0].shape[2], [each[0, first:].ctypes.data for each in rest])
            words = np.flatnonzero(np.isin(record, [each[0, first:].ctypes.data for each in rest]))
            steps = {each[0, first:].ctypes.data: each.strides[0] if len(each) > 1 else 0 for each in rest}
            self.add(part, task, cell, record, {int(word): steps[int(record[word])] for word in words})
        self._kept += arrays

    def add_forward(self, tape, source, outputs):
        """Add the steps of a layer's `launch.Tape`; source, outputs: descriptors, (T, N, channels)."""
        plans, size = tape.plans, tape.size
        block = borrow(plans.scratch.nbytes)
        record = tape.forward.record.copy()
        plans.forward.move(record, 0, block[1])
        self._packs.add(pack, record, block[0], tape, pool=(F_POOL, plans.forward.threads, 1))
        kept = {name: int(record[place(FORWARD, name)]) for name in ("c_kept", "operand_kept")}
        moves = self._moves_of(tape, FORWARD, outputs.strides[0], **kept)
        for part in range(self.parts):
            own = self._single(record, FORWARD, outputs.address - self.batch * outputs.strides[1])
            own[[F_PACK, F_POOL]] = 0
            own[F_X : F_X + ROWS_WORDS] = _rows(source)
            drives = self._drives(part, tape, own, F_DRIVES)
            task = plans.kernels.forward_task
            self.add(part, task, size.cell, own, {F_X: source.strides[0], **moves}, part)
            self._moves[part] += drives

    def add_backward(self, adjoint, source, outputs, dy, dx):
        """Add the way back of a layer's `launch.Adjoint`; source, outputs, dy, dx: descriptors, (T, N, channels)."""
        tape, plans = adjoint.tape, adjoint.plans
        size = tape.size
        block = borrow(plans.scratch.nbytes)
        record = adjoint.backward.record.copy()
        plans.backward.move(record, 0, block[1])
        self._kept += [block, adjoint]
        moves = self._moves_of(tape, BACKWARD, outputs.strides[0], 1, 1)
        gradients = self._gradients_of(adjoint, source, outputs)
        for part in range(self.parts):
            own = self._single(record, BACKWARD, outputs.address - self.batch * outputs.strides[1])
            own[[B_POOL, place(BACKWARD, "chunk_start")]] = 0
            own[place(BACKWARD, "chunk_steps")] = 1
            own[place(BACKWARD, "chunk_rows")] = self.batch
            own[B_DY : B_DY + ROWS_WORDS] = _rows(dy)
            own[B_DCELLS : B_DCELLS + ROWS_WORDS] = 0
            own[B_DX] = dx.address
            drives = self._drives(part, tape, own, B_DRIVES)
            task = tape.plans.kernels.backward_task
            self.add(part, task, size.cell, own, {B_DY: dy.strides[0], B_DX: dx.strides[0], **moves}, part)
            self._moves[part] += drives
            self._calls[part] += inputs_task.address(None, self.dtype), own.ctypes.data, part
            rows = share_of(self.batch, self.parts, part)
            places = (gradients[place(BACKWARD, name)] for name in ("dpre", "dprojected", "chunk_rows"))
            keep = np.array((own.ctypes.data, 0, 0, *rows, *places), np.int64)
            self._keeps.append(keep)
            self.add(part, keep_task, None, keep, {place(KEEP, "time"): 1})

    def _gradients_of(self, adjoint, source, outputs):
        """The record of the products over the steps of a chunk, in which a layer's gradients are summed."""
        plans, size = adjoint.plans, adjoint.tape.size
        block = borrow(plans.scratch.nbytes)
        record = adjoint.backward.record.copy()
        plans.backward.move(record, 0, block[1])
        for name, value in {
            "steps": self.steps, "start": 0, "total": self.steps, "batch": self.batch, "table": 0, "dx": 0,
            "h": outputs.address - self.batch * outputs.strides[1],
        }.items():  # fmt: skip
            record[place(BACKWARD, name)] = value
        record[B_X : B_X + ROWS_WORDS] = _rows(source)
        self._kept.append(block)
        self._gradients.append(record)
        self._threads = max(self._threads, plans.backward.threads)
        self._chunk = min(self._chunk, size.chunk_rows // self.batch)
        return record

    def _single(self, record, kind, h):
        """A copy of a record that sees one step of the batch, and the parts of it."""
        own = record.copy()
        for name, value in {
            "steps": 1, "start": 0, "total": 1, "chunk": 1, "batch": self.batch, "table": 0, "tasks": self.parts,
            "splits": 1, "parts": self.parts, "h": h,
        }.items():  # fmt: skip
            own[place(kind, name)] = value
        return own

    def _moves_of(self, tape, kind, h, c_kept, operand_kept):
        """{which integer of a record: bytes of a step} of what a tape has of each step."""
        size, item, found = tape.size, self.dtype.itemsize, {place(kind, "h"): h}
        if tape.c is not None:
            found[place(kind, "c")] = c_kept * self.batch * size.hidden * item
        for name, numbers in size.gates(self.batch).items():
            if numbers and (tape.keep.gates or name == "operand"):
                found[place(kind, name)] = (operand_kept if name == "operand" else 1) * numbers * item
        return found

    def _drives(self, part, tape, own, word):
        """Give a record a table of drives of its own; what moves in it."""
        table = tape._drive_rows.copy()
        self._kept += [table, tape]
        own[word] = table.ctypes.data
        step = ROWS.itemsize
        return [
            number
            for i, drive in enumerate(tape.drives)
            for number in (table.ctypes.data + i * step, drive.address, drive.strides[0])
        ]

    def made(self, **addresses):
        """The FED records of all parts, as integers; the rest by the names of fields."""
        records = np.zeros((self.parts, ITEM // 8), np.int64)
        for part, record in enumerate(records):
            first, rows = share_of(self.batch, self.parts, part)
            calls, moves = (np.array(each[part], np.int64) for each in (self._calls, self._moves))
            self._kept += calls, moves
            values = {
                "start": 0, "end": self.steps, "batch": self.batch, "first": first, "rows": rows, "calls": calls.ctypes.data,
                "count": len(calls) // 3, "moves": moves.ctypes.data, "move_count": len(moves) // 3, **addresses,
            }  # fmt: skip
            for name, value in values.items():
                record[place(FED, name)] = value
        return records

    def pack(self):
        """Pack the weights as they are now."""
        self._packs.run()

    def run(self, records):
        """Take all steps."""
        run(forward_task, None, self.dtype, records, self.parts, self.parts, long=self.long)

    def run_back(self, records):
        """Go back through all steps, and sum the gradients of the weights."""
        if self._back is None:
            for keep in self._keeps:
                keep[place(KEEP, "chunk")] = self._chunk
            self._addresses = np.array([record.ctypes.data for record in self._gradients], np.int64)
            task = backward_task.address(None, self.dtype)
            self._back = np.array(
                (share.address, 0, task, records.ctypes.data, self.parts, self.steps, self._chunk,
                 self._addresses.ctypes.data, len(self._gradients)), np.int64,
            )  # fmt: skip
        self._back[BACK_POOL] = sharing(max(self.parts, self._threads))
        (call_long if self.long else call)(backward.address, self._back.ctypes.data)


def _rows(described):
    """ROWS of a uniform batch."""
    return described.address, *described.strides, 0, 0


def share_of(total, parts, part):
    """(first, number) of what a part has: `blocks.share`."""
    first = total * part // parts
    return first, total * (part + 1) // parts - first


def value_record(count, addresses):
    """Of ``y = f(x)``."""
    return np.array((1, count, *addresses), np.int64)


def product_record(count, addresses):
    """Of ``y = x * factors``."""
    x, factors, y = addresses
    return np.array((count, count, x, factors, y), np.int64)


def sum_record(count, addresses):
    """Of ``y = x + other``."""
    x, other, y = addresses
    return np.array((1, count, x, y, other), np.int64)


VALUE, SLOPE, SUM, PRODUCT = elementwise._value, elementwise._times_slope, elementwise._sum, elementwise._product
