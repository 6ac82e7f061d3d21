"""From arrays to kernel calls for one layer.

A `Tape` or an `Adjoint` holds a copy of a plan's record with the addresses filled in; `fill` runs the kernel, and may be
called again: a training makes these objects once for each batch size.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units, P channels of h (H, unless h is projected),
V values of a unit; K steps of a segment.
In a ragged batch N are its runs and T is the longest; S counts the rows at work at all steps together, T N if all are.
"""

import math

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..engine.tape import StateAdjoint, StateTape
from . import passes
from .elementwise import add_sum
from .jobs import call, call_long
from .memory import borrow, give, take
from .plans import backward_plans, forward_plans
from .programs import add_copy
from .records import BACKWARD, FORWARD, ROWS, place
from .simd import lanes_of
from .threads import LARGE, sharing, threads, threads_for

F_X, F_DRIVES, F_PARAMETERS, F_STEPS, F_START, F_PACK, F_WRONG, F_POOL, F_BACK_TO_X = (
    place(FORWARD, name)
    for name in ("x", "drives", "parameters", "steps", "start", "pack", "wrong", "work.pool", "input.transposed")
)
B_X, B_DY, B_DCELLS, B_DRIVES, B_DX, B_DH, B_DC, B_DUNIT_VALUES, B_PARAMETERS, B_ACCUMULATE, B_STEPS, B_START = (
    place(BACKWARD, name) for name in "x dy dcells drives dx dh dc dunit_values parameters accumulate steps start".split()
)
B_DISCARDS, B_POOL = place(BACKWARD, "discards_initial"), place(BACKWARD, "work.pool")
ROWS_WORDS = ROWS.itemsize // 8
WRITTEN = ("h", "c", "operand", "saved", "normalized", "deviations")  # of a tape, by forward, where weights are kept
OWN_SCRATCH = 1 << 15  # bytes that a call keeps for itself, rather than borrow them each time


class Call:
    """A pass, its record, and the block of memory it borrows while it runs."""

    def __init__(self, function, plan, record, scratch_block, scratch_bytes):
        self.function, self.plan, self.record = function.address, plan, record
        self.address, self.threads = record.ctypes.data, plan.threads
        self.call = call_long if plan.long else call
        self.scratch_block, self.scratch_bytes, self.scratch_address = scratch_block, scratch_bytes, None
        self.own = None
        if scratch_bytes <= OWN_SCRATCH:
            self.keep_scratch(borrow(scratch_bytes))

    def keep_scratch(self, block):
        """Take a block, of `borrow`, from now on."""
        self.own, address = block
        self.plan.move(self.record, self.scratch_block, address)

    def __call__(self):
        if self.threads > 1:
            sharing(self.threads)  # helpers may have stayed behind in the process that this one was forked from
        if self.own is not None:
            self.call(self.function, self.address)
            return
        scratch = take(self.scratch_bytes)
        if scratch[1] != self.scratch_address:
            self.plan.move(self.record, self.scratch_block, scratch[1])
            self.scratch_address = scratch[1]
        self.call(self.function, self.address)
        give(scratch)


def _record(array):
    """Rows as a record takes them; zeros for none."""
    return (0,) * ROWS_WORDS if array is None else array.record


class Tape(StateTape):
    """What one layer's forward leaves behind.

    Bytes, for an item of b bytes, H' = H rounded up to whole vectors, and W the layer's weights and biases with H' for H:

    * always b (S + 2 N) D P for h, which holds y, except with checkpoints, where y is not the tape's;
    * to keep all: b (S + 2 N) D H for the c of an LSTM and b S D H for the operand of a projection or of a GRU with reset
      before, b D S H' times the values the cell saves (LSTM and GRU 4, reset before 3, RNN 0, or 1 if its slope is one of
      the input) and normalizes (LSTM 9, GRU 6), b S D for each variance (LSTM 3, GRU 4), and b W for the transposed weights;
    * to keep states: h, the c of an LSTM, and 2 b W;
    * checkpoints: b C N D P for h and b C N D H for the c of an LSTM, C being their number, and 2 b W.

    Attributes
    ----------
    h : numpy.ndarray
        (S + 2 N, D, P), as in `records`; y is in rows N to S + N.
    c : numpy.ndarray or None
        Like h, with H channels; (N, D, H) where only the last step's is kept.
    """

    def __init__(self, plans, parameters, x, initial, unit_values, drives):
        self.plans, self.x, self.drives = plans, x, drives
        self._drive_rows = np.array([*map(_record, drives)], np.int64)
        self.size, self.keep = size, keep = plans.size, plans.keep
        self.packing = size.packing
        self.block, self.address = borrow(plans.tape.nbytes)
        states, states_address, offsets = self.block, self.address, plans.tape.offsets
        if plans.states:
            states, states_address = borrow(plans.states.nbytes)
            offsets = plans.states.offsets
        self.h = np.ndarray(plans.shapes[0], size.dtype, states, offsets["h"])
        self.c = np.ndarray(plans.shapes[1], size.dtype, states, offsets["c"]) if size.cell.states > 1 else None
        self._h_address = states_address + offsets["h"]
        self._write_unit_values, self._unit_values, self._origin = unit_values, None, initial
        if "zero_start" in plans.tape.offsets:
            self.zero_start = np.ndarray(1, np.int64, self.block, plans.tape.offsets["zero_start"])
        if size.cell.unit_values:
            shape = (size.directions, size.cell.unit_value_count, size.padded)
            self._unit_values = np.ndarray(shape, size.dtype, self.block, plans.tape.offsets["unit_values"])
            self._unit_values.fill(0)
        self.start(initial)
        addresses = (0, self.address, states_address) if plans.states else (0, self.address)
        record = plans.forward.filled(*addresses)
        self.set_inputs(record, F_X, F_DRIVES)
        record[F_PARAMETERS] = parameters.ctypes.data
        self.forward = Call(passes.forward, plans.forward, record, 0, plans.scratch.nbytes)
        self.checkpoints = None
        if keep.what == "checkpoints":
            count = -(-size.steps // plans.segment)
            shapes = [(count, size.batch, size.directions, width) for width in size.widths]
            self.checkpoints = [np.empty(shape, size.dtype) for shape in shapes]  # one for each state
        if keep.what == "weights":
            record[F_STEPS] = 1  # to pack the weights is all that is wanted
        self.fill()
        if keep.weights:
            record[F_PACK] = 0

    def _state_array(self, m, block, offset, rows):
        return np.ndarray((rows, self.size.directions, self.size.widths[m]), self.size.dtype, block, offset)

    def set_inputs(self, record, x_place, drives_place):
        """Write where x and the drives lie into a record."""
        record[x_place : x_place + ROWS_WORDS] = self.x.record
        record[drives_place] = self._drive_rows.ctypes.data

    def begin(self):
        """Write what Python reads anew at each call: values of units, and the state where it is learned or of others."""
        if self._unit_values is not None:
            self._write_unit_values(self._unit_values[..., : self.size.hidden])
        if self._initial is not None:
            self.start(self._initial)

    def fill(self):
        """Run forward: fill h, c and whatever is kept from x, the parameters and the drives as they are now."""
        if self._unit_values is not None or self._initial is not None:
            self.begin()
        if self.checkpoints is None:
            self.forward()
            return
        record, size = self.forward.record, self.size
        if self.size.cell.states > 1 and self._initial is None:
            self.start(self.initial)  # a single step of c: the last fill has overwritten it
        for index, start in enumerate(range(0, size.steps, self.plans.segment)):
            self._store_checkpoint(index, start)
            record[F_START], record[F_STEPS] = start, min(self.plans.segment, size.steps - start)
            record[F_PACK] = 2 if start == 0 else 0
            self.forward()

    def _store_checkpoint(self, index, start):
        for d in range(self.size.directions):
            block = start if d == 0 else self.size.steps + 1 - start
            before, rows = self.packing.blocks(0, block), self.packing.blocks(block, block + 1)
            self.checkpoints[0][index, :rows, d] = self.h[before : before + rows, d]
        if self.size.cell.states > 1:
            self.checkpoints[1][index] = self.c

    def segment_forward(self, plan, segment):
        """The record that runs forward again, with a block of memory for what a segment keeps."""
        record = plan.filled(0, self.address, segment[1])
        self.set_inputs(record, F_X, F_DRIVES)
        record[F_WRONG] = self.forward.record[F_WRONG]
        return record

    def begin_segment(self, record, segment, layout, start):
        """Let the next run of such a record (is modified) be that of the segment from step `start` on.

        segment, layout: the block of memory, and where what it keeps lies in it.
        """
        steps, size = self.plans.segment, self.size
        record[F_START], record[F_STEPS] = start, min(steps, size.steps - start)
        if self.checkpoints is not None:
            rows = self.packing.most_blocks(steps)
            states = [self._state_array(m, segment[0], layout.offsets["hc"[m]], rows) for m in range(size.cell.states)]
            self._place_checkpoint(start // steps, start, record[F_STEPS], states)

    def _place_checkpoint(self, index, start, count, states):
        """Write the states that a segment starts from into its own h and c, those of runs that begin in it included."""
        steps = self.size.steps
        for m, array in enumerate(states):
            kept = self.checkpoints[m][index]
            for d in range(self.size.directions):
                earliest = start if d == 0 else steps - start - count
                block = start if d == 0 else steps + 1 - start
                first, rows = self.packing.blocks(earliest, block), self.packing.blocks(block, block + 1)
                array[first : first + rows, d] = kept[:rows, d]
                if d == 1:
                    runs, entering = self.packing.entering(earliest, steps - start)
                    value = 0 if self.initial is None else self.initial[m][d][self.packing.sequence][runs]
                    array[self._in_segment(entering, earliest), d] = value

    def _in_segment(self, rows, earliest):
        return rows if isinstance(rows, slice) else rows - self.packing.blocks(0, earliest)

    def let_go_of_y(self):
        """Keep no more than backward needs; `fill` must not be called again."""
        if self.plans.states:
            self.h = self.c = None

    @property
    def nbytes(self):
        """Bytes of the tape, x not counted."""
        states = self.plans.states.nbytes if self.plans.states and self.h is not None else 0
        return self.block.nbytes + states + sum(kept.nbytes for kept in self.checkpoints or ())

    @property
    def _written(self):
        """The memory that forward writes besides its scratch, where weights are kept."""
        layout = self.plans.tape
        return [self.block[layout.offsets[name] :][: layout.sizes[name]] for name in WRITTEN if name in layout.offsets]

    @property
    def outputs(self):
        """The h of every step, (T, N, D * P)."""
        return TensorDescriptor.blocks(self.h.reshape(len(self.h), -1), self._h_address, self.packing)

    @property
    def cells(self):
        """The c of every step, (T, N, D * H), likewise."""
        return TensorDescriptor.blocks(self.c.reshape(len(self.c), -1), self.c.ctypes.data, self.packing)

    @property
    def saved(self):
        """What the cell saved of every step for the adjoint, (D, S, saved, H): a copy, in order."""
        size, lanes = self.size, lanes_of(self.size.dtype)
        directions, rows, count = size.directions, self.packing.rows, size.cell.saved
        shape, step = (directions, rows, size.padded * count), size.saved_block * lanes
        blocks = np.ndarray(shape, size.dtype, self.block, self.plans.tape.offsets["saved"])
        parts = [blocks[..., i * count : (i + step) * count] for i in range(0, size.padded, step)]
        units = [part.reshape(directions, rows, count, -1) for part in parts]
        return np.concatenate(units, axis=3)[..., : size.hidden]

    def add_to(self, program):
        """Add forward to a program; of a tape that keeps the weights in blocks, some steps of a stream.

        Such a pass carries h to row 0.
        """
        plan, record, size = self.plans.forward, self.forward.record, self.size
        products = size.directions * size.numbers
        pool = F_POOL, plan.threads, threads_for(size.batch * products)
        program.large |= size.products >= LARGE
        program.long |= plan.long
        program.nbytes += self.nbytes
        if self.keep.what == "weights":
            program.add(passes.steps, record, self, written=self._written, per_step=[(F_STEPS, 1)], pool=pool)
        else:
            program.add(passes.forward, record, self, written=self._written, pool=pool)
        if self.keep.what == "nothing":  # packing compares with what is there: with what it has looked at, or zeros
            block = borrow(self.plans.scratch.nbytes)
            block[0].fill(0)
            self.forward.keep_scratch(block)
            program.nbytes += self.plans.scratch.nbytes
            program.packed += size.packed
            program.flags.append((record, F_WRONG))
        else:
            program.lend(self.forward, self.plans.scratch.nbytes)


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
        record[B_DY : B_DY + ROWS_WORDS], record[B_DCELLS : B_DCELLS + ROWS_WORDS] = _record(dy), _record(dcells)
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
        """What is left of dL/d(state) is that of the initial one: of runs, their sum."""
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
        """Add backward to a program, of whole sequences of equal length, or in a `Room`; whether that could be done.

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
