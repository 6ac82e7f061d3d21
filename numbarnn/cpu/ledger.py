"""What sharing has gained, job by job, and when the job's thread goes alone since it has lost.

A rest that follows a loss for no other reason lasts `RESTS` times as long as what was lost, and twice as long as the one
before if that was not long ago.  One whose reason is that others have taken a core ends when one is idle (`idle`), and
therefore lasts long from the first time on where they stay.
"""

from ..engine.inlined import inlined
from .atomics import atomic_load, atomic_store, call_function
from .pool_memory import (
    ALONE_FOR,
    ALONE_UNTIL,
    BEFORE,
    GAINED,
    LONG,
    POST,
    POSTED,
    PREEMPTED,
    REST,
    SEEN,
    WATCHED_FOR,
    WATCHES,
)

TRIAL = 200_000  # nanoseconds that may be lost before sharing is given up: to wake helpers costs some
MOST = 20_000_000  # nanoseconds of gain that count: a core that is taken away for a moment costs some
WELL = 5_000_000  # nanoseconds of gain after which a rest is short again
RESTS = 32  # nanoseconds alone for each one lost, the first time
LONGEST_REST = 250_000_000
WATCHED_REST = 2_000_000_000  # of one that ends when a core is idle: whether sharing pays nevertheless is tried seldom
LONGEST = RESTS * LONGEST_REST  # up to here the time doubles from which follows for how long a core must be idle
LEAST_IDLE = 5_000_000  # nanoseconds of that, at least: more than a thread may go on for where others wait
MISHAP = 20_000  # nanoseconds that a job may lose at most for another reason


@inlined
def rest(pool, loss, time, taken):
    """Have jobs done by one thread from now on, for longer than before if that was not long ago.

    taken: whether others have taken a core.  The first time one must then be idle for as long as was lost.
    """
    atomic_store(pool + GAINED, TRIAL)
    atomic_store(pool + BEFORE, atomic_load(pool + PREEMPTED))
    if atomic_load(pool + REST) == 0:
        return
    nanoseconds = min(LONGEST, max(atomic_load(pool + REST) * loss, 2 * atomic_load(pool + ALONE_FOR)))
    atomic_store(pool + ALONE_FOR, nanoseconds)
    atomic_store(pool + WATCHED_FOR, max(LEAST_IDLE, nanoseconds // RESTS) if taken else 0)
    watched = taken and atomic_load(pool + WATCHES) != 0
    atomic_store(pool + ALONE_UNTIL, time + (WATCHED_REST if watched else min(nanoseconds, LONGEST_REST)))
    if watched:
        call_function(atomic_load(pool + POST), (pool + POSTED,))


@inlined
def account(pool, gain, time):
    """Note what a job has gained by being shared, and go alone for a while after losses: for longer each time in a row.

    A long one in a single job is a reason at once where a rest ends by itself: others that come and stay then cost a job or
    two, and a moment of theirs little.  Else it counts if a core was taken away from a helper: a virtual machine takes cores
    away for milliseconds now and then, from whoever has one, which is no reason.
    """
    preempted, seen = atomic_load(pool + PREEMPTED), atomic_load(pool + SEEN)
    atomic_store(pool + SEEN, preempted)
    if gain < -LONG and atomic_load(pool + WATCHES) != 0:
        rest(pool, TRIAL - gain, time, True)
        return
    if gain < -MISHAP and preempted == seen:
        gain = -MISHAP
    gained = min(MOST, atomic_load(pool + GAINED) + gain)
    if gained < 0:
        rest(pool, TRIAL - gained, time, preempted != atomic_load(pool + BEFORE))
        return
    atomic_store(pool + GAINED, gained)
    if gained >= WELL:
        atomic_store(pool + ALONE_FOR, 0)
