"""Cross entropy of labels, from logits, with weights of classes and smoothed labels."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import softmax

from ...arrays.devices import backend_of, device_of, moved, sent
from ...arrays.ieee import ieee
from ...descriptions.fields import Description
from ...errors import ShapeError, finite_numbers, rate
from .targets import ignored, loss_of_labels


def _class_weights(argument, values):
    """A tuple of finite numbers >= 0, one of which is greater, or None."""
    if values is None:
        return None
    expected = "a finite number >= 0 for each class, in a sequence"
    numbers = finite_numbers(argument, values, expected)
    if not numbers or min(numbers) < 0 or not max(numbers):
        raise ValueError(f"{argument}: expected {expected}, not all 0, got {numbers}")
    return numbers


@functools.lru_cache(maxsize=16)
def _alike(rows, count, dtype):
    """``1 / count`` for each row: batches of one size have the same."""
    found = np.full(rows, 1 / count, dtype)
    found.flags.writeable = False
    return found


@dataclass(frozen=True)
class CrossEntropy(Description):
    """The mean over labels of ``-log softmax(prediction)[label]``, from logits, by way of log-sum-exp.

    The prediction are logits, (N, C) or (T, N, C) in any layout; the target are the classes, integers of any dtype from 0 to
    C - 1, (N,) or (T, N): the axes of the prediction without c.

    With p the softmax, v the weights of the classes, e the smoothing, and w the weight of a row, 1 if none is given::

        sum_rows w ((1 - e) v[label] (-log p[label]) + e / C sum_c v[c] (-log p[c])) / sum_rows w v[label]

    That is PyTorch's ``cross_entropy`` with ``weight``, ``label_smoothing`` and ``reduction="mean"``: its smoothed part is
    divided by the weights of the labels as well.  Smoothing: Szegedy et al. 2016, doi:10.1109/CVPR.2016.308, section 7.

    Parameters
    ----------
    ignore_index : int, optional
        A label that counts nothing: its logits are not read and their derivative is 0.  None by default.
    class_weights : sequence of float, optional
        (C,): v, numbers >= 0; 1 for every class if None.
    smoothing : float
        e, from 0 to less than 1: the share of a label's probability that all classes get in equal parts.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> value, gradient = nr.CrossEntropy()(np.zeros((2, 4)), np.array([0, 3]))
    >>> bool(np.isclose(value, np.log(4))), gradient[0]
    (True, array([-0.375,  0.125,  0.125,  0.125]))
    >>> value, gradient = nr.CrossEntropy(class_weights=(3, 1, 1, 0), smoothing=0.1)(np.zeros((2, 4)), np.array([0, 3]))
    >>> gradient[1].round(3)
    array([-0.015,  0.002,  0.002,  0.01 ])
    """

    ignore_index: int | None = None
    class_weights: tuple[float, ...] | None = None
    smoothing: float = 0.0
    name = "cross_entropy"
    accepts: ClassVar = {"ignore_index": ignored, "class_weights": _class_weights, "smoothing": rate}

    def takes_labels(self, y):
        """Whether the targets y are labels, without a channel axis."""
        return True

    def classes(self, channels):
        """The number of classes for a prediction of `channels` channels; ShapeError if the class weights are of another."""
        if self.class_weights is not None and len(self.class_weights) != channels:
            raise ShapeError(f"class_weights: expected one for each of {channels} channels, got {len(self.class_weights)}")
        return channels

    def label_weights(self, labels):
        """The weight of each label's class."""
        return np.ones(labels.shape) if self.class_weights is None else np.asarray(self.class_weights)[labels]

    def shares(self, classes):
        """The share of each class in a row's smoothed part, times the weight of the class."""
        each = np.ones(classes) if self.class_weights is None else np.asarray(self.class_weights)
        return each * (self.smoothing / classes)

    def __call__(
        self,
        prediction: np.ndarray,
        target: np.ndarray,
        lengths: np.ndarray | None = None,
        layout: str = "tnc",
        weights: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """(loss, dloss/dprediction); the sum over labels is taken in float64.

        Parameters
        ----------
        prediction : numpy.ndarray
            (N, C), or (T, N, C) in the order of `layout`.
        target : numpy.ndarray
            (N,) or (T, N) integers.
        lengths : array of int, optional
            (N,): the mean is over so many steps of each sequence; what lies behind is not read, its derivative is 0.
        layout : str
            The letters t, n, c in the order of the prediction's axes; without t for a 2-D one.
        weights : array, optional
            A number >= 0 for each sample, (N,), or for each label, (T, N) in the order of `layout`.  The mean is weighted by
            them.  Where one is 0 the logits are not read, and the derivative is exactly 0.
        """
        return loss_of_labels(self, prediction, target, lengths, layout, weights)

    @ieee
    def of_labels(self, logits, labels, weights=None, sample=None):
        """(loss, derivative) for (rows, C) logits and (rows,) labels of int64, -1 for what counts nothing.

        weights: (rows,), in the host's memory; None for 1.  sample: (rows,), see `NumberLoss.of_rows`.
        """

        def counted(each, total):
            """What a row's part is divided by: the total of all, or of the row's sample."""
            if sample is None:
                return total
            found = np.bincount(sample, each)[sample]
            return np.where(found > 0, found, 1)

        kernel, real = backend_of(logits).losses.cross_entropy, logits.dtype
        if weights is None and self.class_weights is None and not self.smoothing:
            count = int(np.count_nonzero(labels >= 0))
            if not count:
                return 0.0, np.zeros_like(logits)
            if sample is None:
                scales = sent(_alike(len(labels), count, real), device_of(logits))
            else:
                scales = (1 / counted(labels >= 0, count)).astype(real)
            values, _, gradient = kernel(logits, labels, scales)
            return float(values.sum()) / count, gradient
        if weights is None:
            weights = np.ones(len(labels))
        rows = np.where(labels < 0, 0.0, weights.astype(np.float64))
        hits = rows * self.label_weights(np.maximum(labels, 0))  # each label's share of the sum, before smoothing
        total = float(hits.sum())
        if not total:
            return 0.0, np.zeros_like(logits)
        kept, shared = 1 - self.smoothing, counted(hits, total)
        labels = np.where((rows if self.smoothing else hits) > 0, labels, -1)
        smoothing = None
        if self.smoothing:
            smoothing = (rows / shared).astype(real), self.shares(logits.shape[1]).astype(real)
        values, others, gradient = kernel(logits, labels, (kept * hits / shared).astype(real), smoothing)
        hits = moved(hits, device_of(logits))
        value = kept * float(np.where(hits > 0, values * hits, 0).sum())  # a label that weighs nothing may be impossible
        if self.smoothing:
            value += float((others * moved(rows, device_of(logits))).sum())
        return value / total, gradient

    @ieee
    def curvature_of_labels(self, logits, labels, direction, weights=None):
        """The product of the loss's second derivative with a direction, (rows, C); else as `of_labels`."""
        rows = np.where(labels < 0, 0.0, 1.0 if weights is None else weights.astype(np.float64))
        hits = rows * self.label_weights(np.maximum(labels, 0))
        total = float(hits.sum())
        if not total:
            return np.zeros_like(logits)
        classes = logits.shape[1] if self.class_weights is None else sum(self.class_weights)
        counts = ((1 - self.smoothing) * hits + self.smoothing * classes / logits.shape[1] * rows) / total
        there = counts[:, None] > 0
        p = softmax(np.where(there, logits, 0), axis=1)
        moved_p = p * (direction - (p * direction).sum(axis=1, keepdims=True))
        return np.where(there, counts[:, None].astype(logits.dtype) * moved_p, 0)
