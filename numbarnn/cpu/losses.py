"""Cross entropy of rows of logits on the CPU: a row is read and its derivative written while it is in the cache."""

import math

import numpy as np

from ..cells import elementary
from ..engine.inlined import inlined
from . import vector_math  # noqa: F401 (what the elementary functions do with vectors)
from .blocks import entry, share
from .compiled import Task
from .jobs import run
from .memory import empty
from .records import integers
from .routine_call import record_at
from .simd import first_lane, get, greater, keep_first, lane_sum, lanes, load, load_first, put, size_of, store, store_first
from .threads import parts_for

SMALLEST_PART = 1 << 13  # numbers below which another thread does not pay
CROSS_ENTROPY = np.dtype([
    *integers("parts", "rows", "classes", "logits", "labels", "values", "gradient", "scales", "rests", "shares", "others"),
    ("total", float),
])  # fmt: skip


@inlined
def infinite_row(one, classes, logits, label, scale, slope):
    """The loss of a row with logits of +inf, which share the probability; `scale` times its derivative goes to `slope`.

    That is the derivative of log-sum-exp: the label's own part is not subtracted yet.
    """
    size, zero, total, real = size_of(one), one - one, one - one, one
    for c in range(classes):
        other = get(real, logits + c * size)
        total += one if other == np.inf else zero if other == other else other  # NaN is not lost
    for c in range(classes):
        put(scale / total if get(real, logits + c * size) == np.inf else zero, slope + c * size)
    return math.log(np.float64(total)) if get(real, logits + label * size) == np.inf else np.inf * np.float64(total)


@inlined
def infinite_others(real, classes, logits, shares):
    """The smoothed part of the loss of such a row: infinite, if a class without +inf has a share in it."""
    size, total, count, finite = size_of(real), 0.0, 0.0, True
    for c in range(classes):
        part, other = np.float64(get(real, shares + c * size)), get(real, logits + c * size)
        count += 1.0 if other == np.inf else 0.0
        total += part
        finite = finite and (other == np.inf or part == 0.0)
    return total * math.log(count) if finite else np.inf


@inlined
def smooth(real, classes, logits, shares, rest, slope):
    """Subtract `rest` times the share of each class from the derivative in `slope`."""
    size = size_of(real)
    for at in range(0, classes * size, lanes(real) * size):
        left = classes - at // size
        store_first(load_first(real, slope + at, left) - load_first(real, shares + at, left) * rest, slope + at, left)


@inlined
def others_of(real, classes, logits, shares, log_sum):
    """The sum of each class's share times its ``-log p``, the logarithm of the sum of powers being `log_sum`."""
    size = size_of(real)
    part = load_first(real, shares, classes)
    zero = part - part
    total = greater(part, zero, (load_first(real, logits, classes) - log_sum) * part, zero)
    for at in range(lanes(real) * size, classes * size, lanes(real) * size):
        left = classes - at // size
        part = load_first(real, shares + at, left)
        total = total + greater(part, zero, (load_first(real, logits + at, left) - log_sum) * part, zero)
    return -np.float64(first_lane(lane_sum(total)))


@Task
def _cross_entropy(cell, number, record, part):
    """Write each row's ``-log softmax(x)[label]``, and the derivative of its part of the loss; 0 for labels below 0.

    That part is `scales` of the row times this number and, where labels are smoothed, `rests` times what `others` is: the
    sum over classes of `shares` times ``-log softmax(x)``.  total: of the shares.
    """
    real, call = number(0), record_at(record, CROSS_ENTROPY)[0]
    classes, values, smoothed = call.classes, call.values, call.shares != 0
    size, width = size_of(real), lanes(real)
    vector, whole = width * size, classes // width * width
    first, mine = share(call.rows, call.parts, part)
    for r in range(first, first + mine):
        x, slope = call.logits + r * classes * size, call.gradient + r * classes * size
        label, scale, rest = entry(call.labels, r), get(real, call.scales + r * size), real - real
        if smoothed:
            rest = get(real, call.rests + r * size)
        if label < 0:  # ignored: not even read
            for c in range(classes):
                put(real - real, slope + c * size)
            put(0.0, values + r * 8)
            if smoothed:
                put(0.0, call.others + r * 8)
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
        both = scale + rest * number(call.total)
        if most == np.inf:
            put(np.float64(infinite_row(number(1), classes, x, label, both, slope)), values + r * 8)
            if smoothed:
                put(np.float64(infinite_others(real, classes, x, call.shares)), call.others + r * 8)
                smooth(real, classes, x, call.shares, rest, slope)
            put(get(real, slope + label * size) - scale, slope + label * size)
            continue
        total = keep_first(elementary.exp(load_first(real, x, classes) - most), classes)
        store_first(total, slope, classes)
        for at in range(vector, classes * size, vector):
            left = classes - at // size
            power = keep_first(elementary.exp(load_first(real, x + at, left) - most), left)
            store_first(power, slope + at, left)
            total = total + power
        store_first(lane_sum(total), values + r * 8, 1)
        denominator = get(real, values + r * 8)
        logarithm = math.log(np.float64(denominator))
        put(logarithm - (np.float64(get(real, x + label * size)) - np.float64(most)), values + r * 8)
        factor = both / denominator
        for at in range(0, classes * size, vector):
            left = classes - at // size
            store_first(load_first(real, slope + at, left) * factor, slope + at, left)
        if smoothed:
            log_sum = number(logarithm + np.float64(most))
            put(np.float64(others_of(real, classes, x, call.shares, log_sum)), call.others + r * 8)
            smooth(real, classes, x, call.shares, rest, slope)
        put(get(real, slope + label * size) - scale, slope + label * size)


def cross_entropy(logits, labels, scales, smoothing=None):
    """(losses of the rows; their smoothed parts, or None; the derivative) for C-contiguous (rows, classes) logits.

    Parameters
    ----------
    labels : numpy.ndarray
        (rows,), int64, each the class of its row, or negative for one that counts nothing.
    scales : numpy.ndarray
        (rows,), of the logits' dtype: what the derivative of ``-log softmax(logits)[label]`` is multiplied with.
    smoothing : pair of numpy.ndarray, optional
        (rows,) and (classes,), of that dtype: what a row's smoothed part, the sum over classes of the second times
        ``-log softmax(logits)``, is multiplied with in the derivative, and the share of each class.
    """
    rows, classes = logits.shape
    values, gradient = np.empty(rows), empty(logits.shape, logits.dtype)
    parts = parts_for(logits.size, SMALLEST_PART)
    others, pointers, total = None, (0, 0, 0), 0.0
    if smoothing is not None:
        others = np.empty(rows)
        pointers, total = [array.ctypes.data for array in (*smoothing, others)], float(smoothing[1].sum(dtype=np.float64))
    addresses = (array.ctypes.data for array in (logits, labels, values, gradient, scales))
    record = np.array((parts, rows, classes, *addresses, *pointers, total), CROSS_ENTROPY)
    run(_cross_entropy, None, logits.dtype, record, parts)
    return values, others, gradient


def add_cross_entropy(program, logits, labels, values, gradient, scales, smoothing=None):
    """Add `cross_entropy` to a program, into arrays.

    scales, and the first of smoothing, are read at each run; where labels are smoothed, values is (2, rows): the losses of
    the rows, and their smoothed parts.
    """
    (rows, classes), pointers, total, kept = logits.shape, (0, 0, 0), 0.0, ()
    if smoothing is not None:
        kept, total = smoothing, float(smoothing[1].sum(dtype=np.float64))
        pointers = [array.ctypes.data for array in (*smoothing, values[1])]
    addresses = (array.ctypes.data for array in (logits, labels, values, gradient, scales))
    record = np.array((1, rows, classes, *addresses, *pointers, total), CROSS_ENTROPY)
    alone = logits.size >= 2 * SMALLEST_PART
    program.add_job(_cross_entropy, None, logits.dtype, record, logits, labels, values, gradient, scales, *kept, alone=alone)
