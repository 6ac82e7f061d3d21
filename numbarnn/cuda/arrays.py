"""Arrays in device memory: CuPy's, and where they lie in it."""

import functools
import math
import weakref

import numpy as np

from ..arrays.descriptor import is_on_device
from ..errors import DeviceError, ShapeError
from .device import cupy, require, stream_address

ON_GPU = 2  # DLPack's number for a device that CUDA speaks to


def _allocated(make, nbytes):
    """What `make` returns; DeviceError with the bytes asked for and free where there are not so many."""
    require()
    try:
        return make()
    except cupy.cuda.memory.OutOfMemoryError as error:  # CuPy has given its pool's free blocks back by then
        free, total = cupy.cuda.runtime.memGetInfo()
        raise DeviceError(f"device memory: expected {nbytes:,} bytes, got {free:,} free of {total:,}") from error


def _checked(shape):
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if min(shape, default=0) < 0:
        raise ShapeError(f"shape: expected lengths of 0 and more, got {shape}")
    return shape


def empty(shape, dtype):
    """An uninitialised C-contiguous array on the GPU.

    Raises
    ------
    DeviceError
        If there is no GPU, or not so much memory on it.
    """
    shape, dtype = _checked(shape), np.dtype(dtype)
    return _allocated(lambda: cupy.empty(shape, dtype), math.prod(shape) * dtype.itemsize)


def zeros(shape, dtype):
    """A C-contiguous array of zeros on the GPU; see `empty`."""
    shape, dtype = _checked(shape), np.dtype(dtype)
    return _allocated(lambda: cupy.zeros(shape, dtype), math.prod(shape) * dtype.itemsize)


def asarray(array):
    """An array on the GPU: of CuPy.

    Parameters
    ----------
    array : numpy.ndarray, or array with ``__cuda_array_interface__`` or ``__dlpack__``
        A NumPy array is copied to the GPU.  An array that is there (CuPy's, PyTorch's, JAX's, Numba's, ...) is not copied,
        whatever its strides.

    Raises
    ------
    TypeError, DeviceError
    """
    if is_on_device(array):
        return array
    require()
    if isinstance(array, (np.ndarray, np.generic)):
        return _allocated(lambda: cupy.asarray(array, order="C"), array.nbytes)
    if hasattr(array, "__cuda_array_interface__"):
        return cupy.asarray(array)
    if not hasattr(array, "__dlpack__"):
        expected = "a numpy.ndarray, or an array with __cuda_array_interface__ or __dlpack__"
        raise TypeError(f"array: expected {expected}, got {type(array).__name__}")
    kind, _ = array.__dlpack_device__()
    if kind != ON_GPU:
        raise DeviceError(f"array: expected one in a GPU's memory, got {type(array).__name__} on DLPack's device {kind}")
    return cupy.from_dlpack(array)


_sent = {}  # (id of an array of the host, address of a stream): (a weak reference to it, its copy on the device)


def keep(array, there=None):
    """Keep the copy on the device of an array of the host that nobody changes from now on, as long as that is there.

    array: no view of another.  there: the copy, if there is one; else the array is sent, unless it has been.  `to_read` then
    sends no part of it.
    """
    key = id(array), stream_address()
    if key not in _sent:
        there = _allocated(lambda: cupy.asarray(array, order="C"), array.nbytes) if there is None else there
        _sent[key] = weakref.ref(array, lambda _: _sent.pop(key, None)), there


def to_read(array):
    """An array on the GPU that nobody writes to; of one of the host's that `keep` knows, or of a part, nothing is sent."""
    if is_on_device(array):
        return array
    owner = array if array.base is None else array.base
    _, there = _sent.get((id(owner), stream_address()), (None, None)) if _sent else (None, None)
    if there is None or array.dtype != owner.dtype or not array.flags.c_contiguous:
        return asarray(array)
    start = (array.__array_interface__["data"][0] - owner.__array_interface__["data"][0]) // array.itemsize
    return there.reshape(-1)[start : start + array.size].reshape(array.shape)


def may_share_memory(a, b):
    """Whether writing to one array may change the other: whether the stretches of memory that they lie in overlap."""
    if not a.size or not b.size:
        return False
    (first, _), (second, _) = flat(a), flat(b)
    return first.data.ptr < second.data.ptr + second.nbytes and second.data.ptr < first.data.ptr + first.nbytes


def contiguous(array):
    """The array, in C order: itself if it lies so, else a copy."""
    return array if array.flags.c_contiguous else array.copy()


def flat(array):
    """(numbers, start): the stretch of memory that an array lies in as a 1-D array, and where in it the first number is."""
    if array.flags.c_contiguous or not array.size:
        return array.reshape(-1), 0
    size, start, end, backward = array.itemsize, 0, 0, []
    for length, stride in zip(array.shape, array.strides):
        reach = (length - 1) * abs(stride) // size
        end += reach
        start += reach if stride < 0 else 0
        backward.append(slice(None, None, -1 if stride < 0 else None))
    return cupy.lib.stride_tricks.as_strided(array[tuple(backward)], (end + 1,), (size,)), start


@functools.cache
def spare(dtype, stream):
    """An array for kernels that take one and do not look at it."""
    return empty((1,), dtype)
