"""Where the numbers of strided arrays lie, worked out by NumPy on arrays that have no memory of their own.

Offsets and strides are in numbers where kernels take them, in bytes where NumPy does.
"""

import functools

import numpy as np
from numpy.lib.stride_tricks import as_strided

AXES = 4  # of a kernel that takes any layout


@functools.cache
def _seed(dtype):
    return np.empty(1, dtype)


def stand_in(shape, strides, dtype):
    """A NumPy array of that layout whose memory must not be read: to make views of."""
    return as_strided(_seed(dtype), shape, strides)


def offset_of(view, stand_in):
    """How many numbers a view of a stand-in begins behind it."""
    return (view.ctypes.data - stand_in.ctypes.data) // view.itemsize


@functools.lru_cache(maxsize=4096)
def c_strides(shape, itemsize):
    """Strides in bytes of a C-contiguous array."""
    strides, step = [], itemsize
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


@functools.lru_cache(maxsize=4096)
def is_c_contiguous(shape, strides, itemsize):
    """Whether the numbers lie one after the other in C order."""
    if 0 in shape:
        return True
    step = itemsize
    for length, stride in zip(reversed(shape), reversed(strides)):
        if length != 1 and stride != step:
            return False
        step *= length
    return True


@functools.lru_cache(maxsize=4096)
def extent(shape, strides):
    """(lowest, highest) address of a number, in bytes from the first one's."""
    reach = [(length - 1) * stride for length, stride in zip(shape, strides)]
    return sum(min(0, r) for r in reach), sum(max(0, r) for r in reach)


@functools.lru_cache(maxsize=4096)
def collapsed(shape, *strides, fixed=0):
    """(lengths, strides of each operand), AXES of each, with axes run together where all operands allow it.

    strides: of each operand, for the same shape, in any unit.  fixed: how many axes at the front stay as they are.
    None where more than AXES are left.
    """
    lengths, steps = list(shape[:fixed]), [list(s[:fixed]) for s in strides]
    for axis in range(fixed, len(shape)):
        length = shape[axis]
        if length == 1:
            continue
        joins = len(lengths) > fixed and all(own[-1] == s[axis] * length for own, s in zip(steps, strides))
        if joins:
            lengths[-1] *= length
        else:
            lengths.append(length)
        for own, s in zip(steps, strides):
            if joins:
                own[-1] = s[axis]
            else:
                own.append(s[axis])
    missing = AXES - len(lengths)
    if missing < 0:
        return None
    front, ones, zeros = len(lengths[:fixed]), [1] * missing, [0] * missing
    return (
        (*lengths[:front], *ones, *lengths[front:]),
        tuple((*own[:front], *zeros, *own[front:]) for own in steps),
    )


def in_numbers(strides, itemsize):
    """Strides in bytes as strides in numbers."""
    return tuple(stride // itemsize for stride in strides)
