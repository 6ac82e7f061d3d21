"""Samples and their targets, checked to belong together, and batches of them."""

from dataclasses import dataclass

import numpy as np

from .descriptor import checked_array
from .errors import DTypeError, ShapeError
from .packing import checked_lengths
from .ragged import Batch, Ragged
from .targets import target_of


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
    """

    x: np.ndarray | Ragged
    y: np.ndarray | Ragged
    lengths: np.ndarray | None
    layout: str
    output_layout: str

    @classmethod
    def of(cls, network, x, y, lengths=None):
        """Samples and targets of a network; raises a typed error that names the argument that does not fit."""
        x, y = network.here("x", x), network.here("y", y)
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
        return self.ragged and "t" in self.output_layout

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

    def room(self, count):
        """An array for a batch of so many samples; None where they are Ragged."""
        if isinstance(self.x, Ragged):
            return None
        shape = tuple(count if letter == "n" else length for letter, length in zip(self.layout, self.x.shape))
        return target_of(self.x).memory.empty(shape, self.x.dtype)

    def take(self, chosen, room):
        """Some of the samples, x copied into what `room` made (is modified)."""
        if room is None:
            x = self.x.take(chosen)
        else:
            x = self.x.take(chosen, self.layout.index("n"), out=room, mode="clip")  # any other mode copies twice
        y = self.y.take(chosen) if isinstance(self.y, Ragged) else self.y.take(chosen, self.output_layout.index("n"))
        return Samples(x, y, None if self.lengths is None else self.lengths[chosen], self.layout, self.output_layout)

    def batch(self):
        """(Batch, descriptor of x)."""
        return Batch.of(self.x, self.layout, self.lengths)


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
