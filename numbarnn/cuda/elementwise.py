"""One function of every number of an array, on the GPU."""

from .array import DeviceArray, empty
from .device import blocks_for, cuda, current_stream, kernel
from .types import get, put


@kernel
def _value(cell, real, count, x, x_start, y, y_start):
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        put(cell.activation.value(get(x, x_start + i)), y, y_start + i)


@kernel
def _times_slope(cell, real, count, kept, kept_start, dy, dy_start, dx, dx_start):
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        slope = cell.activation.slope(get(kept, kept_start + i))
        put(get(dy, dy_start + i) * slope, dx, dx_start + i)


def _contiguous(array):
    return array if array.flags.c_contiguous else array.copy()


def _launch(function, cell, *arrays):
    count = arrays[-1].size
    if count:
        places = (part for array in arrays for part in (array.memory, array.offset))
        real = arrays[-1].dtype.type(0)
        function[(*blocks_for(count), current_stream())](cell, real, count, *places)


def value(cell, x, y=None) -> DeviceArray:
    """``f(x)`` as a C-contiguous array, `y` (is modified) or a new one, f being the cell's activation."""
    x = _contiguous(x)
    y = empty(x.shape, x.dtype) if y is None else y
    _launch(_value, cell, x, y)
    return y


def times_slope(cell, kept, dy, dx):
    """Write ``dy * f'(x)``, from what f keeps of x, to the C-contiguous array `dx` (is modified)."""
    _launch(_times_slope, cell, _contiguous(kept), _contiguous(dy), dx)
