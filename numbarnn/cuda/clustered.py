"""One recurrent layer through time on the GPU by clusters of blocks, which write to each other's shared memory.

The blocks of a cluster share the hidden units as the blocks of a team do; see `team`.  Each keeps its part of R in its
shared memory, and there is, of all units, what the next product reads: forward h, backward dpre.  It is there twice, so that
the numbers of a step are written while the numbers of the step before are still read.  The thread that computes a number
writes it to all blocks; between two steps there is one barrier of the cluster.  A block has one turn: all its rows are
abreast.

Sums have the order of `recurrent`.  What `recurrent` does besides, gated slots and projections, is not done here.
"""

from .clusters import CLUSTER
from .device import cuda, function, kernel
from .ptx import arrive_at_cluster, load, store, store_to_block, wait_for_cluster
from .recurrent import adjoint_step, begin_derivatives, block_before, finish_step, start_region, state_places
from .team import (
    CHUNK,
    PARTS,
    ROWS,
    SUMS,
    THREADS,
    add_products,
    keep_weights,
    place_of,
    rows_before,
    side_of,
    sum_parts,
    time_of,
    working,
)
from .types import put, store_all


def parts_of(units, slots):
    """Numbers that the parts of the sums of a group of rows take."""
    return PARTS * slots * ROWS * units


parts_of_here = function(parts_of)


def group_of(parts, depth):
    """Numbers in a block's shared memory of each group of rows: parts of sums, then the operand of a product, twice."""
    return parts + 2 * depth * ROWS


group_of_here = function(group_of)


@function
def tell_all(shared, place, value):
    """Write a number at a place of shared memory of all blocks of the cluster (it is modified)."""
    for block in range(CLUSTER):
        store_to_block(shared, place, value, block)


@function
def multiply_here(real, call, shared, parts, rows, depth, weights, depth_stride, slots, slot_stride, lane, part, sums):
    """`team.multiply`, of rows (depth, ROWS) that are all in shared memory, from `rows` on; sums is modified."""
    for i in range(slots * ROWS):
        sums[i] = real
    for before in range(0, depth, CHUNK):
        add_products(
            shared, rows + before * ROWS, before, min(CHUNK, depth - before), shared, weights, depth_stride, slots,
            slot_stride, part, sums,
        )  # fmt: skip
    sum_parts(call, shared, parts, slots, lane, part, sums)


@kernel(launch_bounds=(THREADS, 1))
def forward(cell, real, call, tape, scratch, table):
    """Fill h, c and what backward needs, from `inputs`, `recurrent` and `bias`, as `recurrent.forward`; tape is modified."""
    shared = cuda.shared.array(0, tape.dtype)
    sums = cuda.local.array(SUMS, tape.dtype)
    pre = cuda.local.array(SUMS, tape.dtype)
    direction, _, first, first_unit, lane, part = place_of(call)
    side, unit, hidden = side_of(call), first_unit + lane, call.hidden
    own, recurrent = side * ROWS + part, cell.recurrent_span
    slots, parts = recurrent[1], parts_of_here(call.units, recurrent[1])
    group, half = group_of_here(parts, hidden), hidden * ROWS
    begin, weights = side * group, call.abreast * group
    start = call.recurrent + direction * hidden * slots * hidden
    keep_weights(call, shared, weights, tape, start, hidden, slots * hidden, slots, hidden, first_unit, hidden)
    start_region(cell, call, tape, scratch, table, direction, 0, 1, first, own, unit, pre)
    arrive_at_cluster()
    wait_for_cluster()  # all blocks are there, and may be written to
    begun = 0  # rows whose state is in shared memory
    for step in range(call.steps):
        time, now = time_of(call, direction, step), step % 2
        rows, before = working(call, table, first, time), rows_before(call, table, time) + first
        if begun < rows:  # the initial state, which every block reads by itself
            for i in range(cuda.threadIdx.x, (rows - begun) * hidden, cuda.blockDim.x):
                row, k = begun + i // hidden, i % hidden
                source, _ = state_places(call, table, direction, block_before(direction, time), first + row, k)
                place = row // ROWS * group + parts + now * half + k * ROWS + row % ROWS
                store(shared, place, load(tape, source))
            begun = rows
            cuda.syncthreads()
        multiply_here(
            real, call, shared, begin, begin + parts + now * half, hidden, weights + lane, slots * call.units,
            slots, call.units, lane, part, sums,
        )  # fmt: skip
        if own < rows and unit < hidden:
            for i in range(slots):
                pre[recurrent[0] + i] += sums[i]
            new = finish_step(cell, real, call, tape, table, direction, time, first + own, before + own, unit, pre)
            put(new[0], pre, 0)
            tell_all(shared, begin + parts + (1 - now) * half + unit * ROWS + part, load(pre, 0))
        arrive_at_cluster()
        if step + 1 < call.steps:  # from memory, while the others come
            start_region(cell, call, tape, scratch, table, direction, step + 1, 1, first, own, unit, pre)
        wait_for_cluster()


@kernel(launch_bounds=(THREADS, 1))
def backward(cell, real, call, tape, scratch, dy, table):
    """Take dh and dc from the last step to the initial state and fill dpre, as `recurrent.backward`; scratch is modified."""
    shared = cuda.shared.array(0, tape.dtype)
    sums = cuda.local.array(SUMS, tape.dtype)
    found = cuda.local.array(SUMS, tape.dtype)
    direction, _, first, first_unit, lane, part = place_of(call)
    side, unit, hidden = side_of(call), first_unit + lane, call.hidden
    own, recurrent = side * ROWS + part, cell.recurrent_span
    depth, parts = recurrent[1] * hidden, parts_of_here(call.units, 1)
    group, half = group_of_here(parts, depth), depth * ROWS
    begin, weights = side * group, call.abreast * group
    back = call.recurrent + direction * depth * hidden
    keep_weights(call, shared, weights, tape, back, depth, hidden, 1, 0, first_unit, hidden)
    begin_derivatives(cell, real, call, scratch, direction, first, unit, own, ROWS * call.abreast)
    arrive_at_cluster()
    wait_for_cluster()
    behind = 0  # rows at work at the step behind
    for region in range(call.steps + 1):
        now = region % 2
        if region > 0:
            multiply_here(
                real, call, shared, begin, begin + parts + (1 - now) * half, depth, weights + lane, call.units,
                1, 0, lane, part, sums,
            )  # fmt: skip
            if own < behind and unit < hidden:
                scratch[call.dh + (direction * call.batch + first + own) * hidden + unit] += sums[0]
        if region < call.steps:
            time = time_of(call, direction, call.steps - 1 - region)
            rows, before = working(call, table, first, time), rows_before(call, table, time) + first
            if own < rows and unit < hidden:
                dpre = adjoint_step(
                    cell, real, call, tape, scratch, dy, table, direction, time, first + own, before + own, unit
                )
                store_all(dpre, found, 0, 1)
                for slot in range(recurrent[1]):
                    place = begin + parts + now * half + (slot * hidden + unit) * ROWS + part
                    tell_all(shared, place, load(found, recurrent[0] + slot))
            behind = rows
        arrive_at_cluster()
        wait_for_cluster()
