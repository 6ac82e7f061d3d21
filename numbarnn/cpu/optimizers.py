"""One update of a parameter vector, fused: every number is read and written once.

All vectors are 1-D and contiguous, of one dtype; the scalars have that dtype too.  `previous` receives the parameters as
they were.  `scale` multiplies the gradient first (clipping).
"""

import functools

import numpy as np
from numba import prange

from .compiled import kernel
from .threads import launching

BLOCK = 4096  # numbers that one partial sum takes: the order of a norm does not depend on the number of threads


@kernel
def sgd(flat, previous, gradient, velocity, scale, rate, momentum, nesterov):
    """``v = momentum v + g``, ``p -= rate v`` (Nesterov: ``p -= rate (g + momentum v)``)."""
    for i in prange(flat.size):
        previous[i] = flat[i]
        g = gradient[i] * scale
        v = momentum * velocity[i] + g
        velocity[i] = v
        flat[i] -= rate * (g + momentum * v if nesterov else v)


@kernel
def rmsprop(flat, previous, gradient, square, scale, rate, decay, epsilon):
    """``s = decay s + (1 - decay) g^2``, ``p -= rate g / (sqrt(s) + epsilon)``."""
    one = flat.dtype.type(1)
    for i in prange(flat.size):
        previous[i] = flat[i]
        g = gradient[i] * scale
        s = decay * square[i] + (one - decay) * g * g
        square[i] = s
        flat[i] -= rate * g / (np.sqrt(s) + epsilon)


@kernel
def adam(flat, previous, gradient, mean, square, scale, rate, shrink, beta1, beta2, root, epsilon):
    """``p = shrink p - rate m / (root sqrt(v) + epsilon)`` with the running means m of g and v of g^2."""
    one = flat.dtype.type(1)
    for i in prange(flat.size):
        previous[i] = flat[i]
        g = gradient[i] * scale
        m = beta1 * mean[i] + (one - beta1) * g
        v = beta2 * square[i] + (one - beta2) * g * g
        mean[i] = m
        square[i] = v
        flat[i] = shrink * flat[i] - rate * m / (root * np.sqrt(v) + epsilon)


@kernel
def adam_in_part(flat, previous, gradient, mean, square, decays, scale, rate, shrink, beta1, beta2, root, epsilon):
    """`adam`, where only those parameters shrink whose `decays` is not 0."""
    one = flat.dtype.type(1)
    for i in prange(flat.size):
        previous[i] = flat[i]
        g = gradient[i] * scale
        m = beta1 * mean[i] + (one - beta1) * g
        v = beta2 * square[i] + (one - beta2) * g * g
        mean[i] = m
        square[i] = v
        flat[i] = (shrink if decays[i] != 0 else one) * flat[i] - rate * m / (root * np.sqrt(v) + epsilon)


@functools.partial(kernel, parallel=False)
def all_finite(vector):
    """Whether no number of a 1-D contiguous vector is NaN or infinite.

    It is read once, which is a twentieth of an update of a long one, and a third of a microsecond for a short one.
    """
    wrong = np.int32(0)
    for i in range(vector.size):
        wrong |= np.int32(vector[i] - vector[i] != 0)  # the difference is NaN
    return wrong == 0


@kernel
def _squares(vector, partial):
    """Write the sum of squares of each block of a vector to `partial`, in float64 and in one order."""
    for block in prange(partial.size):
        sums = np.zeros(16)  # independent sums, so that they can be taken side by side
        first, end = block * BLOCK, min((block + 1) * BLOCK, vector.size)
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
    with launching():
        _squares(vector, partial)
    return float(np.sqrt(partial.sum()))
