"""One function of every number of an array, on the GPU."""

from .arrays import contiguous, empty
from .device import blocks_for, cuda, kernel
from .launches import launch
from .types import get, put


@kernel
def _value(cell, real, count, x, y):
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        put(cell.activation.value(get(x, i)), y, i)


@kernel
def _times_slope(cell, real, count, kept, dy, dx):
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        slope = cell.activation.slope(get(kept, i))
        put(get(dy, i) * slope, dx, i)


def _launch(function, cell, *arrays):
    count = arrays[-1].size
    if count:
        launch(function, blocks_for(count), cell, arrays[-1].dtype.type(0), count, *arrays)


def value(cell, x, y=None):
    """``f(x)`` as a C-contiguous array, `y` (is modified) or a new one, f being the cell's activation."""
    x = contiguous(x)
    y = empty(x.shape, x.dtype) if y is None else y
    _launch(_value, cell, x, y)
    return y


def times_slope(cell, kept, dy, dx):
    """Write ``dy * f'(x)``, from what f keeps of x, to the C-contiguous array `dx` (is modified)."""
    _launch(_times_slope, cell, contiguous(kept), contiguous(dy), dx)
