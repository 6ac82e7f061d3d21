"""The losses by name, and what a loss has to return."""

import inspect
from collections.abc import Callable

import numpy as np

from ...arrays.devices import device_of, expect_device
from ...errors import DTypeError, ShapeError, nearest, plain, takes
from .binary import BinaryCrossEntropy
from .classes import CrossEntropy
from .differences import MAE, MSE, HalfMSE, Huber
from .efficiency import NashSutcliffe
from .likelihoods import GaussianNLL, PoissonNLL
from .numeric import NumberLoss
from .quantile import Quantile

CLASSES = (
    MSE, HalfMSE, MAE, Huber, Quantile, GaussianNLL, PoissonNLL, NashSutcliffe, CrossEntropy, BinaryCrossEntropy,
)  # fmt: skip
LOSSES = {cls.name: cls() for cls in CLASSES}
ALIASES = {"quadratic": "half_mse"}
KINDS = NumberLoss, BinaryCrossEntropy, CrossEntropy  # whose calls are known


def is_of_library(loss):
    """Whether a loss is called as one of these, of which it is known what it makes of a NaN and of its arguments."""
    return any(isinstance(loss, kind) and type(loss).__call__ is kind.__call__ for kind in KINDS)


def compared(loss):
    """A loss as ranks compare it: of one of the user's, which may hold what its rank has, the name of its class."""
    return loss if is_of_library(loss) else type(loss).__name__


def takes_any(loss):
    """Whether a loss is a function of one's own, which says nothing of the targets that it takes."""
    return callable(loss) and not is_of_library(loss) and not hasattr(loss, "takes_labels")


def check_takes_weights(loss):
    """Raise TypeError unless a loss can be called with weights, ``(prediction, target, weights=weights)``."""
    if is_of_library(loss):
        return
    try:
        inspect.signature(loss).bind(None, None, weights=None)
    except TypeError:
        kind = getattr(loss, "__qualname__", type(loss).__qualname__)
        expected = "a loss of (prediction, target, weights), as there are weights"
        raise TypeError(f"loss: expected {expected}, got {kind}{inspect.signature(loss)}") from None
    except ValueError:  # a function of C that does not tell
        return


def checked_result(found, prediction):
    """(loss, gradient) as a float and an array, if a loss has returned these; else a typed error."""
    if not isinstance(found, tuple) or len(found) != 2:
        what = f"{len(found)} of them" if isinstance(found, tuple) else type(found).__name__
        raise TypeError(f"loss: expected a pair (loss, gradient), got {what}")
    value, gradient = found
    if type(value) is not float:
        what = type(value).__name__ + (f" of shape {np.shape(value)}" if np.ndim(value) else "")
        if isinstance(value, (bool, np.bool_, str, bytes)) or np.ndim(value) or not np.isrealobj(value):
            raise TypeError(f"loss: expected a real number and its gradient, got {what} as the number")
        try:
            value = float(value)
        except TypeError:
            raise TypeError(f"loss: expected a real number and its gradient, got {what} as the number") from None
    if np.shape(gradient) != prediction.shape:
        raise ShapeError(f"loss: expected a gradient of shape {prediction.shape}, got {np.shape(gradient)}")
    plain("loss", gradient, "a gradient that is a numpy.ndarray")
    dtype = getattr(gradient, "dtype", type(gradient).__name__)
    if dtype != prediction.dtype:
        raise DTypeError(f"loss: expected a gradient of {prediction.dtype} like the prediction, got {dtype}")
    expect_device("loss", gradient, device_of(prediction))
    return value, gradient


def loss(name: str | Callable) -> Callable:
    """The loss called `name`.

    ``mse``, ``half_mse`` (also ``quadratic``), ``mae``, ``huber``, ``nash_sutcliffe``; of several channels for each target
    ``quantile`` and ``gaussian_nll``; of logarithms of rates ``poisson_nll``; of logits ``cross_entropy`` and
    ``binary_cross_entropy``.  Each is one of a class (`MSE`, `HalfMSE`, `MAE`, `Huber`, `NashSutcliffe`, `Quantile`,
    `GaussianNLL`, `PoissonNLL`, `CrossEntropy`, `BinaryCrossEntropy`), whose other options make another one.

    A callable ``(prediction, target) -> (loss, dloss/dprediction)`` is returned as it is.  With integers without a channel
    axis as the targets, (N,) or (T, N), it gets rows: predictions (rows, C) and its integers (rows,), of int64.
    """
    if callable(name):
        if isinstance(name, type):
            raise TypeError(f"loss: expected a loss or its name, got the class {name.__name__}; {name.__name__}() makes one")
        if not is_of_library(name):
            takes("loss", name, "prediction, target")
        return name
    canonical = ALIASES.get(name, name) if isinstance(name, str) else None
    if canonical not in LOSSES:
        raise nearest("loss", name, (*LOSSES, *ALIASES))
    return LOSSES[canonical]
