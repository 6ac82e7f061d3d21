"""Forward derivatives of a layer: the directions that a caller gives, and what comes of them."""

from dataclasses import dataclass, field

import numpy as np

from ..arrays.descriptor import TensorDescriptor, checked_array
from ..arrays.devices import device_of, native
from ..arrays.ragged import Ragged
from ..errors import DeviceError, DTypeError, ShapeError
from ..parameters import Parameters
from .chain import expect_tape

STATE_AXES = 3  # of (L * D, N, H)


@dataclass(eq=False)
class Tangents:
    """Directions in which the parameters and the initial state move, several at once.

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
    """

    count: int
    parameters: list | None = None
    initial: list | None = None
    stack: list = field(default_factory=list)


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
    outputs = tape.operation.outputs
    if device_of(outputs.array) != "cpu":
        raise DeviceError("tape: expected one on device 'cpu', where there are forward derivatives, got one on 'cuda'")
    if dp is dx is dstate is None:
        raise ValueError("dp: expected dp, dx or dstate, got None for all of them")
    counts, given = {}, {}
    for name, value, described in (("dp", dp, _parameters), ("dx", dx, _inputs), ("dstate", dstate, _states)):
        if value is not None:
            counts[name], given[name] = described(layer, tape, value, outputs.dtype)
    (first, count), *others = counts.items()
    for name, other in others:
        if other != count:
            raise ShapeError(f"{name}: expected {_said(count)} like {first}, got {_said(other)}")
    tangents = Tangents(1 if count is None else count, given.get("dp"), given.get("dstate"))
    dy = tape.operation.jvp(tangents, given.get("dx"))
    return [_zeros_like(outputs)] * tangents.count if dy is None else dy, tangents, count is None


def together(arrays, single):
    """Arrays, or Ragged, of each tangent as one array (K, ...), or as a tuple of Ragged; the only one if it is `single`."""
    if single:
        return arrays[0]
    return tuple(arrays) if isinstance(arrays[0], Ragged) else np.stack(arrays)


def _said(count):
    """How a number of tangents is told, None for one without an axis for it."""
    return "one tangent without an axis for several" if count is None else f"an axis of {count} tangents"


def _zeros_like(described):
    """A descriptor of zeros, laid out like another."""
    zeros = np.zeros(described.packing.shape(described.channels), described.dtype)
    return TensorDescriptor.compact(zeros, zeros.ctypes.data, described.packing)


def _some(name, count):
    """The number of tangents, if there is one at least; else ShapeError."""
    if not count:
        raise ShapeError(f"{name}: expected at least one tangent, got none")
    return count


def _parameters(layer, tape, dp, dtype):
    """(number of tangents, or None; the Parameters of each) of the argument dp."""
    weights = layer.weights(tape.x.channels)
    if isinstance(dp, Parameters):
        if dp.weights != weights:
            raise ShapeError(f"dp: expected the parameters of {layer!r} with {tape.x.channels} channels, got {dp!r}")
        dp = dp.flat
    array, size = checked_array("dp", native("dp", dp)), sum(weight.size for weight in weights)
    if array.ndim not in (1, 2) or array.shape[-1] != size:
        raise ShapeError(f"dp: expected shape {(size,)}, or (K, {size}) for K tangents, got {array.shape}")
    if device_of(array) != "cpu":
        raise DeviceError(f"dp: expected one on device 'cpu' like the tape, got one on {device_of(array)!r}")
    if array.dtype != dtype:
        raise DTypeError(f"dp: expected {dtype} like the parameters, got {array.dtype}")
    vectors = np.ascontiguousarray(array if array.ndim == 2 else array[None])
    count = None if array.ndim == 1 else _some("dp", len(vectors))
    return count, [Parameters(vector, weights) for vector in vectors]


def _inputs(layer, tape, dx, dtype):
    """(number of tangents, or None; a descriptor of each) of the argument dx."""
    batch = tape.batch
    if layer.takes_indices:
        raise ValueError(
            f"dx: expected None, since there is no derivative with respect to an index, got {type(dx).__name__}"
        )
    if batch.ragged:
        several = isinstance(dx, (list, tuple))
        parts = dx if several else (dx,)
    else:
        several = getattr(dx, "ndim", 0) == len(batch.layout) + 1
        parts = dx if several else (dx,)
    count = _some("dx", len(parts)) if several else None
    return count, [batch.describe("dx", part, tape.x.channels, dtype) for part in parts]


def _states(layer, tape, dstate, dtype):
    """(number of tangents, or None; (M, L, D, N, P or H) of each state of the cell) of the argument dstate."""
    pair = layer.cell.states > 1 and isinstance(dstate, (list, tuple))
    parts = dstate if pair else (dstate,)
    several = len(parts) > 0 and all(getattr(part, "ndim", 0) == STATE_AXES + 1 for part in parts)
    count = None
    if several:
        lengths = [len(part) for part in parts]
        if len({*lengths}) > 1:
            raise ShapeError(f"dstate: expected as many tangents of h as of c, got {lengths[0]} and {lengths[1]}")
        count = _some("dstate", lengths[0])
    each = [dstate] if count is None else [state if pair else state[0] for state in zip(*parts)]
    checked = [layer.checked_state("dstate", one, tape.batch.sequences, dtype, "cpu") for one in each]
    return count, [np.stack(states) for states in zip(*checked)]
