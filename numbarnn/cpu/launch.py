"""From arrays to a kernel call: buffers and the record of addresses for one recurrent layer.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units.
"""

import functools
from dataclasses import dataclass, field

import numpy as np

from ..cells import Cell
from ..descriptor import TensorDescriptor
from . import recurrent, routines
from .blocks import block_vectors, packed_size, transposed_size, vectors_in
from .memory import Scratch, empty
from .records import BACKWARD, FORWARD
from .simd import lanes_of
from .threads import batch_tasks, launching, threads

FORWARD_ROWS = 96  # rows of pre-activations computed ahead of the loop over time: they stay in the L2 cache
BACKWARD_ROWS = 512  # rows of derivatives between two sums of the weight gradients


@dataclass(frozen=True)
class Tape:
    """What one layer's forward leaves behind.

    Attributes
    ----------
    h, c : numpy.ndarray
        (T + 2, N, D, H): row t + 1 the state after time t, row 0 the initial state of the forward direction, row T + 1
        that of the reverse one.  c is (1, N, D, H), overwritten by each step, where nothing is kept, and None for a
        cell without c.
    operand : numpy.ndarray or None
        (T, N, D, H): what the gated recurrent weights multiply.
    saved : numpy.ndarray or None
        (D, T, N, padded H * values saved by the cell).
    transposed : dict of str to numpy.ndarray
        The weights as backward needs them, packed: input, recurrent, gated.
    """

    cell: Cell
    x: TensorDescriptor
    h: np.ndarray = field(repr=False)
    c: np.ndarray | None = field(repr=False)
    operand: np.ndarray | None = field(repr=False)
    saved: np.ndarray | None = field(repr=False)
    transposed: dict = field(repr=False)

    @property
    def nbytes(self):
        """Bytes of the arrays the tape holds, x not counted."""
        arrays = (self.h, self.c, self.operand, self.saved, *self.transposed.values())
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def y(self):
        """The h of every step, (T, N, D * H)."""
        rows, batch, directions, hidden = self.h.shape
        return self.h[1:-1].reshape(rows - 2, batch, directions * hidden)

    @property
    def final(self):
        """The state after the last step of each direction: (N, D, H) for each state of the cell, a copy."""
        result = []
        for array in (self.h, self.c)[: self.cell.states]:
            last = array[-2 if len(array) > 1 else 0].copy()
            if array.shape[2] == 2 and len(array) > 1:
                last[:, 1] = array[1, :, 1]
            result.append(last)
        return tuple(result)


def _address(array):
    return 0 if array is None else array.ctypes.data


def _spans(cell, channels, hidden):
    """(name, rows of the weight, slots it feeds, address of the gate table) of the three groups of slots."""
    return (
        ("input", channels, cell.input_slots, _table(cell.input_gates)),
        ("recurrent", hidden, cell.recurrent_slots, _table(cell.recurrent_gates)),
        ("gated", hidden, cell.gated_slots, _table(cell.gated_gates)),
    )


@functools.cache
def _kept_table(gates):
    return np.array(gates, np.int64)


def _table(gates):
    return _kept_table(gates).ctypes.data


def _groups(spans, weights, transposed):
    return {
        name: (rows, slots[0] if slots else 0, len(slots), gates, weights[name], _address(transposed.get(name)))
        for name, rows, slots, gates in spans
    }


def _record(dtype, values):
    """A one-element array of the record `dtype`, from a dict with a value for each field."""
    return np.array([tuple(values[name] for name in dtype.names)], dtype)


def run(cell, hidden, directions, parameters, x, initial, keep):
    """One layer forward.

    Parameters
    ----------
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
    steps, batch, channels, dtype = x.steps, x.batch, x.channels, x.dtype
    kept_steps = steps if keep else 1
    h = empty((steps + 2, batch, directions, hidden), dtype)
    c = empty((steps + 2 if keep else 1, batch, directions, hidden), dtype) if cell.states == 2 else None
    for m, array in enumerate((h, c)[: cell.states]):
        for d in range(directions):
            array[0 if d == 0 else -1][:, d] = 0 if initial is None else initial[m][d]
    operand = empty((kept_steps, batch, directions, hidden), dtype) if cell.gated_slots else None
    padded = vectors_in(hidden, dtype) * lanes_of(dtype)
    saved = empty((directions, steps, batch, padded * cell.saved), dtype) if keep else None
    tasks = batch_tasks(batch, directions)
    chunk = max(1, min(steps, FORWARD_ROWS // -(-batch // tasks)))
    spans = _spans(cell, channels, hidden)
    transposed = {
        name: empty((directions * transposed_size(rows, hidden, len(slots), dtype),), dtype)
        for name, rows, slots, _ in spans
        if keep and slots
    }
    scratch = Scratch(
        dtype,
        {name: directions * packed_size(rows, hidden, len(slots), dtype) for name, rows, slots, _ in spans}
        | {
            "bias": directions * packed_size(1, hidden, cell.slots, dtype),
            "inputs": directions * batch * chunk * channels,
            "pre": directions * batch * chunk * padded * cell.slots,
        },
    )
    kept_stride = batch * directions * hidden * dtype.itemsize if keep else 0
    values = scratch.addresses | _groups(spans, scratch.addresses, transposed)
    values |= dict(
        routines=routines.addresses(dtype), x=x.record, steps=steps, batch=batch, channels=channels, hidden=hidden,
        directions=directions, gates=len(cell.gates), slots=cell.slots, per_block=block_vectors(cell.slots), tasks=tasks,
        parts=-(-threads() // directions), chunk=chunk, parameters=_address(parameters), h=_address(h), c=_address(c),
        c_step=kept_stride, operand=_address(operand), operand_step=kept_stride, saved=_address(saved), keep=int(keep),
    )  # fmt: skip
    call = _record(FORWARD, values)
    with launching():
        recurrent.forward(cell, dtype.type(0), call, _address(call))
    return Tape(cell, x, h, c, operand, saved, transposed)


def differentiate(tape, dy, dfinal, need_x, gradient, accumulate):
    """One layer backward.

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

    Returns
    -------
    dx : numpy.ndarray or None
        (T, N, I).
    dinitial : list of numpy.ndarray
        (D, N, H) for each state of the cell.
    """
    cell, x = tape.cell, tape.x
    steps, batch, channels, dtype = x.steps, x.batch, x.channels, x.dtype
    directions, hidden = tape.h.shape[2:]
    padded = vectors_in(hidden, dtype) * lanes_of(dtype)
    chunk = max(1, min(steps, BACKWARD_ROWS // batch))
    rows = directions * chunk * batch
    dstates = []
    for m in range(cell.states):
        dstate = np.zeros((directions, batch, padded), dtype)
        if dfinal is not None:
            dstate[..., :hidden] = dfinal[m]
        dstates.append(dstate)
    dx = empty((directions, steps, batch, channels), dtype) if need_x else None
    one = np.ones(1, dtype)
    spans = _spans(cell, channels, hidden)
    scratch = Scratch(
        dtype,
        {name: directions * packed_size(length, hidden, len(slots), dtype) for name, length, slots, _ in spans}
        | {
            "bias": directions * packed_size(1, hidden, cell.slots, dtype),
            "doperand": directions * batch * padded,
            "dpre": rows * padded * cell.slots,
            "inputs": rows * channels,
            "outputs": rows * hidden,
            "dinputs": rows * vectors_in(channels, dtype) * lanes_of(dtype) if need_x else 0,
        },
    )
    stride = batch * directions * hidden * dtype.itemsize
    values = scratch.addresses | _groups(spans, scratch.addresses, tape.transposed)
    values |= dict(
        routines=routines.addresses(dtype), x=x.record, dy=(0, 0, 0, 0) if dy is None else dy.record, steps=steps,
        batch=batch, channels=channels, hidden=hidden, directions=directions, gates=len(cell.gates), slots=cell.slots,
        per_block=block_vectors(cell.slots), tasks=batch_tasks(batch, directions), parts=-(-threads() // directions),
        chunk=chunk, parameters=_address(gradient), accumulate=int(accumulate), h=_address(tape.h), c=_address(tape.c),
        c_step=stride, operand=_address(tape.operand), operand_step=stride, saved=_address(tape.saved),
        dh=_address(dstates[0]), dc=_address(dstates[-1]), dx=_address(dx), one=_address(one),
    )  # fmt: skip
    call = _record(BACKWARD, values)
    with launching():
        recurrent.backward(cell, dtype.type(0), call, _address(call))
    if need_x:
        dx = dx[0] if directions == 1 else dx[0] + dx[1]
    return dx, [dstate[..., :hidden] for dstate in dstates]
