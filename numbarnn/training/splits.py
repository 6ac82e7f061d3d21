"""Samples held out for validation: some of them, or the last steps of each."""

from dataclasses import replace

import numpy as np

from ..arrays.devices import device_of, moved
from ..arrays.ragged import Ragged
from ..errors import finite_number, known_name

WAYS = ("sample", "time")


def held_out(samples, part, way):
    """(the samples that are left to train on, those that are held out).

    Parameters
    ----------
    samples : Samples
    part : float
        How much is held out, between 0 and 1.
    way : {"sample", "time"}
        Samples that are drawn, always the same of so many; or the last steps of each, and where a target belongs to a whole
        sample, the last samples.

    Raises
    ------
    TypeError, ValueError
        Named ``validation_split`` or ``split_by``, if they are not as described, or nothing would be left or held out.
    """
    number, way = finite_number("validation_split", part), known_name("split_by", way, WAYS)
    if not 0 < number < 1:
        raise ValueError(f"validation_split: expected a number between 0 and 1, got {part!r}")
    if way == "time" and samples.y.stepped:
        lengths = samples.lengths_of_x
        cuts = lengths - np.round(lengths * number).astype(np.int64)
        _check_some(cuts.sum(), lengths.sum(), "steps", number)
        return _steps(samples, np.zeros_like(cuts), cuts), _steps(samples, cuts, lengths)
    count = samples.x.count
    order = np.arange(count) if way == "time" else np.random.default_rng(count).permutation(count)
    cut = count - round(count * number)
    _check_some(cut, count, "samples", number)
    return samples.take(np.sort(order[:cut])), samples.take(np.sort(order[cut:]))


def _check_some(cut, count, what, number):
    """Raise ValueError unless there is something on both sides of a cut."""
    if not 0 < cut < count:
        expected = f"a part of the {count} {what} that leaves some and holds some out"
        raise ValueError(f"validation_split: expected {expected}, got {number}")


def _steps(samples, begin, end):
    """The steps of each sample from one to another."""
    parts = {name: _of(getattr(samples, name), begin, end) for name in ("x", "y", "weights")}
    if samples.reset is not None:
        raise ValueError("split_by: expected 'sample' together with reset, got 'time'")
    return replace(samples, **parts, lengths=None if samples.lengths is None else end - begin)


def _of(sequences, begin, end):
    """The same of `Sequences`, which may have no steps, or be None."""
    if sequences is None or not sequences.stepped:
        return sequences
    array, lengths = sequences.array, end - begin
    if sequences.ragged:
        rows = [np.arange(first + b, first + e) for first, b, e in zip(array.offsets, begin, end)]
        found = Ragged(
            array.data[moved(np.concatenate(rows), device_of(array.data))], np.concatenate([[0], np.cumsum(lengths)])
        )
        return replace(sequences, array=found)
    axes = sequences.letters.index("t"), sequences.letters.index("n")
    places = np.minimum(begin + np.arange(lengths.max())[:, None], array.shape[axes[0]] - 1)
    places, each = moved(places, device_of(array)), moved(np.arange(len(begin)), device_of(array))
    taken = np.moveaxis(np.moveaxis(array, axes, (0, 1))[places, each], (0, 1), axes)
    return replace(sequences, array=taken)
