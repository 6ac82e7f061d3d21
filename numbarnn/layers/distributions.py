"""What initial weights are drawn from."""

import numpy as np


def glorot_uniform(random, shape):
    """Uniform in ``+-sqrt(6 / (inputs + outputs))`` (Glorot and Bengio 2010, eq. 16), for a gate's (inputs, outputs)."""
    limit = np.sqrt(6 / sum(shape))
    return random.uniform(-limit, limit, shape)


def orthogonal(random, shape):
    """A random matrix with orthogonal rows or columns, the fewer, Haar measure (Mezzadri 2007, arXiv:math-ph/0609050)."""
    if shape[0] < shape[1]:
        return orthogonal(random, shape[::-1]).T
    q, r = np.linalg.qr(random.standard_normal(shape))
    return q * np.sign(np.diag(r))


def uniform(random, shape, size):
    """Uniform in ``+-1 / sqrt(size)``: PyTorch's choice for recurrent layers, `size` being the hidden units."""
    limit = 1 / np.sqrt(size)
    return random.uniform(-limit, limit, shape)
