"""Uninitialised memory, taken back when its array is gone: a page that was touched once is not paid for again."""

import weakref

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
SMALLEST = 1 << 12  # blocks come in powers of two and halves between, from this on
KEPT_BYTES = 1 << 28  # free blocks kept for the next request, in all

_free = {}  # size: [(block, address)]
_lent = {}  # id: (weak reference to the lent array, block, address)
_kept = 0


def aligned(nbytes):
    """`nbytes`, rounded up to whole cache lines."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _size_class(nbytes):
    size = SMALLEST
    while size < nbytes:
        if size + size // 2 >= nbytes:
            return size + size // 2
        size *= 2
    return size


def _take_back(reference):
    global _kept
    _, block, address = _lent.pop(reference.key)
    if _kept + block.nbytes <= KEPT_BYTES:
        _kept += block.nbytes
        _free.setdefault(block.nbytes, []).append((block, address))


class _Reference(weakref.ref):
    __slots__ = ("key",)


def borrow(nbytes):
    """(array, address): `nbytes` uninitialised bytes from a cache line on, lent for as long as the array lives."""
    global _kept
    size = _size_class(nbytes)
    try:
        block, address = _free[size].pop()
        _kept -= size
    except (KeyError, IndexError):
        whole = np.empty(size + ALIGNMENT, np.uint8)
        start = -whole.ctypes.data % ALIGNMENT
        block = whole[start : start + size]
        address = block.ctypes.data
    lent = np.frombuffer(memoryview(block), np.uint8, nbytes)  # not of the array: views of `lent` must keep `lent` alive
    reference = _Reference(lent, _take_back)
    reference.key = id(lent)
    _lent[id(lent)] = reference, block, address
    return lent, address


def empty(shape, dtype):
    """An uninitialised array that starts on a cache line."""
    count = 1
    for length in shape:
        count *= length
    return borrow(count * np.dtype(dtype).itemsize)[0].view(dtype).reshape(shape)
