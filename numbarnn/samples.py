"""Samples and their targets, checked to belong together, and batches of them."""

from dataclasses import dataclass, replace

import numpy as np

from .descriptor import checked_array
from .errors import DTypeError, ShapeError
from .packing import checked_lengths
from .ragged import Batch, Ragged


@dataclass(frozen=True)
class Samples:
    """Inputs and targets in the layouts of a network.

    Attributes
    ----------
    x, y : numpy.ndarray or Ragged
    lengths : numpy.ndarray or None
        (N,): the steps of each sample in a padded x.
    layout, output_layout : str
        The letters of the axes of a padded x, and of y.
    stepwise : bool
        Whether these are samples of equal length out of ragged ones, whose loss sees rows.
    """

    x: np.ndarray | Ragged
    y: np.ndarray | Ragged
    lengths: np.ndarray | None
    layout: str
    output_layout: str
    stepwise: bool = False

    @classmethod
    def of(cls, network, x, y, lengths=None):
        """Samples and targets of a network; raises a typed error that names the argument that does not fit."""
        batch, described = network.described(x, lengths)
        if batch.offsets is None and "n" not in batch.layout:
            raise ShapeError(f"x: expected 3 axes ({network.layout}), got {x.ndim} (shape {x.shape})")
        letters, channels = network.output_layout, network.output_channels
        if batch.offsets is not None and "t" in letters:
            batch.describe("y", y, channels, network.dtype)
        else:
            _check_targets(y, letters, batch, channels, network.dtype)
        if lengths is not None:
            lengths = checked_lengths(lengths, batch.sequences, batch.steps)
        return cls(x, y, lengths, network.layout, letters)

    @property
    def ragged(self):
        """Whether lengths differ from sample to sample."""
        return self.lengths is not None or isinstance(self.x, Ragged)

    @property
    def in_rows(self):
        """Whether a loss sees the steps that there are, (rows, channels), and not an array in the network's layout."""
        return self.stepwise or (self.ragged and "t" in self.output_layout)

    @property
    def count(self):
        """How many samples there are."""
        return len(self.x) if isinstance(self.x, Ragged) else self.x.shape[self.layout.index("n")]

    @property
    def steps(self):
        """The steps of each sample that its loss is the mean of: (N,) integers, 1 where `Last` has left one."""
        if not self.in_rows:
            return np.ones(self.count, np.int64)
        return self.x.lengths if self.lengths is None else self.lengths

    @property
    def own_steps(self):
        """(N,): the steps of each sample; None where all have all of x's."""
        return self.x.lengths if isinstance(self.x, Ragged) else self.lengths

    def take(self, chosen):
        """Some of the samples, copied."""
        x, y = (
            array.take(chosen) if isinstance(array, Ragged) else array.take(chosen, letters.index("n"))
            for array, letters in ((self.x, self.layout), (self.y, self.output_layout))
        )
        return replace(self, x=x, y=y, lengths=None if self.lengths is None else self.lengths[chosen])

    def batch(self):
        """(Batch, descriptor of x)."""
        return Batch.of(self.x, self.layout, self.lengths)


class Room:
    """Memory for batches of so many samples that all have so many steps: x lies in one place.

    Parameters
    ----------
    samples : Samples
    count, steps : int
    """

    def __init__(self, samples, count, steps):
        layout = "tnc" if isinstance(samples.x, Ragged) else samples.layout
        self._x, self._y = _Part(samples.x, layout, steps), _Part(samples.y, samples.output_layout, steps)
        shape = self._x.shape(count)
        self._fixed = Samples(np.empty(shape, samples.x.dtype), None, None, layout, samples.output_layout, samples.in_rows)

    @property
    def nbytes(self):
        """Bytes of x."""
        return self._fixed.x.nbytes

    def take(self, chosen):
        """Some of the samples, whose lengths must be those of the room: x is overwritten by the next call."""
        self._x.take(chosen, self._fixed.x)
        fixed = self._fixed
        return Samples(fixed.x, self._y.take(chosen), None, fixed.layout, fixed.output_layout, fixed.stepwise)


class _Part:
    """The first steps of every sample in an array or a Ragged."""

    def __init__(self, array, layout, steps):
        self.ragged, self.steps = isinstance(array, Ragged), steps
        if self.ragged:
            self.array, self.starts, self.within = array.data, array.offsets[:-1], np.arange(steps)[:, None]
        else:
            self.array = array[tuple(slice(steps if letter == "t" else None) for letter in layout)]
            self.axis = layout.index("n")

    def shape(self, count):
        """That of so many samples."""
        if self.ragged:
            return self.steps, count, self.array.shape[1]
        return (*self.array.shape[: self.axis], count, *self.array.shape[self.axis + 1 :])

    def take(self, chosen, out=None):
        """Some of the samples; (T, N, C) out of a Ragged."""
        where, axis = (self.starts[chosen] + self.within, 0) if self.ragged else (chosen, self.axis)
        return self.array.take(where, axis, out, "clip")  # any other mode copies twice


def _check_targets(y, letters, batch, channels, dtype):
    checked_array("y", y)
    if y.ndim != len(letters):
        raise ShapeError(f"y: expected {len(letters)} axes ({letters}), got {y.ndim} (shape {y.shape})")
    if y.dtype != dtype:
        raise DTypeError(f"y: expected {dtype} like the network, got {y.dtype}")
    expected = {"n": batch.sequences, "c": channels, "t": batch.steps}
    for letter, what in (("n", "samples like x"), ("c", "channels"), ("t", "steps like x")):
        if letter in letters and y.shape[letters.index(letter)] != expected[letter]:
            found = y.shape[letters.index(letter)]
            raise ShapeError(f"y: expected {expected[letter]} {what}, got {found} (shape {y.shape}, axes {letters})")
