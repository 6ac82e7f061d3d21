"""Indices drawn from rows of logits on the CPU: one for each sequence at each step, in the program of a stream."""

import math

import numpy as np

from ..cells import elementary
from ..engine.inlined import inlined
from . import vector_math  # noqa: F401 (what the elementary functions do with vectors)
from .blocks import entry, set_entry, share
from .compiled import Task
from .jobs import run
from .records import integers
from .routine_call import record_at
from .simd import first_lane, get, greater, lane_sum, lanes, load_first, put, size_of, splat, store_first
from .threads import parts_for

SMALLEST_PART = 1 << 12  # logits below which another thread does not pay: each costs an exponential
SMALLEST = 5e-324  # the number after 0
OFF = -1  # the step of a sequence before anything is drawn
DRAW = np.dtype([
    *integers("parts", "sequences", "classes", "logits", "indices", "uniforms", "steps", "wrong", "powers", "most"),
    ("temperature", float),
    ("share", float),
])  # fmt: skip


@inlined
def largest(real, logits, classes):
    """(the first of the largest logits, that one; whether one is NaN)."""
    best, most, missing = 0, -np.inf, False
    for c in range(classes):
        x = np.float64(get(real, logits + c * size_of(real)))
        missing |= x != x
        if x > most:
            best, most = c, x
    return best, most, missing


@inlined
def take_powers(real, logits, classes, most, temperature, powers):
    """Write ``exp((x - most) / temperature)`` of every logit x, in float64: its probability but for a factor."""
    for c in range(classes):
        put(np.float64(get(real, logits + c * size_of(real))) - most, powers + 8 * c)
    for c in range(0, classes, lanes(most)):
        place, left = powers + 8 * c, classes - c
        store_first(elementary.exp(load_first(most, place, left) / temperature), place, left)


@inlined
def above(powers, classes, bound):
    """(how many powers are greater than a bound >= 0, their sum)."""
    real = np.float64(0)
    limit, one, zero = splat(real, bound), splat(real, 1), splat(real, 0)
    count, total = zero, zero
    for c in range(0, classes, lanes(real)):
        power = load_first(real, powers + 8 * c, classes - c)
        count = count + greater(power, limit, one, zero)
        total = total + greater(power, limit, power, zero)
    return first_lane(lane_sum(count)), first_lane(lane_sum(total))


@inlined
def between(low, high):
    """A number between two, about as many numbers away from one as from the other; one of the two where there is none."""
    return low + (high - low) / 2 if high < 4 * low else math.sqrt(max(low, SMALLEST)) * math.sqrt(high)


@inlined
def keep(powers, classes, most, limit):
    """Set to 0 all powers but the `most` largest, and of these keep no more than it takes to reach a sum of `limit`.

    Of equal powers the first are kept.  The smallest that is kept, found by bisection: of all larger ones there are fewer
    than `most`, with a sum below the limit.
    """
    low, high = 0.0, 1.0
    count_above_low, total = above(powers, classes, low)
    if count_above_low < most and total < limit:
        return
    count, total = above(powers, classes, high)
    while count_above_low - count > 1:
        bound = between(low, high)
        if not low < bound < high:
            break
        count_above_bound, total_above_bound = above(powers, classes, bound)
        if count_above_bound < most and total_above_bound < limit:
            high, count, total = bound, count_above_bound, total_above_bound
        else:
            low, count_above_low = bound, count_above_bound
    # All powers above `low` and not above `high` are equal now; `count` and `total` are of those above.
    for c in range(classes):
        power = get(0.0, powers + 8 * c)
        if power <= low:
            put(0.0, powers + 8 * c)
        elif power <= high:
            if count < most and total < limit:
                count, total = count + 1, total + power
            else:
                put(0.0, powers + 8 * c)


@inlined
def sum_of(powers, classes):
    """The sum of the powers, from the first to the last."""
    total = 0.0
    for c in range(classes):
        total += get(total, powers + 8 * c)
    return total


@inlined
def drawn(powers, classes, uniform):
    """The first class up to which the powers have a sum greater than the uniform number times the sum of all."""
    at, reached, found = uniform * sum_of(powers, classes), 0.0, 0
    for c in range(classes):
        power = get(0.0, powers + 8 * c)
        if power > 0.0:
            found, reached = c, reached + power
            if reached > at:
                break
    return found


@Task
def _draw(cell, number, record, part):
    """Draw an index for each sequence of one part, and count its steps; a wrong row of logits is noted, with its step."""
    real, call = number(0), record_at(record, DRAW)[0]
    first, mine = share(call.sequences, call.parts, part)
    classes, powers = call.classes, call.powers + part * call.classes * 8
    for n in range(first, first + mine):
        step = entry(call.steps, n)
        if step < 0:
            continue
        logits = call.logits + n * classes * size_of(real)
        index, most, missing = largest(real, logits, classes)
        if missing or most == np.inf or most == -np.inf:
            if entry(call.wrong, n) < 0:
                set_entry(call.wrong, n, step)
            index = 0
        elif call.uniforms != 0:
            uniform = get(0.0, call.uniforms + 8 * (step * call.sequences + n))
            take_powers(real, logits, classes, most, call.temperature, powers)
            if call.most < classes:
                keep(powers, classes, call.most, np.inf)
            if call.share < 1.0:
                keep(powers, classes, classes, call.share * sum_of(powers, classes))
            index = drawn(powers, classes, uniform)
        set_entry(call.indices, n, index)
        set_entry(call.steps, n, step + 1)


class Drawing:
    """Indices drawn from logits, again and again from the same memory.

    Parameters
    ----------
    logits : numpy.ndarray
        (N, V), C-contiguous: where they are read.
    indices : numpy.ndarray
        (N,), int64: where they are written (is modified).
    temperature : float
        What logits are divided by; 0 for the largest, the first of several.
    most : int
        From how many of the most probable indices one is drawn, 1 to V.
    share : float
        From no more of these than it takes to have this share, at most 1, of their probability.
    """

    def __init__(self, logits, indices, temperature, most, share):
        sequences, classes = logits.shape
        parts, self._dtype, self._greedy = parts_for(logits.size, SMALLEST_PART), logits.dtype, temperature == 0
        parts = min(parts, sequences)
        self._steps, self._wrong = np.full((2, sequences), OFF, np.int64)
        powers = np.zeros((parts, classes))
        self._kept = logits, indices, self._steps, self._wrong, powers
        addresses = (array.ctypes.data for array in (self._steps, self._wrong, powers))
        self._record = np.zeros((), DRAW)
        self._record[...] = (
            parts, sequences, classes, logits.ctypes.data, indices.ctypes.data, 0, *addresses, most, temperature, share,
        )  # fmt: skip

    def begin(self, uniforms):
        """Draw from the next step on, with numbers from 0 to less than 1, (steps, N): one for each step and sequence."""
        self._uniforms = uniforms  # its address is in the record
        self._record["uniforms"] = 0 if self._greedy else uniforms.ctypes.data
        self._steps[:] = 0

    @property
    def wrong(self):
        """(step, sequence) of the first logits with NaN or an infinity that leaves no probabilities, or None."""
        found = np.flatnonzero(self._wrong >= 0)
        return min(((int(self._wrong[n]), int(n)) for n in found), default=None)

    def run(self):
        """Draw the indices of one step."""
        run(_draw, None, self._dtype, self._record, int(self._record["parts"]))

    def add_to(self, program):
        """Add what `run` does to a program."""
        parts = int(self._record["parts"])
        program.add_job(_draw, None, self._dtype, self._record, self._kept, count=parts, threads=parts, step_threads=parts)
