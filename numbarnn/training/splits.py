"""Samples held out for validation: some of them, or the last steps of each."""

import numpy as np

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
    if way == "time" and not hasattr(samples, "y"):
        raise ValueError("split_by: expected 'sample' for a graph, whose inputs may have steps of their own, got 'time'")
    if not 0 < number < 1:
        raise ValueError(f"validation_split: expected a number between 0 and 1, got {part!r}")
    if way == "time" and samples.y.stepped:
        lengths = samples.lengths_of_x
        cuts = lengths - np.round(lengths * number).astype(np.int64)
        _check_some(cuts.sum(), lengths.sum(), "steps", number)
        if samples.reset is not None:
            raise ValueError("split_by: expected 'sample' together with reset, got 'time'")
        everything = np.arange(samples.x.count)
        return samples.between(everything, 0, cuts), samples.between(everything, cuts, lengths)
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
