"""Samples held out for validation: some of them, or the last steps of each."""

import numpy as np

from ..errors import arguments_of, finite_number

WAYS = ("sample", "time")  # of split_by

SPLIT = 1  # beside a seed: its draws differ from the draws of the order


def split_seed(random):
    """A number for `held_out` that follows from the seed of a Generator, however much was drawn from it."""
    made = random.bit_generator.seed_seq
    entropy, key = getattr(made, "entropy", 0), getattr(made, "spawn_key", ())
    return int(np.random.SeedSequence(entropy, spawn_key=(*key, SPLIT)).generate_state(1, np.uint64)[0])


def held_out(samples, part, way, seed, ranks=None):
    """(the samples that are left to train on, those that are held out, which ones these are: two vectors of numbers).

    Of samples that ranks share, one after the other, those are held out that one process would hold out of all.

    Parameters
    ----------
    samples : Samples
    part : float
        How much is held out, between 0 and 1.
    way : {"sample", "time"}
        Samples that are drawn, with one seed always the same of so many; or the last steps of each, and where a target
        belongs to a whole sample, the last samples.  Last steps are sequences of their own: states start afresh, and beside
        feedback the first step is given.
    seed : int
        The same on all ranks.
    ranks : Ranks, optional
        Each has some of the samples.

    Raises
    ------
    TypeError, ValueError
        Named ``validation_split`` or ``split_by``, if they are not as described, or nothing would be left or held out.
    NonFiniteError
        If the first number that is held out was not observed, of samples whose gaps are filled by what is fed.
    """
    number = finite_number("validation_split", part)
    if not 0 < number < 1:
        raise ValueError(f"validation_split: expected a number between 0 and 1, got {part!r}")
    if way == "time" and samples.stepped:
        check_cut(samples, "split_by: expected 'sample'", way)
        lengths = samples.lengths_of_x
        cuts = lengths - np.round(lengths * number).astype(np.int64)
        left, steps = (sum(_of_ranks(ranks, int(each.sum()))) for each in (cuts, lengths))
        _check_some(left, steps, "steps", number)
        if samples.reset is not None:
            raise ValueError("split_by: expected 'sample' together with reset, got 'time'")
        with arguments_of("validation"):
            held = samples.after(cuts)
        every = np.arange(samples.x.count)
        return samples.between(every, 0, cuts), held, (every, every)
    counts = _of_ranks(ranks, samples.x.count)
    first, count = sum(counts[: 0 if ranks is None else ranks.rank]), sum(counts)
    order = np.arange(count) if way == "time" else np.random.default_rng(seed).permutation(count)
    cut = count - round(count * number)
    _check_some(cut, count, "samples", number)
    out = np.zeros(count, bool)
    out[order[cut:]] = True
    own = out[first : first + samples.x.count]
    which = np.flatnonzero(~own), np.flatnonzero(own)
    return *(samples.take(each) for each in which), which


def _of_ranks(ranks, own):
    """[what each rank has]."""
    return [own] if ranks is None else ranks.agree(own)


def check_cut(samples, expected, given):
    """Raise ValueError, which says what was expected and given, unless inputs and targets can be cut at a step."""
    if samples.uncut:
        raise ValueError(f"{expected} for {samples.uncut}, got {given!r}")


def _check_some(cut, count, what, number):
    """Raise ValueError unless there is something on both sides of a cut."""
    if not 0 < cut < count:
        expected = f"a part of the {count} {what} that leaves some and holds some out"
        raise ValueError(f"validation_split: expected {expected}, got {number}")
