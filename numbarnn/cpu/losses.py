"""Cross entropy of rows of logits on the CPU: a row is read and its derivative written while it is in the cache."""

import math

import numpy as np
from numba import njit, prange

from ..cells import elementary
from . import vector_math  # noqa: F401 (what the elementary functions do with vectors)
from .blocks import share
from .compiled import kernel
from .memory import empty
from .simd import get, greater, keep_first, lane_sum, lanes, load, load_first, put, size_of, store, store_first
from .threads import launching, threads

SMALLEST_PART = 1 << 13  # numbers below which another thread does not pay


@njit
def infinite_row(real, classes, logits, label, scale, slope):
    """The loss of a row with logits of +inf, which share the probability; `scale` times its derivative goes to `slope`."""
    size, zero, one, total = size_of(real), scale - scale, scale / scale, scale - scale
    for c in range(classes):
        other = get(real, logits + c * size)
        total += one if other == np.inf else zero if other == other else other  # NaN is not lost
    for c in range(classes):
        put(scale / total if get(real, logits + c * size) == np.inf else zero, slope + c * size)
    put(get(real, slope + label * size) - scale, slope + label * size)
    return math.log(np.float64(total)) if get(real, logits + label * size) == np.inf else np.inf * np.float64(total)


@kernel
def _cross_entropy(real, parts, rows, classes, logits, labels, values, scale, gradient):
    """Write each row's ``-log softmax(x)[label]`` and its derivative times `scale`; 0 for labels below 0."""
    size, width = size_of(real), lanes(real)
    vector, whole = width * size, classes // width * width
    for part in prange(parts):
        first, mine = share(rows, parts, part)
        for r in range(first, first + mine):
            x, slope = logits + r * classes * size, gradient + r * classes * size
            label = labels[r]
            if label < 0:  # ignored: not even read
                for c in range(classes):
                    put(scale - scale, slope + c * size)
                values[r] = 0.0
                continue
            most = get(real, x)
            start = 0
            if whole:
                largest = load(real, x)
                for c in range(width, whole, width):
                    other = load(real, x + c * size)
                    largest = greater(other, largest, other, largest)
                store(largest, slope)
                for c in range(width):
                    other = get(real, slope + c * size)
                    most = other if other > most else most
                start = whole
            for c in range(start, classes):
                other = get(real, x + c * size)
                most = other if other > most else most
            if most == np.inf:
                values[r] = infinite_row(real, classes, x, label, scale, slope)
                continue
            total = keep_first(elementary.exp(load_first(real, x, classes) - most), classes)
            store_first(total, slope, classes)
            for at in range(vector, classes * size, vector):
                rest = classes - at // size
                power = keep_first(elementary.exp(load_first(real, x + at, rest) - most), rest)
                store_first(power, slope + at, rest)
                total = total + power
            store_first(lane_sum(total), values.ctypes.data + r * 8, 1)
            denominator = get(real, values.ctypes.data + r * 8)
            values[r] = math.log(np.float64(denominator)) - (np.float64(get(real, x + label * size)) - np.float64(most))
            factor = scale / denominator
            for at in range(0, classes * size, vector):
                rest = classes - at // size
                store_first(load_first(real, slope + at, rest) * factor, slope + at, rest)
            put(get(real, slope + label * size) - scale, slope + label * size)


def cross_entropy(logits, labels, scale):
    """(loss of each row, float64; `scale` times its derivative) for C-contiguous (rows, classes) logits.

    labels: (rows,), int64, each the class of its row, or negative for one that counts nothing.
    """
    rows, classes = logits.shape
    values, gradient = np.empty(rows), empty(logits.shape, logits.dtype)
    real = logits.dtype.type
    with launching():
        _cross_entropy(
            real(0), max(1, min(threads(), logits.size // SMALLEST_PART)), rows, classes, logits.ctypes.data, labels, values,
            real(scale), gradient.ctypes.data,
        )  # fmt: skip
    return values, gradient
