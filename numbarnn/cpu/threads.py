"""How work is split over threads, and when kernels may run at the same time."""

import contextlib
import threading

import numba

MAX_TASK_ROWS = 64  # rows of the batch one task takes: more would push the pre-activations out of the L2 cache
MAX_SPLIT_ROWS = 128  # the same where units are split: a task has fewer of them
SPLIT_BYTES = 1 << 20  # recurrent weights of one direction from which units are split
ALONE = 1 << 17  # rows times parameters of an update that is done before a second thread would have woken up

_lock, _no_lock = threading.Lock(), contextlib.nullcontext()


def threads():
    """Threads a kernel may use, as set by ``numba.set_num_threads``."""
    return numba.get_num_threads()


class Crew:
    """The threads of one piece of work after another: a single one for small work, else as many as before.

    A context manager; at its end there are as many threads again as at its start.
    """

    def __enter__(self):
        self._all = self._now = numba.get_num_threads()
        return self

    def __exit__(self, *exception):
        numba.set_num_threads(self._all)  # whatever `call` was about to note when it was interrupted

    def call(self, count):
        """Set the number of threads, unless it is that already: setting it takes some microseconds."""
        if count != self._now:
            numba.set_num_threads(count)
            self._now = count

    def work(self, size):
        """Set the number of threads for work of so many rows times parameters."""
        self.call(1 if size < ALONE else self._all)


def parts(directions):
    """Into how many parts the work of each direction is split, so that every thread has one."""
    return -(-threads() // directions)


def shares(batch, directions, blocks, weight_bytes):
    """How each direction's work is split: (parts of the batch, parts of the hidden units); results do not depend on it.

    Splitting the batch needs no waiting, but every thread reads all recurrent weights at each step; splitting the units
    (there are `blocks` that cannot be split) is for weights too large for one core's cache.
    """
    wanted = parts(directions)
    if min(wanted, blocks) > 1 and weight_bytes >= SPLIT_BYTES:
        return -(-batch // MAX_SPLIT_ROWS), min(wanted, blocks)
    return min(batch, max(wanted, -(-batch // MAX_TASK_ROWS))), 1


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
