"""Forward derivatives of one recurrent layer on the CPU: tangents through time, several at once, beside what forward kept.

A tangent is how fast the outputs move as parameters, x and initial state move along given directions.  In a chunk of steps
what follows from the directions of parameters and x is computed ahead (`tangent_rows.add_directions`); each step adds
``R dh``, and takes each unit through its Jacobian, which is made once for all tangents.  A task owns some rows of the
batch, and some of the tangents, through the whole sequence.
"""

from ..engine.choices import joined
from ..engine.inlined import inlined
from .blocks import spread_row, vector_bytes, vectors_for
from .compiled import Task
from .groups import GATED, RECURRENT, group_at
from .jacobian import dot, new_states, row_of_gate, rows_of_step
from .routine_call import record_at
from .rows import block_row, first_held, rows_before, rows_in_segment, task_rows, working
from .simd import lanes, load, load_first, size_of, store, store_first
from .step_products import add_product, add_row_products, chunk_rows, previous_block, time_of
from .tangent_rows import (
    TANGENT,
    add_directions,
    copy_cells,
    copy_state,
    give_outputs,
    project_tangents,
    scratch_rows,
    tangents_of,
)
from .types import (
    by_projection,
    drive_places,
    load_drives,
    load_saved,
    load_slots,
    load_state,
    load_unit_values,
    store_state,
)


@inlined
def load_changes(cell, real, call, weight, pre, vectors, before, v, dh, dc):
    """Tangents of what a vector of units follows from at a step: its pre-activations, values of units and old states.

    weight: which of the parameters' tangents; pre: the row's tangents of a block of units; dh, dc: its states' tangents.
    """
    vector, units = vector_bytes(real), vectors_for(real, call.hidden)
    unit = (before + v) * lanes(real)
    values = call.dunit_values + (weight * cell.unit_value_count * units + before + v) * vector
    state = load_state(cell, real, dh + unit * size_of(real), dc + unit * size_of(real), lanes(real))
    slots = load_slots(cell, real, pre + v * vector, vectors * vector)
    return joined(joined(slots, load_unit_values(cell, real, values, units * vector)), state)


@Task
def tangent_task(cell, number, record, index):
    """Some tangents of one part of the batch through all steps."""
    real, call = number(0), record_at(record, TANGENT)[0]
    direction, part, first_tangent, tangents, which = tangents_of(call, index)
    first, stride, most, _ = task_rows(call, part)
    size, vector, hidden = size_of(real), vector_bytes(real), call.hidden
    units, width = vectors_for(real, hidden), by_projection(cell, hidden, call.width)
    h_row, state_row = call.directions * width * size, call.directions * hidden * size
    state_h, state = direction * width * size + first * h_row, direction * hidden * size + first * state_row
    held = first_held(call, direction)
    saved_row = units * cell.saved * vector
    saved_rows = call.saved + (direction * call.segment_rows + first) * saved_row
    unit_values = call.unit_values + direction * cell.unit_value_count * units * vector
    _, each = scratch_rows(call, direction, part, first_tangent, which)
    row_h, row_c = spread_row(real, vectors_for(real, width)), spread_row(real, units)
    now, made = call.now + each * row_h, call.made + each * row_h
    dcells, doperand = call.dcells + each * row_c, call.doperand + each * row_c
    dmade = by_projection(cell, made, doperand)  # of what the cell's equations call h
    pre = call.pre + each * call.chunk * units * cell.slots * vector
    pre_rows = call.chunk * most * tangents
    blocks, whole = (units + call.per_block - 1) // call.per_block, units // call.per_block
    phases = 2 if cell.gated_span[1] > 0 else 1
    copy_state(real, call, index, call.dh, width, now, row_h, False)
    copy_cells(cell, real, call, index, dcells, False)
    for phase in range(call.steps * phases):
        step = phase // phases
        chunk_start = step // call.chunk * call.chunk
        if step == chunk_start and phase % phases == 0:
            add_directions(real, call, index, step, min(call.chunk, call.steps - step), False)
        time = time_of(call, step, direction)
        rows = working(call, time, first, stride, most)
        if rows == 0:
            continue
        done = chunk_rows(call, direction, part, chunk_start, step - chunk_start) * tangents
        old_row = block_row(call, previous_block(time, direction)) - held
        new_row = block_row(call, time + 1) - held
        step_row = rows_in_segment(call, direction, time)
        h, c = call.h + old_row * h_row + state_h, call.c + old_row * call.c_kept * state_row + state
        h_new, c_new = call.h + new_row * h_row + state_h, call.c + new_row * call.c_kept * state_row + state
        saved = saved_rows + step_row * saved_row
        group, a, a_row = group_at(call, RECURRENT), now, row_h
        if phase % phases == 1:
            group, a, a_row = group_at(call, GATED), doperand, row_c
        if rows * tangents == 1:
            row = cell.slots * call.per_block * vector
            add_row_products(real, call, group, direction, 0, whole, a, pre + done * row, pre_rows * row, step % 2)
        for block in range(blocks):
            # To and fro: the weights that a step used last are still in the cache when the next one begins.
            before = (block if step % 2 == 0 else blocks - 1 - block) * call.per_block
            vectors = min(call.per_block, units - before)
            row = cell.slots * vectors * vector
            target = pre + before * cell.slots * vector * pre_rows + done * row
            if rows * tangents > 1 or vectors < call.per_block:  # else done above
                add_product(
                    real, call, group, direction, before, vectors, a, a_row, size, rows * tangents, target, row, target, row
                )
            for r in range(rows):
                drives = drive_places(cell, call, time, first + r * stride)
                for v in range(vectors):
                    unit = (before + v) * lanes(real)
                    at = r * stride * state_row + unit * size
                    place = saved + r * stride * saved_row + (before * cell.saved + v) * vector
                    kept = load_saved(cell, real, place, vectors * vector)
                    old = load_state(cell, real, h + at, c + at, hidden - unit)
                    per_unit = joined(
                        load_unit_values(cell, real, unit_values + (before + v) * vector, units * vector),
                        load_drives(cell, real, drives, (direction * hidden + unit) * size, hidden - unit),
                    )
                    if phase % phases < phases - 1:
                        row_gate = row_of_gate(cell, real, kept, old, per_unit)
                        for m in range(tangents):
                            i, weight = r * tangents + m, (first_tangent + m) * call.directions + direction
                            changes = load_changes(
                                cell, real, call, weight, target + i * row, vectors, before, v, now + i * row_h,
                                dcells + i * row_c,
                            )  # fmt: skip
                            store(dot(row_gate, changes), doperand + i * row_c + unit * size)
                    else:
                        new = load_state(cell, real, h_new + at, c_new + at, hidden - unit)
                        rows_new = rows_of_step(cell, real, kept, old, new, per_unit)
                        for m in range(tangents):
                            i, weight = r * tangents + m, (first_tangent + m) * call.directions + direction
                            changes = load_changes(
                                cell, real, call, weight, target + i * row, vectors, before, v, now + i * row_h,
                                dcells + i * row_c,
                            )  # fmt: skip
                            at_unit = i * row_c + unit * size  # the rows of h are as wide, unless they are projected
                            store_state(
                                cell, new_states(cell, rows_new, changes), dmade + at_unit, dcells + at_unit, lanes(real)
                            )
        if phase % phases == phases - 1:
            operand = call.operand + step_row * call.operand_kept * state_row + state
            project_tangents(cell, real, call, index, operand, rows, doperand, made)
            give_outputs(real, call, index, time, rows, now, made)
    copy_state(real, call, index, call.dh, width, now, row_h, True)
    copy_cells(cell, real, call, index, dcells, True)


@Task
def dense_task(cell, number, record, index):
    """Some tangents of a layer without recurrence, for one part of the batch; the slope follows from the output."""
    real, call = number(0), record_at(record, TANGENT)[0]
    direction, part, first_tangent, tangents, which = tangents_of(call, index)
    first, stride, most, _ = task_rows(call, part)
    size, vector, hidden = size_of(real), vector_bytes(real), call.hidden
    units, total = vectors_for(real, hidden), rows_before(call, call.total)
    _, each = scratch_rows(call, direction, part, first_tangent, which)
    pre = call.pre + each * call.chunk * units * vector
    for start in range(0, call.steps, call.chunk):
        count = min(call.chunk, call.steps - start)
        add_directions(real, call, index, start, count, False)
        for before in range(0, units, call.per_block):
            vectors = min(call.per_block, units - before)
            source = pre + before * vector * call.chunk * most * tangents
            for step in range(start, start + count):
                done, time = chunk_rows(call, 0, part, start, step - start), time_of(call, step, 0)
                for r in range(working(call, time, first, stride, most)):
                    y = call.h + (block_row(call, time + 1) + first + r * stride) * hidden * size
                    output = rows_before(call, time) + first + r * stride
                    for v in range(vectors):
                        unit = (before + v) * lanes(real)
                        slope = cell.activation.slope(load_first(real, y + unit * size, hidden - unit))
                        for m in range(tangents):
                            value = load(real, source + (((done + r) * tangents + m) * vectors + v) * vector)
                            dy = call.dy + ((first_tangent + m) * total + output) * hidden * size
                            store_first(value * slope, dy + unit * size, hidden - unit)
