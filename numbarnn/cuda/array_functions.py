"""NumPy's functions on device arrays: what ``__array_function__`` finds, by the function's name."""

import math

import numpy as np

from . import array_kernels as kernels
from .array import DTYPES, DeviceArray, blocks_for, broadcast_to, current_stream, empty, zeros
from .array_kernels import Reduce
from .ufuncs import checked_operand, elementwise, is_number

PIECE = 64  # numbers that one thread sums, where there are enough threads
MOST_PIECES = 4096
KNOWN = {}


def call(function, args, kwargs):
    """What ``DeviceArray.__array_function__`` does."""
    found = KNOWN.get(function)
    if found is None:
        raise TypeError(f"{function.__name__}: is not known on the GPU; .get() copies an array to the host")
    return found(*args, **kwargs)


def _known(*functions):
    def register(python):
        KNOWN.update(dict.fromkeys(functions, python))
        return python

    return register


def _device(name, array):
    if not isinstance(array, DeviceArray):
        checked_operand(name, array)
        raise TypeError(f"{name}: expected a DeviceArray, got {type(array).__name__}")
    return array


# -- views and copies


def _method(name):
    return lambda array, *args, **kwargs: getattr(_device(name, array), name)(*args, **kwargs)


for _name in ("transpose", "swapaxes", "squeeze", "ravel", "copy", "take"):
    KNOWN[getattr(np, _name)] = _method(_name)


@_known(np.reshape)
def reshape(array, shape, order="C", *, copy=None):
    if order != "C":
        raise TypeError(f"reshape: expected order 'C' on the GPU, got {order!r}")
    return _device("reshape", array).reshape(shape, copy=copy)


def _seen(name, function):
    """A function that makes views, of a NumPy array with the same layout."""

    def view(array, *args, **kwargs):
        return _device(name, array).seen_by(function, *args, **kwargs)

    return view


for _function in (np.expand_dims, np.moveaxis, np.flip, np.atleast_1d, np.atleast_2d):
    KNOWN[_function] = _seen(_function.__name__, _function)


@_known(np.broadcast_to)
def _broadcast_to(array, shape, subok=False):
    return broadcast_to(_device("broadcast_to", array), shape)


@_known(np.split)
def split(array, sections, axis=0):
    return _device("split", array).seen_by(np.split, sections, axis)


@_known(np.array_split)
def array_split(array, sections, axis=0):
    return _device("array_split", array).seen_by(np.array_split, sections, axis)


@_known(np.shape)
def shape(array):
    return array.shape


@_known(np.ndim)
def ndim(array):
    return array.ndim


@_known(np.size)
def size(array, axis=None):
    return array.size if axis is None else array.shape[axis]


def _like(value):
    def make(array, dtype=None, order="K", subok=True, shape=None, device=None):
        new = empty(array.shape if shape is None else shape, array.dtype if dtype is None else dtype)
        if value is not None:
            new.fill(value)
        return new

    return make


KNOWN |= {np.empty_like: _like(None), np.zeros_like: _like(0), np.ones_like: _like(1)}


@_known(np.full_like)
def full_like(array, fill_value, dtype=None, order="K", subok=True, shape=None, device=None):
    return _like(fill_value)(array, dtype, shape=shape)


@_known(np.copyto)
def copyto(dst, src, casting="same_kind", where=True):
    """Host arrays are copied to the device, as by an assignment."""
    _device("copyto", dst)
    given = src.dtype if isinstance(src, (DeviceArray, np.ndarray)) else None
    if given is not None and not np.can_cast(given, dst.dtype, casting):
        raise TypeError(f"copyto: expected {dst.dtype}, got {given}")
    if where is True:
        dst[...] = src
    else:
        np.positive(checked_operand("copyto", src), out=dst, where=where) if dst.dtype != bool else _masked(dst, src, where)


def _masked(dst, src, where):
    dst[...] = _where(where, src, dst)


@_known(np.concatenate)
def concatenate(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    arrays = [_device("concatenate", array) for array in arrays]
    if out is not None or dtype is not None:
        raise TypeError("concatenate: out and dtype are not known on the GPU")
    if axis is None:
        arrays, axis = [array.ravel() for array in arrays], 0
    axis = range(arrays[0].ndim)[axis]
    rest = [array.shape[:axis] + array.shape[axis + 1 :] for array in arrays]
    if any(other != rest[0] for other in rest):
        raise ValueError(f"concatenate: expected arrays alike but for axis {axis}, got {[a.shape for a in arrays]}")
    lengths = [array.shape[axis] for array in arrays]
    shape = (*rest[0][:axis], sum(lengths), *rest[0][axis:])
    new, at = empty(shape, np.result_type(*(array.dtype for array in arrays))), 0
    for array, length in zip(arrays, lengths):
        new[(slice(None),) * axis + (slice(at, at + length),)] = array
        at += length
    return new


@_known(np.stack)
def stack(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    arrays = [np.expand_dims(_device("stack", array), axis) for array in arrays]
    return concatenate(arrays, range(arrays[0].ndim)[axis], out, dtype=dtype)


# -- one number from one or two


@_known(np.where)
def _where(condition, x=None, y=None):
    if x is None or y is None:
        raise TypeError("where: expected the condition and two values: places are not known on the GPU")
    condition = _device("where", condition)
    if condition.dtype != bool:
        condition = condition != 0
    values = [checked_operand("where", value) for value in (x, y)]
    known = [v.dtype if isinstance(v, (DeviceArray, np.generic, np.ndarray)) else v for v in values]
    dtype = np.result_type(*known)
    kernel = {"f": kernels.arithmetic, "b": kernels.logic}.get(dtype.kind, kernels.whole)
    return elementwise("where", kernel, kernels.WHERE, dtype, dtype, values, None, condition)


@_known(np.clip)
def clip(a, a_min=None, a_max=None, out=None, *, min=None, max=None, **kwargs):
    low, high = (a_min if a_min is not None else min), (a_max if a_max is not None else max)
    a = _device("clip", a)
    if is_number(low) and is_number(high):
        dtype = np.result_type(a.dtype, low, high)
        kernel = kernels.arithmetic if dtype.kind == "f" else kernels.whole
        return elementwise("clip", kernel, kernels.CLIP, dtype, dtype, [a], out, None, (low, high))
    if low is not None:
        a = np.maximum(a, low, out=out)
    if high is not None:
        a = np.minimum(a, high, out=out)
    return a


# -- many numbers to one


@_known(np.sum)
def sum_(a, axis=None, dtype=None, out=None, keepdims=False, **kwargs):
    return reduction("sum", kernels.ADD, a, axis, dtype, out, keepdims, **kwargs)


@_known(np.mean)
def mean(a, axis=None, dtype=None, out=None, keepdims=False, **kwargs):
    total = reduction("mean", kernels.ADD, a, axis, dtype, out, keepdims, **kwargs)
    return np.divide(total, a.size // max(total.size, 1), out=out)


@_known(np.max, np.amax)
def max_(a, axis=None, out=None, keepdims=False, **kwargs):
    return reduction("max", kernels.MAXIMUM, a, axis, None, out, keepdims, **kwargs)


@_known(np.min, np.amin)
def min_(a, axis=None, out=None, keepdims=False, **kwargs):
    return reduction("min", kernels.MINIMUM, a, axis, None, out, keepdims, **kwargs)


@_known(np.all)
def all_(a, axis=None, out=None, keepdims=False, **kwargs):
    return reduction("all", kernels.AND, a, axis, None, out, keepdims, **kwargs)


@_known(np.any)
def any_(a, axis=None, out=None, keepdims=False, **kwargs):
    return reduction("any", kernels.OR, a, axis, None, out, keepdims, **kwargs)


@_known(np.count_nonzero)
def count_nonzero(a, axis=None, *, keepdims=False):
    """A Python int without an axis, as in NumPy."""
    found = reduction("count_nonzero", kernels.ADD, a if a.dtype == bool else a != 0, axis, np.int64, None, keepdims)
    return int(found) if axis is None else found


@_known(np.argmax)
def argmax(a, axis=None, out=None, *, keepdims=False):
    if out is not None:
        raise TypeError("argmax: out is not known on the GPU")
    a = _device("argmax", a)
    shape = [1] * a.ndim
    if axis is not None:
        shape = list(a.shape)
        shape[axis] = 1
    flat, kept = _rows(a, axis)
    if not flat.shape[1]:
        raise ValueError(f"argmax: expected some numbers, got shape {a.shape}")
    found = empty((flat.shape[0],), np.int64)
    if found.size:
        record = _record(kernels.MAXIMUM, flat, 1, found)
        kernels.largest[(*blocks_for(found.size), current_stream())](record, found.memory, flat.memory)
    return found.reshape(shape if keepdims else kept)


def _rows(a, axis):
    """(the array as (kept, reduced), the shape of what is kept): a view where the axes allow it."""
    axes = range(a.ndim) if axis is None else (axis,) if isinstance(axis, (int, np.integer)) else axis
    axes = sorted(range(a.ndim)[i] for i in axes)
    others = [i for i in range(a.ndim) if i not in axes]
    kept = tuple(a.shape[i] for i in others)
    return a.transpose(others + axes).reshape(math.prod(kept), math.prod(a.shape[i] for i in axes)), kept


def _record(operation, flat, pieces, out):
    strides = (stride // flat.itemsize for stride in flat.strides)
    return Reduce(operation, *flat.shape, pieces, out.offset, flat.offset, *strides)


def _pieces(reduced):
    return 1 if reduced <= PIECE else min(-(-reduced // PIECE), MOST_PIECES)


def reduction(name, operation, a, axis=None, dtype=None, out=None, keepdims=False, where=True, initial=None):
    """Sums and the like, an array without axes where none is left: each is in an order that its length alone decides."""
    a = _device(name, a)
    if where is not True or initial not in (None, np._NoValue):
        raise TypeError(f"{name}: where and initial are not known on the GPU")
    keepdims = False if keepdims is np._NoValue else keepdims
    if operation in (kernels.AND, kernels.OR):
        a = a if a.dtype == bool else a != 0
        operation = kernels.MINIMUM if operation == kernels.AND else kernels.MAXIMUM
        empty_value = operation == kernels.MINIMUM
    else:
        empty_value = 0 if operation == kernels.ADD else None
    if operation == kernels.ADD:
        dtype = (np.dtype(np.int64) if a.dtype.kind in "bi" else a.dtype) if dtype is None else np.dtype(dtype)
        if name == "mean" and dtype.kind != "f":
            dtype = np.dtype(np.float64)
    else:
        dtype = a.dtype
    if dtype not in DTYPES:
        raise TypeError(f"{name}: dtype {dtype} is not known on the GPU")
    widened = a.dtype == np.float32 and dtype == np.float64
    if a.dtype != dtype and not widened:
        a = a.astype(dtype)
    flat, kept = _rows(a, axis)
    rows, reduced = flat.shape
    if not reduced and empty_value is None:
        raise ValueError(f"{name}: expected some numbers, got shape {a.shape}")
    found = zeros((rows,), dtype) if not reduced else reduced_rows(operation, flat, dtype, widened)
    if not reduced and empty_value:
        found.fill(empty_value)
    if keepdims:
        axes = range(a.ndim) if axis is None else np.atleast_1d(axis) % max(a.ndim, 1)
        kept = tuple(1 if i in axes else length for i, length in enumerate(a.shape))
    found = found.reshape(kept)
    if out is None:
        return found
    out[...] = found
    return out


def reduced_rows(operation, flat, dtype, in_double):
    """An array (kept, reduced) with its second axis reduced; `in_double`: float64, by the kernel that is for that alone."""
    rows, reduced = flat.shape
    while True:
        pieces = _pieces(reduced)
        found = empty((rows, pieces), dtype)
        if found.size:
            launch = (*blocks_for(found.size), current_stream())
            record = _record(operation, flat, pieces, found)
            if in_double:
                kernels.sum_in_double[launch](record, found.memory, flat.memory, np.float64(0))
            else:
                kernels.reduce[launch](record, found.memory, flat.memory)
        if pieces == 1:
            return found.reshape(rows)
        flat, reduced = found, pieces
        in_double, operation = False, kernels.ADD if operation == kernels.SQUARE else operation


def sum_of_squares(vector):
    """Of a 1-D array, in float64: an array without axes."""
    flat = vector.reshape(1, -1)
    return reduced_rows(kernels.SQUARE, flat, np.dtype(np.float64), True).reshape(())
