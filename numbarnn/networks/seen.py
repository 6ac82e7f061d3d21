"""An output of a network or a graph as its loss sees it, and the loss's derivatives laid out like the output."""

from dataclasses import dataclass

from ..arrays.batch import Batch
from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import device_of
from ..arrays.rows import like
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

    def derivative(self, value, apart=False):
        """The derivative of the loss at a value of the output, in the order in which the loss sees it.

        apart: of each sample's own loss, see `Derived._is_apart`.
        """
        seen = self.view._rows(value, self.samples).copy(), self.view._target_rows(self.batch, value, self.samples)
        weights = self.view._weight_rows(self.batch, self.samples)
        each = self.view._sample_rows(self.batch, self.samples) if apart else None
        return self.weight * self.view._call_loss(self.loss, *seen, weights, self.samples, each)[1]

    def bent(self, value, moved):
        """The product of the loss's second derivative at a value with how that moves, in the same order; on the host."""
        return self.weight * self.view._bent(self.loss, self.batch, value, moved, self.samples)

    def slope(self, rows):
        """A descriptor of a derivative that is given in that order: laid out like the output."""
        described = like(self.value)
        self.view._rows(described, self.samples)[...] = brought(rows, device_of(described.array))
        return described
