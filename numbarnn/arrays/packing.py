"""Which sequences of a batch are at work at each step: the arithmetic of ragged batches, apart from any kernel.

A batch is cut into *runs*: the steps of a sequence from one start to the next, or to its length.  Runs are sorted by
length, the longest first, so that those at work at step t are always the first ones.  A step takes as many rows in
memory as it has runs, and time follows the sum of the lengths.
"""

import functools
from dataclasses import dataclass

import numpy as np

from ..errors import DTypeError, ShapeError, plain
from .dimensions import check_dimensions
from .tensors import host_array

MOST_SEQUENCES = 4096  # of a batch whose packing is kept for the next one of the same lengths


@dataclass(unsafe_hash=True)
class Uniform:
    """Sequences of equal length: every row is at work at every step.

    It answers what a `Packing` answers, with slices in the place of indices.

    Attributes
    ----------
    steps, batch : int
        T and N; also `total` and `sequences`.
    rows : int
        Steps at work of all rows together.
    """

    steps: int
    batch: int

    uniform, table, table_address = True, None, 0
    serves_others = True  # whether what is made for it serves other batches as well
    sequence = first = last = slice(None)
    works = None  # what layers have worked out for it is found by its size

    def __post_init__(self):
        self.total, self.sequences, self.rows = self.steps, self.batch, self.steps * self.batch

    @property
    def lengths(self):
        """The length of each sequence: (N,)."""
        return np.full(self.batch, self.steps)

    def steps_and_runs(self):
        """(step, run) of each row, step by step: two vectors of `rows` indices."""
        return np.divmod(np.arange(self.rows), max(1, self.batch))

    @property
    def places(self):
        """(steps, sequences) that the rows belong to, step by step: each sequence is one run."""
        return self.steps_and_runs()

    def shape(self, channels):
        """The shape of an array of all rows: (T, N, C)."""
        return self.steps, self.batch, channels

    def of_steps(self, array):
        """What an array (T, N, ...) has for each row: the array itself."""
        return array

    def of_sequences(self, array):
        """What an array (N, ...) has for each row, or something that broadcasts to it: the array itself."""
        return array

    def blocks(self, first, end):
        """Rows of h from the block `first` to the block before `end`."""
        return (end - first) * self.batch

    def most_rows(self, count):
        """The most rows at work in `count` steps."""
        return min(count, self.steps) * self.batch

    def most_blocks(self, count):
        """The most rows of h in the ``count + 2`` blocks that as many steps read and write."""
        return (count + 2) * self.batch

    def initial_rows(self, direction):
        """Which rows of h a direction starts from."""
        return slice(0, self.batch) if direction == 0 else slice((self.steps + 1) * self.batch, None)

    def final_rows(self, direction):
        """Which rows of h a direction ends with."""
        block = self.steps if direction == 0 else 1
        return slice(block * self.batch, (block + 1) * self.batch)

    def end_rows(self, first):
        """(sequences that have steps, the row of each one's last step, or of its first)."""
        return slice(None), slice(self.batch) if first else slice(self.rows - self.batch, None)

    def entering(self, first, end):
        """(runs, rows of h): where the reverse direction starts runs of lengths ``first + 1`` to ``end - 1``; none."""
        return slice(0, 0), slice(0, 0)

    def summed(self, runs):
        """The sum over the runs of each sequence of an array (..., runs, H): the array itself."""
        return runs


uniform = functools.lru_cache(maxsize=1024)(Uniform)  # the same one for all batches of a size


class Packing:
    """Runs of a ragged batch, the longest first.

    Rows of h lie in T + 2 blocks: block 0 is what the forward direction starts from, block ``t + 1`` the state at step t,
    and the last one what the reverse direction starts from.  Block b has a row for each run that step ``b - 2`` has, as
    the reverse direction's step ``b - 2`` reads there what ``b - 1`` wrote, and the initial state of runs that end.

    Parameters
    ----------
    sequence, start, length : numpy.ndarray of int
        The sequence, first step and number of steps of each run, in the order of the sequences and of time.
    sequences : int
        Sequences N; each has a run at least, which may be empty.
    total : int
        Steps T of the padded batch.

    Attributes
    ----------
    sequence, start, length : numpy.ndarray of int64
        Sorted, the longest run first; among equals the earlier one.
    sequences, total : int
    steps, batch, rows : int
        Steps of the longest run; runs; the sum of their lengths.
    table : numpy.ndarray of int64
        Where each block of h begins, in rows, from block 0 to one past the last: T + 3 numbers.
    first, last : numpy.ndarray of int64
        The row of each sequence's first and last run.
    works : dict or None
        What layers have worked out for it, where the same lengths have come more than once.
    """

    uniform = serves_others = False
    _met, works = False, None

    def __init__(self, sequence, start, length, sequences, total):
        order = np.argsort(-length, kind="stable")
        self.sequence, self.start, self.length = (
            np.ascontiguousarray(array[order], np.int64) for array in (sequence, start, length)
        )
        self.sequences, self.total = sequences, total
        self.batch, self.steps, self.rows = len(length), int(length.max(initial=0)), int(length.sum())
        ended = np.bincount(self.length, minlength=self.steps + 1)
        working = self.batch - np.cumsum(ended)[: self.steps]  # runs longer than t
        self.table = np.concatenate([[0, self.batch, 2 * self.batch], 2 * self.batch + np.cumsum(working)])
        self._row = np.empty(self.batch, np.int64)  # of each run, in the order of the sequences and of time
        self._row[order] = np.arange(self.batch)
        self._runs = np.searchsorted(sequence, np.arange(sequences))  # the first run of each sequence, likewise
        self.first = self._row[self._runs]
        self.last = self._row[np.append(self._runs, self.batch)[1:] - 1]

    @property
    def table_address(self):
        """Where the table lies in the host's memory."""
        return self.table.ctypes.data

    def shape(self, channels):
        """The shape of an array of all rows, step by step without a gap: (rows, C)."""
        return self.rows, channels

    def of_steps(self, array):
        """What an array (T, N, ...) has for each row: (rows, ...)."""
        return array[self.places]

    def of_sequences(self, array):
        """What an array (N, ...) has for each row: (rows, ...)."""
        return array[self.places[1]]

    def initial_rows(self, direction):
        """Which rows of h a direction starts from."""
        return np.arange(self.batch) if direction == 0 else self.table[self.length + 1] + np.arange(self.batch)

    def final_rows(self, direction):
        """Which rows of h a direction ends with."""
        return (self.table[self.length] if direction == 0 else self.batch) + np.arange(self.batch)

    def entering(self, first, end):
        """(runs, rows of h): where the reverse direction starts runs of lengths ``first + 1`` to ``end - 1``."""
        runs = np.flatnonzero((self.length > first) & (self.length < end))
        return runs, self.table[self.length[runs] + 1] + runs

    @property
    def runs_of_sequences(self):
        """(row of each run, in the order of the sequences and of time; where each sequence's begin in it, and the end)."""
        return self._row, np.append(self._runs, self.batch)

    def summed(self, runs):
        """The sum over the runs of each sequence of an array (..., runs, H): (..., N, H)."""
        return np.add.reduceat(runs[..., self._row, :], self._runs, axis=-2)

    def blocks(self, first, end):
        """Rows of h from the block `first` to the block before `end`."""
        return int(self.table[end] - self.table[first])

    def _most(self, count, first):
        """The most rows from block ``start + first`` to block ``start + count + 2``, `count` steps cut from either end."""
        starts = np.arange(0, self.steps, count)
        ends = np.minimum(starts + count, self.steps)
        both_ways = (starts, ends), (self.steps - ends, self.steps - starts)
        return max(int((self.table[end + 2] - self.table[start + first]).max(initial=0)) for start, end in both_ways)

    def most_rows(self, count):
        """The most rows at work in `count` steps, cut from the first step on or from the last one back."""
        return self._most(count, 2)

    def most_blocks(self, count):
        """The most rows of h in the ``count + 2`` blocks that as many steps read and write."""
        return self._most(count, 0)

    def steps_and_runs(self):
        """(step of its run, run) of each row, step by step: two vectors of `rows` indices."""
        working = np.diff(self.table)[2:]
        step = np.repeat(np.arange(self.steps), working)
        return step, np.arange(self.rows) - np.repeat(self.table[2:-1] - 2 * self.batch, working)

    @functools.cached_property
    def places(self):
        """(steps, sequences) of the padded batch that the rows belong to, step by step: two vectors of `rows` indices."""
        step, run = self.steps_and_runs()
        return self.start[run] + step, self.sequence[run]

    def end_rows(self, first):
        """(sequences that have steps, the row of each one's last step, or of its first, among all step by step)."""
        run = self.first if first else self.last
        there = np.flatnonzero(self.length[run])
        run = run[there]
        return there, run if first else self.table[self.length[run] + 1] - 2 * self.batch + run

    @functools.cached_property
    def lengths(self):
        """The length of each sequence, all its runs together: (N,)."""
        return np.bincount(self.sequence, self.length, self.sequences).astype(np.int64)

    @functools.cached_property
    def ends(self):
        """For each run the steps from its start to the next run's, or to the end of the padded batch."""
        ends = self.length.copy()
        ends[self.last] = self.total - self.start[self.last]
        return ends


class Room(Packing):
    """Room for the packings of batches of so many sequences, whose tables are written over its own, one after the other.

    Parameters
    ----------
    steps, batch : int
        The most steps that a sequence has, and how many sequences there are.
    """

    serves_others = True

    def __init__(self, steps, batch):
        super().__init__(np.arange(batch), np.zeros(batch, np.int64), np.full(batch, steps), batch, steps)

    def most_rows(self, count):
        """All rows: a chunk of steps may have them all, where sequences differ much in length."""
        return self.rows


def same_runs(one, other):
    """Whether two packings have the same sequences, which start and end at the same steps: rows lie alike then."""
    if one is other:
        return True
    if one.uniform and other.uniform:
        return (one.total, one.sequences) == (other.total, other.sequences)
    return all(map(np.array_equal, _runs(one), _runs(other)))


def _runs(packing):
    """(sequence, start, length) of each run, in the order of the rows."""
    if packing.uniform:
        return np.arange(packing.batch), np.zeros(packing.batch, np.int64), packing.lengths
    return packing.sequence, packing.start, packing.length


def _array(argument, values, expected, axes=()):
    """`values` as an array, or a ShapeError that names the argument for lists of different lengths.

    axes: what the dimensions of a DataArray may be, see `check_dimensions`.
    """
    check_dimensions(argument, values, axes)
    try:
        return np.asarray(plain(argument, host_array(argument, values), expected))
    except ValueError:
        raise ShapeError(f"{argument}: expected {expected}, got lists of different lengths") from None


def integers(argument, values, *axes):
    """`values` as an array, if they are integers, in an array or in lists; else TypeError or DTypeError."""
    array = _array(argument, values, "an array of integers", axes)
    if array.dtype.kind not in "iu" and (array.size or isinstance(values, np.ndarray)):
        raise DTypeError(f"{argument}: expected integers, got {array.dtype}")
    return array


def checked_lengths(lengths, batch, steps):
    """`lengths` as a vector of int64, if it is one whole number from 0 to `steps` for each of `batch` sequences."""
    array = integers("lengths", lengths, "n")
    if array.shape != (batch,):
        raise ShapeError(f"lengths: expected shape {(batch,)}, one length for each sequence, got {array.shape}")
    wrong = (array < 0) | (array > steps)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"lengths: expected numbers from 0 to {steps} (the steps of x), got {array[at]} at {at}")
    return array.astype(np.int64)


def checked_reset(reset, batch, steps):
    """A copy of `reset`, if it is an array of bool or integers 0 and 1, (T, N)."""
    return _truths("reset", reset, "tn", (steps, batch))


def checked_mask(mask, batch):
    """A copy of the `mask` of some sequences, if it is an array of bool or integers 0 and 1, (N,)."""
    return _truths("mask", mask, "n", (batch,))


def _truths(argument, values, axes, shape):
    """`values` as booleans of this shape, or an error that names the argument; axes: their letters."""
    array = _array(argument, values, "an array of True and False", (axes,))
    if array.dtype != bool and not (array.dtype.kind in "iu" and ((array == 0) | (array == 1)).all()):
        raise DTypeError(f"{argument}: expected True and False, or the integers 0 and 1, got {array.dtype}")
    if array.shape != shape:
        letters = ", ".join(axes.upper()) + "," * (len(axes) == 1)
        raise ShapeError(f"{argument}: expected shape {shape} ({letters}), got {array.shape}")
    return array.astype(bool)


@functools.lru_cache(maxsize=8)
def _of_lengths(lengths, steps):
    """The Packing of sequences whose lengths are those bytes, the same one for a batch that comes again."""
    lengths = np.frombuffer(lengths, np.int64)
    return Packing(np.arange(len(lengths)), np.zeros(len(lengths), np.int64), lengths, len(lengths), steps)


def packing_of(steps, batch, lengths=None, reset=None):
    """The Packing of a padded batch, or a Uniform where all sequences are at work at every step.

    Parameters
    ----------
    steps, batch : int
        T, N of the padded batch.
    lengths : array of int, optional
        (N,): the steps of each sequence, from 0 to T; T for all if None.
    reset : array of bool, optional
        (T, N): True where a sequence starts afresh.

    Raises
    ------
    DTypeError, ShapeError, ValueError
        Named after the argument that is not as described.
    """
    some = steps and batch
    if lengths is None and reset is None and some:
        return uniform(steps, batch)
    lengths = np.full(batch, steps) if lengths is None else checked_lengths(lengths, batch, steps)
    if reset is None:
        if some and (lengths == steps).all():
            return uniform(steps, batch)
        if batch > MOST_SEQUENCES:
            return Packing(np.arange(batch), np.zeros(batch, np.int64), lengths, batch, steps)
        packing = _of_lengths(lengths.tobytes(), steps)
        if packing.works is None and packing._met:
            packing.works = {}
        packing._met = True
        return packing
    starts = checked_reset(reset, batch, steps) & (np.arange(steps)[:, None] < lengths)
    starts[:1] = True
    if not starts[1:].any():
        return packing_of(steps, batch, lengths)
    sequence, start = np.nonzero(starts.T)
    end = np.append(start[1:], 0)
    last = np.append(np.diff(sequence) > 0, True)
    end[last] = lengths[sequence[last]]
    return Packing(sequence, start, end - start, batch, steps)
