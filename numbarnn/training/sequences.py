"""The inputs of all samples, or their targets: an array or a Ragged, what its axes are, and some of its samples."""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from ..arrays.devices import device_of, moved, take
from ..arrays.ragged import Ragged


@dataclass(frozen=True)
class Sequences:
    """Numbers of each sample, in steps or without.

    Attributes
    ----------
    array : numpy.ndarray or Ragged
    letters : str
        The letters of the axes of a padded array.
    given : str
        Letters of the axes that the caller's array has, in which errors say a place.
    """

    array: np.ndarray | Ragged
    letters: str
    given: str

    @property
    def ragged(self):
        """Whether the sequences lie one after the other, in a Ragged."""
        return isinstance(self.array, Ragged)

    @property
    def numbers(self):
        """The array; for a Ragged, the array of its data."""
        return self.array.data if self.ragged else self.array

    @property
    def count(self):
        """N, the number of samples."""
        return len(self.array) if self.ragged else self.array.shape[self.letters.index("n")]

    @property
    def stepped(self):
        """Whether the array has an axis of steps."""
        return "t" in self.letters

    @property
    def lengths(self):
        """(N,): the steps of each sample."""
        if self.ragged:
            return self.array.lengths
        return np.full(self.count, self.array.shape[self.letters.index("t")] if self.stepped else 1)

    def take(self, chosen):
        """Some of the samples, copied."""
        array = self.array.take(chosen) if self.ragged else take(self.array, chosen, self.letters.index("n"))
        return replace(self, array=array)

    def some_steps(self, chosen, first, steps, out=None):
        """So many steps from the first on of some samples side by side, (T, N, C) or (T, N) out of a Ragged.

        out: an array of that shape that they are written to (is modified), new if None.
        """
        array, letters, where, axis = self.numbers, self.letters, chosen, 0
        if self.ragged:
            letters, where = "tnc"[: 1 + array.ndim], self.array.offsets[chosen] + np.arange(first, first + steps)[:, None]
        else:
            array = array[tuple(slice(first, first + steps) if letter == "t" else slice(None) for letter in letters)]
            axis = letters.index("n")
        return Sequences(take(array, where, axis, out), letters, letters)

    def between(self, chosen, begin, end):
        """Some of the samples, copied, and of each the steps from one to another, which it has; all, if not `stepped`."""
        if not self.stepped:
            return self.take(chosen)
        array, lengths = self.array, end - begin
        if self.ragged:
            places = [np.arange(at + b, at + e) for at, b, e in zip(array.offsets[chosen], begin, end)]
            data = array.data[moved(np.concatenate(places), device_of(array.data))]
            return replace(self, array=Ragged(data, np.concatenate([[0], np.cumsum(lengths)])))
        axes = self.letters.index("t"), self.letters.index("n")
        places = np.minimum(begin + np.arange(lengths.max())[:, None], array.shape[axes[0]] - 1)
        places, each = moved(places, device_of(array)), moved(chosen, device_of(array))
        return replace(self, array=np.moveaxis(np.moveaxis(array, axes, (0, 1))[places, each], (0, 1), axes))

    def not_finite(self, lengths):
        """(place, number) of the first NaN or infinity, as text; ("", None) if there is none."""
        if self.numbers.dtype.kind != "f":
            return "", None
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(self.numbers.sum()):
                return "", None
        return self.first(lambda numbers: ~np.isfinite(numbers), lengths)

    def negative(self, channels, lengths):
        """(place, number) of the first number below 0 in a slice of the channels, as text; ("", None) if there is none."""
        numbers, axis = self.numbers, -1 if self.ragged else self.letters.index("c")
        looked_at = (slice(None),) * (axis % numbers.ndim) + (channels,)
        chosen = numbers[looked_at]
        if not chosen.size or chosen.min() >= 0:
            return "", None
        there = np.zeros(numbers.shape, bool)
        there[looked_at] = True
        return self.first(lambda numbers: (numbers < 0) & there, lengths)

    def check_spans(self, argument, channels, lengths):
        """Raise ValueError, with its place, of the first span that is negative, in a slice of the channels."""
        place, number = self.negative(channels, lengths)
        if place:
            first, last = channels.start, channels.stop - 1
            where = f"channel {last}" if first == last else f"channels {first} to {last}"
            expected = f"spans of 0 and more in {where}, not standardized ones"
            raise ValueError(f"{argument}: expected {expected}, got {number} at {place}")

    def first(self, where, lengths, weights=None):
        """(place, number) of the first number that `where` finds and that is not behind one of the lengths, if there are.

        weights: Sequences of one channel, or None; what weighs 0 is not looked at.
        """
        letters, numbers = self.letters, moved(self.numbers, "cpu")
        wrong = where(numbers)
        if weights is not None:
            wrong &= weights.numbers > 0
        if lengths is not None and self.stepped:
            there = np.arange(numbers.shape[letters.index("t")]) < lengths[:, None]  # (N, T)
            there = there if letters.index("n") < letters.index("t") else there.T
            wrong &= np.expand_dims(there, letters.index("c")) if "c" in letters else there
        places = np.argwhere(wrong)
        if not len(places):
            return "", None
        place = tuple(int(i) for i in places[0])
        number = numbers[place]
        if self.ragged:
            sequence = int(np.searchsorted(self.array.offsets, place[0], "right")) - 1
            return f"step {place[0] - int(self.array.offsets[sequence])} of sequence {sequence}", number
        return f"{tuple(place[letters.index(letter)] for letter in self.given)}", number


def placed(array, given, letters):
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
