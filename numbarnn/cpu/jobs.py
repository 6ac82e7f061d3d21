"""Calls of compiled code from Python: a job of the pool, and a C function of one record; what they raise is raised.

What takes long lets other threads run Python meanwhile, so that several of them compute at once.  To have Python again
afterwards is a matter of microseconds where these call the library, too; but one that runs nothing but Python keeps it for
five milliseconds.  After two such waits in a row, calls keep Python for `RESTS` times as long, and then try again: so little
more than one part in `RESTS` is lost, as by the `pool`.  A single one may be the system's, which takes cores away.
"""

import functools
import sys

from .compiled import kernel
from .failures import call_or_raise
from .ledger import RESTS
from .pool import pool, share, share_whatever
from .pool_memory import clock, now
from .threads import sharing, threads

LONG = 1 << 19  # multiplications of numbers by parameters that take longer than to hand Python over and have it back


class Patience:
    """What calls that take long have waited for to have Python again; times are by `pool.clock`.

    Attributes
    ----------
    until : int
        When they let others run Python again.
    kept : int
        When one that has kept Python last gave it up: who has waited for that has not waited for others.
    waited : int
        How long the last one has waited, if that was long.
    """

    def __init__(self):
        self.until = self.kept = self.waited = 0

    def note(self, ended):
        """Note that a call that had ended then has had Python again by now."""
        time = clock()
        waited = time - ended
        if waited < sys.getswitchinterval() * 5e8 or ended < self.kept:  # half of what a thread may keep Python for
            self.waited = 0
        elif self.waited:
            self.until, self.waited = time + RESTS * (self.waited + waited), 0
        else:
            self.waited = waited


patience = Patience()


@kernel
def call(function, record):
    """Call a C function with the address of a record."""
    call_or_raise(function, (record,))


@functools.partial(kernel, releases=True)
def _call_aside(function, record, timer):
    """`call` while other threads run Python; returns when it has ended."""
    call_or_raise(function, (record,))
    return now(timer)


def call_long(function, record):
    """`call` of what takes long."""
    if clock() < patience.until:
        call(function, record)
        patience.kept = clock()
    else:
        patience.note(_call_aside(function, record, pool.address))


@kernel
def _share(share_address, pool, task, record, count):
    """Call a task once for each index below `count`."""
    call_or_raise(share_address, (pool, task, record, count))


@functools.partial(kernel, releases=True)
def _share_aside(share_address, pool, task, record, count, timer):
    """`_share` while other threads run Python; returns when it has ended."""
    call_or_raise(share_address, (pool, task, record, count))
    return now(timer)


def _share_long(*job):
    """`_share` of what takes long."""
    if clock() < patience.until:
        _share(*job)
        patience.kept = clock()
    else:
        patience.note(_share_aside(*job, pool.address))


def run(task, cell, dtype, record, count, threads_=None, long=False):
    """Call a task for a cell, or None, and a dtype once for each index below `count`, with an array of one record.

    More than one index is what several threads may share, if that pays: it takes long.  threads_: how many share the work;
    all that there are by default.  long: whether it takes long though there is one index.
    """
    if count > 1 or long:
        pool_ = sharing(threads() if threads_ is None else threads_)
        _share_long(share.address, pool_, task.address(cell, dtype), record.ctypes.data, count)
    else:
        _share(share.address, 0, task.address(cell, dtype), record.ctypes.data, count)


def run_aside(task, cell, dtype, record, count):
    """`run` by this thread alone, while other threads run Python."""
    _share_long(share.address, 0, task.address(cell, dtype), record.ctypes.data, count)


def run_long(task, cell, dtype, record, count):
    """`run` of tasks that take many milliseconds each: also while the pool rests, which is for short ones."""
    _share_long(share_whatever.address, sharing(count), task.address(cell, dtype), record.ctypes.data, count)
