"""An output of a network or a graph as its loss sees it, and the loss's derivatives laid out like the output."""

from dataclasses import dataclass

import numpy as np

from ..arrays.batch import Batch
from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import device_of
from ..arrays.rows import like
from ..training.losses import NashSutcliffe, is_of_library
from ..training.samples import Samples
from .comparison import Comparison
from .placing import brought


@dataclass(frozen=True, eq=False)
class Seen:
    """An output that has a loss.

    Attributes
    ----------
    view : Comparison
    loss : callable
    weight : float
        What the loss is multiplied with.
    samples : Samples
    batch : Batch
        From which the output has its steps.
    value : TensorDescriptor
        The output, or dual numbers of it.
    """

    view: Comparison
    loss: object
    weight: float
    samples: Samples
    batch: Batch
    value: TensorDescriptor

    def derivative(self, value):
        """The derivative of the loss at a value of the output, in the order in which the loss sees it."""
        return self.weight * self.view._call_loss(self.loss, *self._compared(value), self.samples)[1]

    def derivative_apart(self):
        """The derivative of each sample's own loss, by itself, in the same order; 0 of a sample in which nothing counts."""
        prediction, target, weights = self._compared(self.value)
        if is_mean_of_samples(self.loss):
            each = self.view._sample_rows(self.batch, self.samples)
            return self.weight * self.view._call_loss(self.loss, prediction, target, weights, self.samples, each)[1]
        found = np.zeros_like(prediction)
        for n, rows in enumerate(self._rows_of_samples()):
            if self.samples.counts[n]:
                own = (None if each is None else each[rows].copy() for each in (prediction, target, weights))
                found[rows] = self.view._call_loss(self.loss, *own, self.samples)[1]
        return self.weight * found

    def _compared(self, value):
        """(prediction, target, weights) as the loss sees them, at a value of the output."""
        rows = self.view._rows(value, self.samples).copy(), self.view._target_rows(self.batch, value, self.samples)
        return *rows, self.view._weight_rows(self.batch, self.samples)

    def _rows_of_samples(self):
        """For each sample where its numbers lie in what the loss sees."""
        if not self.samples.in_rows:
            before = (slice(None),) * self.view.output_layout.index("n")
            return [(*before, slice(n, n + 1)) for n in range(self.samples.x.count)]
        of_rows = self.view._sample_rows(self.batch, self.samples)[:, 0]
        ends = np.cumsum(np.bincount(of_rows, minlength=self.samples.x.count))
        return np.split(np.argsort(of_rows, kind="stable"), ends[:-1])

    def bent(self, value, moved):
        """The product of the loss's second derivative at a value with how that moves, in the same order; on the host."""
        return self.weight * self.view._bent(self.loss, self.batch, value, moved, self.samples)

    def slope(self, rows):
        """A descriptor of a derivative that is given in that order: laid out like the output."""
        described = like(self.value)
        self.view._rows(described, self.samples)[...] = brought(rows, device_of(described.array))
        return described


def is_mean_of_samples(loss):
    """Whether a loss is a mean over samples of what it is of each."""
    return is_of_library(loss) and not isinstance(loss, NashSutcliffe)  # whose spread is of all samples
