"""Hostile arguments: what a user may pass to a public function by mistake, and which of it is valid after all.

A kind of argument says which values are right, as the plain value that each stands for; `WRONG` marks the others.
"""

import math
import tempfile
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

WRONG = object()
ANYTHING = object()  # right, and nothing to compare with


class Something:
    """An object of no meaning to the library."""

    def __repr__(self):
        return "Something()"


class Tensor:
    """A tensor of another library: its memory can be had by DLPack, and in no other way."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class TensorElsewhere(Tensor):
    """Likewise, but in memory that no processor reads."""

    def __dlpack_device__(self):
        return 8, 0  # kDLMetal


SCALARS = {
    "None": lambda: None,
    "True": lambda: True,
    "numpy True": lambda: np.True_,
    "'no'": lambda: "no",
    "''": lambda: "",
    "b'1'": lambda: b"1",
    "-1": lambda: -1,
    "0": lambda: 0,
    "3": lambda: 3,
    "uint8 3": lambda: np.uint8(3),
    "int16 3": lambda: np.int16(3),
    "2.0": lambda: 2.0,
    "0.5": lambda: 0.5,
    "float32 0.5": lambda: np.float32(0.5),
    "-0.5": lambda: -0.5,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "1e400 as an integer": lambda: 10**400,
    "complex": lambda: 1 + 2j,
    "list": lambda: [1, 2],
    "empty tuple": lambda: (),
    "dict": lambda: {"a": 1},
    "set": lambda: {1},
    "object": Something,
    "class": lambda: Something,
    "function": lambda: lambda *args: args,
    "array of one": lambda: np.array([3]),
    "array of two": lambda: np.array([0.5, 0.5]),
    "array of objects": lambda: np.array([None, "x"], object),
    "masked": lambda: np.ma.masked,
    "datetime": lambda: np.datetime64("2026-01-01"),
    "generator": lambda: (i for i in (1, 2)),
}


def of_another_shape(label):
    """Whether a variant differs in its shape: then it is another argument that may not fit."""
    return "along" in label or label in ("an axis more", "axes reversed", "scalar", "array of one", "array of two")


def variants(array):
    """{label: function that makes it} of what may be given in the place of an array."""
    array = np.asarray(array)
    found = {
        "float16": lambda: array.astype(np.float16),
        "complex": lambda: array.astype(complex),
        "object": lambda: array.astype(object),
        "text": lambda: array.astype(str),
        "datetime": lambda: array.astype("datetime64[s]"),
        "integers": lambda: array.astype(int),
        "float32": lambda: array.astype(np.float32),
        "float64": lambda: array.astype(np.float64),
        "longdouble": lambda: array.astype(np.longdouble),
        "other byte order": lambda: array.astype(array.dtype.newbyteorder()),
        "masked": lambda: np.ma.masked_array(array, np.arange(array.size).reshape(array.shape) == 0),
        "list": lambda: array.tolist(),
        "nested tuples": lambda: tuple(array.tolist()),
        "an axis more": lambda: array[..., None],
        "scalar": lambda: array.ravel()[0] if array.size else 0.0,
        "NaN": lambda: np.full(array.shape, math.nan, array.dtype if array.dtype.kind == "f" else float),
        "infinite": lambda: np.full(array.shape, math.inf, array.dtype if array.dtype.kind == "f" else float),
        "read-only": lambda: _read_only(array),
        "reversed in memory": lambda: array[::-1].copy()[::-1],
        "every second": lambda: np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array,
        "tensor": lambda: Tensor(array),
        "tensor of float64": lambda: Tensor(array.astype(np.float64)),
        "read-only tensor": lambda: Tensor(_read_only(array)),
        "tensor elsewhere": lambda: TensorElsewhere(array),
        "memory map": lambda: _mapped(array),
        "bytes": lambda: array.tobytes(),
        "structured": lambda: np.zeros(array.shape, [("a", "f4"), ("b", "f4")]),
    }
    for axis in range(array.ndim):
        found[f"one less along {axis}"] = lambda axis=axis: array.take(range(array.shape[axis] - 1), axis)
        found[f"one more along {axis}"] = lambda axis=axis: np.concatenate([array, array.take([0], axis)], axis)
        found[f"empty along {axis}"] = lambda axis=axis: array.take([], axis)
        found[f"first along {axis}"] = lambda axis=axis: array.take(0, axis)
    if array.ndim > 1:
        found["axes reversed"] = lambda: array.T
    return found


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def _mapped(array):
    """A read-only memory map of a file with the numbers of an array."""
    with tempfile.TemporaryFile() as file:
        file.write(array.tobytes() or b" ")
        file.flush()
        return np.memmap(file, array.dtype, "r", shape=array.shape or (1,)).reshape(array.shape)


def lent(value):
    """The array whose memory a tensor or a map shares; anything else as it is."""
    if type(value) is Tensor:
        return value.array
    return np.asarray(value) if type(value) is np.memmap else value


def plain(value):
    """A number as Python's own, of a bool, NumPy's or Python's; WRONG for anything else."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, np.ndarray):
        return float(value)
    return WRONG


@dataclass(frozen=True)
class Kind:
    """A kind of argument.

    right : function of a hostile value and the valid one; the plain value that it stands for, or WRONG.
    arrays : whether variants of the valid value are tried, too.
    """

    name: str
    right: object
    arrays: bool = False

    def values(self, valid):
        """{label: function that makes it}: every hostile value in the place of `valid`."""
        return SCALARS | (variants(valid) if self.arrays else {})


def _number(low=-math.inf, high=math.inf, strict=False):
    def right(value, valid):
        number = plain(value)
        if isinstance(number, (bool, str)) or number is WRONG:
            return WRONG
        try:
            number = float(number)
        except OverflowError:
            return WRONG
        inside = low < number < high if strict else low <= number < high
        return number if math.isfinite(number) and inside else WRONG

    return right


def _size(least):
    def right(value, valid):
        number = plain(value)
        return number if type(number) is int and number >= least else WRONG

    return right


def _or_none(right):
    return lambda value, valid: None if value is None else right(value, valid)


def _array(value, valid):
    """A layer takes arrays of its own dtype and shape, whatever their strides."""
    value = lent(value)
    if type(value) is not np.ndarray or value.dtype != valid.dtype or value.shape != valid.shape:
        return WRONG
    return np.array(value)


def _steps(value, valid):
    """A layer takes any number of steps, sequences and channels that the other arguments have, too."""
    value = lent(value)
    return np.array(value) if type(value) is np.ndarray and value.dtype == valid.dtype else WRONG


def _read(value):
    """`value` as NumPy reads it; what cannot be read, or would lose a mask, as an array of objects, right nowhere."""
    value = lent(value)
    if not isinstance(value, (np.ma.MaskedArray, bytes, str)):
        try:
            return np.asarray(value)
        except ValueError:  # parts of several lengths
            pass
    return np.array([None])


def _series(value, valid):
    """Whatever stands for real numbers is right, in any number."""
    array = _read(value)
    if array.dtype.kind not in "fiub" or array.ndim not in (valid.ndim - 1, valid.ndim) or not array.ndim:
        return WRONG
    native = array.dtype.newbyteorder("=")
    return array.astype(native if native in (np.float32, np.float64) else float)


def series_or_indices(value, valid):
    """Likewise, but integers stay what they are."""
    array = _series(value, valid)
    return array if array is WRONG or _read(value).dtype.kind not in "iu" else _read(value)


def _floats(value, valid):
    """Any array of as many axes, of numbers that are computed with, is right."""
    value = lent(value)
    if type(value) is not np.ndarray or value.dtype not in (np.float32, np.float64) or value.ndim != np.ndim(valid):
        return WRONG
    return np.array(value)


def _sequences(value, valid):
    """One sequence, (T, C), is as right as several."""
    value = lent(value)
    return _floats(value, value if np.ndim(value) in (2, 3) else valid)


def _samples(value, valid):
    """A network takes what stands for real numbers, of any number of steps and samples, and converts it."""
    array = _series(value, valid)
    return WRONG if array is WRONG else array.astype(valid.dtype)


def _numbers(value, valid):
    """Targets are what stands for real numbers, of the shape of predictions."""
    array = _read(value)
    if array.dtype.kind not in "fiub" or array.shape != valid.shape:
        return WRONG
    return array.astype(valid.dtype)


def _weights(value, valid):
    """Weights are what stands for numbers >= 0, one for each of something."""
    array = _numbers(value, valid)
    return array if array is not WRONG and (np.isfinite(array) & (array >= 0)).all() else WRONG


def _integers(low, high, any_shape=False):
    def right(value, valid):
        array = _read(value)
        if any_shape and not array.size:
            return ANYTHING
        if array.dtype.kind not in "iu" or not (any_shape or array.shape == valid.shape):
            return WRONG
        return array.astype(int) if ((array >= low) & (array <= high)).all() else WRONG

    return right


def only(*numbers):
    """The kind of an integer that must be one of these."""
    return Kind("only", lambda value, valid: plain(value) if type(plain(value)) is int and value in numbers else WRONG)


def one_of(*names):
    """The kind of a name out of some."""
    return Kind("name", lambda value, valid: value if isinstance(value, str) and value in names else WRONG)


def integers(low, high):
    """The kind of an array of integers in a range."""
    return Kind("integers", _integers(low, high), arrays=True)


def indices(high):
    """The kind of an array of integers from 0 on, of any shape."""
    return Kind("indices", _integers(0, high, any_shape=True), arrays=True)


def optional(kind):
    """The same kind, or None."""
    return Kind(f"{kind.name} or None", _or_none(kind.right), kind.arrays)


SIZE = Kind("size", _size(1))
COUNT = Kind("count", _size(0))
FLAG = Kind("flag", lambda value, valid: bool(value) if isinstance(value, (bool, np.bool_)) else WRONG)
RATE = Kind("rate", _number(0, 1))
POSITIVE = Kind("positive number", _number(0, strict=True))
NOT_NEGATIVE = Kind("number of at least 0", _number(0))
SEED = Kind("seed", lambda value, valid: ANYTHING if value is None else _size(0)(value, valid))
ARRAY = Kind("array", _array, arrays=True)
STEPS = Kind("steps", _steps, arrays=True)
SAMPLES = Kind("samples", _samples, arrays=True)
SERIES = Kind("series", _series, arrays=True)
SEQUENCES = Kind("sequences", _sequences, arrays=True)
FLOATS = Kind("floats", _floats, arrays=True)
INTEGER = Kind("integer", lambda value, valid: plain(value) if type(plain(value)) is int else WRONG)
TEXT = Kind("text", lambda value, valid: value if isinstance(value, str) else WRONG)
NUMBERS = Kind("numbers", _numbers, arrays=True)
WEIGHTS = Kind("weights", _weights, arrays=True)
NOTHING_ELSE = Kind("nothing else", lambda value, valid: WRONG)
