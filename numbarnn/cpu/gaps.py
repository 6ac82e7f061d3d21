"""Values that decay where they are missing, on the CPU: see `layers.gaps`.

Rows are C-contiguous, (rows, 3 C): values, masks and spans of C variables.  The cell's activation makes of ``w d + b`` what
is left.
"""

import numpy as np

from .blocks import share
from .compiled import Task
from .jobs import run
from .records import integers, place
from .routine_call import record_at
from .simd import lanes, load_first, size_of, splat, store_first
from .threads import parts_for

SMALLEST_PART = 1 << 13  # numbers below which another thread does not pay
FORWARD = np.dtype(integers("parts", "rows", "variables", "x", "weight", "bias", "mean", "y"))
BACKWARD = np.dtype(
    integers("rows", "variables", "x", "weight", "bias", "mean", "dy", "dx", "dweight", "dbias", "accumulate")
)
TANGENT = np.dtype(integers("rows", "variables", "x", "weight", "bias", "mean", "dweight", "dbias", "dx", "dy"))
ROWS = place(FORWARD, "rows")


@Task
def _forward(cell, number, record, part):
    """Write y for one part of the rows."""
    real, call = number(0), record_at(record, FORWARD)[0]
    variables, size = call.variables, size_of(real)
    block, row = variables * size, 3 * variables * size
    first, mine = share(call.rows, call.parts, part)
    for r in range(first, first + mine):
        for c in range(0, variables, lanes(real)):
            rest, at, to = variables - c, call.x + r * row + c * size, call.y + r * row + c * size
            value, mask = load_first(real, at, rest), load_first(real, at + block, rest)
            span = load_first(real, at + 2 * block, rest)
            weight, bias = load_first(real, call.weight + c * size, rest), load_first(real, call.bias + c * size, rest)
            mean, left = load_first(real, call.mean + c * size, rest), cell.activation.value(weight * span + bias)
            store_first(mask * value + (1 - mask) * (left * value + (1 - left) * mean), to, rest)
            store_first(mask, to + block, rest)
            store_first(span, to + 2 * block, rest)


@Task
def _backward(cell, number, record, part):
    """Write dx, and the sums over all rows, from the first to the last, to dweight and dbias."""
    real, call = number(0), record_at(record, BACKWARD)[0]
    variables, size = call.variables, size_of(real)
    block, row = variables * size, 3 * variables * size
    for c in range(0, variables, lanes(real)):
        rest = variables - c
        weight, bias = load_first(real, call.weight + c * size, rest), load_first(real, call.bias + c * size, rest)
        mean = load_first(real, call.mean + c * size, rest)
        dweight, dbias = splat(real, 0), splat(real, 0)
        for r in range(call.rows):
            place = r * row + c * size
            at, dy, dx = call.x + place, call.dy + place, call.dx + place
            value, mask = load_first(real, at, rest), load_first(real, at + block, rest)
            span = load_first(real, at + 2 * block, rest)
            left = cell.activation.value(weight * span + bias)
            of_value, of_mask = load_first(real, dy, rest), load_first(real, dy + block, rest)
            of_span = load_first(real, dy + 2 * block, rest)
            inner = of_value * (1 - mask) * (value - mean) * cell.activation.slope(left)
            dweight, dbias = dweight + inner * span, dbias + inner
            store_first(of_value * (mask + (1 - mask) * left), dx, rest)
            store_first(of_mask + of_value * (1 - left) * (value - mean), dx + block, rest)
            store_first(of_span + inner * weight, dx + 2 * block, rest)
        if call.accumulate:
            dweight = dweight + load_first(real, call.dweight + c * size, rest)
            dbias = dbias + load_first(real, call.dbias + c * size, rest)
        store_first(dweight, call.dweight + c * size, rest)
        store_first(dbias, call.dbias + c * size, rest)


@Task
def _tangent(cell, number, record, part):
    """Write dy, how y moves where x, weight and bias do, of all rows."""
    real, call = number(0), record_at(record, TANGENT)[0]
    variables, size = call.variables, size_of(real)
    block, row = variables * size, 3 * variables * size
    for r in range(call.rows):
        for c in range(0, variables, lanes(real)):
            rest, at, to = variables - c, call.x + r * row + c * size, call.dy + r * row + c * size
            by = call.dx + r * row + c * size
            value, mask = load_first(real, at, rest), load_first(real, at + block, rest)
            span, mean = load_first(real, at + 2 * block, rest), load_first(real, call.mean + c * size, rest)
            weight, bias = load_first(real, call.weight + c * size, rest), load_first(real, call.bias + c * size, rest)
            dvalue, dmask = load_first(real, by, rest), load_first(real, by + block, rest)
            dspan = load_first(real, by + 2 * block, rest)
            inner = weight * dspan + load_first(real, call.dweight + c * size, rest) * span
            inner = inner + load_first(real, call.dbias + c * size, rest)
            left = cell.activation.value(weight * span + bias)
            moved = dvalue * (mask + (1 - mask) * left) + dmask * (1 - left) * (value - mean)
            store_first(moved + (1 - mask) * (value - mean) * cell.activation.slope(left) * inner, to, rest)
            store_first(dmask, to + block, rest)
            store_first(dspan, to + 2 * block, rest)


def _addresses(*arrays):
    return tuple(array.ctypes.data for array in arrays)


def add_fill_steps(steps, cell, x, y, weight, bias, mean):
    """Add `fill` to `one_step.StepCalls`; x, y: descriptors."""
    constants = _addresses(weight, bias, mean)
    make = lambda rows, at: np.array((1, rows, len(mean), at[0], *constants, at[1]), np.int64)  # noqa: E731
    steps.add_each(_forward, cell, (x, y), make, True, weight, bias, mean)


def add_slope_steps(steps, cell, x, dy, dx, weight, bias, mean):
    """Add what `take_back` writes to dx to `one_step.StepCalls`, and no sums; x, dy, dx: descriptors."""
    constants, sums = _addresses(weight, bias, mean), []

    def make(rows, at):
        sums.append(np.empty((2, len(mean)), weight.dtype))  # of each part, and nobody reads them
        return np.array((rows, len(mean), at[0], *constants, *at[1:], *_addresses(*sums[-1]), 0), np.int64)

    steps.add_each(_backward, cell, (x, dy, dx), make, True, weight, bias, mean, sums)


def add_tangent_steps(steps, cell, x, dx, dy, weight, bias, mean, dweight, dbias):
    """Add to `one_step.StepCalls` how what `fill` writes moves; x, dx, dy: descriptors; dweight, dbias: how those move."""
    vectors = weight, bias, mean, dweight, dbias
    make = lambda rows, at: np.array((rows, len(mean), at[0], *_addresses(*vectors), *at[1:]), np.int64)  # noqa: E731
    steps.add_each(_tangent, cell, (x, dx, dy), make, True, *vectors)


def fill(cell, x, weight, bias, mean, y):
    """Write y (is modified) from x, both of the same rows."""
    parts = parts_for(x.size, SMALLEST_PART)
    record = np.array((parts, x.size // (3 * len(mean)), len(mean), *_addresses(x, weight, bias, mean, y)), FORWARD)
    run(_forward, cell, x.dtype, record, parts)


def add_fill(program, cell, x, weight, bias, mean, y):
    """Add `fill` to a program, of (T, N, 3 C) arrays: T is as many steps as the program takes at once."""
    rows, variables = x.size // (3 * len(mean)), len(mean)
    record = np.array((1, rows, variables, *_addresses(x, weight, bias, mean, y)), np.int64)
    kept = x, weight, bias, mean
    program.add_job(_forward, cell, x.dtype, record, *kept, written=[y], per_step=[(ROWS, rows // len(x))])


def take_back(cell, x, weight, bias, mean, dy, dx, dweight, dbias, accumulate):
    """Write dx and write, or add, dweight and dbias (all are modified), from dL/dy."""
    addresses = _addresses(x, weight, bias, mean, dy, dx, dweight, dbias)
    record = np.array((x.size // (3 * len(mean)), len(mean), *addresses, accumulate), BACKWARD)
    run(_backward, cell, x.dtype, record, 1)


def add_take_back(program, cell, x, weight, bias, mean, dy, dx, dweight, dbias, accumulate):
    """Add `take_back` to a program."""
    addresses = _addresses(x, weight, bias, mean, dy, dx, dweight, dbias)
    record = np.array((x.size // (3 * len(mean)), len(mean), *addresses, accumulate), np.int64)
    program.add_job(_backward, cell, x.dtype, record, x, weight, bias, mean, dy, written=[dx, dweight, dbias])
