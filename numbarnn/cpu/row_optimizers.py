"""Updates of some rows of a table, each as if it had been updated at every step.

A row whose gradient was 0 for some steps is brought up to date first: those steps are taken then, on numbers in registers.
So a step costs as much as the rows it uses, and the table is the one that updates of all rows would have left.

All take: ``rows``, the indices; ``seen``, the step that each row of the table is at (is modified: a caller that is
interrupted finds rows and steps that belong together); ``live``, the last step at which each row still moves without a
gradient: what is left of its momentum after that no longer counts, and only its memory goes on to decay; ``until``, the
step up to which rows without a gradient are brought; and ``gradient``, (rows, columns), with which step ``until + 1`` is
taken besides, or None, while ``previous`` receives the rows as they were before it.  ``scalars`` has a row for each step.
Tables are C-contiguous, (rows, columns), and are modified.

Each returns whether all numbers that it wrote are finite.  A number that would be brought to NaN or infinity stays as it is.
"""

import numpy as np

from ..engine.inlined import inlined
from .blocks import entry, set_entry, share
from .compiled import Task
from .jobs import run
from .records import integers
from .routine_call import record_at
from .simd import get, keep_first, lane_sum, lanes, load_first, select, size_of, splat, square_root, store_first
from .threads import parts_for

SMALLEST_PART = 1 << 11  # numbers below which another thread does not pay: each takes many steps
ROWS_UPDATE = np.dtype(
    [
        *integers(
            "parts", "count", "columns", "rows", "seen", "live", "until", "scalars", "gradient", "previous", "wrong",
            "table", "first", "second",
        ),
        ("scale", float),
        ("constants", float, 3),
    ]
)  # fmt: skip


@inlined
def _span(seen, live, row, until):
    """(first step to take, step after the last one, steps left over) of a row without a gradient."""
    first = entry(seen, row) + 1
    end = max(first, min(until, entry(live, row)) + 1)
    return first, end, until + 1 - end


@inlined
def _waste(a, b, count):
    """0 in each of the first lanes that is finite in two vectors, NaN in the others."""
    return keep_first((a - a) + (b - b), count)


@inlined
def _finite_or(value, before):
    """`value`, where it is finite, else `before`."""
    difference = value - value
    return select(difference >= difference, value, before)


@Task
def _sgd(cell, number, record, part):
    """`sgd` on addresses: p is the table, v its velocity, and `wrong` gets a NaN from each part that met one."""
    real, call = number(0), record_at(record, ROWS_UPDATE)[0]
    columns, rows, seen, live, until = call.columns, call.rows, call.seen, call.live, call.until
    scalars = call.scalars
    gradient, previous, scale, p, v = call.gradient, call.previous, number(call.scale), call.table, call.first
    momentum, nesterov = number(call.constants[0]), call.constants[1] != 0
    row_bytes, size, width = columns * size_of(real), size_of(real), lanes(real)
    first_row, mine = share(call.count, call.parts, part)
    waste = splat(real, 0)
    for r in range(first_row, first_row + mine):
        row = entry(rows, r)
        first, end, left = _span(seen, live, row, until)
        faded = momentum**left
        for c in range(0, columns, width):
            at, rest = row * row_bytes + c * size, columns - c
            before, velocity = load_first(real, p + at, rest), load_first(real, v + at, rest)
            value = before
            for step in range(first, end):
                velocity = momentum * velocity
                ahead = momentum * velocity if nesterov else velocity
                value = value - get(real, scalars + step * size) * ahead
            if left:
                velocity = velocity * faded
            waste = waste + _waste(value, velocity, rest)
            value = _finite_or(value, before)
            if gradient:
                store_first(value, previous + r * row_bytes + c * size, rest)
                g = load_first(real, gradient + r * row_bytes + c * size, rest) * scale
                velocity = momentum * velocity + g
                ahead = g + momentum * velocity if nesterov else velocity
                value = value - get(real, scalars + (until + 1) * size) * ahead
                waste = waste + _waste(value, velocity, rest)
            store_first(value, p + at, rest)
            if momentum != 0:  # else it is not kept, as in the update of all numbers
                store_first(velocity, v + at, rest)
        set_entry(seen, row, until + 1 if gradient else until)
    store_first(lane_sum(waste), call.wrong + part * size, 1)


@Task
def _rmsprop(cell, number, record, part):
    """`rmsprop` on addresses: p is the table, s its mean square, and `wrong` gets a NaN from each part that met one."""
    real, call = number(0), record_at(record, ROWS_UPDATE)[0]
    columns, rows, seen, until, scalars = call.columns, call.rows, call.seen, call.until, call.scalars
    gradient, previous, scale, p, s = call.gradient, call.previous, number(call.scale), call.table, call.first
    decay, epsilon = number(call.constants[0]), number(call.constants[1])
    row_bytes, size, width, one = columns * size_of(real), size_of(real), lanes(real), splat(real, 1)
    first_row, mine = share(call.count, call.parts, part)
    waste = splat(real, 0)
    for r in range(first_row, first_row + mine):
        row = entry(rows, r)
        faded = decay ** (until - entry(seen, row))
        for c in range(0, columns, width):
            at, rest = row * row_bytes + c * size, columns - c
            value, square = load_first(real, p + at, rest), load_first(real, s + at, rest) * faded
            if gradient:
                store_first(value, previous + r * row_bytes + c * size, rest)
                g = load_first(real, gradient + r * row_bytes + c * size, rest) * scale
                square = decay * square + (one - decay) * g * g
                rate = get(real, scalars + (until + 1) * size)
                value = value - rate * g / (square_root(square) + epsilon)
                waste = waste + _waste(value, square, rest)
                store_first(value, p + at, rest)
            store_first(square, s + at, rest)
        set_entry(seen, row, until + 1 if gradient else until)
    store_first(lane_sum(waste), call.wrong + part * size, 1)


@Task
def _adam(cell, number, record, part):
    """`adam` on addresses: p is the table, m and v its mean and mean square; `wrong` gets a NaN of a part that met one."""
    real, call = number(0), record_at(record, ROWS_UPDATE)[0]
    columns, rows, seen, live, until = call.columns, call.rows, call.seen, call.live, call.until
    scalars, gradient, previous, scale = call.scalars, call.gradient, call.previous, number(call.scale)
    p, m, v = call.table, call.first, call.second
    beta1, beta2, epsilon = number(call.constants[0]), number(call.constants[1]), number(call.constants[2])
    row_bytes, size, width, one = columns * size_of(real), size_of(real), lanes(real), splat(real, 1)
    first_row, mine = share(call.count, call.parts, part)
    waste = splat(real, 0)
    for r in range(first_row, first_row + mine):
        row = entry(rows, r)
        first, end, left = _span(seen, live, row, until)
        faded1, faded2 = beta1**left, beta2**left
        for c in range(0, columns, width):
            at, rest = row * row_bytes + c * size, columns - c
            before, mean = load_first(real, p + at, rest), load_first(real, m + at, rest)
            value, square = before, load_first(real, v + at, rest)
            for step in range(first, end):
                here = scalars + step * 3 * size
                rate, shrink, root = get(real, here), get(real, here + size), get(real, here + 2 * size)
                mean, square = beta1 * mean, beta2 * square
                value = shrink * value - rate * mean / (root * square_root(square) + epsilon)
            if left:
                mean, square = mean * faded1, square * faded2
                if get(real, scalars + end * 3 * size + size) != 1:  # weight decay goes on
                    for step in range(end, end + left):
                        value = value * get(real, scalars + step * 3 * size + size)
            waste = waste + _waste(value, square, rest)
            value = _finite_or(value, before)
            if gradient:
                store_first(value, previous + r * row_bytes + c * size, rest)
                here = scalars + (until + 1) * 3 * size
                rate, shrink, root = get(real, here), get(real, here + size), get(real, here + 2 * size)
                g = load_first(real, gradient + r * row_bytes + c * size, rest) * scale
                mean = beta1 * mean + (one - beta1) * g
                square = beta2 * square + (one - beta2) * g * g
                value = shrink * value - rate * mean / (root * square_root(square) + epsilon)
                waste = waste + _waste(value, square, rest)
            store_first(value, p + at, rest)
            store_first(mean, m + at, rest)
            store_first(square, v + at, rest)
        set_entry(seen, row, until + 1 if gradient else until)
    store_first(lane_sum(waste), call.wrong + part * size, 1)


def _run(task, table, memory, rows, seen, live, until, scalars, gradient, previous, scale, constants):
    """Run a task on some rows of a table and on the optimizer's memory of it; returns whether all it wrote is finite."""
    if not len(rows):
        return True
    parts = parts_for(len(rows) * table.shape[1], SMALLEST_PART)
    wrong = np.zeros(parts, table.dtype)  # NaN where a part has met one
    first, second = [array.ctypes.data for array in memory] + [0] * (2 - len(memory))
    record = np.array(
        (
            parts, len(rows), table.shape[1], rows.ctypes.data, seen.ctypes.data, live.ctypes.data, until,
            scalars.ctypes.data, 0 if gradient is None else gradient.ctypes.data,
            0 if previous is None else previous.ctypes.data,
            wrong.ctypes.data, table.ctypes.data, first, second, scale, [*constants, *[0.0] * (3 - len(constants))],
        ),
        ROWS_UPDATE,
    )  # fmt: skip
    run(task, None, table.dtype, record, parts)
    return not wrong.any()


def sgd(*arguments):
    """``v = momentum v + g``, ``p -= rate v``; scalars: rate; constants: momentum, nesterov; memory: v."""
    return _run(_sgd, *arguments)


def rmsprop(*arguments):
    """``s = decay s + (1 - decay) g^2``, ``p -= rate g / (sqrt(s) + epsilon)``; scalars: rate; constants: decay, epsilon."""
    return _run(_rmsprop, *arguments)


def adam(*arguments):
    """``p = shrink p - rate m / (root sqrt(v) + epsilon)``; scalars: rate, shrink, root; constants: betas, epsilon."""
    return _run(_adam, *arguments)
