"""The steps and sequences of one call, and how the caller's arrays of them lie."""

from dataclasses import dataclass

import numpy as np

from ..errors import DeviceError, DTypeError, LayoutError, ShapeError
from .descriptor import TensorDescriptor, in_layout
from .devices import device_of, native, target
from .indices import Indices, checked_integers, index_axes, with_channels
from .packing import Packing, Uniform, packing_of
from .ragged import Ragged, is_integers
from .rows import copy_rows


def _some(sequences, x):
    """Raise ShapeError if there are none."""
    if not sequences:
        raise ShapeError(f"x: expected at least one sequence, got none ({getattr(x, 'shape', x)})")


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
    offsets : numpy.ndarray or None
        Those of a `Ragged`.
    device : str
        Where x lies.
    """

    steps: int
    sequences: int
    packing: Packing | Uniform
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
            if is_integers(x.data):
                raise DTypeError(f"x: expected a Ragged of float32 or float64, got {x.dtype}")
            batch = cls._of_ragged(x, layout)
            return batch, TensorDescriptor.concatenated(x.data, x.offsets, batch.packing)
        described = TensorDescriptor.of(x if type(x) is np.ndarray else native(x), layout, "x")
        if not described.batch:
            _some(0, described.array)
        if "t" not in described.layout and (lengths is not None or reset is not None):
            raise LayoutError(f"layout: expected the letters of a sequence, t among them, got {layout!r}")
        packing = packing_of(described.steps, described.batch, lengths, reset)
        batch = cls(described.steps, described.batch, packing, described.layout, device=device_of(described.array))
        return batch, described.packed(packing)

    @classmethod
    def _of_ragged(cls, x, layout):
        """The Batch of a Ragged: each of its sequences is one run from its first step on."""
        _some(len(x), x)
        if len(x.data) != x.offsets[-1]:
            raise ShapeError(f"x: expected {x.offsets[-1]} rows as at first, got {len(x.data)}: data was changed in place")
        lengths, zeros = x.lengths, np.zeros(len(x), np.int64)
        packing = Packing(np.arange(len(x)), zeros, lengths, len(x), int(lengths.max(initial=0)))
        return cls(packing.steps, len(x), packing, layout, x.offsets, x.device)

    @classmethod
    def of_indices(cls, x, layout, lengths=None):
        """(Batch, Indices of x) for the arguments of a call whose x are integers."""
        if isinstance(x, Ragged):
            if lengths is not None:
                raise TypeError(f"lengths: expected None for a Ragged x, which has its own, got {type(lengths).__name__}")
            if not is_integers(x.data):
                raise DTypeError(f"x: expected a Ragged of integers, got {x.dtype}")
            batch = cls._of_ragged(x, layout)
            return batch, Indices(batch.packing, x.data, x.offsets)
        letters = index_axes("x", layout, checked_integers("x", x))
        if "t" not in letters and lengths is not None:
            raise LayoutError(f"layout: expected the letters of a sequence, t among them, got {layout!r}")
        described = Indices.of(x, letters, "x")
        _some(described.batch, x)
        packing = packing_of(described.steps, described.batch, lengths)
        batch = cls(described.steps, described.batch, packing, with_channels(layout, letters))
        return batch, Indices(packing, described.array)

    def describe_indices(self, argument, array):
        """Indices of an array of integers, one for each step of x, laid out like it."""
        if self.offsets is not None:
            self._expect_offsets(argument, array)
            return Indices(self.packing, checked_integers(argument, array.data), self.offsets)
        return Indices(self.packing, Indices.of(array, self.layout.replace("c", ""), argument).array)

    def describe(self, argument, array, channels, dtype):
        """A descriptor of an array that lies like x, but has other channels."""
        if self.offsets is not None:
            self._expect_offsets(argument, array)
            if array.channels != channels:
                raise ShapeError(f"{argument}: expected {channels} channels, got {array.channels}")
            if array.dtype != dtype:
                raise DTypeError(f"{argument}: expected {dtype} like the parameters, got {array.dtype}")
            self._expect_device(argument, array.data)
            return TensorDescriptor.concatenated(array.data, self.offsets, self.packing)
        described = TensorDescriptor.of(native(array), self.layout, argument)
        self._expect_device(argument, described.array)
        described.expect(argument, self.steps, self.sequences, channels, dtype)
        return described.packed(self.packing)

    def _expect_offsets(self, argument, array):
        """Raise unless an array is a Ragged of sequences as long as x's."""
        if not isinstance(array, Ragged):
            raise TypeError(f"{argument}: expected a Ragged like x, got {type(array).__name__}")
        if not np.array_equal(array.offsets, self.offsets):
            raise ShapeError(f"{argument}: expected the offsets of x, got {array!r}")

    def _expect_device(self, argument, array):
        """Raise DeviceError unless an array lies where x does."""
        if device_of(array) != self.device:
            raise DeviceError(f"{argument}: expected one on device {self.device!r} like x, got one on {device_of(array)!r}")

    def give(self, described):
        """What a descriptor describes, as an array that lies like x; of a uniform batch a view."""
        if self.packing.uniform:
            return in_layout(described.array, self.layout)
        empty = target(self.device).memory.empty
        if self.offsets is not None:
            data = empty((int(self.offsets[-1]), described.channels), described.dtype)
            copy_rows(described, TensorDescriptor.concatenated(data, self.offsets, self.packing))
            return Ragged(data, self.offsets)
        padded = empty((self.steps, self.sequences, described.channels), described.dtype)
        copy_rows(described, TensorDescriptor.of_tnc(padded).packed(self.packing), self.packing.ends)
        return in_layout(padded, self.layout)
