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
from .simd import get, greater, keep_first, lane_sum, lanes, load, load_first, put, size_of, store, store_first
from .threads import parts_for

SMALLEST_PART = 1 << 13  # numbers below which another thread does not pay
CROSS_ENTROPY = np.dtype([*integers("parts", "rows", "classes", "logits", "labels", "values", "gradient"), ("scale", float)])


@inlined
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


@Task
def _cross_entropy(cell, number, record, part):
    """Write each row's ``-log softmax(x)[label]`` and its derivative times `scale`; 0 for labels below 0."""
    real, call = number(0), record_at(record, CROSS_ENTROPY)[0]
    classes, values, scale = call.classes, call.values, number(call.scale)
    size, width = size_of(real), lanes(real)
    vector, whole = width * size, classes // width * width
    first, mine = share(call.rows, call.parts, part)
    for r in range(first, first + mine):
        x, slope = call.logits + r * classes * size, call.gradient + r * classes * size
        label = entry(call.labels, r)
        if label < 0:  # ignored: not even read
            for c in range(classes):
                put(scale - scale, slope + c * size)
            put(0.0, values + r * 8)
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
            put(np.float64(infinite_row(real, classes, x, label, scale, slope)), values + r * 8)
            continue
        total = keep_first(elementary.exp(load_first(real, x, classes) - most), classes)
        store_first(total, slope, classes)
        for at in range(vector, classes * size, vector):
            rest = classes - at // size
            power = keep_first(elementary.exp(load_first(real, x + at, rest) - most), rest)
            store_first(power, slope + at, rest)
            total = total + power
        store_first(lane_sum(total), values + r * 8, 1)
        denominator = get(real, values + r * 8)
        loss = math.log(np.float64(denominator)) - (np.float64(get(real, x + label * size)) - np.float64(most))
        put(loss, values + r * 8)
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
    parts = parts_for(logits.size, SMALLEST_PART)
    addresses = (array.ctypes.data for array in (logits, labels, values, gradient))
    run(_cross_entropy, None, logits.dtype, np.array((parts, rows, classes, *addresses, scale), CROSS_ENTROPY), parts)
    return values, gradient


def add_cross_entropy(program, logits, labels, values, gradient):
    """Add `cross_entropy` of the mean over all rows to a program, into arrays."""
    rows, classes = logits.shape
    addresses = (array.ctypes.data for array in (logits, labels, values, gradient))
    record = np.array((1, rows, classes, *addresses, 1 / rows), CROSS_ENTROPY)
    alone = logits.size >= 2 * SMALLEST_PART
    program.add_job(_cross_entropy, None, logits.dtype, record, logits, labels, values, gradient, alone=alone)
