"""Tasks of many regions, each of which needs the one before, as one job of the pool: threads meet after each region."""

from ..engine.inlined import inlined
from .atomics import atomic_add, atomic_load, atomic_store, exchange_if
from .compiled import Function
from .extending import register_jitable
from .failures import call_or_raise, error_of_call, raise_error
from .pool_memory import LINE, call_alone, wait_until, wake_waiting

# Parts of regions, see `take_parts`: how many are done; what they are; and a line for each, the region that it is at, and
# of the thread with its index the nanoseconds waited and the parts taken.
PASSED, PART = 0, LINE
POOL, PART_TASK, PART_RECORD, PART_COUNT, REGIONS, TAKERS = (PART + 8 * i for i in range(6))
WAITED, TAKEN = 8, 16


@register_jitable
def of_part(part):
    """Offset in bytes of the line of a part, or of the thread that came as number `part`, in the memory for the parts."""
    return LINE * (2 + part)


@inlined
def share_regions(call, task, record, count, regions):
    """Call a task for each index below ``count * regions``; a region begins when the regions before it are done.

    call: with the pool, `share_parts` and `take_parts` by address, the threads, and memory for the parts.
    """
    if call.work.pool == 0:
        call_alone(task, record, count * regions)
        return
    parts = call.claims
    atomic_store(parts + PASSED, 0)
    atomic_store(parts + POOL, call.work.pool)
    atomic_store(parts + PART_TASK, task)
    atomic_store(parts + PART_RECORD, record)
    atomic_store(parts + PART_COUNT, count)
    atomic_store(parts + REGIONS, regions)
    takers = min(count, call.work.threads)
    atomic_store(parts + TAKERS, takers)
    for part in range(count):
        atomic_store(parts + of_part(part), 0)
        atomic_store(parts + of_part(part) + TAKEN, 0)
    call_or_raise(call.work.share_parts, (call.work.pool, call.work.take, parts, takers))


@Function
def take_parts(nothing, number, parts, me):
    """Take parts of regions, one region after the other, beside other threads that do the same; `me` is their index.

    A thread first takes the parts whose memory is in its own core's cache from the region before, then those that nobody
    has begun: nobody waits for a thread that has no core, but for the part that it was at.
    """
    pool, task, record = atomic_load(parts + POOL), atomic_load(parts + PART_TASK), atomic_load(parts + PART_RECORD)
    count, regions, takers = atomic_load(parts + PART_COUNT), atomic_load(parts + REGIONS), atomic_load(parts + TAKERS)
    waited, taken, error = 0, 0, 0
    for region in range(atomic_load(parts + PASSED) // count, regions):
        for other in range(takers):
            for part in range((me + other) % takers, count, takers):
                claim = parts + of_part(part)
                if atomic_load(claim) == region and exchange_if(claim, region, region + 1):
                    error |= error_of_call(task, (0, 0, record, region * count + part)) if error == 0 else 0
                    taken += 1
                    if (atomic_add(parts + PASSED, 1) + 1) % count == 0:
                        wake_waiting(pool)
        waited += wait_until(pool, parts + PASSED, (region + 1) * count)
    atomic_store(parts + of_part(me) + WAITED, waited)
    atomic_store(parts + of_part(me) + TAKEN, taken)
    raise_error(error)
