"""Means and variances over all units of a row on the GPU, of cells that normalize: see `normalized`.

A row's sum over the units has one order: LANES sums of every so-manieth unit, slot by slot, then these one after the other.
"""

from .device import cuda, function
from .ptx import read
from .team import PARTS, ROWS
from .types import get, number, put, shrinking

LANES = 32


@function
def add_lanes(call, shared):
    """Sum the LANES sums of each of ROWS rows in shared memory, to `ROWS * LANES` and on (is modified)."""
    cuda.syncthreads()
    for row in range(cuda.threadIdx.x, ROWS, call.units * PARTS):
        total = shared[row * LANES]
        for lane in range(1, LANES):
            total += shared[row * LANES + lane]
        shared[ROWS * LANES + row] = total
    cuda.syncthreads()


@function
def lane_sums(real, call, shared, source, start, row_stride, slot_stride, slots, rows, place, squares):
    """Sums over slots and units of ROWS rows: to shared memory at `ROWS * LANES` and on, a sum for each row (is modified).

    Numbers are multiplied with ``shared[place + 2 * ROWS + row]``.  squares: 1 for the sums of squared deviations from
    ``shared[place + row]``, 0 for plain sums.
    """
    threads = call.units * PARTS
    for i in range(cuda.threadIdx.x, ROWS * LANES, threads):
        row, lane, total = i // LANES, i % LANES, real
        if row < rows:
            for slot in range(slots):
                for unit in range(lane, call.hidden, LANES):
                    value = read(source, start + row * row_stride + slot * slot_stride + unit)
                    value *= shared[place + 2 * ROWS + row]
                    if squares:
                        value -= shared[place + row]
                        value *= value
                    total += value
        shared[i] = total
    add_lanes(call, shared)


@function
def moments(real, call, shared, source, start, row_stride, slot_stride, slots, rows, place):
    """Mean and variance of ROWS rows, over some slots and all units, in shared memory (is modified) from `place` on."""
    count = number(real, slots * call.hidden)
    for squares in range(2):
        lane_sums(real, call, shared, source, start, row_stride, slot_stride, slots, rows, place, squares)
        for row in range(cuda.threadIdx.x, ROWS, call.units * PARTS):
            put(get(shared, ROWS * LANES + row) / count, shared, place + squares * ROWS + row)
        cuda.syncthreads()


@function
def statistics(cell, real, call, shared, source, start, row_stride, slot_stride, slots, rows, index):
    """Mean and inverse deviation of ROWS rows, over some slots and all units, and what their numbers are multiplied with.

    They go to shared memory (is modified): ``(3, ROWS)`` from `statistics_place` of `index` on.  The factor of a row is 1,
    or a power of two that makes numbers small whose squares would overflow.
    """
    place, threads = statistics_place(index), call.units * PARTS
    for row in range(cuda.threadIdx.x, ROWS, threads):
        put(number(real, 1), shared, place + 2 * ROWS + row)
    cuda.syncthreads()
    moments(real, call, shared, source, start, row_stride, slot_stride, slots, rows, place)
    again = False
    for row in range(rows):
        variance = shared[place + ROWS + row]
        again = again or variance - variance != real  # infinite, or NaN
    cuda.syncthreads()
    if again:
        for row in range(cuda.threadIdx.x, ROWS, threads):
            variance = shared[place + ROWS + row]
            if variance - variance != real:
                put(shrinking(real), shared, place + 2 * ROWS + row)
        cuda.syncthreads()
        moments(real, call, shared, source, start, row_stride, slot_stride, slots, rows, place)
    for row in range(cuda.threadIdx.x, ROWS, threads):
        scale = cell.inverse_deviation(get(shared, place + ROWS + row), get(shared, place + 2 * ROWS + row))
        put(scale, shared, place + ROWS + row)
    cuda.syncthreads()


@function
def statistics_place(index):
    """Where in shared memory the statistics of a run begin."""
    return ROWS * LANES + ROWS + 3 * ROWS * index
