"""Arrays of whole numbers: the indices that `Embedding` reads, and the labels of classes."""

from dataclasses import dataclass, field

import numpy as np

from ..errors import DTypeError, IndexRangeError, LayoutError, ShapeError, plain
from .descriptor import AXES
from .packing import Packing, Uniform
from .tensors import host_array


def checked_integers(argument, array):
    """`array`, if it is a plain NumPy array of integers, of any size, byte order and strides; of a tensor one over it."""
    array = host_array(argument, array)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{argument}: expected a numpy.ndarray of integers, got {type(array).__name__}")
    if plain(argument, array, "a numpy.ndarray of integers").dtype.kind not in "iu":
        hint = "; astype(int) of it is an array of integers" if array.dtype.kind in "bf" else ""
        raise DTypeError(f"{argument}: expected integers, got {array.dtype}{hint}")
    return array


def index_axes(argument, layout, array):
    """The letter of each axis of an array of integers, which may have no channel axis, or one of length 1.

    ``"tnc"`` stands for ``"tnc"``, ``"tn"`` or, for one sequence, ``"t"``, whichever has as many letters as the array axes.
    """
    letters = layout.lower() if isinstance(layout, str) else ""
    if not (set(letters) & {"t", "n"} and set(letters) <= set(AXES) and len(set(letters)) == len(letters)):
        raise LayoutError(f"layout: expected the letters t, n, c in any order, or some of them, got {layout!r}")
    without = letters.replace("c", "")
    for found in (letters, without, without.replace("n", "")):
        if found and len(found) == array.ndim:
            break
    else:
        raise ShapeError(
            f"{argument}: expected {len(without)} axes ({without}), or {len(without) + 1} with a channel axis of length 1, "
            f"got {array.ndim} (shape {array.shape})"
        )
    if "c" in found and array.shape[found.index("c")] != 1:
        count = array.shape[found.index("c")]
        raise ShapeError(f"{argument}: expected 1 channel, of integers, got {count} (shape {array.shape}, axes {found})")
    return found


def with_channels(layout, letters):
    """The letters of an array that has channels where one has indices with these `letters` in `layout`."""
    layout = layout.lower()
    return "".join(letter for letter in (layout if "c" in layout else layout + "c") if letter in letters or letter == "c")


@dataclass(frozen=True)
class Indices:
    """Whole numbers for the steps of a batch, wherever they lie.

    Attributes
    ----------
    packing : Packing or Uniform
    array : numpy.ndarray
        (T, N), a view; or the sequences one after the other, (sum T,).
    offsets : numpy.ndarray or None
        Where these begin.
    """

    packing: Packing | Uniform
    array: np.ndarray = field(repr=False, compare=False)
    offsets: np.ndarray | None = field(default=None, repr=False, compare=False)

    channels = 1

    @classmethod
    def of(cls, array, letters, argument):
        """Describe an array whose axes have these letters."""
        order = [letters.index(letter) for letter in AXES if letter in letters]
        missing = tuple(i for i, letter in enumerate(AXES) if letter not in letters)
        array = np.expand_dims(array.transpose(order), missing)[..., 0]
        return cls(Uniform(*array.shape), array)

    @property
    def steps(self):
        """Steps of the longest sequence."""
        return self.packing.steps

    @property
    def batch(self):
        """Sequences."""
        return self.packing.batch

    @property
    def dtype(self):
        """The dtype of the array."""
        return self.array.dtype

    def rows(self):
        """The numbers as they are now, (rows,), in the order of `ragged.like`: nothing past a sequence's end is read."""
        if self.offsets is None:
            return self.packing.of_steps(self.array).ravel()
        steps, sequences = self.packing.places
        return self.array[self.offsets[sequences] + steps]

    def checked(self, argument, what, end, ignored=None, read=None):
        """`rows` as int64, those that are `ignored` -1; IndexRangeError unless the others are from 0 to ``end - 1``.

        read: whether a row is looked at, (rows,); one that is not is -1 as well.  None for all.
        """
        rows = self.rows()
        keep = read if ignored is None else rows != ignored if read is None else (rows != ignored) & read
        wrong = (rows < 0) | (rows >= end)
        if keep is not None:
            wrong &= keep
        if wrong.any():
            at = int(np.argmax(wrong))
            raise IndexRangeError(f"{argument}: expected {what} from 0 to {end - 1}, got {rows[at]} at {self._place(at)}")
        rows = rows.astype(np.int64)
        return rows if keep is None else np.where(keep, rows, -1)

    def _place(self, row):
        """Which step and sample a row belongs to, in words."""
        step, sample = (places[row] for places in self.packing.places)
        return f"step {step} of sample {sample}" if self.packing.steps > 1 else f"sample {sample}"


class Groups:
    """The places of each index among many: equal ones side by side, in the order they came in.

    The time it takes follows the number of indices, whatever their size.

    Parameters
    ----------
    indices : numpy.ndarray
        (M,), int64, none negative.

    Attributes
    ----------
    indices : numpy.ndarray
        (G,): those that occur, rising.
    order : numpy.ndarray
        (M,): where they occur; the places of group g are ``order[starts[g] : starts[g + 1]]``, rising.
    starts : numpy.ndarray
        (G + 1,).
    """

    def __init__(self, indices):
        self.order = np.argsort(indices.astype(np.uint16), kind="stable")  # of 16 bits: NumPy's radix sort
        shift, largest = 16, int(indices.max(initial=0))
        while largest >> shift:
            digits = (indices >> shift).astype(np.uint16)
            self.order = self.order[np.argsort(digits[self.order], kind="stable")]
            shift += 16
        ordered = indices[self.order]
        first = np.ones(len(ordered), bool)
        np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
        begin = np.flatnonzero(first)
        self.indices, self.starts = ordered[begin], np.append(begin, len(ordered))
