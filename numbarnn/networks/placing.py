"""Where the caller's arrays lie, and where the network computes: arrays there and back."""

from collections.abc import Mapping

import numpy as np

from ..arrays.descriptor import checked_array, is_array
from ..arrays.devices import backend, device_of, moved, native
from ..arrays.ragged import Ragged
from ..parameters import Parameters


def home_of(x):
    """The device on which the caller has an array or a Ragged; of several by name the GPU, if one is there."""
    if isinstance(x, Mapping):
        return "cuda" if any(home_of(native("x", each)) == "cuda" for each in x.values()) else "cpu"
    return device_of(x.data if isinstance(x, Ragged) else x)


def brought(array, device):
    """An array or a Ragged on `device`: a copy, where it is not there.

    To the host it comes with what the GPU has found wrong meanwhile, see `cuda.checks`: NonFiniteError.
    """
    found = array.to(device) if isinstance(array, Ragged) else moved(array, device)
    if found is not array and device == "cpu":
        backend("cuda").checks.hear()
    return found


def on_host(argument, given):
    """What a caller gives, arrays and Ragged by themselves or by name, in the host's memory; all else as it is."""
    if isinstance(given, Mapping):
        return {name: on_host(f"{argument}[{name!r}]", each) for name, each in given.items()}
    return brought(native(argument, given), "cpu")


def brought_state(device, state):
    """A layer's state on a device, or all that is in a tuple."""
    return tuple(brought(part, device) for part in state) if isinstance(state, tuple) else brought(state, device)


def placed_on(device, argument, array):
    """The caller's array on a device: a copy of one from the host, where the device is another one.

    Integers, indices and labels, stay in the host's memory.
    """
    array = native(argument, array)
    if device == "cpu" or not isinstance(array, (np.ndarray, Ragged)) or array.dtype.kind in "iu":
        return array
    if isinstance(array, np.ndarray):
        array = checked_array(argument, array)
    return brought(array, device)


def direction_on(device, argument, given):
    """A direction of the caller's on a device: an array, Parameters, or several Ragged; anything else as it is."""
    if isinstance(given, Parameters):
        return given.to(device)
    if isinstance(given, (list, tuple)):
        return [placed_on(device, argument, each) if isinstance(each, Ragged) else each for each in given]
    return placed_on(device, argument, given) if is_array(given) or isinstance(given, Ragged) else given
