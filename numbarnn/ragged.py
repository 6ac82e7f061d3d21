"""Batches of sequences of different lengths: one after the other, or padded; and how the arrays of a call lie."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from .descriptor import PackedDescriptor, TensorDescriptor, address_of, checked_array, in_layout
from .errors import DeviceError, DTypeError, LayoutError, ShapeError
from .indices import Indices, checked_integers, index_axes, with_channels
from .packing import Packing, packing_of
from .targets import device_of, moved, native, target, target_of


class Ragged:
    """Sequences of different lengths, one after the other in one array.

    Layers and networks take it in the place of a padded array, and return outputs and gradients likewise.

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

    def __init__(self, data: np.ndarray, offsets):
        data = native(data)
        if _is_integers(data):
            checked_integers("data", data)
            if data.ndim != 1:
                found = f"{data.dtype} of shape {data.shape}"
                raise DTypeError(f"data: expected float32 or float64 (sum T, C), or integers (sum T,), got {found}")
        elif checked_array("data", data).ndim != 2 or data.shape[1] == 0:
            raise ShapeError(f"data: expected 2 axes (sum T, C), got shape {data.shape}")
        offsets = np.asarray(offsets)
        if offsets.dtype.kind not in "iu":
            raise DTypeError(f"offsets: expected integers, got {offsets.dtype}")
        if offsets.ndim != 1 or len(offsets) < 2:
            raise ShapeError(f"offsets: expected a vector of N + 1 numbers, N at least 1, got shape {offsets.shape}")
        offsets = offsets.astype(np.int64)
        if offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) < 0).any():
            expected = f"numbers that never fall, from 0 to {len(data)} (the rows of data)"
            raise ValueError(f"offsets: expected {expected}, got {offsets.tolist()[:8]}")
        offsets.flags.writeable = False  # tapes keep them
        self.data, self.offsets = data, offsets

    @classmethod
    def of(cls, arrays: Iterable[np.ndarray]) -> "Ragged":
        """The sequences of a list of (T_n, C) arrays, or of (T_n,) arrays of integers, copied into one."""
        arrays = [native(array) for array in arrays]
        if not arrays:
            raise ValueError("arrays: expected at least one sequence, got none")
        integers = _is_integers(arrays[0])
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
        return self if device == self.device else Ragged(moved(self.data, device), self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, n: int) -> np.ndarray:
        """The (T_n, C) view of sequence n; (T_n,) of integers."""
        if not -len(self) <= n < len(self):
            raise IndexError(f"sequence: expected an index from 0 to {len(self) - 1}, got {n}")
        n = n % len(self)
        return self.data[self.offsets[n] : self.offsets[n + 1]]

    def __iter__(self):
        return (self[n] for n in range(len(self)))

    def part(self, sequences: slice) -> "Ragged":
        """The sequences of a slice without a step, a view."""
        first, end, _ = sequences.indices(len(self))
        offsets = self.offsets[first : end + 1]
        return Ragged(self.data[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, sequences) -> "Ragged":
        """Some of the sequences, copied."""
        lengths = self.lengths[sequences]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][sequences] - offsets[:-1], lengths)
        return Ragged(self.data[rows], offsets)

    def __repr__(self):
        lengths = self.lengths
        channels = "" if self.data.ndim == 1 else f"{self.channels} channels, "
        steps = f"{lengths.min()} to {lengths.max()} steps, {channels}{self.dtype}"
        return f"Ragged({len(self)} sequence{'s' if len(self) > 1 else ''} of {steps})"


def _is_integers(array):
    return isinstance(array, np.ndarray) and array.dtype.kind in "iu"


@dataclass(frozen=True)
class Batch:
    """The steps and sequences of one call, and how the caller's arrays of them lie.

    Attributes
    ----------
    steps, sequences : int
        T, N.
    packing : Packing or None
        None where all sequences are at work at every step.
    layout : str
        The letters of the axes of a padded array.
    offsets : numpy.ndarray or None
        Those of a `Ragged`.
    device : str
        Where x lies.
    """

    steps: int
    sequences: int
    packing: Packing | None
    layout: str
    offsets: np.ndarray | None = None
    device: str = "cpu"

    @classmethod
    def of(cls, x, layout, lengths=None, reset=None):
        """(Batch, descriptor of x) for the arguments of a call."""
        if isinstance(x, Ragged):
            for name, value in (("lengths", lengths), ("reset", reset)):
                if value is not None:
                    raise TypeError(f"{name}: expected None for a Ragged x, which has its own, got {type(value).__name__}")
            if _is_integers(x.data):
                raise DTypeError(f"x: expected a Ragged of float32 or float64, got {x.dtype}")
            batch = cls._of_ragged(x, layout)
            return batch, PackedDescriptor.concatenated(x.data, x.offsets, batch.packing)
        described = TensorDescriptor.of(native(x), layout, "x")
        if "t" not in described.layout and (lengths is not None or reset is not None):
            raise LayoutError(f"layout: expected the letters of a sequence, t among them, got {layout!r}")
        packing = packing_of(described.steps, described.batch, lengths, reset)
        batch = cls(described.steps, described.batch, packing, described.layout, device=device_of(described.array))
        return batch, described if packing is None else PackedDescriptor.padded(described, packing)

    @classmethod
    def _of_ragged(cls, x, layout):
        lengths, zeros = x.lengths, np.zeros(len(x), np.int64)
        packing = Packing(np.arange(len(x)), zeros, lengths, len(x), int(lengths.max()))
        return cls(packing.steps, len(x), packing, layout, x.offsets, x.device)

    @classmethod
    def of_indices(cls, x, layout, lengths=None):
        """(Batch, Indices of x) for the arguments of a call whose x are integers."""
        if isinstance(x, Ragged):
            if lengths is not None:
                raise TypeError(f"lengths: expected None for a Ragged x, which has its own, got {type(lengths).__name__}")
            if not _is_integers(x.data):
                raise DTypeError(f"x: expected a Ragged of integers, got {x.dtype}")
            batch = cls._of_ragged(x, layout)
            return batch, Indices(batch.packing, x.data, x.offsets)
        letters = index_axes("x", layout, checked_integers("x", x))
        if "t" not in letters and lengths is not None:
            raise LayoutError(f"layout: expected the letters of a sequence, t among them, got {layout!r}")
        described = Indices.of(x, letters, "x")
        packing = packing_of(described.steps, described.batch, lengths)
        batch = cls(described.steps, described.batch, packing, with_channels(layout, letters))
        return batch, described if packing is None else Indices(packing, described.array)

    def describe_indices(self, argument, array):
        """Indices of an array of integers, one for each step of x, laid out like it."""
        if self.offsets is not None:
            if not isinstance(array, Ragged):
                raise TypeError(f"{argument}: expected a Ragged like x, got {type(array).__name__}")
            if not np.array_equal(array.offsets, self.offsets):
                raise ShapeError(f"{argument}: expected the offsets of x, got {array!r}")
            return Indices(self.packing, checked_integers(argument, array.data), self.offsets)
        described = Indices.of(array, self.layout.replace("c", ""), argument)
        return described if self.packing is None else Indices(self.packing, described.array)

    def describe(self, argument, array, channels, dtype):
        """A descriptor of an array that lies like x, but has other channels."""
        if self.offsets is not None:
            if not isinstance(array, Ragged):
                raise TypeError(f"{argument}: expected a Ragged like x, got {type(array).__name__}")
            if not np.array_equal(array.offsets, self.offsets):
                raise ShapeError(f"{argument}: expected the offsets of x, got {array!r}")
            if array.channels != channels:
                raise ShapeError(f"{argument}: expected {channels} channels, got {array.channels}")
            if array.dtype != dtype:
                raise DTypeError(f"{argument}: expected {dtype} like the parameters, got {array.dtype}")
            self._expect_device(argument, array.data)
            return PackedDescriptor.concatenated(array.data, self.offsets, self.packing)
        described = TensorDescriptor.of(native(array), self.layout, argument)
        self._expect_device(argument, described.array)
        described.expect(argument, self.steps, self.sequences, channels, dtype)
        return described if self.packing is None else PackedDescriptor.padded(described, self.packing)

    def _expect_device(self, argument, array):
        if device_of(array) != self.device:
            raise DeviceError(f"{argument}: expected one on device {self.device!r} like x, got one on {device_of(array)!r}")

    def give(self, described):
        """What a descriptor describes, as an array that lies like x; of a uniform batch a view."""
        if self.packing is None:
            return in_layout(described.array, self.layout)
        if self.offsets is not None:
            data = target(self.device).memory.empty((int(self.offsets[-1]), described.channels), described.dtype)
            unpack_to(PackedDescriptor.concatenated(data, self.offsets, self.packing), described)
            return Ragged(data, self.offsets)
        padded = target(self.device).memory.empty((self.steps, self.sequences, described.channels), described.dtype)
        unpack_to(PackedDescriptor.padded(TensorDescriptor.of_tnc(padded), self.packing), described, self.packing.ends)
        return in_layout(padded, self.layout)


def joined(parts, layout):
    """The sequences of several Raggeds, or of several arrays in a layout, as one."""
    if not isinstance(parts[0], Ragged):
        return np.concatenate(parts, layout.index("n"))
    ends = np.cumsum([0, *(len(part.data) for part in parts)])
    offsets = [part.offsets[:-1] + end for part, end in zip(parts, ends)]
    return Ragged(np.concatenate([part.data for part in parts]), np.concatenate([*offsets, ends[-1:]]))


def unpack_to(target, source, ends=None):
    """Copy the rows of one PackedDescriptor to another's (is modified), and zeros on to ``ends[run]`` steps of each run."""
    length = source.packing.length
    unpack = target_of(target.array).unpack.unpack
    unpack(source, target, length, length if ends is None else ends, source.channels, source.dtype)


def like(described, channels=None, dtype=None, device=None):
    """A descriptor of new memory for the same steps and sequences, with other channels, dtype or device if given.

    A ragged batch has its rows step by step without a gap, as in `compact`.
    """
    channels, dtype = described.channels if channels is None else channels, dtype or described.dtype
    packing, empty = described.packing, target(device or device_of(described.array)).memory.empty
    if packing.table is None:
        return TensorDescriptor.of_tnc(empty((described.steps, described.batch, channels), dtype))
    rows = empty((packing.rows, channels), dtype)
    return PackedDescriptor.compact(rows, address_of(rows), packing)


def compact(described):
    """The rows of a PackedDescriptor step by step without a gap, (rows, C): a copy unless they lie like that already."""
    if described.is_compact:
        return described.array
    copied = like(described)
    unpack_to(copied, described)
    return copied.array


def numbers(described):
    """What a descriptor describes, in the order of `like`: (T, N, C), or (rows, C) of a ragged batch."""
    return described.tnc if described.packing.table is None else compact(described)


def copy_ends(described, target, first=False):
    """Copy the last row of each sequence of a PackedDescriptor, or its first one, 0 where it has none.

    target: a descriptor, (1, N, C), is modified.
    """
    packing = described.packing
    there = (packing.length[packing.first if first else packing.last] > 0).astype(np.int64)
    target_of(described.array).unpack.unpack(
        PackedDescriptor.ends(described, first), target, there, np.ones_like(there), described.channels, described.dtype
    )


def channels_of(described, channels):
    """A descriptor of some channels, a slice."""
    if described.packing.table is None:
        return TensorDescriptor.of_tnc(described.tnc[..., channels])
    first, end, _ = channels.indices(described.channels)
    return replace(described, channels=end - first, offset=described.offset + first * described.strides[2])
