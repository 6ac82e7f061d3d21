"""Rows of a table on the GPU: read by index, written by index, and summed by index.

Indices are vectors of int64 in the host's memory, whose numbers have been checked.
"""

import numpy as np

from .array import asarray
from .device import blocks_for, cuda, current_stream, kernel


def take_rows(table, indices, target):
    """Write ``table[indices]`` to `target` (is modified)."""
    table.take(indices, 0, target, "clip")


def put_rows(table, indices, source):
    """Write `source` to ``table[indices]`` (is modified); no index may be there twice."""
    table[indices] = source


@kernel
def sum_groups(real, shape, order, starts, indices, source, source_start, target, target_start, add):
    """Run `sum_rows`; shape is (groups, columns), target is modified."""
    groups, columns = shape
    for i in range(cuda.grid(1), groups * columns, cuda.gridsize(1)):
        group, column = i // columns, i % columns
        total = real
        for k in range(starts[group], starts[group + 1]):
            total += source[source_start + order[k] * columns + column]
        place = target_start + indices[group] * columns + column
        if add:
            total += target[place]
        target[place] = total


def sum_rows(source, groups, target, compact, accumulate=False):
    """Write the sum of each group's rows to a row of `target` (is modified); no other row is touched.

    Parameters
    ----------
    source : DeviceArray
        (indices, columns), contiguous.
    groups : Groups
    target : DeviceArray
        (table rows, columns), where the sum of index i goes to row i; with `compact` (groups, columns), in order.
    compact : bool
    accumulate : bool
        Add to the rows instead of overwriting them.
    """
    count, columns = len(groups.indices), source.shape[1]
    places = np.arange(count) if compact else groups.indices
    order, starts, indices = (asarray(np.ascontiguousarray(a, np.int64)) for a in (groups.order, groups.starts, places))
    sum_groups[(*blocks_for(count * columns), current_stream())](
        source.dtype.type(0), (count, columns), order.memory, starts.memory, indices.memory, source.memory, source.offset,
        target.memory, target.offset, int(accumulate),
    )  # fmt: skip
