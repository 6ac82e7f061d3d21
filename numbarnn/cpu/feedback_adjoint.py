"""Back through layers whose outputs were fed back, step after step: the exact gradient.

From the last step to the first, each step has the derivatives with respect to inputs and states, for what reaches an
output by way of the next input is known no sooner.  It leaves the slots' derivatives among the rows of a chunk of steps,
after which the products over all of them sum the gradients of the weights, as in the ordinary backward
(`weights.gradient_task`).
"""

import numpy as np

from ..engine.inlined import inlined
from .blocks import entry
from .compiled import Function, Task
from .failures import call_or_raise
from .feedback import FED, ITEM
from .jobs import LONG, call, call_long
from .launch import B_DCELLS, B_DX, B_DY, B_POOL, B_X
from .memory import borrow
from .one_step import StepCalls, rows_at, take_calls
from .passes import share_out
from .pool import share
from .records import BACKWARD, integers, place
from .routine_call import record_at
from .rows import row_address, rows_before, task_rows, working
from .simd import get, put, size_of
from .tapes import ROWS_WORDS
from .threads import sharing
from .weights import input_gradient

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
    rows, to = working(call, call.start, first, stride, most), rows_before(call, call.start) + first
    input_gradient(real, call, 0, call.dpre, call.earlier_rows + first, rows, stride, to)


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
        self._gradients, self._back, self._threads = [], None, 1
        self._chunk = max(1, packing.steps)

    def add_backward(self, adjoint, source, outputs, dy, dx):
        """Add the way back of a layer's `launch.Adjoint`; source, outputs, dy, dx: descriptors, (T, N, channels)."""
        tape, plans, packing = adjoint.tape, adjoint.plans, self.packing
        record = self._gradients_of(adjoint, source, outputs)
        moves = self.moves_of(tape, BACKWARD, 1) | {place(BACKWARD, "earlier_rows"): (0, 0, 1)}
        for part in range(self.parts):
            own = self.of_one_step(record, BACKWARD, outputs)
            own[[B_POOL, place(BACKWARD, "chunk_start")]] = 0
            own[place(BACKWARD, "chunk_steps")] = 1
            own[B_DY : B_DY + ROWS_WORDS] = dy.record
            own[B_DCELLS : B_DCELLS + ROWS_WORDS] = 0
            own[B_DX] = dx.address
            self.add(part, tape.plans.kernels.backward_task, tape.size.cell, own, moves, part)
            self._calls[part] += inputs_task.address(None, self.dtype), own.ctypes.data, part
        self._threads = max(self._threads, plans.backward.threads)
        rows = tape.size.chunk_rows // packing.batch if packing.uniform else tape.size.backward_chunk
        self._chunk = min(self._chunk, rows)

    def _gradients_of(self, adjoint, source, outputs):
        """The record of the products over the steps of a chunk, in which a layer's gradients are summed."""
        plans, packing = adjoint.plans, self.packing
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
        self._kept += block, adjoint
        self._gradients.append(record)
        return record

    def run(self, records):
        """Go back through all steps, and sum the gradients of the weights."""
        if self._back is None:
            self._addresses = np.array([record.ctypes.data for record in self._gradients], np.int64)
            task = backward_task.address(None, self.dtype)
            self._back = np.array(
                (share.address, 0, task, records.ctypes.data, self.parts, self.packing.steps, self._chunk,
                 self._addresses.ctypes.data, len(self._gradients)), np.int64,
            )  # fmt: skip
        self._back[BACK_POOL] = sharing(max(self.parts, self._threads))
        (call_long if self.products >= LONG else call)(backward.address, self._back.ctypes.data)
