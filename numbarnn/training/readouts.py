"""What a readout is solved for with: the rows that count, the penalties, and the errors of what is found."""

import numpy as np

from ..arrays.devices import moved
from ..arrays.rows import numbers
from ..errors import NonFiniteError, integer, real, several
from ..layers.dense import Dense
from .losses import loss as find_loss
from .sequences import placed

LOSS = find_loss("mse")  # what is made smallest, besides the penalty


def is_readout(layer):
    """Whether a layer is one that can be solved for: a linear `Dense`."""
    return isinstance(layer, Dense) and layer.activation in ("linear", "identity")


def checked_penalties(penalty, validation):
    """The penalties as a tuple of floats; else a typed error.  validation: what one of several is chosen by, or None."""
    expected = "a number >= 0, or several in a sequence"
    if np.ndim(penalty) == 0 and not isinstance(penalty, (set, frozenset)):
        return (_penalty("penalty", real("penalty", penalty, expected)),)
    found = [real(f"penalty[{k}]", each, "a number >= 0") for k, each in enumerate(several("penalty", penalty, expected))]
    if not found:
        raise ValueError(f"penalty: expected {expected}, got none")
    found = tuple(_penalty(f"penalty[{k}]", each) for k, each in enumerate(found))
    if len(found) > 1 and validation is None:
        raise ValueError(f"validation: expected samples to choose one of {len(found)} penalties by, got None")
    return found


def _penalty(argument, number):
    if not (np.isfinite(number) and number >= 0):
        raise ValueError(f"{argument}: expected a finite number >= 0, got {number!r}")
    return number + 0.0


def checked_warmup(warmup):
    """`warmup` as a Python int, if it is a whole number >= 0."""
    number = integer("warmup", warmup, "an integer >= 0")
    if number < 0:
        raise ValueError(f"warmup: expected an integer >= 0, got {number}")
    return number


def check_readout_samples(samples, warmup):
    """Raise a typed error unless the targets of `Samples` that count are finite, and have steps if some are left out."""
    if samples.y.not_finite(samples.lengths)[0]:
        place, number = samples.y.first(lambda numbers: ~np.isfinite(numbers), samples.lengths, samples.weights)
        if place:
            raise NonFiniteError(f"y: expected finite targets, got {number} at {place}; targets of weight 0 are left out")
    if warmup and not samples.y.stepped:
        raise ValueError(f"warmup: expected 0 where each sample has one target, got {warmup}")


def readout_rows(features, samples, batch, warmup, before, channels):
    """(x, targets, weights or None) in rows, of what a readout reads; weights are 0 in the first `warmup` steps.

    features: a descriptor; batch: the Batch of the steps of `samples`; before: steps that the same sequences have had.
    """
    weights = samples.weight_rows(batch)
    if samples.y.stepped:
        y = numbers(batch.describe("y", samples.y.array, channels, features.dtype))
        if warmup > before:
            there = features.packing.steps_and_runs()[0] + before >= warmup
            weights = there.astype(np.float64) if weights is None else there * weights
    else:
        y = placed(samples.y.array, samples.y.letters, "nc")
    x = numbers(features).reshape(-1, features.channels)
    return moved(x, "cpu"), moved(y.reshape(-1, channels), "cpu"), weights


def solutions(equations, penalties, warmup):
    """[(W, b)] of `NormalEquations` for each penalty; a typed error if there is nothing in them, or no number."""
    if not equations.total:
        raise ValueError(f"warmup: expected fewer steps than sequences have, so that some are left, got {warmup}")
    if equations.wrong == "x":
        raise NonFiniteError("x: expected inputs of which outputs of the layers before the last have finite squares")
    if equations.wrong:
        raise NonFiniteError("y: expected targets that have finite squares and products, got larger ones")
    return equations.solve(penalties)


class HeldOut:
    """Mean squared errors of some (W, b) on rows that they were not solved for.

    Parameters
    ----------
    found : list of (numpy.ndarray, numpy.ndarray)
        As of `solutions`.
    """

    def __init__(self, found):
        self._found, self._sums, self._total = found, np.zeros(len(found)), 0.0

    def add(self, x, y, weights):
        """Add rows, as of `readout_rows`."""
        x, y = x.astype(np.float64), y.astype(np.float64)
        there = np.ones(len(x)) if weights is None else weights.astype(np.float64)
        x, y, there = (part[there > 0] for part in (x, y, there))  # a target that weighs nothing may be NaN
        self._sums += [float(there @ ((y - x @ w.T - b) ** 2).mean(axis=1)) for w, b in self._found]
        self._total += float(there.sum())

    def errors(self, warmup):
        """The errors, a list of floats."""
        if not self._total:
            raise ValueError(f"warmup: expected fewer steps than the sequences of validation have, got {warmup}")
        return [float(each) for each in self._sums / self._total]


def best(found, errors, dtype, penalty):
    """(W, b) of the smallest error, in a dtype; NonFiniteError, which names the penalty given, unless all is finite."""
    weight, bias = (part.astype(dtype) for part in found[int(np.argmin(errors))])
    if not (np.isfinite(weight).all() and np.isfinite(bias).all() and np.isfinite(errors).all()):
        raise NonFiniteError(f"penalty: expected one with which weights are finite, got {penalty!r}")
    return weight, bias
