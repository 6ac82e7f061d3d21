"""Cross entropy of rows of logits on the GPU: a thread takes a row."""

import math

import numpy as np

from .arrays import asarray, empty, launch
from .device import blocks_for, cuda, kernel


@kernel
def cross_entropy_rows(real, one, shape, scale, logits, labels, values, gradient):
    """Fill the loss of each row, and `scale` times its derivative; shape is (rows, classes)."""
    rows, classes = shape
    for row in range(cuda.grid(1), rows, cuda.gridsize(1)):
        label, x = labels[row], row * classes
        most, total, value = logits[x], real, real
        for c in range(1, classes):
            most = max(most, logits[x + c])
        if most > real and most - most != real:  # +inf: such logits share the probability
            for c in range(classes):
                other = logits[x + c]
                total += one if other == most else real if other == other else other  # NaN is not lost
            if label >= 0:
                value = math.log(total) if logits[x + label] == most else most * total
            for c in range(classes):
                gradient[x + c] = scale / total if label >= 0 and logits[x + c] == most else real
            if label >= 0:
                gradient[x + label] -= scale
            values[row] = value
            continue
        for c in range(classes):
            power = math.exp(logits[x + c] - most)
            total += power
            gradient[x + c] = power
        factor = scale / total
        for c in range(classes):
            gradient[x + c] = gradient[x + c] * factor if label >= 0 else real
        if label >= 0:
            gradient[x + label] -= scale
            value = math.log(total) - (logits[x + label] - most)
        values[row] = value


def cross_entropy(logits, labels, scale):
    """(loss of each row; `scale` times its derivative) for C-contiguous (rows, classes) logits.

    labels: (rows,), int64 in the host's memory, each the class of its row, or negative for one that counts nothing.
    """
    values, gradient = empty((logits.shape[0],), logits.dtype), empty(logits.shape, logits.dtype)
    places, real = asarray(np.ascontiguousarray(labels, np.int64)), logits.dtype.type
    launch(
        cross_entropy_rows, blocks_for(logits.shape[0]), real(0), real(1), logits.shape, real(scale), logits, places, values,
        gradient,
    )  # fmt: skip
    return values, gradient
