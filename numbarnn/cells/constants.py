"""What equations may read of a cell or of an activation function: constants of the kernel that is compiled for it."""

from numbers import Integral, Real

from .activations import Function
from .cell import Cell

LARGEST = 1 << 63  # one more than the largest integer of a kernel


def constant(value):
    """`value` as a kernel has it: a Python number, a tuple of constants, a Function or a Cell; None where it is none."""
    if isinstance(value, (bool, Function, Cell)):
        return value
    if type(value).__name__ in ("bool", "bool_") and hasattr(value, "dtype"):  # NumPy's
        return bool(value)
    if isinstance(value, Integral):
        return int(value) if -LARGEST <= value < LARGEST else None
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, tuple):
        items = tuple(constant(item) for item in value)
        return None if any(item is None for item in items) else items
    return None
