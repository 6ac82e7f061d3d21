"""What each target counts in the loss of a batch, where some count more than others, for members in compiled code."""

from dataclasses import dataclass, replace

import numpy as np

from ..arrays.devices import take
from .losses import is_of_library


@dataclass(frozen=True)
class Counted:
    """What the targets of one batch count.

    Attributes
    ----------
    factors : numpy.ndarray
        What the loss of each is multiplied with: of labels (rows,), float64; of numbers (T, N, K), of the network's dtype.
    total : float
        What the loss is the mean over.
    """

    factors: np.ndarray
    total: float


class Counts:
    """What the targets of some samples count in the loss of any batch of them.

    Parameters
    ----------
    samples : Samples
    y : numpy.ndarray
        Their targets, (N, T, K) in C order.
    in_order : callable
        Returns Sequences like that.

    Attributes
    ----------
    y : numpy.ndarray
        Likewise, and where a target counts nothing -1 for a label, 0 for a number: it is not read.
    """

    def __init__(self, samples, y, in_order):
        self._samples = samples
        weights = None if samples.weights is None else in_order(samples.weights)
        if samples.classes is None:
            there = np.ones(y.shape, bool) if weights is None else np.broadcast_to(weights != 0, y.shape)
            there = there & ~np.isnan(y) if samples.missing else there
            self._factors = np.where(there, 1 if weights is None else weights, 0).astype(y.dtype)
            self.y = np.where(there, y, y.dtype.type(0))
            return
        loss = samples.loss
        rows = np.ones(y.shape) if weights is None else weights.astype(np.float64)
        rows = rows if loss.ignore_index is None else np.where(y == loss.ignore_index, 0.0, rows)
        self._factors = (rows * loss.label_weights(np.where(rows > 0, y, 0)))[..., 0]
        self.y = np.where(self._factors[..., None] > 0, y, -1)

    def of(self, chosen):
        """The Counted of some samples."""
        if self._samples.classes is not None:
            factors = self._factors[chosen].T.ravel()  # step by step, as a loss sees them
            return Counted(factors, float(factors.sum()))
        return Counted(np.ascontiguousarray(self._factors[chosen].swapaxes(0, 1)), self._total(chosen))

    def _total(self, chosen):
        """What a loss of numbers divides by: summed as it sums, in the layout of the network."""
        samples = self._samples
        parts = (samples.y, samples.weights)
        target, weights = (None if part is None else take(part.array, chosen, part.letters.index("n")) for part in parts)
        axis = samples.y.letters.index("c")
        target = np.moveaxis(target, axis, -1)
        there = ~np.isnan(target) if samples.missing else None
        if weights is not None:
            weights = np.moveaxis(weights, axis, -1)
            there = weights != 0 if there is None else there & (weights != 0)
        there = np.broadcast_to(there, target.shape)
        return float(np.sum(there if weights is None else np.where(there, weights, 0), dtype=np.float64))


def plain(loss):
    """A loss of the library's without gaps, ignored labels and weights of classes, which a Counted stands for."""
    if not is_of_library(loss):
        return loss
    names = {"missing": None, "ignore_index": None, "class_weights": None}
    return replace(loss, **{name: value for name, value in names.items() if getattr(loss, name, None) is not None})
