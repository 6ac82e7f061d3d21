"""One small recurrent layer through time on the GPU: each block of threads has all of R, in its registers.

No block waits for another: a block carries `tile` rows of the batch through all steps, and between two steps there are two
barriers of its own.  A thread has one slot of one unit, and of R what makes that slot's sum: a number for each of at most
COLUMN units.  The sums go through shared memory to the threads that evaluate the equations: each of them the unit that it
has, at every so-manieth row.

Forward has the sums of `recurrent`: PARTS of the depth, one after the other, these in turn.  So has backward for each slot,
and the slots' sums in turn.  What `recurrent` does besides, gated slots and projections, is not done here.
"""

from .columns import COLUMN, SHARE, column_of, dot
from .device import cuda, function, kernel
from .ptx import load, store
from .recurrent import adjoint_step, begin_derivatives, block_before, finish_step, start_slots, state_places
from .team import PARTS, SUMS, THREADS, rows_before, time_of, working
from .types import put, store_all

MOST_ROWS = 8  # of a block: more rows are more blocks, which come one after the other


def place_of_unit(unit, share):
    """Where a unit's number is in a row of COLUMN: each part of `share` of them begins at a multiple of SHARE."""
    return unit // share * SHARE + unit % share


place_of_unit_here = function(place_of_unit)


@function
def clear(real, shared, count):
    """Write zeros to the first numbers of shared memory (is modified): those between the parts stay so."""
    for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
        shared[i] = real


@kernel(launch_bounds=(THREADS, 1))
def forward(cell, real, call, tape, scratch, table):
    """Fill h, c and what backward needs, from `inputs`, `recurrent` and `bias`, as `recurrent.forward`; tape is modified."""
    shared = cuda.shared.array(0, tape.dtype)
    pre = cuda.local.array(SUMS, tape.dtype)
    direction, first = cuda.blockIdx.x // call.tiles, cuda.blockIdx.x % call.tiles * call.tile
    hidden, recurrent = call.hidden, cell.recurrent_span
    slot, unit, slots = cuda.threadIdx.x // call.units, cuda.threadIdx.x % call.units, recurrent[1]
    share, sums = (hidden + PARTS - 1) // PARTS, call.tile * COLUMN
    column = call.recurrent + (direction * hidden * slots + slot) * hidden + min(unit, hidden - 1)
    weights = column_of(tape, column, slots * hidden, share, hidden)
    clear(real, shared, sums)
    place = place_of_unit_here(unit, share)
    begun = 0  # rows whose state is in shared memory
    for step in range(call.steps):
        time = time_of(call, direction, step)
        rows, before = working(call, table, first, time), rows_before(call, table, time) + first
        cuda.syncthreads()
        if begun < rows:
            for row in range(begun + slot, rows, slots):
                if unit < hidden:
                    source, _ = state_places(call, table, direction, block_before(direction, time), first + row, unit)
                    shared[row * COLUMN + place] = tape[source]
            begun = rows
            cuda.syncthreads()
        if slot < rows and unit < hidden:  # from memory, while the sums are made
            start_slots(cell, call, tape, scratch, direction, before + slot, unit, pre)
        for row in range(rows):
            total = dot(real, weights, shared, row * COLUMN, share)
            if unit < hidden:
                store(shared, sums + (row * slots + slot) * hidden + unit, total)
        cuda.syncthreads()
        for row in range(slot, rows, slots):
            if unit < hidden:
                if row > slot:
                    start_slots(cell, call, tape, scratch, direction, before + row, unit, pre)
                for i in range(slots):
                    pre[recurrent[0] + i] += load(shared, sums + (row * slots + i) * hidden + unit)
                new = finish_step(cell, real, call, tape, table, direction, time, first + row, before + row, unit, pre)
                put(new[0], shared, row * COLUMN + place)


@function
def add_sums(call, shared, at, slots, scratch, place):
    """Add the sums of all slots of a unit at a row, from `at` on, to the derivative at a place (scratch is modified)."""
    total = load(shared, at)
    for i in range(1, slots):
        total += load(shared, at + i * call.hidden)
    scratch[place] += total


@kernel(launch_bounds=(THREADS, 1))
def backward(cell, real, call, tape, scratch, dy, table):
    """Take dh and dc from the last step to the initial state and fill dpre, as `recurrent.backward`; scratch is modified."""
    shared = cuda.shared.array(0, tape.dtype)
    direction, first = cuda.blockIdx.x // call.tiles, cuda.blockIdx.x % call.tiles * call.tile
    hidden, recurrent = call.hidden, cell.recurrent_span
    slot, unit, slots = cuda.threadIdx.x // call.units, cuda.threadIdx.x % call.units, recurrent[1]
    share, sums = (hidden + PARTS - 1) // PARTS, call.tile * cell.dpre_count * COLUMN
    column = call.recurrent + (direction * slots + slot) * hidden * hidden + min(unit, hidden - 1)
    weights = column_of(tape, column, hidden, share, hidden)
    begin_derivatives(cell, real, call, scratch, direction, first, unit, slot, slots)
    clear(real, shared, sums)
    place = place_of_unit_here(unit, share)
    behind = 0  # rows at work at the step behind
    cuda.syncthreads()
    for region in range(call.steps + 1):
        rows, before, time = 0, 0, 0
        if region < call.steps:
            time = time_of(call, direction, call.steps - 1 - region)
            rows, before = working(call, table, first, time), rows_before(call, table, time) + first
        for row in range(slot, max(rows, behind), slots):
            if unit < hidden:
                if row < behind:
                    dh = call.dh + (direction * call.batch + first + row) * hidden + unit
                    add_sums(call, shared, sums + row * slots * hidden + unit, slots, scratch, dh)
                if row < rows:
                    dpre = adjoint_step(
                        cell, real, call, tape, scratch, dy, table, direction, time, first + row, before + row, unit
                    )
                    store_all(dpre, shared, row * cell.dpre_count * COLUMN + place, COLUMN)
        cuda.syncthreads()
        for row in range(rows):
            total = dot(real, weights, shared, (row * cell.dpre_count + recurrent[0] + slot) * COLUMN, share)
            if unit < hidden:
                store(shared, sums + (row * slots + slot) * hidden + unit, total)
        cuda.syncthreads()
        behind = rows
