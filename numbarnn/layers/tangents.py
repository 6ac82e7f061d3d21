"""Forward derivatives of layers: the directions that a caller gives, and what comes of them."""

import functools
from dataclasses import dataclass, field

import numpy as np

from ..arrays.descriptor import TensorDescriptor, address_of, checked_array
from ..arrays.devices import contiguous, device_of, native
from ..arrays.ragged import Ragged
from ..arrays.rows import like
from ..errors import DeviceError, DTypeError, ShapeError
from ..parameters import Parameters
from .chain import expect_tape

STATE_AXES = 3  # of (L * D, N, H)


@functools.cache
def kernels(device="cpu"):
    """What computes tangents through time on a device: it is imported for the first of them."""
    if device == "cpu":
        from ..cpu import tangent_launch as found
    else:
        from ..cuda import tangents as found
    return found


@functools.cache
def fed_back():
    """What takes tangents step after step where outputs are fed back, likewise; on the CPU."""
    from ..cpu import feedback_tangents

    return feedback_tangents


@functools.cache
def separate(device):
    """The module with the gradients of each row of a batch, imported when it is first needed."""
    if device == "cpu":
        from ..cpu import separate as found
    else:
        from ..cuda import separate as found
    return found


@dataclass(eq=False)
class Tangents:
    """Directions in which the parameters and the initial state of a layer move, several at once.

    Attributes
    ----------
    count : int
        Their number M.
    parameters : list of Parameters or None
        How the parameters move, for each; None if they do not.
    initial : list of numpy.ndarray or None
        How the initial state moves, (M, L, D, N, P or H) for each state of the cell.
    stack : list
        What the kernels have made of stacked layers, the lowest first.
    passes : list or None
        Gains what the kernels have of each tape, and they do not run: steps are taken one after the other.
    """

    count: int
    parameters: list | None = None
    initial: list | None = None
    stack: list = field(default_factory=list)
    passes: list | None = None

    def through(self, tape, source, *directions):
        """What the kernels make of a tape, whose descriptor of x is `source`, and of directions."""
        found, alone = kernels(device_of(source.array)), self.passes is None
        if alone:
            return found.Tangents(tape, self.count, *directions)
        self.passes.append(found.TangentsByStep(tape, self.count, *directions))
        return self.passes[-1]


class Directions:
    """What a caller of ``jvp`` gives, argument by argument: all of it with an axis for several tangents, or none.

    Attributes
    ----------
    counts : dict of str to int or None
        By the argument's name the number of tangents; None for one without an axis for several.
    """

    def __init__(self, dtype, device="cpu"):
        self.dtype, self.device, self.counts = dtype, device, {}

    def _note(self, name, count):
        """Note how many tangents an argument has; ShapeError if that is none, or not as many as another has."""
        if count == 0:
            raise ShapeError(f"{name}: expected at least one tangent, got none")
        for first, other in self.counts.items():
            if other != count:
                raise ShapeError(f"{name}: expected {_said(other)} like {first}, got {_said(count)}")
        self.counts[name] = count

    @property
    def single(self):
        """Whether a single tangent was given, without the axis K."""
        return None in self.counts.values()

    @property
    def count(self):
        """The number of tangents; ValueError if nothing was given."""
        if not self.counts:
            raise ValueError("dp: expected dp, dx or dstate, got None for all of them")
        return next(iter(self.counts.values())) or 1

    def vectors(self, dp, weights, what):
        """The contiguous vectors (M, P) of the argument dp, for parameters of these weights, which are of `what`."""
        if dp is None:
            return None
        if isinstance(dp, Parameters):
            if dp.weights != weights:
                raise ShapeError(f"dp: expected the parameters of {what}, got {dp!r}")
            dp = dp.flat
        array, size = checked_array("dp", native("dp", dp)), sum(weight.size for weight in weights)
        if array.ndim not in (1, 2) or array.shape[-1] != size:
            raise ShapeError(f"dp: expected shape {(size,)}, or (K, {size}) for K tangents, got {array.shape}")
        if device_of(array) != self.device:
            raise DeviceError(f"dp: expected one on device {self.device!r} like the tape, got one on {device_of(array)!r}")
        if array.dtype != self.dtype:
            raise DTypeError(f"dp: expected {self.dtype} like the parameters, got {array.dtype}")
        self._note("dp", None if array.ndim == 1 else len(array))
        return contiguous(array if array.ndim == 2 else array[None])

    def inputs(self, dx, batch, channels, indices):
        """Descriptors of the argument dx; indices: whether x are integers, which have no direction."""
        if dx is None:
            return None
        if indices:
            kind = type(dx).__name__
            raise ValueError(f"dx: expected None, since there is no derivative with respect to an index, got {kind}")
        axes = len(batch.layout) + 1
        several = isinstance(dx, (list, tuple)) if batch.ragged else getattr(dx, "ndim", 0) == axes
        self._note("dx", len(dx) if several else None)
        return [batch.describe("dx", each, channels, self.dtype) for each in (dx if several else (dx,))]

    def states(self, name, dstate, layer, sequences):
        """(M, L, D, N, P or H) of each state of a layer's cell, of the argument of that name."""
        if dstate is None:
            return None
        pair = layer.cell.states > 1 and isinstance(dstate, (list, tuple))
        parts = dstate if pair else (dstate,)
        count, each = None, [dstate]
        if len(parts) > 0 and all(getattr(part, "ndim", 0) == STATE_AXES + 1 for part in parts):
            count, *others = map(len, parts)
            if {*others} - {count}:
                raise ShapeError(f"{name}: expected as many tangents of h as of c, got {count} and {others[0]}")
            each = [state if pair else state[0] for state in zip(*parts)]
        self._note(name, count)
        checked = [layer.checked_state(name, one, sequences, self.dtype, self.device) for one in each]
        return [np.stack(states) for states in zip(*checked)]


def jvp(layer, tape, dp, dx, dstate=None):
    """What `tape.operation` makes of directions, as `Recurrent.jvp` describes them.

    Returns
    -------
    list of TensorDescriptor
        The tangents of y.
    Tangents
    bool
        Whether the caller gave one tangent, without an axis for several.
    """
    expect_tape(layer, tape)
    outputs, channels = tape.operation.outputs, tape.x.channels
    directions, weights = Directions(outputs.dtype, device_of(outputs.array)), layer.weights(channels)
    vectors = directions.vectors(dp, weights, f"{layer!r} with {channels} channels")
    dx = directions.inputs(dx, tape.batch, channels, layer.takes_indices)
    initial = None if dstate is None else directions.states("dstate", dstate, layer, tape.batch.sequences)
    parameters = None if vectors is None else [Parameters(vector, weights) for vector in vectors]
    tangents = Tangents(directions.count, parameters, initial)
    dy = tape.operation.jvp(tangents, dx)
    return zeros_like(outputs, tangents.count) if dy is None else dy, tangents, directions.single


def together(arrays, single):
    """Arrays, or Ragged, of each tangent as one array (K, ...), or as a tuple of Ragged; the only one if it is `single`."""
    if single:
        return arrays[0]
    return tuple(arrays) if isinstance(arrays[0], Ragged) else np.stack(arrays)


def final_states(layer, tangents, single):
    """The tangents of a layer's final state, as its caller gets them."""
    finals = [
        layer.as_state([[part.dfinal[s][m] for part in tangents.stack] for s in range(layer.cell.states)])
        for m in range(tangents.count)
    ]
    if layer.cell.states == 1:
        return together(finals, single)
    return tuple(together([*states], single) for states in zip(*finals))


def zeros_like(described, count):
    """Descriptors of zeros, laid out like another, the same for all tangents."""
    zeros = np.zeros_like(like(described).array)
    return [TensorDescriptor.compact(zeros, address_of(zeros), described.packing)] * count


def _said(count):
    """How a number of tangents is told, None for one without an axis for it."""
    return "one tangent without an axis for several" if count is None else f"an axis of {count} tangents"
