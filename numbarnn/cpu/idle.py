"""What ends the pool's rest early: a thread that the system lets run only where a core would be idle without it.

A rest has begun since others have taken a core.  Nothing that the job's thread could look at says when they have gone: it
has a core of its own either way, and to try it costs milliseconds where they have not.  A thread of the system's policy for
idle cores (on Linux SCHED_IDLE) takes next to nothing from anybody, so one spins for as long as the rest lasts; when it has
had a core to itself for long enough the rest is over; between rests it sleeps at a semaphore.  It never waits for a lock
and nobody waits for it, Python's lock included: where all cores are busy, it may not run for a second.  So it does not end,
either, before the process does.
"""

import functools
import os

from ..engine.inlined import inlined
from .atomics import atomic_load, atomic_store, call_function, exchange_if, pause
from .compiled import kernel
from .failures import error_of_call
from .pool_memory import (
    ALONE_UNTIL,
    LONG,
    LOOKS,
    NO_PRIORITY,
    POSTED,
    SET_POLICY,
    WAIT_FOR_POST,
    WATCHED_FOR,
    WATCHES,
    now,
)

POLICY = getattr(os, "SCHED_IDLE", 0)
SYSTEM = "linux"  # whose functions `watch` calls


@inlined
def finds_idle_core(pool, nanoseconds, until):
    """Spin until this thread has had a core to itself for so long, and return True, or until the rest is over."""
    time = since = now(pool)
    while time < until and atomic_load(pool + ALONE_UNTIL) == until:
        if time - since >= nanoseconds:
            return True
        for _ in range(LOOKS):
            pause()
        before, time = time, now(pool)
        if time - before > LONG:  # others had it
            since = time
    return False


@functools.partial(kernel, releases=True)
def watch(pool):
    """End each rest of the pool that others were the reason for, when they have gone; returns where that cannot be done."""
    if error_of_call(atomic_load(pool + SET_POLICY), (0, POLICY, pool + NO_PRIORITY)) & 0xFFFFFFFF:
        return
    atomic_store(pool + WATCHES, 1)
    while True:
        until, nanoseconds = atomic_load(pool + ALONE_UNTIL), atomic_load(pool + WATCHED_FOR)
        if nanoseconds == 0 or now(pool) >= until:
            call_function(atomic_load(pool + WAIT_FOR_POST), (pool + POSTED,))
        elif finds_idle_core(pool, nanoseconds, until):
            exchange_if(pool + ALONE_UNTIL, until, 0)
