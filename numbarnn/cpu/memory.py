"""Uninitialised memory, taken back when its array is gone: a page that was touched once is not paid for again."""

import weakref

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
SMALLEST = 1 << 12  # blocks come in powers of two and halves between, from this on
KEPT_BYTES = 1 << 28  # free blocks kept for the next request, in all

_free = {}  # size: blocks
_lent = {}  # id: (weak reference to the lent array, its block)
_kept = 0


def _size_class(nbytes):
    size = SMALLEST
    while size < nbytes:
        if size + size // 2 >= nbytes:
            return size + size // 2
        size *= 2
    return size


def _take_back(key):
    def forget(reference):
        global _kept
        _, block = _lent.pop(key)
        if _kept + block.nbytes <= KEPT_BYTES:
            _kept += block.nbytes
            _free.setdefault(block.nbytes, []).append(block)

    return forget


def empty(shape, dtype):
    """An uninitialised array that starts on a cache line."""
    global _kept
    dtype = np.dtype(dtype)
    count = 1
    for length in shape:
        count *= length
    nbytes = count * dtype.itemsize
    size = _size_class(nbytes + ALIGNMENT)
    try:
        block = _free[size].pop()
        _kept -= size
    except (KeyError, IndexError):
        block = np.empty(size, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    lent = np.frombuffer(memoryview(block)[start : start + nbytes], dtype)
    _lent[id(lent)] = weakref.ref(lent, _take_back(id(lent))), block
    return lent.reshape(shape)


class Scratch:
    """Uninitialised buffers by name, one block for all, valid while this object lives.

    Parameters
    ----------
    dtype : numpy.dtype
    sizes : dict of str to int
        Numbers in each buffer; 0 gives the address 0.
    """

    def __init__(self, dtype, sizes):
        offsets, total = {}, 0
        for name, size in sizes.items():
            offsets[name] = total
            total += -(-size * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        self.memory = empty((total,), np.uint8)
        start = self.memory.ctypes.data
        self.addresses = {name: start + offsets[name] if size else 0 for name, size in sizes.items()}
