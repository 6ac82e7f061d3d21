"""Back through layers whose outputs were fed back, step after step: the exact gradient.

From the last step to the first, each step has the derivatives with respect to inputs and states, for what reaches an
output by way of the next input is known no sooner, and those of the slots are kept.  After a chunk of steps the products
over all of them sum the gradients of the weights, as in the ordinary backward (`weights.gradient_task`).
"""

import numpy as np

from ..engine.inlined import inlined
from .blocks import entry, vector_bytes, vectors_for
from .compiled import Function, Task
from .failures import call_or_raise
from .feedback import FED, ITEM
from .jobs import LONG, call, call_long
from .launch import B_DCELLS, B_DX, B_DY, B_POOL, B_X, ROWS_WORDS
from .memory import borrow
from .one_step import PART, StepCalls, rows_at, take_calls
from .passes import share_out
from .pool import share
from .product import MAX_VECTORS
from .records import BACKWARD, integers, place
from .routine_call import copy_bytes, record_at
from .rows import row_address, rows_before, task_rows, working
from .simd import get, put, size_of
from .threads import sharing
from .weights import input_gradient

# What keeps the derivatives of slots of one part of the batch at a step, among those of a chunk.
KEEP = np.dtype(
    PART
    + integers(
        "step",  # the BACKWARD record that sees the step
        "time",  # which step it is
        "chunk",  # steps of a chunk
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
def feed_adjoint(one, fed, step):
    """Add what the inputs of a step ask of the outputs of the one before to dL/dy of that."""
    size, rows = size_of(one), rows_before(fed, step)
    for r in range(rows_at(fed, step)):
        n = fed.first + r * fed.stride
        dx, a = fed.dx + (rows + n) * fed.channels * size, fed.forcing + (rows + n) * fed.outputs * size
        dy = row_address(fed.y, step - 1, n)
        for c in range(fed.outputs):
            strength = get(one, a + c * size)
            if strength != one:
                put(get(one, dy + c * size) + (one - strength) * get(one, dx + c * size), dy + c * size)


@Task
def backward_task(cell, number, record, part):
    """Back through some steps of one part of the batch."""
    one, fed = number(1), record_at(record + part * ITEM, FED)[0]
    for step in range(fed.end - 1, fed.start - 1, -1):
        if rows_at(fed, step) == 0:
            continue
        take_calls(fed, step)
        if step > 0:
            feed_adjoint(one, fed, step)


@Task
def inputs_task(cell, number, record, part):
    """dL/dx of one part of the batch at a step, from the derivatives that a layer's `backward_task` has left."""
    real, call = number(0), record_at(record, BACKWARD)[0]
    first, stride, most, _ = task_rows(call, part)
    rows = working(call, call.start, first, stride, most)
    input_gradient(real, call, 0, call.dpre, first, rows, stride, call.start)


@inlined
def keep_blocks(real, source, room, first, stride, rows, target, target_room, position, units, slots, per_block):
    """Copy some rows in blocks ``[blocks, room, (slot, unit)]`` to a position among more rows in blocks."""
    vector, vectors = vector_bytes(real), vectors_for(real, units)
    count, pieces = (rows, 1) if stride == 1 else (1, rows)
    for before in range(0, vectors, per_block):
        row, block = slots * min(per_block, vectors - before) * vector, before * slots * vector
        for r in range(pieces):
            n = first + r * stride
            copy_bytes(source + block * room + n * row, target + block * target_room + (position + n) * row, count * row)


@Task
def keep_task(cell, number, record, index):
    """Keep the derivatives of slots that a layer's `backward_task` has left, as the KEEP record says."""
    real, keep = number(0), record_at(record, KEEP)[0]
    call = record_at(keep.step, BACKWARD)[0]
    rows = rows_at(keep, keep.time)
    position = rows_before(keep, keep.time) - rows_before(keep, keep.time // keep.chunk * keep.chunk)
    keep_blocks(
        real, call.dpre, call.chunk_rows, keep.first, keep.stride, rows, keep.dpre, keep.chunk_rows, position, call.hidden,
        call.slots, call.per_block,
    )  # fmt: skip
    if call.projection.slots:
        keep_blocks(
            real, call.dprojected, call.chunk_rows, keep.first, keep.stride, rows, keep.dprojected, keep.chunk_rows,
            position, call.width, 1, MAX_VECTORS,
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


class StepsBack(StepCalls):
    """The way back through `FedSteps`; the rest as of `StepCalls`."""

    def __init__(self, packing, dtype, products, parts):
        super().__init__(packing, dtype, products, parts)
        self.long, self._keeps, self._gradients, self._back, self._threads = products >= LONG, [], [], None, 1
        self._chunk = max(1, packing.steps)

    def add_backward(self, adjoint, source, outputs, dy, dx):
        """Add the way back of a layer's `launch.Adjoint`; source, outputs, dy, dx: descriptors, (T, N, channels)."""
        tape, plans = adjoint.tape, adjoint.plans
        block = borrow(plans.scratch.nbytes)
        record = adjoint.backward.record.copy()
        plans.backward.move(record, 0, block[1])
        self._kept += block, adjoint
        gradients = self._gradients_of(adjoint, source, outputs)
        for part in range(self.parts):
            own = self.of_one_step(record, BACKWARD, outputs)
            own[[B_POOL, place(BACKWARD, "chunk_start")]] = 0
            own[place(BACKWARD, "chunk_steps")] = 1
            own[place(BACKWARD, "chunk_rows")] = self.packing.most_rows(1)
            own[B_DY : B_DY + ROWS_WORDS] = dy.record
            own[B_DCELLS : B_DCELLS + ROWS_WORDS] = 0
            own[B_DX] = dx.address
            self.add(part, tape.plans.kernels.backward_task, tape.size.cell, own, self.moves_of(tape, BACKWARD, 1), part)
            self._calls[part] += inputs_task.address(None, self.dtype), own.ctypes.data, part
            places = (gradients[place(BACKWARD, name)] for name in ("dpre", "dprojected", "chunk_rows"))
            keep = np.array((*self.rows_of(part), own.ctypes.data, 0, 0, *places), np.int64)
            self._keeps.append(keep)
            self.add(part, keep_task, None, keep, {place(KEEP, "time"): (1, 0)})

    def _gradients_of(self, adjoint, source, outputs):
        """The record of the products over the steps of a chunk, in which a layer's gradients are summed."""
        plans, size, packing = adjoint.plans, adjoint.tape.size, self.packing
        block = borrow(plans.scratch.nbytes)
        record = adjoint.backward.record.copy()
        plans.backward.move(record, 0, block[1])
        for name, value in {
            "steps": packing.steps, "start": 0, "total": packing.steps, "batch": packing.batch,
            "table": packing.table_address, "dx": 0,
        }.items():  # fmt: skip
            record[place(BACKWARD, name)] = value
        self.set_states(record, BACKWARD, outputs)
        record[B_X : B_X + ROWS_WORDS] = source.record
        self._kept += block
        self._gradients.append(record)
        self._threads = max(self._threads, plans.backward.threads)
        self._chunk = min(self._chunk, size.chunk_rows // packing.batch if packing.uniform else size.backward_chunk)
        return record

    def run(self, records):
        """Go back through all steps, and sum the gradients of the weights."""
        if self._back is None:
            for keep in self._keeps:
                keep[place(KEEP, "chunk")] = self._chunk
            self._addresses = np.array([record.ctypes.data for record in self._gradients], np.int64)
            task = backward_task.address(None, self.dtype)
            self._back = np.array(
                (share.address, 0, task, records.ctypes.data, self.parts, self.packing.steps, self._chunk,
                 self._addresses.ctypes.data, len(self._gradients)), np.int64,
            )  # fmt: skip
        self._back[BACK_POOL] = sharing(max(self.parts, self._threads))
        (call_long if self.long else call)(backward.address, self._back.ctypes.data)
