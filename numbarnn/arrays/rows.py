"""The rows of a batch that a descriptor describes: new memory for as many, copies of them, the ends of sequences."""

import numpy as np

from .descriptor import TensorDescriptor, address_of
from .devices import backend, backend_of, device_of


def copy_rows(source, destination, ends=None):
    """Copy the rows of a ragged batch to where `destination` has them (is modified), and zeros up to ``ends[run]`` steps."""
    length = source.packing.length
    unpack = backend_of(destination.array).unpack.unpack
    unpack(source, destination, length, length if ends is None else ends, source.channels, source.dtype)


def like(described, channels=None, dtype=None, device=None):
    """A descriptor of new memory for the same steps and sequences, with other channels, dtype or device if given.

    A ragged batch has its rows step by step without a gap, as in `compact`.
    """
    channels, packing = described.channels if channels is None else channels, described.packing
    empty = backend(device or device_of(described.array)).memory.empty
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


def copy_ends(described, destination, first=False):
    """Copy the last step of each sequence, or its first one, 0 where it has none.

    destination: a descriptor, (1, N, C), is modified.
    """
    packing = described.packing
    if packing.uniform:
        np.copyto(destination.tnc, described.tnc[:1] if first else described.tnc[-1:])
        return
    there = (packing.length[packing.first if first else packing.last] > 0).astype(np.int64)
    ones = np.ones_like(there)
    unpack = backend_of(described.array).unpack.unpack
    unpack(described.ends(first), destination, there, ones, destination.channels, destination.dtype)
