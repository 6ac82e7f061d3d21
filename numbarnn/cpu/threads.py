"""How work is split over threads, and when kernels may run at the same time."""

import contextlib
import os
import threading

import numba

from ..errors import KernelError

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
    """Hold this around a parallel kernel: Numba's workqueue layer aborts when two Python threads enter it at once.

    It raises KernelError in a process that was forked from one with GNU OpenMP's threads: there a kernel would kill it.
    """
    return _held or _found()


class _Forked:
    """What a kernel meets in a process that has lost its threads."""

    def __enter__(self):
        raise KernelError(
            "fork: expected it before Numba's first parallel kernel, got a process whose OpenMP threads have stayed behind; "
            "start processes by multiprocessing.get_context('spawn') or 'forkserver', or set NUMBA_THREADING_LAYER to 'tbb' "
            "or 'workqueue', which can be forked"
        )

    def __exit__(self, *exception):
        pass


_held = None  # what `launching` returns, once it is known


def _found():
    """What `launching` returns: Numba's threading layer, once one has started, says whether kernels may overlap."""
    global _held
    try:
        layer = numba.threading_layer()
    except ValueError:  # no parallel kernel has run yet
        return _lock
    _held = _lock if layer == "workqueue" else _no_lock
    return _held


def _has_gnu_threads():
    """Whether this process has started GNU's OpenMP, which no process forked from it can use."""
    try:
        if numba.threading_layer() != "omp":
            return False
    except ValueError:
        return False
    from numba.np.ufunc import omppool

    return getattr(omppool, "openmp_vendor", "GNU") == "GNU"


def _after_fork():
    """In a forked process: new locks, and an error at the first kernel if its threads stayed behind."""
    global _held, _lock
    _lock = threading.Lock()  # a thread that is not here may have held it
    _held = _Forked() if isinstance(_held, _Forked) or _has_gnu_threads() else None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
