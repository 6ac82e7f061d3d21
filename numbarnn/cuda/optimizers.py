"""One update of a parameter vector, fused: every number is read and written once.

All vectors are 1-D and contiguous, of one dtype; the scalars have that dtype too.  `previous` receives the parameters as
they were.  `scale` multiplies the gradient first (clipping).  Nobody waits to say whether all parameters are finite then.
"""

import functools
import math

import numpy as np

from .arrays import zeros
from .device import SIMULATED, blocks_for, cuda, function, kernel, stream_address
from .launches import launch

if SIMULATED:  # what Python's raise an error for is NaN on a GPU
    from numpy import sqrt
else:
    from math import sqrt


@function
def write(found, flat, i, value):
    """``flat[i] = value``, and whether that is not finite to `found` (both are modified): whoever says so says the same."""
    flat[i] = value
    if value - value != 0:  # NaN
        found[0] = 1


@kernel
def _sgd(found, count, flat, previous, gradient, velocity, scale, rate, momentum, nesterov):
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        old = flat[i]
        previous[i] = old
        v = g = gradient[i] * scale
        if momentum != 0:  # else it is not kept, as on the CPU
            v = momentum * velocity[i] + g
            velocity[i] = v
        write(found, flat, i, old - rate * (g + momentum * v if nesterov else v))


@kernel
def _rmsprop(found, count, flat, previous, gradient, square, scale, rate, decay, epsilon, one):
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        old = flat[i]
        previous[i] = old
        g = gradient[i] * scale
        s = decay * square[i] + (one - decay) * g * g
        square[i] = s
        write(found, flat, i, old - rate * g / (sqrt(s) + epsilon))


@function
def means_of(i, flat, previous, gradient, mean, square, scale, beta1, beta2, one):
    """(a parameter, kept in `previous`; its scaled gradient g; the running means of g and g^2, which are kept too)."""
    old = flat[i]
    previous[i] = old
    g = gradient[i] * scale
    m = beta1 * mean[i] + (one - beta1) * g
    v = beta2 * square[i] + (one - beta2) * g * g
    mean[i] = m
    square[i] = v
    return old, g, m, v


@kernel
def _adam(found, count, flat, previous, gradient, mean, square, scale, rate, shrink, beta1, beta2, root, epsilon, one):
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        old, _, m, v = means_of(i, flat, previous, gradient, mean, square, scale, beta1, beta2, one)
        write(found, flat, i, shrink * old - rate * m / (root * sqrt(v) + epsilon))


@kernel
def _adam_in_part(
    found, count, flat, previous, gradient, mean, square, decays, scale, rate, shrink, beta1, beta2, root, epsilon, one
):
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        old, _, m, v = means_of(i, flat, previous, gradient, mean, square, scale, beta1, beta2, one)
        kept = shrink if decays[i] != 0 else one
        write(found, flat, i, kept * old - rate * m / (root * sqrt(v) + epsilon))


@kernel
def _nadam(found, count, flat, previous, gradient, mean, square, scale, direct, rate, beta1, beta2, root, epsilon, one):
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        old, g, m, v = means_of(i, flat, previous, gradient, mean, square, scale, beta1, beta2, one)
        write(found, flat, i, old - (direct * g + rate * m) / (root * sqrt(v) + epsilon))


def _launch(function, vectors, scalars):
    """Launch an update; whether it has left finite numbers, later."""
    flat = vectors[0]
    found = _found(flat.data.ptr, stream_address())
    if flat.size:
        launch(function, blocks_for(flat.size), found, flat.size, *vectors, *scalars)
    return Finite(flat, found)


@functools.lru_cache(maxsize=64)
def _found(vector, stream):
    """A number that updates of the vector at an address, on a stream, make 1 if they write a number that is not finite.

    `Finite` makes it 0 again when it has looked at the vector.
    """
    return zeros((1,), "int64")


def sgd(flat, previous, gradient, velocity, scale, rate, momentum, nesterov):
    """``v = momentum v + g``, ``p -= rate v`` (Nesterov: ``p -= rate (g + momentum v)``)."""
    return _launch(_sgd, (flat, previous, gradient, velocity), (scale, rate, momentum, nesterov))


def rmsprop(flat, previous, gradient, square, scale, rate, decay, epsilon):
    """``s = decay s + (1 - decay) g^2``, ``p -= rate g / (sqrt(s) + epsilon)``."""
    return _launch(_rmsprop, (flat, previous, gradient, square), (scale, rate, decay, epsilon, flat.dtype.type(1)))


def adam(flat, previous, gradient, mean, square, scale, rate, shrink, beta1, beta2, root, epsilon):
    """``p = shrink p - rate m / (root sqrt(v) + epsilon)`` with the running means m of g and v of g^2."""
    scalars = scale, rate, shrink, beta1, beta2, root, epsilon, flat.dtype.type(1)
    return _launch(_adam, (flat, previous, gradient, mean, square), scalars)


def adam_in_part(flat, previous, gradient, mean, square, decays, scale, rate, shrink, beta1, beta2, root, epsilon):
    """`adam`, where only those parameters shrink whose `decays` is not 0."""
    scalars = scale, rate, shrink, beta1, beta2, root, epsilon, flat.dtype.type(1)
    return _launch(_adam_in_part, (flat, previous, gradient, mean, square, decays), scalars)


def nadam(flat, previous, gradient, mean, square, scale, direct, rate, beta1, beta2, root, epsilon):
    """``p -= (direct g + rate m) / (root sqrt(v) + epsilon)`` with the running means m of g and v of g^2."""
    scalars = scale, direct, rate, beta1, beta2, root, epsilon, flat.dtype.type(1)
    return _launch(_nadam, (flat, previous, gradient, mean, square), scalars)


class Finite:
    """Whether the numbers of a vector are finite: the GPU is waited for when it is asked first.

    found: 0 if they are for certain, as all updates have left such; else they are looked at, and it is made 0 (is modified):
    what the next update leaves is another matter.
    """

    def __init__(self, vector, found=None):
        self._vector, self._found, self._answer = vector, found, None
        if found is None:
            self._number = (vector - vector).sum()

    def __bool__(self):
        if self._answer is None:
            self._answer = self._look()
        return self._answer

    def _look(self):
        if self._found is None:
            return float(self._number) == 0
        if int(self._found[0]) == 0:
            return True
        self._found.fill(0)
        return bool(Finite(self._vector))


def all_finite(vector):
    """Whether no number of a 1-D contiguous vector is NaN or infinite: something that is true or false, later."""
    return Finite(vector)


def norm(vector):
    """Euclidean norm of a 1-D contiguous vector, summed in float64 in one order."""
    return math.sqrt(float(np.square(vector, dtype=np.float64).sum()))
