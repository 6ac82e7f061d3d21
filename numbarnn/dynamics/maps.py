"""A recurrent layer as a map of its state: one vector of all that it remembers, and the Jacobian of a step."""

import math

import numpy as np

from ..arrays.descriptor import checked_array
from ..arrays.devices import backend, contiguous, expect_device, expect_finite, moved, native
from ..errors import DTypeError, ShapeError
from ..layers.recurrence import Constrained
from ..layers.recurrent import Recurrent
from ..parameters import Parameters

TANGENT_BYTES = 1 << 25  # of the tangents that are computed at once, of layers whose Jacobians come of them


def state_of(vectors, shapes):
    """The state, as a layer takes it, that vectors (N, S) are; shapes: (L, width) of each state of its cell."""
    parts, first = [], 0
    for layers, width in shapes:
        part = vectors[:, first : first + layers * width].reshape(len(vectors), layers, width)
        parts.append(contiguous(part.transpose(1, 0, 2)))
        first += layers * width
    return parts[0] if len(parts) == 1 else tuple(parts)


class StateMap:
    """The state of a layer as a vector of S numbers: h of all stacked layers, then c.

    Parameters
    ----------
    layer : Recurrent
    p : Parameters

    Attributes
    ----------
    shapes : tuple
        (L, width) of each state of the cell.
    size : int
        S.
    channels : int
        Of x.
    dtype : numpy.dtype
    device : str
        Of p, and of all arrays.
    """

    def __init__(self, layer, p):
        if not isinstance(layer, Recurrent):
            raise TypeError(f"layer: expected a recurrent layer, got {type(layer).__name__}")
        if layer.bidirectional:
            raise ValueError(f"layer: expected one direction, whose state a step takes to the next, got {layer!r}")
        if not isinstance(p, Parameters):
            raise TypeError(f"p: expected the Parameters of {layer!r}, got {type(p).__name__}")
        self.channels, _, _ = layer._expected(p)
        self.layer, self.p, self.dtype, self.device = layer, p, p.dtype, p.device
        self.shapes = tuple((layer.layers, width) for width in layer.state_widths)
        self.size = sum(map(math.prod, self.shapes))
        self._direct = (
            self.device == "cpu"
            and layer.layers == 1
            and layer.projection is None
            and not layer.cell.normalized_values
            and not layer.spread
        )

    def checked(self, argument, state, sequences=None):
        """The vectors (N, S) of a state as the layer takes it, of as many sequences, or of any number if that is None."""
        if sequences is None:
            first = state[0] if isinstance(state, (tuple, list)) and len(state) and self.layer.cell.states > 1 else state
            if getattr(first, "ndim", None) != 3:
                shape = f"({self.layer.layers}, N, {self.shapes[0][1]})"
                got = getattr(first, "shape", type(first).__name__)
                raise ShapeError(f"{argument}: expected a state of shape {shape}, got {got}")
            sequences = first.shape[1]
        if sequences == 0:
            raise ShapeError(f"{argument}: expected at least one state, got none")
        arrays = self.layer.checked_state(argument, state, sequences, self.dtype, self.device)
        arrays = [array[:, 0] for array in arrays]
        for place, array in enumerate(arrays):
            expect_finite(f"{argument}[{place}]" if len(arrays) > 1 else argument, array)
        return self._vectors(arrays)

    def _vectors(self, states):
        """(N, S) from arrays (L, N, width)."""
        return np.concatenate([state.transpose(1, 0, 2).reshape(state.shape[1], -1) for state in states], axis=1)

    def vectors(self, state):
        """(N, S) from a state that the layer has returned."""
        return self._vectors(state if self.layer.cell.states > 1 else (state,))

    def state(self, vectors):
        """The state, as the layer takes it, that vectors (N, S) are."""
        return state_of(vectors, self.shapes)

    def step(self, x, vectors):
        """The vectors after one step with inputs x (N, C)."""
        return self.vectors(self.layer(self.p, x[None], self.state(vectors))[1])

    def run(self, x, state):
        """(final state, tape) of steps with inputs x (T, N, C)."""
        _, final, tape = self.layer.forward(self.p, x, state)
        return final, tape

    def jacobians(self, tape):
        """(T, N, S, S) of all steps of a tape of `run`."""
        steps, batch = tape.x.tnc.shape[:2]
        if self._direct:
            from ..cpu.step_jacobians import step_jacobians  # Numba's part is imported for the first of them

            found = step_jacobians(tape.stack[0], self._recurrent_weights(tape))
            return found.reshape(steps, batch, self.size, self.size)
        x = contiguous(tape.x.tnc).reshape(1, steps * batch, -1)
        states = [np.stack([self._before(array(part), steps, batch) for part in tape.stack]) for array in self._arrays()]
        found = backend(self.device).memory.empty((steps * batch, self.size, self.size), self.dtype)
        most = max(1, TANGENT_BYTES // (self.size**2 * self.dtype.itemsize))
        for first in range(0, steps * batch, most):
            own = slice(first, first + most)
            found[own] = self._by_tangents(x[:, own], [state[:, own] for state in states])
        return found.reshape(steps, batch, self.size, self.size)

    def _arrays(self):
        """Functions from the tape of one stacked layer to its h, and to its c."""
        return [lambda part: part.h, lambda part: part.c][: self.layer.cell.states]

    @staticmethod
    def _before(rows, steps, batch):
        """(T * N, width) of a state before each step."""
        return rows[: steps * batch].reshape(steps * batch, -1)

    def _recurrent_weights(self, tape):
        """(gates, H, H) that the kernels have read."""
        if not self.layer.recurrent_matrix:
            return None
        constrained = isinstance(tape.operation, Constrained)
        p = tape.operation.weights.parameters if constrained else self.p
        return p["weight_hh_l0"].reshape(-1, self.layer.hidden, self.layer.hidden)

    def _by_tangents(self, x, states):
        """(N, S, S) of a step with inputs x (1, N, C) from states (L, N, width): a tangent for each number of the state."""
        batch = x.shape[1]
        _, _, tape = self.layer.forward(self.p, x, *self._as_given(states))
        units, first = [], 0
        for layers, width in self.shapes:
            unit = np.zeros((self.size, layers, batch, width), self.dtype)
            for index in range(layers):
                own = np.arange(width)
                unit[first + own, index, :, own] = 1
                first += width
            units.append(moved(unit, self.device))
        _, found = self.layer.jvp(tape, dstate=units[0] if len(units) == 1 else tuple(units))
        found = (found,) if len(units) == 1 else found
        return np.concatenate([each.transpose(2, 1, 3, 0).reshape(batch, -1, self.size) for each in found], axis=1)

    def _as_given(self, states):
        """The state argument of a call, from an array for each state of the cell."""
        arrays = [contiguous(state) for state in states]
        return arrays if len(arrays) == 1 else [tuple(arrays)]


def inputs_of(argument, x, sequences, channels, dtype, device="cpu"):
    """(N, C) of inputs that are (C,), (N, C), or None for zeros."""
    if x is None:
        return backend(device).memory.zeros((sequences, channels), dtype)
    array = checked_array(argument, native(argument, x))
    expect_device(argument, array, device)
    if array.shape not in ((channels,), (sequences, channels)):
        raise ShapeError(f"{argument}: expected shape {(channels,)} or {(sequences, channels)}, got {array.shape}")
    if array.dtype != dtype:
        raise DTypeError(f"{argument}: expected {dtype} like the parameters, got {array.dtype}")
    expect_finite(argument, array)
    return contiguous(np.broadcast_to(array, (sequences, channels)))
