"""What a task reads and multiplies at the steps of a recurrent layer, whatever its cell: addresses, strides, products."""

from ..engine.inlined import inlined
from .blocks import spread_row, vector_bytes, vectors_for
from .routine_call import invoke
from .rows import copied_rows, rows_before, segment_time, task_rows, working
from .simd import lanes, load, size_of, store
from .sparse import lists_of


@inlined
def time_of(call, step, direction):
    """The time that the given step of a direction visits, counted from the first step of all segments."""
    return segment_time(call, direction) + (step if direction == 0 else call.steps - 1 - step)


@inlined
def part_of(call, index):
    """(direction, part of the batch, part of the units, region) of a task; all regions are one where no units are split."""
    parts = call.directions * call.tasks
    part = index % parts
    return part // call.tasks, part % call.tasks, index // parts % call.splits, index // (parts * call.splits)


@inlined
def previous_block(time, direction):
    """The block of h or c that holds the state before the step at `time`; the state after it is block ``time + 1``."""
    return time if direction == 0 else time + 2


@inlined
def add_product(
    real, call, group, direction, before, vectors, a, a_row, a_depth, rows, target, target_row, start, start_row
):
    """Write the product of A and one block of a group's weight, added to `start`, to the slots it feeds at `target`.

    start, start_row: address and stride of rows in blocks like the blocks of `target` (is modified).
    """
    if group.slots == 0:
        return
    vector = vector_bytes(real)
    slots = group.first * vectors * vector
    units = vectors_for(real, call.hidden)
    weight = group.weight + (direction * units + before) * group.rows * group.slots * vector
    invoke(
        call.routines.product,
        real,
        (
            target + slots, target_row, start + slots, start_row, vector, a, a_row, a_depth, group.rows, 0,
            weight, group.slots * vectors * vector, group.rows, rows, group.slots * vectors,
        ),
    )  # fmt: skip


@inlined
def add_row_products(real, call, group, direction, from_unit, blocks, a, target, target_block, descending):
    """`add_product` for one row and several whole blocks, `target_block` bytes apart; `descending`: the last comes first."""
    if group.slots == 0:
        return
    vector, vectors = vector_bytes(real), call.per_block
    row = group.slots * vectors * vector
    weight = group.weight + (direction * vectors_for(real, call.hidden) + from_unit) * group.rows * group.slots * vector
    place, weight_block = target + group.first * vectors * vector, group.rows * row
    if descending:
        place, target_block = place + (blocks - 1) * target_block, -target_block
        weight, weight_block = weight + (blocks - 1) * weight_block, -weight_block
    invoke(
        call.routines.row_product,
        real,
        (
            place, target_block, place, target_block, vector, a, size_of(real), group.rows, 0,
            weight, weight_block, row, group.rows, group.slots * vectors, blocks,
        ),
    )  # fmt: skip


@inlined
def add_sparse_products(real, call, group, direction, from_unit, vectors, blocks, a, target, target_block, descending):
    """`add_row_products` of a group that may have lists, for blocks of so many vectors of units each."""
    vector = vector_bytes(real)
    weight = group.weight + (direction * vectors_for(real, call.hidden) + from_unit) * group.rows * group.slots * vector
    lists, one = lists_of(real, call, group, direction, from_unit // call.per_block)
    invoke(
        call.routines.sparse_product,
        real,
        (
            call.routines.row_product, lists, one, group.entries, a, group.rows, weight,
            group.slots * vectors, target + group.first * vectors * vector, target_block, blocks, descending,
        ),
    )  # fmt: skip


@inlined
def gather_inputs(real, call, direction, part, start, count, inputs):
    """(address, row stride, channel stride) of x for a task's rows of `count` steps: copied to `inputs`, or in place."""
    first, stride, most, _ = task_rows(call, part)
    time, time_step = time_of(call, start, direction), 1 if direction == 0 else -1
    x, channels, row = call.x, call.channels, call.channels * size_of(real)
    if call.chunk == 1 and not call.table:
        return x.address + time * x.step_stride + first * x.batch_stride, x.batch_stride, x.channel_stride
    invoke(
        call.routines.copy_rows,
        real,
        copied_rows(call, x, time, count, time_step, first, stride, most, 0, channels, inputs, row),
    )
    return inputs, row, size_of(real)


@inlined
def add_input(real, call, direction, part, start, count, from_unit, to_unit, inputs, pre):
    """The bias and the input's part of the pre-activations of a task's rows of `count` steps, for the units given."""
    vector, units = vector_bytes(real), vectors_for(real, call.hidden)
    _, _, most, _ = task_rows(call, part)
    rows = chunk_rows(call, direction, part, start, count)
    a, a_row, a_depth = gather_inputs(real, call, direction, part, start, count, inputs)
    bias = call.bias + direction * units * call.slots * vector
    for before in range(from_unit, to_unit, call.per_block):
        vectors = min(call.per_block, units - before)
        row = call.slots * vectors * vector
        target = pre + before * call.slots * vector * call.chunk * most
        constant = bias + before * call.slots * vector
        for i in range(call.slots * vectors):
            if i < call.input.first * vectors or i >= (call.input.first + call.input.slots) * vectors:
                value = load(real, constant + i * vector)
                for r in range(rows):
                    store(value, target + r * row + i * vector)
        add_product(real, call, call.input, direction, before, vectors, a, a_row, a_depth, rows, target, row, constant, 0)


@inlined
def chunk_rows(call, direction, part, start, count):
    """A task's rows at work in `count` steps from `start` on, all together."""
    first, stride, most, _ = task_rows(call, part)
    if not call.table:
        return count * most
    rows = 0
    for step in range(start, start + count):
        rows += working(call, time_of(call, step, direction), first, stride, most)
    return rows


@inlined
def back_through(
    real, call, group, zeros, direction, dpre, position, rows, stride, target, from_vector, to_vector, descending
):
    """``target += dpre R'`` for a group of slots: `rows` rows of dpre from `position` on, some vectors of padded rows.

    zeros: 0, or the address of a vector of zeros for ``target = dpre R'``; stride: between the rows of dpre, and of target.
    """
    if group.slots == 0:
        return
    row_vectors = vectors_for(real, group.rows)
    weight = row_vectors * lanes(real) * vectors_for(real, call.hidden) * group.slots * vector_bytes(real)
    invoke(
        call.routines.times_transposed,
        real,
        (
            call.routines.product, call.routines.row_product, zeros, group.transposed + direction * weight, group.rows,
            group.slots, call.hidden, call.per_block, dpre, call.slots, group.first, call.chunk_rows, position, rows, stride,
            target, stride * spread_row(real, row_vectors), from_vector, to_vector, descending,
        ),
    )  # fmt: skip


@inlined
def gather_outputs(real, call, array, width, direction, time, count, part, channel, channels, target):
    """Copy what comes in from outside at the outputs of a task's rows, some channels of them, to their place in a chunk.

    width: channels of a direction.
    """
    first, stride, most, _ = task_rows(call, part)
    row = width * size_of(real)
    for t in range(time, time + count):
        position = rows_before(call, t) - rows_before(call, time) + call.earlier_rows + first
        invoke(
            call.routines.copy_rows,
            real,
            copied_rows(
                call, array, t, 1, 1, first, stride, most, direction * width + channel, channels,
                target + position * row + channel * size_of(real), stride * row,
            ),
        )  # fmt: skip
