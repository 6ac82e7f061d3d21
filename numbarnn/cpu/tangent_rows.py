"""What the tasks of `tangents` are told, and what they do for their rows beside the cell's equations.

The tangents of one row of the batch lie side by side, as rows of their own in the products: all of them share each weight
that is loaded.
"""

import numpy as np

from ..engine.inlined import inlined
from .blocks import share, spread_row, unit_place, vector_bytes, vectors_for
from .compiled import Task
from .groups import PROJECTION, group_at
from .product import MAX_VECTORS
from .records import CALL, FORWARD_NAMES, GROUP, GROUPS, ROUTINES, ROWS, WORK, integers
from .routine_call import invoke, record_at
from .rows import copied_rows, operand_rows, previous_rows, rows_before, task_rows
from .shuffles import transpose
from .simd import get, lanes, load, load_first, put, size_of, splat, store, store_first
from .step_products import add_product, chunk_rows, gather_inputs, time_of
from .types import by_cell
from .weights import columns_of

NAMES = FORWARD_NAMES  # routines that the tasks here call
ROWS_BYTES = ROWS.itemsize

# Of M tangents.  `rows` of a task: the rows of its part of the batch, or of a chunk of steps of it.
TANGENT = np.dtype(
    [("routines", ROUTINES), ("work", WORK), ("x", ROWS)]
    + GROUPS
    + [(f"d{name}", GROUP) for name, _ in GROUPS]  # `weight`: [M, D], of the parameters' tangents
    + CALL
    + integers(
        "tangents",  # M
        "tangent_parts",  # into which they are split
        "learned",  # 1 where the parameters have tangents
        "dbias",  # [M, D] one row in blocks, all slots, of the parameters' tangents
        "dunit_values",  # [M, D, V, padded H]: tangents of unit_values
        "dx",  # [M] of ROWS: tangents of x; 0 for none
        "dh",  # [M, D, N, P]: tangents of h, of the initial state on entry, of the last step's at the end
        "dc",  # [M, D, N, H]: likewise
        "dy",  # [M, S, D, P]: tangents of the outputs
        "inputs",  # x in order: [D, N * parts * chunk, I], this call only, as all below
        "previous",  # h before each step: likewise, of P
        "operands",  # the operand of each step: likewise, of H
        "dinputs",  # dx in order: [D, N * chunk * M, I]
        "pre",  # [D, tasks, blocks, chunk * rows * M of the task, (slot, unit)]: tangents of pre-activations
        "now",  # [D, N * M, spread P]: dh of the step before
        "made",  # likewise, of the step
        "dcells",  # [D, N * M, spread H]: dc
        "doperand",  # likewise: tangents of the operand
    )
)


@Task
def untranspose_task(cell, number, record, index):
    """One part of the rows of each weight that the tape keeps transposed, as forward wants it."""
    real, call = number(0), record_at(record, TANGENT)[0]
    direction, part = index // call.parts, index % call.parts
    size, width, vector = size_of(real), lanes(real), vector_bytes(real)
    for index in range(PROJECTION + 1):
        group = group_at(call, index)
        if group.slots == 0 or group.weight == 0:
            continue
        units, _, _, per_block = columns_of(call, index)
        row_vectors, unit_vectors = vectors_for(real, group.rows), vectors_for(real, units)
        depth = group.slots * unit_vectors * width
        source = group.transposed + direction * row_vectors * depth * vector
        target = group.weight + direction * group.rows * group.slots * unit_vectors * vector
        first, count = share(row_vectors, call.parts, part)
        for row_vector in range(first, first + count):
            panel = row_vector // MAX_VECTORS * MAX_VECTORS
            stride = min(MAX_VECTORS, row_vectors - panel) * vector
            column = source + panel * depth * vector + (row_vector - panel) * vector
            row = row_vector * width
            valid = min(width, group.rows - row)
            for unit_vector in range(unit_vectors):
                place, slot_stride = unit_place(real, unit_vector, unit_vectors, 1, 0, group.slots, per_block)
                first_place, _ = unit_place(real, unit_vector, unit_vectors, group.rows, row, group.slots, per_block)
                next_place, _ = unit_place(real, unit_vector, unit_vectors, group.rows, row + 1, group.slots, per_block)
                for slot in range(group.slots):
                    k = column + (place + slot * slot_stride) // size * stride
                    to, to_row = target + first_place + slot * slot_stride, next_place - first_place
                    if valid == width:
                        transpose(real, k, stride, to, to_row)
                        continue
                    for i in range(valid):
                        for lane in range(width):
                            put(get(real, k + lane * stride + i * size), to + i * to_row + lane * size)


@inlined
def tangents_of(call, index):
    """(direction, part of the batch, first tangent, number of tangents, which part of them) of a task."""
    parts = call.directions * call.tasks
    first, count = share(call.tangents, call.tangent_parts, index // parts)
    return index % parts // call.tasks, index % call.tasks, first, count, index // parts


@inlined
def gather_kept(real, call, rows_of, row, direction, part, start, count, channels, target):
    """Copy what forward kept of `count` steps of a task's rows, one after the other.

    rows_of: (address, step table, step stride); row: bytes from one row to the next.
    """
    first, stride, most, _ = task_rows(call, part)
    time, time_step = time_of(call, start, direction), 1 if direction == 0 else -1
    end = call.batch if call.table else first + most
    invoke(
        call.routines.copy_rows,
        real,
        (
            rows_of[0], rows_of[1], rows_of[2], 0, row, size_of(real), call.table, time, count, time_step, first, end,
            stride, channels, target, channels * size_of(real),
        ),
    )  # fmt: skip


@inlined
def gather_tangents(real, call, direction, part, first_tangent, tangents, start, count, target):
    """Copy dx of `count` steps of a task's rows, one after the other: of each row all tangents of the task."""
    first, stride, most, _ = task_rows(call, part)
    time, time_step = time_of(call, start, direction), 1 if direction == 0 else -1
    row = call.channels * size_of(real)
    for m in range(tangents):
        array = record_at(call.dx + (first_tangent + m) * ROWS_BYTES, ROWS)[0]
        invoke(
            call.routines.copy_rows,
            real,
            copied_rows(
                call, array, time, count, time_step, first, stride, most, 0, call.channels, target + m * row, tangents * row
            ),
        )


@inlined
def scratch_rows(call, direction, part, first_tangent, which):
    """(rows of all tasks before this one in what each part of the tangents has for itself, the same in what has a row for
    each tangent).
    """
    _, _, most, rows_of_others = task_rows(call, part)
    before = direction * call.batch + rows_of_others
    return before * call.tangent_parts + which * most, before * call.tangents + first_tangent * most


@inlined
def add_directions(real, call, index, start, count, in_rows):
    """Tangents of the pre-activations of a task's rows of `count` steps, but for what the step before adds.

    in_rows: whether they lie ``[rows, blocks, (slot, unit)]`` and have no bias, of a cell that normalizes; else in blocks.
    """
    direction, part, first_tangent, tangents, which = tangents_of(call, index)
    size, vector, units = size_of(real), vector_bytes(real), vectors_for(real, call.hidden)
    own, each = scratch_rows(call, direction, part, first_tangent, which)
    _, _, most, _ = task_rows(call, part)
    rows = chunk_rows(call, direction, part, start, count)
    inputs = call.inputs + own * call.chunk * call.channels * size
    previous = call.previous + own * call.chunk * call.width * size
    operands = call.operands + own * call.chunk * call.hidden * size
    dinputs = call.dinputs + each * call.chunk * call.channels * size
    pre = call.pre + each * call.chunk * units * call.slots * vector
    a, a_row, a_depth = inputs, call.channels * size, size
    if call.learned:
        a, a_row, a_depth = gather_inputs(real, call, direction, part, start, count, inputs)
        if call.recurrent.slots:
            row = call.directions * call.width * size
            rows_of = previous_rows(real, call, direction)
            gather_kept(real, call, rows_of, row, direction, part, start, count, call.width, previous)
        if call.gated.slots:
            row = call.directions * call.hidden * size
            rows_of = operand_rows(real, call, direction)
            gather_kept(real, call, rows_of, row, direction, part, start, count, call.hidden, operands)
    if call.dx:
        gather_tangents(real, call, direction, part, first_tangent, tangents, start, count, dinputs)
    zero = splat(real, 0)
    for before in range(0, units, call.per_block):
        vectors = min(call.per_block, units - before)
        row, target = call.slots * vectors * vector, pre + before * call.slots * vector
        if in_rows:
            row = call.slots * units * vector
        else:
            target = pre + before * call.slots * vector * call.chunk * most * tangents
        for m in range(tangents):
            weight = (first_tangent + m) * call.directions + direction
            constant = call.dbias + (weight * units + before) * call.slots * vector
            for i in range(call.slots * vectors):
                value = load(real, constant + i * vector) if call.learned and not in_rows else zero
                for r in range(rows):
                    store(value, target + (r * tangents + m) * row + i * vector)
            if call.learned:
                place, place_row = target + m * row, tangents * row
                add_product(
                    real, call, call.dinput, weight, before, vectors, a, a_row, a_depth, rows, place, place_row, place,
                    place_row,
                )  # fmt: skip
                add_product(
                    real, call, call.drecurrent, weight, before, vectors, previous, call.width * size, size, rows, place,
                    place_row, place, place_row,
                )  # fmt: skip
                add_product(
                    real, call, call.dgated, weight, before, vectors, operands, call.hidden * size, size, rows, place,
                    place_row, place, place_row,
                )  # fmt: skip
        if call.dx:
            add_product(
                real, call, call.input, direction, before, vectors, dinputs, call.channels * size, size, rows * tangents,
                target, row, target, row,
            )  # fmt: skip


@inlined
def copy_state(real, call, index, whole, width, rows, row, back):
    """Copy the tangents of a state into a task's rows; or, with `back`, from there.

    whole: [M, D, N, width]; rows: address of the task's first row, `row` bytes from the next.
    """
    direction, part, first_tangent, tangents, _ = tangents_of(call, index)
    first, stride, most, _ = task_rows(call, part)
    size = size_of(real)
    for m in range(tangents):
        for r in range(most):
            n = ((first_tangent + m) * call.directions + direction) * call.batch + first + r * stride
            outside, inside = whole + n * width * size, rows + (r * tangents + m) * row
            for i in range(0, width, lanes(real)):
                if back:
                    store_first(load(real, inside + i * size), outside + i * size, width - i)
                else:
                    store(load_first(real, outside + i * size, width - i), inside + i * size)


@inlined
def copy_cells(cell, real, call, index, rows, back):
    """`copy_state` of c, where there is one."""
    if cell.states > 1:
        row = spread_row(real, vectors_for(real, call.hidden))
        copy_state(real, call, index, call.dc, call.hidden, rows, row, back)


@inlined
def give_outputs(real, call, index, time, rows, now, made):
    """Write the tangents of a step's outputs, and keep them for the next step (`now` is modified)."""
    direction, part, first_tangent, tangents, _ = tangents_of(call, index)
    first, stride, _, _ = task_rows(call, part)
    size, width = size_of(real), call.width
    row = spread_row(real, vectors_for(real, width))
    total = rows_before(call, call.total)
    for r in range(rows):
        for m in range(tangents):
            at = (r * tangents + m) * row
            output = (first_tangent + m) * total + rows_before(call, time) + first + r * stride
            y = call.dy + (output * call.directions + direction) * width * size
            for i in range(0, width, lanes(real)):
                value = load(real, made + at + i * size)
                store(value, now + at + i * size)
                store_first(value, y + i * size, width - i)


@by_cell
def project_tangents(cell):
    """Write the tangents of h, from the tangents of what the cell made; nothing where that is h itself."""
    if not cell.projected:
        return lambda cell, real, call, index, operand, rows, doperand, made: None
    return lambda cell, real, call, index, operand, rows, doperand, made: project_rows(
        real, call, index, operand, rows, doperand, made
    )


@inlined
def project_rows(real, call, index, operand, rows, doperand, made):
    """`project_tangents`; operand: address of the first of the task's rows that forward kept of the step."""
    direction, part, first_tangent, tangents, _ = tangents_of(call, index)
    _, stride, _, _ = task_rows(call, part)
    size, vector, depth = size_of(real), vector_bytes(real), call.projection.rows
    vectors = vectors_for(real, call.width)
    row, operand_row = spread_row(real, vectors), stride * call.directions * call.hidden * size
    for before in range(0, vectors, MAX_VECTORS):
        columns = min(MAX_VECTORS, vectors - before)
        block = before * depth * vector
        place = made + before * vector
        invoke(
            call.routines.product,
            real,
            (
                place, row, call.zeros, 0, 0, doperand, spread_row(real, vectors_for(real, depth)), size, depth, 0,
                call.projection.weight + direction * depth * vectors * vector + block, columns * vector, depth,
                rows * tangents, columns,
            ),
        )  # fmt: skip
        if call.learned:
            for m in range(tangents):
                weight = (first_tangent + m) * call.directions + direction
                invoke(
                    call.routines.product,
                    real,
                    (
                        place + m * row, tangents * row, place + m * row, tangents * row, vector, operand, operand_row, size,
                        depth, 0, call.dprojection.weight + weight * depth * vectors * vector + block, columns * vector,
                        depth, rows, columns,
                    ),
                )  # fmt: skip
