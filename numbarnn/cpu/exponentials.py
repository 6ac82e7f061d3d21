"""Functions made of the exponential, of every number of an array, with the same bits for losses and for their programs."""

import numpy as np

from ..cells import elementary
from . import vector_math  # noqa: F401 (what the elementary functions do with vectors)
from .blocks import share
from .compiled import Task
from .jobs import run
from .records import integers
from .routine_call import record_at
from .simd import lanes, load_first, size_of, store_first
from .threads import parts_for

SMALLEST_PART = 1 << 13  # numbers below which another thread does not pay
FUNCTIONS = {"exp": 0, "exp_of_minus_size": 1, "softplus": 2}
VALUES = np.dtype(integers("parts", "count", "x", "y", "function"))


@Task
def _values(cell, number, record, part):
    """Write ``exp(x)``, ``exp(-|x|)`` or ``log(1 + exp(x))`` to y for one part of the numbers at addresses x and y."""
    real, call = number(0), record_at(record, VALUES)[0]
    first, mine = share(call.count, call.parts, part)
    for i in range(first, first + mine, lanes(real)):
        at, rest = i * size_of(real), first + mine - i
        x = load_first(real, call.x + at, rest)
        if call.function == 0:
            y = elementary.exp(x)
        elif call.function == 1:
            y = elementary.exp(-abs(x))
        else:
            y = elementary.softplus(x)
        store_first(y, call.y + at, rest)


def exponential(name, x):
    """A new array of one of `FUNCTIONS` of each number of x, whose axes lie in memory in the same order."""
    y = x.copy(order="K")
    parts = parts_for(y.size, SMALLEST_PART)
    record = np.array((parts, y.size, y.ctypes.data, y.ctypes.data, FUNCTIONS[name]), VALUES)
    run(_values, None, y.dtype, record, parts)
    return y


def add_exponential(program, name, x):
    """Add `exponential` of a contiguous x to a program; returns the array that it is written to."""
    y = np.zeros_like(x)
    record = np.array((1, x.size, x.ctypes.data, y.ctypes.data, FUNCTIONS[name]), VALUES)
    program.add_job(_values, None, x.dtype, record, x, y)
    return y
