"""What the pool's threads share: a block of memory, a clock, and ways to wait for one another."""

import functools
import sys
import time

from ..engine.inlined import inlined
from .atomics import atomic_add, atomic_load, call_function, pause, time_passed
from .failures import call_or_raise

LINE = 64  # bytes that one core writes at a time: what different threads write lies in lines of its own
# The pool is a block of memory: in each line what is written together.
OWNER, TICKET, DONE, SLEEPERS, WAITING, LIMIT, BEGUN, JOB, LEDGER, PREEMPTED, CALLS, MUTEX, WAKE, FINISHED, WATCH = (
    LINE * i for i in range(2, 32, 2)
)
TASK, RECORD, COUNT, ERROR = (JOB + 8 * i for i in range(4))  # ERROR: what describes an exception of one of the tasks
GAINED, ALONE_UNTIL, ALONE_FOR, REST, SEEN, BEFORE = (LEDGER + 8 * i for i in range(6))  # see `ledger`
LOCK, UNLOCK, WAIT, SIGNAL, CLOCK, USAGE, SET_POLICY, WAIT_FOR_POST, POST = (CALLS + 8 * i for i in range(9))
WATCHED_FOR, WATCHES, NO_PRIORITY, POSTED = WATCH, WATCH + 8, WATCH + 16, WATCH + LINE  # see `idle`
BYTES = LINE * 34
INDEX = (1 << 32) - 1  # of a ticket: the next index of a job; above it the job's number
CLOSED = (1 << 31) - 1  # an index that no job has
LONG = 300_000  # nanoseconds after which a helper asks whether its core was taken away: it costs one to ask
HURRY = 50_000  # nanoseconds that a job's thread looks for the end of other threads' tasks before it sleeps
LOOKS = 32  # looks between two at the clock


if sys.platform == "win32":
    clock = time.perf_counter_ns  # of Python; the same clock as `now` reads
else:
    clock = functools.partial(time.clock_gettime_ns, time.CLOCK_MONOTONIC)


@inlined
def now(pool):
    """Nanoseconds of a clock that never goes back."""
    return time_passed(atomic_load(pool + CLOCK))


@inlined
def wake(pool, condition, count):
    """Wake some threads that sleep until a condition changes."""
    call_function(atomic_load(pool + LOCK), (pool + MUTEX,))
    for _ in range(count):
        call_function(atomic_load(pool + SIGNAL), (pool + condition,))
    call_function(atomic_load(pool + UNLOCK), (pool + MUTEX,))


@inlined
def wait_until(pool, address, count):
    """Wait until an integer is so large: look for a while, then sleep.  Returns nanoseconds, 0 if it took a few looks."""
    for _ in range(LOOKS):
        if atomic_load(address) >= count:
            return 0
        pause()
    time = start = now(pool)
    while atomic_load(address) < count:
        if time - start > HURRY:
            call_function(atomic_load(pool + LOCK), (pool + MUTEX,))
            atomic_add(pool + WAITING, 1)
            while atomic_load(address) < count:
                call_function(atomic_load(pool + WAIT), (pool + FINISHED, pool + MUTEX, -1, 0))
            atomic_add(pool + WAITING, -1)
            call_function(atomic_load(pool + UNLOCK), (pool + MUTEX,))
        for _ in range(LOOKS):
            if atomic_load(address) >= count:
                break
            pause()
        time = now(pool)
    return time - start


@inlined
def wake_waiting(pool):
    """Wake those that `wait_until` has put to sleep."""
    waiting = atomic_load(pool + WAITING)
    if waiting:
        wake(pool, FINISHED, waiting)


@inlined
def call_alone(task, record, count):
    """Call a task once for each index below `count`."""
    for index in range(count):
        call_or_raise(task, (0, 0, record, index))
