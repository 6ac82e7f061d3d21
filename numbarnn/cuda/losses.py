"""Losses on the GPU: cross entropy of rows of logits, a thread a row; squares of differences."""

import math

import numpy as np

from .arrays import asarray, contiguous, empty, to_read
from .device import blocks_for, cuda, kernel
from .launches import launch
from .repeated import Repeated


@kernel
def cross_entropy_rows(real, one, shape, smoothed, total, logits, labels, scales, rests, shares, values, others, gradient):
    """Fill each row's loss, its smoothed part, and the derivative; shape is (rows, classes).  See `cpu.losses`."""
    rows, classes = shape
    for row in range(cuda.grid(1), rows, cuda.gridsize(1)):
        label, x, scale, rest = labels[row], row * classes, scales[row], real
        if smoothed:
            rest = rests[row]
            others[row] = real
        if label < 0:
            for c in range(classes):
                gradient[x + c] = real
            values[row] = real
            continue
        most, sum_of, value, other_value, both = logits[x], real, real, real, scale + rest * total
        for c in range(1, classes):
            most = max(most, logits[x + c])
        infinite = most > real and most - most != real  # +inf: such logits share the probability
        for c in range(classes):
            other = logits[x + c]
            if infinite:
                power = one if other == most else real if other == other else other  # NaN is not lost
            else:
                power = math.exp(other - most)
            sum_of += power
            gradient[x + c] = power
        factor = both / sum_of
        for c in range(classes):
            gradient[x + c] = gradient[x + c] * factor
            if smoothed:
                gradient[x + c] -= rest * shares[c]
                if shares[c] > real:
                    loss = math.log(sum_of) - (logits[x + c] - most)
                    if infinite:
                        loss = math.log(sum_of) if logits[x + c] == most else most
                    other_value += shares[c] * loss
        gradient[x + label] -= scale
        if infinite:
            value = math.log(sum_of) if logits[x + label] == most else most * sum_of
        else:
            value = math.log(sum_of) - (logits[x + label] - most)
        values[row] = value
        if smoothed:
            others[row] = other_value


def cross_entropy(logits, labels, scales, smoothing=None):
    """(losses of the rows; their smoothed parts, or None; the derivative) for C-contiguous (rows, classes) logits.

    As in `cpu.losses`; all but the logits lie in the host's memory, and are sent unless `arrays.keep` knows them.
    """
    rows, real = logits.shape[0], logits.dtype.type
    values, gradient = empty((rows,), logits.dtype), empty(logits.shape, logits.dtype)
    places, scales = to_read(np.ascontiguousarray(labels, np.int64)), to_read(scales)
    others, rests, shares, total = values, scales, scales, 0.0
    if smoothing is not None:
        others, total = empty((rows,), logits.dtype), float(smoothing[1].sum(dtype=np.float64))
        rests, shares = map(asarray, smoothing)
    launch(
        cross_entropy_rows, blocks_for(rows), real(0), real(1), logits.shape, smoothing is not None, real(total), logits,
        places, scales, rests, shares, values, others, gradient,
    )  # fmt: skip
    return values, None if smoothing is None else others, gradient


@kernel
def difference_squares(count, factor, twice, divisor, prediction, target, values, slopes):
    """``factor d d`` of each difference d of prediction and target, ``twice d / divisor``; values, slopes are modified."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        d = prediction[i] - target[i]
        values[i] = factor * d * d
        slopes[i] = twice * d / divisor


def _launch_squares(factor, divisor, *arrays):
    values = arrays[2]
    real = values.dtype.type
    if values.size:
        scalars = real(factor), real(2 * factor), real(divisor)
        launch(difference_squares, blocks_for(values.size), values.size, *scalars, *arrays)


def squares(prediction, target, factor):
    """(``factor d^2`` of each difference d, ``2 factor d``) as C-contiguous arrays, by one launch."""
    prediction, target = contiguous(prediction), contiguous(target)
    values, slopes = (empty(prediction.shape, prediction.dtype) for _ in range(2))
    _launch_squares(factor, 1, prediction, target, values, slopes)
    return values, slopes


class Squares:
    """The mean of ``factor d^2`` and its derivative, again and again; d = prediction - target, which stay where they are.

    Parameters
    ----------
    prediction, target : cupy.ndarray
        C-contiguous, of one shape and dtype.
    dy : cupy.ndarray
        Likewise; `fill` writes the derivative to it.
    factor : float
    """

    def __init__(self, prediction, target, dy, factor):
        self._values, self._factor = empty(prediction.shape, prediction.dtype), factor
        self._arrays, self._target = (prediction, target, self._values, dy), target.data.ptr
        self._repeated = Repeated(1, prediction.dtype)

    def is_of(self, target, factor):
        """Whether it compares with the numbers in that place, and with that factor."""
        return target.data.ptr == self._target and factor == self._factor

    @property
    def recording(self):
        """The launch that `fill` is, once it has been noted; else None."""
        return self._repeated.recording

    def fill(self):
        """Compare the numbers as they are now, and wait for nothing."""
        self._repeated.run(lambda scratch: _launch_squares(self._factor, self._values.size, *self._arrays))

    def mean(self):
        """The mean that the last `fill` has found, summed in float64; the GPU is waited for."""
        return float(np.sum(self._values, dtype=np.float64)) / self._values.size
