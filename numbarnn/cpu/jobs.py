"""Calls of compiled code from Python: a job of the pool, and a C function of one record; what they raise is raised."""

from .compiled import kernel
from .failures import call_or_raise
from .pool import share, share_whatever
from .threads import sharing, threads


@kernel
def _share(share_address, pool, task, record, count):
    """Call a task once for each index below `count`."""
    call_or_raise(share_address, (pool, task, record, count))


@kernel
def call(function, record):
    """Call a C function with the address of a record."""
    call_or_raise(function, (record,))


def run(task, cell, dtype, record, count, threads_=None):
    """Call a task for a cell, or None, and a dtype once for each index below `count`, with an array of one record.

    threads_: how many share the work; all that there are by default.
    """
    pool = sharing(threads() if threads_ is None else threads_) if count > 1 else 0
    _share(share.address, pool, task.address(cell, dtype), record.ctypes.data, count)


def run_long(task, cell, dtype, record, count):
    """`run` of tasks that take many milliseconds each: also while the pool rests, which is for short ones."""
    _share(share_whatever.address, sharing(count), task.address(cell, dtype), record.ctypes.data, count)
