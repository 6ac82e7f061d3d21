"""What is said of predictions besides their loss: accuracy, other losses, functions of one's own."""

import functools
import inspect
from collections.abc import Iterable, Mapping

import numpy as np

from ..arrays.conversion import numbers_like
from ..arrays.descriptor import checked_array
from ..arrays.devices import moved
from ..arrays.indices import Indices
from ..arrays.ragged import Ragged
from ..errors import DTypeError, NonFiniteError, ShapeError, integer, nearest, real, takes
from .history import COLUMNS, OF_VALIDATION
from .losses import (
    LOSSES,
    check_weights,
    checked_weights,
    count_labels,
    is_of_library,
    labelled_rows,
    rows_of_weights,
)

MODES = {"accuracy": "max"} | dict.fromkeys(LOSSES, "min")  # of the library's metrics: which values are better


def accuracy(
    prediction: np.ndarray | Ragged,
    target: np.ndarray | Ragged,
    lengths: np.ndarray | None = None,
    layout: str = "tnc",
    ignore_index: int | None = None,
    weights: np.ndarray | Ragged | None = None,
) -> float:
    """The share of labels that are predicted, each by its weight.

    Of C channels the label predicted is the one of the largest, the first of equals; of a single one it is 1 where it is
    positive, else 0.

    Parameters
    ----------
    prediction : numpy.ndarray or Ragged
        Logits or probabilities, (N, C) or (T, N, C); of a single channel logits.
    target : numpy.ndarray or Ragged
        The labels, integers of any dtype from 0 to C - 1 (from 0 to 1 of a single channel), (N,) or (T, N).
    lengths : array of int, optional
        (N,): the steps of each sequence; what lies behind them does not count.
    layout : str
        The letters t, n, c in the order of the prediction's axes; without t for a 2-D one.
    ignore_index : int, optional
        A label that counts nothing.
    weights : array or Ragged, optional
        Numbers >= 0 that labels count, as of a loss: one for each sample, (N,), or for each label; of a Ragged prediction a
        Ragged of one channel.  Where one is 0, what is predicted is not read.  1 for all if None.

    Returns
    -------
    float

    Raises
    ------
    NonFiniteError
        Where a prediction that counts is NaN.
    TypeError, DTypeError, ShapeError, IndexRangeError, ValueError
        Named ``prediction``, ``target``, ``lengths``, ``ignore_index`` or ``weights``, if it is not as described.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> nr.accuracy(np.array([[0.1, 0.9], [2.0, -1.0], [0.0, 3.0]]), np.array([1, 0, 0]))
    0.6666666666666666
    """
    if ignore_index is not None:
        ignore_index = integer("ignore_index", ignore_index, "an integer or None")
    if isinstance(prediction, Ragged):
        if lengths is not None:
            raise TypeError(f"lengths: expected None for a Ragged, which has its own, got {type(lengths).__name__}")
        checked_array("prediction", prediction.data)
        if not isinstance(target, Ragged) or not np.array_equal(prediction.offsets, target.offsets):
            raise ShapeError(f"target y: expected a Ragged with the offsets of the prediction, got {target!r}")
        if target.dtype.kind not in "iu":
            raise DTypeError(f"target y: expected integers, got {target.dtype}")
        rows = prediction.data
        indices = Indices.of(target.data, "n", "target y")
        labels = indices.checked("target y", "labels", _classes(prediction.channels), ignore_index)
        weights = None if weights is None else _weights_of_ragged(prediction, weights)
    else:
        prediction = checked_array("prediction", prediction)
        rows, labels, letters = labelled_rows(prediction, target, lengths, layout, _classes, ignore_index)
        weights = rows_of_weights(prediction, weights, letters)
    count = count_labels(labels)
    if weights is not None:
        labels = np.where(weights > 0, labels, -1)
        if not (labels >= 0).any():
            raise ValueError("weights: expected a number > 0 for at least one label that counts, got none")
    unknown = moved(np.isnan(rows).any(axis=1), "cpu") & (labels >= 0)
    if unknown.any():
        count = int(np.count_nonzero(unknown))
        raise NonFiniteError(f"prediction: expected numbers, got NaN for {count} of {len(labels)} labels")
    found = rows[:, 0] > 0 if rows.shape[1] == 1 else rows.argmax(axis=1)
    right = (moved(found, "cpu") == labels) & (labels >= 0)
    if weights is None:
        return int(np.count_nonzero(right)) / count
    weights = weights.astype(np.float64)
    return float(weights[right].sum() / weights[labels >= 0].sum())


def checked_metrics(metrics, samples):
    """{name: metric} of what a user gives as `metrics`; a typed error if it is no such thing.

    A metric is one of the library's, by name, or a function of (prediction, target), or of (prediction, target, weights).

    samples : Samples or None
        What they will be measured on, if that is known.
    """
    expected = "a sequence of names and functions, or a dict of functions by name"
    if isinstance(metrics, (str, bytes)) or callable(metrics):
        raise TypeError(f"metrics: expected {expected}, got {metrics!r}; a single one goes in a list")
    if not isinstance(metrics, Iterable):
        raise TypeError(f"metrics: expected {expected}, got {metrics!r} ({type(metrics).__name__})")
    given, found = metrics.items() if isinstance(metrics, Mapping) else enumerate(metrics), {}
    for key, metric in given:
        argument = f"metrics[{key!r}]"
        if isinstance(metric, str):
            if metric not in MODES:
                raise nearest(argument, metric, MODES)
            name = metric
        elif is_of_library(metric):
            name = metric.name
        else:
            takes(
                argument, functools.partial(metric, weights=None) if _takes_weights(metric) else metric, "prediction, target"
            )  # fmt: skip
            name = getattr(metric, "__name__", type(metric).__name__)
        if metric is accuracy:
            metric = "accuracy"
        name = key if isinstance(key, str) else name
        if name in found or name in ("epoch", *COLUMNS) or name.startswith(OF_VALIDATION):
            raise ValueError(
                f"{argument}: expected a name of its own, got {name!r}; a dict of functions by name gives another"
            )
        if metric == "accuracy" and samples is not None and samples.classes is None:
            raise TypeError(f"{argument}: expected targets that are labels, integers without a channel axis, got numbers")
        found[name] = metric
    return found


def measured(metrics, prediction, target, weights, labelled, value_of):
    """{name: float} of what metrics say of a prediction and its targets, which they get as copies in the host's memory.

    weights : array or None
        The weights of the samples, with one channel, beside the target.
    labelled : bool
        Whether the target are labels, of which those that are negative do not count.
    value_of : callable
        The value of a loss of the library, with the weights and gaps of the samples.
    """
    found = {}
    for name, metric in metrics.items():
        loss = LOSSES.get(metric) if isinstance(metric, str) else metric
        if is_of_library(loss):
            found[name] = value_of(loss)
            continue
        metric = accuracy if loss is None else metric
        given = [moved(part, "cpu") for part in (prediction, target, *([] if weights is None else [weights]))]
        if labelled:
            counted = given[1] >= 0
            if not counted.any():
                raise ValueError(f"metrics[{name!r}]: expected at least one label that counts, got none")
            own, right, *weighed = (part[counted] for part in given)
            weighed = [part[:, 0] for part in weighed]
        else:
            own, right, *weighed = (part.copy() for part in given)
        more = {"weights": weighed[0] if weighed else None} if _takes_weights(metric) else {}
        found[name] = real(f"metrics[{name!r}]", metric(own, right, **more), "a function that returns a number")
    return found


def _takes_weights(metric):
    """Whether a function has an argument for the weights of the samples."""
    try:
        return "weights" in inspect.signature(metric).parameters
    except (TypeError, ValueError):  # a function of C that does not tell
        return False


def _weights_of_ragged(prediction, weights):
    """(rows,) of a weight for each sequence of a Ragged, or for each of its steps."""
    if not isinstance(weights, Ragged):
        return np.repeat(checked_weights(weights, {"n": len(prediction)}, prediction.dtype), prediction.lengths)
    if weights.channels != 1 or not np.array_equal(weights.offsets, prediction.offsets):
        raise ShapeError(f"weights: expected a Ragged of one channel with the offsets of the prediction, got {weights!r}")
    data = moved(numbers_like("weights", weights.data.reshape(-1), prediction.dtype), "cpu")
    check_weights(data)
    return data


def _classes(channels):
    """The number of classes of a prediction of `channels` channels: a single channel tells two."""
    return max(2, channels)
