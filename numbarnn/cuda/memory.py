"""Uninitialised device memory, taken back when its arrays are gone: asking the driver each time would wait for the GPU.

A block belongs to the stream it was first given out on, and goes back to that stream's; with `device.stream`, whose
streams wait for each other, what the block's next user does comes after all that its last one asked for.
"""

import functools
import sys
import threading

import numpy as np

from ..errors import DeviceError
from .device import SIMULATED, cuda, current_stream, require, stream_key

SMALLEST = 1 << 9  # bytes: blocks come in powers of two and halves between, from this on
KEPT_SHARE = 0.5  # of the device's memory: free blocks kept for the next request, at most

_free = {}  # (size, stream): [Block]
_kept = 0
_lock = threading.RLock()  # taken back from whatever Python thread loses the last reference


@functools.lru_cache(maxsize=4096)
def _size_class(nbytes):
    size = SMALLEST
    while size < nbytes:
        if size + size // 2 >= nbytes:
            return size + size // 2
        size *= 2
    return size


class Block:
    """Device memory of `nbytes`, seen as numbers of any dtype."""

    def __init__(self, raw, nbytes, stream):
        self.raw, self.nbytes, self.stream, self._views = raw, nbytes, stream, {}

    def numbers(self, dtype):
        """The whole of it as Numba's 1-D device array of a dtype."""
        view = self._views.get(dtype)
        if view is None:
            view = self._views[dtype] = self.raw.view(dtype)
        return view

    def held_views(self):
        """The views that somebody holds still; forgotten here."""
        held = [dtype for dtype in self._views if sys.getrefcount(self._views[dtype]) > 2]  # the dictionary's, and this one
        return [self._views.pop(dtype) for dtype in held]


class Loan:
    """A block that is given back when the last reference to this object is gone."""

    __slots__ = ("__weakref__", "block")

    def __init__(self, block):
        self.block = block

    def __del__(self):
        if held := self.block.held_views():  # an array's memory may outlive the array
            loan = Loan(self.block)
            for view in held:
                view.loan = loan
        else:
            _give(self.block)


def free_and_total():
    """Bytes of device memory that are free, and all of them."""
    if SIMULATED:
        return 1 << 40, 1 << 40
    free, total = cuda.current_context().get_memory_info()
    return int(free), int(total)


@functools.cache
def _most_kept():
    return int(KEPT_SHARE * free_and_total()[1])


def _give(block):
    global _kept
    with _lock:
        if _kept + block.nbytes <= _most_kept():
            _kept += block.nbytes
            _free.setdefault((block.nbytes, block.stream), []).append(block)


def release():
    """Give the free blocks back to the driver."""
    global _kept
    with _lock:
        _free.clear()
        _kept = 0


def _allocate(nbytes):
    """`nbytes` from the driver, as a 1-D array of bytes."""
    return cuda.device_array(nbytes, np.uint8)


def _is_out_of_memory(error):
    return isinstance(error, MemoryError) or "OUT_OF_MEMORY" in f"{type(error).__name__} {error}".upper()


def borrow(nbytes):
    """A Loan of a block of at least `nbytes` bytes, uninitialised.

    Raises
    ------
    DeviceError
        If there is not so much device memory; nothing else has changed then.
    """
    global _kept
    require()
    size, stream = _size_class(nbytes), stream_key(current_stream())
    with _lock:
        blocks = _free.get((size, stream))
        if blocks:
            _kept -= size
            return Loan(blocks.pop())
    try:
        raw = _allocate(size)
    except Exception as error:  # the driver's own, of a class that depends on its version
        if not _is_out_of_memory(error):
            raise
        raw = None
    return Loan(Block(_allocate_after_release(size) if raw is None else raw, size, stream))


def _allocate_after_release(nbytes):
    """The same, with the free blocks given back to the driver first."""
    release()
    try:
        return _allocate(nbytes)
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        free, total = free_and_total()
        raise DeviceError(f"device memory: expected {nbytes:,} bytes, got {free:,} free of {total:,}") from error


def empty(shape, dtype):
    """An uninitialised DeviceArray."""
    return _arrays().empty(shape, dtype)


def zeros(shape, dtype):
    """A new DeviceArray of zeros."""
    return _arrays().zeros(shape, dtype)


def asarray(array):
    """A DeviceArray: a copy of a NumPy array, without a copy over one that is in device memory."""
    return _arrays().asarray(array)


def may_share_memory(a, b):
    """Whether writing to one DeviceArray may change the other."""
    return _arrays().may_share_memory(a, b)


@functools.cache
def _arrays():
    from . import array  # which takes its memory from here

    return array
