"""A layer on a device that stands in for one on the CPU: the checks of the CPU's tests run on it as they are."""

from types import SimpleNamespace

import numpy as np

import numbarnn as nr
from numbarnn.cuda import asarray, empty


def to_device(value):
    """A copy on the device of an array, of each of a tuple, of a Ragged or of Parameters; a strided array stays strided."""
    if isinstance(value, tuple):
        return tuple(map(to_device, value))
    if isinstance(value, dict):
        return {name: to_device(array) for name, array in value.items()}
    if isinstance(value, nr.Ragged):
        return nr.Ragged(asarray(value.data), value.offsets)
    if isinstance(value, nr.Parameters):
        return value.to("cuda")
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    if value.flags.c_contiguous:
        return asarray(value)
    every_other = (slice(1, None, 2),) * value.ndim
    order = sorted(range(value.ndim), key=lambda axis: -abs(value.strides[axis]))
    whole = empty([2 * value.shape[axis] + 1 for axis in order], value.dtype)
    view = whole[every_other].transpose(np.argsort(order))
    view[...] = asarray(np.ascontiguousarray(value))
    return view


def to_host(value):
    """The reverse of `to_device`."""
    if isinstance(value, tuple):
        return tuple(map(to_host, value))
    if isinstance(value, dict):
        return {name: to_host(array) for name, array in value.items()}
    if isinstance(value, nr.Ragged):
        return nr.Ragged(value.data.get(), value.offsets)
    if isinstance(value, nr.Parameters):
        return value.to("cpu")
    return None if value is None else value.get()


class DeviceLayer:
    """Calls of a layer with NumPy arrays, computed on the device."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, p, x, state=None, **options):
        """``(y, state, tape)``, with ``cells=True`` also c."""
        y, final, tape, *cells = self.layer.forward(
            to_device(p), to_device(x), to_device(state), **{name: to_device(value) for name, value in options.items()}
        )
        return to_host(y), to_host(final), tape, *map(to_host, cells)

    def backward(self, tape, dy, dstate=None, **options):
        """Gradients: params, x, state."""
        options = {name: to_device(value) for name, value in options.items()}
        found = self.layer.backward(tape, to_device(dy), to_device(dstate), **options)
        return SimpleNamespace(params=to_host(found.params), x=to_host(found.x), state=to_host(found.state))

    def jvp(self, tape, dp=None, dx=None, dstate=None):
        """Tangents of y and of the final state."""
        dy, dfinal = self.layer.jvp(tape, *map(to_device, (dp, dx, dstate)))
        return to_host(dy), to_host(dfinal)
