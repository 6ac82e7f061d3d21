"""Losses: one number from predictions and targets, and its exact derivative."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays.descriptor import TensorDescriptor, checked_array, in_layout, is_array
from ..arrays.devices import backend_of, contiguous, device_of, expect_device, moved
from ..arrays.ieee import ieee
from ..arrays.indices import Indices, checked_integers
from ..arrays.packing import checked_lengths, packing_of
from ..descriptions.fields import Description, optional
from ..errors import DTypeError, ShapeError, integer, nearest, plain, takes


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

    def __reduce__(self):
        """One of the library's is sent by its name."""
        return (loss, (self.name,)) if LOSSES.get(self.name) is self else super().__reduce__()

    def __call__(
        self, prediction: np.ndarray, target: np.ndarray, lengths: np.ndarray | None = None, layout: str = "tnc"
    ) -> tuple[float, np.ndarray]:
        """(loss, dloss/dprediction); the sum is taken in float64.

        Parameters
        ----------
        prediction, target : numpy.ndarray
            Of one shape and dtype, float32 or float64.
        lengths : array of int, optional
            (N,): the mean is over so many steps of each sequence of a (T, N, C) array; what lies behind is not read, and
            the derivative is 0 there.
        layout : str
            The letters t, n, c in the order of the axes, where there are lengths.

        Raises
        ------
        TypeError, DTypeError, ShapeError
            Named ``prediction`` or ``y`` (the target), if it is not as described, or empty.
        """
        check_target(prediction, target)
        there, count = _steps_there(prediction, lengths, layout)
        return self._mean(prediction, target, there, count)

    @ieee
    def _mean(self, prediction, target, there, count):
        """(loss, derivative): the sum over what is there, divided by count; again in float64 where float32 overflows."""
        total, slope = self._taken(prediction, target, there)
        if not math.isfinite(total) and prediction.dtype != np.float64:  # perhaps a square that float32 cannot hold
            total, slope = self._taken(prediction.astype(np.float64), target.astype(np.float64), there)
            return total / count, (slope / count).astype(prediction.dtype)
        return total / count, slope / prediction.dtype.type(count)

    def _taken(self, prediction, target, there):
        """The sum and the slopes of the differences that are `there`."""
        difference = _masked(there, prediction - target)
        return float(np.sum(self.value(difference), dtype=np.float64)), self.slope(difference)


def _steps_there(array, lengths, layout):
    """(whether a number belongs to a step that its sequence has, for each of an array; how many do); None for all."""
    if lengths is None:
        return None, array.size
    described = TensorDescriptor.of(array, layout, "prediction")
    if len(described.layout) != 3:
        raise ShapeError(f"prediction: expected 3 axes ({layout}) together with lengths, got shape {array.shape}")
    lengths = checked_lengths(lengths, described.batch, described.steps)
    if not lengths.any():
        raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
    there = np.arange(described.steps)[:, None, None] < lengths[:, None]
    tnc = np.broadcast_to(there, (described.steps, described.batch, described.channels))
    return moved(in_layout(tnc, described.layout), device_of(array)), int(lengths.sum()) * described.channels


def check_target(prediction, target):
    """Raise unless both are arrays of real numbers, of one shape and dtype."""
    _some(checked_array("prediction", prediction))
    if not is_array(target):
        raise TypeError(f"target y: expected a numpy.ndarray, got {type(target).__name__}")
    plain("target y", target)
    expect_device("target y", target, device_of(prediction))
    if target.shape != prediction.shape:
        raise ShapeError(f"target y: expected shape {prediction.shape} like the prediction, got {target.shape}")
    if target.dtype != prediction.dtype:
        raise DTypeError(f"target y: expected {prediction.dtype} like the prediction, got {target.dtype}")


def _some(prediction):
    """`prediction`; ShapeError if there is none."""
    if not prediction.size:
        raise ShapeError(f"prediction: expected at least one number, got shape {prediction.shape}")
    return prediction


def _described(prediction, layout):
    """A descriptor of predictions: a 2-D array has no steps."""
    without_time = np.ndim(prediction) == 2 and isinstance(layout, str) and len(layout) == 3
    return TensorDescriptor.of(prediction, layout.replace("t", "") if without_time else layout, "prediction")


def labelled_rows(prediction, target, lengths, layout, classes, ignore_index):
    """((rows, C) logits, (rows,) labels, letters) of arrays in a layout; -1 for what is ignored or past a length.

    classes: a function that says how many there are for so many channels.
    """
    described = _described(_some(checked_array("prediction", prediction)), layout)
    letters, labels = described.layout.replace("c", ""), checked_integers("target y", target)
    expected = tuple(length for letter, length in zip(described.layout, prediction.shape) if letter != "c")
    if labels.shape != expected:
        raise ShapeError(f"target y: expected shape {expected} ({letters}) like the prediction, got {labels.shape}")
    classes, indices = classes(described.channels), Indices.of(labels, letters, "target y")
    if lengths is not None and len(described.layout) != 3:
        raise ShapeError(f"prediction: expected 3 axes ({layout}) together with lengths, got shape {prediction.shape}")
    rows = np.full((described.steps, described.batch), -1)
    packing = packing_of(described.steps, described.batch, lengths)
    rows[packing.places] = Indices(packing, indices.array).checked("target y", "labels", classes, ignore_index)
    return contiguous(described.tnc).reshape(-1, described.channels), rows.ravel(), described.layout


def count_labels(labels):
    """How many of the rows count; ValueError if none does."""
    count = int(np.count_nonzero(labels >= 0))
    if not count:
        raise ValueError("target y: expected at least one label that is neither ignored nor past the end, got none")
    return count


def _laid_out(rows, prediction, letters):
    """A derivative (rows, C) in the layout of the prediction."""
    lengths = dict(zip(letters, prediction.shape))
    return in_layout(rows.reshape(lengths.get("t", 1), lengths.get("n", 1), lengths["c"]), letters)


_ignore_index = optional(functools.partial(integer, expected="an integer or None"))


@dataclass(frozen=True)
class CrossEntropy(Description):
    """The mean over labels of ``-log softmax(prediction)[label]``, from logits, by way of log-sum-exp.

    The prediction are logits, (N, C) or (T, N, C) in any layout; the target are the classes, integers of any dtype from 0 to
    C - 1, (N,) or (T, N): the axes of the prediction without c.

    Parameters
    ----------
    ignore_index : int, optional
        A label that counts nothing: its logits are not read and their derivative is 0.  None by default.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> value, gradient = nr.CrossEntropy()(np.zeros((2, 4)), np.array([0, 3]))
    >>> bool(np.isclose(value, np.log(4))), gradient[0]
    (True, array([-0.375,  0.125,  0.125,  0.125]))
    """

    ignore_index: int | None = None
    name = "cross_entropy"
    accepts: ClassVar = {"ignore_index": _ignore_index}

    def takes_labels(self, y):
        """Whether the targets y are labels, without a channel axis."""
        return True

    def classes(self, channels):
        """How many labels there are for a prediction of so many channels."""
        return channels

    def __call__(
        self, prediction: np.ndarray, target: np.ndarray, lengths: np.ndarray | None = None, layout: str = "tnc"
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
        """
        rows, labels, letters = labelled_rows(prediction, target, lengths, layout, self.classes, self.ignore_index)
        return _shaped(self.of_rows(rows, labels), prediction, letters)

    def of_rows(self, logits, labels):
        """(loss, derivative) for (rows, C) logits and (rows,) labels of int64, -1 for what counts nothing."""
        count = count_labels(labels)
        values, gradient = backend_of(logits).losses.cross_entropy(logits, labels, 1 / count)
        return float(values.sum()) / count, gradient


def _shaped(found, prediction, letters):
    """A (loss, gradient) pair, the gradient laid out like the prediction."""
    value, gradient = found
    return value, _laid_out(gradient, prediction, letters)


@dataclass(frozen=True)
class BinaryCrossEntropy(Description):
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
    accepts: ClassVar = {"ignore_index": _ignore_index}

    def takes_labels(self, y):
        """Whether the targets y are labels, without a channel axis."""
        return getattr(y, "dtype", np.dtype(float)).kind in "iu"

    def classes(self, channels):
        """How many labels there are: 2, for a prediction of one channel."""
        if channels != 1:
            raise ShapeError(f"target y: expected probabilities for {channels} channels (labels go with one), got integers")
        return 2

    def __call__(
        self, prediction: np.ndarray, target: np.ndarray, lengths: np.ndarray | None = None, layout: str = "tnc"
    ) -> tuple[float, np.ndarray]:
        """(loss, dloss/dprediction); see `CrossEntropy.__call__`."""
        if self.takes_labels(target):
            rows, labels, letters = labelled_rows(prediction, target, lengths, layout, self.classes, self.ignore_index)
            return _shaped(self.of_rows(rows, labels), prediction, letters)
        check_target(prediction, target)
        there, count = _steps_there(prediction, lengths, layout)
        y = _masked(there, target)
        wrong = no_probability(y)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(moved(wrong, "cpu"))[0])
            raise ValueError(f"target y: expected probabilities from 0 to 1, got {moved(target, 'cpu')[place]} at {place}")
        return self._mean(prediction, y, there, count)

    def of_rows(self, logits, labels):
        """(loss, derivative) for (rows, 1) logits and (rows,) labels of int64, -1 for what counts nothing."""
        count, device = count_labels(labels), device_of(logits)
        there, y = moved(labels[:, None] >= 0, device), moved(labels[:, None].astype(logits.dtype), device)
        return self._mean(logits, y, there, count)

    @ieee
    def _mean(self, logits, y, there, count):
        """(loss, derivative) of logits and probabilities y, where `there` is True; all where it is None."""
        value, slope = self._terms(_masked(there, logits), y)
        total = float(np.sum(_masked(there, value), dtype=np.float64))
        return total / count, _divided(_masked(there, slope), logits, count)

    @staticmethod
    def _terms(x, y):
        """The function of each logit, and its derivative: ``exp`` of nothing positive, and 0 times infinity is 0."""
        size = np.abs(x)
        small, wrong = np.exp(-size), np.where(x > 0, 1 - y, y)  # wrong: the probability of the label that x speaks against
        value = np.where(wrong == 0, wrong, size) * wrong + np.log1p(small)
        return value, np.where(x >= 0, 1, small) / (1 + small) - y


def no_probability(y):
    """Where an array has a number that is not from 0 to 1."""
    return ~((y >= 0) & (y <= 1))


def _masked(there, array):
    """An array, and 0 where `there` is False; all of it if that is None."""
    return array if there is None else np.where(there, array, 0)


def _divided(slope, prediction, count):
    """A slope divided by count, in the prediction's dtype."""
    return slope.astype(prediction.dtype, copy=False) / prediction.dtype.type(count)


def takes_labels(loss, y):
    """Whether a loss takes y as labels of classes, integers without a channel axis."""
    return hasattr(loss, "takes_labels") and loss.takes_labels(y)


def _huber(d):
    """Huber's function of each difference: ``d^2 / 2`` up to 1, ``|d| - 1 / 2`` from there on."""
    size = np.abs(d)
    small = np.minimum(size, 1)
    return small * (size - 0.5 * small)


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("mse", np.square, lambda d: 2 * d),  # mean of d^2
        Loss("half_mse", lambda d: 0.5 * d * d, lambda d: d),  # mean of d^2 / 2
        Loss("mae", np.abs, np.sign),  # mean of |d|, slope 0 at 0
        Loss("huber", _huber, lambda d: np.clip(d, -1, 1)),  # Huber 1964, doi:10.1214/aoms/1177703732, delta 1
        CrossEntropy(),
        BinaryCrossEntropy(),
    )
}
ALIASES = {"quadratic": "half_mse"}


def is_of_library(loss):
    """Whether a loss is called as one of these, of which it is known what it makes of a NaN and of its arguments."""
    kinds = (Loss, CrossEntropy, BinaryCrossEntropy)
    return any(isinstance(loss, kind) and type(loss).__call__ is kind.__call__ for kind in kinds)


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

    ``mse``, ``half_mse`` (also ``quadratic``), ``mae``, ``huber``; ``cross_entropy`` and ``binary_cross_entropy``, of logits
    (`CrossEntropy` and `BinaryCrossEntropy` take an ``ignore_index`` besides).

    A callable ``(prediction, target) -> (loss, dloss/dprediction)`` is returned as it is.
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
