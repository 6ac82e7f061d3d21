"""Routines that every task shares, compiled once for each dtype and called by address; `records` has their names."""

from . import blocks, product, sparse, weights
from .compiled import Routine

ROUTINES = {
    function.__name__: Routine(getattr(function, "py_func", function))  # with NUMBA_DISABLE_JIT it is one of Python's
    for function in (product.product, product.row_product, blocks.copy_rows, weights.times_transposed, sparse.sparse_product)
}
