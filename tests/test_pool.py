"""The threads that share tasks: every index is taken once, whatever they do meanwhile, and sharing ends where it loses."""

import ctypes
import sys
import threading
import time

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.cpu.atomics import atomic_add, atomic_load, pause
from numbarnn.cpu.compiled import Task, kernel
from numbarnn.cpu.idle import SYSTEM
from numbarnn.cpu.jobs import _share
from numbarnn.cpu.ledger import LEAST_IDLE, LONGEST, LONGEST_REST, MISHAP, MOST, RESTS, TRIAL, WATCHED_REST, account
from numbarnn.cpu.pool import Pool, share, share_parts, share_whatever
from numbarnn.cpu.pool_memory import (
    ALONE_FOR,
    ALONE_UNTIL,
    GAINED,
    LONG,
    OWNER,
    PREEMPTED,
    REST,
    SET_POLICY,
    SLEEPERS,
    WATCHED_FOR,
    WATCHES,
    clock,
)
from numbarnn.cpu.records import WORK, integers
from numbarnn.cpu.regions import of_part, share_regions, take_parts
from numbarnn.cpu.routine_call import record_at

COUNTS = np.dtype(integers("counts", "rounds"))


@Task
def count(cell, number, record, index):
    """Add 1 to the count of the index, after a while."""
    call, x = record_at(record, COUNTS)[0], number(1)
    for _ in range(call.rounds):
        x = x * number(0.5) + number(1)
    atomic_add(call.counts + 8 * index, 1 if x > 0 else 2)


@Task
def refuse(cell, number, record, index):
    """Raise, when as many tasks have begun as there are rounds: each on a thread of its own."""
    call = record_at(record, COUNTS)[0]
    atomic_add(call.counts, 1)
    while atomic_load(call.counts) < call.rounds:
        pause()
    raise ValueError("a task that refuses")


ORDER = np.dtype(integers("seen", "parts", "early"))
CALL = np.dtype([("work", WORK), *integers("claims")])


@Task
def look(cell, number, record, index):
    """Count the index, and whether anything of the region before was not yet done."""
    order = record_at(record, ORDER)
    parts = order[0].parts
    for before in range(max(0, index // parts * parts - parts), index // parts * parts):
        if atomic_load(order[0].seen + 8 * before) != 1:
            order[0].early = 1
    atomic_add(order[0].seen + 8 * index, 1)


@kernel
def take(call, task, record, parts, regions):
    """Have a task done for parts of regions."""
    share_regions(record_at(call, CALL)[0], task, record, parts, regions)


@pytest.fixture
def own_pool():
    """A second pool, beside the pool of the process."""
    found = Pool()
    yield found
    found.close()


def run(pool, indices, jobs, rounds=10, how=share):
    """How often each index was taken in so many jobs."""
    counts = np.zeros(indices, np.int64)
    record = np.array((counts.ctypes.data, rounds), COUNTS)
    task = count.address(None, np.dtype(np.float32))
    for _ in range(jobs):
        _share(how.address, pool.address, task, record.ctypes.data, indices)
    return counts


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_every_index_is_taken_once(own_pool, helpers):
    own_pool.set_rest(0)
    own_pool.set_helpers(helpers)
    for indices in (1, 2, 5, 64):
        assert (run(own_pool, indices, 300) == 300).all()
    assert own_pool.helpers == helpers


@pytest.mark.parametrize("helpers", [0, 1, 2])
@pytest.mark.parametrize("how", [share, share_whatever])
def test_what_a_task_raises_is_raised(own_pool, helpers, how):
    """Also by a helper, which must not wait for Python's lock: the job's thread has it."""
    own_pool.set_rest(0)
    own_pool.set_helpers(helpers)
    task = refuse.address(None, np.dtype(np.float32))
    for _ in range(20):
        begun = np.zeros(1, np.int64)
        record = np.array((begun.ctypes.data, helpers + 1), COUNTS)
        with pytest.raises(ValueError, match="^a task that refuses$"):
            _share(how.address, own_pool.address, task, record.ctypes.data, helpers + 1)
        assert begun == helpers + 1
        assert (run(own_pool, 7, 5, how=how) == 5).all()  # of that nothing is left


def test_long_tasks_are_shared_while_a_pool_rests(own_pool):
    own_pool._block[ALONE_UNTIL // 8] = time.monotonic_ns() + 10**15
    own_pool.set_helpers(1)
    begun = np.zeros(1, np.int64)
    record = np.array((begun.ctypes.data, 2), COUNTS)
    with pytest.raises(ValueError, match="^a task that refuses$"):  # each has waited for the other
        _share(share_whatever.address, own_pool.address, refuse.address(None, np.dtype(np.float32)), record.ctypes.data, 2)
    assert own_pool.rests()


def test_helpers_come_and_go(own_pool):
    own_pool.set_rest(0)
    for helpers in (2, 0, 3, 1, 0, 2):
        own_pool.set_helpers(helpers)
        assert (run(own_pool, 7, 50) == 50).all()
        assert sum(thread.is_alive() for thread in own_pool._threads) == helpers


def test_blocks_without_rest_leave_what_was_set(own_pool):
    """Also if several threads have such blocks, which end in any order."""
    rest = lambda: own_pool._block[REST // 8]  # noqa: E731
    for before in (RESTS, 0, 7):
        own_pool.set_rest(before)
        first, second = own_pool.without_rest(), own_pool.without_rest()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert rest() == 0
        second.__exit__(None, None, None)
        assert rest() == before
    with own_pool.without_rest():
        own_pool.set_rest(3)
        assert rest() == 0
    assert rest() == 3


def test_helpers_that_sleep_are_woken(own_pool):
    own_pool.set_rest(0)
    own_pool.set_helpers(2)
    for _ in range(5):
        while own_pool._block[SLEEPERS // 8] < 2:  # they look for a job for a while
            time.sleep(0.001)
        assert (run(own_pool, 6, 1, rounds=100_000) == 1).all()


def test_a_job_inside_a_job_is_done_by_its_thread(own_pool):
    own_pool._block[OWNER // 8] = 1  # as while a job is under way
    own_pool.set_helpers(1)
    assert (run(own_pool, 5, 10) == 10).all()


def ledger(pool):
    """(gained, alone for) of a pool, in nanoseconds."""
    return int(pool._block[GAINED // 8]), int(pool._block[ALONE_FOR // 8])


def test_what_is_lost_ends_sharing_for_longer_each_time(own_pool):
    time_now = 10**15

    def lose(nanoseconds):
        own_pool._block[PREEMPTED // 8] += 1  # as a helper does whose core was taken away
        note(own_pool.address, -nanoseconds, time_now)

    def until():
        return own_pool._block[ALONE_UNTIL // 8] - time_now, own_pool._block[WATCHED_FOR // 8]

    assert ledger(own_pool) == (TRIAL, 0)
    lose(TRIAL)
    assert ledger(own_pool) == (0, 0)
    lose(1000)
    first = RESTS * (TRIAL + 1000)
    assert ledger(own_pool) == (TRIAL, first) and until() == (first, LEAST_IDLE)
    lose(TRIAL + 1)
    assert ledger(own_pool) == (TRIAL, 2 * first)
    for _ in range(20):
        lose(TRIAL + 1)
    assert ledger(own_pool) == (TRIAL, LONGEST) and until() == (LONGEST_REST, LONGEST_REST)  # nobody watches
    note(own_pool.address, 10 * MOST, time_now)  # what is gained beyond that is no licence to lose it
    assert ledger(own_pool) == (MOST, 0)
    lose(MOST + 1)
    assert until() == (RESTS * (TRIAL + 1), LEAST_IDLE)
    for _ in range(1 + TRIAL // MISHAP):  # no core was taken away: that one is idle says nothing
        note(own_pool.address, -MOST, time_now)
    assert until() == (2 * RESTS * (TRIAL + 1), 0)
    own_pool.set_rest(0)
    lose(MOST + 1)
    assert until() == (2 * RESTS * (TRIAL + 1), 0) and ledger(own_pool)[0] == TRIAL


@pytest.mark.skipif(sys.platform != SYSTEM, reason="nobody watches there")
def test_a_rest_is_over_when_a_core_is_idle(own_pool):
    """Whoever watches runs now and then where all cores are busy, too: for a nanosecond it always has one to itself."""
    own_pool._block[ALONE_UNTIL // 8], own_pool._block[WATCHED_FOR // 8] = clock() + 10**13, 1
    assert own_pool.rests()
    end = time.monotonic() + 120
    while own_pool.rests():
        assert time.monotonic() < end
        time.sleep(0.001)
    assert own_pool._block[WATCHES // 8] == 1


@pytest.mark.skipif(sys.platform != SYSTEM, reason="nobody watches there")
def test_a_rest_takes_its_time_where_the_policy_is_refused(own_pool):
    refuse_policy = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(lambda *arguments: -1)
    own_pool._block[SET_POLICY // 8] = ctypes.cast(refuse_policy, ctypes.c_void_p).value
    own_pool._block[ALONE_UNTIL // 8], own_pool._block[WATCHED_FOR // 8] = clock() + 10**13, 1
    assert own_pool.rests()
    own_pool._watcher.join()
    assert own_pool.rests() and not own_pool._block[WATCHES // 8]


def test_a_long_job_that_no_helper_was_kept_from_counts_little(own_pool):
    note(own_pool.address, -1000 * TRIAL, 10**15)
    assert ledger(own_pool) == (TRIAL - MISHAP, 0)
    for _ in range(TRIAL // MISHAP):
        note(own_pool.address, -1000 * TRIAL, 10**15)
    assert ledger(own_pool) == (TRIAL, RESTS * (TRIAL + MISHAP))
    assert own_pool._block[WATCHED_FOR // 8] == 0


def test_a_long_loss_is_reason_enough_where_rests_are_watched(own_pool):
    own_pool._block[WATCHES // 8] = 1
    note(own_pool.address, MOST, 10**15)
    note(own_pool.address, -LONG, 10**15)
    assert not own_pool._block[ALONE_UNTIL // 8]
    note(own_pool.address, -LONG - 1, 10**15)
    assert ledger(own_pool) == (TRIAL, RESTS * (TRIAL + LONG + 1))
    assert own_pool._block[ALONE_UNTIL // 8] == 10**15 + WATCHED_REST and own_pool._block[WATCHED_FOR // 8] == LEAST_IDLE


@kernel
def note(pool, gain, time):
    """Note a job's gain."""
    account(pool, gain, time)


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_regions_follow_one_another(own_pool, helpers):
    own_pool.set_rest(0)
    own_pool.set_helpers(helpers)
    for parts, regions in ((1, 3), (2, 200), (3, 50), (8, 20)):
        seen, record = np.zeros(parts * regions, np.int64), np.zeros(1, ORDER)
        record["seen"], record["parts"] = seen.ctypes.data, parts
        claims, call = np.zeros(of_part(parts) // 8, np.int64), np.zeros(1, CALL)
        call["claims"] = claims.ctypes.data
        for name, value in (
            ("share_parts", share_parts.address), ("pool", own_pool.address),
            ("take", take_parts.address), ("threads", helpers + 1),
        ):  # fmt: skip
            call["work"][name] = value
        task = look.address(None, np.dtype(np.float32))
        for _ in range(20):
            seen[:] = 0
            take(call.ctypes.data, task, record.ctypes.data, parts, regions)
            assert (seen == 1).all() and not record["early"]


def test_while_a_pool_rests_work_has_one_thread(own_pool, monkeypatch):
    from numbarnn.cpu import threads

    monkeypatch.setattr(threads, "pool", own_pool)
    several = threads.threads()
    assert several > 1 and not own_pool.rests()
    own_pool._block[ALONE_UNTIL // 8] = time.monotonic_ns() + 10**12
    assert own_pool.rests() and threads.threads() == threads.threads_for(threads.LASTING - 1) == 1
    assert threads.threads_for(threads.LASTING) == several
    layer = nr.GRU(5)
    p, x = layer.init(3, seed=0), np.ones((4, 6, 3), np.float32)
    rested = layer(p, x)[0].copy()
    own_pool._block[ALONE_UNTIL // 8] = 0
    assert threads.threads() == several
    assert np.array_equal(layer(p, x)[0], rested)


def test_python_threads_use_one_pool(own_pool):
    own_pool.set_rest(0)
    own_pool.set_helpers(1)
    found = []
    threads = [threading.Thread(target=lambda: found.append(run(own_pool, 9, 200))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and all((counts == 200).all() for counts in found)
