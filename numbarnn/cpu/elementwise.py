"""One function of every number of an array, on the CPU."""

import numpy as np

from . import types  # noqa: F401 (it says how a kernel takes a cell)
from .blocks import share
from .compiled import Function, Task
from .jobs import run
from .memory import empty
from .records import integers, place
from .routine_call import numbers_at, record_at
from .simd import get, lanes, load_first, put, size_of, store_first
from .threads import parts_for

SMALLEST_PART = 1 << 14  # numbers below which another thread does not pay
VALUES = np.dtype(integers("parts", "count", "x", "y"))
SUMS = np.dtype(integers("parts", "count", "x", "y", "other", "further"))  # further: bytes from there on
PRODUCTS = np.dtype(integers("count", "period", "x", "factors", "y"))
LOOK = np.dtype(integers("x", "count", "item", "found"))
SINGLE, DOUBLE = np.uint32(0x7F800000), np.uint64(0x7FF0000000000000)  # the exponents of float32 and float64
COUNT, FURTHER = place(VALUES, "count"), place(SUMS, "further")
SLOPES = np.dtype(integers("parts", "count", "kept", "dy", "dx"))


@Task
def _value(cell, number, record, part):
    """Write ``f(x)`` to y for one part of the numbers at addresses x and y."""
    real, call = number(0), record_at(record, VALUES)[0]
    first, mine = share(call.count, call.parts, part)
    for i in range(first, first + mine, lanes(real)):
        at, rest = i * size_of(real), first + mine - i
        store_first(cell.activation.value(load_first(real, call.x + at, rest)), call.y + at, rest)


@Task
def _times_slope(cell, number, record, part):
    """Write ``dy f'(x)`` to dx for one part of the numbers at these addresses; kept: what f keeps of x."""
    real, call = number(0), record_at(record, SLOPES)[0]
    first, mine = share(call.count, call.parts, part)
    for i in range(first, first + mine, lanes(real)):
        at, rest = i * size_of(real), first + mine - i
        slope = cell.activation.slope(load_first(real, call.kept + at, rest))
        store_first(load_first(real, call.dy + at, rest) * slope, call.dx + at, rest)


@Task
def _sum(cell, number, record, part):
    """Write ``x + other`` to y for one part of the numbers at these addresses."""
    real, call = number(0), record_at(record, SUMS)[0]
    first, mine = share(call.count, call.parts, part)
    for i in range(first, first + mine, lanes(real)):
        at, rest = i * size_of(real), first + mine - i
        total = load_first(real, call.x + at, rest) + load_first(real, call.other + call.further + at, rest)
        store_first(total, call.y + at, rest)


@Task
def _total(cell, number, record, part):
    """Write the number at address x, with all at `other` added from the first to the last, to y."""
    real, call = number(0), record_at(record, SUMS)[0]
    total = get(real, call.x)
    for i in range(call.count):
        total += get(real, call.other + i * size_of(real))
    put(total, call.y)


@Task
def _product(cell, number, record, part):
    """Write ``x * factors`` to y, for numbers at these addresses: as many as the period serve again and again."""
    real, call = number(0), record_at(record, PRODUCTS)[0]
    size = size_of(real)
    for start in range(0, call.count, call.period):
        for i in range(0, call.period, lanes(real)):
            at, rest = (start + i) * size, call.period - i
            store_first(
                load_first(real, call.x + at, rest) * load_first(real, call.factors + i * size, rest), call.y + at, rest
            )


def _values(count, x, y, parts=1):
    """A VALUES record as integers; arrays by their addresses, here and below."""
    return np.array((parts, count, x, y), np.int64)


def _slopes(count, kept, dy, dx, parts=1):
    """A SLOPES record."""
    return np.array((parts, count, kept, dy, dx), np.int64)


def _sums(count, x, other, y):
    """A SUMS record."""
    return np.array((1, count, x, y, other, 0), np.int64)


def _products(count, x, factors, y, period=None):
    """A PRODUCTS record; period: of the factors, the count if None."""
    return np.array((count, count if period is None else period, x, factors, y), np.int64)


def _addresses(*arrays):
    return tuple(array.ctypes.data for array in arrays)


def add_value(program, cell, x, y):
    """Add `value` to a program, of (T, ...) arrays in C order: T is as many steps as the program takes at once."""
    parts = parts_for(x.size, SMALLEST_PART)
    record = _values(x.size, *_addresses(x, y), parts)
    per_step = [(COUNT, x[0].size)]
    program.add_job(_value, cell, x.dtype, record, x, written=[y], count=parts, per_step=per_step, threads=parts)


def add_times_slope(program, cell, kept, dy, dx):
    """Add `times_slope` to a program, of C-contiguous arrays that stay where they are."""
    parts = parts_for(dx.size, SMALLEST_PART)
    record = _slopes(dx.size, *_addresses(kept, dy, dx), parts)
    program.add_job(_times_slope, cell, dx.dtype, record, kept, dy, written=[dx], count=parts, threads=parts)


def add_sum(program, x, other, y):
    """Add ``y = x + other`` to a program, of arrays as in `add_value`; returns its record."""
    record = _sums(x.size, *_addresses(x, other, y))
    program.add_job(_sum, None, x.dtype, record, x, other, written=[y], per_step=[(COUNT, x[0].size)])
    return record


def add_total(program, x, others, y):
    """Add ``y = x + sum(others)`` to a program, of single numbers x and y, and a contiguous vector."""
    record = _sums(others.size, *_addresses(x, others, y))
    program.add_job(_total, None, x.dtype, record, x, others, written=[y])


def add_product(program, x, factors, y):
    """Add ``y = x * factors`` to a program, of arrays (T, N, C) in C order; factors: likewise, or (N, C)."""
    record = _products(x.size, *_addresses(x, factors, y), factors.size)
    program.add_job(_product, None, x.dtype, record, x, factors, written=[y], alone=x.size >= 2 * SMALLEST_PART)


def add_value_steps(steps, cell, x, y):
    """Add `value` to `one_step.StepCalls`; arrays are descriptors, here and below."""
    steps.add_each(_value, cell, (x, y), lambda count, at: _values(count, *at))


def add_slope_steps(steps, cell, kept, dy, dx):
    """Add `times_slope` to `one_step.StepCalls`."""
    steps.add_each(_times_slope, cell, (kept, dy, dx), lambda count, at: _slopes(count, *at))


def add_sum_steps(steps, x, other, y):
    """Add ``y = x + other`` to `one_step.StepCalls`."""
    steps.add_each(_sum, None, (x, other, y), lambda count, at: _sums(count, *at))


def add_product_steps(steps, x, factors, y):
    """Add ``y = x * factors`` to `one_step.StepCalls`."""
    steps.add_each(_product, None, (x, factors, y), lambda count, at: _products(count, *at))


@Function
def _look(record):
    """Note whether any of the numbers at an address is not finite: all bits of its exponent are set."""
    calls = record_at(record, LOOK)
    call, found = calls[0], 0
    if call.item == 4:
        for bits in numbers_at(np.uint32, call.x, call.count):
            found |= (bits & SINGLE) == SINGLE
    else:
        for bits in numbers_at(np.uint64, call.x, call.count):
            found |= (bits & DOUBLE) == DOUBLE
    calls[0].found = found


def add_check(program, x):
    """Add to a program the question whether any number of a contiguous x is not finite; returns an array, the last says."""
    record = np.array((x.ctypes.data, x.size, x.itemsize, 0), np.int64)
    program.add(_look, record)
    return record


def value(cell, x, y=None):
    """``f(x)`` as a C-contiguous array, `y` (is modified) or a new one, f being the cell's activation."""
    x = np.ascontiguousarray(x)
    y = empty(x.shape, x.dtype) if y is None else y
    parts = parts_for(x.size, SMALLEST_PART)
    run(_value, cell, x.dtype, _values(x.size, *_addresses(x, y), parts), parts)
    return y


def times_slope(cell, kept, dy, dx):
    """Write ``dy * f'(x)``, from what f keeps of x, to the C-contiguous array `dx` (is modified)."""
    kept, dy = np.ascontiguousarray(kept), np.ascontiguousarray(dy)
    parts = parts_for(dx.size, SMALLEST_PART)
    record = _slopes(dx.size, *_addresses(kept, dy, dx), parts)
    run(_times_slope, cell, dx.dtype, record, parts)
