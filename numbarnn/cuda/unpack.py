"""From the rows of a ragged batch, step by step, to the sequences of the caller."""

from typing import NamedTuple

import numpy as np

from .arrays import asarray, flat, spare
from .device import blocks_for, cuda, kernel, stream_address
from .launches import launch


class Unpack(NamedTuple):
    """Copy rows of `columns` numbers, and write zeros; tables count in numbers, and are there where a flag is 1."""

    steps: int  # that the longest run has, steps of zeros included
    runs: int
    columns: int
    source: int
    source_step: int
    source_batch: int
    source_channel: int
    source_steps: int  # 1: the step's place is looked up
    source_starts: int
    target: int
    target_step: int
    target_batch: int
    target_channel: int
    target_steps: int
    target_starts: int


@kernel
def unpack_rows(real, call, source, target, lengths, ends, source_steps, source_starts, target_steps, target_starts):
    """Run an `Unpack`; target is modified.  lengths, ends: of each run, what it has and what is written."""
    across = call.runs * call.columns
    for i in range(cuda.grid(1), call.steps * across, cuda.gridsize(1)):
        step, rest = i // across, i % across
        run, column = rest // call.columns, rest % call.columns
        if step < ends[run]:
            value = real
            if step < lengths[run]:
                row = source_steps[step] if call.source_steps else step
                start = source_starts[run] if call.source_starts else run * call.source_batch
                value = source[call.source + row * call.source_step + start + column * call.source_channel]
            row = target_steps[step] if call.target_steps else step
            start = target_starts[run] if call.target_starts else run * call.target_batch
            target[call.target + row * call.target_step + start + column * call.target_channel] = value


def kept_on_device(owner, name, make):
    """On the device, an int64 table that belongs to an object: sent there once, for each stream that reads it.

    make: a function that returns the table.
    """
    kept, name = vars(owner).setdefault("_on_device", {}), (name, stream_address())
    if name not in kept:
        kept[name] = asarray(np.ascontiguousarray(make(), np.int64))
    return kept[name]


def place(described):
    """(array, start, strides T, N, C, table of steps, table of starts) of a descriptor's rows, in numbers; None for none."""
    (array, start), size = flat(described.array), described.dtype.itemsize
    strides = tuple(stride // size for stride in described.strides)
    first_entry, starts, packing = described.first_entry, described.starts, described.packing
    steps_table = starts_table = None
    if first_entry is not None:
        steps_table = kept_on_device(packing, ("steps", first_entry), lambda: packing.table[first_entry:])
    if starts is not None:
        starts_table = kept_on_device(described, "starts", lambda: starts // size)
    return array, start + described.offset // size, strides, steps_table, starts_table


def unpack(source, target, lengths, ends, columns, dtype):
    """Write rows to others, and zeros after each run until ``ends[run]`` steps.

    source, target: descriptors, of which the target's memory is modified; lengths, ends: of each run, int64; columns:
    channels.
    """
    if not len(lengths):
        return
    packing, steps = source.packing, int(ends.max())
    count = steps * len(lengths) * columns
    if not count:
        return
    tables = []
    for array in (lengths, ends):
        mine = array is packing.length or array is vars(packing).get("ends")
        name = "length" if array is packing.length else "ends"
        tables.append(kept_on_device(packing, name, lambda array=array: array) if mine else asarray(array))
    source_array, source_start, source_strides, *source_tables = place(source)
    target_array, target_start, target_strides, *target_tables = place(target)
    call = Unpack(
        steps, len(lengths), columns, source_start, *source_strides, *(int(t is not None) for t in source_tables),
        target_start, *target_strides, *(int(t is not None) for t in target_tables),
    )  # fmt: skip
    none = spare(np.dtype(np.int64), stream_address())
    placed = (none if table is None else table for table in (*source_tables, *target_tables))
    launch(unpack_rows, blocks_for(count), dtype.type(0), call, source_array, target_array, *tables, *placed)


def copy_rows(source, target):
    """Copy the rows of a ragged batch to where another descriptor has them (is modified)."""
    length = source.packing.length
    unpack(source, target, length, length, source.channels, source.dtype)
