"""Samples and their targets, checked to belong together, and batches of them."""

from dataclasses import dataclass, replace

import numpy as np

from ..arrays.batch import Batch
from ..arrays.conversion import array_of, numbers_like
from ..arrays.descriptor import checked_array
from ..arrays.devices import native
from ..arrays.indices import checked_integers, index_axes
from ..arrays.packing import Uniform, checked_lengths
from ..arrays.ragged import Ragged
from ..errors import NonFiniteError, ShapeError
from .losses import no_probability, takes_labels
from .sequences import Sequences, other_layout, placed


@dataclass(frozen=True)
class Samples:
    """Inputs and targets in the layouts of a network.

    Attributes
    ----------
    x, y : Sequences
    lengths : numpy.ndarray or None
        (N,): the steps of each sample in a padded x.
    layout : str
        The letters of the network's input.
    indices : bool
        Whether x are integers, for an embedding.
    classes : int or None
        Where y are labels, how many there are.
    ignore_index : int or None
        A label that counts nothing.
    stepwise : bool
        Whether these are samples of equal length out of ragged ones, whose loss sees rows.
    """

    x: Sequences
    y: Sequences
    lengths: np.ndarray | None
    layout: str
    indices: bool = False
    classes: int | None = None
    ignore_index: int | None = None
    stepwise: bool = False
    device: str = "cpu"

    @classmethod
    def of(cls, network, x, y, lengths=None, loss=None):
        """Samples and targets of a network; raises a typed error that names the argument that does not fit.

        Both are converted here, once, see `conversion`.  One sequence, (T, C), becomes a batch of one; of a network that has
        nothing but layers that take each step by itself the rows (N, C) are as many samples of one step.
        """
        x = network._here("x", network._read("x", x))
        batch, _ = network._described(x, lengths)
        letters, x_letters = network.output_layout, network.layout
        if network.takes_indices and not batch.ragged:
            x_letters = index_axes("x", x_letters, x)
        own, given = "", letters  # of x and y as the caller has them
        if not batch.ragged and "n" not in batch.layout:
            own, given = x_letters if network.takes_indices else batch.layout, given.replace("n", "")
            if network._stepwise and lengths is None:
                own, given = (each.replace("t", "n") for each in (own, given))
            x_letters = network.layout.replace("c", "") if network.takes_indices else network.layout
            x = placed(x, own, x_letters)
            batch, _ = network._described(x, lengths)
        for count, what in ((batch.sequences, "sample"), (batch.steps, "step")):
            if not count and not (what == "step" and isinstance(x, Ragged)):  # empty sequences have a last state
                raise ShapeError(f"x: expected at least one {what} to take the loss of, got {getattr(x, 'shape', x)}")
        if lengths is not None:
            lengths = checked_lengths(lengths, batch.sequences, batch.steps)
        x = Sequences(x, x_letters, own or x_letters)
        samples = cls(x, None, lengths, network.layout, network.takes_indices, device=network.device)
        return samples._with_targets(network, y, letters, given, loss, batch)

    def _with_targets(self, network, y, letters, given, loss, batch):
        """The samples with y as a loss reads it: labels, integers, or numbers of the network's dtype.

        The shape decides what integers are: labels, without a channel axis, of a loss that takes these; else numbers.
        """
        y, dtype, channels = native(y), network.dtype, network.output_channels
        whose = "" if given == letters else ", as x has no batch axis"
        stepwise = batch.ragged and "t" in letters
        if stepwise and not isinstance(y, Ragged):
            raise TypeError(f"y: expected a Ragged like x, got {type(y).__name__}")
        if not isinstance(y, Ragged):
            y = array_of("y", y)
            if y.dtype == bool and y.ndim < len(given):
                y = y.astype(np.uint8)
        labels = takes_labels(loss, y)
        if labels and not isinstance(y, Ragged) and y.dtype.kind in "iu" and y.ndim == len(given):
            labels = takes_labels(loss, numbers_like("y", y, dtype))
        if labels:
            letters, given = letters.replace("c", ""), given.replace("c", "")
        if not stepwise:
            if labels:
                checked_integers("y", y)
            elif isinstance(y, Ragged):
                checked_array("y", y)
            y = placed(_checked_axes(y, given, channels, loss, whose), given, letters)
            self._check_lengths_of(y, letters, channels, loss, batch)
        if labels:
            y, classes = Sequences(y, letters, given), loss.classes(channels)
            samples = replace(self, y=y, classes=classes, ignore_index=loss.ignore_index)
            samples.labels(batch)
            return samples
        if not isinstance(y, Ragged):
            y = numbers_like("y", y, dtype)
        elif y.dtype.kind == "f":
            y = y if y.dtype == dtype else Ragged(numbers_like("y", y.data, dtype), y.offsets)
        y = network._here("y", y)
        if stepwise:
            batch.describe("y", y, channels, dtype)
        return replace(self, y=Sequences(y, letters, given))

    def _check_lengths_of(self, y, letters, channels, loss, batch):
        """Raise ShapeError, with what would fit, unless y has the samples and steps of x, and the output's channels."""
        expected = {"n": batch.sequences, "c": channels, "t": batch.steps}
        for letter, what in (("n", "samples like x"), ("c", "channels"), ("t", "steps like x")):
            found = y.shape[letters.index(letter)] if letter in letters else None
            if found in (None, expected[letter]):
                continue
            hint = _advice(y, letters, channels, loss) if letter == "c" else ""
            if letter == "n" and not self.x.ragged and len(self.x.letters) == 3:
                shape = self.x.array.shape
                fits = other_layout(shape, self.x.letters, n=found, c=shape[self.x.letters.index("c")])
                hint = fits.replace("its shape", f"the shape of x, {shape},")
            raise ShapeError(f"y: expected {expected[letter]} {what}, got {found} (shape {y.shape}, axes {letters}){hint}")

    @property
    def ragged(self):
        """Whether lengths differ from sample to sample."""
        return self.lengths is not None or self.x.ragged

    @property
    def in_rows(self):
        """Whether a loss sees (rows, channels), of the steps that there are, and not an array in the network's layout."""
        return self.classes is not None or self.stepwise or (self.ragged and self.y.stepped)

    @property
    def steps(self):
        """What the loss of each sample is the mean of: (N,) integers.

        Its labels where some are ignored, its steps where these differ, else 1.
        """
        if self.classes is not None and self.ignore_index is not None:
            batch = self.batch()[0]
            counts = self.labels(batch) >= 0
            if not self.y.stepped:
                return counts.astype(np.int64)
            return np.bincount(batch.packing.places[1], counts, batch.sequences).astype(np.int64)
        return self.lengths_of_x if self.ragged and self.y.stepped else np.ones(self.x.count, np.int64)

    def check_counted(self):
        """Raise ValueError unless there is anything to take the loss of."""
        if self.y.stepped and not self.lengths_of_x.any():
            raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
        if not self.steps.any():
            expected = f"at least one label besides ignore_index={self.ignore_index}"
            raise ValueError(f"y: expected {expected}, got none: all are ignored")

    def check_finite(self, argument):
        """Raise NonFiniteError, with its place, of the first NaN or infinity in "x" or "y" that is not behind a length."""
        place, number = getattr(self, argument).not_finite(self.lengths)
        if place:
            expected = "finite numbers" if argument == "x" else "finite targets"
            raise NonFiniteError(f"{argument}: expected {expected}, got {number} at {place}")

    def check_probabilities(self):
        """Raise ValueError, with its place, of the first number in y that is not from 0 to 1 and not behind a length."""
        place, number = self.y.first(no_probability, self.lengths)
        if place:
            raise ValueError(f"y: expected probabilities from 0 to 1, got {number} at {place}")

    @property
    def lengths_of_x(self):
        """(N,): the steps of each sample."""
        return self.x.lengths if self.lengths is None else self.lengths

    def take(self, chosen):
        """Some of the samples, copied."""
        lengths = None if self.lengths is None else self.lengths[chosen]
        return replace(self, x=self.x.take(chosen), y=self.y.take(chosen), lengths=lengths)

    def pieces(self, most_rows):
        """Some of the samples each, in order, with about so many steps in all, or a single sample."""
        count = min(-(-int(self.lengths_of_x.sum()) // most_rows), self.x.count)
        return [self] if count < 2 else [self.take(chosen) for chosen in np.array_split(np.arange(self.x.count), count)]

    def batch(self):
        """(Batch, descriptor of x)."""
        if not self.indices:
            return Batch.of(self.x.array, self.layout, self.lengths)
        batch, described = Batch.of_indices(self.x.array, self.layout, self.lengths)
        return replace(batch, device=self.device), described

    def labels(self, batch):
        """The labels of a Batch as a loss sees them, (rows,) of int64, -1 for those that are ignored."""
        if not self.y.stepped:
            batch = Batch(1, self.x.count, Uniform(1, self.x.count), "n", batch.device)
        return batch.describe_indices("y", self.y.array).checked("y", "labels", self.classes, self.ignore_index)


def _checked_axes(y, letters, channels, loss, whose):
    """y, if it has one axis for each letter; else a ShapeError that advises what to do."""
    if y.ndim != len(letters):
        hint = _advice(y, letters, channels, loss)
        expected = (f"{len(letters)} axes ({letters})" if letters else "one label, without axes") + whose
        raise ShapeError(f"y: expected {expected}, got {y.ndim} (shape {y.shape}){hint}")
    return y


def _advice(y, letters, channels, loss):
    """What an error says of targets that look like labels or lack the channel axis."""
    parts = []
    if y.ndim == len(letters) - 1 and "c" in letters and channels == 1:
        parts.append(f"y[{', '.join('None' if letter == 'c' else ':' for letter in letters)}] has a channel axis")
    if y.dtype.kind in "iu" and not takes_labels(loss, y):
        name = "binary_cross_entropy" if channels == 1 else "cross_entropy"
        parts.append(f'labels, integers without a channel axis, go with loss="{name}"')
    return "".join(f"; {part}" for part in parts)
