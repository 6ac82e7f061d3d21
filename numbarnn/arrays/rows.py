"""The rows of a batch that a descriptor describes: new memory for as many, copies of them, the ends of sequences."""

import numpy as np

from .descriptor import TensorDescriptor, address_of
from .devices import device_of, target, target_of


def copy_rows(source, target, ends=None):
    """Copy the rows of a ragged batch to where `target` has them (is modified), and zeros up to ``ends[run]`` steps."""
    length = source.packing.length
    unpack = target_of(target.array).unpack.unpack
    unpack(source, target, length, length if ends is None else ends, source.channels, source.dtype)


def like(described, channels=None, dtype=None, device=None):
    """A descriptor of new memory for the same steps and sequences, with other channels, dtype or device if given.

    A ragged batch has its rows step by step without a gap, as in `compact`.
    """
    channels, packing = described.channels if channels is None else channels, described.packing
    empty = target(device or device_of(described.array)).memory.empty
    rows = empty(packing.shape(channels), dtype or described.dtype)
    return TensorDescriptor.compact(rows, address_of(rows), packing)


def compact(described):
    """The rows of a ragged batch step by step without a gap, (rows, C): a copy unless they lie like that already."""
    if described.is_compact:
        return described.array
    copied = like(described)
    copy_rows(described, copied)
    return copied.array


def numbers(described):
    """What a descriptor describes, in the order of `like`: (T, N, C), or (rows, C) of a ragged batch."""
    return described.tnc if described.packing.uniform else compact(described)


def copy_ends(described, target, first=False):
    """Copy the last step of each sequence, or its first one, 0 where it has none.

    target: a descriptor, (1, N, C), is modified.
    """
    packing = described.packing
    if packing.uniform:
        np.copyto(target.tnc, described.tnc[:1] if first else described.tnc[-1:])
        return
    there = (packing.length[packing.first if first else packing.last] > 0).astype(np.int64)
    ones = np.ones_like(there)
    target_of(described.array).unpack.unpack(described.ends(first), target, there, ones, target.channels, target.dtype)
