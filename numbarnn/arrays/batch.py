"""The steps and sequences of one call, and how the caller's arrays of them lie."""

from dataclasses import dataclass

import numpy as np

from ..errors import DeviceError, DTypeError, LayoutError, ShapeError
from .descriptor import TensorDescriptor, in_layout
from .devices import backend, device_of, native
from .indices import Indices, checked_integers, index_axes, with_channels
from .packing import Packing, Uniform, packing_of
from .ragged import Ragged, is_integers
from .rows import copy_rows


@dataclass(frozen=True)
class Batch:
    """The steps and sequences of one call, and how the caller's arrays of them lie.

    Attributes
    ----------
    steps, sequences : int
        T, N.
    packing : Packing or Uniform
    layout : str
        The letters of the axes of a padded array.
    device : str
        Where x lies.
    """

    steps: int
    sequences: int
    packing: Packing | Uniform
    layout: str
    device: str = "cpu"

    ragged = False  # whether x is a Ragged

    @classmethod
    def of(cls, x, layout, lengths=None, reset=None):
        """(Batch, descriptor of x) for the arguments of a call."""
        if isinstance(x, Ragged):
            if is_integers(x.data):
                raise DTypeError(f"x: expected a Ragged of float32 or float64, got {x.dtype}")
            batch = RaggedBatch.around(x, layout, lengths=lengths, reset=reset)
            return batch, batch.rows(x.data)
        described = TensorDescriptor.of(x if type(x) is np.ndarray else native("x", x), layout, "x")
        packing = described.packing
        if lengths is not None or reset is not None or not packing.rows:
            packing = _packing(x, described, described.layout, layout, lengths, reset)
        batch = cls(described.steps, described.batch, packing, described.layout, device_of(described.array))
        return batch, described if packing.uniform else described.packed(packing)

    @classmethod
    def of_indices(cls, x, layout, lengths=None, reset=None):
        """(Batch, Indices of x) for the arguments of a call whose x are integers."""
        if isinstance(x, Ragged):
            if not is_integers(x.data):
                raise DTypeError(f"x: expected a Ragged of integers, got {x.dtype}")
            batch = RaggedBatch.around(x, layout, lengths=lengths, reset=reset)
            return batch, Indices(batch.packing, x.data, x.offsets)
        x = checked_integers("x", x)
        letters = index_axes("x", layout, x)
        described = Indices.of(x, letters, "x")
        packing = _packing(x, described, letters, layout, lengths, reset)
        batch = cls(described.steps, described.batch, packing, with_channels(layout, letters))
        return batch, Indices(packing, described.array)

    def describe_indices(self, argument, array):
        """Indices of an array of integers, one for each step of x, laid out like it."""
        return Indices(self.packing, Indices.of(array, self.layout.replace("c", ""), argument).array)

    def describe(self, argument, array, channels, dtype):
        """A descriptor of an array that lies like x, but has other channels."""
        described = TensorDescriptor.of(native(argument, array), self.layout, argument)
        self._expect_device(argument, described.array)
        described.expect(argument, self.steps, self.sequences, channels, dtype)
        return described.packed(self.packing)

    def _expect_device(self, argument, array):
        """Raise DeviceError unless an array lies where x does."""
        if device_of(array) != self.device:
            raise DeviceError(f"{argument}: expected one on device {self.device!r} like x, got one on {device_of(array)!r}")

    def give(self, described):
        """What a descriptor describes, as an array that lies like x; of a uniform batch a view."""
        if self.packing.uniform:
            return in_layout(described.array, self.layout)
        shape = self.steps, self.sequences, described.channels
        padded = backend(self.device).memory.empty(shape, described.dtype)
        copy_rows(described, TensorDescriptor.of_tnc(padded).packed(self.packing), self.packing.ends)
        return in_layout(padded, self.layout)


@dataclass(frozen=True)
class RaggedBatch(Batch):
    """The same of a call whose x is a Ragged, with its offsets."""

    offsets: np.ndarray = None

    ragged = True

    @classmethod
    def around(cls, x, layout, **others):
        """The RaggedBatch of a Ragged; TypeError if an argument besides says how long its sequences are."""
        for name, value in others.items():
            if value is not None:
                raise TypeError(f"{name}: expected None for a Ragged x, which has its own, got {type(value).__name__}")
        _some(len(x), x)
        if len(x.data) != x.offsets[-1]:
            raise ShapeError(f"x: expected {x.offsets[-1]} rows as at first, got {len(x.data)}: data was changed in place")
        lengths, zeros = x.lengths, np.zeros(len(x), np.int64)
        packing = Packing(np.arange(len(x)), zeros, lengths, len(x), int(lengths.max(initial=0)))
        return cls(packing.steps, len(x), packing, layout, x.device, x.offsets)

    def rows(self, data):
        """A descriptor of the data of a Ragged with these offsets."""
        return TensorDescriptor.concatenated(data, self.offsets, self.packing)

    def _data_of(self, argument, array):
        """The data of a Ragged, if it has the offsets of x."""
        if not isinstance(array, Ragged):
            raise TypeError(f"{argument}: expected a Ragged like x, got {type(array).__name__}")
        if not np.array_equal(array.offsets, self.offsets):
            raise ShapeError(f"{argument}: expected the offsets of x, got {array!r}")
        return array.data

    def describe_indices(self, argument, array):
        """Indices of a Ragged of integers, one for each step of x."""
        return Indices(self.packing, checked_integers(argument, self._data_of(argument, array)), self.offsets)

    def describe(self, argument, array, channels, dtype):
        """A descriptor of a Ragged that has the offsets of x, but other channels."""
        data = self._data_of(argument, array)
        if array.channels != channels:
            raise ShapeError(f"{argument}: expected {channels} channels, got {array.channels}")
        if array.dtype != dtype:
            raise DTypeError(f"{argument}: expected {dtype} like the parameters, got {array.dtype}")
        self._expect_device(argument, data)
        return self.rows(data)

    def give(self, described):
        """What a descriptor describes, as a Ragged."""
        data = backend(self.device).memory.empty((int(self.offsets[-1]), described.channels), described.dtype)
        copy_rows(described, self.rows(data))
        return Ragged(data, self.offsets)


def _some(sequences, x):
    """Raise ShapeError if there are none."""
    if not sequences:
        raise ShapeError(f"x: expected at least one sequence, got none ({getattr(x, 'shape', x)})")


def _packing(x, described, letters, layout, lengths, reset=None):
    """The packing of a padded x; ShapeError or LayoutError if it has no sequences, or no steps for what is said of them."""
    _some(described.batch, x)
    if "t" not in letters and (lengths is not None or reset is not None):
        raise LayoutError(f"layout: expected the letters of a sequence, t among them, got {layout!r}")
    return packing_of(described.steps, described.batch, lengths, reset)
