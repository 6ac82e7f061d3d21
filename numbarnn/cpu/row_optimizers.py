"""Updates of some rows of a table, each as if it had been updated at every step.

A row whose gradient was 0 for some steps is brought up to date first: those steps are taken then, on numbers in registers.
So a step costs as much as the rows it uses, and the table is the one that updates of all rows would have left.

All take: ``rows``, the indices; ``seen``, the step that each row of the table is at; ``live``, the last step at which each
row still moves without a gradient: what is left of its momentum after that no longer counts, and only its memory goes on to
decay; ``until``, the step up to which rows without a gradient are brought; and ``gradient``, (rows, columns), with which
step ``until + 1`` is taken besides, or None, while ``previous`` receives the rows as they were before it.  ``scalars`` has a
row for each step.  Tables are C-contiguous, (rows, columns), and are modified.
"""

from numba import njit, prange

from .blocks import entry, share
from .compiled import kernel
from .simd import get, lanes, load_first, size_of, splat, square_root, store_first
from .threads import launching, threads

SMALLEST_PART = 1 << 11  # numbers below which another thread does not pay: each takes many steps


@njit
def _span(seen, live, row, until):
    """(first step to take, step after the last one, steps left over) of a row without a gradient."""
    first = entry(seen, row) + 1
    end = max(first, min(until, entry(live, row)) + 1)
    return first, end, until + 1 - end


@kernel
def _sgd(real, parts, count, columns, rows, seen, live, until, scalars, gradient, previous, scale, momentum, nesterov, p, v):
    row_bytes, size, width = columns * size_of(real), size_of(real), lanes(real)
    for part in prange(parts):
        first_row, mine = share(count, parts, part)
        for r in range(first_row, first_row + mine):
            row = entry(rows, r)
            first, end, left = _span(seen, live, row, until)
            faded = momentum**left
            for c in range(0, columns, width):
                at, rest = row * row_bytes + c * size, columns - c
                value, velocity = load_first(real, p + at, rest), load_first(real, v + at, rest)
                for step in range(first, end):
                    velocity = momentum * velocity
                    ahead = momentum * velocity if nesterov else velocity
                    value = value - get(real, scalars + step * size) * ahead
                if left:
                    velocity = velocity * faded
                if gradient:
                    store_first(value, previous + r * row_bytes + c * size, rest)
                    g = load_first(real, gradient + r * row_bytes + c * size, rest) * scale
                    velocity = momentum * velocity + g
                    ahead = g + momentum * velocity if nesterov else velocity
                    value = value - get(real, scalars + (until + 1) * size) * ahead
                store_first(value, p + at, rest)
                store_first(velocity, v + at, rest)


@kernel
def _rmsprop(real, parts, count, columns, rows, seen, live, until, scalars, gradient, previous, scale, decay, epsilon, p, s):
    row_bytes, size, width, one = columns * size_of(real), size_of(real), lanes(real), splat(real, 1)
    for part in prange(parts):
        first_row, mine = share(count, parts, part)
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
                    store_first(value, p + at, rest)
                store_first(square, s + at, rest)


@kernel
def _adam(
    real, parts, count, columns, rows, seen, live, until, scalars, gradient, previous, scale, beta1, beta2, epsilon, p, m, v
):
    row_bytes, size, width, one = columns * size_of(real), size_of(real), lanes(real), splat(real, 1)
    for part in prange(parts):
        first_row, mine = share(count, parts, part)
        for r in range(first_row, first_row + mine):
            row = entry(rows, r)
            first, end, left = _span(seen, live, row, until)
            faded1, faded2 = beta1**left, beta2**left
            for c in range(0, columns, width):
                at, rest = row * row_bytes + c * size, columns - c
                value, mean = load_first(real, p + at, rest), load_first(real, m + at, rest)
                square = load_first(real, v + at, rest)
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
                if gradient:
                    store_first(value, previous + r * row_bytes + c * size, rest)
                    here = scalars + (until + 1) * 3 * size
                    rate, shrink, root = get(real, here), get(real, here + size), get(real, here + 2 * size)
                    g = load_first(real, gradient + r * row_bytes + c * size, rest) * scale
                    mean = beta1 * mean + (one - beta1) * g
                    square = beta2 * square + (one - beta2) * g * g
                    value = shrink * value - rate * mean / (root * square_root(square) + epsilon)
                store_first(value, p + at, rest)
                store_first(mean, m + at, rest)
                store_first(square, v + at, rest)


def _run(kernel, table, memory, rows, seen, live, until, scalars, gradient, previous, scale, constants):
    real = table.dtype.type
    if not len(rows):
        return
    parts = max(1, min(threads(), len(rows) * table.shape[1] // SMALLEST_PART))
    with launching():
        kernel(
            real(0), parts, len(rows), table.shape[1], rows.ctypes.data, seen.ctypes.data, live.ctypes.data, until,
            scalars.ctypes.data, 0 if gradient is None else gradient.ctypes.data,
            0 if previous is None else previous.ctypes.data, real(scale), *(real(c) for c in constants),
            table.ctypes.data, *(array.ctypes.data for array in memory),
        )  # fmt: skip


def sgd(*arguments):
    """``v = momentum v + g``, ``p -= rate v``; scalars: rate; constants: momentum, nesterov; memory: v."""
    _run(_sgd, *arguments)


def rmsprop(*arguments):
    """``s = decay s + (1 - decay) g^2``, ``p -= rate g / (sqrt(s) + epsilon)``; scalars: rate; constants: decay, epsilon."""
    _run(_rmsprop, *arguments)


def adam(*arguments):
    """``p = shrink p - rate m / (root sqrt(v) + epsilon)``; scalars: rate, shrink, root; constants: betas, epsilon."""
    _run(_adam, *arguments)
