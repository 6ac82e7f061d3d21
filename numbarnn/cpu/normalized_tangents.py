"""Forward derivatives of one recurrent layer of cells that normalize: what `tangents` does, as `normalized` has its rows.

The Jacobian of a normalization is symmetric, so that `NormalizedCell.normalized_adjoint` takes tangents forward too.
"""

from ..engine.choices import joined
from ..engine.inlined import inlined
from .blocks import spread_row, vector_bytes, vectors_for
from .compiled import Task
from .jacobian import new_states, rows_of_step
from .normalized import load_terms
from .routine_call import record_at
from .rows import block_row, first_held, rows_in_segment, task_rows, working
from .simd import fma, get, lane_sum, lanes, load, size_of, splat, store
from .step_products import add_product, add_row_products, chunk_rows, previous_block, time_of
from .tangent_rows import TANGENT, add_directions, copy_cells, copy_state, give_outputs, scratch_rows, tangents_of
from .types import by_cell, drive_places, load_drives, load_saved, load_state, store_state


@inlined
def normalize_tangents(cell, real, call, run, place, block, hats, deviation):
    """Overwrite the tangents of the sums of a row with the tangents of the normalized numbers.

    run: (first slot, slots); place, block: address of the row's tangents of the first slot of the run, and bytes to the
    next block; hats: of the first slot's normalized numbers; deviation: address of what deviations were multiplied with.
    """
    first, slots = run
    vector, units, hidden = vector_bytes(real), vectors_for(real, call.hidden), call.hidden
    scale = splat(real, get(real, deviation))
    total, total_hat = splat(real, 0), splat(real, 0)
    for slot in range(slots):
        of_slot, of_slot_hat = splat(real, 0), splat(real, 0)
        for b in range(units):
            d = load(real, place + b * block + slot * vector)
            of_slot = of_slot + d
            of_slot_hat = fma(d, load(real, hats + (b * cell.normalized_values + first + slot) * vector), of_slot_hat)
        total, total_hat = total + of_slot, total_hat + of_slot_hat
    mean, mean_hat = lane_sum(total) / (slots * hidden), lane_sum(total_hat) / (slots * hidden)
    for b in range(units):
        for slot in range(slots):
            at = place + b * block + slot * vector
            hat = load(real, hats + (b * cell.normalized_values + first + slot) * vector)
            store(cell.normalized_adjoint(load(real, at), hat, scale, mean, mean_hat), at)


@inlined
def seen_tangent(real, dhat, hat, gain, dgain):
    """The tangent of ``gain hat``, from addresses of a gain and of its tangent."""
    return fma(load(real, gain), dhat, load(real, dgain) * hat)


@inlined
def terms_tangents(cell, real, call, place, block, weight, gains, dgains, hats, deviations):
    """Overwrite the tangents of the sums of a row with the tangents of its terms."""
    vector, units = vector_bytes(real), vectors_for(real, call.hidden)
    dbias = call.dbias + weight * units * cell.slots * vector
    for index, run in enumerate(cell.layer_norms):
        first, slots, _ = run
        at, deviation = place + first * vector, deviations + index * size_of(real)
        normalize_tangents(cell, real, call, (first, slots), at, block, hats, deviation)
    for b in range(units):
        for slot in range(cell.slots):
            at, of_gain = place + b * block + slot * vector, (slot * units + b) * vector
            hat = load(real, hats + (b * cell.normalized_values + slot) * vector)
            value = seen_tangent(real, load(real, at), hat, gains + of_gain, dgains + of_gain)
            if call.learned:
                value = value + load(real, dbias + (b * cell.slots + slot) * vector)
            store(value, at)


@by_cell
def finish_tangents(cell):
    """Make the tangents of h' from the new state's tangents, where the output sees the normalized cell.

    made, dc: the row's tangents of the first of the new states (is modified) and of c'; seen: room for a row.
    """
    if not cell.normalizes_cell:
        return lambda cell, real, call, made, dc, seen, saved, values, dvalues, hats, deviations: None

    def finish(cell, real, call, made, dc, seen, saved, values, dvalues, hats, deviations):
        vector, units = vector_bytes(real), vectors_for(real, call.hidden)
        for b in range(units):
            store(load(real, dc + b * vector), seen + b * vector)
        deviation, gain = deviations + (cell.deviations - 1) * size_of(real), (1 + cell.slots) * units * vector
        normalize_tangents(cell, real, call, (cell.slots, 1), seen, vector, hats, deviation)
        for b in range(units):
            at = b * vector
            hat = load(real, hats + (b * cell.normalized_values + cell.slots) * vector)
            normal = fma(load(real, values + gain + at), hat, load(real, values + at))
            moved = seen_tangent(real, load(real, seen + at), hat, values + gain + at, dvalues + gain + at)
            kept = load_saved(cell, real, saved + b * cell.saved * vector, vector)
            of_first, of_seen = cell.output_adjoint(kept, normal, splat(real, 1))
            moved = moved + load(real, dvalues + at)
            store(fma(of_first, load(real, made + at), of_seen * moved), made + at)

    return finish


@Task
def normalized_task(cell, number, record, index):
    """Some tangents of one part of the batch through all steps."""
    real, call = number(0), record_at(record, TANGENT)[0]
    direction, part, first_tangent, tangents, which = tangents_of(call, index)
    first, stride, most, _ = task_rows(call, part)
    size, vector, hidden = size_of(real), vector_bytes(real), call.hidden
    units = vectors_for(real, hidden)
    state_row = call.directions * hidden * size
    state = direction * hidden * size + first * state_row
    held = first_held(call, direction)
    rows_of_tape = direction * call.segment_rows + first
    saved_row, hat_row, deviation_row = (
        units * cell.saved * vector, units * cell.normalized_values * vector, cell.deviations * size,
    )  # fmt: skip
    of_units = cell.unit_value_count * units * vector
    unit_values = call.unit_values + direction * of_units
    to_gains = cell.normalizes_cell * units * vector
    _, each = scratch_rows(call, direction, part, first_tangent, which)
    row_h = spread_row(real, units)
    now, made, dcells = call.now + each * row_h, call.made + each * row_h, call.dcells + each * row_h
    block = cell.slots * vector
    row = units * block
    pre = call.pre + each * call.chunk * row
    copy_state(real, call, index, call.dh, hidden, now, row_h, False)
    copy_cells(cell, real, call, index, dcells, False)
    for step in range(call.steps):
        chunk_start = step // call.chunk * call.chunk
        if step == chunk_start:
            add_directions(real, call, index, step, min(call.chunk, call.steps - step), True)
        time = time_of(call, step, direction)
        rows = working(call, time, first, stride, most)
        if rows == 0:
            continue
        old_row = block_row(call, previous_block(time, direction)) - held
        new_row = block_row(call, time + 1) - held
        tape_row = rows_of_tape + rows_in_segment(call, direction, time)
        h, c = call.h + old_row * state_row + state, call.c + old_row * call.c_kept * state_row + state
        h_new, c_new = call.h + new_row * state_row + state, call.c + new_row * call.c_kept * state_row + state
        target = pre + chunk_rows(call, direction, part, chunk_start, step - chunk_start) * tangents * row
        if rows * tangents == 1:
            add_row_products(real, call, call.recurrent, direction, 0, units, now, target, block, step % 2)
        else:
            for b in range(units):
                add_product(
                    real, call, call.recurrent, direction, b, 1, now, row_h, size, rows * tangents, target + b * block, row,
                    target + b * block, row,
                )  # fmt: skip
        for r in range(rows):
            drives = drive_places(cell, call, time, first + r * stride)
            of_tape = tape_row + r * stride
            hats, deviations = call.normalized + of_tape * hat_row, call.deviations + of_tape * deviation_row
            saved, at = call.saved + of_tape * saved_row, r * stride * state_row
            for m in range(tangents):
                weight = (first_tangent + m) * call.directions + direction
                dvalues, place = call.dunit_values + weight * of_units, target + (r * tangents + m) * row
                terms_tangents(
                    cell, real, call, place, block, weight, unit_values + to_gains, dvalues + to_gains, hats, deviations
                )
            for b in range(units):
                unit = b * lanes(real)
                here = at + unit * size
                kept = load_saved(cell, real, saved + b * cell.saved * vector, vector)
                old = load_state(cell, real, h + here, c + here, hidden - unit)
                new = load_state(cell, real, h_new + here, c_new + here, hidden - unit)
                per_unit = load_drives(cell, real, drives, (direction * hidden + unit) * size, hidden - unit)
                rows_new = rows_of_step(cell, real, kept, old, new, per_unit)
                for m in range(tangents):
                    i, here = r * tangents + m, (r * tangents + m) * row_h + b * vector
                    terms = load_terms(cell, real, target + i * row + b * block, vector)
                    changes = joined(terms, load_state(cell, real, now + here, dcells + here, lanes(real)))
                    store_state(cell, new_states(cell, rows_new, changes), made + here, dcells + here, lanes(real))
            for m in range(tangents):
                i, weight = r * tangents + m, (first_tangent + m) * call.directions + direction
                finish_tangents(
                    cell, real, call, made + i * row_h, dcells + i * row_h, target + i * row, saved, unit_values,
                    call.dunit_values + weight * of_units, hats, deviations,
                )  # fmt: skip
        give_outputs(real, call, index, time, rows, now, made)
    copy_state(real, call, index, call.dh, hidden, now, row_h, True)
    copy_cells(cell, real, call, index, dcells, True)
