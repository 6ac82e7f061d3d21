"""Targets and weights as losses read them: checked against the prediction, labels in rows."""

import functools

import numpy as np

from ...arrays.conversion import numbers_like
from ...arrays.descriptor import TensorDescriptor, checked_array, in_layout, is_array
from ...arrays.devices import contiguous, device_of, expect_device, moved
from ...arrays.indices import Indices, checked_integers
from ...arrays.packing import checked_lengths, packing_of
from ...arrays.tensors import host_array
from ...descriptions.fields import optional
from ...errors import DTypeError, ShapeError, integer, plain

ignored = optional(functools.partial(integer, expected="an integer or None"))  # the check of a field ignore_index


def takes_labels(loss, y):
    """Whether a loss takes y as labels of classes, integers without a channel axis."""
    return hasattr(loss, "takes_labels") and loss.takes_labels(y)


def target_channels(loss, channels):
    """The number of target channels for a prediction of `channels` channels: the same, unless the loss says otherwise."""
    return loss.target_channels(channels) if hasattr(loss, "target_channels") else channels


def checked_target(prediction, target, channels=None, axis=-1):
    """(prediction, target), if they are arrays of one real dtype and shape, but for the target's number of `channels`."""
    prediction, target = some(checked_array("prediction", prediction)), host_array("target y", target)
    if not is_array(target):
        raise TypeError(f"target y: expected a numpy.ndarray, got {type(target).__name__}")
    plain("target y", target)
    expect_device("target y", target, device_of(prediction))
    expected, how = prediction.shape, "like the prediction"
    if channels is not None and channels != expected[axis]:
        how = f"for a prediction of shape {expected}"
        expected = tuple(channels if i == axis % len(expected) else length for i, length in enumerate(expected))
    if target.shape != expected:
        raise ShapeError(f"target y: expected shape {expected} {how}, got {target.shape}")
    if target.dtype != prediction.dtype:
        raise DTypeError(f"target y: expected {prediction.dtype} like the prediction, got {target.dtype}")
    return prediction, target


def some(prediction):
    """`prediction`; ShapeError if there is none."""
    if not prediction.size:
        raise ShapeError(f"prediction: expected at least one number, got shape {prediction.shape}")
    return prediction


def described(prediction, layout):
    """A descriptor of predictions: a 2-D array has no steps."""
    prediction = checked_array("prediction", prediction)
    without_time = prediction.ndim == 2 and isinstance(layout, str) and len(layout) == 3
    return TensorDescriptor.of(prediction, layout.replace("t", "") if without_time else layout, "prediction")


def steps_there(found, lengths, layout):
    """Whether each step of a descriptor is one that its sequence has, (T, N)."""
    if len(found.layout) != 3:
        shape = found.array.shape
        raise ShapeError(f"prediction: expected 3 axes ({layout}) together with lengths, got shape {shape}")
    lengths = checked_lengths(lengths, found.batch, found.steps)
    if not lengths.any():
        raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
    return np.arange(found.steps)[:, None] < lengths


def labelled_rows(prediction, target, lengths, layout, classes, ignore_index):
    """((rows, C) logits, (rows,) labels, letters) of arrays in a layout; -1 for what is ignored or past a length.

    classes: a function that says how many there are for so many channels.
    """
    prediction = some(checked_array("prediction", prediction))
    found = described(prediction, layout)
    letters, labels = found.layout.replace("c", ""), checked_integers("target y", target)
    expected = tuple(length for letter, length in zip(found.layout, prediction.shape) if letter != "c")
    if labels.shape != expected:
        raise ShapeError(f"target y: expected shape {expected} ({letters}) like the prediction, got {labels.shape}")
    classes, indices = classes(found.channels), Indices.of(labels, letters, "target y")
    if lengths is not None and len(found.layout) != 3:
        raise ShapeError(f"prediction: expected 3 axes ({layout}) together with lengths, got shape {prediction.shape}")
    rows = np.full((found.steps, found.batch), -1)
    packing = packing_of(found.steps, found.batch, lengths)
    rows[packing.places] = Indices(packing, indices.array).checked("target y", "labels", classes, ignore_index)
    return contiguous(found.tnc).reshape(-1, found.channels), rows.ravel(), found.layout


def loss_of_labels(loss, prediction, target, lengths, layout, weights):
    """What `of_labels` of a loss returns for arrays in a layout, the derivative laid out like the prediction."""
    prediction = checked_array("prediction", prediction)
    rows, labels, letters = labelled_rows(prediction, target, lengths, layout, loss.classes, loss.ignore_index)
    value, gradient = loss.of_labels(rows, labels, rows_of_weights(prediction, weights, letters))
    return value, laid_out(gradient, prediction, letters)


def count_labels(labels):
    """How many of the rows count; ValueError if none does."""
    count = int(np.count_nonzero(labels >= 0))
    if not count:
        raise ValueError("target y: expected at least one label that is neither ignored nor past the end, got none")
    return count


def laid_out(rows, prediction, letters):
    """A derivative (rows, C) in the layout of the prediction."""
    lengths = dict(zip(letters, prediction.shape))
    return in_layout(rows.reshape(lengths.get("t", 1), lengths.get("n", 1), lengths["c"]), letters)


def checked_weights(weights, sizes, dtype):
    """Weights as an array in the host's memory that broadcasts to the lengths `sizes` of some axes, by letter.

    They are a number >= 0 for each sample, (N,), or for each step, of all these axes; else a typed error.
    """
    array = moved(numbers_like("weights", weights, dtype, "".join(sizes), "n"), "cpu")
    shapes = {"".join(sizes): tuple(sizes.values())} | ({"n": (sizes["n"],)} if "n" in sizes else {})
    letters = next((letters for letters, shape in shapes.items() if shape == array.shape), None)
    if letters is None:
        expected = " or ".join(f"shape {shape} ({letters})" for letters, shape in shapes.items())
        raise ShapeError(f"weights: expected {expected}, a number for each, got shape {array.shape}")
    check_weights(array)
    return array.reshape([length if letter in letters else 1 for letter, length in sizes.items()])


def check_weights(array):
    """Raise ValueError, with its place, of the first number that is no weight."""
    wrong = ~((array >= 0) & np.isfinite(array))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"weights: expected finite numbers >= 0, got {array[place]} at {place}")


def weights_of(prediction, weights, letters):
    """Weights as an array, in the host's memory, with the axes of a prediction but without channels."""
    sizes = {letter: length for letter, length in zip(letters, prediction.shape) if letter != "c"}
    return np.broadcast_to(checked_weights(weights, sizes, prediction.dtype), tuple(sizes.values()))


def rows_of_weights(prediction, weights, letters):
    """The weights of the rows of `labelled_rows`, (rows,); None if there are none."""
    if weights is None:
        return None
    own, array = letters.replace("c", ""), weights_of(prediction, weights, letters)
    return array.transpose([own.index(letter) for letter in "tn" if letter in own]).ravel()
