"""One recurrent layer through time on the GPU: forward and backpropagation, one launch each.

A team of blocks keeps its rows of the batch through all steps; see `team`.  W x of all steps is computed before, the
gradients of weights after: see `launch`.  Between two regions of a call the team waits: a region is a phase of a step.
Forward has one phase, or two: a cell with gated slots multiplies R with what its `gate` returns, and a projection takes what
the cell made to h.  Backward has the same ones in reverse, and one region more, for the derivative of the initial state.
"""

from ..engine.choices import joined
from .device import cuda, function, kernel
from .team import (
    ROWS,
    SUMS,
    THREADS,
    exchange_here,
    keep_weights,
    multiply,
    place_of,
    rows_before,
    side_of,
    time_of,
    wait_for_team,
    working,
)
from .types import (
    add_cells,
    add_output,
    by_projection,
    get,
    load_dpre,
    load_drives,
    load_dstate,
    load_saved,
    load_slots,
    load_state,
    load_unit_values,
    put,
    store_all,
    store_state,
)


def phases_of(cell):
    """Regions of a step."""
    return 2 if cell.gated_slots or cell.projected else 1


@function
def block_before(direction, time):
    """The block of h that a direction's step starts from."""
    return time if direction == 0 else time + 2


@function
def state_places(call, table, direction, block, n, unit):
    """(h, c): where the state of a row lies in a block of the tape, for a unit."""
    row = table[block] + n
    h = call.h + (row * call.directions + direction) * call.width + unit
    return h, call.c + ((row if call.c_kept else n) * call.directions + direction) * call.hidden + unit


@function
def per_unit_of(cell, real, call, tape, direction, row, unit):
    """What the cell takes for a unit at a row of a step: values of the unit, then drives."""
    values = call.unit_values + direction * cell.unit_value_count * call.hidden + unit
    drives = call.drives + (row * call.directions + direction) * call.hidden + unit
    return joined(
        load_unit_values(cell, real, tape, values, call.hidden),
        load_drives(cell, real, tape, drives, call.rows * call.directions * call.hidden),
    )


@function
def operand_place(call, direction, row, n, unit):
    """Where the operand of a row lies, for a unit."""
    return call.operand + ((row if call.operand_kept else n) * call.directions + direction) * call.hidden + unit


@function
def add_slots(pre, span, sums):
    """Add the sums of a run of slots (first, number) to the pre-activations (is modified)."""
    for i in range(span[1]):
        pre[span[0] + i] += sums[i]


@function
def start_slots(cell, call, tape, scratch, direction, row, unit, pre):
    """The bias, and W x of the input's slots (pre is modified)."""
    bias = call.bias + direction * cell.slots * call.hidden + unit
    for slot in range(cell.slots):
        pre[slot] = tape[bias + slot * call.hidden]
    first, count = cell.input_span
    place = call.inputs + (direction * call.rows + row) * count * call.hidden + unit
    for i in range(count):
        pre[first + i] += scratch[place + i * call.hidden]


@function
def start_region(cell, call, tape, scratch, table, direction, region, phases, first, own, unit, pre):
    """`start_slots` of a thread's first row in a region, before its blocks wait for each other (pre is modified).

    What that reads was there before the kernel, so that memory answers while the team waits.
    """
    if region % phases == 0 and unit < call.hidden:
        time = time_of(call, direction, region // phases)
        if own < working(call, table, first, time):
            row = rows_before(call, table, time) + first + own
            start_slots(cell, call, tape, scratch, direction, row, unit, pre)


@function
def finish_step(cell, real, call, tape, table, direction, time, n, row, unit, pre):
    """The cell's equations of one unit at one row: write the state, which is returned, and what backward needs."""
    old_h, old_c = state_places(call, table, direction, block_before(direction, time), n, unit)
    h, c = state_places(call, table, direction, time + 1, n, unit)
    old = load_state(cell, real, old_h, old_c, tape)
    per_unit = per_unit_of(cell, real, call, tape, direction, row, unit)
    new, kept = cell.forward(load_slots(cell, real, pre, 0, 1), old, per_unit)
    store_state(cell, new, by_projection(cell, h, operand_place(call, direction, row, n, unit)), c, tape)
    if call.keep:
        store_all(kept, tape, call.saved + (direction * call.rows + row) * cell.saved * call.hidden + unit, call.hidden)
    return new


@function
def gate_step(cell, real, call, tape, scratch, table, direction, time, n, row, unit, pre):
    """The gates that come first, of one unit at one row: write the operand, and the pre-activations for the next phase."""
    old_h, old_c = state_places(call, table, direction, block_before(direction, time), n, unit)
    old = load_state(cell, real, old_h, old_c, tape)
    per_unit = per_unit_of(cell, real, call, tape, direction, row, unit)
    values, operand = cell.gate(load_slots(cell, real, pre, 0, 1), old, per_unit)
    place = call.pre + (direction * call.batch + n) * cell.slots * call.hidden + unit
    store_all(values, scratch, place, call.hidden)
    put(operand, tape, operand_place(call, direction, row, n, unit))


@kernel(launch_bounds=(THREADS, 1))
def forward(cell, real, call, tape, scratch, table, counters):
    """Fill h, c and what backward needs, from `inputs`, `recurrent` and `bias`; tape, scratch and counters are modified.

    tape, scratch: memory; table: of the packing; counters: [teams], zeros.
    """
    shared = cuda.shared.array(0, tape.dtype)
    sums = cuda.local.array(SUMS, tape.dtype)
    pre = cuda.local.array(SUMS, tape.dtype)
    direction, team, first, first_unit, lane, part = place_of(call)
    side, groups = side_of(call), ROWS * call.abreast
    unit, width, hidden = first_unit + lane, call.width, call.hidden
    column = min(unit, hidden - 1)  # threads past the last unit compute what nobody reads
    recurrent, gated = cell.recurrent_span, cell.gated_span
    phases = 2 if gated[1] > 0 or cell.projected else 1
    slots = max(recurrent[1], gated[1])
    room = exchange_here(call.units, slots, hidden)
    staged, on_chip = side * room, call.abreast * room
    if call.on_chip:
        start = call.recurrent + direction * width * recurrent[1] * hidden
        keep_weights(
            call, shared, on_chip, tape, start, width, recurrent[1] * hidden, recurrent[1], hidden, first_unit, hidden
        )
        cuda.syncthreads()
    start_region(cell, call, tape, scratch, table, direction, call.from_region, phases, first, side * ROWS + part, unit, pre)
    for region in range(call.from_region, call.to_region):
        step, phase = region // phases, region % phases
        time = time_of(call, direction, step)
        rows, before = working(call, table, first, time), rows_before(call, table, time)
        old_block = block_before(direction, time)
        for base in range(0, rows, groups):
            group = base + side * ROWS
            count, n = min(ROWS, rows - group), first + group + part
            row = before + n
            mine = group + part < rows and unit < hidden
            if phase == 0:
                if recurrent[1] > 0:
                    source, _ = state_places(call, table, direction, old_block, first + group, 0)
                    if call.on_chip:
                        multiply(
                            real, call, shared, staged, tape, source, call.directions * width, count, width, shared,
                            on_chip + lane, recurrent[1] * call.units, recurrent[1], call.units, lane, part, sums,
                        )  # fmt: skip
                    else:
                        multiply(
                            real, call, shared, staged, tape, source, call.directions * width, count, width, tape,
                            call.recurrent + direction * width * recurrent[1] * hidden + column, recurrent[1] * hidden,
                            recurrent[1], hidden, lane, part, sums,
                        )  # fmt: skip
                if mine:
                    if base > 0:
                        start_slots(cell, call, tape, scratch, direction, row, unit, pre)
                    add_slots(pre, recurrent, sums)
                    if gated[1] > 0:
                        gate_step(cell, real, call, tape, scratch, table, direction, time, n, row, unit, pre)
                    else:
                        finish_step(cell, real, call, tape, table, direction, time, n, row, unit, pre)
            elif gated[1] > 0:
                source = operand_place(call, direction, before + first + group, first + group, 0)
                multiply(
                    real, call, shared, staged, tape, source, call.directions * hidden, count, hidden, tape,
                    call.gated + direction * hidden * gated[1] * hidden + column, gated[1] * hidden, gated[1], hidden, lane,
                    part, sums,
                )  # fmt: skip
                if mine:
                    place = call.pre + (direction * call.batch + n) * cell.slots * hidden + unit
                    for slot in range(cell.slots):
                        pre[slot] = scratch[place + slot * hidden]
                    add_slots(pre, gated, sums)
                    finish_step(cell, real, call, tape, table, direction, time, n, row, unit, pre)
            else:
                source = operand_place(call, direction, before + first + group, first + group, 0)
                multiply(
                    real, call, shared, staged, tape, source, call.directions * hidden, count, hidden, tape,
                    call.projection + direction * hidden * width + min(unit, width - 1), width, 1, 0, lane, part, sums,
                )  # fmt: skip
                if group + part < rows and unit < width:
                    h, _ = state_places(call, table, direction, time + 1, n, unit)
                    tape[h] = sums[0]
        if region + 1 < call.to_region:
            start_region(
                cell, call, tape, scratch, table, direction, region + 1, phases, first, side * ROWS + part, unit, pre
            )
        wait_for_team(call, counters, team, region)


@function
def adjoint_step(cell, real, call, tape, scratch, dy, table, direction, time, n, row, unit):
    """The cell's adjoint of one unit at one row: write dpre, which is returned, and what goes back to the state."""
    old_h, old_c = state_places(call, table, direction, block_before(direction, time), n, unit)
    h, c = state_places(call, table, direction, time + 1, n, unit)
    old = load_state(cell, real, old_h, old_c, tape)
    new = load_state(cell, real, h, c, tape)
    kept = load_saved(
        cell, real, tape, call.saved + (direction * call.rows + row) * cell.saved * call.hidden + unit, call.hidden
    )
    dh = by_projection(cell, call.dh, call.doperand) + (direction * call.batch + n) * call.hidden + unit
    dc = call.dc + (direction * call.batch + n) * call.hidden + unit
    derivative = load_dstate(cell, real, dh, dc, scratch)
    if call.dy >= 0:
        derivative = add_output(
            cell, real, derivative, call.dy + (row * call.directions + direction) * call.width + unit, dy
        )
    if call.dcells >= 0:
        derivative = add_cells(
            cell, derivative, get(scratch, call.dcells + (row * call.directions + direction) * call.hidden + unit)
        )
    dpre, dold = cell.adjoint(kept, old, new, derivative, per_unit_of(cell, real, call, tape, direction, row, unit))
    place = call.dpre + (direction * call.rows + row) * cell.dpre_count * call.hidden + unit
    store_all(dpre, scratch, place, call.hidden)
    store_state(cell, dold, dh, dc, scratch)
    return dpre


@function
def gate_adjoint_step(cell, real, call, tape, scratch, table, direction, time, n, row, unit, doperand):
    """The part of the gates that came first, from the derivative of the operand."""
    old_h, old_c = state_places(call, table, direction, block_before(direction, time), n, unit)
    old = load_state(cell, real, old_h, old_c, tape)
    kept = load_saved(
        cell, real, tape, call.saved + (direction * call.rows + row) * cell.saved * call.hidden + unit, call.hidden
    )
    at = (direction * call.batch + n) * call.hidden + unit
    place = call.dpre + (direction * call.rows + row) * cell.dpre_count * call.hidden + unit
    derivative = load_dstate(cell, real, call.dh + at, call.dc + at, scratch)
    dpre = load_dpre(cell, real, scratch, place, call.hidden)
    per_unit = per_unit_of(cell, real, call, tape, direction, row, unit)
    dpre, dold = cell.gate_adjoint(kept, old, doperand, dpre, derivative, per_unit)
    store_all(dpre, scratch, place, call.hidden)
    store_state(cell, dold, call.dh + at, call.dc + at, scratch)


@function
def begin_derivatives(cell, real, call, scratch, direction, first, unit, part, parts):
    """Write zeros to dh and dc of a thread's unit and rows, every so-manieth of its team's (scratch is modified)."""
    if call.begun or call.from_region > 0:
        return
    for n in range(first + part, min(first + call.tile, call.batch), parts):
        if unit < call.width:
            scratch[call.dh + (direction * call.batch + n) * call.width + unit] = real
        if cell.states > 1 and unit < call.hidden:
            scratch[call.dc + (direction * call.batch + n) * call.hidden + unit] = real


@kernel(launch_bounds=(THREADS, 1))
def backward(cell, real, call, tape, scratch, dy, table, counters):
    """Take dh and dc from the last step to the initial state and fill dpre; scratch and counters are modified.

    The weights are transposed: `recurrent` [D, slots, H, P], `gated` [D, slots, H, H], `projection` [D, P, H].
    """
    shared = cuda.shared.array(0, tape.dtype)
    sums = cuda.local.array(SUMS, tape.dtype)
    direction, team, first, first_unit, lane, part = place_of(call)
    side, groups = side_of(call), ROWS * call.abreast
    unit, width, hidden = first_unit + lane, call.width, call.hidden
    column = min(unit, hidden - 1)
    recurrent, gated = cell.recurrent_span, cell.gated_span
    phases = 2 if gated[1] > 0 or cell.projected else 1
    row_stride = cell.dpre_count * hidden
    depth = recurrent[1] * hidden
    room = exchange_here(call.units, 1, max(depth, gated[1] * hidden, hidden))
    staged, on_chip = side * room, call.abreast * room
    back = call.recurrent + direction * depth * width
    if call.on_chip:
        keep_weights(call, shared, on_chip, tape, back, depth, width, 1, 0, first_unit, width)
        cuda.syncthreads()
    begin_derivatives(cell, real, call, scratch, direction, first, unit, side * ROWS + part, groups)
    for region in range(call.from_region, call.to_region):
        step, phase = call.steps - 1 - region // phases, region % phases
        if phase == 0 and region > 0 and recurrent[1] > 0:
            behind = time_of(call, direction, step + 1)
            rows, before = working(call, table, first, behind), rows_before(call, table, behind)
            for base in range(0, rows, groups):
                group = base + side * ROWS
                source = call.dpre + (direction * call.rows + before + first + group) * row_stride + recurrent[0] * hidden
                count = min(ROWS, rows - group)
                if call.on_chip:
                    multiply(
                        real, call, shared, staged, scratch, source, row_stride, count, depth, shared, on_chip + lane,
                        call.units, 1, 0, lane, part, sums,
                    )  # fmt: skip
                else:
                    multiply(
                        real, call, shared, staged, scratch, source, row_stride, count, depth, tape,
                        back + min(unit, width - 1), width, 1, 0, lane, part, sums,
                    )  # fmt: skip
                if group + part < rows and unit < width:
                    place = call.dh + (direction * call.batch + first + group + part) * width + unit
                    scratch[place] = by_projection(cell, scratch[place], real) + sums[0]
        time = time_of(call, direction, max(step, 0))
        rows, before = working(call, table, first, time), rows_before(call, table, time)
        if step < 0:
            rows = 0
        for base in range(0, rows, groups):
            group = base + side * ROWS
            count, n = min(ROWS, rows - group), first + group + part
            row = before + n
            mine = group + part < rows and unit < hidden
            if phase == 0 and not cell.projected:
                if mine:
                    adjoint_step(cell, real, call, tape, scratch, dy, table, direction, time, n, row, unit)
            elif phase == 0:
                if group + part < rows and unit < width:
                    value = scratch[call.dh + (direction * call.batch + n) * width + unit]
                    if call.dy >= 0:
                        value += dy[call.dy + (row * call.directions + direction) * width + unit]
                    scratch[call.dprojected + (direction * call.rows + row) * width + unit] = value
            elif gated[1] > 0:
                source = call.dpre + (direction * call.rows + before + first + group) * row_stride + gated[0] * hidden
                multiply(
                    real, call, shared, staged, scratch, source, row_stride, count, gated[1] * hidden, tape,
                    call.gated + direction * gated[1] * hidden * hidden + column, hidden, 1, 0, lane, part, sums,
                )  # fmt: skip
                if mine:
                    gate_adjoint_step(cell, real, call, tape, scratch, table, direction, time, n, row, unit, get(sums, 0))
            else:
                source = call.dprojected + (direction * call.rows + before + first + group) * width
                multiply(
                    real, call, shared, staged, scratch, source, width, count, width, tape,
                    call.projection + direction * width * hidden + column, hidden, 1, 0, lane, part, sums,
                )  # fmt: skip
                if mine:
                    scratch[call.doperand + (direction * call.batch + n) * hidden + unit] = sums[0]
                    adjoint_step(cell, real, call, tape, scratch, dy, table, direction, time, n, row, unit)
        wait_for_team(call, counters, team, region)
