"""The weights' side of a recurrent layer: packed before the loop over time, their gradients summed after it.

Nothing here depends on a cell's equations, only on its slots.  Each function is one part of the work of one direction;
parts differ in the rows of the *result* they own, so every sum has one order whatever their number.
"""

from ..engine.inlined import inlined
from .blocks import (
    clear,
    entry,
    pack,
    pack_transposed,
    share,
    spread_row,
    unit_place,
    unpack,
    vector_bytes,
    vectors_for,
)
from .compiled import Task
from .groups import INPUT, PROJECTION, RECURRENT, group_at
from .product import MAX_VECTORS, depth_block
from .records import BACKWARD, FORWARD
from .routine_call import invoke, record_at
from .rows import operand_rows, previous_rows, rows_before, segment_time, starts_at_zero
from .simd import lanes, load, load_first, not_finite, size_of, store, store_first


@inlined
def columns_of(call, index):
    """(numbers a gate, gates, slots, vectors in a block) of what a group's weight leads to: the gates, or h."""
    return projection_columns(call) if index == PROJECTION else gate_columns(call)


@inlined
def gate_columns(call):
    """(numbers a gate, gates, slots, vectors in a block) of what a weight of the gates leads to."""
    return call.hidden, call.gates, call.slots, call.per_block


@inlined
def projection_columns(call):
    """The same of what the projection leads to: h."""
    return call.width, 1, 1, MAX_VECTORS


@inlined
def pack_group(real, call, group, columns, direction, part):
    """One part of the rows of one weight.  Returns 1 for a wrong number, or 0.  columns: where it leads."""
    units, gates, _, per_block = columns
    weight = call.parameters + direction * call.direction_stride + group.parameter
    first, count = share(group.rows, call.parts, part)
    return pack(
        real, weight, group.rows, units, gates, group.gates, group.slots, per_block, first, count,
        group.weight + direction * group.rows * group.slots * vectors_for(real, units) * vector_bytes(real),
    )  # fmt: skip


@inlined
def add_bias(real, call, group, direction, total):
    """Add the bias of a group's gates to the row in blocks at `total` (modified); returns 1 for a wrong number, or 0."""
    wrong = 0
    bias = call.parameters + direction * call.direction_stride + group.bias
    unit_vectors = vectors_for(real, call.hidden)
    for unit_vector in range(unit_vectors):
        place, slot_stride = unit_place(real, unit_vector, unit_vectors, 1, 0, call.slots, call.per_block)
        unit = unit_vector * lanes(real)
        for slot in range(group.slots):
            source = bias + (entry(group.gates, slot) * call.hidden + unit) * size_of(real)
            target = total + place + (group.first + slot) * slot_stride
            value = load_first(real, source, call.hidden - unit)
            wrong |= not_finite(value)
            store(load(real, target) + value, target)
    return wrong


@Task
def pack_task(cell, number, record, index):
    """One part of each weight of a direction, and with the last part its biases, as the cell's task wants them."""
    real, calls, wrong = number(0), record_at(record, FORWARD), 0
    call = calls[0]
    direction, part = index // call.parts, index % call.parts
    for index in range(PROJECTION + 1):
        group = group_at(call, index)
        if group.slots:
            wrong |= pack_group(real, call, group, columns_of(call, index), direction, part)
    if part == call.parts - 1:
        vectors = call.slots * vectors_for(real, call.hidden)
        total = call.bias + direction * vectors * vector_bytes(real)
        clear(real, total, vectors)
        for index in range(PROJECTION):
            wrong |= add_bias(real, call, group_at(call, index), direction, total)
    if wrong:
        calls[0].wrong = 1


@Task
def transpose_task(cell, number, record, index):
    """One part of each weight of a direction that backward wants, transposed for it."""
    real, call = number(0), record_at(record, FORWARD)[0]
    direction, part = index // call.parts, index % call.parts
    for index in range(PROJECTION + 1):
        group = group_at(call, index)
        if group.slots and group.transposed:
            units, gates, _, per_block = columns_of(call, index)
            row_vectors = vectors_for(real, group.rows)
            first, count = share(row_vectors, call.parts, part)
            depth = group.slots * vectors_for(real, units) * lanes(real)
            pack_transposed(
                real, call.parameters + direction * call.direction_stride + group.parameter, group.rows, units, gates,
                group.gates, group.slots, per_block, first, count,
                group.transposed + direction * row_vectors * depth * vector_bytes(real),
            )  # fmt: skip


@inlined
def unpack_bias(real, call, group, direction, total):
    """Write, or add, the derivatives of a group's slots to the gradient of the bias that feeds them."""
    bias = call.parameters + direction * call.direction_stride + group.bias
    unit_vectors = vectors_for(real, call.hidden)
    for unit_vector in range(unit_vectors):
        place, slot_stride = unit_place(real, unit_vector, unit_vectors, 1, 0, call.slots, call.per_block)
        unit = unit_vector * lanes(real)
        for slot in range(group.slots):
            value = load(real, total + place + (group.bias_slot + slot) * slot_stride)
            target = bias + (entry(group.gates, slot) * call.hidden + unit) * size_of(real)
            if call.accumulate:
                value = value + load_first(real, target, call.hidden - unit)
            store_first(value, target, call.hidden - unit)


@inlined
def row_times_transposed(
    real, row_product, zeros, transposed, depth, inner, dpre, dpre_block, target, panels, descending
):  # fmt: skip
    """`times_transposed` for one row and whole panels, several at once.

    depth: numbers in the row of dpre, in runs of `inner` that start `dpre_block` bytes apart.
    """
    panel = MAX_VECTORS * vector_bytes(real)
    step, operand_step = panel, panel * depth
    if descending:
        target, transposed = target + (panels - 1) * step, transposed + (panels - 1) * operand_step
        step, operand_step = -step, -operand_step
    start, start_step, stride = (zeros, 0, 0) if zeros else (target, step, vector_bytes(real))
    invoke(
        row_product,
        real,
        (
            target, step, start, start_step, stride, dpre, size_of(real), inner, dpre_block,
            transposed, operand_step, panel, depth, MAX_VECTORS, panels,
        ),
    )  # fmt: skip


@inlined
def times_transposed(
    real, product, row_product, zeros, transposed, weight_rows, slots, hidden, per_block, dpre, all_slots, first_slot,
    total_rows, first, rows, row_step, target, target_row, from_vector, to_vector, descending,
):  # fmt: skip
    """``target += dpre M'``: slot derivatives in blocks taken back to what the weight M multiplied.

    product, row_product: addresses of the routines; zeros: 0, or the address of a vector of zeros for
    ``target = dpre M'``; transposed: M packed by `pack_transposed`; dpre: `rows` rows from `first` on, `row_step` apart, of
    ``[blocks, total_rows, (slot, unit)]``; target: ``[rows, padded weight_rows]``, `target_row` bytes apart, of which the
    vectors from `from_vector`, a multiple of MAX_VECTORS, to `to_vector` are modified; descending: whether the last panel
    comes first.
    """
    vector, unit_vectors = vector_bytes(real), vectors_for(real, hidden)
    row_vectors, depth = vectors_for(real, weight_rows), vectors_for(real, hidden) * slots * lanes(real)
    first_panel, panels = from_vector, (to_vector - from_vector + MAX_VECTORS - 1) // MAX_VECTORS
    if rows == 1 and unit_vectors % per_block == 0:
        whole = (to_vector - from_vector) // MAX_VECTORS
        row_times_transposed(
            real, row_product, zeros, transposed + first_panel * depth * vector, depth,
            slots * per_block * lanes(real),
            dpre + first * all_slots * per_block * vector + first_slot * per_block * vector,
            all_slots * per_block * vector * total_rows, target + first_panel * vector, whole, descending,
        )  # fmt: skip
        first_panel, panels = first_panel + whole * MAX_VECTORS, panels - whole
    for index in range(panels):
        panel = first_panel + (panels - 1 - index if descending else index) * MAX_VECTORS
        columns = min(MAX_VECTORS, row_vectors - panel)
        operand = transposed + panel * depth * vector
        whole = unit_vectors // per_block * per_block
        # The whole blocks in one product, then the narrower one, if there is one.
        for before in range(0, unit_vectors, whole if whole else unit_vectors):
            vectors = min(per_block, unit_vectors - before)
            row = all_slots * vectors * vector
            source = dpre + before * all_slots * vector * total_rows + first * row + first_slot * vectors * vector
            inner = slots * vectors * lanes(real)
            blocks = 1 if vectors < per_block else whole // per_block
            place = target + panel * vector
            start, start_row, stride = (zeros, 0, 0) if before == 0 and zeros else (place, target_row, vector)
            invoke(
                product,
                real,
                (
                    place, target_row, start, start_row, stride,
                    source, row_step * row, size_of(real), inner, row * total_rows,
                    operand + before * slots * lanes(real) * columns * vector, columns * vector, blocks * inner, rows,
                    columns,
                ),
            )  # fmt: skip


@inlined
def sum_block(real, call, dpre, dpre_row, count, columns, a, a_row, a_depth, rows, fresh, target, target_row):
    """``target = A' dpre`` over `count` rows of dpre, for some vectors of a block of units, or ``+=`` unless `fresh`.

    dpre, dpre_row, columns: the first vector, the stride of rows, the number of vectors; a, a_row, a_depth: A's first column
    of `rows`, and the strides of its columns and rows.
    """
    vector = vector_bytes(real)
    start, start_row, stride = (call.zeros, 0, 0) if fresh else (target, target_row, vector)
    invoke(
        call.routines.product,
        real,
        (
            target, target_row, start, start_row, stride, a, a_row, a_depth, count, 0, dpre, dpre_row, count, rows, columns,
        ),
    )  # fmt: skip


@inlined
def sum_parts(real, call, dpre, dpre_row, count, columns, a, a_row, a_depth, rows, fresh, target, target_row, first, end):
    """`sum_block` without the rows before `first` and from `end` on, where A is zeros, to the bit: its blocks are the same.

    a: of the row `first`.  At least one row is left.
    """
    vector = vector_bytes(real)
    for panel in range(0, columns, MAX_VECTORS):
        vectors, empty = min(MAX_VECTORS, columns - panel), fresh
        block, place = depth_block(count, vectors), panel * vector
        for at in range(first // block * block, end, block):
            before = max(at, first)
            sum_block(
                real, call, dpre + before * dpre_row + place, dpre_row, min(at + block, end) - before, vectors,
                a + (before - first) * a_depth, a_row, a_depth, rows, empty, target + place, target_row,
            )  # fmt: skip
            empty = False


@inlined
def without_start(real, call, direction, start, steps, dpre, count, time):
    """(first row, end, time, steps) of those rows of a chunk before which the state was not zeros that nobody gave.

    All of them where the others' derivatives are not finite: 0 times these is NaN; or where no step would be left.
    """
    if call.start + start > 0 or steps == 1 or not starts_at_zero(call):
        return 0, count, time, steps
    last = time + steps - 1
    at = time if direction == 0 else last
    before, rows = rows_before(call, at) - rows_before(call, time), rows_before(call, at + 1) - rows_before(call, at)
    units, wrong = vectors_for(real, call.hidden), 0
    for block in range(0, units, call.per_block):
        row = call.slots * min(call.per_block, units - block)
        place = dpre + (block * call.slots * call.chunk_rows + before * row) * vector_bytes(real)
        for i in range(rows * row):
            wrong |= not_finite(load(real, place + i * vector_bytes(real)))
    if wrong:
        return 0, count, time, steps
    if direction == 0:
        return rows, count, time + 1, steps - 1
    return 0, count - rows, time, steps - 1


@inlined
def sum_group(
    real, call, group, columns, direction, part, start, steps, dpre, count, first_row, end, time, copied, rows_of,
    row_stride, stride,
):  # fmt: skip
    """One part of the rows of a weight's gradient, summed over `count` rows of dpre and of A, of a chunk of steps.

    columns: where the weight leads; dpre: the derivatives of that, in blocks;
    first_row, end: the rows where A is not zeros, `copied` steps from `time` on;
    rows_of: (address, step table, step stride, start table) of A; row_stride, stride: of its rows and columns, in bytes.
    Some columns of A at a time are copied, and meet all of dpre.
    """
    first, rows = share(group.rows, call.parts, part)
    if rows == 0 or group.slots == 0:
        return
    source, step_table, step_stride, start_table = rows_of
    most = spread_row(real, vectors_for(real, call.factor_columns))
    factor = call.factors + (direction * call.parts + part) * call.chunk_rows * most
    panels = (rows + call.factor_columns - 1) // call.factor_columns
    for panel in range(panels):
        before, wide = share(rows, panels, panel)
        factor_row = spread_row(real, vectors_for(real, wide))
        invoke(
            call.routines.copy_rows,
            real,
            (
                source + (first + before) * stride, step_table, step_stride, start_table, row_stride, stride, call.table,
                time, copied, 1, 0, call.batch, 1, wide, factor, factor_row,
            ),
        )  # fmt: skip
        sum_rows(
            real, call, group, columns, direction, start, steps, dpre, count, first_row, end, first, before, wide, factor,
            factor_row,
        )  # fmt: skip


@inlined
def sum_rows(
    real, call, group, columns, direction, start, steps, dpre, count, first_row, end, first, before, rows, factor, factor_row
):
    """`sum_group` for some rows of the gradient: `rows` of a part that starts at `first`, from ``first + before`` on.

    factor, factor_row: the columns of A, and the stride of its rows.
    The chunk that comes first, the last steps, begins with zeros; the one that comes last writes the gradient vector,
    block by block.  An only chunk sums all blocks in the same place, which stays in the cache.
    """
    units, gates, all_slots, per_block = columns
    size, vector, unit_vectors = size_of(real), vector_bytes(real), vectors_for(real, units)
    weight = call.parameters + direction * call.direction_stride + group.parameter + (first + before) * gates * units * size
    first_chunk, last_chunk = call.start + start + steps == call.total, call.start + start == 0
    for block in range(0, unit_vectors, per_block):
        vectors = min(per_block, unit_vectors - block)
        summed, slots = group.slots * vectors, group.first * vectors
        row = summed * vector
        target = group.weight + direction * unit_vectors * group.rows * group.slots * vector
        if first_chunk and last_chunk:
            target += first * group.slots * min(per_block, unit_vectors) * vector
        else:
            target += block * group.rows * group.slots * vector + (first + before) * row
        source, line = dpre + (block * all_slots * call.chunk_rows + slots) * vector, all_slots * vectors * vector
        if first_row == 0 and end == count:
            sum_block(
                real, call, source, line, count, summed, factor, size, factor_row, rows, first_chunk, target, row,
            )  # fmt: skip
        else:
            sum_parts(
                real, call, source, line, count, summed, factor, size, factor_row, rows, first_chunk, target, row,
                first_row, end,
            )  # fmt: skip
        if last_chunk:
            unpack(
                real, target, units, gates, group.gates, group.slots, block, vectors, rows, call.accumulate, weight,
            )  # fmt: skip


@inlined
def sum_bias(real, call, direction, start, steps, dpre, count):
    """The gradient of the biases and of the values of units, summed like the gradient of a weight of one row."""
    vector, unit_vectors = vector_bytes(real), vectors_for(real, call.hidden)
    total = call.bias + direction * call.slots * unit_vectors * vector
    first_chunk = call.start + start + steps == call.total
    for before in range(0, unit_vectors, call.per_block):
        columns = call.slots * min(call.per_block, unit_vectors - before)
        sum_block(
            real, call, dpre + before * call.slots * call.chunk_rows * vector, columns * vector, count, columns, call.one, 0,
            0, 1, first_chunk, total + before * call.slots * vector, 0,
        )  # fmt: skip
    if call.start + start == 0:
        for index in range(PROJECTION):
            unpack_bias(real, call, group_at(call, index), direction, total)
        unpack_unit_values(real, call, direction, total, call.dunit_values)


@inlined
def unpack_unit_values(real, call, direction, total, target):
    """Write the gradient of what the cell takes for each unit, [D, V, padded H]: the last slots."""
    vector, unit_vectors, count = vector_bytes(real), vectors_for(real, call.hidden), call.unit_value_count
    for unit_vector in range(unit_vectors):
        place, slot_stride = unit_place(real, unit_vector, unit_vectors, 1, 0, call.slots, call.per_block)
        for i in range(count):
            value = load(real, total + place + (call.slots - count + i) * slot_stride)
            store(value, target + ((direction * count + i) * unit_vectors + unit_vector) * vector)


@inlined
def input_gradient(real, call, direction, dpre, first, rows, stride, to):
    """Some rows of dL/dx, from the row `first` of a chunk on, `stride` apart; to: which row of dx is the first of them."""
    size, channels = size_of(real), call.channels
    channel_vectors = vectors_for(real, channels)
    row = spread_row(real, channel_vectors)
    target = call.dinputs + (direction * call.chunk_rows + first) * row
    depth = call.input.slots * vectors_for(real, call.hidden) * lanes(real)
    weight = call.input.transposed + direction * depth * channel_vectors * vector_bytes(real)
    invoke(
        call.routines.times_transposed,
        real,
        (
            call.routines.product, call.routines.row_product, call.zeros, weight, channels, call.input.slots,
            call.hidden, call.per_block, dpre, call.slots, call.input.first, call.chunk_rows, first, rows, stride, target,
            stride * row, 0, channel_vectors, 0,
        ),
    )  # fmt: skip
    invoke(
        call.routines.copy_rows,
        real,
        (
            target, 0, 0, 0, stride * row, size, 0, 0, 1, 1, 0, rows, 1, channels, call.dx + to * channels * size,
            stride * channels * size,
        ),
    )  # fmt: skip


@Task
def gradient_task(cell, number, record, index):
    """One part of the long products of a chunk of steps: some rows of dL/dx and some rows of each weight's gradient."""
    real, call = number(0), record_at(record, BACKWARD)[0]
    direction, part, start, steps = index // call.parts, index % call.parts, call.chunk_start, call.chunk_steps
    size, hidden = size_of(real), call.hidden
    time = segment_time(call, direction) + (start if direction == 0 else call.steps - start - steps)
    count = rows_before(call, time + steps) - rows_before(call, time)
    dpre = call.dpre + direction * call.chunk_rows * call.slots * vectors_for(real, hidden) * vector_bytes(real)
    if call.dx:
        first, rows = share(count, call.parts, part)
        to = direction * rows_before(call, call.total) + rows_before(call, time) + first
        input_gradient(real, call, direction, dpre, first, rows, 1, to)
    for index in range(PROJECTION + 1):
        derivatives, row, stride, start_table = dpre, call.directions * hidden * size, size, 0
        rows_from, rows_to, copied_from, copied = 0, count, time, steps
        if index == INPUT:
            source, table, step = call.x.address, call.x.step_table, call.x.step_stride
            row, stride, start_table = call.x.batch_stride, call.x.channel_stride, call.x.start_table
        elif index == RECURRENT:
            source, table, step = previous_rows(real, call, direction)
            row = call.directions * call.width * size
            if call.recurrent.slots:
                rows_from, rows_to, copied_from, copied = without_start(
                    real, call, direction, start, steps, dpre, count, time
                )
        else:
            source, table, step = operand_rows(real, call, direction)
        if index == PROJECTION:
            derivatives = call.dprojected + direction * call.chunk_rows * vectors_for(real, call.width) * vector_bytes(real)
        sum_group(
            real, call, group_at(call, index), columns_of(call, index), direction, part, start, steps, derivatives, count,
            rows_from, rows_to, copied_from, copied, (source, table, step, start_table), row, stride,
        )  # fmt: skip
    if part == call.parts - 1:
        sum_bias(real, call, direction, start, steps, dpre, count)
