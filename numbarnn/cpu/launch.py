"""From arrays to kernel calls for one layer: forward, by a `tapes.Tape`, and back.

A `Tape` or an `Adjoint` holds a copy of a plan's record with the addresses filled in; `fill` runs the kernel, and may be
called again: a training makes these objects once for each batch size.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units, P channels of h (H, unless h is projected),
V values of a unit; K steps of a segment.
In a ragged batch N are its runs and T is the longest; S counts the rows at work at all steps together, T N if all are.
"""

import math

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..engine.tape import StateAdjoint
from . import passes
from .elementwise import add_sum
from .memory import borrow, give, take
from .plans import backward_plans, forward_plans
from .programs import add_copy
from .records import BACKWARD, place
from .tapes import F_BACK_TO_X, ROWS_WORDS, Call, Tape, record_of
from .threads import threads

B_X, B_DY, B_DCELLS, B_DRIVES, B_DX, B_DH, B_DC, B_DUNIT_VALUES, B_PARAMETERS, B_ACCUMULATE, B_STEPS, B_START = (
    place(BACKWARD, name) for name in "x dy dcells drives dx dh dc dunit_values parameters accumulate steps start".split()
)
B_DISCARDS, B_POOL = place(BACKWARD, "discards_initial"), place(BACKWARD, "work.pool")


def run(kernels, size, parameters, x, initial, keep, unit_values=None, drives=()):
    """One layer forward.

    Parameters
    ----------
    kernels : module
        ``recurrent`` or ``dense``.
    size : Size
    parameters : numpy.ndarray
        The parameter vector from this layer's part on.
    x : TensorDescriptor
    initial : list of numpy.ndarray, callable or None
        (D, sequences, P or H) for each state of the cell, or a function that returns it; zeros if None.
    keep : Keep
    unit_values : callable, optional
        Writes what the cell takes for each unit into a (D, V, H) array.
    drives : sequence of TensorDescriptor
        What the cell takes at each step, (T, N, D * H).

    Returns
    -------
    Tape
    """
    return Tape(forward_plans(kernels, size, keep, parameters), parameters, x, initial, unit_values, drives)


class Adjoint(StateAdjoint):
    """One layer's backward: `fill` runs it, and may be called again after the tape was filled again.

    Parameters
    ----------
    tape : Tape
    dy : TensorDescriptor or None
        dL/dy, (T, N, D * P).
    dfinal : list of numpy.ndarray or None
        dL/d(final state), (D, sequences, P or H) for each state of the cell.
    need_x : bool
        Whether to compute dL/dx.
    gradient : numpy.ndarray
        The gradient vector from this layer's part on (is modified).
    accumulate : bool
        Add to `gradient` instead of overwriting it.
    dcells : TensorDescriptor or None
        dL/d(c of every step), (T, N, D * H).

    Attributes
    ----------
    dx : TensorDescriptor or None
        (T, N, I).
    dunit_values : numpy.ndarray
        (D, V, H).
    sum : numpy.ndarray or None
        In a program, the record of the sum of the two directions' dx.
    """

    sum = None

    def __init__(self, tape, dy, dfinal, need_x, gradient, accumulate, dcells=None):
        super().__init__(tape, dy, dfinal, gradient, accumulate, dcells)
        size, packing = tape.size, tape.packing
        self.plans = plans = self._plans(need_x)
        places, nbytes = size.dstates
        self._block, dstate_address = borrow(nbytes)
        self._dstates = self._dinitial = [np.ndarray(shape, size.dtype, self._block, *place) for shape, *place in places]
        record = plans.backward.filled(0, tape.address)
        tape.set_inputs(record, B_X, B_DRIVES)
        record[B_DY : B_DY + ROWS_WORDS], record[B_DCELLS : B_DCELLS + ROWS_WORDS] = record_of(dy), record_of(dcells)
        record[B_PARAMETERS] = gradient.ctypes.data
        record[B_ACCUMULATE] = accumulate
        record[B_DH] = dstate_address
        record[B_DC] = dstate_address + places[-1][1]
        self._dunit_values = None
        if size.cell.unit_values:
            shape = (size.directions, size.cell.unit_value_count, size.padded)
            block, record[B_DUNIT_VALUES] = borrow(math.prod(shape) * size.dtype.itemsize)
            self._dunit_values = np.ndarray(shape, size.dtype, block)
            self.dunit_values = self._dunit_values[..., : size.hidden]
        self.dx = self._dx = None
        if need_x:
            block, address = borrow(size.directions * packing.rows * size.channels * size.dtype.itemsize)
            self._dx = np.ndarray((size.directions, packing.rows, size.channels), size.dtype, block)
            record[B_DX] = address
            self.dx = TensorDescriptor.compact(self._dx[0], address, packing)
        self.backward = Call(passes.backward, plans.backward, record, 0, plans.scratch.nbytes)

    def begin(self):
        """Begin with dL/d(final state), zeros where it is not given; of weights that no kernel reads the gradient is 0."""
        self.backward.record[B_DISCARDS] = not self.reads_initial
        self._block.fill(0)
        if not self.tape.size.cell.feeds_every_gate:
            self._clear_gradient()
        if self.dfinal is not None:
            self._start(self._dstates)

    def end(self):
        """What is left of dL/d(state) belongs to the initial state: summed over runs."""
        if not self.tape.packing.uniform:
            self._dinitial = [self.tape.packing.summed(dstate) for dstate in self._dstates]

    @property
    def dinitial(self):
        """dL/d(initial state), (D, sequences, P or H) for each state of the cell; none where nobody reads it."""
        return self._dinitial if self.reads_initial else []

    def _plans(self, need_x):
        """What backward needs."""
        return backward_plans(self.tape.plans, need_x, threads())

    def fill(self):
        """Run backward: write dx, dinitial, dunit_values and the gradient."""
        packing = self.tape.packing
        self.begin()
        if not packing.rows:
            self._clear_gradient()
        elif self.plans.segment is None:
            self.backward()
        else:
            self._fill_segments()
        if self._dx is not None and len(self._dx) == 2:
            self._dx[0] += self._dx[1]
        self.end()

    def spare(self):
        """Leave out dL/d(initial state), unless somebody says that it is read; the tape what dL/dx alone needs."""
        self.reads_initial = False
        if self.dx is None:
            self.tape.forward.record[F_BACK_TO_X] = 0

    def add_to(self, program):
        """Add backward to a program, of whole sequences of equal length, or in a `Room`; False if a program cannot do it.

        Where the program is of a step that is taken again and again, it starts from what is in `dinitial`.
        """
        size = self.tape.size
        once = self.plans.segment is None and self.dfinal is None and size.rows
        if not (once and self.tape.packing.serves_others):
            return False
        self.backward.record[B_DISCARDS] = not self.reads_initial
        written = [self._block, self.gradient, *(array for array in (self._dx, self._dunit_values) if array is not None)]
        if program.anew:
            if not size.cell.feeds_every_gate or size.cell.unit_values:
                return False
            add_copy(program, 0, self._block.ctypes.data, self._block.nbytes)
        program.lend(self.backward, self.plans.scratch.nbytes)
        pool = B_POOL, self.plans.backward.threads, 1
        program.add(passes.backward, self.backward.record, self, written=written, pool=pool)
        if self._dx is not None and len(self._dx) == 2:
            self.sum = add_sum(program, self._dx[0], self._dx[1], self._dx[0])
        return True

    def _fill_segments(self):
        tape, size, plans, backward = self.tape, self.tape.size, self.plans, self.backward
        steps = tape.plans.segment
        blocks = take(plans.segment.nbytes), take(plans.gradients.nbytes)
        record = tape.segment_forward(plans.forward, blocks[0])
        forward = Call(passes.forward, plans.forward, record, 0, plans.again.nbytes)
        for block, (_, address) in enumerate(blocks, 2):
            backward.plan.move(backward.record, block, address)
        for start in reversed(range(0, size.steps, steps)):
            backward.record[B_START], backward.record[B_STEPS] = start, min(steps, size.steps - start)
            tape.begin_segment(record, blocks[0], plans.segment, start)
            forward()
            backward()
        for block in blocks:
            give(block)
