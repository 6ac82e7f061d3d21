"""Weights as the panels want them: packed before the loop over time, unpacked into the gradient after it.

Hidden units come in *blocks*: one to four vectors of units, with all their slots side by side, so that one panel fills
every gate of its units while they are in the L1 cache.  Within a block the order is (slot, unit).  The last block may be
narrower; its last vector is padded with zeros, never the user's array.

A weight is (rows, gates, hidden) in memory, rows being what it multiplies: input channels or hidden units.
"""

import numpy as np
from numba import njit, prange

from .product import MAX_VECTORS
from .simd import get, lanes, lanes_of, load_first, put, size_of, splat, store


def block_vectors(cell):
    """Vectors of units in a block: as many as keep every product of the cell within one panel."""
    return MAX_VECTORS // cell.slots


def vectors_in(count, dtype):
    """Vectors that hold `count` numbers."""
    return -(-count // lanes_of(dtype))


@njit
def copy_rows(real, source, steps_, step_stride, rows, row_stride, count, stride, target):
    """Write ``[steps, rows, count]`` numbers at any strides (bytes) one after the other from address `target` on."""
    size, width = size_of(real), lanes(real)
    for s in range(steps_):
        for r in range(rows):
            row = source + s * step_stride + r * row_stride
            if stride == size:
                whole = count // width * width
                for i in range(0, whole, width):
                    store(load_first(real, row + i * size, width), target + i * size)
                for i in range(whole, count):
                    put(get(real, row + i * size), target + i * size)
            else:
                for i in range(count):
                    put(get(real, row + i * stride), target + i * size)
            target += count * size


@njit
def clear(real, target, vectors):
    """Write zeros over `vectors` whole vectors."""
    zero = splat(real, 0)
    for i in range(vectors):
        store(zero, target + i * lanes(real) * size_of(real))


@njit(parallel=True, cache=True)
def pack(real, weight, rows, hidden, gates, gate_of_slot, per_block, target):
    """``[blocks, rows, (slot, unit)]`` from the weight at address `weight`, ``(rows, gates, hidden)``.

    gate_of_slot: array of the gates to take, one a slot; `target` is modified.
    """
    size, width, slots = size_of(real), lanes(real), gate_of_slot.size
    unit_vectors = (hidden + width - 1) // width
    for row in prange(rows):
        for unit_vector in range(unit_vectors):
            block, v = unit_vector // per_block, unit_vector % per_block
            first = block * per_block
            vectors = min(per_block, unit_vectors - first)
            unit = unit_vector * width
            place = target + (first * rows + row * vectors) * slots * width * size + v * width * size
            for slot in range(slots):
                source = weight + ((row * gates + gate_of_slot[slot]) * hidden + unit) * size
                store(load_first(real, source, hidden - unit), place + slot * vectors * width * size)


@njit(parallel=True, cache=True)
def unpack(real, packed, rows, hidden, gates, gate_of_slot, per_block, accumulate, weight):
    """The reverse of `pack`: write, or with `accumulate` add, packed gradients to ``(rows, gates, hidden)``.

    `weight` (an address) is modified.
    """
    size, width, slots = size_of(real), lanes(real), gate_of_slot.size
    unit_vectors = (hidden + width - 1) // width
    for row in prange(rows):
        for unit in range(hidden):
            unit_vector = unit // width
            first = unit_vector // per_block * per_block
            vectors = min(per_block, unit_vectors - first)
            place = packed + ((first * rows + row * vectors) * slots * width + unit - first * width) * size
            for slot in range(slots):
                target = weight + ((row * gates + gate_of_slot[slot]) * hidden + unit) * size
                value = get(real, place + slot * vectors * width * size)
                put(value + get(real, target) if accumulate else value, target)


@njit(parallel=True, cache=True)
def pack_transposed(real, weight, rows, hidden, gates, gate_of_slot, per_block, target):
    """``[panels over rows, (block, slot, unit), row]``: the operand that takes slot derivatives back to rows.

    Each panel holds up to MAX_VECTORS vectors of rows; padded units and rows are zeros.  `target` is modified.
    """
    size, width, slots = size_of(real), lanes(real), gate_of_slot.size
    unit_vectors, row_vectors = (hidden + width - 1) // width, (rows + width - 1) // width
    depth = unit_vectors * slots * width
    for row_vector in prange(row_vectors):
        panel = row_vector // MAX_VECTORS
        panel_vectors = min(MAX_VECTORS, row_vectors - panel * MAX_VECTORS)
        column = target + (panel * MAX_VECTORS * depth + row_vector % MAX_VECTORS) * width * size
        first_row = row_vector * width
        count = min(width, rows - first_row)
        for unit_vector in range(unit_vectors):
            first = unit_vector // per_block * per_block
            vectors = min(per_block, unit_vectors - first)
            for slot in range(slots):
                k = (first * slots + slot * vectors + unit_vector - first) * width
                for lane in range(width):
                    place = column + (k + lane) * panel_vectors * width * size
                    unit = unit_vector * width + lane
                    store(splat(real, 0), place)
                    if unit < hidden:
                        source = weight + ((first_row * gates + gate_of_slot[slot]) * hidden + unit) * size
                        for i in range(count):
                            put(get(real, source + i * gates * hidden * size), place + i * size)


def packed_size(rows, hidden, slots, dtype):
    """Numbers in a packed weight."""
    return rows * vectors_in(hidden, dtype) * lanes_of(dtype) * slots


def transposed_size(rows, hidden, slots, dtype):
    """Numbers in a packed, transposed weight."""
    return packed_size(vectors_in(rows, dtype) * lanes_of(dtype), hidden, slots, dtype)


def empty(size, dtype):
    """An uninitialised 1-D array that starts on a cache line."""
    spare = 64 // np.dtype(dtype).itemsize
    raw = np.empty(size + spare, dtype)
    first = -raw.ctypes.data % 64 // raw.itemsize
    return raw[first : first + size]
