"""Layers step after step, in one call, where outputs are part of the next input.

At each step the next input is made of what is given and of the output before, and all layers take it (`one_step`).  The
way back is in `feedback_adjoint`.
"""

import numpy as np

from ..engine.inlined import inlined
from .compiled import Function, Task
from .jobs import LONG, run
from .one_step import CALLS, StepCalls, rows_at, take_calls
from .passes import pack_weights
from .programs import Program
from .records import FORWARD, ROWS, integers, place
from .routine_call import record_at
from .rows import row_address, rows_before
from .simd import get, put, size_of
from .tapes import F_POOL

# What a part of the batch is told.  Rows of x, forcing and dx lie one step after the other without a gap.
FED = np.dtype(
    [
        *CALLS,
        ("given", ROWS),  # (T, N, channels) of the caller
        ("y", ROWS),  # (T, N, outputs), what the layers write; backward: dL/dy
        *integers(
            "end",  # of the steps to take
            "ways",  # what is fed side by side: a value, or tangents, whose records lie all parts apart
            "parts",
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
        for way in range(fed.ways):
            feed(one, record_at(record + (way * fed.parts + part) * ITEM, FED)[0], step)
        take_calls(fed, step)


@Function
def pack(record):
    """Pack the weights of the FORWARD record."""
    pack_weights(record_at(record, FORWARD)[0], record)


class FedCalls(StepCalls):
    """All steps of what is fed back, in order: values or tangents."""

    def fed(self, x, outputs, forcing, before, given=None):
        """The records of what is fed side by side, as integers.

        x, outputs: descriptors of what is read and of what is written, of each; forcing: (T, N, O); before: (N, O); given:
        descriptors of what is given, if they are known.
        """
        self._kept += x, outputs, forcing, before, given
        records = np.concatenate([
            self.made(
                FED, end=self.packing.steps, ways=len(x), parts=self.parts, channels=read.channels, outputs=y.channels,
                x=read.address, y=y.record, forcing=forcing.ctypes.data, before=before.ctypes.data,
            )
            for read, y in zip(x, outputs)
        ])  # fmt: skip
        for index, each in enumerate(given or ()):
            records[index * self.parts : (index + 1) * self.parts, GIVEN] = each.record
        return records

    def run(self, records):
        """Take all steps."""
        run(forward_task, None, self.dtype, records, self.parts, self.parts, long=self.products >= LONG)


class FedSteps(FedCalls):
    """All steps forward."""

    def __init__(self, packing, dtype, products):
        super().__init__(packing, dtype, products)
        self._packs = Program()

    def add_forward(self, tape, source, outputs):
        record = super().add_forward(tape, source, outputs)
        self._packs.add(pack, record, tape, pool=(F_POOL, tape.plans.forward.threads, 1))

    def pack(self):
        """Pack the weights as they are now."""
        self._packs.run()
