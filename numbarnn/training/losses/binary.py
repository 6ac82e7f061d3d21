"""Cross entropy of two classes, from one logit."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...arrays.devices import device_of, moved, read_on
from ...arrays.tensors import host_array
from ...errors import ShapeError
from .numeric import NumberLoss, logistic
from .targets import ignored, loss_of_labels


@dataclass(frozen=True)
class BinaryCrossEntropy(NumberLoss):
    """The mean of ``-y log s(x) - (1 - y) log(1 - s(x))``, s the logistic function, from logits x, without overflow.

    The target are probabilities from 0 to 1, of the prediction's shape and dtype, and the mean is over everything; or, of
    predictions with one channel, labels 0 and 1, integers of any dtype without the channel axis.

    Parameters
    ----------
    ignore_index : int, optional
        A label that counts nothing.  None by default.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> value, gradient = nr.BinaryCrossEntropy()(np.array([[0.0], [800.0]]), np.array([1, 1]))
    >>> bool(np.isclose(value, np.log(2) / 2)), gradient.ravel()
    (True, array([-0.25,  0.  ]))
    """

    ignore_index: int | None = None
    name = "binary_cross_entropy"
    expected, strict = "probabilities from 0 to 1", True
    accepts: ClassVar = {"ignore_index": ignored}

    def takes_labels(self, y):
        """Whether the targets y are labels, without a channel axis."""
        return getattr(y, "dtype", np.dtype(float)).kind in "iu"

    def classes(self, channels):
        """How many labels there are: 2, for a prediction of one channel."""
        if channels != 1:
            raise ShapeError(f"target y: expected probabilities for {channels} channels (labels go with one), got integers")
        return 2

    def allowed(self, target):
        """Where numbers are probabilities."""
        return (target >= 0) & (target <= 1)

    def label_weights(self, labels):
        """What each label counts: 1."""
        return np.ones(labels.shape)

    def __call__(
        self,
        prediction: np.ndarray,
        target: np.ndarray,
        lengths: np.ndarray | None = None,
        layout: str = "tnc",
        weights: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """(loss, dloss/dprediction); see `CrossEntropy.__call__`."""
        target = host_array("target y", target)
        if not self.takes_labels(target):
            return super().__call__(prediction, target, lengths, layout, weights)
        return loss_of_labels(self, prediction, target, lengths, layout, weights)

    def of_labels(self, logits, labels, weights=None, sample=None):
        """(loss, derivative) for (rows, 1) logits and (rows,) labels of int64, -1 for what counts nothing.

        sample: (rows,), see `NumberLoss.of_rows`.
        """
        device = device_of(logits)
        labels = read_on(np.ascontiguousarray(labels), device)[:, None]
        there, y = labels >= 0, labels.astype(logits.dtype)
        weights, sample = (None if part is None else part[:, None] for part in (weights, sample))
        return self.of_rows(logits, y, None if weights is None else moved(weights, device), there, sample)

    def terms(self, prediction, target):
        """The function of each logit, and its derivative: ``exp`` of nothing positive, and 0 times infinity is 0."""
        x, y = prediction, target
        small, probability = logistic(x)
        wrong = np.where(x > 0, 1 - y, y)  # the probability of the label that x speaks against
        value = np.where(wrong == 0, wrong, np.abs(x)) * wrong + np.log1p(small)
        return value, probability - y

    def curvature(self, prediction, target, direction):
        """``s (1 - s)`` times the direction, s the probability; of large logits without cancellation."""
        small = np.exp(-np.abs(prediction))
        return small / np.square(1 + small) * direction

    def curvature_of_labels(self, logits, labels, direction, weights=None):
        """The product of the loss's second derivative with a direction, (rows, 1); else as `of_labels`."""
        y = np.maximum(labels, 0)[:, None].astype(logits.dtype)
        counted = (labels >= 0).astype(logits.dtype) if weights is None else np.where(labels >= 0, weights, 0)
        return self.curvature_of_rows(logits, y, direction, counted[:, None])
