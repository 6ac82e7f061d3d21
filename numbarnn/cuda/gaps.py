"""Values that decay where they are missing, on the GPU: see `layers.gaps`, and `cpu.gaps` for the arguments."""

import numpy as np

from .elementwise import times_slope, value


def _parts(x, variables):
    """The blocks of x, (rows, C): values, masks, spans."""
    return np.split(x.reshape(-1, 3 * variables), 3, axis=1)


def fill(cell, x, weight, bias, mean, y):
    """Write y (is modified) from x, both of the same rows."""
    (values, mask, span), out = _parts(x, len(mean)), y.reshape(-1, 3 * len(mean))
    left = value(cell, weight * span + bias)
    out[...] = x.reshape(out.shape)
    out[:, : len(mean)] = mask * values + (1 - mask) * (left * values + (1 - left) * mean)


def take_back(cell, x, weight, bias, mean, dy, dx, dweight, dbias, accumulate):
    """Write dx and write, or add, dweight and dbias (all are modified), from dL/dy."""
    (values, mask, span), (of_value, of_mask, of_span) = _parts(x, len(mean)), _parts(dy, len(mean))
    left = value(cell, weight * span + bias)
    outer, inner = of_value * (1 - mask) * (values - mean), np.zeros_like(left)
    times_slope(cell, left, outer, inner)
    parts = (
        of_value * (mask + (1 - mask) * left),
        of_mask + of_value * (1 - left) * (values - mean),
        of_span + inner * weight,
    )
    dx.reshape(-1, 3 * len(mean))[...] = np.concatenate(parts, axis=1)
    for array, summed in ((dweight, (inner * span).sum(axis=0)), (dbias, inner.sum(axis=0))):
        array[...] = array + summed if accumulate else summed
