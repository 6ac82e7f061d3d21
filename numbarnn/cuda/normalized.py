"""One recurrent layer of cells that normalize, through time on the GPU: forward and backpropagation.

It does what `recurrent` does, for cells that are a `NormalizedCell`.  A mean is over all units of a row, which the blocks of
a team share: so what is summed goes through memory, and each block sums it for itself.  Forward has the phases products,
cell, and for a cell that normalizes c the output; backward has the same ones in reverse.

Columns of the derivatives, for each unit: the slots; the terms; the values of units (see `NormalizedCell`).
"""

from .device import cuda, function, kernel
from .moments import LANES, add_lanes, statistics, statistics_place
from .ptx import read
from .recurrent import begin_derivatives, block_before, state_places
from .team import (
    NORMALIZED_THREADS,
    PARTS,
    ROWS,
    SUMS,
    exchange_here,
    keep_weights,
    multiply,
    place_of,
    rows_before,
    time_of,
    wait_for_team,
    working,
)
from .types import (
    add_cells,
    get,
    layer_norm_of,
    load_drives,
    load_dstate,
    load_saved,
    load_state,
    load_terms,
    number,
    put,
    store_all,
    store_state,
)


def phases_of(cell):
    """Regions of a step."""
    return 2 + cell.normalizes_cell


@function
def tape_place(call, values, direction, row):
    """Where the `values` of each unit of a row begin, of a buffer [D, S, values, H]."""
    return (direction * call.rows + row) * values * call.hidden


@kernel(launch_bounds=(NORMALIZED_THREADS, 1))
def forward(cell, real, call, tape, scratch, table, counters):
    """Fill h, c and what backward needs, from `inputs`, `recurrent` and `bias`; tape, scratch and counters are modified."""
    shared = cuda.shared.array(0, tape.dtype)
    sums = cuda.local.array(SUMS, tape.dtype)
    pre = cuda.local.array(SUMS, tape.dtype)
    direction, team, first, first_unit, lane, part = place_of(call)
    unit, hidden = first_unit + lane, call.hidden
    column = min(unit, hidden - 1)
    inputs, recurrent = cell.input_span, cell.recurrent_span
    phases = 3 if cell.normalizes_cell else 2
    values = call.unit_values + direction * cell.unit_value_count * hidden + unit
    gains = values + cell.normalizes_cell * hidden
    on_chip = exchange_here(call.units, recurrent[1], hidden)
    weights_start = call.recurrent + direction * hidden * recurrent[1] * hidden
    if call.on_chip:
        keep_weights(
            call, shared, on_chip, tape, weights_start, hidden, recurrent[1] * hidden, recurrent[1], hidden, first_unit,
            hidden,
        )  # fmt: skip
        cuda.syncthreads()
    for region in range(call.from_region, call.to_region):
        step, phase = region // phases, region % phases
        time = time_of(call, direction, step)
        rows, before = working(call, table, first, time), rows_before(call, table, time)
        for group in range(0, rows, ROWS):
            count, n = min(ROWS, rows - group), first + group + part
            row = before + n
            mine = group + part < rows and unit < hidden
            place = call.pre + (direction * call.batch + n) * cell.slots * hidden
            if phase == 0:
                source, _ = state_places(call, table, direction, block_before(direction, time), first + group, 0)
                if call.on_chip:
                    multiply(
                        real, call, shared, 0, tape, source, call.directions * hidden, count, hidden, shared, on_chip + lane,
                        recurrent[1] * call.units, recurrent[1], call.units, lane, part, sums,
                    )  # fmt: skip
                else:
                    multiply(
                        real, call, shared, 0, tape, source, call.directions * hidden, count, hidden, tape,
                        weights_start + column, recurrent[1] * hidden, recurrent[1], hidden, lane, part, sums,
                    )  # fmt: skip
                if mine:
                    at = call.inputs + (direction * call.rows + row) * inputs[1] * hidden + unit
                    for i in range(inputs[1]):
                        scratch[place + (inputs[0] + i) * hidden + unit] = scratch[at + i * hidden]
                    for i in range(recurrent[1]):
                        scratch[place + (recurrent[0] + i) * hidden + unit] = sums[i]
            elif phase == 1:
                rows_start = call.pre + (direction * call.batch + first + group) * cell.slots * hidden
                hats = call.normalized + tape_place(call, cell.normalized_values, direction, row) + unit
                for index in range(len(cell.layer_norms)):
                    start, slots, _ = cell.layer_norms[index]
                    statistics(
                        cell, real, call, shared, scratch, rows_start + start * hidden, cell.slots * hidden, hidden, slots,
                        count, index,
                    )  # fmt: skip
                    if mine and unit == 0:
                        found = statistics_place(index) + ROWS + part
                        scale = get(shared, found) * get(shared, found + ROWS)
                        put(scale, tape, call.deviations + (direction * call.rows + row) * cell.deviations + index)
                for slot in range(cell.slots):
                    found = statistics_place(layer_norm_of(cell, slot)) + part
                    if mine:
                        value = get(scratch, place + slot * hidden + unit) * get(shared, found + 2 * ROWS)
                        hat = cell.normalized(value, get(shared, found), get(shared, found + ROWS))
                        put(hat, tape, hats + slot * hidden)
                        bias = get(tape, call.bias + (direction * cell.slots + slot) * hidden + unit)
                        put(get(tape, gains + slot * hidden) * hat + bias, pre, slot)
                if mine:
                    old_h, old_c = state_places(call, table, direction, block_before(direction, time), n, unit)
                    h, c = state_places(call, table, direction, time + 1, n, unit)
                    old = load_state(cell, real, old_h, old_c, tape)
                    drives = call.drives + (row * call.directions + direction) * hidden + unit
                    per_unit = load_drives(cell, real, tape, drives, call.rows * call.directions * hidden)
                    new, kept = cell.forward(load_terms(cell, real, pre, 0, 1), old, per_unit)
                    store_state(cell, new, h, c, tape)
                    if call.keep:
                        store_all(kept, tape, call.saved + tape_place(call, cell.saved, direction, row) + unit, hidden)
                cuda.syncthreads()
            else:
                _, c_start = state_places(call, table, direction, time + 1, first + group, 0)
                statistics(cell, real, call, shared, tape, c_start, call.directions * hidden, 0, 1, count, 0)
                found = statistics_place(0) + part
                mean, scale, factor = get(shared, found), get(shared, found + ROWS), get(shared, found + 2 * ROWS)
                if mine:
                    h, c = state_places(call, table, direction, time + 1, n, unit)
                    hat = cell.normalized(get(tape, c) * factor, mean, scale)
                    hats = call.normalized + tape_place(call, cell.normalized_values, direction, row) + unit
                    put(hat, tape, hats + cell.slots * hidden)
                    if unit == 0:
                        at = call.deviations + (direction * call.rows + row) * cell.deviations + cell.deviations - 1
                        put(scale * factor, tape, at)
                    seen = get(tape, gains + cell.slots * hidden) * hat + get(tape, values)
                    put(cell.output(get(tape, h), seen), tape, h)
                cuda.syncthreads()
        wait_for_team(call, counters, team, region)


@function
def derivative_means(cell, real, call, shared, tape, scratch, dterms, gains, hats, row_strides, slots, rows, index):
    """The means over some slots and all units of ``dhat = d gain`` and of ``dhat hat``, for ROWS rows.

    dterms, gains, hats: where d, the gains and the normalized values begin; row_strides: of d and of hats.  The means go to
    shared memory (is modified): ``(ROWS, 2)`` from `statistics_place` of `index` on.
    """
    threads, place, count = call.units * PARTS, statistics_place(index), number(real, slots * call.hidden)
    for which in range(2):
        for i in range(cuda.threadIdx.x, ROWS * LANES, threads):
            row, lane, total = i // LANES, i % LANES, real
            if row < rows:
                for slot in range(slots):
                    for unit in range(lane, call.hidden, LANES):
                        at = slot * call.hidden + unit
                        value = read(scratch, dterms + row * row_strides[0] + at) * tape[gains + at]
                        if which == 1:
                            value *= tape[hats + row * row_strides[1] + at]
                        total += value
            shared[i] = total
        add_lanes(call, shared)
        for row in range(cuda.threadIdx.x, ROWS, threads):
            put(get(shared, ROWS * LANES + row) / count, shared, place + which * ROWS + row)
        cuda.syncthreads()


@function
def slot_derivative(cell, real, call, shared, tape, scratch, dterm, gain, hat, scale, part, index):
    """dL/d(what one slot normalized) of a unit at a row, from `derivative_means`."""
    dhat = get(scratch, dterm) * get(tape, gain)
    mean = get(shared, statistics_place(index) + part)
    mean_hat = get(shared, statistics_place(index) + ROWS + part)
    return cell.normalized_adjoint(dhat, get(tape, hat), get(tape, scale), mean, mean_hat)


@function
def cell_adjoint(cell, real, call, tape, scratch, table, direction, time, n, row, unit, columns, through_output):
    """The cell's adjoint of one unit at a row, from dh and dc: write the derivatives of the terms and of the state."""
    hidden = call.hidden
    place = call.dpre + (direction * call.rows + row) * columns * hidden + unit
    at = (direction * call.batch + n) * hidden + unit
    old_h, old_c = state_places(call, table, direction, block_before(direction, time), n, unit)
    h, c = state_places(call, table, direction, time + 1, n, unit)
    derivative = load_dstate(cell, real, call.dh + at, call.dc + at, scratch)
    if call.dcells >= 0:
        dcells = get(scratch, call.dcells + (row * call.directions + direction) * hidden + unit)
        derivative = add_cells(cell, derivative, dcells)
    derivative = add_cells(cell, derivative, through_output)
    kept = load_saved(cell, real, tape, call.saved + tape_place(call, cell.saved, direction, row) + unit, hidden)
    drives = call.drives + (row * call.directions + direction) * hidden + unit
    per_unit = load_drives(cell, real, tape, drives, call.rows * call.directions * hidden)
    old, new = load_state(cell, real, old_h, old_c, tape), load_state(cell, real, h, c, tape)
    dterms, dold = cell.adjoint(kept, old, new, derivative, per_unit)
    store_all(dterms, scratch, place + cell.slots * hidden, hidden)
    store_state(cell, dold, call.dh + at, call.dc + at, scratch)


@kernel(launch_bounds=(NORMALIZED_THREADS, 1))
def backward(cell, real, call, tape, scratch, dy, table, counters):
    """Take dh and dc from the last step to the initial state and fill dpre; scratch and counters are modified.

    The weights are transposed: `recurrent` is [D, slots, H, H].
    """
    shared = cuda.shared.array(0, tape.dtype)
    sums = cuda.local.array(SUMS, tape.dtype)
    direction, team, first, first_unit, lane, part = place_of(call)
    unit, hidden = first_unit + lane, call.hidden
    column = min(unit, hidden - 1)
    recurrent, columns = cell.recurrent_span, cell.dpre_count
    phases = 3 if cell.normalizes_cell else 2
    depth, row_stride = recurrent[1] * hidden, columns * hidden
    on_chip = exchange_here(call.units, 1, max(depth, hidden))
    back = call.recurrent + direction * depth * hidden
    values = call.unit_values + direction * cell.unit_value_count * hidden
    gains = values + cell.normalizes_cell * hidden
    gain_column = cell.slots + cell.terms + cell.normalizes_cell
    hat_stride = cell.normalized_values * hidden
    if call.on_chip:
        keep_weights(call, shared, on_chip, tape, back, depth, hidden, 1, 0, first_unit, hidden)
        cuda.syncthreads()
    begin_derivatives(cell, real, call, scratch, direction, first, unit, part, PARTS)
    for region in range(call.from_region, call.to_region):
        step, phase = call.steps - 1 - region // phases, region % phases
        if phase == 0 and region > 0:
            behind = time_of(call, direction, step + 1)
            rows, before = working(call, table, first, behind), rows_before(call, table, behind)
            for group in range(0, rows, ROWS):
                source = call.dpre + (direction * call.rows + before + first + group) * row_stride + recurrent[0] * hidden
                count = min(ROWS, rows - group)
                if call.on_chip:
                    multiply(
                        real, call, shared, 0, scratch, source, row_stride, count, depth, shared, on_chip + lane, call.units,
                        1, 0, lane, part, sums,
                    )  # fmt: skip
                else:
                    multiply(
                        real, call, shared, 0, scratch, source, row_stride, count, depth, tape,
                        back + column, hidden, 1, 0, lane, part, sums,
                    )  # fmt: skip
                if group + part < rows and unit < hidden:
                    scratch[call.dh + (direction * call.batch + first + group + part) * hidden + unit] += sums[0]
        time = time_of(call, direction, max(step, 0))
        rows, before = working(call, table, first, time), rows_before(call, table, time)
        if step < 0:
            rows = 0
        for group in range(0, rows, ROWS):
            count, n = min(ROWS, rows - group), first + group + part
            row = before + n
            mine = group + part < rows and unit < hidden
            first_dpre = call.dpre + (direction * call.rows + before + first + group) * row_stride
            first_hat = call.normalized + tape_place(call, cell.normalized_values, direction, before + first + group)
            dpre = first_dpre + part * row_stride + unit
            hats = first_hat + part * hat_stride + unit
            deviations = call.deviations + (direction * call.rows + row) * cell.deviations
            at = (direction * call.batch + n) * hidden + unit
            if phase == 0:
                if mine:
                    if call.dy >= 0:
                        scratch[call.dh + at] += dy[call.dy + (row * call.directions + direction) * hidden + unit]
                    if cell.normalizes_cell:
                        kept = load_saved(
                            cell, real, tape, call.saved + tape_place(call, cell.saved, direction, row) + unit, hidden
                        )
                        hat = get(tape, hats + cell.slots * hidden)
                        seen = get(tape, gains + cell.slots * hidden + unit) * hat + get(tape, values + unit)
                        do, dc = cell.output_adjoint(kept, seen, get(scratch, call.dh + at))
                        put(do, scratch, call.dh + at)
                        put(dc, scratch, dpre + (cell.slots + cell.terms) * hidden)
                        put(dc * hat, scratch, dpre + (gain_column + cell.slots) * hidden)
                    else:
                        cell_adjoint(
                            cell, real, call, tape, scratch, table, direction, time, n, row, unit, columns, number(real, 0)
                        )
            elif phase == 1 and cell.normalizes_cell:
                strides = (row_stride, hat_stride)
                derivative_means(
                    cell, real, call, shared, tape, scratch, first_dpre + (cell.slots + cell.terms) * hidden,
                    gains + cell.slots * hidden, first_hat + cell.slots * hidden, strides, 1, count, 0,
                )  # fmt: skip
                if mine:
                    dc = slot_derivative(
                        cell, real, call, shared, tape, scratch, dpre + (cell.slots + cell.terms) * hidden,
                        gains + cell.slots * hidden + unit, hats + cell.slots * hidden, deviations + cell.deviations - 1,
                        part, 0,
                    )  # fmt: skip
                    cell_adjoint(cell, real, call, tape, scratch, table, direction, time, n, row, unit, columns, dc)
                cuda.syncthreads()
            else:
                strides = (row_stride, hat_stride)
                for index in range(len(cell.layer_norms)):
                    start, slots, term = cell.layer_norms[index]
                    dterms = (cell.slots + term) * hidden
                    derivative_means(
                        cell, real, call, shared, tape, scratch, first_dpre + dterms, gains + start * hidden,
                        first_hat + start * hidden, strides, slots, count, index,
                    )  # fmt: skip
                    if mine:
                        for slot in range(slots):
                            here, hat = dpre + dterms + slot * hidden, hats + (start + slot) * hidden
                            put(get(scratch, here) * get(tape, hat), scratch, dpre + (gain_column + start + slot) * hidden)
                            put(
                                slot_derivative(
                                    cell, real, call, shared, tape, scratch, here, gains + (start + slot) * hidden + unit,
                                    hat, deviations + index, part, index,
                                ),
                                scratch, dpre + (start + slot) * hidden,
                            )  # fmt: skip
                cuda.syncthreads()
        wait_for_team(call, counters, team, region)
