"""Routines that every kernel shares, compiled once for each dtype and called by address.

A kernel that merely called an @njit function would compile it again, inlined, for each cell.  The address of a C
function is one more integer in the kernel's record.  Its arguments are a number of the dtype, and integers.
"""

import functools
import threading

from numba import from_dtype, types

from . import blocks, product, weights
from .compiled import routine
from .records import ROUTINE_NAMES

ROUTINES = {
    function.__name__: function
    for function in (
        product.product, product.row_product, blocks.copy_rows, weights.times_transposed, weights.pack_task,
        weights.gradient_task,
    )
}  # fmt: skip

_one_at_a_time = threading.Lock()  # two Python threads that start at once compile each routine once


@functools.cache
def _compiled(name, dtype):
    function = ROUTINES[name]
    function = getattr(function, "py_func", function)  # with NUMBA_DISABLE_JIT it is one of Python's
    integers = [types.int64] * (function.__code__.co_argcount - 1)
    return routine(function, types.void(from_dtype(dtype), *integers))


@functools.cache
def addresses(dtype):
    """The addresses of the routines for `dtype`, in the order of ROUTINE_NAMES, as a record takes them."""
    with _one_at_a_time:
        return tuple(_compiled(name, dtype).address for name in ROUTINE_NAMES)
