"""Calls of compiled code from Python: a job of the pool, and a C function of one record."""

from .atomics import call_function
from .compiled import kernel
from .pool import share
from .threads import sharing, threads


@kernel
def _share(share_address, pool, task, record, count):
    """Call a task once for each index below `count`."""
    call_function(share_address, (pool, task, record, count, 0))


@kernel
def call(function, record):
    """Call a C function with the address of a record."""
    call_function(function, (record,))


def run(task, cell, dtype, record, count):
    """Call a task for a cell, or None, and a dtype once for each index below `count`, with an array of one record."""
    pool = sharing(threads()) if count > 1 else 0
    _share(share.address, pool, task.address(cell, dtype), record.ctypes.data, count)
