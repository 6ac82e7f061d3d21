"""Losses: one number from predictions and targets, and its exact derivative."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .descriptor import TensorDescriptor, in_layout
from .errors import DTypeError, ShapeError, nearest
from .packing import checked_lengths


@dataclass(frozen=True)
class Loss:
    """The mean over everything (steps, batch, channels) of a function of ``d = prediction - target``.

    Parameters
    ----------
    name : str
    value, slope : callable
        The function of d, and its derivative.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> value, gradient = nr.loss("mse")(np.array([[1.0], [3.0]]), np.array([[0.0], [1.0]]))
    >>> value, gradient.ravel()
    (2.5, array([1., 2.]))
    """

    name: str
    value: Callable
    slope: Callable

    def __call__(
        self, prediction: np.ndarray, target: np.ndarray, lengths: np.ndarray | None = None, layout: str = "tnc"
    ) -> tuple[float, np.ndarray]:
        """(loss, dloss/dprediction); the sum is taken in float64.

        Parameters
        ----------
        prediction, target : numpy.ndarray
            Of one shape and dtype.
        lengths : array of int, optional
            (N,): the mean is over so many steps of each sequence of a (T, N, C) array; what lies behind is not read, and
            the derivative is 0 there.
        layout : str
            The letters t, n, c in the order of the axes, where there are lengths.
        """
        check_target(prediction, target)
        if lengths is None:
            difference, count = prediction - target, prediction.size
        else:
            there = _steps_there(prediction, lengths, layout)
            difference = np.subtract(prediction, target, out=np.zeros_like(prediction), where=there)
            count = np.count_nonzero(there)
        total = float(np.add.reduce(self.value(difference), None, np.float64)) / count
        return total, self.slope(difference) / prediction.dtype.type(count)


def _steps_there(array, lengths, layout):
    """Whether a number belongs to a step that its sequence has, shaped like an array with three axes."""
    described = TensorDescriptor.of(array, layout, "prediction")
    if len(described.layout) != 3:
        raise ShapeError(f"prediction: expected 3 axes ({layout}) together with lengths, got shape {array.shape}")
    lengths = checked_lengths(lengths, described.batch, described.steps)
    if not lengths.any():
        raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
    there = np.arange(described.steps)[:, None, None] < lengths[:, None]
    tnc = np.broadcast_to(there, (described.steps, described.batch, described.channels))
    return in_layout(tnc, described.layout)


def check_target(prediction, target):
    """Raise unless `target` is an array of the shape and dtype of `prediction`."""
    if not isinstance(target, np.ndarray):
        raise TypeError(f"y: expected a numpy.ndarray, got {type(target).__name__}")
    if target.shape != prediction.shape:
        raise ShapeError(f"y: expected shape {prediction.shape} like the prediction, got {target.shape}")
    if target.dtype != prediction.dtype:
        raise DTypeError(f"y: expected {prediction.dtype} like the prediction, got {target.dtype}")


def _huber(d):
    size = np.abs(d)
    return np.where(size <= 1, 0.5 * d * d, size - 0.5)


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("mse", np.square, lambda d: 2 * d),  # mean of d^2
        Loss("half_mse", lambda d: 0.5 * d * d, lambda d: d),  # mean of d^2 / 2
        Loss("mae", np.abs, np.sign),  # mean of |d|, slope 0 at 0
        Loss("huber", _huber, lambda d: np.clip(d, -1, 1)),  # Huber 1964, doi:10.1214/aoms/1177703732, delta 1
    )
}
ALIASES = {"quadratic": "half_mse"}


def loss(name: str | Callable) -> Callable:
    """The loss called `name`: ``mse``, ``half_mse`` (also ``quadratic``), ``mae`` or ``huber``.

    A callable ``(prediction, target) -> (loss, dloss/dprediction)`` is returned as it is.
    """
    if callable(name):
        return name
    canonical = ALIASES.get(name, name) if isinstance(name, str) else None
    if canonical not in LOSSES:
        raise nearest("loss", name, (*LOSSES, *ALIASES))
    return LOSSES[canonical]
