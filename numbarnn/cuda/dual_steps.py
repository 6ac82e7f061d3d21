"""One recurrent layer through time on dual numbers, see `cells.duals`: a thread for each unit and row, a launch each region.

What `recurrent` does for numbers, with the same equations, tape and regions of a step; products of a step are summed by one
thread each, from the first number on.  Nothing waits for anything inside of a launch.
"""

from .device import blocks_for, cuda, function, kernel
from .launches import launch
from .recurrent import (
    add_slots,
    adjoint_step,
    block_before,
    finish_step,
    gate_adjoint_step,
    gate_step,
    operand_place,
    phases_of,
    start_slots,
    state_places,
)
from .team import SUMS, rows_before, time_of
from .types import by_projection, get, number, put


@function
def place_of(call, table, region, phases, i):
    """(direction, n, unit, time, row, whether the row is at work) of a thread's i-th place in a region."""
    across = max(call.hidden, call.width)
    unit, n, direction = i % across, i // across % call.batch, i // across // call.batch
    time = time_of(call, direction, min(max(region // phases, 0), call.steps - 1))
    return direction, n, unit, time, rows_before(call, table, time) + n, n < table[time + 3] - table[time + 2]


@function
def dot(real, source, start, weights, first, stride, depth):
    """The sum of products of numbers that follow each other and of others, `stride` apart."""
    total = number(real, 0)
    for k in range(depth):
        total += get(source, start + k) * get(weights, first + k * stride)
    return total


@function
def sums_of_slots(real, source, start, weights, first, depth, slots, hidden, sums):
    """A `dot` for each slot of a unit, of weights [depth, slots, H] (sums is modified)."""
    for slot in range(slots):
        put(dot(real, source, start, weights, first + slot * hidden, slots * hidden, depth), sums, slot)


@kernel
def forward(cell, real, call, tape, scratch, table):
    """One region of `recurrent.forward`; tape and scratch are modified."""
    sums = cuda.local.array(SUMS, tape.dtype)
    pre = cuda.local.array(SUMS, tape.dtype)
    recurrent, gated = cell.recurrent_span, cell.gated_span
    phases = 2 if gated[1] > 0 or cell.projected else 1
    width, hidden, region = call.width, call.hidden, call.from_region
    for i in range(cuda.grid(1), call.directions * call.batch * max(hidden, width), cuda.gridsize(1)):
        direction, n, unit, time, row, works = place_of(call, table, region, phases, i)
        if works and region % phases == 0 and unit < hidden:
            start_slots(cell, call, tape, scratch, direction, row, unit, pre)
            if recurrent[1] > 0:
                source, _ = state_places(call, table, direction, block_before(direction, time), n, 0)
                first = call.recurrent + direction * width * recurrent[1] * hidden + unit
                sums_of_slots(real, tape, source, tape, first, width, recurrent[1], hidden, sums)
                add_slots(pre, recurrent, sums)
            if gated[1] > 0:
                gate_step(cell, real, call, tape, scratch, table, direction, time, n, row, unit, pre)
            else:
                finish_step(cell, real, call, tape, table, direction, time, n, row, unit, pre)
        elif works and region % phases == 1 and gated[1] > 0:
            if unit < hidden:
                place = call.pre + (direction * call.batch + n) * cell.slots * hidden + unit
                for slot in range(cell.slots):
                    pre[slot] = scratch[place + slot * hidden]
                first = call.gated + direction * hidden * gated[1] * hidden + unit
                source = operand_place(call, direction, row, n, 0)
                sums_of_slots(real, tape, source, tape, first, hidden, gated[1], hidden, sums)
                add_slots(pre, gated, sums)
                finish_step(cell, real, call, tape, table, direction, time, n, row, unit, pre)
        elif works and region % phases == 1 and unit < width:
            h, _ = state_places(call, table, direction, time + 1, n, unit)
            source, first = operand_place(call, direction, row, n, 0), call.projection + direction * hidden * width + unit
            put(dot(real, tape, source, tape, first, width, hidden), tape, h)


@function
def go_on_back(cell, real, call, tape, scratch, table, step, i):
    """Add to dh of a thread's i-th place what dpre of a step, the one after it, gives back by R (scratch is modified)."""
    recurrent, width, hidden = cell.recurrent_span, call.width, call.hidden
    direction, n, unit, time, row, works = place_of(call, table, step, 1, i)
    if works and unit < width:
        depth, at = recurrent[1] * hidden, call.dh + (direction * call.batch + n) * width + unit
        source = call.dpre + (direction * call.rows + row) * cell.dpre_count * hidden + recurrent[0] * hidden
        total = dot(real, scratch, source, tape, call.recurrent + direction * depth * width + unit, width, depth)
        put(by_projection(cell, get(scratch, at), number(real, 0)) + total, scratch, at)


@kernel
def backward(cell, real, call, tape, scratch, dy, table):
    """One region of `recurrent.backward`; scratch is modified."""
    recurrent, gated = cell.recurrent_span, cell.gated_span
    phases = 2 if gated[1] > 0 or cell.projected else 1
    width, hidden, region = call.width, call.hidden, call.from_region
    step, phase = call.steps - 1 - region // phases, region % phases
    for i in range(cuda.grid(1), call.directions * call.batch * max(hidden, width), cuda.gridsize(1)):
        if phase == 0 and region > 0 and recurrent[1] > 0:
            go_on_back(cell, real, call, tape, scratch, table, step + 1, i)
        direction, n, unit, time, row, works = place_of(call, table, step, 1, i)
        works = works and step >= 0
        if works and phase == 0 and not cell.projected:
            if unit < hidden:
                adjoint_step(cell, real, call, tape, scratch, dy, table, direction, time, n, row, unit)
        elif works and phase == 0:
            if unit < width:
                value = get(scratch, call.dh + (direction * call.batch + n) * width + unit)
                if call.dy >= 0:
                    value += get(dy, call.dy + (row * call.directions + direction) * width + unit)
                put(value, scratch, call.dprojected + (direction * call.rows + row) * width + unit)
        elif works and gated[1] > 0:
            if unit < hidden:
                depth = gated[1] * hidden
                source = call.dpre + (direction * call.rows + row) * cell.dpre_count * hidden + gated[0] * hidden
                first = call.gated + direction * depth * hidden + unit
                doperand = dot(real, scratch, source, tape, first, hidden, depth)
                gate_adjoint_step(cell, real, call, tape, scratch, table, direction, time, n, row, unit, doperand)
        elif works and unit < hidden:
            source = call.dprojected + (direction * call.rows + row) * width
            first = call.projection + direction * width * hidden + unit
            place = call.doperand + (direction * call.batch + n) * hidden + unit
            put(dot(real, scratch, source, tape, first, hidden, width), scratch, place)
            adjoint_step(cell, real, call, tape, scratch, dy, table, direction, time, n, row, unit)


KERNELS = {"forward": forward, "backward": backward}


def run(way, cell, real, call, tape, scratch, *arrays):
    """Launch a kernel over time, each region by itself: way is "forward" or "backward"."""
    regions = call.steps * phases_of(cell) + (way == "backward")
    count = call.directions * call.batch * max(call.hidden, call.width)
    for region in range(regions):
        here = call._replace(from_region=region, to_region=region + 1)
        launch(KERNELS[way], blocks_for(count), cell, real, here, tape, scratch, *arrays)
