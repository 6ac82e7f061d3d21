"""Losses: one number from predictions and targets, and its exact derivative."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .errors import DTypeError, ShapeError, nearest


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

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """(loss, dloss/dprediction); the sum is taken in float64."""
        check_target(prediction, target)
        difference = prediction - target
        total = float(np.sum(self.value(difference), dtype=np.float64)) / difference.size
        return total, self.slope(difference) / prediction.dtype.type(difference.size)


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
