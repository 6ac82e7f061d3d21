"""What a loss sees of an output and its targets, and what it says of them."""

from dataclasses import replace

import numpy as np

from ..arrays.descriptor import checked_array, in_layout
from ..arrays.devices import moved, sent
from ..arrays.rows import numbers
from ..errors import ShapeError
from ..training.losses import checked_result, checked_target, is_of_library, takes_labels, target_channels
from ..training.losses.numeric import Regression
from ..training.metrics import measured


class Comparison:
    """An output that is compared with its targets; a subclass has its `output_layout` and `device`."""

    def _rows(self, described, samples):
        """What a loss sees of an output: an array in the network's layout; of ragged sequences (rows, C)."""
        if samples.in_rows:
            return numbers(described).reshape(-1, described.channels)
        return in_layout(described.array, self.output_layout)

    def _call_loss(self, loss, prediction, target, weights, samples, each=None):
        """(loss, derivative) of what `_rows`, `_target_rows` and `_weight_rows` give.

        each: of a loss of the library, what `_sample_rows` gives, for the derivative of each sample's own loss.
        """
        if not is_of_library(loss):  # it may write to copies: arrays of the caller may be behind all of them
            prediction, target = prediction.copy(), target.copy()
            if samples.classes is not None and samples.ignore_index is not None:
                target[target < 0] = samples.ignore_index
            found = loss(prediction, target) if weights is None else loss(prediction, target, weights=weights.copy())
            return checked_result(found, prediction)
        if takes_labels(loss, target) != (samples.classes is not None):  # of a metric: other samples go with it
            expected, found = ("labels", "numbers") if samples.classes is None else ("numbers", "labels")
            raise TypeError(f"{loss.name}: expected targets that are {expected}, got {found}")
        own = {} if each is None else {"sample": each}  # a class of the user's may have methods that do not know it
        if samples.classes is not None:
            weights = None if weights is None else weights[:, 0]
            return loss.of_labels(prediction, target, weights, **{name: part[:, 0] for name, part in own.items()})
        axis = -1 if samples.in_rows else self.output_layout.index("c") - prediction.ndim
        checked_target(prediction, target, target_channels(loss, prediction.shape[axis]), axis)
        if axis == -1:
            return loss.of_rows(prediction, target, weights, **own)
        rows = (None if part is None else np.moveaxis(part, axis, -1) for part in (prediction, target, weights))
        value, gradient = loss.of_rows(*rows, **{name: np.moveaxis(part, axis, -1) for name, part in own.items()})
        return value, np.moveaxis(gradient, -1, axis)

    def _bent(self, loss, batch, output, tangent, samples):
        """The product of a loss's second derivative with the tangent of an output, as `_rows` gives that; on the host."""
        prediction, direction = (moved(self._rows(each, samples).copy(), "cpu") for each in (output, tangent))
        compared = self._target_rows(batch, output, samples), self._weight_rows(batch, samples)
        compared = (None if each is None else moved(each, "cpu") for each in compared)
        return self._curvature_of(loss, prediction, *compared, direction, samples)

    def _curvature_of(self, loss, prediction, target, weights, direction, samples):
        """The product of a loss's second derivative with a direction of what it sees, laid out like that."""
        if not is_of_library(loss):
            target = target.copy()
            if samples.classes is not None and samples.ignore_index is not None:
                target[target < 0] = samples.ignore_index
            options = {} if weights is None else {"weights": weights.copy()}
            found = loss.hessian_product(prediction, target, direction, **options)
            found = checked_array("loss.hessian_product", found)
            if found.shape != prediction.shape or found.dtype != prediction.dtype:
                expected = f"an array of shape {prediction.shape} and {prediction.dtype} like the prediction"
                raise ShapeError(f"loss.hessian_product: expected {expected}, got shape {found.shape} and {found.dtype}")
            return found
        if samples.classes is not None:
            return loss.curvature_of_labels(prediction, target, direction, None if weights is None else weights[:, 0])
        axis = -1 if samples.in_rows else self.output_layout.index("c") - prediction.ndim
        rows = (None if part is None else np.moveaxis(part, axis, -1) for part in (prediction, target, direction, weights))
        return np.moveaxis(loss.curvature_of_rows(*rows), -1, axis)

    def _measured(self, metrics, seen, samples):
        """{name: value} of metrics, see `measured`; seen: as `_joined` gives it."""

        def value_of(metric):
            if samples.missing and isinstance(metric, Regression):
                metric = replace(metric, missing="nan")
            return self._call_loss(metric, *seen, samples)[0]

        return measured(metrics, *seen, samples.classes is not None, value_of)

    @staticmethod
    def _joined(pieces, samples, letter="n"):
        """(prediction, target, weights) of some samples, each joined from the same of pieces of them, one after the other.

        letter: "n" for pieces of some samples each, "t" for some steps each of a single one.
        """
        if len(pieces) == 1:
            return pieces[0]
        axis = 0 if samples.in_rows else samples.y.letters.index(letter)
        return tuple(None if each[0] is None else np.concatenate(each, axis) for each in zip(*pieces))

    def _weight_rows(self, batch, samples):
        """The weights as a loss sees them, of one channel, laid out like the prediction; None if there are none."""
        if samples.weights is None:
            return None
        if samples.classes is not None:
            return samples.weight_rows(batch)[:, None]  # beside labels, in the host's memory
        return moved(samples.weight_rows(batch)[:, None] if samples.in_rows else samples.weights.array, self.device)

    def _sample_rows(self, batch, samples):
        """To which sample belongs what a loss sees, laid out like weights."""
        if samples.in_rows:
            return samples.sample_rows(batch)[:, None]
        letters = self.output_layout
        return np.arange(samples.x.count).reshape([-1 if letter == "n" else 1 for letter in letters])

    def _target_rows(self, batch, prediction, samples):
        """The targets as a loss sees them, next to a prediction's descriptor."""
        if samples.classes is not None:
            labels = samples.labels(batch)
            return labels if samples.there is None else sent(labels, samples.device, samples.there)
        if not samples.in_rows:
            return samples.y.array
        if not prediction.packing.rows:
            raise ValueError("lengths: expected at least one step to take the loss of, got 0 in all sequences")
        channels = target_channels(samples.loss, prediction.channels)
        return self._rows(batch.describe("y", samples.y.array, channels, prediction.dtype), samples)


def curved(loss):
    """`loss`, if its second derivative is known; else TypeError."""
    if not is_of_library(loss) and not callable(getattr(loss, "hessian_product", None)):
        kind = getattr(loss, "__qualname__", type(loss).__qualname__)
        expected = "a loss of the library, or one with a method hessian_product(prediction, target, direction)"
        raise TypeError(f"loss: expected {expected}, got {kind}")
    return loss


def in_time(network, samples, most):
    """Yield the samples; or a single long one, where a network can go on, in pieces of at most `most` steps, in order."""
    if samples.x.count > 1 or samples.reset is not None or not network._goes_on or samples.uncut:
        yield samples
        return
    steps = int(samples.lengths_of_x[0])
    if steps <= most:
        yield samples
        return
    for first in range(0, steps, most):
        yield samples.between(np.arange(1), first, min(first + most, steps))
