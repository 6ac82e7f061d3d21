"""What losses of numbers have in common: a weighted mean over what is there, and its derivative."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ...arrays.devices import backend_of, device_of, moved
from ...arrays.ieee import ieee
from ...descriptions.fields import Description, one_of, optional
from .targets import checked_target, described, steps_there, weights_of


@dataclass(frozen=True)
class NumberLoss(Description):
    """A weighted mean of a function of predictions and targets, over steps, batch and the targets' channels.

    ``sum_i w_i f(p_i, y_i) / sum_i w_i`` over the targets i that are there: not behind a length, not missing, and with a
    weight that is not 0.  If none is, it is 0, and so is the derivative.  Subclasses write `terms`.
    """

    name = "numbers"
    missing = None  # "nan" in a subclass with that field
    expected, strict = "finite targets", False  # what targets are, as errors say it; whether all others are refused
    several = False  # whether a target has several channels of the prediction, which `terms` then sees along a last axis
    by_channel = False  # whether the function differs from channel to channel

    def target_channels(self, channels):
        """The number of target channels for a prediction of `channels` channels; ShapeError if no targets go with it."""
        return channels

    def terms(self, prediction, target):
        """The function of each prediction and target, of the target's shape; and its derivative, of the prediction's."""
        raise NotImplementedError

    def curvature(self, prediction, target, direction):
        """The second derivative of `terms` times a direction of the prediction, shaped like the prediction.

        At a kink it is the curvature of one of the sides.
        """
        raise NotImplementedError

    def allowed(self, target):
        """Where the numbers of an array are targets, those that are missing left aside."""
        return np.isfinite(target)

    def refused(self, target):
        """Where the numbers of an array are neither targets nor missing."""
        return ~(self.allowed(target) | np.isnan(target)) if self.missing else ~self.allowed(target)

    def __call__(
        self,
        prediction: np.ndarray,
        target: np.ndarray,
        lengths: np.ndarray | None = None,
        layout: str = "tnc",
        weights: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """(loss, dloss/dprediction); the sum is taken in float64.

        Parameters
        ----------
        prediction, target : numpy.ndarray
            float32 or float64, of one dtype; of one shape, if the loss does not say otherwise.
        lengths : array of int, optional
            (N,): the mean is over so many steps of each sequence of a (T, N, C) array; what lies behind is not read, and
            the derivative is 0 there.
        layout : str
            The letters t, n, c in the order of the prediction's axes; without t for a 2-D one.
        weights : array, optional
            A number >= 0 for each sample, (N,), or for each step, (T, N) in the order of `layout`.  The mean is weighted by
            them.  Where one is 0, neither prediction nor target is read, and the derivative is exactly 0.

        Raises
        ------
        TypeError, DTypeError, ShapeError, ValueError
            Named ``prediction``, ``y`` (the target), ``lengths`` or ``weights``, if it is not as described, or empty.
        """
        if lengths is None and weights is None and not (self.several or self.by_channel):
            prediction, target = checked_target(prediction, target)
            self._check_allowed(target)
            return self.of_rows(prediction, target)
        found = described(prediction, layout)
        prediction, letters, axis = found.array, found.layout, found.layout.index("c")
        prediction, target = checked_target(prediction, target, self.target_channels(found.channels), axis)
        there = None
        if lengths is not None:
            there = steps_there(found, lengths, layout)
            there = there.transpose(["tn".index(letter) for letter in letters if letter != "c"])[..., None]
        if weights is not None:
            weights = weights_of(prediction, weights, letters)[..., None]
            there = weights != 0 if there is None else there & (weights != 0)
        self._check_allowed(target, None if there is None else np.moveaxis(there, -1, axis))
        weights, there = (
            None if part is None else moved(np.ascontiguousarray(part), device_of(prediction)) for part in (weights, there)
        )
        value, gradient = self.of_rows(np.moveaxis(prediction, axis, -1), np.moveaxis(target, axis, -1), weights, there)
        return value, np.moveaxis(gradient, -1, axis)

    def _check_allowed(self, target, there=None):
        """Raise ValueError, with its place, of a number that is there and no target, where the loss has a limit of these."""
        if not self.strict:
            return
        wrong = moved(self.refused(target), "cpu")
        if there is not None:
            wrong &= there
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ValueError(f"target y: expected {self.expected}, got {moved(target, 'cpu')[place]} at {place}")

    @ieee
    def of_rows(self, prediction, target, weights=None, there=None, sample=None):
        """(loss, derivative) for (..., C) predictions and (..., K) targets.

        weights: (..., 1), None for 1; there: (..., 1), whether a row counts, None for all; sample: (..., 1) of int64, to
        which sample a row belongs, for the derivative of each sample's own mean, None for the one of all.  Again in float64
        where float32 overflows.
        """
        there, count = self._counted(target, weights, there)
        if not count:
            return 0.0, np.zeros_like(prediction)
        own = self._of_call(target, weights, there)
        total, slope = own._summed(prediction, target, weights, there)
        real = prediction.dtype
        if not math.isfinite(total) and real != np.float64:  # perhaps a square that float32 cannot hold
            real = np.dtype(np.float64)
            wide = [None if part is None else part.astype(real) for part in (prediction, target, weights)]
            total, slope = own._summed(*wide, there)
        shared = real.type(count) if sample is None else self._counted_in_samples(target, weights, there, sample, real)
        return total / count, (slope.astype(real, copy=False) / shared).astype(prediction.dtype, copy=False)

    @ieee
    def curvature_of_rows(self, prediction, target, direction, weights=None):
        """The product of the loss's second derivative with a direction, shaped like the predictions; else as `of_rows`."""
        there, count = self._counted(target, weights, None)
        if not count:
            return np.zeros_like(prediction)
        own, shape, found = self._of_call(target, weights, there), prediction.shape, there
        if self.several:
            prediction, direction = (part.reshape((*target.shape, -1)) for part in (prediction, direction))
            found = None if there is None else there[..., None]
            weights = None if weights is None else weights[..., None]
        bend = own.curvature(masked(found, prediction), masked(there, target), masked(found, direction))
        bend = masked(found, bend if weights is None else bend * weights).reshape(shape)
        return bend.astype(prediction.dtype, copy=False) / prediction.dtype.type(count)

    def _counted(self, target, weights, there):
        """(whether each target counts, None for all; what they count together)."""
        if self.missing:
            observed = ~np.isnan(target)
            there = observed if there is None else there & observed
        if weights is not None:
            there = weights != 0 if there is None else there & (weights != 0)
        if there is None:
            return None, target.size
        there = np.broadcast_to(there, target.shape)
        return there, float(np.sum(there if weights is None else np.where(there, weights, 0), dtype=np.float64))

    def _counted_in_samples(self, target, weights, there, sample, dtype):
        """(..., 1): what all targets of the sample that a row belongs to count together; 1 where none does."""
        there, weights = (None if part is None else moved(part, "cpu") for part in (there, weights))
        counts = np.ones(target.shape) if weights is None else np.broadcast_to(weights, target.shape).astype(np.float64)
        counts = masked(there, counts)
        found = np.bincount(np.broadcast_to(sample, target.shape).ravel(), counts.ravel())[sample]
        return moved(np.where(found > 0, found, 1).astype(dtype), device_of(target))

    def _of_call(self, target, weights, there):
        """The loss that `terms` is asked of; another one where it depends on all the targets of a call."""
        return self

    def _summed(self, prediction, target, weights, there):
        """The weighted sum of what is there, and its derivative."""
        shape, found = prediction.shape, there
        if self.several:
            prediction = prediction.reshape((*target.shape, -1))
            found = None if there is None else there[..., None]
        value, slope = self.terms(masked(found, prediction), masked(there, target))
        if weights is not None:
            value, slope = value * weights, slope * (weights[..., None] if self.several else weights)
        value, slope = masked(there, value), masked(found, slope)
        return float(np.sum(value, dtype=np.float64)), slope.reshape(shape)


def exponential(name, x):
    """A new array of ``exp(x)``, ``exp(-|x|)`` or ``log(1 + exp(x))`` of each number, see `cpu.exponentials`."""
    return backend_of(x).exponentials.exponential(name, x)


def logistic(z):
    """(``exp(-|z|)``, ``1 / (1 + exp(-z))``) of every number z: neither overflows nor loses a small one."""
    small = exponential("exp_of_minus_size", z)
    return small, np.where(z >= 0, 1, small) / (1 + small)


def masked(there, array):
    """An array, and 0 where `there` is False; all of it if that is None."""
    return array if there is None else np.where(there, array, 0)


@dataclass(frozen=True)
class Regression(NumberLoss):
    """A loss of numbers, of which some may be missing.

    Parameters
    ----------
    missing : {"nan"}, optional
        ``"nan"``: a target that is NaN was not observed.  The mean is over the others, and the derivative is exactly 0
        there.  None: a NaN in the targets is an error of `Network.fit`, and in the loss of all else.
    """

    missing: str | None = field(default=None, kw_only=True)
    accepts: ClassVar = {"missing": optional(one_of(("nan",)))}
