"""How work is split over threads, and when kernels may run at the same time."""

import contextlib
import threading

import numba

MAX_TASK_ROWS = 64  # rows of the batch one task takes: more would push the pre-activations out of the L2 cache

_lock, _no_lock = threading.Lock(), contextlib.nullcontext()


def threads():
    """Threads a kernel may use, as set by ``numba.set_num_threads``."""
    return numba.get_num_threads()


def batch_tasks(batch, directions=1):
    """Into how many parts the rows of a batch are split, in each direction; the result does not depend on it."""
    parts = -(-threads() // directions)
    return min(batch, max(parts, -(-batch // MAX_TASK_ROWS)))


def launching():
    """Hold this around a parallel kernel: Numba's workqueue layer aborts when two Python threads enter it at once."""
    return _no_lock if _may_overlap() else _lock


_layer = None


def _may_overlap():
    global _layer
    if _layer is None:
        try:
            _layer = numba.threading_layer()
        except ValueError:  # no parallel kernel has run yet
            return False
    return _layer != "workqueue"
