"""Layers step after step, in one call, where outputs are part of the next input.

At each step the next input is made of what is given and of the output before, and all layers take it (`one_step`).  The
way back is in `feedback_adjoint`.
"""

import numpy as np

from ..engine.inlined import inlined
from . import elementwise
from .compiled import Function, Task
from .jobs import LONG, run
from .launch import F_POOL
from .one_step import CALLS, StepCalls, rows_at, take_calls
from .passes import share_out
from .programs import Program
from .records import FORWARD, ROWS, integers, place
from .routine_call import record_at
from .rows import row_address, rows_before
from .simd import get, put, size_of

# What a part of the batch is told.  Rows of x, forcing and dx lie one step after the other without a gap.
FED = np.dtype(
    [
        *CALLS,
        ("given", ROWS),  # (T, N, channels) of the caller
        ("y", ROWS),  # (T, N, outputs), what the layers write; backward: dL/dy
        *integers(
            "start",
            "end",  # of the steps to take
            "channels",  # of an input
            "outputs",  # which are the first channels of the next input
            "forcing",  # (T, N, outputs), from 0 for the output before to 1 for what is given
            "before",  # (N, outputs): the output before the first step; 0 where the forcing is 1 there
            "x",  # (T, N, channels), what the layers read
            "dx",  # backward: (T, N, channels)
        ),
    ]
)
ITEM = FED.itemsize
GIVEN = slice(place(FED, "given"), place(FED, "given") + ROWS.itemsize // 8)


@inlined
def feed(one, fed, step):
    """Write the inputs of a step: ``a given + (1 - a) y`` of the step before, for a of 0 and 1 the one or the other."""
    size, rows = size_of(one), rows_before(fed, step)
    for r in range(rows_at(fed, step)):
        n = fed.first + r * fed.stride
        given = row_address(fed.given, step, n)
        x, a = fed.x + (rows + n) * fed.channels * size, fed.forcing + (rows + n) * fed.outputs * size
        y = row_address(fed.y, step - 1, n) if step > 0 else fed.before + n * fed.outputs * size
        for c in range(fed.channels):
            strength = get(one, a + c * size) if c < fed.outputs else one
            if strength == one:
                put(get(one, given + c * fed.given.channel_stride), x + c * size)
            elif strength == 0:
                put(get(one, y + c * size), x + c * size)
            else:
                known, own = get(one, given + c * fed.given.channel_stride), get(one, y + c * size)
                put(strength * known + (one - strength) * own, x + c * size)


@Task
def forward_task(cell, number, record, part):
    """All steps of one part of the batch."""
    one, fed = number(1), record_at(record + part * ITEM, FED)[0]
    for step in range(fed.start, fed.end):
        if rows_at(fed, step) == 0:
            return
        feed(one, fed, step)
        take_calls(fed, step)


@Function
def pack(record):
    """Pack the weights of the FORWARD record, and the transposed ones if it says so."""
    call = record_at(record, FORWARD)[0]
    share_out(call, call.work.pack_task, record, call.directions * call.parts)
    if call.pack == 2:
        share_out(call, call.work.transpose_task, record, call.directions * call.parts)


class FedSteps(StepCalls):
    """All steps of layers whose outputs are fed back; the rest as of `StepCalls`."""

    def __init__(self, packing, dtype, products):
        super().__init__(packing, dtype, products)
        self.long, self._packs = products >= LONG, Program()

    def add_forward(self, tape, source, outputs):
        record = super().add_forward(tape, source, outputs)
        self._packs.add(pack, record, tape, pool=(F_POOL, tape.plans.forward.threads, 1))

    def pack(self):
        """Pack the weights as they are now."""
        self._packs.run()

    def run(self, records):
        """Take all steps."""
        run(forward_task, None, self.dtype, records, self.parts, self.parts, long=self.long)


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
