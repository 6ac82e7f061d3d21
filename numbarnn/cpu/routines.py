"""Routines that every task shares, compiled once for each dtype and called by address."""

import functools

from . import blocks, product, weights
from .compiled import Routine
from .records import ROUTINE_NAMES

ROUTINES = {
    function.__name__: Routine(getattr(function, "py_func", function))  # with NUMBA_DISABLE_JIT it is one of Python's
    for function in (product.product, product.row_product, blocks.copy_rows, weights.times_transposed)
}


@functools.cache
def addresses(dtype):
    """The addresses of the routines for `dtype`, in the order of ROUTINE_NAMES, as a record takes them."""
    return tuple(ROUTINES[name].address(dtype) for name in ROUTINE_NAMES)
