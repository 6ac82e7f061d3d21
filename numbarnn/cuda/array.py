"""Arrays in device memory that speak NumPy's protocols, so that layers, losses and training run on them as they are.

What NumPy function or operator is not known here is a TypeError that names it.  Nothing goes to the host unless asked for:
by `get`, `item`, ``float``, ``int`` or ``bool``, or where NumPy's own answer is a Python number (``np.count_nonzero``).
"""

import functools
import math
import operator

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..errors import DTypeError, LayoutError, ShapeError
from . import dlpack
from .array_kernels import Fill, Move, fill, move
from .device import SIMULATED, blocks_for, cuda, current_stream, require, stream_key, wait
from .layouts import c_strides, collapsed, extent, in_numbers, is_c_contiguous, offset_of, stand_in
from .memory import asarray as to_device
from .memory import borrow

DTYPES = tuple(np.dtype(name) for name in ("float32", "float64", "bool", "int64"))


class Flags:
    """What NumPy says of an array's memory."""

    __slots__ = ("_array", "writeable")

    def __init__(self, array, writeable):
        self._array, self.writeable = array, writeable

    @property
    def c_contiguous(self):
        a = self._array
        return is_c_contiguous(a.shape, a.strides, a.itemsize)

    @property
    def f_contiguous(self):
        a = self._array
        return is_c_contiguous(a.shape[::-1], a.strides[::-1], a.itemsize)

    @property
    def aligned(self):
        return True


class DeviceArray(NDArrayOperatorsMixin):
    """A strided view of numbers in device memory.

    `empty`, `zeros` and `asarray` make one; views share its memory.

    Attributes
    ----------
    memory : Numba device array
        The whole allocation, 1-D and of the dtype: what kernels take.
    offset : int
        Where in `memory` the first number lies.
    shape, strides : tuple of int
        As NumPy has them: strides in bytes.
    dtype : numpy.dtype
        float32, float64, bool or int64.
    device : str
        ``"cuda"``.
    flags : Flags
    """

    device = "cuda"
    __slots__ = ("__weakref__", "_flags", "dtype", "memory", "offset", "owner", "shape", "strides")

    def __init__(self, memory, offset, shape, strides, dtype, owner, writeable=True):
        self.memory, self.offset, self.shape, self.strides, self.dtype = memory, offset, shape, strides, dtype
        self.owner = owner  # keeps the memory: a Loan, or what it was made from; slots are let go of in this order
        self._flags = Flags(self, writeable) if not writeable else None

    # -- what NumPy says of an array

    @property
    def flags(self):
        if self._flags is None:
            self._flags = Flags(self, True)
        return self._flags

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        return math.prod(self.shape)

    @property
    def itemsize(self):
        return self.dtype.itemsize

    @property
    def nbytes(self):
        return self.size * self.itemsize

    def __len__(self):
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __repr__(self):
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype})"

    @property
    def pointer(self):
        """The address of the first number."""
        return _address(self.memory) + self.offset * self.itemsize

    @property
    def __cuda_array_interface__(self):
        stream = stream_key(current_stream())
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer if self.size else 0, not self.flags.writeable),
            "version": 3,
            "strides": None if self.flags.c_contiguous else self.strides,
            "stream": stream or 1,
        }

    def __dlpack_device__(self):
        return dlpack.DEVICE, 0

    def __dlpack__(self, *, stream=None, **kwargs):
        if not self.flags.writeable:
            raise BufferError("an array that must not be modified has no DLPack")
        if stream not in (None, -1) and not SIMULATED:
            wait(cuda.external_stream(stream), current_stream())
        return dlpack.give(self, self.pointer if self.size else 0, 0)

    # -- to the host

    def get(self):
        """A NumPy array with the same numbers: a copy, once all that was asked for before is done."""
        host = np.empty(self.shape, self.dtype)
        if not self.size:
            return host
        packed = self if self.flags.c_contiguous else self.copy()
        stream = current_stream()
        packed.memory[packed.offset : packed.offset + packed.size].copy_to_host(host.reshape(-1), stream=stream)
        if not isinstance(stream, int):
            stream.synchronize()
        return host

    def item(self):
        """The number in an array of one."""
        if self.size != 1:
            raise ValueError(f"item: expected an array of one number, got shape {self.shape}")
        return self.get().item()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.item())

    def __index__(self):
        if self.dtype.kind != "i" or self.shape:
            raise TypeError(f"index: expected an integer, got {self!r}")
        return self.item()

    def __format__(self, spec):
        return format(self.item() if spec and self.size == 1 else str(self), spec)

    def __array__(self, *args, **kwargs):
        raise TypeError(f"{self!r} is in device memory: .get() copies it to a numpy.ndarray")

    # -- views

    def _stand_in(self):
        return stand_in(self.shape, self.strides, self.dtype)

    def _view(self, seen, whole):
        """The array that looks like `seen`, a view of the stand-in `whole`."""
        offset = self.offset + (offset_of(seen, whole) if seen.size else 0)
        writeable = self._flags is None or self._flags.writeable
        return DeviceArray(self.memory, offset, seen.shape, seen.strides, self.dtype, self.owner, writeable)

    def seen_by(self, function, *args, **kwargs):
        """The view, or the list of views, that a function of NumPy makes."""
        whole = self._stand_in()
        found = function(whole, *args, **kwargs)
        return [self._view(part, whole) for part in found] if isinstance(found, list) else self._view(found, whole)

    def transpose(self, *axes):
        return self.seen_by(np.ndarray.transpose, *axes)

    @property
    def T(self):
        return self.transpose()

    def swapaxes(self, axis1, axis2):
        return self.seen_by(np.swapaxes, axis1, axis2)

    def squeeze(self, axis=None):
        return self.seen_by(np.squeeze, axis)

    def reshape(self, *shape, copy=None):
        """A view where there can be one, else a copy, as in NumPy."""
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        whole = self._stand_in()
        try:
            seen = np.reshape(whole, shape, copy=False)
        except ValueError:
            if copy is False or math.prod(np.atleast_1d(shape).tolist()) not in (self.size, -self.size) and -1 not in shape:
                raise
            packed = self.copy()
            whole = packed._stand_in()
            return packed._view(np.reshape(whole, shape, copy=False), whole)
        return self._view(seen, whole)

    def ravel(self):
        """1-D, in C order: a view where there can be one."""
        return self.reshape(-1)

    def view_of(self, index):
        """What slices, integers, None and Ellipsis choose; an array without axes where NumPy has a number."""
        index = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, (bool, np.bool_)) for part in index):
            raise TypeError("index: expected integers, slices and arrays, got a truth value")
        whole = self._stand_in()
        return self._view(whole[index if any(part is Ellipsis for part in index) else (*index, ...)], whole)

    def __getitem__(self, index):
        index = without_numbers_in_arrays(index)
        if has_arrays(index):
            return gathered(self, index)
        return self.view_of(index)

    def __setitem__(self, index, value):
        index = without_numbers_in_arrays(index)
        if has_arrays(index):
            self.require_writeable()
            scatter(self, index, value)
        else:
            self.view_of(index)._assign(value)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    # -- NumPy's functions

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return ufuncs.call(ufunc, method, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return array_functions.call(function, args, kwargs)

    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        return np.sum(self, axis, dtype, out, keepdims)

    def mean(self, axis=None, keepdims=False):
        return np.mean(self, axis, keepdims=keepdims)

    def max(self, axis=None, out=None, keepdims=False):
        return np.max(self, axis, out, keepdims)

    def min(self, axis=None, out=None, keepdims=False):
        return np.min(self, axis, out, keepdims)

    def all(self, axis=None, out=None, keepdims=False):
        return np.all(self, axis, out, keepdims)

    def any(self, axis=None, out=None, keepdims=False):
        return np.any(self, axis, out, keepdims)

    def argmax(self, axis=None):
        return np.argmax(self, axis)

    def clip(self, min=None, max=None, out=None):
        return np.clip(self, min, max, out)

    def take(self, indices, axis=None, out=None, mode="raise"):
        return taken(self, indices, axis, out, mode)

    # -- copies

    def require_writeable(self):
        """Raise ValueError for an array that must not be modified."""
        if self._flags is not None and not self._flags.writeable:
            raise ValueError("assignment destination is read-only")

    def _assign(self, value):
        """Write a number or an array, broadcast, to all of it (is modified)."""
        self.require_writeable()
        if isinstance(value, np.ndarray) and value.ndim:
            value = asarray(np.asarray(value, self.dtype) if value.dtype not in DTYPES else value)
        if not isinstance(value, DeviceArray):
            self._fill(value)
            return
        if value.shape != self.shape:
            value = broadcast_to(value, self.shape)
        if not self.size:
            return
        if overlap(self, value):
            value = value.copy()
        (_, *lengths), (t, s) = collapsed_or_raise("copy", self.shape, numbers_apart(self), numbers_apart(value))
        call = Move(self.size, *lengths, self.offset, *t, value.offset, *s, 0, 0)
        move[(*blocks_for(self.size), current_stream())](call, self.memory, value.memory, no_table())

    def _fill(self, value):
        if not self.size:
            return
        (_, *lengths), (t,) = collapsed_or_raise("fill", self.shape, numbers_apart(self))
        call = Fill(self.size, *lengths, self.offset, *t)
        fill[(*blocks_for(self.size), current_stream())](call, self.memory, self.dtype.type(value))

    def fill(self, value):
        """Write a number to all of it (is modified)."""
        self.require_writeable()
        self._fill(value)

    def copy(self, order="C"):
        """A C-contiguous copy."""
        new = empty(self.shape, self.dtype)
        new._assign(self)
        return new

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        """Pickles hold the numbers as they are in the host's memory; loaded, they go back to the device."""
        return to_device, (self.get(),)

    def astype(self, dtype, copy=True):
        """A copy in another dtype; itself where it has that dtype and `copy` is False."""
        dtype = _checked_dtype(dtype)
        if dtype == self.dtype and not copy:
            return self
        new = empty(self.shape, dtype)
        new._assign(self)
        return new


def numbers_apart(array):
    """The strides of an array in numbers."""
    return in_numbers(array.strides, array.itemsize)


def collapsed_or_raise(name, shape, *strides, fixed=0):
    """`layouts.collapsed`, with a TypeError that names the operation where there are too many axes."""
    layout = collapsed(shape, *strides, fixed=fixed)
    if layout is None:
        raise TypeError(f"{name}: expected arrays that lie along at most four axes together, got shape {shape}")
    return layout


def launch_elementwise(name, kernel, record, operation, out, a, b, mask, *numbers):
    """Launch a kernel that takes an ``Elementwise``.

    a, b, mask: None, or arrays of the shape of `out` (is modified); numbers: the kernel's last arguments.
    """
    given = [out, *(array for array in (a, b, mask) if array is not None)]
    (_, *lengths), strides = collapsed_or_raise(name, out.shape, *map(numbers_apart, given))
    places = dict(zip(map(id, given), strides))
    lies = [0] * 5
    parts = [lies if array is None else (array.offset, *places[id(array)]) for array in (out, a, b, mask)]
    flags = int(a is None), int(b is None), int(mask is not None)
    call = record(operation, out.size, *lengths, *(n for part in parts for n in part), *flags)
    some = next((array for array in (a, b) if array is not None), None)
    any_memory = spare(numbers[0].dtype) if some is None else some.memory
    kernel[(*blocks_for(out.size), current_stream())](
        call, out.memory, any_memory if a is None else a.memory, any_memory if b is None else b.memory,
        spare(np.dtype(bool)) if mask is None else mask.memory, *numbers,
    )  # fmt: skip


def _checked_dtype(dtype):
    try:
        result = np.dtype(dtype)
    except TypeError:
        result = None
    if result not in DTYPES or not result.isnative:
        raise DTypeError(f"dtype: expected float32, float64, bool or int64 on the GPU, got {dtype}")
    return result


def _address(memory):
    if SIMULATED:
        return memory.ctypes.data
    return memory.__cuda_array_interface__["data"][0]


def overlap(a, b):
    """Whether two arrays may share a number without being the same view."""
    if a.memory is not b.memory and a.owner is not b.owner:
        return False
    if (a.offset, a.shape, a.strides, a.dtype) == (b.offset, b.shape, b.strides, b.dtype):
        return False
    return may_share_memory(a, b)


def may_share_memory(a, b):
    """Whether two arrays lie where the other one has numbers."""
    if not a.size or not b.size:
        return False
    spans = []
    for array in (a, b):
        low, high = extent(array.shape, array.strides)
        spans.append((array.pointer + low, array.pointer + high + array.itemsize))
    return spans[0][0] < spans[1][1] and spans[1][0] < spans[0][1]


@functools.cache
def spare(dtype):
    """Memory of a dtype for kernels that take some and do not look at it."""
    return cuda.device_array(1, dtype)


def no_table():
    """What kernels get in the place of a table of places."""
    return spare(np.dtype(np.int64))


def empty(shape, dtype):
    """An uninitialised C-contiguous array.

    Raises
    ------
    DeviceError
        If there is no GPU, or not so much memory on it.
    """
    dtype = _checked_dtype(dtype)
    shape = tuple(operator.index(length) for length in ((shape,) if isinstance(shape, (int, np.integer)) else shape))
    if min(shape, default=0) < 0:
        raise ShapeError(f"shape: expected lengths of 0 and more, got {shape}")
    loan = borrow(max(1, math.prod(shape)) * dtype.itemsize)
    return DeviceArray(loan.block.numbers(dtype), 0, shape, c_strides(shape, dtype.itemsize), dtype, loan)


def zeros(shape, dtype):
    """A C-contiguous array of zeros."""
    new = empty(shape, dtype)
    new._fill(0)
    return new


def broadcast_to(array, shape):
    """A view of an array that repeats it along new or longer axes; read-only, as in NumPy."""
    found = array.seen_by(np.broadcast_to, shape)
    found.flags.writeable = False
    return found


def asarray(given):
    """A DeviceArray of what is given.

    Parameters
    ----------
    given : DeviceArray, array with ``__cuda_array_interface__`` or ``__dlpack__``, or numpy.ndarray
        An array on the device (CuPy's, PyTorch's, Numba's, ...) is not copied, whatever its strides.  A NumPy array is
        copied there.

    Raises
    ------
    TypeError, DTypeError, LayoutError, DeviceError
    """
    if isinstance(given, DeviceArray):
        return given
    require()
    if isinstance(given, np.ndarray) or np.isscalar(given):
        return _uploaded(np.asarray(given))
    if getattr(given, "__cuda_ndarray__", False) and SIMULATED:
        return _from_host_memory(given)
    if hasattr(given, "__cuda_array_interface__"):
        return _from_interface(given)
    if hasattr(given, "__dlpack__"):
        address, shape, strides, dtype, owner = dlpack.receive(given, stream_key(current_stream()))
        dtype = _checked_dtype(dtype)
        return _wrapped(address, shape, strides or c_strides(shape, dtype.itemsize), dtype, owner, True)
    expected = "a numpy.ndarray, or an array with __cuda_array_interface__ or __dlpack__"
    raise TypeError(f"array: expected {expected}, got {type(given).__name__}")


def _uploaded(host):
    new = empty(host.shape, host.dtype)
    if host.size:
        packed = np.ascontiguousarray(host).reshape(-1)
        new.memory[: host.size].copy_to_device(packed, stream=current_stream())
    return new


def _from_host_memory(given):
    """The simulator's device arrays are NumPy's underneath."""
    return _wrapped(given._ary.ctypes.data, given.shape, given.strides, given.dtype, given, True)


def _from_interface(given):
    interface = given.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise TypeError(f"array: expected one without a mask, got {type(given).__name__}")
    dtype, shape = _checked_dtype(interface["typestr"]), tuple(map(int, interface["shape"]))
    strides = interface.get("strides") or c_strides(shape, dtype.itemsize)
    address, read_only = interface["data"]
    stream = interface.get("stream")
    if stream not in (None, stream_key(current_stream())) and not SIMULATED:
        cuda.external_stream(stream).synchronize()
    return _wrapped(address, shape, tuple(strides), dtype, given, not read_only)


def _wrapped(address, shape, strides, dtype, owner, writeable):
    """A DeviceArray over memory at an address that `owner` keeps."""
    size = dtype.itemsize
    if 0 in shape:
        new = empty(shape, dtype)
        return DeviceArray(new.memory, 0, shape, c_strides(shape, size), dtype, new.owner, writeable)
    if any(stride % size for length, stride in zip(shape, strides) if length > 1) or address % size:
        raise LayoutError(f"array: its memory is not aligned to {dtype}")
    strides = tuple(stride if length > 1 else size for length, stride in zip(shape, strides))
    low, high = extent(shape, strides)
    count = (high - low) // size + 1
    interface = {"shape": (count,), "typestr": dtype.str, "data": (address + low, False), "version": 3, "strides": None}
    if SIMULATED:
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        holder = type("Holder", (), {"__array_interface__": interface})()
        memory = FakeCUDAArray(np.asarray(holder))
    else:
        memory = cuda.from_cuda_array_interface(interface, owner=owner, sync=False)
    return DeviceArray(memory, -low // size, shape, strides, dtype, owner, writeable)


from . import array_functions, ufuncs  # noqa: E402 (they are written in terms of DeviceArray)
from .indexing import gathered, has_arrays, scatter, taken, without_numbers_in_arrays  # noqa: E402

__all__ = ["DTYPES", "DeviceArray", "asarray", "broadcast_to", "empty", "zeros"]
