"""What this package uses of CuPy, by NumPy in the host's memory: for Numba's simulator alone.

Names and parameters are CuPy's.  What CuPy refuses is refused here too, so that no program passes in the simulator and fails
on a GPU: host arrays beside arrays of the device, `where` in ufuncs, ``numpy.asarray``, and every name that is not here.
"""

import threading
from types import SimpleNamespace

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

UFUNCS = frozenset(
    "absolute add bitwise_and bitwise_or bitwise_xor divide equal exp expm1 floor_divide greater greater_equal invert "
    "isfinite isinf isnan ldexp less less_equal log log1p logical_and logical_not logical_or logical_xor maximum minimum "
    "multiply negative not_equal positive power remainder sign sqrt square subtract tanh".split()
)
FUNCTIONS = {  # the parameters of each, as CuPy has them
    "all": "a axis out keepdims",
    "any": "a axis out keepdims",
    "argmax": "a axis dtype out keepdims",
    "argwhere": "a",
    "array_equal": "a1 a2 equal_nan",
    "array_split": "ary indices_or_sections axis",
    "broadcast_to": "array shape",
    "clip": "a a_min a_max out",
    "concatenate": "tup axis out dtype casting",
    "copyto": "dst src casting where",
    "count_nonzero": "a axis",
    "empty_like": "prototype dtype order subok shape",
    "expand_dims": "a axis",
    "flip": "a axis",
    "full_like": "a fill_value dtype order subok shape",
    "max": "a axis out keepdims",
    "may_share_memory": "a b max_work",
    "mean": "a axis dtype out keepdims",
    "min": "a axis out keepdims",
    "moveaxis": "a source destination",
    "ndim": "a",
    "ones_like": "a dtype order subok shape",
    "ravel": "a order",
    "repeat": "a repeats axis",
    "reshape": "a newshape order copy",
    "shape": "a",
    "split": "ary indices_or_sections axis",
    "squeeze": "a axis",
    "stack": "tup axis out dtype casting",
    "sum": "a axis dtype out keepdims",
    "swapaxes": "a axis1 axis2",
    "transpose": "a axes",
    "where": "condition x y",
    "zeros_like": "a dtype order subok shape",
}
SIZES = ("may_share_memory", "ndim", "shape")  # whose results are no arrays


def _wrapped(found):
    """Arrays of the device for arrays, also inside of lists and tuples."""
    if isinstance(found, (list, tuple)):
        return type(found)(map(_wrapped, found))
    return ndarray(np.asarray(found))


def _unwrapped(name, given):
    """The reverse; what is neither on the device nor a number is a TypeError."""
    if isinstance(given, (list, tuple)):
        return type(given)(_unwrapped(name, part) for part in given)
    if isinstance(given, np.ndarray):
        raise TypeError(f"{name}: Unsupported type {type(given)}")
    return given._host if isinstance(given, ndarray) else given


def _known(name, parameters, kwargs):
    if unknown := kwargs.keys() - set(parameters):
        raise TypeError(f"{name}: CuPy has no parameter {', '.join(sorted(unknown))}")


class _Flags:
    """Read-only, and fewer than NumPy's."""

    __slots__ = ("c_contiguous", "f_contiguous")

    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous = flags.c_contiguous, flags.f_contiguous


class ndarray(NDArrayOperatorsMixin):  # noqa: N801 (CuPy's name)
    """``cupy.ndarray``."""

    __module__ = "cupy"  # what tells an array of the device from others
    __slots__ = ("__weakref__", "_host")

    def __init__(self, host):
        self._host = host

    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    flags = property(lambda self: _Flags(self._host.flags))
    T = property(lambda self: ndarray(self._host.T))
    real = property(lambda self: ndarray(self._host.real), lambda self, value: self.real.__setitem__(..., value))
    imag = property(lambda self: ndarray(self._host.imag), lambda self, value: self.imag.__setitem__(..., value))
    data = property(lambda self: SimpleNamespace(ptr=self._host.ctypes.data))

    def __len__(self):
        return len(self._host)

    def __repr__(self):
        return repr(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self._host)

    def __int__(self):
        return int(self._host)

    def __float__(self):
        return float(self._host)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; `.get()` makes one")

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        name = ufunc.__name__
        if method != "__call__" or name not in UFUNCS:
            return NotImplemented
        _known(name, ("dtype", "casting"), kwargs)
        if any(not isinstance(array, ndarray) for array in out):
            raise TypeError(f"{name}: out: Unsupported type {type(out[0])}")
        with np.errstate(all="ignore"):
            found = ufunc(*_unwrapped(name, inputs), **({"out": _unwrapped(name, out)} if out else {}), **kwargs)
        return out[0] if out else _wrapped(found)

    def __array_function__(self, function, types, args, kwargs):
        name = function.__name__
        parameters = FUNCTIONS.get(name, "").split()
        if not parameters or function.__module__ != "numpy":
            return NotImplemented
        _known(name, parameters, kwargs)
        given = {key: _unwrapped(name, value) for key, value in kwargs.items()}
        with np.errstate(all="ignore"):
            found = function(*_unwrapped(name, args), **given)
        if kwargs.get("out") is not None:
            return kwargs["out"]
        return found if name in SIZES or found is None else _wrapped(found)

    def __getitem__(self, index):
        index = tuple(map(_as_index, index)) if isinstance(index, tuple) else _as_index(index)
        found = self._host[index]
        if isinstance(found, np.generic):  # where NumPy has a number CuPy has a view
            found = self._host[(*index, ...) if isinstance(index, tuple) else (index, ...)]
        return ndarray(found)

    def __setitem__(self, index, value):
        index = tuple(map(_as_index, index)) if isinstance(index, tuple) else _as_index(index)
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if isinstance(value, (list, tuple)):
            raise TypeError(f"Unsupported type {type(value)}")
        self._host[index] = value._host if isinstance(value, ndarray) else value

    def get(self):
        return self._host.copy()

    def set(self, arr):
        """Copy a host array of this shape and dtype into this one."""
        if not isinstance(arr, np.ndarray) or (arr.shape, arr.dtype) != (self.shape, self.dtype):
            raise TypeError("Only numpy.ndarray of the same shape and dtype can be set to cupy.ndarray")
        self._host[...] = arr

    def item(self):
        return self._host.item()

    def fill(self, value):
        self[...] = value

    def copy(self, order="C"):
        return ndarray(self._host.copy(order))

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return asarray, (self.get(),)

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        with np.errstate(all="ignore"):
            found = self._host.astype(dtype, order, copy=copy)
        return self if found is self._host else ndarray(found)

    def view(self, dtype):
        return ndarray(self._host.view(dtype))

    def reshape(self, *shape):
        return ndarray(self._host.reshape(*shape))

    def ravel(self, order="C"):
        return ndarray(self._host.ravel(order))

    def transpose(self, *axes):
        return ndarray(self._host.transpose(*axes))

    def swapaxes(self, axis1, axis2):
        return ndarray(self._host.swapaxes(axis1, axis2))

    def squeeze(self, axis=None):
        return ndarray(self._host.squeeze(axis))

    def take(self, indices, axis=None, out=None):
        found = self._host.take(_unwrapped("take", indices), axis)
        if out is None:
            return ndarray(found)
        out[...] = ndarray(found)
        return out

    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        return np.sum(self, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def mean(self, axis=None, dtype=None, out=None, keepdims=False):
        return np.mean(self, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def max(self, axis=None, out=None, keepdims=False):
        return np.max(self, axis=axis, out=out, keepdims=keepdims)

    def min(self, axis=None, out=None, keepdims=False):
        return np.min(self, axis=axis, out=out, keepdims=keepdims)

    def all(self, axis=None, out=None, keepdims=False):
        return np.all(self, axis=axis, out=out, keepdims=keepdims)

    def any(self, axis=None, out=None, keepdims=False):
        return np.any(self, axis=axis, out=out, keepdims=keepdims)

    def argmax(self, axis=None):
        return np.argmax(self, axis=axis)


def _as_index(part):
    return part._host if isinstance(part, ndarray) else part


def empty(shape, dtype):
    """``cupy.empty``, of numbers that show when they are read before they are written."""
    host = np.empty(shape, dtype)
    host.fill(np.nan if host.dtype.kind in "fc" else 77)
    return ndarray(host)


def zeros(shape, dtype):
    """``cupy.zeros``."""
    return ndarray(np.zeros(shape, dtype))


def asarray(a, dtype=None, order="K"):
    """``cupy.asarray`` of an array of the host: a copy."""
    return ndarray(np.array(a, dtype, order=order))


def _as_strided(x, shape, strides):
    return ndarray(np.lib.stride_tricks.as_strided(x._host, shape, strides))


class _Current(threading.local):
    stream = None


_current = _Current()


class _Stream:
    """``cupy.cuda.Stream``: all is done at once."""

    def __init__(self, ptr=None, non_blocking=False):
        self.ptr, self._outer = id(self) if ptr is None else ptr, []

    @classmethod
    def from_external(cls, obj):
        return cls(obj.__cuda_stream__()[1])

    def __cuda_stream__(self):
        return 0, self.ptr

    def __enter__(self):
        self._outer.append(_current.stream)
        _current.stream = self
        return self

    def __exit__(self, *raised):
        _current.stream = self._outer.pop()

    def record(self, event=None):
        return event

    def wait_event(self, event):
        pass

    def synchronize(self):
        pass


_default = _Stream(0)


class _OutOfMemoryError(MemoryError):
    """``cupy.cuda.memory.OutOfMemoryError``."""


lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=_as_strided))
cuda = SimpleNamespace(
    Event=lambda disable_timing=False: None,
    Stream=_Stream,
    get_current_stream=lambda: _current.stream or _default,
    memory=SimpleNamespace(OutOfMemoryError=_OutOfMemoryError),
    runtime=SimpleNamespace(memGetInfo=lambda: (1 << 40, 1 << 40)),
)
