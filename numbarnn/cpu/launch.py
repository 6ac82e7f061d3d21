"""From arrays to a kernel call for one layer.

What a call needs besides addresses is worked out once for each size and kept as a `Plan`; a call then borrows two blocks
of memory, one for the tape and one for itself, and fills in a copy of the plan's record.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units.
"""

import functools
import math
from dataclasses import dataclass, field

import numpy as np

from ..cells import Cell
from ..descriptor import TensorDescriptor
from . import routines
from .blocks import block_vectors, packed_size, transposed_size, vectors_in
from .memory import aligned, borrow, give, take
from .records import BACKWARD, FORWARD, place
from .simd import lanes_of
from .threads import batch_tasks, launching, threads

FORWARD_ROWS = 96  # rows of pre-activations computed ahead of the loop over time: they stay in the L2 cache
BACKWARD_ROWS = 512  # rows of derivatives between two sums of the weight gradients

FORWARD_X, FORWARD_PARAMETERS = (place(FORWARD, name) for name in ("x", "parameters"))
BACKWARD_X, BACKWARD_DY, BACKWARD_DX, BACKWARD_DH, BACKWARD_DC, BACKWARD_PARAMETERS, BACKWARD_ACCUMULATE = (
    place(BACKWARD, name) for name in ("x", "dy", "dx", "dh", "dc", "parameters", "accumulate")
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
    keep: bool

    @property
    def padded(self):
        """Hidden units, rounded up to whole vectors."""
        return vectors_in(self.hidden, self.dtype) * lanes_of(self.dtype)

    @property
    def row(self):
        """Numbers of one step of one sample in h."""
        return self.directions * self.hidden

    def groups(self):
        """(name, rows of the weight, slots, gates) of the runs of slots that the cell's weights feed."""
        cell = self.cell
        return (
            ("input", self.channels, cell.input_slots, cell.input_gates),
            ("recurrent", self.hidden, cell.recurrent_slots, cell.recurrent_gates),
            ("gated", self.hidden, cell.gated_slots, cell.gated_gates),
        )

    def weight_size(self, rows, slots):
        """Numbers of a weight in blocks, all directions."""
        return self.directions * packed_size(rows, self.hidden, slots, self.dtype)

    def tape(self):
        """What forward leaves behind: {field: numbers}; the sizes of `records.CALL`."""
        states = (self.steps + 2) * self.batch * self.row
        kept_steps = self.steps if self.keep else 1
        sizes = {
            "h": states,
            "c": 0 if self.cell.states == 1 else states if self.keep else self.batch * self.row,
            "operand": kept_steps * self.batch * self.row if self.cell.gated_slots else 0,
            "saved": self.directions * self.steps * self.batch * self.padded * self.cell.saved if self.keep else 0,
        }
        for name, rows, slots, _ in self.groups() if self.keep else ():
            sizes[f"{name}.transposed"] = self.directions * transposed_size(rows, self.hidden, len(slots), self.dtype)
        return sizes

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
        kept = self.batch * self.row * self.dtype.itemsize if self.keep else 0
        weights, direction = self.parameters()
        values = {
            "steps": self.steps,
            "batch": self.batch,
            "channels": self.channels,
            "hidden": self.hidden,
            "directions": self.directions,
            "gates": len(self.cell.gates),
            "slots": self.cell.slots,
            "per_block": block_vectors(self.cell.slots),
            "tasks": batch_tasks(self.batch, self.directions),
            "parts": -(-threads() // self.directions),
            "direction_stride": direction * self.dtype.itemsize,
            "c_step": kept,
            "operand_step": kept,
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


@functools.cache
def _gate_table(gates):
    return np.array(gates, np.int64)


class Plan:
    """A record with everything but addresses, and where in it they go.

    Parameters
    ----------
    record : numpy.dtype
        FORWARD or BACKWARD.
    size : Size
    constants : dict of str to int
        Values of fields.
    scratch : dict of str to int
        Numbers in the buffer that a field points to, in the call's own block.
    """

    def __init__(self, record, size, constants, scratch):
        self.record, self.size, self.real = record, size, size.dtype.type(0)
        self.template = np.zeros(record.itemsize // 8, np.int64)
        for path, value in constants.items():
            self.template[place(record, path)] = value
        self.tape_offsets, self.tape_fields, self.tape_bytes = self._lay_out(size.tape(), size.dtype)
        _, self.scratch_fields, self.scratch_bytes = self._lay_out(scratch, size.dtype)

    def _lay_out(self, sizes, dtype):
        offsets, total = {}, 0
        for path, size in sizes.items():
            if size:
                offsets[path] = total
                self.template[place(self.record, path)] = total
                total += aligned(size * dtype.itemsize)
        fields = np.array([place(self.record, path) for path in offsets], np.intp)
        return offsets, fields, total

    def filled(self, tape, scratch):
        """A copy of the record, as integers, with the addresses of the two blocks filled in."""
        record = self.template.copy()
        record[self.tape_fields] += tape
        record[self.scratch_fields] += scratch
        return record


@functools.lru_cache(maxsize=512)
def _forward_plan(cell, hidden, directions, steps, batch, channels, dtype, keep, threads_):
    size = Size(cell, hidden, directions, steps, batch, channels, dtype, keep)
    constants = size.constants()
    tasks = constants["tasks"]
    chunk = max(1, min(size.steps, FORWARD_ROWS // -(-size.batch // tasks)))
    scratch = {f"{name}.weight": size.weight_size(rows, len(slots)) for name, rows, slots, _ in size.groups()}
    scratch |= {
        "bias": size.weight_size(1, size.cell.slots),
        "inputs": size.directions * size.batch * chunk * size.channels,
        "pre": size.directions * size.batch * chunk * size.padded * size.cell.slots,
    }
    constants |= {"chunk": chunk, "keep": int(size.keep)}
    return Plan(FORWARD, size, constants, scratch)


@functools.lru_cache(maxsize=512)
def _backward_plan(size, need_x, threads_):
    constants = size.constants()
    chunk = max(1, min(size.steps, BACKWARD_ROWS // size.batch))
    rows = size.directions * chunk * size.batch
    scratch = {f"{name}.weight": size.weight_size(length, len(slots)) for name, length, slots, _ in size.groups()}
    scratch |= {
        "bias": size.weight_size(1, size.cell.slots),
        "doperand": size.directions * size.batch * size.padded,
        "dpre": rows * size.padded * size.cell.slots,
        "inputs": rows * size.channels,
        "outputs": rows * size.hidden,
        "dinputs": rows * vectors_in(size.channels, size.dtype) * lanes_of(size.dtype) if need_x else 0,
    }
    constants |= {"chunk": chunk, "one": _one(size.dtype).ctypes.data}
    return Plan(BACKWARD, size, constants, scratch)


@functools.cache
def _one(dtype):
    return np.ones(1, dtype)


@dataclass(frozen=True)
class Tape:
    """What one layer's forward leaves behind, in one block of memory.

    Bytes, for an item of b bytes and H' = H rounded up to whole vectors: b (T + 2) N D H for h and as much for c,
    b T N D H for a gated operand, b D T N H' times the values the cell saves, and the transposed weights.
    """

    size: Size
    x: TensorDescriptor
    block: np.ndarray = field(repr=False)  # uint8
    address: int
    h: np.ndarray = field(repr=False)  # [T + 2, N, D, H], as in records.CALL
    c: np.ndarray | None = field(repr=False)  # like h, or [1, N, D, H] where nothing is kept

    @property
    def nbytes(self):
        """Bytes of the tape, x not counted."""
        return self.block.nbytes

    @property
    def y(self):
        """The h of every step, (T, N, D * H)."""
        size = self.size
        return self.h[1:-1].reshape(size.steps, size.batch, size.row)

    @property
    def described(self):
        """y as a TensorDescriptor."""
        size = self.size
        return TensorDescriptor.of_tnc(self.y, self.address + size.batch * size.row * size.dtype.itemsize)

    def final(self, m):
        """State m after the last step of each direction: (D, N, H)."""
        array = (self.h, self.c)[m]
        if len(array) == 1:
            return array[0].swapaxes(0, 1)
        if self.size.directions == 1:
            return array[-2].swapaxes(0, 1)
        return np.stack((array[-2][:, 0], array[1][:, 1]))


def run(kernel, cell, hidden, directions, parameters, x, initial, keep):
    """One layer forward.

    Parameters
    ----------
    kernel : function
        ``recurrent.forward`` or ``dense.forward``.
    cell : Cell
    hidden, directions : int
    parameters : numpy.ndarray
        The parameter vector from this layer's part on.
    x : TensorDescriptor
    initial : list of numpy.ndarray or None
        (D, N, H) for each state of the cell; zeros if None.
    keep : bool
        Whether backward will be asked for.

    Returns
    -------
    Tape
    """
    plan = _forward_plan(cell, hidden, directions, x.steps, x.batch, x.channels, x.dtype, keep, threads())
    size = plan.size
    block, address = borrow(plan.tape_bytes)
    states = []
    for m, name in enumerate(("h", "c")[: cell.states]):
        rows = size.steps + 2 if keep or name == "h" else 1
        start, shape = plan.tape_offsets[name], (rows, size.batch, directions, hidden)
        array = np.ndarray(shape, size.dtype, block, start)
        for d in range(directions):
            array[0 if d == 0 else -1][:, d] = 0 if initial is None else initial[m][d]
        states.append(array)
    scratch = take(plan.scratch_bytes)
    record = plan.filled(address, scratch[1])
    record[FORWARD_X : FORWARD_X + 4] = x.record
    record[FORWARD_PARAMETERS] = parameters.ctypes.data
    with launching():
        kernel(cell, plan.real, record.ctypes.data)
    give(scratch)
    return Tape(size, x, block, address, states[0], states[1] if len(states) == 2 else None)


def differentiate(kernel, tape, dy, dfinal, need_x, gradient, accumulate):
    """One layer backward.

    Parameters
    ----------
    kernel : function
        ``recurrent.backward`` or ``dense.backward``.
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

    Returns
    -------
    dx : numpy.ndarray or None
        (T, N, I).
    dinitial : list of numpy.ndarray
        (D, N, H) for each state of the cell.
    """
    size, x = tape.size, tape.x
    plan = _backward_plan(size, need_x, threads())
    shape = (size.cell.states, size.directions, size.batch, size.padded)
    block, dstate_address = borrow(math.prod(shape) * size.dtype.itemsize)
    dstates = np.ndarray(shape, size.dtype, block)
    dstates.fill(0)
    if dfinal is not None:
        for m, dstate in enumerate(dfinal):
            dstates[m, ..., : size.hidden] = dstate
    scratch = take(plan.scratch_bytes)
    record = plan.filled(tape.address, scratch[1])
    record[BACKWARD_X : BACKWARD_X + 4] = x.record
    record[BACKWARD_PARAMETERS] = gradient.ctypes.data
    record[BACKWARD_ACCUMULATE] = accumulate
    record[BACKWARD_DH] = dstate_address
    record[BACKWARD_DC] = dstate_address + dstates.strides[0] * (size.cell.states - 1)
    if dy is not None:
        record[BACKWARD_DY : BACKWARD_DY + 4] = dy.record
    dx = None
    if need_x:
        block, address = borrow(size.directions * size.steps * size.batch * size.channels * size.dtype.itemsize)
        dx = np.ndarray((size.directions, size.steps, size.batch, size.channels), size.dtype, block)
        record[BACKWARD_DX] = address
    with launching():
        kernel(size.cell, plan.real, record.ctypes.data)
    give(scratch)
    if need_x:
        dx = dx[0] if size.directions == 1 else dx[0] + dx[1]
    return dx, dstates[..., : size.hidden]
