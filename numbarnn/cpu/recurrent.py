"""One recurrent layer through time on the CPU, both directions at once: forward and backpropagation.

A task owns some rows of the batch, in one direction, through the whole sequence.  The input's part of the
pre-activations is computed for a chunk of steps at a time; each step adds the state's part, block of units by block, and
applies the cell to the block while it is in the L1 cache.  Backward goes through the chunks from the last to the first:
tasks over rows of the batch take the derivatives back through time, then tasks over rows of the *result* sum the
weight gradients, so that every sum has one order whatever the number of threads.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units, S slots of the cell.
"""

import numpy as np
from numba import njit, prange

from .packing import clear, copy_rows
from .product import MAX_VECTORS, product
from .simd import lanes, load, load_first, size_of, store, store_first
from .types import add_output, load_dstate, load_saved, load_slots, load_state, store_all, store_state

ROWS = np.dtype([(name, np.int64) for name in ("address", "step_stride", "batch_stride", "channel_stride")])

# Everything a call needs besides its types.  Addresses and strides are in bytes; each buffer's docstring line gives its
# shape; "packed" is the form `packing.pack` makes.
SIZES = [(name, np.int64) for name in ("steps", "batch", "channels", "hidden", "directions", "tasks", "parts", "chunk")]
FORWARD = np.dtype(
    SIZES
    + [("x", ROWS)]  # [T, N, I], the caller's array
    + [
        (name, np.int64)
        for name in (
            "product",  # address of the compiled product
            "input_weight",  # [D] packed W
            "recurrent_weight",  # [D] packed R of the recurrent slots
            "gated_weight",  # [D] packed R of the gated slots
            "bias",  # [D] packed, one row, all slots
            "h",  # [T + 2, N, D, H]: row 0 the initial state of the forward direction, row T + 1 of the reverse one
            "c",  # like h; a single row, overwritten by each step, where nothing is kept
            "c_step",  # stride of a step in c: 0 where nothing is kept
            "operand",  # [T, N, D, H], what the gated R multiplies; a single row where nothing is kept
            "operand_step",  # stride of a step in operand
            "saved",  # [D, T, N, blocks, (saved, unit)], read by backward
            "keep",  # 1 to fill `saved`, 0 to leave it alone
            "inputs",  # [D, N * chunk, I], this call only
            "pre",  # [D, N * chunk * blocks, (slot, unit)], this call only
        )
    ]
)
BACKWARD = np.dtype(
    SIZES
    + [("x", ROWS), ("dy", ROWS)]  # [T, N, I] and [T, N, D * H]; address 0: no dy
    + [
        (name, np.int64)
        for name in (
            "product",
            "recurrent_transposed",  # [D] packed transposed R of the recurrent slots
            "gated_transposed",  # [D] packed transposed R of the gated slots
            "input_transposed",  # [D] packed transposed W, or 0: no dx asked
            "h",  # as forward left it
            "c",
            "c_step",
            "operand",
            "operand_step",
            "saved",
            "dh",  # [D, N, padded H]: dL/dh of the last step on entry, of the initial state at the end
            "dc",  # [D, N, padded H], likewise
            "doperand",  # [D, N, padded H], this call only
            "dpre",  # [D, blocks, chunk * N, (slot, unit)], this call only
            "inputs",  # [D, chunk * N, I], this call only
            "outputs",  # [D, N * chunk, H], this call only
            "dinputs",  # [D, chunk * N, padded I], this call only
            "dx",  # [D, T, N, I], or 0
            "dinput_weight",  # [D] packed, all of them zero on entry
            "drecurrent_weight",
            "dgated_weight",
            "dbias",
            "one",  # address of the number 1
        )
    ]
)


@njit
def share(total, parts, part):
    """(first, number) of the items of `total` that `part` of `parts` gets."""
    first = total * part // parts
    return first, total * (part + 1) // parts - first


@njit
def blocks_of(cell, real, hidden):
    """(vectors of units a block, blocks, vectors of units in all)."""
    per_block = MAX_VECTORS // cell.slots
    unit_vectors = (hidden + lanes(real) - 1) // lanes(real)
    return per_block, (unit_vectors + per_block - 1) // per_block, unit_vectors


@njit
def time_of(step, steps, direction):
    """The time that the given step of a direction visits."""
    return step if direction == 0 else steps - 1 - step


@njit
def previous_row(time, direction):
    """The row of h or c that holds the state before the step at `time`; the state after it is row ``time + 1``."""
    return time if direction == 0 else time + 2


@njit
def gather(real, array, steps, direction, start, count, first, rows, channel, channels, target):
    """Copy the rows ``first : first + rows`` of `count` steps, in the direction's order, to ``[count, rows, channels]``."""
    stride = array.step_stride if direction == 0 else -array.step_stride
    source = (
        array.address
        + time_of(start, steps, direction) * array.step_stride
        + first * array.batch_stride
        + channel * array.channel_stride
    )
    copy_rows(real, source, count, stride, rows, array.batch_stride, channels, array.channel_stride, target)


@njit
def forward_task(cell, real, calls, direction, part):
    """One part of the batch through the whole sequence, in one direction."""
    call = calls[0]
    first, rows = share(call.batch, call.tasks, part)
    size, width = size_of(real), lanes(real)
    vector = width * size
    steps, hidden, channels = call.steps, call.hidden, call.channels
    per_block, blocks, unit_vectors = blocks_of(cell, real, hidden)
    first_input, inputs_ = cell.input_span
    first_recurrent, recurrents = cell.recurrent_span
    first_gated, gateds = cell.gated_span
    state_row = call.directions * hidden * size
    state_step = call.batch * state_row
    state = first * state_row + direction * hidden * size
    saved_row = unit_vectors * cell.saved * vector
    share_of_task = (direction * call.batch + first) * call.chunk
    xs = call.inputs + share_of_task * channels * size
    pre = call.pre + share_of_task * unit_vectors * cell.slots * vector
    input_weight = call.input_weight + direction * channels * unit_vectors * inputs_ * vector
    recurrent_weight = call.recurrent_weight + direction * hidden * unit_vectors * recurrents * vector
    gated_weight = call.gated_weight + direction * hidden * unit_vectors * gateds * vector
    bias = call.bias + direction * unit_vectors * cell.slots * vector
    for start in range(0, steps, call.chunk):
        count = min(call.chunk, steps - start)
        gather(real, call.x, steps, direction, start, count, first, rows, 0, channels, xs)
        for block in range(blocks):
            before = block * per_block
            vectors = min(per_block, unit_vectors - before)
            row = cell.slots * vectors * vector
            target = pre + before * cell.slots * vector * call.chunk * rows
            for r in range(count * rows):
                for i in range(cell.slots * vectors):
                    store(load(real, bias + before * cell.slots * vector + i * vector), target + r * row + i * vector)
            product(
                call.product, target + first_input * vectors * vector, row, xs, channels * size, size,
                input_weight + before * channels * inputs_ * vector, inputs_ * vectors * vector,
                channels, count * rows, inputs_ * vectors,
            )  # fmt: skip
        for step in range(start, start + count):
            time = time_of(step, steps, direction)
            h = call.h + previous_row(time, direction) * state_step + state
            c = call.c + previous_row(time, direction) * call.c_step + state
            h_new = call.h + (time + 1) * state_step + state
            c_new = call.c + (time + 1) * call.c_step + state
            operand = call.operand + time * call.operand_step + state
            saved = call.saved + ((direction * steps + time) * call.batch + first) * saved_row
            for block in range(blocks):
                before = block * per_block
                vectors = min(per_block, unit_vectors - before)
                row = cell.slots * vectors * vector
                target = pre + (before * cell.slots * vector * call.chunk + (step - start) * row) * rows
                if recurrents > 0:
                    product(
                        call.product, target + first_recurrent * vectors * vector, row, h, state_row, size,
                        recurrent_weight + before * hidden * recurrents * vector, recurrents * vectors * vector,
                        hidden, rows, recurrents * vectors,
                    )  # fmt: skip
                for r in range(rows):
                    for v in range(vectors):
                        unit = (before + v) * width
                        place = target + r * row + v * vector
                        at = r * state_row + unit * size
                        old = load_state(cell, real, h + at, c + at, hidden - unit)
                        values = load_slots(cell, real, place, vectors * vector)
                        if gateds > 0:
                            values, product_operand = cell.gate(values, old)
                            store_all(values, place, vectors * vector)
                            store_first(product_operand, operand + at, hidden - unit)
                        else:
                            new, kept = cell.forward(values, old)
                            store_state(cell, new, h_new + at, c_new + at, hidden - unit)
                            if call.keep:
                                store_all(kept, saved + r * saved_row + before * cell.saved * vector + v * vector,
                                          vectors * vector)  # fmt: skip
            if gateds > 0:
                for block in range(blocks):
                    before = block * per_block
                    vectors = min(per_block, unit_vectors - before)
                    row = cell.slots * vectors * vector
                    target = pre + (before * cell.slots * vector * call.chunk + (step - start) * row) * rows
                    product(
                        call.product, target + first_gated * vectors * vector, row, operand, state_row, size,
                        gated_weight + before * hidden * gateds * vector, gateds * vectors * vector,
                        hidden, rows, gateds * vectors,
                    )  # fmt: skip
                    for r in range(rows):
                        for v in range(vectors):
                            unit = (before + v) * width
                            at = r * state_row + unit * size
                            old = load_state(cell, real, h + at, c + at, hidden - unit)
                            values = load_slots(cell, real, target + r * row + v * vector, vectors * vector)
                            new, kept = cell.forward(values, old)
                            store_state(cell, new, h_new + at, c_new + at, hidden - unit)
                            if call.keep:
                                store_all(kept, saved + r * saved_row + before * cell.saved * vector + v * vector,
                                          vectors * vector)  # fmt: skip


@njit(parallel=True, cache=True)
def forward(cell, real, calls):
    """Fill h, c and the tape of `calls[0]`, a FORWARD record."""
    directions, tasks = calls[0].directions, calls[0].tasks
    for task in prange(directions * tasks):
        forward_task(cell, real, calls, task // tasks, task % tasks)


@njit
def backward_task(cell, real, calls, direction, part, start, count):
    """Derivatives of `count` steps from `start` on, last step first, for one part of the batch."""
    call = calls[0]
    first, rows = share(call.batch, call.tasks, part)
    size, width = size_of(real), lanes(real)
    vector = width * size
    steps, hidden = call.steps, call.hidden
    per_block, blocks, unit_vectors = blocks_of(cell, real, hidden)
    first_recurrent, recurrents = cell.recurrent_span
    first_gated, gateds = cell.gated_span
    state_row = call.directions * hidden * size
    state_step = call.batch * state_row
    state = first * state_row + direction * hidden * size
    saved_row = unit_vectors * cell.saved * vector
    padded_row = unit_vectors * vector
    padded = (direction * call.batch + first) * padded_row
    dh, dc, doperand = call.dh + padded, call.dc + padded, call.doperand + padded
    chunk_rows = call.chunk * call.batch
    recurrent_transposed = call.recurrent_transposed + direction * unit_vectors * width * unit_vectors * recurrents * vector
    gated_transposed = call.gated_transposed + direction * unit_vectors * width * unit_vectors * gateds * vector
    dpre_all = call.dpre + direction * chunk_rows * unit_vectors * cell.slots * vector
    dys = call.outputs + (direction * call.batch + first) * call.chunk * hidden * size
    if call.dy.address:
        gather(real, call.dy, steps, direction, start, count, first, rows, direction * hidden, hidden, dys)
    earliest = start if direction == 0 else steps - start - count
    x = call.x.address + earliest * call.x.step_stride + first * call.x.batch_stride
    xs = call.inputs + (direction * chunk_rows + first) * call.channels * size
    for s in range(count):
        copy_rows(
            real, x + s * call.x.step_stride, 1, 0, rows, call.x.batch_stride, call.channels, call.x.channel_stride,
            xs + s * call.batch * call.channels * size,
        )  # fmt: skip
    for step in range(start + count - 1, start - 1, -1):
        time = time_of(step, steps, direction)
        position = (time - earliest) * call.batch + first
        h = call.h + previous_row(time, direction) * state_step + state
        c = call.c + previous_row(time, direction) * call.c_step + state
        h_new = call.h + (time + 1) * state_step + state
        c_new = call.c + (time + 1) * call.c_step + state
        saved = call.saved + ((direction * steps + time) * call.batch + first) * saved_row
        dy = dys + (step - start) * rows * hidden * size
        for block in range(blocks):
            before = block * per_block
            vectors = min(per_block, unit_vectors - before)
            row = cell.slots * vectors * vector
            target = dpre_all + before * cell.slots * vector * chunk_rows + position * row
            for r in range(rows):
                for v in range(vectors):
                    unit = (before + v) * width
                    at = r * state_row + unit * size
                    at_padded = r * padded_row + unit * size
                    dnew = load_dstate(cell, real, dh + at_padded, dc + at_padded)
                    if call.dy.address:
                        dnew = add_output(cell, dnew, load_first(real, dy + (r * hidden + unit) * size, hidden - unit))
                    kept = load_saved(cell, real, saved + r * saved_row + before * cell.saved * vector + v * vector,
                                      vectors * vector)  # fmt: skip
                    old = load_state(cell, real, h + at, c + at, hidden - unit)
                    new = load_state(cell, real, h_new + at, c_new + at, hidden - unit)
                    dpre, dold = cell.adjoint(kept, old, new, dnew)
                    store_all(dpre, target + r * row + v * vector, vectors * vector)
                    store_state(cell, dold, dh + at_padded, dc + at_padded, width)
        if gateds > 0:
            clear(real, doperand, rows * unit_vectors)
            back_to_state(
                real, call, gated_transposed, dpre_all, position, rows, first_gated, gateds, cell.slots, doperand,
                per_block, blocks, unit_vectors,
            )  # fmt: skip
            for block in range(blocks):
                before = block * per_block
                vectors = min(per_block, unit_vectors - before)
                row = cell.slots * vectors * vector
                target = dpre_all + before * cell.slots * vector * chunk_rows + position * row
                for r in range(rows):
                    for v in range(vectors):
                        unit = (before + v) * width
                        at = r * state_row + unit * size
                        at_padded = r * padded_row + unit * size
                        place = target + r * row + v * vector
                        kept = load_saved(cell, real, saved + r * saved_row + before * cell.saved * vector + v * vector,
                                          vectors * vector)  # fmt: skip
                        old = load_state(cell, real, h + at, c + at, hidden - unit)
                        dpre = load_slots(cell, real, place, vectors * vector)
                        dold = load_dstate(cell, real, dh + at_padded, dc + at_padded)
                        dpre, dold = cell.gate_adjoint(kept, old, load(real, doperand + at_padded), dpre, dold)
                        store_all(dpre, place, vectors * vector)
                        store_state(cell, dold, dh + at_padded, dc + at_padded, width)
        back_to_state(
            real, call, recurrent_transposed, dpre_all, position, rows, first_recurrent, recurrents, cell.slots, dh,
            per_block, blocks, unit_vectors,
        )  # fmt: skip


@njit
def back_to_state(
    real, call, transposed, dpre, position, rows, first_slot, slots, all_slots, target, per_block, blocks, unit_vectors
):  # fmt: skip
    """``target += dpre R'`` over the given slots, for `rows` rows of dpre from `position` on."""
    back_to_rows(
        real, call.product, transposed, dpre, call.chunk * call.batch, position, rows, first_slot, slots, all_slots,
        target, unit_vectors, per_block, blocks, unit_vectors,
    )  # fmt: skip


@njit
def back_to_rows(
    real, multiply, transposed, dpre, chunk_rows, position, rows, first_slot, slots, all_slots, target, row_vectors,
    per_block, blocks, unit_vectors,
):  # fmt: skip
    """``target += dpre M'`` for a packed transposed M with `row_vectors` vectors of rows."""
    vector = lanes(real) * size_of(real)
    depth = unit_vectors * slots * lanes(real)
    for panel in range(0, row_vectors, MAX_VECTORS):
        columns = min(MAX_VECTORS, row_vectors - panel)
        operand = transposed + panel * depth * vector
        for block in range(blocks):
            before = block * per_block
            vectors = min(per_block, unit_vectors - before)
            row = all_slots * vectors * vector
            source = dpre + before * all_slots * vector * chunk_rows + position * row + first_slot * vectors * vector
            product(
                multiply, target + panel * vector, row_vectors * vector, source, row, size_of(real),
                operand + before * slots * lanes(real) * columns * vector, columns * vector,
                slots * vectors * lanes(real), rows, columns,
            )  # fmt: skip


@njit
def sum_over_rows(
    real, call, cell_slots, dpre, start_row, count, a, a_row, a_depth, first, rows, total_rows, first_slot, slots, target,
    per_block, blocks, unit_vectors,
):  # fmt: skip
    """``target[first : first + rows] += A' dpre`` over `count` rows of dpre: part of a weight's packed gradient."""
    vector = lanes(real) * size_of(real)
    chunk_rows = call.chunk * call.batch
    for block in range(blocks):
        before = block * per_block
        vectors = min(per_block, unit_vectors - before)
        row = cell_slots * vectors * vector
        source = dpre + before * cell_slots * vector * chunk_rows + start_row * row + first_slot * vectors * vector
        result_row = slots * vectors * vector
        product(
            call.product, target + before * total_rows * slots * vector + first * result_row, result_row,
            a + first * a_row, a_row, a_depth, source, row, count, rows, slots * vectors,
        )  # fmt: skip


@njit
def gradient_task(cell, real, calls, direction, part, start, count):
    """One part of the long products of a chunk: some rows of dx and some rows of each weight's gradient."""
    call = calls[0]
    parts = call.parts
    size, width = size_of(real), lanes(real)
    vector = width * size
    steps, hidden, channels = call.steps, call.hidden, call.channels
    per_block, blocks, unit_vectors = blocks_of(cell, real, hidden)
    first_input, inputs_ = cell.input_span
    first_recurrent, recurrents = cell.recurrent_span
    first_gated, gateds = cell.gated_span
    chunk_rows, rows = call.chunk * call.batch, count * call.batch
    dpre = call.dpre + direction * chunk_rows * unit_vectors * cell.slots * vector
    xs = call.inputs + direction * chunk_rows * channels * size
    earliest = start if direction == 0 else steps - start - count
    state_row = call.directions * hidden * size
    if call.input_transposed:
        channel_vectors = (channels + width - 1) // width
        first, mine = share(rows, parts, part)
        dxs = call.dinputs + (direction * chunk_rows + first) * channel_vectors * vector
        clear(real, dxs, mine * channel_vectors)
        back_to_rows(
            real, call.product, call.input_transposed + direction * channel_vectors * width * unit_vectors * inputs_ * vector,
            dpre, chunk_rows, first, mine, first_input, inputs_, cell.slots, dxs, channel_vectors,
            per_block, blocks, unit_vectors,
        )  # fmt: skip
        dx = call.dx + ((direction * steps + earliest) * call.batch + first) * channels * size
        copy_rows(real, dxs, 1, 0, mine, channel_vectors * vector, channels, size, dx)
    first, mine = share(channels, parts, part)
    dinput = call.dinput_weight + direction * channels * unit_vectors * inputs_ * vector
    if mine > 0:
        sum_over_rows(
            real, call, cell.slots, dpre, 0, rows, xs, size, channels * size, first, mine, channels, first_input, inputs_,
            dinput, per_block, blocks, unit_vectors,
        )  # fmt: skip
    first, mine = share(hidden, parts, part)
    if mine > 0:
        before = call.h + (previous_row(earliest, direction) * call.batch * call.directions + direction) * hidden * size
        drecurrent = call.drecurrent_weight + direction * hidden * unit_vectors * recurrents * vector
        sum_over_rows(
            real, call, cell.slots, dpre, 0, rows, before, size, state_row, first, mine, hidden, first_recurrent,
            recurrents, drecurrent, per_block, blocks, unit_vectors,
        )  # fmt: skip
        if gateds > 0:
            operand = call.operand + earliest * call.operand_step + direction * hidden * size
            dgated = call.dgated_weight + direction * hidden * unit_vectors * gateds * vector
            sum_over_rows(
                real, call, cell.slots, dpre, 0, rows, operand, size, state_row, first, mine, hidden, first_gated, gateds,
                dgated, per_block, blocks, unit_vectors,
            )  # fmt: skip
    if part == parts - 1:
        dbias = call.dbias + direction * unit_vectors * cell.slots * vector
        sum_over_rows(
            real, call, cell.slots, dpre, 0, rows, call.one, 0, 0, 0, 1, 1, 0, cell.slots, dbias,
            per_block, blocks, unit_vectors,
        )  # fmt: skip


@njit(parallel=True, cache=True)
def backward(cell, real, calls):
    """Take `calls[0]`, a BACKWARD record, from the last chunk of steps to the first."""
    steps, chunk, directions, tasks, parts = (
        calls[0].steps, calls[0].chunk, calls[0].directions, calls[0].tasks, calls[0].parts
    )  # fmt: skip
    for index in range((steps + chunk - 1) // chunk, 0, -1):
        start = (index - 1) * chunk
        count = min(chunk, steps - start)
        for task in prange(directions * tasks):
            backward_task(cell, real, calls, task // tasks, task % tasks, start, count)
        for task in prange(directions * parts):
            gradient_task(cell, real, calls, task // parts, task % parts, start, count)
