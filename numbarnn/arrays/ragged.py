"""Sequences of different lengths, one after the other in one array."""

from collections.abc import Iterable

import numpy as np

from ..descriptions.fields import Settled
from ..errors import (
    DeviceError,
    DTypeError,
    IndexRangeError,
    ShapeError,
    integer,
    known_name,
    plain,
    positive_integer,
    real,
    several,
)
from .conversion import array_of, common_names, numbers_like
from .descriptor import checked_array, checked_dtype
from .devices import backend, device_of, moved, native
from .indices import checked_integers
from .ragged_arithmetic import Arithmetic
from .tensors import host_array


class Ragged(Settled, Arithmetic):
    """Sequences of different lengths, one after the other in one array.

    Layers and networks take it in the place of a padded array, and return outputs and gradients likewise.

    ``r[n]`` is sequence n; ``r[2:5]``, ``r[[4, 0]]`` and ``r[mask]`` are some of the sequences.  Operators and NumPy's
    functions (``r * 2``, ``(r - mean) / spread``, ``np.tanh(r)``) take each step by itself, together with a number, an
    array (C,) or another Ragged of the same lengths; dtypes follow NumPy's rules.  Two are equal, ``==``, if they have the
    same lengths, dtype and numbers.

    Parameters
    ----------
    data : numpy.ndarray, or an array on a GPU
        (sum T, C), float32 or float64; or (sum T,) integers, for `Embedding` or as labels, which lie in the host's memory;
        it is kept, not copied.
    offsets : array of int
        (N + 1,): sequence n is ``data[offsets[n] : offsets[n + 1]]``; from 0 to sum T, never falling.

    Raises
    ------
    TypeError, DTypeError, ShapeError, LayoutError, ValueError
        Named after the argument that is not as described.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> x = nr.Ragged.of([np.zeros((5, 3)), np.ones((2, 3))])
    >>> x
    Ragged(2 sequences of 2 to 5 steps, 3 channels, float64)
    >>> x[1].shape, x.lengths
    ((2, 3), array([5, 2]))
    >>> layer = nr.GRU(4)
    >>> y, state = layer(layer.init(3, dtype="float64"), x)
    >>> y[1].shape, state.shape
    ((2, 4), (1, 2, 4))
    >>> nr.Ragged.of([np.array([4, 8, 15]), np.array([16])])
    Ragged(2 sequences of 1 to 3 steps, int64)
    """

    settled = ("data", "offsets")

    def __init__(self, data: np.ndarray, offsets):
        data = native("data", data)
        if is_integers(data):
            checked_integers("data", data)
            if data.ndim != 1:
                found = f"{data.dtype} of shape {data.shape}"
                raise DTypeError(f"data: expected float32 or float64 (sum T, C), or integers (sum T,), got {found}")
        elif checked_array("data", data).ndim != 2 or data.shape[1] == 0:
            raise ShapeError(f"data: expected 2 axes (sum T, C), got shape {data.shape}")
        offsets = np.asarray(plain("offsets", host_array("offsets", offsets), "an array of integers"))
        if offsets.dtype.kind not in "iu":
            raise DTypeError(f"offsets: expected integers, got {offsets.dtype}")
        if offsets.ndim != 1 or not len(offsets):
            raise ShapeError(f"offsets: expected a vector of N + 1 numbers, got shape {offsets.shape}")
        offsets = offsets.astype(np.int64)
        if offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) < 0).any():
            expected = f"numbers that never fall, from 0 to {len(data)} (the rows of data)"
            raise ValueError(f"offsets: expected {expected}, got {offsets.tolist()[:8]}")
        offsets.flags.writeable = False  # kernels read where they point to
        self.data, self.offsets = data, offsets

    def __reduce__(self):
        return type(self), (self.data, self.offsets)

    @classmethod
    def of(cls, arrays: Iterable[np.ndarray]) -> "Ragged":
        """The sequences of a list of (T_n, C) arrays or DataFrames, or of (T_n,) arrays of integers, copied into one."""
        tables = several("arrays", arrays, "arrays in a list, one for each sequence")
        arrays = [_array_or_table(f"arrays[{n}]", array) for n, array in enumerate(tables)]
        if not arrays:
            raise ValueError("arrays: expected at least one sequence, got none")
        integers = is_integers(arrays[0])
        for n, array in enumerate(arrays):
            (checked_integers if integers else checked_array)(f"arrays[{n}]", array)
            if device_of(array) != device_of(arrays[0]):
                first, found = device_of(arrays[0]), device_of(array)
                raise DeviceError(f"arrays[{n}]: expected one on {first!r} like the first, got one on {found!r}")
            if integers:
                if array.ndim != 1:
                    found = f"{array.dtype} of shape {array.shape}"
                    raise DTypeError(f"arrays[{n}]: expected float32 or float64 (T, C), or integers (T,), got {found}")
            elif array.ndim != 2 or array.shape[1] != arrays[0].shape[1]:
                channels = arrays[0].shape[1] if n else "C"
                raise ShapeError(f"arrays[{n}]: expected shape (T, {channels}), got {array.shape}")
            if array.dtype != arrays[0].dtype:
                raise DTypeError(f"arrays[{n}]: expected {arrays[0].dtype} like the first, got {array.dtype}")
        common_names("arrays", tables)
        return cls(np.concatenate(arrays), np.cumsum([0, *map(len, arrays)]))

    @property
    def lengths(self) -> np.ndarray:
        """(N,): the steps of each sequence."""
        return np.diff(self.offsets)

    @property
    def channels(self) -> int:
        """C; 1 of integers."""
        return 1 if self.data.ndim == 1 else self.data.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """float32, float64 or one of integers."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda"``: where the data lie."""
        return device_of(self.data)

    def to(self, device: str) -> "Ragged":
        """The same sequences on ``"cpu"`` or ``"cuda"``: a copy, or this one if it is there."""
        backend(device)
        return self if device == self.device else Ragged(moved(self.data, device), self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, which):
        """A sequence, or a Ragged of some of them.

        Parameters
        ----------
        which : int, slice, array of int, or array of bool
            An integer gives the (T_n, C) view of that sequence, (T_n,) of integers; all else a Ragged: a slice without a
            step shares the memory, an array of indices or a mask (N,) copies.

        Raises
        ------
        IndexRangeError, ShapeError, DTypeError, TypeError, ValueError
            If there is no such sequence, or none is left.
        """
        if isinstance(which, (int, np.integer)) and not isinstance(which, bool):
            if not -len(self) <= which < len(self):
                raise IndexRangeError(f"sequence: expected an index from 0 to {len(self) - 1}, got {which}")
            n = int(which) % len(self)
            return self.data[self.offsets[n] : self.offsets[n + 1]]
        if isinstance(which, slice) and which.step in (None, 1):
            first, end, _ = which.indices(len(self))
            if end <= first:
                raise ValueError(f"sequences: expected at least one of {len(self)}, got none of {which}")
            return self._part(first, end)
        return self.take(which)

    def __iter__(self):
        return (self[n] for n in range(len(self)))

    def _part(self, first, end):
        """The sequences from `first` to the one before `end`, a view."""
        offsets = self.offsets[first : end + 1]
        return Ragged(self.data[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, sequences) -> "Ragged":
        """Some of the sequences, copied: ``r[sequences]`` of an array of indices or a mask."""
        return self._take(chosen_of("sequences", sequences, len(self), "; sequence n at step t is r[n][t]"))

    def _take(self, sequences):
        lengths = self.lengths[sequences]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][sequences] - offsets[:-1], lengths)
        return Ragged(self.data[rows], offsets)

    def astype(self, dtype) -> "Ragged":
        """A copy in another dtype: of floats float32 or float64, of integers another one of integers.

        Raises
        ------
        DTypeError
            Of any other dtype.
        ValueError
            If a number does not fit.
        """
        if self.data.ndim == 2:
            return Ragged(numbers_like("data", self.data, checked_dtype("dtype", dtype)).copy(), self.offsets)
        try:
            wanted = np.dtype(dtype)
        except TypeError:
            wanted = None
        if wanted is None or wanted.kind not in "iu":
            raise DTypeError(f"dtype: expected one of integers, like {self.dtype}, got {dtype}")
        info, found = np.iinfo(wanted), self.data
        if len(found) and not (info.min <= int(found.min()) and int(found.max()) <= info.max):
            raise ValueError(f"data: expected integers from {info.min} to {info.max} ({wanted}), got some that are not")
        return Ragged(found.astype(wanted), self.offsets)

    def padded(self, fill: float = 0, steps: int | None = None, at: str = "end") -> np.ndarray:
        """One array (T, N, C), of integers (T, N): what is behind a sequence is `fill`.

        Layers need no padding: they take a Ragged, or an array with ``lengths``, which are ``r.lengths`` here.

        Parameters
        ----------
        fill : float
            NaN and infinities too; of integers an integer of their dtype.
        steps : int, optional
            T; the length of the longest sequence if None.  Longer sequences are cut.
        at : {"end", "start"}
            Where sequences are padded, and where longer ones are cut: ``"start"`` keeps their last steps.

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> r = nr.Ragged.of([np.ones((3, 1)), np.ones((1, 1))])
        >>> r.padded(np.nan)[..., 0].T
        array([[ 1.,  1.,  1.],
               [ 1., nan, nan]])
        """
        steps = int(self.lengths.max(initial=0)) if steps is None else positive_integer("steps", steps)
        return self._padded("fill", fill, steps, at)

    def _padded(self, argument, fill, steps, at):
        """`padded` without the default of steps; argument: what errors call `fill`."""
        if self.device != "cpu":
            raise DeviceError(f'padded: expected a Ragged on device "cpu", got one on {self.device!r}; use .to("cpu")')
        known_name("at", at, ("start", "end"))
        if self.data.ndim == 1:
            info = np.iinfo(self.dtype)
            if not info.min <= integer(argument, fill) <= info.max:
                expected = f"an integer from {info.min} to {info.max} ({self.dtype})"
                raise ValueError(f"{argument}: expected {expected}, got {fill!r}")
        else:
            fill = numbers_like(argument, real(argument, fill), self.dtype)[()]
        lengths, step = np.minimum(self.lengths, steps), np.arange(steps)[:, None]
        if at == "start":
            there, place = step >= steps - lengths, self.offsets[1:] - steps + step
        else:
            there, place = step < lengths, self.offsets[:-1] + step
        result = np.full((steps, len(self), *self.data.shape[1:]), fill, self.dtype)
        result[there] = self.data[place[there]]
        return result

    def __repr__(self):
        lengths = self.lengths
        channels = "" if self.data.ndim == 1 else f"{self.channels} channels, "
        steps = f"{lengths.min(initial=lengths.max(initial=0))} to {lengths.max(initial=0)} steps, {channels}{self.dtype}"
        return f"Ragged({len(self)} sequence{'' if len(self) == 1 else 's'} of {steps})"


def _array_or_table(argument, value):
    """An array, of a tensor or of a table too; anything else as it is."""
    value = native(argument, value)
    return array_of(argument, value, "tc") if hasattr(value, "to_numpy") else value


def chosen_of(argument, which, count, hint=""):
    """The indices among so many that a slice, an array of integers or a mask stands for, one or more; else a typed error."""
    if isinstance(which, slice):
        chosen = np.arange(count)[which]
    elif isinstance(which, (tuple, str, bytes)) or which is None or which is Ellipsis or np.ndim(which) == 0:
        expected = "an integer, a slice, an array of integers or a mask"
        raise TypeError(f"{argument}: expected {expected}, got {which!r}{hint}")
    else:
        which = plain(argument, which, "an array of integers or a mask")
        chosen = np.asarray(which, None if len(which) else np.int64)
        if chosen.ndim != 1 or (chosen.dtype == bool and len(chosen) != count):
            expected = f"({count},)" if chosen.dtype == bool else "(K,)"
            raise ShapeError(f"{argument}: expected shape {expected}, got {chosen.shape}")
        if chosen.dtype.kind not in "biu":
            raise DTypeError(f"{argument}: expected integers or True and False, got {chosen.dtype}")
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        wrong = (chosen < -count) | (chosen >= count)
        if wrong.any():
            raise IndexRangeError(f"{argument}: expected indices from 0 to {count - 1}, got {chosen[np.argmax(wrong)]}")
    if not len(chosen):
        raise ValueError(f"{argument}: expected at least one of {count}, got none")
    return chosen


def is_integers(array):
    """Whether this is an array of integers."""
    return isinstance(array, np.ndarray) and array.dtype.kind in "iu"


def joined(parts, layout):
    """The sequences of several Raggeds, or of several arrays in a layout, as one."""
    if not isinstance(parts[0], Ragged):
        return np.concatenate(parts, layout.index("n"))
    ends = np.cumsum([0, *(len(part.data) for part in parts)])
    offsets = [part.offsets[:-1] + end for part, end in zip(parts, ends)]
    return Ragged(np.concatenate([part.data for part in parts]), np.concatenate([*offsets, ends[-1:]]))
