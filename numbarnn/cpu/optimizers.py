"""One update of a parameter vector, fused: every number is read and written once.

All vectors are 1-D and contiguous, of one dtype; the scalars have that dtype too.  `previous` receives the parameters as
they were.  `scale` multiplies the gradient first (clipping).
"""

import numpy as np

from .blocks import share
from .compiled import Task, kernel
from .jobs import run
from .records import integers
from .routine_call import numbers_at, record_at
from .threads import parts_for

BLOCK = 4096  # numbers that one partial sum takes: the order of a norm does not depend on the number of threads
SMALLEST_PART = 1 << 15  # numbers below which another thread does not pay
VECTORS = "flat", "previous", "gradient", "first", "second", "decays"  # first, second: what the optimizer remembers
SCALARS = 7
UPDATE = np.dtype([*integers("parts", "size", *VECTORS), ("scalars", float, SCALARS)])
SQUARES = np.dtype(integers("vector", "size", "partial"))


@Task
def _sgd(cell, number, record, part):
    """``v = momentum v + g``, ``p -= rate v`` (Nesterov: ``p -= rate (g + momentum v)``)."""
    call = record_at(record, UPDATE)[0]
    flat, previous = numbers_at(number, call.flat, call.size), numbers_at(number, call.previous, call.size)
    gradient, velocity = numbers_at(number, call.gradient, call.size), numbers_at(number, call.first, call.size)
    scale, rate, momentum = number(call.scalars[0]), number(call.scalars[1]), number(call.scalars[2])
    nesterov, (begin, count) = call.scalars[3] != 0, share(call.size, call.parts, part)
    for i in range(begin, begin + count):
        previous[i] = flat[i]
        g = gradient[i] * scale
        v = momentum * velocity[i] + g
        velocity[i] = v
        flat[i] -= rate * (g + momentum * v if nesterov else v)


@Task
def _rmsprop(cell, number, record, part):
    """``s = decay s + (1 - decay) g^2``, ``p -= rate g / (sqrt(s) + epsilon)``."""
    call = record_at(record, UPDATE)[0]
    flat, previous = numbers_at(number, call.flat, call.size), numbers_at(number, call.previous, call.size)
    gradient, square = numbers_at(number, call.gradient, call.size), numbers_at(number, call.first, call.size)
    scale, rate, decay = number(call.scalars[0]), number(call.scalars[1]), number(call.scalars[2])
    epsilon, one, (begin, count) = number(call.scalars[3]), number(1), share(call.size, call.parts, part)
    for i in range(begin, begin + count):
        previous[i] = flat[i]
        g = gradient[i] * scale
        s = decay * square[i] + (one - decay) * g * g
        square[i] = s
        flat[i] -= rate * g / (np.sqrt(s) + epsilon)


@Task
def _adam(cell, number, record, part):
    """``p = shrink p - rate m / (root sqrt(v) + epsilon)`` with the running means m of g and v of g^2.

    With `decays`, only those parameters shrink whose number there is not 0.
    """
    call = record_at(record, UPDATE)[0]
    flat, previous = numbers_at(number, call.flat, call.size), numbers_at(number, call.previous, call.size)
    gradient, mean = numbers_at(number, call.gradient, call.size), numbers_at(number, call.first, call.size)
    square, decays = numbers_at(number, call.second, call.size), numbers_at(number, call.decays, call.size)
    scale, rate, shrink = number(call.scalars[0]), number(call.scalars[1]), number(call.scalars[2])
    beta1, beta2, root = number(call.scalars[3]), number(call.scalars[4]), number(call.scalars[5])
    epsilon, one, (begin, count) = number(call.scalars[6]), number(1), share(call.size, call.parts, part)
    for i in range(begin, begin + count):
        previous[i] = flat[i]
        g = gradient[i] * scale
        m = beta1 * mean[i] + (one - beta1) * g
        v = beta2 * square[i] + (one - beta2) * g * g
        mean[i] = m
        square[i] = v
        kept = shrink if call.decays == 0 or decays[i] != 0 else one
        flat[i] = kept * flat[i] - rate * m / (root * np.sqrt(v) + epsilon)


def _update(task, vectors, *scalars):
    """Run a task on vectors, `flat` the first, with scalars."""
    flat, addresses = vectors[0], [0 if vector is None else vector.ctypes.data for vector in vectors]
    addresses += [0] * (len(VECTORS) - len(addresses))
    parts = parts_for(flat.size, SMALLEST_PART)
    numbers = [*scalars, *[0.0] * (SCALARS - len(scalars))]
    run(task, None, flat.dtype, np.array((parts, flat.size, *addresses, numbers), UPDATE), parts)


def sgd(flat, previous, gradient, velocity, scale, rate, momentum, nesterov):
    """``v = momentum v + g``, ``p -= rate v`` (Nesterov: ``p -= rate (g + momentum v)``)."""
    _update(_sgd, (flat, previous, gradient, velocity), scale, rate, momentum, nesterov)


def rmsprop(flat, previous, gradient, square, scale, rate, decay, epsilon):
    """``s = decay s + (1 - decay) g^2``, ``p -= rate g / (sqrt(s) + epsilon)``."""
    _update(_rmsprop, (flat, previous, gradient, square), scale, rate, decay, epsilon)


def adam(flat, previous, gradient, mean, square, scale, rate, shrink, beta1, beta2, root, epsilon):
    """``p = shrink p - rate m / (root sqrt(v) + epsilon)`` with the running means m of g and v of g^2."""
    adam_in_part(flat, previous, gradient, mean, square, None, scale, rate, shrink, beta1, beta2, root, epsilon)


def adam_in_part(flat, previous, gradient, mean, square, decays, scale, rate, shrink, beta1, beta2, root, epsilon):
    """`adam`, where only those parameters shrink whose `decays` is not 0; all of them if it is None."""
    vectors = flat, previous, gradient, mean, square, decays
    _update(_adam, vectors, scale, rate, shrink, beta1, beta2, root, epsilon)


TASKS = {"sgd": _sgd, "rmsprop": _rmsprop, "adam": _adam}


@kernel
def all_finite(vector):
    """Whether no number of a 1-D contiguous vector is NaN or infinite.

    It is read once, which is a twentieth of an update of a long one, and a third of a microsecond for a short one.
    """
    wrong = np.int32(0)
    for i in range(vector.size):
        wrong |= np.int32(vector[i] - vector[i] != 0)  # the difference is NaN
    return wrong == 0


@Task
def squares(cell, number, record, block):
    """Write the sum of squares of one block of a vector, in float64 and in one order."""
    call = record_at(record, SQUARES)[0]
    vector, partial = numbers_at(number, call.vector, call.size), numbers_at(np.float64, call.partial, block + 1)
    sums = np.zeros(16)  # independent sums, so that they can be taken side by side
    first, end = block * BLOCK, min((block + 1) * BLOCK, call.size)
    for i in range(first, end - 15, 16):
        for lane in range(16):
            value = np.float64(vector[i + lane])
            sums[lane] += value * value
    for i in range(first + (end - first) // 16 * 16, end):
        value = np.float64(vector[i])
        sums[0] += value * value
    total = 0.0
    for lane in range(16):
        total += sums[lane]
    partial[block] = total


def norm(vector):
    """Euclidean norm of a 1-D contiguous vector, summed in float64 in one order."""
    partial = np.empty(-(-vector.size // BLOCK))
    record = np.array((vector.ctypes.data, vector.size, partial.ctypes.data), SQUARES)
    run(squares, None, vector.dtype, record, partial.size)
    return float(np.sqrt(partial.sum()))
