"""One recurrent layer through time on the CPU, both directions at once: forward and backpropagation.

Work is split in one of two ways.  A task may own some rows of the batch, in one direction, through the whole sequence:
no thread waits for another.  Where rows grow fewer with time (`rows.working`), it goes on with those that are left.
Or, where a step's weights are many and the rows few, a task owns some hidden units, and every step is a parallel region
of its own: each thread reads only its part of the weights, from its own cache.

The input's part of the pre-activations is computed for a chunk of steps at a time; each step adds the state's part,
block of units by block, and applies the cell to the block while it is in the L1 cache.  Backward goes through the chunks
from the last to the first: tasks take the derivatives back through time, then tasks over rows of the result sum the
weight gradients (`weights.gradient_task`).
"""

from ..engine.choices import joined
from ..engine.inlined import inlined
from .blocks import share, spread_row, vector_bytes, vectors_for
from .compiled import Task
from .groups import GATED, RECURRENT, group_at
from .product import MAX_VECTORS
from .projection import project, unproject
from .records import BACKWARD, FORWARD
from .routine_call import record_at
from .rows import (
    block_row,
    first_held,
    going_on,
    rows_before,
    rows_in_segment,
    starts_at_zero,
    task_rows,
    working,
)
from .simd import lanes, load, load_first, size_of, store_first
from .step_products import (
    add_input,
    add_product,
    add_row_products,
    add_sparse_products,
    back_through,
    chunk_rows,
    gather_outputs,
    part_of,
    previous_block,
    time_of,
)
from .types import (
    add_cells,
    add_output,
    by_projection,
    drive_places,
    load_dpre,
    load_drives,
    load_dstate,
    load_saved,
    load_slots,
    load_state,
    load_unit_values,
    store_all,
    store_state,
)


@inlined
def split_units(real, call, granule, split):
    """(first, end), in vectors, of the hidden units of one split: whole granules of vectors."""
    units = vectors_for(real, call.hidden)
    first, count = share((units + granule - 1) // granule, call.splits, split)
    return first * granule, min(units, (first + count) * granule)


@Task
def forward_task(cell, number, record, index):
    """One part of the batch through all steps; or, where units are split, some units through one half or whole step."""
    real, call = number(0), record_at(record, FORWARD)[0]
    direction, part, split, region = part_of(call, index)
    first, stride, most, rows_of_others = task_rows(call, part)
    from_unit, to_unit = split_units(real, call, call.per_block, split)
    size, vector, hidden = size_of(real), vector_bytes(real), call.hidden
    units, width = vectors_for(real, hidden), by_projection(cell, hidden, call.width)
    h_row, state_row = call.directions * width * size, call.directions * hidden * size
    state_h, state = direction * width * size + first * h_row, direction * hidden * size + first * state_row
    held = first_held(call, direction)
    saved_row = units * cell.saved * vector
    saved_rows = call.saved + (direction * call.segment_rows + first) * saved_row
    unit_values = call.unit_values + direction * cell.unit_value_count * units * vector
    blocks = (to_unit - from_unit + call.per_block - 1) // call.per_block
    whole = (to_unit - from_unit) // call.per_block
    before_task = (direction * call.batch + rows_of_others) * call.chunk
    inputs = call.inputs + (before_task * call.splits + split * call.chunk * most) * call.channels * size
    pre = call.pre + before_task * units * cell.slots * vector
    pre_rows = call.chunk * most
    phases = 2 if cell.gated_span[1] > 0 else 1
    skips = starts_at_zero(call) and call.wrong == 0  # 0 times what is not finite is NaN
    from_phase, to_phase = 0, call.steps * phases
    if call.splits > 1:
        from_phase, to_phase = region, region + 1
    for phase in range(from_phase, to_phase):
        step = phase // phases
        odd = (call.start + step) % 2
        chunk_start = step // call.chunk * call.chunk
        if step == chunk_start and phase % phases == 0:
            count = min(call.chunk, call.steps - step)
            add_input(real, call, direction, part, step, count, from_unit, to_unit, inputs, pre)
        time = time_of(call, step, direction)
        rows = working(call, time, first, stride, most)
        if rows == 0:
            continue
        done = chunk_rows(call, direction, part, chunk_start, step - chunk_start)
        old_row = block_row(call, previous_block(time, direction)) - held
        new_row = block_row(call, time + 1) - held
        step_row = rows_in_segment(call, direction, time)
        h, c = call.h + old_row * h_row + state_h, call.c + old_row * call.c_kept * state_row + state
        h_new, c_new = call.h + new_row * h_row + state_h, call.c + new_row * call.c_kept * state_row + state
        operand = call.operand + step_row * call.operand_kept * state_row + state
        saved = saved_rows + step_row * saved_row
        group, a, a_row, factors = group_at(call, RECURRENT), h, h_row, rows
        if phase % phases == 1:
            group, a, a_row = group_at(call, GATED), operand, state_row
        elif skips:
            factors = going_on(call, direction, time, first, stride, most)
        if factors == 1:
            row = cell.slots * call.per_block * vector
            target = pre + from_unit * cell.slots * vector * pre_rows + done * row
            if group.entries:
                add_sparse_products(
                    real, call, group, direction, from_unit, call.per_block, whole, a, target, pre_rows * row, odd
                )  # fmt: skip
            else:
                add_row_products(real, call, group, direction, from_unit, whole, a, target, pre_rows * row, odd)
        for index in range(blocks):
            # To and fro: the weights that a step used last are still in the cache when the next one begins.
            before = from_unit + (index if odd == 0 else blocks - 1 - index) * call.per_block
            vectors = min(call.per_block, units - before)
            row = cell.slots * vectors * vector
            target = pre + before * cell.slots * vector * pre_rows + done * row
            if factors == 1 and vectors < call.per_block and group.entries:
                add_sparse_products(real, call, group, direction, before, vectors, 1, a, target, 0, 0)
            elif factors > 1 or vectors < call.per_block:  # else done above
                add_product(
                    real, call, group, direction, before, vectors, a, stride * a_row, size, factors, target, row, target, row
                )
            for r in range(rows):
                drives = drive_places(cell, call, time, first + r * stride)
                for v in range(vectors):
                    unit = (before + v) * lanes(real)
                    at = r * stride * state_row + unit * size
                    place = target + r * row + v * vector
                    old = load_state(cell, real, h + at, c + at, hidden - unit)
                    values = load_slots(cell, real, place, vectors * vector)
                    per_unit = joined(
                        load_unit_values(cell, real, unit_values + (before + v) * vector, units * vector),
                        load_drives(cell, real, drives, (direction * hidden + unit) * size, hidden - unit),
                    )
                    if phase % phases < phases - 1:
                        values, gated = cell.gate(values, old, per_unit)
                        store_all(values, place, vectors * vector)
                        store_first(gated, operand + at, hidden - unit)
                    else:
                        new, kept = cell.forward(values, old, per_unit)
                        store_state(cell, new, by_projection(cell, h_new, operand) + at, c_new + at, hidden - unit)
                        if call.keep:
                            place = saved + r * stride * saved_row + (before * cell.saved + v) * vector
                            store_all(kept, place, vectors * vector)
        project(cell, real, call, direction, part, operand, rows, h_new)


@Task
def backward_task(cell, number, record, index):
    """Derivatives of a chunk of steps, last step first, for one part of the batch.

    Where units are split, only for some units, in one region: a step's own derivatives, after those that come back to
    these units from the step behind it; or a step's gate.
    """
    real, call = number(0), record_at(record, BACKWARD)[0]
    direction, part, split, region = part_of(call, index)
    start, count = call.chunk_start, call.chunk_steps
    first, stride, most, _ = task_rows(call, part)
    from_unit, to_unit = split_units(real, call, MAX_VECTORS, split)
    size, vector, hidden = size_of(real), vector_bytes(real), call.hidden
    units, width = vectors_for(real, hidden), by_projection(cell, hidden, call.width)
    h_row, state_row = call.directions * width * size, call.directions * hidden * size
    state_h, state = direction * width * size + first * h_row, direction * hidden * size + first * state_row
    held = first_held(call, direction)
    saved_row = units * cell.saved * vector
    saved_rows = call.saved + (direction * call.segment_rows + first) * saved_row
    unit_values = call.unit_values + direction * cell.unit_value_count * units * vector
    padded_row = spread_row(real, units)
    padded = (direction * call.batch + first) * padded_row
    dh = call.dh + (direction * call.batch + first) * spread_row(real, vectors_for(real, width))
    dc, doperand = call.dc + padded, call.doperand + padded
    dmade = by_projection(cell, dh, doperand)  # of what the cell's equations call h
    dpre_all = call.dpre + direction * call.chunk_rows * units * call.slots * vector
    from_channel = from_unit * lanes(real)
    channels = min(hidden, to_unit * lanes(real)) - from_channel
    outputs = call.outputs + direction * call.chunk_rows * width * size
    cell_outputs = call.cell_outputs + direction * call.chunk_rows * hidden * size
    earliest = min(time_of(call, start, direction), time_of(call, start + count - 1, direction))
    phases = 2 if cell.gated_span[1] > 0 else 1
    regions = count * phases + 1
    from_region, to_region = 0, regions
    if call.splits > 1:
        from_region, to_region = region, region + 1
    if from_region == 0 and call.dy.address:
        wanted = by_projection(cell, channels, width)
        gather_outputs(real, call, call.dy, width, direction, earliest, count, part, from_channel, wanted, outputs)
    if from_region == 0 and call.dcells.address:
        gather_outputs(
            real, call, call.dcells, hidden, direction, earliest, count, part, from_channel, channels, cell_outputs
        )
    for phase in range(from_region, to_region):
        step = start + count - 1 - phase // phases
        odd = (call.start + step) % 2
        if phase % phases == 0 and phase > 0:
            behind = time_of(call, step + 1, direction)
            rows = working(call, behind, first, stride, most)
            if call.discards_initial:
                rows = going_on(call, direction, behind, first, stride, most)
            position = rows_before(call, behind) - rows_before(call, earliest) + call.earlier_rows + first
            to_vector = by_projection(cell, to_unit, vectors_for(real, width))
            back_through(
                real, call, call.recurrent, by_projection(cell, 0, call.zeros), direction, dpre_all, position, rows, stride,
                dh, from_unit, to_vector, odd,
            )  # fmt: skip
        if step < start:
            return
        time = time_of(call, step, direction)
        rows = working(call, time, first, stride, most)
        position = rows_before(call, time) - rows_before(call, earliest) + call.earlier_rows + first
        old_row = block_row(call, previous_block(time, direction)) - held
        new_row = block_row(call, time + 1) - held
        h, c = call.h + old_row * h_row + state_h, call.c + old_row * call.c_kept * state_row + state
        h_new, c_new = call.h + new_row * h_row + state_h, call.c + new_row * call.c_kept * state_row + state
        saved = saved_rows + rows_in_segment(call, direction, time) * saved_row
        if phase % phases == 1:
            back_through(
                real, call, call.gated, call.zeros, direction, dpre_all, position, rows, stride, doperand, from_unit,
                to_unit, odd,
            )  # fmt: skip
        unproject(cell, real, call, direction, position, rows, stride, dh, outputs, doperand, odd)
        for r in range(rows):
            drives = drive_places(cell, call, time, first + r * stride)
            # All of a row, block by block: what was kept of it lies in one piece, which the processor reads ahead.
            for before in range(from_unit, to_unit, call.per_block):
                vectors = min(call.per_block, units - before)
                row = call.slots * vectors * vector
                target = dpre_all + before * call.slots * vector * call.chunk_rows + position * row
                for v in range(vectors):
                    unit = (before + v) * lanes(real)
                    at, at_padded = r * stride * state_row + unit * size, r * stride * padded_row + unit * size
                    place = saved + r * stride * saved_row + (before * cell.saved + v) * vector
                    kept = load_saved(cell, real, place, vectors * vector)
                    old = load_state(cell, real, h + at, c + at, hidden - unit)
                    derivative = load_dstate(cell, real, dmade + at_padded, dc + at_padded, lanes(real))
                    per_unit = joined(
                        load_unit_values(cell, real, unit_values + (before + v) * vector, units * vector),
                        load_drives(cell, real, drives, (direction * hidden + unit) * size, hidden - unit),
                    )
                    place = target + r * stride * row + v * vector
                    if phase % phases == 0:
                        dy_at = (position + r * stride) * hidden * size + unit * size
                        if call.dy.address:
                            derivative = add_output(cell, real, derivative, outputs + dy_at, hidden - unit)
                        if call.dcells.address:
                            derivative = add_cells(cell, derivative, load_first(real, cell_outputs + dy_at, hidden - unit))
                        new = load_state(cell, real, h_new + at, c_new + at, hidden - unit)
                        dpre, dold = cell.adjoint(kept, old, new, derivative, per_unit)
                    else:
                        dpre = load_dpre(cell, real, place, vectors * vector)
                        doperand_here = load(real, doperand + at_padded)
                        dpre, dold = cell.gate_adjoint(kept, old, doperand_here, dpre, derivative, per_unit)
                    store_all(dpre, place, vectors * vector)
                    store_state(cell, dold, dmade + at_padded, dc + at_padded, lanes(real))
