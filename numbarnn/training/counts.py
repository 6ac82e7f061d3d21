"""What each target counts in the loss of a batch, where some count more than others, for members in compiled code."""

from dataclasses import dataclass

import numpy as np

from ..arrays.devices import take
from .losses import CrossEntropy


@dataclass(frozen=True)
class Counted:
    """What the targets of one batch count.

    Attributes
    ----------
    factors : numpy.ndarray
        What the loss of each is multiplied with: of labels (rows,), float64; of numbers (T, N, K), of the network's dtype.
    total : float
        What the loss is the mean over.
    rows : numpy.ndarray or None
        Of labels what each row counts without the weights of the classes, (rows,).
    kept : float
        Of smoothed labels the share that they keep.
    places : tuple of numpy.ndarray or None
        (samples, steps) of each row, where samples differ in length; factors are then (rows,) or (rows, K).
    """

    factors: np.ndarray
    total: float
    rows: np.ndarray | None = None
    kept: float = 1.0
    places: tuple | None = None

    def read(self, name, shape):
        """What a program reads under a name, see `workers.Batches`: numbers that broadcast to a shape."""
        if name == "divisor":
            return self.total
        if name == "factors":  # of each channel of the prediction, of which a target may have several
            return np.repeat(self.factors, shape[-1] // self.factors.shape[-1], axis=-1)
        return self.kept * self.factors / self.total if name == "scales" else self.rows / self.total


class Counts:
    """What the targets of some samples count in the loss of any batch of them.

    Parameters
    ----------
    samples : Samples
    y : numpy.ndarray
        Their targets, (N, T, K) in C order.
    in_order : callable
        Returns Sequences like that.
    dtype : numpy.dtype
        The network's.

    Attributes
    ----------
    y : numpy.ndarray
        Likewise, and where a target counts nothing -1 for a label, 0 for a number: it is not read.
    """

    def __init__(self, samples, y, in_order, dtype):
        self._samples, loss = samples, samples.loss
        weights = None if samples.weights is None else in_order(samples.weights)
        self._labels, self._rows, self._kept = type(loss) is CrossEntropy, None, 1.0
        there = None
        if samples.ragged and samples.stepped:
            there = np.arange(y.shape[1]) < samples.lengths_of_x[:, None]
        if samples.classes is not None:
            rows = np.ones(y.shape) if weights is None else weights.astype(np.float64)
            rows = rows if loss.ignore_index is None else np.where(y == loss.ignore_index, 0.0, rows)
            rows = rows if there is None else np.where(there[..., None], rows, 0.0)
        if self._labels:
            self._factors = (rows * loss.label_weights(np.where(rows > 0, y, 0)))[..., 0]
            self._rows, self._kept = rows[..., 0], 1 - loss.smoothing
            self.y = np.where(rows > 0 if loss.smoothing else self._factors[..., None] > 0, y, -1)
            return
        if samples.classes is None:
            rows = np.ones(y.shape, dtype) if weights is None else np.broadcast_to(weights, y.shape)
            rows = np.where(np.isnan(y), 0, rows) if samples.missing else rows
            rows = rows if there is None else np.where(there[..., None], rows, 0)
        self._factors = rows.astype(dtype)
        self.y = np.where(self._factors != 0, y, 0).astype(dtype)

    def of(self, chosen, packing=None):
        """The Counted of some samples; packing: which steps they have, where they differ in length."""
        if packing is not None and self._samples.stepped:
            steps, sequences = packing.places
            places = chosen[sequences], steps
            factors = self._factors[places]
            total = float(np.sum(factors, dtype=np.float64))
            return Counted(factors, total, self._rows[places] if self._labels else None, self._kept, places)
        if self._labels:
            factors, rows = (part[chosen].T.ravel() for part in (self._factors, self._rows))  # as a loss sees them
            return Counted(factors, float(factors.sum()), rows, self._kept)
        factors = np.ascontiguousarray(self._factors[chosen].swapaxes(0, 1))
        in_rows = self._samples.classes is not None
        return Counted(factors, float(np.sum(factors, dtype=np.float64)) if in_rows else self._total(chosen))

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
        if there is None:
            return float(target.size)
        there = np.broadcast_to(there, target.shape)
        return float(np.sum(there if weights is None else np.where(there, weights, 0), dtype=np.float64))
