"""Arithmetic of the numbers of `Ragged`, step by step: with a number, one for each channel, or another Ragged."""

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..errors import DTypeError, ShapeError, plain
from .descriptor import DTYPES, is_on_device


class Arithmetic(NDArrayOperatorsMixin):
    """What NumPy's functions and operators do with a class that has `data` and `offsets`."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        if method != "__call__" or ufunc.nout != 1 or options:
            asked = "" if method == "__call__" else f".{method}"
            raise TypeError(f"{ufunc.__name__}{asked}: expected an array, got {self!r}; its numbers are in .data")
        like = next(each for each in (*inputs, *out) if isinstance(each, Arithmetic))
        numbers = [_operand(ufunc, each, like) for each in inputs]
        if out:
            if not isinstance(out[0], Arithmetic):
                raise TypeError(f"out: expected a Ragged, got {type(out[0]).__name__}")
            ufunc(*numbers, out=(_operand(ufunc, out[0], like),))
            return out[0]
        found = ufunc(*numbers)
        kinds = "iu" if like.data.ndim == 1 else "f"
        if found.dtype.kind not in kinds or (kinds == "f" and found.dtype not in DTYPES):
            expected = "integers" if kinds == "iu" else "float32 or float64"
            raise DTypeError(f"{ufunc.__name__}: expected a result of {expected} for a Ragged, got {found.dtype}; use .data")
        return type(like)(found, like.offsets)

    def __array__(self, dtype=None, copy=None):
        raise TypeError(f"expected an array, got {self!r}: .data has the rows of all sequences, .padded() makes one array")

    def __eq__(self, other):
        if not isinstance(other, Arithmetic):
            return NotImplemented
        same = self.data.shape == other.data.shape and self.data.dtype == other.data.dtype and self.device == other.device
        return same and np.array_equal(self.offsets, other.offsets) and bool((self.data == other.data).all())

    def __ne__(self, other):
        same = self.__eq__(other)
        return same if same is NotImplemented else not same

    __hash__ = None


def _operand(ufunc, value, like):
    """What a ufunc of `data` takes for one of its arguments."""
    if isinstance(value, Arithmetic):
        if value.data.shape != like.data.shape or not np.array_equal(value.offsets, like.offsets):
            raise ShapeError(f"{ufunc.__name__}: expected a Ragged of the lengths and channels of {like!r}, got {value!r}")
        return value.data
    value = plain(ufunc.__name__, value, "an array of numbers")
    array = value if is_on_device(value) or isinstance(value, (bool, int, float)) else np.asarray(value)
    if np.ndim(array) and (array.ndim != 1 or like.data.ndim == 1 or len(array) != like.data.shape[1]):
        channels = "" if like.data.ndim == 1 else f", an array of shape {like.data.shape[1:]}, one for each channel,"
        raise ShapeError(
            f"{ufunc.__name__}: expected a number{channels} or a Ragged of the same lengths, got shape {array.shape}"
        )
    kind = getattr(getattr(array, "dtype", None), "kind", "f")
    if kind not in "biuf":
        raise DTypeError(f"{ufunc.__name__}: expected numbers, got {array.dtype}")
    return array
