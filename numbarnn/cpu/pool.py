"""The threads that share a kernel's tasks: they wait for a moment, then sleep, and nobody waits for one that has not begun.

A job is a task, a C function ``void(0, 0, record, index)``, to be called once for each index below a count.  The thread
that has the job takes indices one after the other, and so does each helper that is awake or has been woken.  At the end the
job's thread waits for the indices that helpers have begun; a helper that got no core in the meantime has begun none, and
costs nothing.  Whoever waits spins for some tens of microseconds, as long as it takes to put a thread to sleep and to wake
it, and then sleeps, so that a core is there for a thread that has work.

OpenMP, which Numba's ``prange`` uses, waits for every thread of its team to arrive, and spins for milliseconds: where other
work runs on the machine, each region may then take as long as the system leaves a thread without a core.
"""

import atexit
import ctypes
import functools
import os
import sys
import threading
import time

import numpy as np

from .atomics import atomic_add, atomic_load, atomic_store, call_function, exchange_if, pause
from .compiled import Function, kernel

LINE = 64  # bytes that one core writes at a time: what different threads write lies in lines of its own
# The pool is a block of memory: in each line what is written together.
OWNER, TICKET, DONE, SLEEPERS, WAITING, LIMIT, BEGUN, JOB, CALLS, MUTEX, WAKE, FINISHED = (LINE * i for i in range(2, 26, 2))
TASK, RECORD, COUNT = (JOB + 8 * i for i in range(3))
LOCK, UNLOCK, WAIT, SIGNAL = (CALLS + 8 * i for i in range(4))
BYTES = LINE * 26

INDEX = (1 << 32) - 1  # of a ticket: the next index of a job; above it the job's number
CLOSED = (1 << 31) - 1  # an index that no job has
SPINS = 2000  # looks before a thread goes to sleep: some tens of microseconds


@Function
def share(pool, task, record, count):
    """Call a task once for each index below `count`, with the pool's helpers if it is free; address 0: without a pool."""
    if count < 2 or pool == 0 or not exchange_if(pool + OWNER, 0, 1):
        for index in range(count):
            call_function(task, (0, 0, record, index))
        return
    atomic_store(pool + TASK, task)
    atomic_store(pool + RECORD, record)
    atomic_store(pool + COUNT, count)
    atomic_store(pool + DONE, 0)
    job = (atomic_load(pool + TICKET) >> 32) + 1
    atomic_store(pool + TICKET, job << 32)
    sleepers = min(atomic_load(pool + SLEEPERS), count - 1)
    if sleepers > 0:
        call_function(atomic_load(pool + LOCK), (pool + MUTEX,))
        for _ in range(sleepers):
            call_function(atomic_load(pool + SIGNAL), (pool + WAKE,))
        call_function(atomic_load(pool + UNLOCK), (pool + MUTEX,))
    while True:
        ticket = atomic_load(pool + TICKET)
        index = ticket & INDEX
        if index >= count:
            break
        if exchange_if(pool + TICKET, ticket, ticket + 1):
            call_function(task, (0, 0, record, index))
            atomic_add(pool + DONE, 1)
    # Closed before the next job's count is there: a helper that reads the two compares this job's last ticket with it.
    atomic_store(pool + TICKET, job << 32 | CLOSED)
    spins = 0
    while atomic_load(pool + DONE) < count:
        pause()
        spins += 1
        if spins > SPINS:
            call_function(atomic_load(pool + LOCK), (pool + MUTEX,))
            atomic_store(pool + WAITING, 1)
            while atomic_load(pool + DONE) < count:
                call_function(atomic_load(pool + WAIT), (pool + FINISHED, pool + MUTEX, -1, 0))
            atomic_store(pool + WAITING, 0)
            call_function(atomic_load(pool + UNLOCK), (pool + MUTEX,))
    atomic_store(pool + OWNER, 0)


@functools.partial(kernel, releases=True)
def help_out(pool, me):
    """Take indices of the pool's jobs, until there is no place any more for a helper of this number."""
    spins = 0
    atomic_add(pool + BEGUN, 1)
    while me < atomic_load(pool + LIMIT):
        ticket = atomic_load(pool + TICKET)
        index, count = ticket & INDEX, atomic_load(pool + COUNT)
        if index < count:
            task, record = atomic_load(pool + TASK), atomic_load(pool + RECORD)
            if exchange_if(pool + TICKET, ticket, ticket + 1):  # else all that was read may be of different jobs
                call_function(task, (0, 0, record, index))
                if atomic_add(pool + DONE, 1) + 1 == count and atomic_load(pool + WAITING):
                    call_function(atomic_load(pool + LOCK), (pool + MUTEX,))
                    call_function(atomic_load(pool + SIGNAL), (pool + FINISHED,))
                    call_function(atomic_load(pool + UNLOCK), (pool + MUTEX,))
            spins = 0
            continue
        pause()
        spins += 1
        if spins > SPINS:
            spins = 0
            call_function(atomic_load(pool + LOCK), (pool + MUTEX,))
            atomic_add(pool + SLEEPERS, 1)
            while atomic_load(pool + TICKET) & INDEX >= atomic_load(pool + COUNT) and me < atomic_load(pool + LIMIT):
                call_function(atomic_load(pool + WAIT), (pool + WAKE, pool + MUTEX, -1, 0))
            atomic_add(pool + SLEEPERS, -1)
            call_function(atomic_load(pool + UNLOCK), (pool + MUTEX,))


def _system_functions():
    """The system's (lock, unlock, wait, signal one) and what prepares a mutex and a condition, as ctypes functions.

    Windows' wait takes two more arguments, which those of POSIX do not see.
    """
    if sys.platform == "win32":
        names = "AcquireSRWLockExclusive", "ReleaseSRWLockExclusive", "SleepConditionVariableSRW", "WakeConditionVariable"
        start, library = ("InitializeSRWLock", "InitializeConditionVariable"), ctypes.WinDLL("kernel32")
    else:
        names = "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_wait", "pthread_cond_signal"
        start, library = ("pthread_mutex_init", "pthread_cond_init"), ctypes.CDLL(None)
    return [[getattr(library, name) for name in group] for group in (names, start)]


class Pool:
    """A pool's memory, and the Python threads that are its helpers; there is one in a process, `pool`.

    Attributes
    ----------
    address : int
        Of its block, which is there as long as the process.
    helpers : int
        How many helpers there are.
    """

    def __init__(self):
        self._block = np.zeros(BYTES // 8, np.int64)
        self.address = self._block.ctypes.data
        self.reset()

    def reset(self):
        """Begin without helpers, as in a forked process, where there are none."""
        self._threads, self._begun, self._lock, self.helpers = [], 0, threading.Lock(), 0
        self._block[:] = 0
        self._block[TICKET // 8] = CLOSED
        calls, start = _system_functions()
        for place, call in zip((LOCK, UNLOCK, WAIT, SIGNAL), calls):
            self._block[place // 8] = ctypes.cast(call, ctypes.c_void_p).value
        for place, call in zip((MUTEX, WAKE, FINISHED), (start[0], start[1], start[1])):
            call(ctypes.c_void_p(self.address + place), None)

    def set_helpers(self, count):
        """Start helpers, or let some go, so that there are as many."""
        with self._lock:
            self._block[LIMIT // 8] = count
            leaving, self._threads = self._threads[count:], self._threads[:count]
            if leaving:
                wake_all(self.address)
            for thread in leaving:
                thread.join()
            self._begun += len(leaving)
            for number in range(len(self._threads), count):
                place, name = (self.address, number), f"numbarnn-{number}"
                thread = threading.Thread(target=help_out, args=place, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
            while self._block[BEGUN // 8] < self._begun + len(self._threads):  # one that has not yet begun must get there
                time.sleep(0)
            self.helpers = count

    def close(self):
        """Let all helpers go, before Python and their machine code do."""
        self.set_helpers(0)


@kernel
def wake_all(pool):
    """Wake every helper that sleeps."""
    call_function(atomic_load(pool + LOCK), (pool + MUTEX,))
    for _ in range(atomic_load(pool + SLEEPERS)):
        call_function(atomic_load(pool + SIGNAL), (pool + WAKE,))
    call_function(atomic_load(pool + UNLOCK), (pool + MUTEX,))


pool = Pool()
atexit.register(pool.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.reset)
