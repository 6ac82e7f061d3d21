"""From arrays to kernel calls for one layer.

What a call needs besides addresses is worked out once for each size and kept as a `Plan`.  A `Tape` or an `Adjoint` holds
a copy of the plan's record with the addresses filled in; `fill` runs the kernel, and may be called again: a training
makes these objects once for each batch size.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units; K steps of a segment.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from ..cells import Cell
from ..descriptor import TensorDescriptor
from . import routines
from .blocks import block_vectors, packed_size, spread, transposed_size, vectors_in
from .memory import aligned, borrow, give, take
from .product import MAX_VECTORS
from .records import BACKWARD, FORWARD, place
from .simd import lanes_of
from .threads import launching, parts, shares, threads

FORWARD_ROWS = 96  # rows of pre-activations computed ahead of the loop over time: they stay in the L2 cache
BACKWARD_ROWS = 512  # rows of derivatives between two sums of the weight gradients

F_X, F_PARAMETERS, F_STEPS, F_START, F_PACK = (
    place(FORWARD, name) for name in ("x", "parameters", "steps", "start", "pack")
)
B_X, B_DY, B_DX, B_DH, B_DC, B_PARAMETERS, B_ACCUMULATE, B_STEPS, B_START = (
    place(BACKWARD, name) for name in ("x", "dy", "dx", "dh", "dc", "parameters", "accumulate", "steps", "start")
)


@dataclass(frozen=True)
class Size:
    """The sizes of one layer on one batch."""

    cell: Cell
    hidden: int
    directions: int
    steps: int
    batch: int
    channels: int
    dtype: np.dtype

    @functools.cached_property
    def padded(self):
        """Hidden units, rounded up to whole vectors."""
        return vectors_in(self.hidden, self.dtype) * lanes_of(self.dtype)

    @property
    def spread(self):
        """Numbers in a row of derivatives of the state."""
        return spread(vectors_in(self.hidden, self.dtype)) * lanes_of(self.dtype)

    @property
    def row(self):
        """Numbers of one step of one sample in h."""
        return self.directions * self.hidden

    @functools.cached_property
    def shares(self):
        """(parts of the batch, parts of the hidden units) of each direction, for the number of threads now."""
        slots = len(self.cell.recurrent_slots) + len(self.cell.gated_slots)
        weight_bytes = packed_size(self.hidden, self.hidden, slots, self.dtype) * self.dtype.itemsize
        panels = -(-self.padded // (MAX_VECTORS * lanes_of(self.dtype)))
        return shares(self.batch, self.directions, panels, weight_bytes)

    @property
    def forward_chunk(self):
        """Steps of input products computed ahead."""
        tasks, _ = self.shares
        return max(1, min(self.steps, FORWARD_ROWS // -(-self.batch // tasks)))

    @property
    def backward_chunk(self):
        """Steps between two sums of the weight gradients."""
        return max(1, min(self.steps, BACKWARD_ROWS // self.batch))

    def groups(self):
        """(name, rows of the weight, slots, gates) of the runs of slots that the cell's weights feed."""
        cell = self.cell
        return (
            ("input", self.channels, cell.input_slots, cell.input_gates),
            ("recurrent", self.hidden, cell.recurrent_slots, cell.recurrent_gates),
            ("gated", self.hidden, cell.gated_slots, cell.gated_gates),
        )

    def weights(self):
        """{field: numbers} of the weights and the bias in blocks, all directions, or of their gradients."""
        sizes = {
            f"{name}.weight": self.directions * packed_size(rows, self.hidden, len(slots), self.dtype)
            for name, rows, slots, _ in self.groups()
        }
        return {**sizes, "bias": self.directions * packed_size(1, self.hidden, self.cell.slots, self.dtype)}

    def transposed(self):
        """{field: numbers} of the transposed weights."""
        return {
            f"{name}.transposed": self.directions * transposed_size(rows, self.hidden, len(slots), self.dtype)
            for name, rows, slots, _ in self.groups()
        }

    def states(self, h_steps, c_rows):
        """{field: numbers} of h and c."""
        return {
            "h": (h_steps + 2) * self.batch * self.row,
            "c": c_rows * self.batch * self.row if self.cell.states > 1 else 0,
        }

    def gates(self, steps):
        """{field: numbers} of what backward needs of each of `steps` besides the states."""
        return {
            "operand": steps * self.batch * self.row if self.cell.gated_slots else 0,
            "saved": self.directions * steps * self.batch * self.padded * self.cell.saved,
        }

    def forward_scratch(self):
        """{field: numbers} of what a forward call needs for itself."""
        tasks, splits = self.shares
        rows = self.directions * self.batch * self.forward_chunk
        inputs = rows * splits * self.channels if self.forward_chunk > 1 else 0  # one step is read where it lies
        return {"inputs": inputs, "pre": rows * self.padded * self.cell.slots}

    def backward_scratch(self, need_x):
        """{field: numbers} of what backward needs for itself, the gradients in blocks included."""
        rows = self.directions * self.backward_chunk * self.batch
        owners = parts(self.directions)
        columns = vectors_in(max(self.channels, self.hidden) // owners + 1, self.dtype)
        vector = lanes_of(self.dtype)
        return {
            **self.weights(),
            "doperand": self.directions * self.batch * self.spread,
            "dpre": rows * self.padded * self.cell.slots,
            "factors": rows * owners * spread(columns) * vector,
            "outputs": rows * self.hidden,
            "dinputs": rows * spread(vectors_in(self.channels, self.dtype)) * vector if need_x else 0,
        }

    def parameters(self):
        """({name: where it starts}, numbers in all) of one direction's parameters."""
        columns = len(self.cell.gates) * self.hidden
        recurrent = self.hidden if self.cell.recurrent_slots or self.cell.gated_slots else 0
        sizes = {
            "weight_ih": self.channels * columns,
            "weight_hh": recurrent * columns,
            "bias_ih": columns,
            "bias_hh": columns if recurrent else 0,
        }
        starts, total = {}, 0
        for name, size in sizes.items():
            starts[name] = total
            total += size
        return starts, total

    def constants(self):
        """The fields of a record that are neither addresses of buffers nor the caller's."""
        weights, direction = self.parameters()
        tasks, splits = self.shares
        values = {
            "steps": self.steps,
            "total": self.steps,
            "batch": self.batch,
            "channels": self.channels,
            "hidden": self.hidden,
            "directions": self.directions,
            "gates": len(self.cell.gates),
            "slots": self.cell.slots,
            "per_block": block_vectors(self.cell.slots),
            "tasks": tasks,
            "splits": splits,
            "parts": parts(self.directions),
            "direction_stride": direction * self.dtype.itemsize,
            "whole": 1,
        }
        for name, rows, slots, gates in self.groups():
            values |= {
                f"{name}.rows": rows,
                f"{name}.first": slots[0] if slots else 0,
                f"{name}.slots": len(slots),
                f"{name}.gates": _gate_table(gates).ctypes.data,
                f"{name}.parameter": self.dtype.itemsize * weights["weight_ih" if name == "input" else "weight_hh"],
                f"{name}.bias": self.dtype.itemsize * weights["bias_ih" if name == "input" else "bias_hh"],
            }
        for name, address in zip(routines.ROUTINE_NAMES, routines.addresses(self.dtype)):
            values[f"routines.{name}"] = address
        return values

    def step_bytes(self):
        """Bytes of one step of h, c or operand."""
        return self.batch * self.row * self.dtype.itemsize


@functools.cache
def _gate_table(gates):
    return np.array(gates, np.int64)


@functools.cache
def _one(dtype):
    return np.ones(1, dtype)


@functools.cache
def _zeros(dtype):
    return np.zeros(lanes_of(dtype), dtype)


class Layout:
    """Where named buffers lie in one block of memory.

    Parameters
    ----------
    sizes : dict of str to int
        Numbers in the buffer that a field of a record points to; none for 0.
    dtype : numpy.dtype
    """

    def __init__(self, sizes, dtype):
        self.offsets, self.nbytes = {}, 0
        for path, size in sizes.items():
            if size:
                self.offsets[path] = self.nbytes
                self.nbytes += aligned(size * dtype.itemsize)

    def without(self, paths):
        """The same block, some of its buffers not pointed to."""
        layout = Layout({}, None)
        layout.offsets = {path: offset for path, offset in self.offsets.items() if path not in paths}
        layout.nbytes = self.nbytes
        return layout


class Plan:
    """A record with everything but addresses, and where in it they go.

    Parameters
    ----------
    record : numpy.dtype
        FORWARD or BACKWARD.
    constants : dict of str to int
        Values of fields.
    layouts : sequence of Layout
        The blocks of memory that the record's buffers lie in.
    """

    def __init__(self, record, constants, layouts):
        self.template = np.zeros(record.itemsize // 8, np.int64)
        for path, value in constants.items():
            self.template[place(record, path)] = value
        self.blocks = []
        for layout in layouts:
            fields = np.array([place(record, path) for path in layout.offsets], np.intp)
            self.template[fields] = list(layout.offsets.values())
            self.blocks.append((fields, self.template[fields]))

    def filled(self, *addresses):
        """A copy of the record, as integers, with the addresses of the first blocks filled in."""
        record = self.template.copy()
        for (fields, _), address in zip(self.blocks, addresses):
            record[fields] += address
        return record

    def move(self, record, block, address):
        """Point the buffers of one block to another address."""
        fields, offsets = self.blocks[block]
        record[fields] = offsets + address


class Call:
    """A kernel, its record, and the block of memory it borrows while it runs."""

    def __init__(self, kernel, size, plan, record, scratch_block, scratch_bytes):
        self.kernel, self.cell, self.real, self.plan, self.record = kernel, size.cell, _real(size.dtype), plan, record
        self.address = record.ctypes.data
        self.scratch_block, self.scratch_bytes, self.scratch_address = scratch_block, scratch_bytes, None

    def __call__(self):
        scratch = take(self.scratch_bytes)
        if scratch[1] != self.scratch_address:
            self.plan.move(self.record, self.scratch_block, scratch[1])
            self.scratch_address = scratch[1]
        with launching():
            self.kernel(self.cell, self.real, self.address)
        give(scratch)


@functools.cache
def _real(dtype):
    return dtype.type(0)


@dataclass(frozen=True)
class Keep:
    """What forward keeps.

    what : {"nothing", "weights", "all", "states", "checkpoints"}
        ``weights``: those in blocks, for calls of `fill` with the same parameters.  The others are for backward: all it
        needs; h and c of every step; or h and c at the start of each segment.  Backward runs a segment forward again to
        get what is missing, with the same bits.
    segments : int
        At most this many checkpoints.
    """

    what: str = "nothing"
    segments: int = 1

    @property
    def for_backward(self):
        """Whether backward may be asked for."""
        return self.what in ("all", "states", "checkpoints")

    def steps(self, size):
        """K, the steps of a segment: whole chunks of backward, so that sums have the same order with any K."""
        if self.what == "states":
            return size.backward_chunk
        if self.what == "checkpoints":
            steps, chunk = -(-size.steps // self.segments), size.backward_chunk
            return min(size.steps, -(-steps // chunk) * chunk)
        return size.steps


NOTHING, WEIGHTS, ALL, STATES = Keep(), Keep("weights"), Keep("all"), Keep("states")


@dataclass(frozen=True)
class Plans:
    """What one size and one way of keeping need."""

    size: Size
    segment: int  # K
    tape: Layout  # kept by the tape
    states: Layout | None  # h and c where they are not the tape's
    scratch: Layout
    forward: Plan


@functools.lru_cache(maxsize=512)
def _forward_plans(cell, hidden, directions, steps, batch, channels, dtype, keep, threads_):
    size = Size(cell, hidden, directions, steps, batch, channels, dtype)
    what, weights = keep.what, size.weights()
    segmented, kept_c = what in ("states", "checkpoints"), what in ("all", "states")
    states = size.states(steps, steps + 2 if kept_c else 1)
    gates = size.gates(steps) if what == "all" else {"operand": size.gates(1)["operand"]}
    tape = {} if what == "checkpoints" else states
    tape |= gates if what == "all" else {}
    tape |= size.transposed() if what == "all" or segmented else {}
    tape |= weights if what == "weights" or segmented else {}
    scratch = size.forward_scratch()
    scratch |= {} if what == "all" else gates
    scratch |= weights if what in ("nothing", "all") else {}
    tape, scratch = Layout(tape, dtype), Layout(scratch, dtype)
    apart = Layout(states, dtype) if what == "checkpoints" else None
    constants = size.constants() | {
        "chunk": size.forward_chunk,
        "keep": int(what == "all"),
        "pack": 2 if what == "all" or segmented else 1,
        "c_step": size.step_bytes() if kept_c else 0,
        "operand_step": size.step_bytes() if what == "all" else 0,
    }
    plan = Plan(FORWARD, constants, [scratch, tape, *([apart] if apart else [])])
    return Plans(size, keep.steps(size), tape, apart, scratch, plan)


class Tape:
    """What one layer's forward leaves behind.

    Bytes, for an item of b bytes, H' = H rounded up to whole vectors, and P the layer's weights and biases with H' for H:

    * always b (T + 2) N D H for h, which holds y, except with checkpoints, where y is not the tape's;
    * to keep all: as much for the c of an LSTM and b T N D H for the operand of a GRU with reset before, b D T N H'
      times the values the cell saves (LSTM and GRU 4, reset before 3, RNN 0), and b P for the transposed weights;
    * to keep states: h, the c of an LSTM, and 2 b P;
    * checkpoints: b S N D H for each state of the cell, S being their number, and 2 b P.

    Attributes
    ----------
    h : numpy.ndarray
        (T + 2, N, D, H), as in `records`; y is rows 1 to T.
    c : numpy.ndarray or None
        Like h, or (1, N, D, H) where only the last step's is kept.
    """

    def __init__(self, kernels, plans, keep, parameters, x, initial):
        self.kernels, self.plans, self.keep, self.x = kernels, plans, keep, x
        self.size = size = plans.size
        self.block, self.address = borrow(plans.tape.nbytes)
        states, states_address, offsets = self.block, self.address, plans.tape.offsets
        if plans.states:
            states, states_address = borrow(plans.states.nbytes)
            offsets = plans.states.offsets
        self._y_address = states_address + size.step_bytes()
        self.h = self._state_array(states, offsets, "h", size.steps + 2)
        self.c = None
        if size.cell.states > 1:
            self.c = self._state_array(states, offsets, "c", size.steps + 2 if keep.what in ("all", "states") else 1)
        self.start(initial)
        addresses = (0, self.address, states_address) if plans.states else (0, self.address)
        record = plans.forward.filled(*addresses)
        record[F_X : F_X + 4] = x.record
        record[F_PARAMETERS] = parameters.ctypes.data
        self.forward = Call(kernels.forward, size, plans.forward, record, 0, plans.scratch.nbytes)
        self.checkpoints = None
        if keep.what == "checkpoints":
            count = -(-size.steps // plans.segment)
            self.checkpoints = np.empty((count, size.cell.states, size.batch, size.directions, size.hidden), size.dtype)
        self.fill()
        if keep.what == "weights":
            record[F_PACK] = 0

    def _state_array(self, block, offsets, name, rows):
        shape = (rows, self.size.batch, self.size.directions, self.size.hidden)
        return np.ndarray(shape, self.size.dtype, block, offsets[name])

    def start(self, initial):
        """Set the initial state: (D, N, H) for each state of the cell, or None for zeros."""
        self.initial = initial
        for m, array in enumerate((self.h, self.c)[: self.size.cell.states]):
            for d in range(self.size.directions):
                array[0 if d == 0 else -1][:, d] = 0 if initial is None else initial[m][d]

    def fill(self):
        """Run forward: fill h, c and whatever is kept from x and the parameters as they are now."""
        if self.checkpoints is None:
            self.forward()
            return
        record, size = self.forward.record, self.size
        if self.size.cell.states > 1:
            self.start(self.initial)  # a single row of c: the last fill has overwritten it
        for index, start in enumerate(range(0, size.steps, self.plans.segment)):
            self._store_checkpoint(index, start)
            record[F_START], record[F_STEPS] = start, min(self.plans.segment, size.steps - start)
            record[F_PACK] = 2 if start == 0 else 0
            self.forward()

    def _store_checkpoint(self, index, start):
        for d in range(self.size.directions):
            self.checkpoints[index, 0][:, d] = self.h[start if d == 0 else self.size.steps + 1 - start][:, d]
        if self.size.cell.states > 1:
            self.checkpoints[index, 1] = self.c[0]

    def let_go_of_y(self):
        """Keep no more than backward needs; `fill` must not be called again."""
        if self.plans.states:
            self.h = self.c = None

    @property
    def nbytes(self):
        """Bytes of the tape, x not counted."""
        states = self.plans.states.nbytes if self.plans.states and self.h is not None else 0
        return self.block.nbytes + states + (0 if self.checkpoints is None else self.checkpoints.nbytes)

    @property
    def y(self):
        """The h of every step, (T, N, D * H)."""
        size = self.size
        return self.h[1:-1].reshape(size.steps, size.batch, size.row)

    @property
    def described(self):
        """y as a TensorDescriptor."""
        return TensorDescriptor.of_tnc(self.y, self._y_address)

    def stepper(self):
        """A function without arguments that takes one step of a stream; the tape keeps the weights in blocks.

        On one thread the kernel itself carries h to row 0; starting others would take longer than a small layer's step.
        """
        call = self.forward
        if self.size.shares == (1, 1) and hasattr(self.kernels, "step"):
            self._scratch = borrow(call.scratch_bytes)  # its own as long as the tape lives
            call.plan.move(call.record, call.scratch_block, self._scratch[1])
            return functools.partial(self.kernels.step, call.cell, call.real, call.address)

        def step(before=self.h[0], after=self.h[1]):
            call()
            before[...] = after

        return step

    def reached(self, m):
        """State m after a step of a stream, (1, N, H): h is carried to row 0, c is kept in place."""
        return (self.h, self.c)[m][0].swapaxes(0, 1)

    def final(self, m):
        """State m after the last step of each direction: (D, N, H)."""
        array = (self.h, self.c)[m]
        if len(array) == 1:
            return array[0].swapaxes(0, 1)
        if self.size.directions == 1:
            return array[-2].swapaxes(0, 1)
        return np.stack((array[-2][:, 0], array[1][:, 1]))


def run(kernels, cell, hidden, directions, parameters, x, initial, keep):
    """One layer forward.

    Parameters
    ----------
    kernels : module
        ``recurrent`` or ``dense``.
    cell : Cell
    hidden, directions : int
    parameters : numpy.ndarray
        The parameter vector from this layer's part on.
    x : TensorDescriptor
    initial : list of numpy.ndarray or None
        (D, N, H) for each state of the cell; zeros if None.
    keep : Keep

    Returns
    -------
    Tape
    """
    plans = _forward_plans(cell, hidden, directions, x.steps, x.batch, x.channels, x.dtype, keep, threads())
    return Tape(kernels, plans, keep, parameters, x, initial)


@functools.lru_cache(maxsize=512)
def _backward_plans(size, keep, need_x, threads_):
    """(scratch of backward, plan of backward, then for segments: their buffers, gradients, scratch and plan of forward)."""
    plans = _forward_plans(
        size.cell, size.hidden, size.directions, size.steps, size.batch, size.channels, size.dtype, keep, threads_
    )
    steps = plans.segment
    scratch, weights = size.backward_scratch(need_x), size.weights()
    rows = {"c_step": size.step_bytes(), "operand_step": size.step_bytes(), "whole": int(keep.what != "checkpoints")}
    constants = size.constants() | rows
    backward = constants | {"chunk": size.backward_chunk}
    backward |= {"one": _one(size.dtype).ctypes.data, "zeros": _zeros(size.dtype).ctypes.data}
    held = plans.tape.without(weights)
    if keep.what == "all":
        scratch = Layout(scratch, size.dtype)
        return scratch, Plan(BACKWARD, backward, [scratch, held])
    scratch = Layout({path: numbers for path, numbers in scratch.items() if path not in weights}, size.dtype)
    gradients = Layout(weights, size.dtype)
    states = size.states(steps, steps + 2) if keep.what == "checkpoints" else {}
    segment = Layout(states | size.gates(steps), size.dtype)
    again = Layout(size.forward_scratch(), size.dtype)
    forward = constants | {"chunk": size.forward_chunk, "keep": 1, "pack": 0}
    return (
        scratch, Plan(BACKWARD, backward, [scratch, held, segment, gradients]),
        segment, gradients, again, Plan(FORWARD, forward, [again, plans.tape, segment]),
    )  # fmt: skip


class Adjoint:
    """One layer's backward: `fill` runs it, and may be called again after the tape was filled again.

    Parameters
    ----------
    tape : Tape
    dy : TensorDescriptor or None
        dL/dy, (T, N, D * H).
    dfinal : list of numpy.ndarray or None
        dL/d(final state), (D, N, H) for each state of the cell.
    need_x : bool
        Whether to compute dL/dx.
    gradient : numpy.ndarray
        The gradient vector from this layer's part on (is modified).
    accumulate : bool
        Add to `gradient` instead of overwriting it.

    Attributes
    ----------
    dx : numpy.ndarray or None
        (T, N, I).
    dinitial : numpy.ndarray
        (states of the cell, D, N, H).
    """

    def __init__(self, tape, dy, dfinal, need_x, gradient, accumulate):
        self.tape, self.dy, self.dfinal, self.gradient = tape, dy, dfinal, gradient
        size = tape.size
        scratch, plan, *self._segments = _backward_plans(size, tape.keep, need_x, threads())
        shape = (size.cell.states, size.directions, size.batch, size.spread)
        block, dstate_address = borrow(math.prod(shape) * size.dtype.itemsize)
        self._dstates = np.ndarray(shape, size.dtype, block)
        self.dinitial = self._dstates[..., : size.hidden]
        record = plan.filled(0, tape.address)
        record[B_X : B_X + 4] = tape.x.record
        record[B_PARAMETERS] = gradient.ctypes.data
        record[B_ACCUMULATE] = accumulate
        record[B_DH] = dstate_address
        record[B_DC] = dstate_address + self._dstates.strides[0] * (size.cell.states - 1)
        if dy is not None:
            record[B_DY : B_DY + 4] = dy.record
        self.dx = self._dx = None
        if need_x:
            block, address = borrow(size.directions * size.steps * size.batch * size.channels * size.dtype.itemsize)
            self._dx = np.ndarray((size.directions, size.steps, size.batch, size.channels), size.dtype, block)
            self.dx = self._dx[0]
            record[B_DX] = address
        self.backward = Call(tape.kernels.backward, size, plan, record, 0, scratch.nbytes)

    def fill(self):
        """Run backward: write dx, dinitial and the gradient."""
        self._dstates.fill(0)
        if self.dfinal is not None:
            for dstate, given in zip(self.dinitial, self.dfinal):
                dstate[...] = given
        if self._segments:
            self._fill_segments(*self._segments)
        else:
            self.backward()
        if self._dx is not None and len(self._dx) == 2:
            self.dx += self._dx[1]

    def _fill_segments(self, segment, gradients, scratch, plan):
        tape, size = self.tape, self.tape.size
        steps, backward = tape.plans.segment, self.backward
        blocks = take(segment.nbytes), take(gradients.nbytes)
        record = plan.filled(0, tape.address, blocks[0][1])
        record[F_X : F_X + 4] = tape.x.record
        forward = Call(tape.kernels.forward, size, plan, record, 0, scratch.nbytes)
        for block, (_, address) in enumerate(blocks, 2):
            backward.plan.move(backward.record, block, address)
        for start in reversed(range(0, size.steps, steps)):
            count = min(steps, size.steps - start)
            record[F_START], record[F_STEPS] = backward.record[B_START], backward.record[B_STEPS] = start, count
            if tape.checkpoints is not None:
                shape = (count + 2, size.batch, size.directions, size.hidden)
                for name, kept in zip("hc", tape.checkpoints[start // steps]):
                    states = np.ndarray(shape, size.dtype, blocks[0][0], segment.offsets[name])
                    for d in range(size.directions):
                        states[0 if d == 0 else -1][:, d] = kept[:, d]
            forward()
            backward()
        for block in blocks:
            give(block)
