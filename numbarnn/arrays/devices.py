"""Where arrays lie, and what computes there: the module `backend` of `cpu` or of `cuda`, imported when first asked for."""

import functools
from types import ModuleType

import numpy as np

from ..errors import DeviceError, NonFiniteError
from .descriptor import is_array, is_on_device
from .tensors import CUDA, dlpack_device, host_array

DEVICES = ("cpu", "cuda")


def backend(device: str) -> ModuleType:
    """`cpu.backend` or `cuda.backend`; DeviceError, saying what is missing, if that device is not there."""
    if not isinstance(device, str) or device not in DEVICES:
        raise DeviceError(f"device: expected 'cpu' or 'cuda', got {device!r}")
    return _backend(device)


@functools.cache
def _backend(device):
    if device == "cpu":
        from ..cpu import backend as found
    else:
        from ..cuda import device as gpu

        gpu.require()
        from ..cuda import backend as found
    return found


def device_of(array) -> str:
    """``"cuda"`` for an array on a GPU, ``"cpu"`` for anything else."""
    return "cuda" if type(array) is not np.ndarray and is_on_device(array) else "cpu"


def backend_of(array) -> ModuleType:
    """The backend that an array's numbers are computed on."""
    return _backend(device_of(array))


def moved(array, device: str):
    """A copy of an array on `device`; the array itself if it is there."""
    if device_of(array) == device:
        return array
    return array.get() if device == "cpu" else backend(device).memory.asarray(array)


def share_memory(a, b) -> bool:
    """Whether writing to one array may change the other."""
    device = device_of(a)
    if device_of(b) != device:
        return False
    return np.may_share_memory(a, b) if device == "cpu" else backend(device).memory.may_share_memory(a, b)


def sent(array, device: str, there=None):
    """An array of the host, as it is: nobody changes it from now on, and a GPU that reads it gets it once.

    there: its copy on the GPU, if it has one already.
    """
    if device != "cpu":
        backend(device).memory.keep(array, there)
    return array


def read_on(array, device: str):
    """An array of the host on `device`, where nobody writes to it; see `sent`."""
    return array if device == "cpu" else backend(device).memory.to_read(array)


def take(array, indices, axis, out=None):
    """``array.take`` for indices in the host's memory that are known to be right; `out` is modified."""
    if is_on_device(array):
        return array.take(read_on(indices, "cuda"), axis, out)
    return array.take(indices, axis, out, "clip")  # any other mode copies twice


def contiguous(array):
    """The array, in C order: itself if it lies so, else a copy."""
    return array if array.flags.c_contiguous else array.copy()


def expect_device(argument: str, array, device: str):
    """Raise DeviceError, naming the argument, unless an array is on `device`."""
    found = device_of(array)
    if found != device:
        raise DeviceError(f"{argument}: expected an array on device {device!r} like the parameters, got one on {found!r}")


def expect_finite(argument: str, array, expected="finite numbers", error=NonFiniteError):
    """Raise `error`, naming the argument, the first number of an array that is not finite, and its place."""
    if not np.isfinite(array).all():
        array = moved(array, "cpu")
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise error(f"{argument}: expected {expected}, got {array[place]}" + (f" at {place}" if place else ""))


def native(argument, value):
    """NumPy's array over a tensor of PyTorch, JAX, ... or a memory map, or CuPy's over one on a GPU, not copied.

    Anything else is returned as it is.

    argument: what errors call it.  Raises as `host_array` does, and a DeviceError for a tensor on a GPU that is not there.
    """
    if is_array(value):
        return value.view(np.ndarray) if type(value) is np.memmap else value
    if isinstance(value, type):  # it has the attributes of what it would make
        return value
    if not hasattr(value, "__cuda_array_interface__") and dlpack_device(argument, value) != CUDA:
        return host_array(argument, value)
    try:
        return backend("cuda").memory.asarray(value)
    except DeviceError as error:
        kind = type(value).__name__
        raise DeviceError(f"{argument}: expected an array in the host's memory, got {kind} on a GPU: {error}") from None
