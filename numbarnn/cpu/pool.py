"""The threads that share a kernel's tasks: nobody waits for one that has not begun, and sharing goes on only where it pays.

A job is a task, a C function ``void(0, 0, record, index)``, to be called once for each index below a count.  The thread
that has the job takes indices one after the other, and so does each helper that is awake or has been woken.  At the end the
job's thread waits for the indices that helpers have begun; a helper that got no core in the meantime has begun none, and
costs nothing.  What a task raises, whoever has called it, the job's thread raises when all are done.

A task that has many regions, each of which needs the one before, is one job all the same (`regions`): threads meet
after each region, and otherwise go on.

What sharing has gained is counted, job by job: the time that the job's thread would have taken alone, by what it has spent
on a core for the indices it took itself, less the time that the job took.  When more has been lost lately than gained, the
job's thread goes alone for `RESTS` times the loss, and then tries again: where other work runs on the machine, or a quota
holds threads back, or tasks are too small, little more than one part in `RESTS` is lost; where a core was taken away, it
tries again as soon as one is idle (`idle`).  Meanwhile helpers sleep.  Whoever
waits spins first, since to be put to sleep and woken takes tens of microseconds: a helper while jobs gain, for `PATIENCE`;
the job's thread for `HURRY`, after which its core is there for a helper that has lost its own.

OpenMP, which Numba's ``prange`` uses, waits for every thread of its team to arrive, and spins for milliseconds: where other
work runs on the machine, each region may then take as long as the system leaves a thread without a core.
"""

import atexit
import contextlib
import ctypes
import functools
import os
import sys
import threading
import time

import numpy as np
from numba import types

from ..engine import processors
from ..engine.inlined import inlined
from .atomics import atomic_add, atomic_load, atomic_store, call_function, exchange_if, pause, time_on_core, times_preempted
from .compiled import Function, kernel
from .failures import error_of_call, raise_error
from .idle import SYSTEM, watch
from .ledger import RESTS, TRIAL, account, rest
from .pool_memory import (
    ALONE_UNTIL,
    BEGUN,
    BYTES,
    CLOCK,
    CLOSED,
    COUNT,
    DONE,
    ERROR,
    FINISHED,
    GAINED,
    INDEX,
    LIMIT,
    LOCK,
    LONG,
    LOOKS,
    MUTEX,
    OWNER,
    POST,
    PREEMPTED,
    RECORD,
    REST,
    SET_POLICY,
    SIGNAL,
    SLEEPERS,
    TASK,
    TICKET,
    UNLOCK,
    USAGE,
    WAIT,
    WAIT_FOR_POST,
    WAKE,
    WATCHED_FOR,
    WATCHES,
    call_alone,
    clock,
    now,
    wait_until,
    wake,
    wake_waiting,
)
from .regions import PASSED, TAKEN, WAITED, of_part

CALLED = LOCK, UNLOCK, WAIT, SIGNAL, CLOCK, USAGE, SET_POLICY, WAIT_FOR_POST, POST  # see `_system_functions`
PATIENCE = 1_000_000  # nanoseconds that a helper looks for a job before it sleeps


@inlined
def call_together(pool, task, record, count, parts):
    """Call a task once for each index below `count`, with the pool's helpers; the pool is this thread's.

    parts: 0, or the address of the parts that the task, `take_parts`, takes.

    Returns the nanoseconds that this thread would have taken alone, 0 if helpers have taken all, and what describes an
    exception, or 0.
    """
    atomic_store(pool + TASK, task)
    atomic_store(pool + RECORD, record)
    atomic_store(pool + COUNT, count)
    atomic_store(pool + DONE, 0)
    job = (atomic_load(pool + TICKET) >> 32) + 1
    atomic_store(pool + TICKET, job << 32)
    sleepers = min(atomic_load(pool + SLEEPERS), count - 1)
    if sleepers > 0:
        wake(pool, WAKE, sleepers)
    posted, own, last = time_on_core(atomic_load(pool + CLOCK)), 0, 0
    while True:
        ticket = atomic_load(pool + TICKET)
        index = ticket & INDEX
        if index >= count:
            break
        if exchange_if(pool + TICKET, ticket, ticket + 1):
            error = error_of_call(task, (0, 0, record, index))
            if error != 0:
                atomic_store(pool + ERROR, error)
            atomic_add(pool + DONE, 1)
            if parts == 0 or atomic_load(parts + of_part(index) + TAKEN) > 0:
                own, last = own + 1, index
    # Closed before the next job's count is there: a helper that reads the two compares this job's last ticket with it.
    atomic_store(pool + TICKET, job << 32 | CLOSED)
    worked = time_on_core(atomic_load(pool + CLOCK)) - posted
    wait_until(pool, pool + DONE, count)
    if parts and own:  # that thread has been at many parts, and has waited between them
        worked, own = worked - atomic_load(parts + of_part(last) + WAITED), atomic_load(parts + of_part(last) + TAKEN)
        count = atomic_load(parts + PASSED)
    error = atomic_load(pool + ERROR)
    if error != 0:
        atomic_store(pool + ERROR, 0)
    return max(0, worked) * count // own if own else 0, error


@inlined
def share_if_it_pays(pool, task, record, count, parts):
    """Call a task once for each index below `count`, with the pool's helpers if it is free; parts: as of `call_together`."""
    start = now(pool) if count > 1 and pool != 0 else 0
    if start == 0 or start < atomic_load(pool + ALONE_UNTIL) or not exchange_if(pool + OWNER, 0, 1):
        call_alone(task, record, count)
        return
    alone, error = call_together(pool, task, record, count, parts)
    if alone:
        time = now(pool)
        account(pool, alone - (time - start), time)
    atomic_store(pool + OWNER, 0)
    raise_error(error)


@Function
def share(pool, task, record, count):
    """Call a task once for each index below `count`, with the pool's helpers if it is free; address 0: without a pool."""
    share_if_it_pays(pool, task, record, count, 0)


@Function
def share_parts(pool, task, parts, count):
    """`share` of the task `take_parts`."""
    share_if_it_pays(pool, task, parts, count, parts)


@Function
def share_whatever(pool, task, record, count):
    """`share` of tasks of many milliseconds each, whatever sharing short ones has cost: it says nothing of long ones.

    A helper that is slow takes fewer of them; one that gets no core takes none, or is waited for with its last one.
    """
    if count < 2 or pool == 0 or not exchange_if(pool + OWNER, 0, 1):
        call_alone(task, record, count)
        return
    _, error = call_together(pool, task, record, count, 0)
    atomic_store(pool + OWNER, 0)
    raise_error(error)


@inlined
def sleep_until_needed(pool, me):
    """Sleep until there is a job with an index to take, or no place any more for this helper."""
    call_function(atomic_load(pool + LOCK), (pool + MUTEX,))
    atomic_add(pool + SLEEPERS, 1)
    while atomic_load(pool + TICKET) & INDEX >= atomic_load(pool + COUNT) and me < atomic_load(pool + LIMIT):
        call_function(atomic_load(pool + WAIT), (pool + WAKE, pool + MUTEX, -1, 0))
    atomic_add(pool + SLEEPERS, -1)
    call_function(atomic_load(pool + UNLOCK), (pool + MUTEX,))


@inlined
def lost_core(pool, before):
    """How often this helper has had its core taken away by now; a number that was not seen before where nobody knows."""
    function = atomic_load(pool + USAGE)
    return times_preempted(function) if function else before + 1


@functools.partial(kernel, releases=True)
def help_out(pool, me):
    """Take indices of the pool's jobs, until there is no place any more for a helper of this number."""
    looks = 0
    idle_since = last_look = now(pool)
    preempted = lost_core(pool, 0)
    atomic_add(pool + BEGUN, 1)
    while me < atomic_load(pool + LIMIT):
        ticket = atomic_load(pool + TICKET)
        index, count = ticket & INDEX, atomic_load(pool + COUNT)
        if index < count:
            task, record = atomic_load(pool + TASK), atomic_load(pool + RECORD)
            if exchange_if(pool + TICKET, ticket, ticket + 1):  # else all that was read may be of different jobs
                start = now(pool)
                error = error_of_call(task, (0, 0, record, index))
                if error != 0:
                    atomic_store(pool + ERROR, error)
                if now(pool) - start > LONG:
                    before, preempted = preempted, lost_core(pool, preempted)
                    atomic_add(pool + PREEMPTED, preempted - before)
                if atomic_add(pool + DONE, 1) + 1 == count:
                    wake_waiting(pool)
                looks = 0
                idle_since = last_look = now(pool)
            continue
        pause()
        looks += 1
        if looks % LOOKS == 0:
            time = now(pool)
            if time - last_look > LONG:
                before, preempted = preempted, lost_core(pool, preempted)
                if preempted > before:  # whoever has the core may be the job's thread
                    rest(pool, time - last_look, time, True)
            if time - idle_since > PATIENCE or time < atomic_load(pool + ALONE_UNTIL):
                sleep_until_needed(pool, me)
                time = idle_since = now(pool)
                preempted = lost_core(pool, preempted)
            last_look = time


def _system_functions():
    """The system's functions in the order of `CALLED` (four on Linux alone), and what prepares a mutex and a condition.

    The wait of Windows takes two more arguments, which the wait of POSIX does not see.
    """
    if sys.platform == "win32":
        names = (
            "AcquireSRWLockExclusive", "ReleaseSRWLockExclusive", "SleepConditionVariableSRW", "WakeConditionVariable",
            "QueryPerformanceCounter",
        )  # fmt: skip
        start, library = ("InitializeSRWLock", "InitializeConditionVariable"), ctypes.WinDLL("kernel32")
    else:
        names = "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_wait", "pthread_cond_signal", "clock_gettime"
        start, library = ("pthread_mutex_init", "pthread_cond_init"), ctypes.CDLL(None)
    if sys.platform == SYSTEM:
        names = (*names, "getrusage", "sched_setscheduler", "sem_wait", "sem_post")
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
        self._rest, self._restless, self._watcher = RESTS, 0, None
        self._block[:] = 0
        self._block[TICKET // 8], self._block[GAINED // 8], self._block[REST // 8] = CLOSED, TRIAL, RESTS
        self._alone_until = ctypes.c_int64.from_address(self.address + ALONE_UNTIL)
        self._calls, start = _system_functions()
        for place, call in zip(CALLED, self._calls):
            self._block[place // 8] = ctypes.cast(call, ctypes.c_void_p).value
        for place, call in zip((MUTEX, WAKE, FINISHED), (start[0], start[1], start[1])):
            call(ctypes.c_void_p(self.address + place), None)

    def set_helpers(self, count):
        """Start helpers, or let some go, so that there are as many."""
        with self._lock:
            self._block[LIMIT // 8] = count
            leaving, self._threads = self._threads[count:], self._threads[:count]
            if leaving:
                self._wake_all()
            for thread in leaving:
                thread.join()
            self._begun += len(leaving)
            for number in range(len(self._threads), count):
                place, name = (self.address, number), f"numbarnn-{number}"
                thread = threading.Thread(target=help_out, args=place, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
            if count and sys.platform == SYSTEM:
                # Not in the thread that watches, whenever that begins: a process forked meanwhile would find the compiler's
                # lock closed for good, and of two processes that do the same one might compile it and one not.
                watch.compile((types.int64,))
            while self._block[BEGUN // 8] < self._begun + len(self._threads):  # one that has not yet begun must get there
                time.sleep(0)
            self.helpers = count

    def _wake_all(self):
        """Wake every helper; by the system's functions, since nothing should be compiled for it when a process ends."""
        lock, unlock, _, signal, *_ = self._calls
        mutex, condition = (ctypes.c_void_p(self.address + place) for place in (MUTEX, WAKE))
        lock(mutex)
        for _ in range(self.helpers):
            signal(condition)
        unlock(mutex)

    def rests(self):
        """Whether work is done by one thread for now, since sharing it has cost time."""
        if self._alone_until.value <= clock():
            return False
        if self._watcher is None and sys.platform == SYSTEM and self._block[WATCHED_FOR // 8]:
            self._start_to_watch()
        return True

    def _start_to_watch(self):
        """Start the thread that ends rests; the pool's memory is then there as long as the process, as that thread is.

        None is started where there is a quota, which it would use up and which an idle core says nothing of, nor where the
        system has no thread to give: rests then take their time.
        """
        with self._lock:
            if self._watcher is not None:
                return
            self._watcher = threading.Thread(target=watch, args=(self.address,), name="numbarnn-watch", daemon=True)
            if "quota" in processors.limits():
                return
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._block))
            with contextlib.suppress(RuntimeError):
                self._watcher.start()

    def set_rest(self, nanoseconds):
        """Set how long one thread goes alone for each nanosecond lost; 0: work is shared whatever it costs."""
        with self._lock:
            self._rest = nanoseconds
            self._block[REST // 8] = 0 if self._restless else nanoseconds

    @contextlib.contextmanager
    def without_rest(self):
        """Share work whatever it costs; what `set_rest` has set counts again when the last thread has left such a block."""
        with self._lock:
            self._restless += 1
            self._block[REST // 8] = 0
        try:
            yield
        finally:
            with self._lock:
                self._restless = max(0, self._restless - 1)  # a process forked meanwhile has begun anew
                self._block[REST // 8] = 0 if self._restless else self._rest

    def close(self):
        """Let all helpers go, before Python and their machine code do; whoever watches rests needs neither once it does."""
        self.set_helpers(0)
        while self._watcher is not None and self._watcher.is_alive() and not self._block[WATCHES // 8]:
            time.sleep(0.001)


pool = Pool()
atexit.register(pool.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.reset)
