"""Slopes of losses of numbers in programs: what `training.losses` computes by NumPy, operation by operation."""

import numpy as np

from .compiled import Task
from .exponentials import add_exponential
from .records import integers
from .routine_call import numbers_at, record_at

KINDS = {
    "mse": 0, "half_mse": 1, "mae": 2, "huber": 3, "binary_cross_entropy": 4, "poisson_nll": 5, "quantile": 6,
    "gaussian_nll": 7,
}  # fmt: skip
POWERS = {"binary_cross_entropy": ("exp_of_minus_size",), "poisson_nll": ("exp",),
          "gaussian_nll": ("exp_of_minus_size", "softplus")}  # fmt: skip
SLOPE = np.dtype([
    *integers("prediction", "target", "slope", "count", "kind", "powers", "others", "below", "above", "levels"),
    ("divisor", float), ("parameter", float),
])  # fmt: skip
WEIGHTS = np.dtype(integers("slope", "factors", "divisor", "count"))


@Task
def _slope(cell, number, record, part):
    """Write the slope of the mean of a loss of predictions and targets; see `training.losses`.

    powers, others: what `POWERS` says of each prediction; below, above: of a quantile the slope of each level where the
    target is greater, and where it is smaller; parameter: where Huber's square ends, the smallest standard deviation.
    """
    call = record_at(record, SLOPE)[0]
    kind, zero, one = call.kind, number(0), number(1)
    prediction, target = numbers_at(number, call.prediction, call.count), numbers_at(number, call.target, call.count)
    slope, divisor, parameter = numbers_at(number, call.slope, call.count), number(call.divisor), number(call.parameter)
    powers, others = numbers_at(number, call.powers, call.count), numbers_at(number, call.others, call.count)
    if kind < 4:
        for i in range(call.count):
            d = prediction[i] - target[i]
            if kind == 0:
                d = d + d
            elif kind == 2:
                d = one if d > zero else -one if d < zero else d - d if d != d else zero
            elif kind == 3:
                d = parameter if d > parameter else -parameter if d < -parameter else d
            slope[i] = d / divisor
    elif kind == 4:
        for i in range(call.count):
            probability = (one if prediction[i] >= zero else powers[i]) / (one + powers[i])
            slope[i] = (probability - target[i]) / divisor
    elif kind == 5:
        for i in range(call.count):
            slope[i] = (powers[i] - target[i]) / divisor
    elif kind == 6:
        below, above = numbers_at(number, call.below, call.levels), numbers_at(number, call.above, call.levels)
        for i in range(call.count // call.levels):
            for level in range(call.levels):
                at = i * call.levels + level
                d = target[i] - prediction[at]
                slope[at] = (below[level] if d > zero else above[level] if d < zero else zero) / divisor
    else:
        for i in range(call.count // 2):
            r, small = prediction[2 * i + 1], powers[2 * i + 1]
            s = parameter + others[2 * i + 1]
            z = (prediction[2 * i] - target[i]) / s
            rising = (one if r >= zero else small) / (one + small)
            slope[2 * i] = z / s / divisor
            slope[2 * i + 1] = rising * (one - z * z) / s / divisor


@Task
def _weigh(cell, number, record, part):
    """Multiply slopes with factors and divide them by a number; where a factor is 0 nothing is read, and 0 is written."""
    call = record_at(record, WEIGHTS)[0]
    slope, factors = numbers_at(number, call.slope, call.count), numbers_at(number, call.factors, call.count)
    divisor, zero = number(numbers_at(np.float64, call.divisor, 1)[0]), number(0)
    for i in range(call.count):
        slope[i] = (slope[i] * factors[i] if factors[i] != zero else zero) / divisor


def add_slope(program, loss, prediction, target, slope, factors=None, divisor=None):
    """Add the slope of a loss, one of `KINDS`, to a program; all arrays are C-contiguous.

    factors, divisor: what each slope is multiplied with, an array like it, and an array of the number that it is divided by
    then, both as they are at each run; without them the number of targets.
    """
    name, dtype, ends = loss.name, prediction.dtype, None
    powers = [add_exponential(program, each, prediction) for each in POWERS.get(name, ())]
    if name == "quantile":
        levels = np.asarray(loss.levels, dtype)
        ends = np.array([-levels, 1 - levels]) / dtype.type(len(levels))
    arrays = [*powers, *(() if ends is None else ends)]
    addresses = [array.ctypes.data for array in (prediction, target, slope)]
    of_powers = [array.ctypes.data for array in powers] + [prediction.ctypes.data] * (2 - len(powers))
    of_levels = (0, 0, 1) if ends is None else (ends[0].ctypes.data, ends[1].ctypes.data, len(levels))
    parameter = loss.delta if name == "huber" else loss.least if name == "gaussian_nll" else 0.0
    count = target.size if factors is None else 1.0
    record = np.array((*addresses, slope.size, KINDS[name], *of_powers, *of_levels, count, parameter), SLOPE)
    program.add_job(_slope, None, dtype, record, prediction, target, slope, *arrays)
    if factors is not None:
        weights = np.array((*(array.ctypes.data for array in (slope, factors, divisor)), slope.size), WEIGHTS)
        program.add_job(_weigh, None, dtype, weights, slope, factors, divisor)
