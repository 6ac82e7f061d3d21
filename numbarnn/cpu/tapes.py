"""What one layer's forward leaves behind on the CPU, and how it is run.

A `Tape` holds a copy of a plan's record with the addresses filled in; `fill` runs the kernel, and may be called again: a
training makes these objects once for each batch size.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units, P channels of h (H, unless h is projected),
V values of a unit.
In a ragged batch N are its runs and T is the longest; S counts the rows at work at all steps together, T N if all are.
"""

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..engine.tape import StateTape
from . import passes
from .jobs import call, call_long
from .memory import borrow, give, take
from .records import FORWARD, ROWS, place
from .threads import LARGE, sharing, threads_for
from .vectors import lanes_of

F_X, F_DRIVES, F_PARAMETERS, F_STEPS, F_START, F_PACK, F_WRONG, F_POOL, F_BACK_TO_X = (
    place(FORWARD, name)
    for name in ("x", "drives", "parameters", "steps", "start", "pack", "wrong", "work.pool", "input.transposed")
)


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


def record_of(array):
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

    separates_unit_values = True

    def __init__(self, plans, parameters, x, initial, unit_values, drives):
        self.plans, self.x, self.drives = plans, x, drives
        self._drive_rows = np.array([*map(record_of, drives)], np.int64)
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
        """Let the next run of such a record (is modified) compute the segment from step `start` on.

        segment, layout: the block of memory, and where what it keeps lies in it.
        """
        steps, size = self.plans.segment, self.size
        record[F_START], record[F_STEPS] = start, min(steps, size.steps - start)
        if self.checkpoints is not None:
            rows = self.packing.most_blocks(steps)
            states = [self._state_array(m, segment[0], layout.offsets["hc"[m]], rows) for m in range(size.cell.states)]
            self._place_checkpoint(start // steps, start, record[F_STEPS], states)

    def _place_checkpoint(self, index, start, count, states):
        """Write the states that a segment starts from into its own h and c, also for runs that begin in it."""
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
