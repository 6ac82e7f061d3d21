"""Numbers that move along a way: dual numbers, in complex arrays, from parameters to the tangent of a gradient."""

import math

import numpy as np

from ..arrays.devices import device_of, moved
from ..arrays.indices import Indices
from ..arrays.rows import like, numbers

TINY = 2.0**-200  # of tangents in dual numbers: where NumPy multiplies complex numbers, the squares vanish


class Way:
    """A direction of a vector of parameters, along which all that is computed from them has a tangent.

    Parameters
    ----------
    vector : numpy.ndarray
        (P,), of any norm: tangents are along a multiple of it whose largest number is between 1/2 and 1.
    """

    def __init__(self, vector):
        largest = float(np.abs(vector).max()) if vector.size else 0.0
        self._exponent = math.frexp(largest)[1]
        self._vector = np.ldexp(vector, -self._exponent)

    def parameters(self, network, flat):
        """The parameters of each layer of a network, over a vector `flat`, as dual numbers that move along the way."""
        ways = network.split(self._vector)
        return [p._dual(TINY * way.flat.astype(np.float64)) for p, way in zip(network.split(flat), ways)]

    def constant(self, described):
        """A descriptor of the same numbers as dual numbers that do not move; of indices, themselves."""
        return described if isinstance(described, Indices) else _filled(described, numbers(described), np.complex128)

    def parts(self, described, dtype):
        """Descriptors of the values and the tangents of dual numbers, of a dtype."""
        found = numbers(described)
        return [_filled(described, part, dtype) for part in (found.real, found.imag / TINY)]

    def dual(self, values, tangents):
        """An array of dual numbers of these values and tangents, where the values lie."""
        found = values.astype(np.complex128)
        found.imag = TINY * moved(tangents, device_of(values)).astype(np.float64)
        return found

    def moved(self, parts, dtype):
        """The tangents of the parameters' gradients, each layer's a Parameters of dual numbers, as one vector of a dtype."""
        tangent = np.concatenate([part.flat.imag for part in parts]) / TINY
        return np.ldexp(tangent, self._exponent).astype(dtype)


def _filled(described, values, dtype):
    """A descriptor of new numbers of a dtype, of the steps and sequences of another."""
    found = like(described, dtype=dtype)
    numbers(found)[...] = values
    return found
