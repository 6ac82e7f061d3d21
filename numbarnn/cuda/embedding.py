"""Rows of a table on the GPU: read by index, written by index, and summed by index.

Indices are vectors of int64 in the host's memory, whose numbers have been checked.
"""

import numpy as np

from .arrays import asarray
from .device import blocks_for, cuda, kernel
from .launches import launch


def take_rows(table, indices, target):
    """Write ``table[indices]`` to `target` (is modified)."""
    table.take(asarray(indices), 0, target)


def put_rows(table, indices, source):
    """Write `source` to ``table[indices]`` (is modified); no index may be there twice."""
    table[asarray(indices)] = source


@kernel
def sum_groups(real, shape, order, starts, indices, source, target, add):
    """Run `sum_rows`; shape is (groups, columns), target is modified."""
    groups, columns = shape
    for i in range(cuda.grid(1), groups * columns, cuda.gridsize(1)):
        group, column = i // columns, i % columns
        total = real
        for k in range(starts[group], starts[group + 1]):
            total += source[order[k] * columns + column]
        place = indices[group] * columns + column
        if add:
            total += target[place]
        target[place] = total


def sum_rows(source, groups, target, compact, accumulate=False):
    """Write the sum of each group's rows to a row of `target` (is modified); no other row is touched.

    Parameters
    ----------
    source : cupy.ndarray
        (indices, columns), contiguous.
    groups : Groups
    target : cupy.ndarray
        (table rows, columns), where the sum of index i goes to row i; with `compact` (groups, columns), in order.
        Contiguous.
    compact : bool
    accumulate : bool
        Add to the rows instead of overwriting them.
    """
    count, columns = len(groups.indices), source.shape[1]
    places = np.arange(count) if compact else groups.indices
    order, starts, indices = (asarray(np.ascontiguousarray(a, np.int64)) for a in (groups.order, groups.starts, places))
    launch(
        sum_groups, blocks_for(count * columns), source.dtype.type(0), (count, columns), order, starts, indices, source,
        target, int(accumulate),
    )  # fmt: skip
