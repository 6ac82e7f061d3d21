"""The rows of a batch, step by step: where they lie, and how they get there."""

import functools

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from .arrays import asarray, flat
from .device import stream_address
from .unpack import copy_rows, kept_on_device


@functools.lru_cache(maxsize=64)
def _uniform_table(steps, batch, stream):
    return asarray(np.arange(steps + 3, dtype=np.int64) * batch)


def table_of(packing):
    """The table of a packing, in device memory."""
    if packing.uniform:
        return _uniform_table(packing.steps, packing.batch, stream_address())
    return kept_on_device(packing, ("steps", 0), lambda: packing.table)


def matrix_of(described, scratch, at):
    """A descriptor's rows as a matrix, S by channels: (numbers, start, row stride, channel stride).

    They are copied to scratch unless they lie so already; at: where in it there is room for them.
    """
    found = lying_as_matrix(described)
    if found is None:
        copy_to_rows(described, scratch, at)
        found = scratch, at, described.channels, 1
    return found


def lying_as_matrix(described):
    """What `matrix_of` returns where a descriptor's rows lie so; None if they are to be copied."""
    if described.packing.uniform:
        array = described.tnc
        step, batch, channel = (stride // array.itemsize for stride in array.strides)
        if array.shape[0] == 1 or step == batch * array.shape[1]:
            return *flat(array), batch, channel
        if array.shape[1] == 1:
            return *flat(array), step, channel
    return None


def lying_as_rows(described):
    """(numbers, start) where a descriptor's rows lie step by step without a gap; None if they are to be copied so."""
    array = described.tnc if described.packing.uniform else None
    return None if array is None or not array.flags.c_contiguous else (array.reshape(-1), 0)


def copy_to_rows(described, block, at):
    """Copy a descriptor's rows, step by step without a gap, to a block of numbers from `at` on (is modified)."""
    packing, channels = described.packing, described.channels
    target = block[at : at + packing.rows * channels]
    rows = TensorDescriptor.compact(target.reshape(packing.rows, channels), 0, packing)
    if packing.uniform:
        rows.array[...] = described.tnc
    else:
        copy_rows(described, rows)


def previous_rows(packing, direction):
    """For each row of a ragged batch, step by step, the row of h that its step started from."""
    step, run = packing.steps_and_runs()
    return packing.table[step if direction == 0 else step + 2] + run
