"""Uninitialised memory, taken back when its array is gone: a page that was touched once is not paid for again."""

import contextlib
import functools
import weakref

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
SMALLEST = 1 << 12  # blocks come in powers of two and halves between, from this on
KEPT_BYTES = 1 << 30  # free blocks kept for the next request, in all: a loop takes again what it has given back
KEPT_ANYWAY = 1 << 28  # a request that finds none of its size lets go of as much above this: others may not come again

_free = {}  # size: [(memoryview, address)]
_lent = {}  # id of a lent array: a weak reference to it
_kept = 0


def aligned(nbytes):
    """`nbytes`, rounded up to whole cache lines."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@functools.lru_cache(maxsize=4096)
def _size_class(nbytes):
    """The bytes of the block that is lent for `nbytes`: a power of two, or halfway to the next."""
    size = SMALLEST
    while size < nbytes:
        if size + size // 2 >= nbytes:
            return size + size // 2
        size *= 2
    return size


def take(nbytes):
    """(memoryview, address) of a block of at least `nbytes` uninitialised bytes, from a cache line on; `give` it back."""
    global _kept
    size = _size_class(nbytes)
    try:
        block = _free[size].pop()
        _kept -= size
    except (KeyError, IndexError):
        if _kept > KEPT_ANYWAY:
            _let_go(max(KEPT_ANYWAY, _kept - size))
        whole = np.empty(size + ALIGNMENT, np.uint8)
        start = -whole.ctypes.data % ALIGNMENT
        part = whole[start : start + size]
        block = memoryview(part), part.ctypes.data
    return block


def _let_go(most):
    """Let go of free blocks, the largest first, until no more than `most` bytes are kept."""
    global _kept
    while _kept > most:
        size = max((size for size, blocks in list(_free.items()) if blocks), default=None)
        if size is None:
            _kept = 0  # threads that counted at once may have lost a number
            return
        with contextlib.suppress(IndexError):  # another thread has just taken it
            _free[size].pop()
            _kept -= size


def give(block):
    """Take back a block from `take`."""
    global _kept
    size = block[0].nbytes
    if _kept + size <= KEPT_BYTES:
        _kept += size
        _free.setdefault(size, []).append(block)


class _Reference(weakref.ref):
    """A weak reference to a lent array that knows under which key it is kept, and what is called with what in the end."""

    __slots__ = ("back", "key", "what")


def _take_back(reference):
    """Do what is to be done when nobody holds an array any more."""
    del _lent[reference.key]
    reference.back(reference.what)


def borrow(nbytes):
    """(array, address): `nbytes` uninitialised bytes from a cache line on, lent for as long as the array or a view lives."""
    block = take(nbytes)
    lent = np.frombuffer(block[0], np.uint8, nbytes)  # of a memoryview: a view of `lent` then keeps `lent` itself alive
    reference = _Reference(lent, _take_back)
    reference.key, reference.back, reference.what = id(lent), give, block
    _lent[reference.key] = reference
    return lent, block[1]


def lend_again(view, back, what):
    """A view like `view`, of memory that `borrow` has lent; ``back(what)`` is called when nobody holds it any more."""
    owner = view
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    lent = np.frombuffer(owner.base, np.uint8, owner.nbytes)
    reference = _Reference(lent, _take_back)
    reference.key, reference.back, reference.what = id(lent), back, what
    _lent[reference.key] = reference
    return np.ndarray(view.shape, view.dtype, lent, view.ctypes.data - owner.ctypes.data, view.strides)


def empty(shape, dtype):
    """An uninitialised array that starts on a cache line."""
    count = 1
    for length in shape:
        count *= length
    return borrow(count * np.dtype(dtype).itemsize)[0].view(dtype).reshape(shape)


def zeros(shape, dtype):
    """A new array of zeros."""
    return np.zeros(shape, dtype)


def asarray(array):
    """The array itself: it is here."""
    return array
