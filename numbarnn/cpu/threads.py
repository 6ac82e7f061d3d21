"""How work is split over threads."""

from ..engine import processors
from ..engine.numba_internals import numba_threads
from .pool import pool

MAX_TASK_ROWS = 64  # rows of the batch one task takes: more would push the pre-activations out of the L2 cache
MAX_SPLIT_ROWS = 128  # the same where units are split: a task has fewer of them
SPLIT_BYTES = 1 << 20  # recurrent weights of one direction from which units are split
FEW_ROWS = 3  # rows that a step takes as long for as for one: the time goes into reading the weights
SPLIT_FEW, SPLIT_LEAST = 8, 16  # of the SPLIT_BYTES the so-manieth part: where rows are few, and fewer than threads
ALONE = 1 << 21  # multiplications of numbers by parameters that one thread does before a second one would have helped
LASTING = 1 << 31  # the same that take about 10 ms: most rests of the pool are over before that is done
LARGE = ALONE  # what programs ask for threads from; it stays what it is where the tests have every size shared


def threads():
    """Threads that share work now: as many as Numba is told to use, and processors that the process may use.

    One, while sharing costs more than it gains: whatever is split for several threads then takes longer.
    """
    return 1 if pool.rests() else most_threads()


def most_threads():
    """Threads that may share work, while that does not cost more than it gains."""
    asked, told = numba_threads()
    return asked if told else min(asked, processors.usable())


def sharing(count):
    """Start or end helpers so that `count` threads share work, and return the pool's address; 0 for one thread."""
    if count < 2:
        return 0
    if pool.helpers != count - 1:
        pool.set_helpers(count - 1)
    return pool.address


def threads_for(products):
    """How many threads pay for so many multiplications.

    What takes long is split also while the pool rests: its jobs, of which there are several, see for themselves.
    """
    if products < ALONE:
        return 1
    return threads() if products < LASTING else most_threads()


def parts_for(count, smallest):
    """Into how many parts `count` numbers are split, one for each thread that pays: none is smaller than `smallest`."""
    return max(1, min(threads(), count // smallest))


def shares(threads_, batch, directions, blocks, weight_bytes):
    """How each direction's work is split: (parts of the batch, parts of the hidden units); results do not depend on it.

    Splitting the batch needs no waiting, but every thread reads all recurrent weights at each step; splitting the units
    (there are `blocks` that cannot be split) is for weights too large for one core's cache, and for so few rows that to
    read the weights takes longer than to multiply.
    """
    wanted = -(-threads_ // directions)
    splits = min(wanted, blocks)
    if splits > 1 and weight_bytes >= _split_bytes(batch, wanted, splits):
        return -(-batch // MAX_SPLIT_ROWS), splits
    return min(batch, max(wanted, -(-batch // MAX_TASK_ROWS))), 1


def _split_bytes(batch, wanted, splits):
    """Recurrent weights from which units are split: fewer where a step then takes less time, by what one row takes."""
    if max(FEW_ROWS, batch) >= splits * max(FEW_ROWS, -(-batch // wanted)):
        return SPLIT_BYTES
    return SPLIT_BYTES // (SPLIT_LEAST if batch < wanted else SPLIT_FEW)
