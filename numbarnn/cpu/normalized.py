"""One recurrent layer of cells that normalize, through time on the CPU: forward and backpropagation.

It does what `recurrent` does, with the same records, for cells that are a `NormalizedCell`.  A mean is over all units of a
row: so a step of a task is first the products of all blocks, then row by row the sums over the units, and only then
the cell.  Only the batch is split.  W x and R h are summed in slots of their own, more than fit in a panel of the product:
a block is one vector of units.  Forward's pre-activations are in rows, not in blocks: ``[rows, blocks, (slot, unit)]``.

A row's sums over the units have one order: each lane of each slot by itself, from the first block to the last; then the
slots of a run; then the lanes.  What lies beyond the units in the last vector is no part of them.

Columns of the derivatives, for each unit: the slots; the terms; the values of units (see `NormalizedCell`).
"""

from ..cells.normalized import SHRINK_DOUBLE, SHRINK_SINGLE
from ..engine.choices import sum_terms
from ..engine.inlined import inlined
from .blocks import clear, spread_row, vector_bytes, vectors_for
from .compiled import Task
from .records import BACKWARD, FORWARD
from .routine_call import record_at
from .rows import block_row, first_held, going_on, rows_before, rows_in_segment, starts_at_zero, task_rows, working
from .simd import (
    first_lane,
    fma,
    get,
    keep_first,
    lane_sum,
    lanes,
    load,
    load_first,
    size_of,
    splat,
    store,
    store_first,
)
from .step_products import (
    add_product,
    add_row_products,
    back_through,
    chunk_rows,
    gather_inputs,
    gather_outputs,
    part_of,
    previous_block,
    time_of,
)
from .types import (
    add_cells,
    by_cell,
    drive_places,
    load_drives,
    load_dstate,
    load_saved,
    load_slots,
    load_state,
    store_all,
    store_state,
)


@inlined
def load_terms(cell, real, address, stride):
    """The pre-activations of the cell, from the slots that are their terms, `stride` bytes apart."""
    return sum_terms(cell, load_slots(cell, real, address, stride))


@inlined
def row_moments(real, place, block, slots, hidden, factor):
    """(mean, variance), each in every lane, of consecutive slots of a row, all numbers multiplied with a factor.

    place, block: address of the first vector, and the bytes from one block of units to the next; slots: their number.
    """
    vector, units, count = vector_bytes(real), vectors_for(real, hidden), slots * hidden
    total = splat(real, 0)
    for slot in range(slots):
        of_slot = splat(real, 0)
        for b in range(units):
            of_slot = of_slot + load_first(real, place + slot * vector + b * block, hidden - b * lanes(real)) * factor
        total = total + of_slot
    mean = lane_sum(total) / count
    total = splat(real, 0)
    for slot in range(slots):
        of_slot = splat(real, 0)
        for b in range(units):
            valid = hidden - b * lanes(real)
            deviation = keep_first(load_first(real, place + slot * vector + b * block, valid) * factor - mean, valid)
            of_slot = fma(deviation, deviation, of_slot)
        total = total + of_slot
    return mean, lane_sum(total) / count


@inlined
def row_statistics(cell, real, place, block, slots, hidden):
    """(mean, inverse deviation, factor), each in every lane, of consecutive slots of a row multiplied with the factor.

    It is 1, or a power of two that makes numbers small whose squares would overflow.
    """
    factor = splat(real, 1)
    mean, variance = row_moments(real, place, block, slots, hidden, factor)
    first = first_lane(variance)
    if first - first != 0:  # infinite, or NaN
        factor = splat(real, SHRINK_SINGLE if size_of(real) == 4 else SHRINK_DOUBLE)
        mean, variance = row_moments(real, place, block, slots, hidden, factor)
    return mean, cell.inverse_deviation(variance, factor), factor


@inlined
def normalize_slots(cell, real, call, place, block, bias, gains, hats, deviations):
    """Put ``LN(a; gain, bias)`` in the place of the sums a of a row; of the tape, `hats` and `deviations` are modified.

    place, block: the row's first vector, and the bytes to the next block; bias: of all slots, in blocks; gains: of one
    slot after the other.
    """
    vector, units, hidden = vector_bytes(real), vectors_for(real, call.hidden), call.hidden
    for index, run in enumerate(cell.layer_norms):
        first, slots, _ = run
        mean, scale, factor = row_statistics(cell, real, place + first * vector, block, slots, hidden)
        if call.keep:
            store_first(scale * factor, deviations + index * size_of(real), 1)
        for b in range(units):
            for slot in range(first, first + slots):
                at = place + b * block + slot * vector
                hat = keep_first(cell.normalized(load(real, at) * factor, mean, scale), hidden - b * lanes(real))
                gain = load(real, gains + (slot * units + b) * vector)
                store(fma(gain, hat, load(real, bias + (b * cell.slots + slot) * vector)), at)
                if call.keep:
                    store(hat, hats + (b * cell.normalized_values + slot) * vector)


@by_cell
def finish_outputs(cell):
    """Make h' of what `forward` left in a row of h, where the output sees the normalized cell; h is modified."""
    if not cell.normalizes_cell:
        return lambda cell, real, call, h, c, unit_values, hats, deviations: None

    def finish(cell, real, call, h, c, unit_values, hats, deviations):
        vector, units, hidden = vector_bytes(real), vectors_for(real, call.hidden), call.hidden
        gains = unit_values + (1 + cell.slots) * units * vector
        mean, scale, factor = row_statistics(cell, real, c, vector, 1, hidden)
        if call.keep:
            store_first(scale * factor, deviations + (cell.deviations - 1) * size_of(real), 1)
        for b in range(units):
            at, valid = b * vector, hidden - b * lanes(real)
            hat = keep_first(cell.normalized(load_first(real, c + at, valid) * factor, mean, scale), valid)
            if call.keep:
                store(hat, hats + (b * cell.normalized_values + cell.slots) * vector)
            seen = fma(load(real, gains + at), hat, load(real, unit_values + at))
            store_first(cell.output(load_first(real, h + at, valid), seen), h + at, valid)

    return finish


@inlined
def add_inputs(real, call, direction, part, start, count, inputs, pre):
    """W x in the slots of the input, zero in the others, for a task's rows of `count` steps."""
    vector, units = vector_bytes(real), vectors_for(real, call.hidden)
    rows, block = chunk_rows(call, direction, part, start, count), call.slots * vector
    a, a_row, a_depth = gather_inputs(real, call, direction, part, start, count, inputs)
    clear(real, pre, rows * units * call.slots)
    for b in range(units):
        target, row = pre + b * block, units * block
        add_product(real, call, call.input, direction, b, 1, a, a_row, a_depth, rows, target, row, target, row)


@Task
def forward_task(cell, number, record, index):
    """One part of the batch through all steps."""
    real, call = number(0), record_at(record, FORWARD)[0]
    direction, part, _, _ = part_of(call, index)
    first, stride, most, rows_of_others = task_rows(call, part)
    size, vector, hidden = size_of(real), vector_bytes(real), call.hidden
    units = vectors_for(real, hidden)
    state_row = call.directions * hidden * size
    state = direction * hidden * size + first * state_row
    held = first_held(call, direction)
    rows_of_tape = direction * call.segment_rows + first
    saved_row, hat_row, deviation_row = (
        units * cell.saved * vector, units * cell.normalized_values * vector, cell.deviations * size,
    )  # fmt: skip
    unit_values = call.unit_values + direction * cell.unit_value_count * units * vector
    gains = unit_values + cell.normalizes_cell * units * vector
    bias = call.bias + direction * units * cell.slots * vector
    before_task = (direction * call.batch + rows_of_others) * call.chunk
    inputs = call.inputs + before_task * call.channels * size
    pre = call.pre + before_task * units * cell.slots * vector
    block = cell.slots * vector
    row = units * block
    skips = starts_at_zero(call) and call.wrong == 0  # 0 times what is not finite is NaN
    for step in range(call.steps):
        chunk_start = step // call.chunk * call.chunk
        if step == chunk_start:
            count = min(call.chunk, call.steps - step)
            add_inputs(real, call, direction, part, step, count, inputs, pre)
        time = time_of(call, step, direction)
        rows = working(call, time, first, stride, most)
        if rows == 0:
            continue
        old_row = block_row(call, previous_block(time, direction)) - held
        new_row = block_row(call, time + 1) - held
        tape_row = rows_of_tape + rows_in_segment(call, direction, time)
        h, c = call.h + old_row * state_row + state, call.c + old_row * call.c_kept * state_row + state
        h_new, c_new = call.h + new_row * state_row + state, call.c + new_row * call.c_kept * state_row + state
        target = pre + chunk_rows(call, direction, part, chunk_start, step - chunk_start) * row
        factors = going_on(call, direction, time, first, stride, most) if skips else rows
        if factors == 1:
            add_row_products(real, call, call.recurrent, direction, 0, units, h, target, block, step % 2)
        else:
            for index in range(units):
                # To and fro: the weights that a step used last are still in the cache when the next one begins.
                b = index if step % 2 == 0 else units - 1 - index
                add_product(
                    real, call, call.recurrent, direction, b, 1, h, stride * state_row, size, factors,
                    target + b * block, row, target + b * block, row,
                )  # fmt: skip
        for r in range(rows):
            drives = drive_places(cell, call, time, first + r * stride)
            of_tape = tape_row + r * stride
            hats, deviations = call.normalized + of_tape * hat_row, call.deviations + of_tape * deviation_row
            normalize_slots(cell, real, call, target + r * row, block, bias, gains, hats, deviations)
            at = r * stride * state_row
            for b in range(units):
                unit = b * lanes(real)
                here = at + unit * size
                pre_values = load_terms(cell, real, target + r * row + b * block, vector)
                old = load_state(cell, real, h + here, c + here, hidden - unit)
                per_unit = load_drives(cell, real, drives, (direction * hidden + unit) * size, hidden - unit)
                new, kept = cell.forward(pre_values, old, per_unit)
                store_state(cell, new, h_new + here, c_new + here, hidden - unit)
                if call.keep:
                    store_all(kept, call.saved + of_tape * saved_row + b * cell.saved * vector, vector)
            finish_outputs(cell, real, call, h_new + at, c_new + at, unit_values, hats, deviations)


@inlined
def normalize_adjoint(cell, real, call, run, index, place, block, gains, hats, deviations):
    """Write the derivatives of the sums that a run normalized, and of its gains, from the derivatives of a row's terms.

    run: (first, slots, term); index: which of the row's deviations; place, block: the row's first vector of derivatives
    (is modified), and the bytes to the next block; gains, hats, deviations: as in `normalize_slots`.
    """
    first, slots, term = run
    vector, units, hidden = vector_bytes(real), vectors_for(real, call.hidden), call.hidden
    gain_column = cell.slots + cell.terms + cell.normalizes_cell
    scale = splat(real, get(real, deviations + index * size_of(real)))
    total, total_hat = splat(real, 0), splat(real, 0)
    for slot in range(slots):
        of_slot, of_slot_hat = splat(real, 0), splat(real, 0)
        for b in range(units):
            here = place + b * block
            d = load(real, here + (cell.slots + term + slot) * vector)
            hat = load(real, hats + (b * cell.normalized_values + first + slot) * vector)
            dhat = d * load(real, gains + ((first + slot) * units + b) * vector)
            store(d * hat, here + (gain_column + first + slot) * vector)
            of_slot = of_slot + dhat
            of_slot_hat = fma(dhat, hat, of_slot_hat)
        total, total_hat = total + of_slot, total_hat + of_slot_hat
    mean, mean_hat = lane_sum(total) / (slots * hidden), lane_sum(total_hat) / (slots * hidden)
    for b in range(units):
        here = place + b * block
        for slot in range(slots):
            d = load(real, here + (cell.slots + term + slot) * vector)
            hat = load(real, hats + (b * cell.normalized_values + first + slot) * vector)
            dhat = d * load(real, gains + ((first + slot) * units + b) * vector)
            store(cell.normalized_adjoint(dhat, hat, scale, mean, mean_hat), here + (first + slot) * vector)


@by_cell
def take_outputs(cell):
    """Add dy to a row of dh; or, where the output sees the normalized cell, go back through the output as well.

    dh then holds the derivative of o, and the slot after the cell's slots the derivative of c' by way of the output.  dh,
    and the row of derivatives at `place`, are modified.
    """

    def add(cell, real, call, dh, outputs, place, block, saved, unit_values, hats, deviations):
        vector = vector_bytes(real)
        for b in range(vectors_for(real, call.hidden)):
            if call.dy.address:
                dy = load_first(real, outputs + b * vector, call.hidden - b * lanes(real))
                store(load(real, dh + b * vector) + dy, dh + b * vector)

    if not cell.normalizes_cell:
        return add

    def through(cell, real, call, dh, outputs, place, block, saved, unit_values, hats, deviations):
        vector, units = vector_bytes(real), vectors_for(real, call.hidden)
        gains = unit_values + units * vector
        for b in range(units):
            at = b * vector
            here = load(real, dh + at)
            if call.dy.address:
                here = here + load_first(real, outputs + at, call.hidden - b * lanes(real))
            kept = load_saved(cell, real, saved + b * cell.saved * vector, vector)
            hat = load(real, hats + (b * cell.normalized_values + cell.slots) * vector)
            seen = fma(load(real, gains + cell.slots * units * vector + at), hat, load(real, unit_values + at))
            do, dc = cell.output_adjoint(kept, seen, here)
            store(do, dh + at)
            store(dc, place + b * block + (cell.slots + cell.terms) * vector)
        run = (cell.slots, 1, cell.terms)
        normalize_adjoint(cell, real, call, run, cell.deviations - 1, place, block, gains, hats, deviations)

    return through


@Task
def backward_task(cell, number, record, index):
    """Derivatives of a chunk of steps, last step first, for one part of the batch."""
    real, call = number(0), record_at(record, BACKWARD)[0]
    direction, part, _, _ = part_of(call, index)
    start, count = call.chunk_start, call.chunk_steps
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
    unit_values = call.unit_values + direction * cell.unit_value_count * units * vector
    gains = unit_values + cell.normalizes_cell * units * vector
    padded_row = spread_row(real, units)
    padded = (direction * call.batch + first) * padded_row
    dh, dc = call.dh + padded, call.dc + padded
    row = call.slots * vector
    block = call.chunk_rows * row
    dpre_all = call.dpre + direction * units * block
    outputs = call.outputs + direction * call.chunk_rows * hidden * size
    cell_outputs = call.cell_outputs + direction * call.chunk_rows * hidden * size
    earliest = min(time_of(call, start, direction), time_of(call, start + count - 1, direction))
    if call.dy.address:
        gather_outputs(real, call, call.dy, hidden, direction, earliest, count, part, 0, hidden, outputs)
    if call.dcells.address:
        gather_outputs(real, call, call.dcells, hidden, direction, earliest, count, part, 0, hidden, cell_outputs)
    for step in range(start + count - 1, start - 1, -1):
        time = time_of(call, step, direction)
        rows = working(call, time, first, stride, most)
        position = rows_before(call, time) - rows_before(call, earliest) + call.earlier_rows + first
        old_row = block_row(call, previous_block(time, direction)) - held
        new_row = block_row(call, time + 1) - held
        tape_row = rows_of_tape + rows_in_segment(call, direction, time)
        h, c = call.h + old_row * state_row + state, call.c + old_row * call.c_kept * state_row + state
        h_new, c_new = call.h + new_row * state_row + state, call.c + new_row * call.c_kept * state_row + state
        for r in range(rows):
            drives = drive_places(cell, call, time, first + r * stride)
            of_tape = tape_row + r * stride
            hats, deviations = call.normalized + of_tape * hat_row, call.deviations + of_tape * deviation_row
            saved = call.saved + of_tape * saved_row
            place, at_padded = dpre_all + (position + r * stride) * row, r * stride * padded_row
            dy_at = (position + r * stride) * hidden * size
            take_outputs(
                cell, real, call, dh + at_padded, outputs + dy_at, place, block, saved, unit_values, hats, deviations
            )
            for b in range(units):
                unit = b * lanes(real)
                here, here_padded = r * stride * state_row + unit * size, at_padded + b * vector
                kept = load_saved(cell, real, saved + b * cell.saved * vector, vector)
                old = load_state(cell, real, h + here, c + here, hidden - unit)
                new = load_state(cell, real, h_new + here, c_new + here, hidden - unit)
                per_unit = load_drives(cell, real, drives, (direction * hidden + unit) * size, hidden - unit)
                derivative = load_dstate(cell, real, dh + here_padded, dc + here_padded, lanes(real))
                if call.dcells.address:
                    dcells = load_first(real, cell_outputs + dy_at + unit * size, hidden - unit)
                    derivative = add_cells(cell, derivative, dcells)
                terms = place + b * block + cell.slots * vector
                derivative = add_cells(cell, derivative, load(real, terms))
                dpre, dold = cell.adjoint(kept, old, new, derivative, per_unit)
                store_all(dpre, terms, vector)
                store_state(cell, dold, dh + here_padded, dc + here_padded, lanes(real))
            for index, run in enumerate(cell.layer_norms):
                normalize_adjoint(cell, real, call, run, index, place, block, gains, hats, deviations)
        if call.discards_initial:
            rows = going_on(call, direction, time, first, stride, most)
        back_through(real, call, call.recurrent, 0, direction, dpre_all, position, rows, stride, dh, 0, units, step % 2)
