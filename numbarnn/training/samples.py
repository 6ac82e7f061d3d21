"""Samples and their targets, checked to belong together, and batches of them."""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from ..arrays.conversion import array_of, numbers_like
from ..arrays.descriptor import checked_array
from ..arrays.devices import device_of, moved, native, take, target
from ..arrays.indices import checked_integers, index_axes
from ..arrays.packing import checked_lengths
from ..arrays.ragged import Batch, Ragged
from ..errors import NonFiniteError, ShapeError
from .losses import no_probability, takes_labels


@dataclass(frozen=True)
class Samples:
    """Inputs and targets in the layouts of a network.

    Attributes
    ----------
    x, y : numpy.ndarray or Ragged
    lengths : numpy.ndarray or None
        (N,): the steps of each sample in a padded x.
    layout : str
        The letters of the network's input.
    x_letters, y_letters : str
        The letters of the axes of a padded x, and of y.
    indices : bool
        Whether x are integers, for an embedding.
    classes : int or None
        Where y are labels, how many there are.
    ignore_index : int or None
        A label that counts nothing.
    stepwise : bool
        Whether these are samples of equal length out of ragged ones, whose loss sees rows.
    x_given, y_given : str
        Letters of the axes that the caller's arrays have, in which errors say a place; those of the others if empty.
    """

    x: np.ndarray | Ragged
    y: np.ndarray | Ragged
    lengths: np.ndarray | None
    layout: str
    x_letters: str
    y_letters: str
    indices: bool = False
    classes: int | None = None
    ignore_index: int | None = None
    stepwise: bool = False
    device: str = "cpu"
    x_given: str = ""
    y_given: str = ""

    @classmethod
    def of(cls, network, x, y, lengths=None, loss=None):
        """Samples and targets of a network; raises a typed error that names the argument that does not fit.

        Both are converted here, once, see `conversion`.  One sequence, (T, C), becomes a batch of one; of a network that has
        nothing but layers that take each step by itself the rows (N, C) are as many samples of one step.
        """
        x = network._here("x", network._read("x", x))
        batch, _ = network._described(x, lengths)
        letters, x_letters = network.output_layout, network.layout
        if network.takes_indices and batch.offsets is None:
            x_letters = index_axes("x", x_letters, x)
        own, given = "", letters  # of x and y as the caller has them
        if batch.offsets is None and "n" not in batch.layout:
            own, given = x_letters if network.takes_indices else batch.layout, given.replace("n", "")
            if network._stepwise and lengths is None:
                own, given = (each.replace("t", "n") for each in (own, given))
            x_letters = network.layout.replace("c", "") if network.takes_indices else network.layout
            x = _placed(x, own, x_letters)
            batch, _ = network._described(x, lengths)
        for count, what in ((batch.sequences, "sample"), (batch.steps, "step")):
            if not count and not (what == "step" and isinstance(x, Ragged)):  # empty sequences have a last state
                raise ShapeError(f"x: expected at least one {what} to take the loss of, got {getattr(x, 'shape', x)}")
        if lengths is not None:
            lengths = checked_lengths(lengths, batch.sequences, batch.steps)
        samples = cls(
            x, y, lengths, network.layout, x_letters, letters, network.takes_indices, device=network.device, x_given=own
        )  # fmt: skip
        return samples._with_targets(network, y, given, loss, batch)

    def _with_targets(self, network, y, given, loss, batch):
        """The samples with y as a loss reads it: labels, integers, or numbers of the network's dtype.

        The shape decides what integers are: labels, without a channel axis, of a loss that takes these; else numbers.
        """
        y, letters, dtype, channels = native(y), self.y_letters, network.dtype, network.output_channels
        whose = "" if given == letters else ", as x has no batch axis"
        stepwise = batch.offsets is not None and "t" in letters
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
        self = replace(self, y_given=given)
        if not stepwise:
            if labels:
                checked_integers("y", y)
            elif isinstance(y, Ragged):
                checked_array("y", y)
            y = _placed(_checked_axes(y, given, channels, loss, whose), given, letters)
            self._check_lengths_of(y, letters, channels, loss, batch)
        if labels:
            samples = replace(
                self, y=y, y_letters=letters, classes=loss.classes(channels), ignore_index=loss.ignore_index
            )  # fmt: skip
            samples.labels(batch)
            return samples
        if not isinstance(y, Ragged):
            y = numbers_like("y", y, dtype)
        elif y.dtype.kind == "f":
            y = y if y.dtype == dtype else Ragged(numbers_like("y", y.data, dtype), y.offsets)
        y = network._here("y", y)
        if stepwise:
            batch.describe("y", y, channels, dtype)
        return replace(self, y=y)

    def _check_lengths_of(self, y, letters, channels, loss, batch):
        """Raise ShapeError, with what would fit, unless y has the samples and steps of x, and the output's channels."""
        expected = {"n": batch.sequences, "c": channels, "t": batch.steps}
        for letter, what in (("n", "samples like x"), ("c", "channels"), ("t", "steps like x")):
            found = y.shape[letters.index(letter)] if letter in letters else None
            if found in (None, expected[letter]):
                continue
            hint = _advice(y, letters, channels, loss) if letter == "c" else ""
            if letter == "n" and not isinstance(self.x, Ragged) and len(self.x_letters) == 3:
                fits = other_layout(self.x.shape, self.x_letters, n=found, c=self.x.shape[self.x_letters.index("c")])
                hint = fits.replace("its shape", f"the shape of x, {self.x.shape},")
            raise ShapeError(f"y: expected {expected[letter]} {what}, got {found} (shape {y.shape}, axes {letters}){hint}")

    @property
    def ragged(self):
        """Whether lengths differ from sample to sample."""
        return self.lengths is not None or isinstance(self.x, Ragged)

    @property
    def in_rows(self):
        """Whether a loss sees (rows, channels), of the steps that there are, and not an array in the network's layout."""
        return self.classes is not None or self.stepwise or (self.ragged and "t" in self.y_letters)

    @property
    def count(self):
        """How many samples there are."""
        return len(self.x) if isinstance(self.x, Ragged) else self.x.shape[self.x_letters.index("n")]

    @property
    def steps(self):
        """What the loss of each sample is the mean of: (N,) integers.

        Its labels where some are ignored, its steps where these differ, else 1.
        """
        stepwise = self.ragged and "t" in self.y_letters
        if self.classes is not None and self.ignore_index is not None:
            batch = self.batch()[0]
            counts = self.labels(batch) >= 0
            if "t" not in self.y_letters:
                return counts.astype(np.int64)
            if batch.packing is None:
                return counts.reshape(batch.steps, -1).sum(axis=0)
            return np.bincount(batch.packing.places[1], counts, batch.sequences).astype(np.int64)
        if not stepwise:
            return np.ones(self.count, np.int64)
        return self.x.lengths if self.lengths is None else self.lengths

    def check_counted(self):
        """Raise ValueError unless there is anything to take the loss of."""
        steps = self.own_steps
        if steps is not None and "t" in self.y_letters and not steps.any():
            raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
        if not self.steps.any():
            expected = f"at least one label besides ignore_index={self.ignore_index}"
            raise ValueError(f"y: expected {expected}, got none: all are ignored")

    def check_finite(self, argument):
        """Raise NonFiniteError, with its place, of the first NaN or infinity in "x" or "y" that is not behind a length."""
        place, number = self.not_finite(argument)
        if place:
            expected = "finite numbers" if argument == "x" else "finite targets"
            raise NonFiniteError(f"{argument}: expected {expected}, got {number} at {place}")

    def check_probabilities(self):
        """Raise ValueError, with its place, of the first number in y that is not from 0 to 1 and not behind a length."""
        place, number = self._first("y", no_probability)
        if place:
            raise ValueError(f"y: expected probabilities from 0 to 1, got {number} at {place}")

    def not_finite(self, argument):
        """(place, number) of the first NaN or infinity in "x" or "y", as text; ("", None) if there is none."""
        array = getattr(self, argument)
        numbers = array.data if isinstance(array, Ragged) else array
        if numbers.dtype.kind != "f":
            return "", None
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(numbers.sum()):
                return "", None
        return self._first(argument, lambda numbers: ~np.isfinite(numbers))

    def _first(self, argument, where):
        """(place, number) of the first number in "x" or "y" that `where` finds and that is not behind a length."""
        array, letters = getattr(self, argument), getattr(self, f"{argument}_letters")
        numbers = moved(array.data if isinstance(array, Ragged) else array, "cpu")
        wrong = where(numbers)
        if self.lengths is not None and "t" in letters:
            there = np.arange(numbers.shape[letters.index("t")]) < self.lengths[:, None]  # (N, T)
            there = there if letters.index("n") < letters.index("t") else there.T
            wrong &= np.expand_dims(there, letters.index("c")) if "c" in letters else there
        places = np.argwhere(wrong)
        if not len(places):
            return "", None
        place = tuple(int(i) for i in places[0])
        number = numbers[place]
        if isinstance(array, Ragged):
            sequence = int(np.searchsorted(array.offsets, place[0], "right")) - 1
            return f"step {place[0] - int(array.offsets[sequence])} of sequence {sequence}", number
        given = getattr(self, f"{argument}_given") or letters
        return f"{tuple(place[letters.index(letter)] for letter in given)}", number

    @property
    def own_steps(self):
        """(N,): the steps of each sample; None where all have all of x's."""
        return self.x.lengths if isinstance(self.x, Ragged) else self.lengths

    def take(self, chosen):
        """Some of the samples, copied."""
        x, y = (
            array.take(chosen) if isinstance(array, Ragged) else take(array, chosen, letters.index("n"))
            for array, letters in ((self.x, self.x_letters), (self.y, self.y_letters))
        )
        return replace(self, x=x, y=y, lengths=None if self.lengths is None else self.lengths[chosen])

    def pieces(self, most_rows):
        """Some of the samples each, in order, with about so many steps in all, or a single sample."""
        steps = self.own_steps
        rows = self.count * self.x.shape[self.x_letters.index("t")] if steps is None else int(steps.sum())
        count = min(-(-rows // most_rows), self.count)
        return [self] if count < 2 else [self.take(chosen) for chosen in np.array_split(np.arange(self.count), count)]

    def batch(self):
        """(Batch, descriptor of x)."""
        if not self.indices:
            return Batch.of(self.x, self.layout, self.lengths)
        batch, described = Batch.of_indices(self.x, self.layout, self.lengths)
        return replace(batch, device=self.device), described

    def labels(self, batch):
        """The labels of a Batch as a loss sees them, (rows,) of int64, -1 for those that are ignored."""
        if "t" not in self.y_letters:
            batch = replace(batch, packing=None, offsets=None, layout="n")
        return batch.describe_indices("y", self.y).checked("y", "labels", self.classes, self.ignore_index)


class Room:
    """Memory for batches of so many samples that all have so many steps: x lies in one place.

    Parameters
    ----------
    samples : Samples
    count, steps : int
    """

    def __init__(self, samples, count, steps):
        self._x, self._y = _Part(samples.x, samples.x_letters, steps), _Part(samples.y, samples.y_letters, steps)
        x = target(samples.x.device if self._x.ragged else device_of(samples.x)).memory.empty(
            self._x.shape(count), samples.x.dtype
        )
        layout = "tnc" if self._x.ragged else samples.layout
        self._fixed = replace(
            samples, x=x, y=None, lengths=None, layout=layout, x_letters=self._x.letters, y_letters=self._y.letters,
            stepwise=samples.in_rows,
        )  # fmt: skip

    @property
    def nbytes(self):
        """Bytes of x."""
        return self._fixed.x.nbytes

    def take(self, chosen):
        """Some of the samples, whose lengths must be those of the room: x is overwritten by the next call."""
        self._x.take(chosen, self._fixed.x)
        return replace(self._fixed, y=self._y.take(chosen))


class _Part:
    """The first steps of every sample in an array or a Ragged."""

    def __init__(self, array, letters, steps):
        self.ragged, self.steps, self.letters = isinstance(array, Ragged), steps, letters
        if self.ragged:
            self.letters = "tnc"[: 1 + array.data.ndim]
            self.array, self.starts, self.within = array.data, array.offsets[:-1], np.arange(steps)[:, None]
        else:
            self.array = array[tuple(slice(steps if letter == "t" else None) for letter in letters)]
            self.axis = letters.index("n")

    def shape(self, count):
        """That of so many samples."""
        if self.ragged:
            return self.steps, count, *self.array.shape[1:]
        return (*self.array.shape[: self.axis], count, *self.array.shape[self.axis + 1 :])

    def take(self, chosen, out=None):
        """Some of the samples; (T, N, C) or (T, N) out of a Ragged."""
        where, axis = (self.starts[chosen] + self.within, 0) if self.ragged else (chosen, self.axis)
        return take(self.array, where, axis, out)


def _placed(array, given, letters):
    """A view of an array whose axes are `given`, with the axes `letters`: those it lacks have length 1."""
    if given == letters:
        return array
    missing = tuple(i for i, letter in enumerate(letters) if letter not in given)
    return np.expand_dims(array.transpose([given.index(letter) for letter in letters if letter in given]), missing)


def other_layout(shape, letters, **lengths):
    """What an error says of an array of `shape` whose axes have these lengths in another layout; nothing if none fits."""
    layouts = ["".join(order) for order in itertools.permutations(letters)]
    fit = [each for each in layouts if all(shape[each.index(letter)] == lengths[letter] for letter in lengths)]
    if not fit or letters in fit:
        return ""
    return f"; its shape fits layout={' or '.join(map(repr, fit))}" if len(letters) == 3 else "; its transpose fits"


def _checked_axes(y, letters, channels, loss, whose):
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
