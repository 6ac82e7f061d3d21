"""From arrays to a kernel call: buffers, packed weights and the record of addresses for one recurrent layer.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units.
"""

from dataclasses import dataclass, field

import numpy as np

from ..cells import Cell
from ..descriptor import TensorDescriptor
from . import recurrent
from .packing import block_vectors, empty, pack, pack_transposed, packed_size, transposed_size, unpack, vectors_in
from .product import compiled_product
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
    transposed : tuple
        The weights as backward needs them, packed: recurrent, gated, input.
    """

    cell: Cell
    x: TensorDescriptor
    h: np.ndarray = field(repr=False)
    c: np.ndarray | None = field(repr=False)
    operand: np.ndarray | None = field(repr=False)
    saved: np.ndarray | None = field(repr=False)
    transposed: tuple = field(repr=False)

    @property
    def nbytes(self):
        """Bytes of the arrays the tape holds, x not counted."""
        arrays = (self.h, self.c, self.operand, self.saved, *self.transposed)
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def y(self):
        """The h of every step, (T, N, D * H)."""
        rows, batch, directions, hidden = self.h.shape
        return self.h[1:-1].reshape(rows - 2, batch, directions * hidden)

    @property
    def final(self):
        """The state after the last step of each direction: a (D, N, H) copy for each state of the cell."""
        arrays = (self.h,) if self.c is None else (self.h, self.c)
        return tuple(
            np.stack([array[-2 if d == 0 else 1] if len(array) > 1 else array[0] for d in range(array.shape[2])])[
                range(array.shape[2]), :, range(array.shape[2])
            ]
            for array in arrays
        )


def _address(array):
    return 0 if array is None else array.ctypes.data


def _record(dtype, **values):
    return np.array([tuple(values[name] for name in dtype.names)], dtype)


def _slots(cell):
    """(name, gates in slot order) of the three groups of slots that weights feed."""
    return (
        ("input", np.array(cell.input_gates)),
        ("recurrent", np.array(cell.recurrent_gates)),
        ("gated", np.array(cell.gated_gates, np.int64)),
    )


class _Geometry:
    """Sizes of one layer's parameters: D groups of weight_ih (I, G, H), weight_hh (H, G, H), bias_ih and bias_hh."""

    def __init__(self, cell, hidden, directions, channels, dtype):
        self.cell, self.hidden, self.directions, self.channels, self.dtype = cell, hidden, directions, channels, dtype
        self.gates = len(cell.gates)
        self.columns = self.gates * hidden
        self.group = (channels + hidden + 2) * self.columns
        self.per_block = block_vectors(cell)
        self.padded = vectors_in(hidden, dtype) * lanes_of(dtype)
        self.real = dtype.type(0)

    def rows(self, name):
        """What the weight that feeds the slots called `name` multiplies, counted."""
        return self.channels if name == "input" else self.hidden

    def start(self, name):
        """Where that weight starts in a group."""
        return 0 if name == "input" else self.channels * self.columns

    def each(self, flat, size):
        """(address of the direction's group in `flat`, byte offset of its part in a packed array of `size` numbers)."""
        item = self.dtype.itemsize
        return [(flat.ctypes.data + d * self.group * item, d * size * item) for d in range(self.directions)]

    def packed(self, flat, transposed=False):
        """The packed weights {name: array}, from the layer's part of the parameter vector."""
        pack_one, size_of = (pack_transposed, transposed_size) if transposed else (pack, packed_size)
        arrays = {}
        for name, gates in _slots(self.cell):
            rows = self.rows(name)
            size = size_of(rows, self.hidden, gates.size, self.dtype)
            array = arrays[name] = empty(self.directions * size, self.dtype)
            if not gates.size:
                continue
            for group, offset in self.each(flat, size):
                pack_one(
                    self.real, group + self.start(name) * self.dtype.itemsize, rows, self.hidden, self.gates, gates,
                    self.per_block, array.ctypes.data + offset,
                )  # fmt: skip
        return arrays

    def packed_bias(self, flat):
        """(D, padded H * slots): the sum of the biases of each slot, in blocks."""
        cell, hidden = self.cell, self.hidden
        bias = np.zeros((self.directions, 1, cell.slots, hidden), self.dtype)
        for d in range(self.directions):
            end = (d + 1) * self.group
            from_input, from_state = flat[end - 2 * self.columns : end].reshape(2, self.gates, hidden)
            bias[d, 0, list(cell.input_slots)] = from_input[list(cell.input_gates)]
            bias[d, 0, list(cell.recurrent_slots)] += from_state[list(cell.recurrent_gates)]
            if cell.gated_slots:
                bias[d, 0, list(cell.gated_slots)] += from_state[list(cell.gated_gates)]
        size = packed_size(1, hidden, cell.slots, self.dtype)
        array = empty(self.directions * size, self.dtype)
        for d in range(self.directions):
            pack(
                self.real, bias[d].ctypes.data, 1, hidden, cell.slots, np.arange(cell.slots), self.per_block,
                array.ctypes.data + d * size * self.dtype.itemsize,
            )  # fmt: skip
        return array

    def unpack_gradients(self, packed, dbias, flat, accumulate):
        """Write, or add, the packed gradients to the layer's part of a gradient vector (modified)."""
        cell, item = self.cell, self.dtype.itemsize
        for name, gates in _slots(cell):
            rows = self.rows(name)
            if gates.size:
                size = packed_size(rows, self.hidden, gates.size, self.dtype)
                for group, offset in self.each(flat, size):
                    unpack(
                        self.real, packed[name].ctypes.data + offset, rows, self.hidden, self.gates, gates,
                        self.per_block, accumulate, group + self.start(name) * item,
                    )  # fmt: skip
        size = packed_size(1, self.hidden, cell.slots, self.dtype)
        for d in range(self.directions):
            slots = np.empty((cell.slots, self.hidden), self.dtype)
            unpack(
                self.real, dbias.ctypes.data + d * size * item, 1, self.hidden, cell.slots, np.arange(cell.slots),
                self.per_block, False, slots.ctypes.data,
            )  # fmt: skip
            end = (d + 1) * self.group
            from_input, from_state = flat[end - 2 * self.columns : end].reshape(2, self.gates, self.hidden)
            if not accumulate:
                from_input[...], from_state[...] = 0, 0
            from_input[list(cell.input_gates)] += slots[list(cell.input_slots)]
            from_state[list(cell.recurrent_gates)] += slots[list(cell.recurrent_slots)]
            if cell.gated_slots:
                from_state[list(cell.gated_gates)] += slots[list(cell.gated_slots)]


def run(cell, hidden, directions, flat, x, initial, keep):
    """One layer forward.

    Parameters
    ----------
    cell : Cell
    hidden, directions : int
    flat : numpy.ndarray
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
    steps, batch, dtype = x.steps, x.batch, x.dtype
    geometry = _Geometry(cell, hidden, directions, x.channels, dtype)
    row = directions * hidden

    def states(rows):
        return empty(rows * batch * row, dtype).reshape(rows, batch, directions, hidden)

    h = states(steps + 2)
    c = states(steps + 2 if keep else 1) if cell.states == 2 else None
    for m, array in enumerate((h, c)[: cell.states]):
        for d in range(directions):
            array[0 if d == 0 else -1][:, d] = 0 if initial is None else initial[m][d]
    operand = states(steps if keep else 1) if cell.gated_slots else None
    padded = geometry.padded
    saved = empty(directions * steps * batch * padded * cell.saved, dtype) if keep else None
    weights, bias = geometry.packed(flat), geometry.packed_bias(flat)
    tasks = batch_tasks(batch, directions)
    chunk = max(1, min(steps, FORWARD_ROWS // -(-batch // tasks)))
    inputs = empty(directions * batch * chunk * x.channels, dtype)
    pre = empty(directions * batch * chunk * padded * cell.slots, dtype)
    kept_step = batch * row * dtype.itemsize if keep else 0
    call = _record(
        recurrent.FORWARD, steps=steps, batch=batch, channels=x.channels, hidden=hidden, directions=directions,
        tasks=tasks, parts=tasks, chunk=chunk, x=x.record, product=compiled_product(dtype).address,
        input_weight=_address(weights["input"]), recurrent_weight=_address(weights["recurrent"]),
        gated_weight=_address(weights["gated"]), bias=_address(bias), h=_address(h), c=_address(c), c_step=kept_step,
        operand=_address(operand), operand_step=kept_step, saved=_address(saved), keep=int(keep),
        inputs=_address(inputs), pre=_address(pre),
    )  # fmt: skip
    with launching():
        recurrent.forward(cell, geometry.real, call)
    transposed = geometry.packed(flat, transposed=True) if keep else {}
    return Tape(cell, x, h, c, operand, saved, tuple(transposed.values()))


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
    steps, batch, dtype = x.steps, x.batch, x.dtype
    directions, hidden = tape.h.shape[2:]
    geometry = _Geometry(cell, hidden, directions, x.channels, dtype)
    padded = geometry.padded
    chunk = max(1, min(steps, BACKWARD_ROWS // batch))
    rows = directions * chunk * batch

    dstates = []
    for m in range(cell.states):
        dstate = np.zeros((directions, batch, padded), dtype)
        if dfinal is not None:
            dstate[..., :hidden] = dfinal[m]
        dstates.append(dstate)
    dx = np.empty((directions, steps, batch, x.channels), dtype) if need_x else None
    sizes = {name: packed_size(geometry.rows(name), hidden, gates.size, dtype) for name, gates in _slots(cell)}
    dweights = {name: np.zeros(directions * size, dtype) for name, size in sizes.items()}
    dbias = np.zeros(directions * packed_size(1, hidden, cell.slots, dtype), dtype)
    doperand = empty(directions * batch * padded, dtype)
    dpre = empty(rows * padded * cell.slots, dtype)
    inputs, outputs = empty(rows * x.channels, dtype), empty(rows * hidden, dtype)
    dinputs = empty(rows * vectors_in(x.channels, dtype) * lanes_of(dtype) if need_x else 0, dtype)
    one = np.ones(1, dtype)
    recurrent_transposed, gated_transposed, input_transposed = (
        tape.transposed[i] for i in (1, 2, 0)
    )
    row_step = batch * directions * hidden * dtype.itemsize
    call = _record(
        recurrent.BACKWARD, steps=steps, batch=batch, channels=x.channels, hidden=hidden, directions=directions,
        tasks=batch_tasks(batch, directions), parts=-(-threads() // directions), chunk=chunk, x=x.record,
        dy=(0, 0, 0, 0) if dy is None else dy.record, product=compiled_product(dtype).address,
        recurrent_transposed=_address(recurrent_transposed), gated_transposed=_address(gated_transposed),
        input_transposed=_address(input_transposed) if need_x else 0,
        h=_address(tape.h), c=_address(tape.c), c_step=row_step, operand=_address(tape.operand), operand_step=row_step,
        saved=_address(tape.saved), dh=_address(dstates[0]), dc=_address(dstates[-1]), doperand=_address(doperand),
        dpre=_address(dpre), inputs=_address(inputs), outputs=_address(outputs), dinputs=_address(dinputs),
        dx=_address(dx), dinput_weight=_address(dweights["input"]), drecurrent_weight=_address(dweights["recurrent"]),
        dgated_weight=_address(dweights["gated"]), dbias=_address(dbias), one=_address(one),
    )  # fmt: skip
    with launching():
        recurrent.backward(cell, geometry.real, call)
        geometry.unpack_gradients(dweights, dbias, gradient, accumulate)
    if need_x:
        dx = dx[0] if directions == 1 else dx[0] + dx[1]
    return dx, [dstate[..., :hidden] for dstate in dstates]
