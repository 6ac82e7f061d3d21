"""One recurrent layer through time on the CPU, both directions at once: forward and backpropagation.

A task owns some rows of the batch, in one direction, through the whole sequence.  The input's part of the
pre-activations is computed for a chunk of steps at a time; each step adds the state's part, block of units by block, and
applies the cell to the block while it is in the L1 cache.  Backward goes through the chunks from the last to the first:
tasks over rows of the batch take the derivatives back through time, then tasks over rows of the result sum the weight
gradients (`weights.gradient_task`).
"""

from numba import njit, prange

from .blocks import clear, share, vector_bytes, vectors_for
from .compiled import kernel
from .records import BACKWARD, FORWARD
from .routine_call import invoke, record_at
from .simd import lanes, load, load_first, size_of, store, store_first
from .types import add_output, load_dstate, load_saved, load_slots, load_state, store_all, store_state


@njit
def time_of(step, steps, direction):
    """The time that the given step of a direction visits."""
    return step if direction == 0 else steps - 1 - step


@njit
def previous_row(time, direction):
    """The row of h or c that holds the state before the step at `time`; the state after it is row ``time + 1``."""
    return time if direction == 0 else time + 2


@njit
def gather(real, call, array, direction, start, count, first, rows, channel, channels, target):
    """Copy rows ``first : first + rows`` of `count` steps, in the direction's order, to ``[count, rows, channels]``."""
    source = (
        array.address
        + time_of(start, call.steps, direction) * array.step_stride
        + first * array.batch_stride
        + channel * array.channel_stride
    )
    step_stride = array.step_stride if direction == 0 else -array.step_stride
    invoke(
        call.routines.copy_rows,
        (source, count, step_stride, rows, array.batch_stride, channels, array.channel_stride, target),
    )


@njit
def add_product(real, call, group, direction, before, vectors, a, a_row, rows, target, target_row):
    """Add the product of A and one block of a group's weight to the slots it feeds, at `target` (modified)."""
    vector = vector_bytes(real)
    units = vectors_for(real, call.hidden)
    weight = group.weight + (direction * units + before) * group.rows * group.slots * vector
    invoke(
        call.routines.product,
        (
            target + group.first * vectors * vector, target_row, a, a_row, size_of(real),
            weight, group.slots * vectors * vector, group.rows, rows, group.slots * vectors,
        ),
    )  # fmt: skip


@njit
def add_input(real, call, direction, first, rows, start, count, inputs, pre):
    """The bias and the input's part of the pre-activations of `count` steps, block by block."""
    vector, units, channels = vector_bytes(real), vectors_for(real, call.hidden), call.channels
    gather(real, call, call.x, direction, start, count, first, rows, 0, channels, inputs)
    bias = call.bias + direction * units * call.slots * vector
    for before in range(0, units, call.per_block):
        vectors = min(call.per_block, units - before)
        row = call.slots * vectors * vector
        target = pre + before * call.slots * vector * call.chunk * rows
        for i in range(call.slots * vectors):
            value = load(real, bias + before * call.slots * vector + i * vector)
            for r in range(count * rows):
                store(value, target + r * row + i * vector)
        add_product(
            real, call, call.input, direction, before, vectors, inputs, channels * size_of(real), count * rows, target, row
        )


@njit
def forward_task(cell, real, calls, direction, part):
    """One part of the batch through the whole sequence, in one direction."""
    call = calls[0]
    first, rows = share(call.batch, call.tasks, part)
    size, vector, hidden = size_of(real), vector_bytes(real), call.hidden
    units = vectors_for(real, hidden)
    state_row = call.directions * hidden * size
    state_step = call.batch * state_row
    state = first * state_row + direction * hidden * size
    saved_row = units * cell.saved * vector
    before_task = (direction * call.batch + first) * call.chunk
    inputs = call.inputs + before_task * call.channels * size
    pre = call.pre + before_task * units * cell.slots * vector
    for start in range(0, call.steps, call.chunk):
        count = min(call.chunk, call.steps - start)
        add_input(real, call, direction, first, rows, start, count, inputs, pre)
        for step in range(start, start + count):
            time = time_of(step, call.steps, direction)
            h = call.h + previous_row(time, direction) * state_step + state
            c = call.c + previous_row(time, direction) * call.c_step + state
            h_new = call.h + (time + 1) * state_step + state
            c_new = call.c + (time + 1) * call.c_step + state
            operand = call.operand + time * call.operand_step + state
            saved = call.saved + ((direction * call.steps + time) * call.batch + first) * saved_row
            if cell.gated_span[1] > 0:
                for before in range(0, units, call.per_block):
                    vectors = min(call.per_block, units - before)
                    row = cell.slots * vectors * vector
                    target = pre + (before * cell.slots * vector * call.chunk + (step - start) * row) * rows
                    add_product(
                        real, call, call.recurrent, direction, before, vectors, h, state_row, rows, target, row
                    )
                    for r in range(rows):
                        for v in range(vectors):
                            unit = (before + v) * lanes(real)
                            at = r * state_row + unit * size
                            place = target + r * row + v * vector
                            old = load_state(cell, real, h + at, c + at, hidden - unit)
                            values, gated = cell.gate(load_slots(cell, real, place, vectors * vector), old)
                            store_all(values, place, vectors * vector)
                            store_first(gated, operand + at, hidden - unit)
            for before in range(0, units, call.per_block):
                vectors = min(call.per_block, units - before)
                row = cell.slots * vectors * vector
                target = pre + (before * cell.slots * vector * call.chunk + (step - start) * row) * rows
                if cell.gated_span[1] > 0:
                    add_product(real, call, call.gated, direction, before, vectors, operand, state_row, rows, target, row)
                else:
                    add_product(real, call, call.recurrent, direction, before, vectors, h, state_row, rows, target, row)
                for r in range(rows):
                    for v in range(vectors):
                        unit = (before + v) * lanes(real)
                        at = r * state_row + unit * size
                        old = load_state(cell, real, h + at, c + at, hidden - unit)
                        values = load_slots(cell, real, target + r * row + v * vector, vectors * vector)
                        new, kept = cell.forward(values, old)
                        store_state(cell, new, h_new + at, c_new + at, hidden - unit)
                        if call.keep:
                            place = saved + r * saved_row + (before * cell.saved + v) * vector
                            store_all(kept, place, vectors * vector)


@kernel
def forward(cell, real, address):
    """Fill h, c and the tape of the FORWARD record at `address`."""
    calls = record_at(address, FORWARD)
    directions, tasks, parts, pack_task = calls[0].directions, calls[0].tasks, calls[0].parts, calls[0].routines.pack_task
    for task in prange(directions * parts):
        invoke(pack_task, (address, task // parts, task % parts))
    for task in prange(directions * tasks):
        forward_task(cell, real, calls, task // tasks, task % tasks)


@njit
def back_through(real, call, group, direction, dpre, position, rows, target):
    """``target += dpre R'`` for a group of slots: `rows` rows of dpre from `position` on, target (rows, padded H)."""
    units = vectors_for(real, call.hidden)
    weight = units * lanes(real) * units * group.slots * vector_bytes(real)
    invoke(
        call.routines.times_transposed,
        (
            call.routines.product, group.transposed + direction * weight, call.hidden, group.slots, call.hidden,
            call.per_block, dpre, call.slots, group.first, call.chunk * call.batch, position, rows, target,
        ),
    )  # fmt: skip


@njit
def backward_task(cell, real, calls, direction, part, start, count):
    """Derivatives of `count` steps from `start` on, last step first, for one part of the batch."""
    call = calls[0]
    first, rows = share(call.batch, call.tasks, part)
    size, vector, hidden = size_of(real), vector_bytes(real), call.hidden
    units = vectors_for(real, hidden)
    state_row = call.directions * hidden * size
    state_step = call.batch * state_row
    state = first * state_row + direction * hidden * size
    saved_row = units * cell.saved * vector
    padded_row = units * vector
    padded = (direction * call.batch + first) * padded_row
    dh, dc, doperand = call.dh + padded, call.dc + padded, call.doperand + padded
    chunk_rows = call.chunk * call.batch
    dpre_all = call.dpre + direction * chunk_rows * units * cell.slots * vector
    outputs = call.outputs + (direction * call.batch + first) * call.chunk * hidden * size
    if call.dy.address:
        gather(real, call, call.dy, direction, start, count, first, rows, direction * hidden, hidden, outputs)
    earliest = start if direction == 0 else call.steps - start - count
    for s in range(count):  # in order of time: the order in which the weight gradients are summed
        gather(
            real, call, call.x, 0, earliest + s, 1, first, rows, 0, call.channels,
            call.inputs + (direction * chunk_rows + s * call.batch + first) * call.channels * size,
        )  # fmt: skip
    for step in range(start + count - 1, start - 1, -1):
        time = time_of(step, call.steps, direction)
        position = (time - earliest) * call.batch + first
        h = call.h + previous_row(time, direction) * state_step + state
        c = call.c + previous_row(time, direction) * call.c_step + state
        h_new = call.h + (time + 1) * state_step + state
        c_new = call.c + (time + 1) * call.c_step + state
        saved = call.saved + ((direction * call.steps + time) * call.batch + first) * saved_row
        dy = outputs + (step - start) * rows * hidden * size
        for before in range(0, units, call.per_block):
            vectors = min(call.per_block, units - before)
            row = cell.slots * vectors * vector
            target = dpre_all + before * cell.slots * vector * chunk_rows + position * row
            for r in range(rows):
                for v in range(vectors):
                    unit = (before + v) * lanes(real)
                    at, at_padded = r * state_row + unit * size, r * padded_row + unit * size
                    dnew = load_dstate(cell, real, dh + at_padded, dc + at_padded)
                    if call.dy.address:
                        dnew = add_output(cell, dnew, load_first(real, dy + (r * hidden + unit) * size, hidden - unit))
                    place = saved + r * saved_row + (before * cell.saved + v) * vector
                    kept = load_saved(cell, real, place, vectors * vector)
                    old = load_state(cell, real, h + at, c + at, hidden - unit)
                    new = load_state(cell, real, h_new + at, c_new + at, hidden - unit)
                    dpre, dold = cell.adjoint(kept, old, new, dnew)
                    store_all(dpre, target + r * row + v * vector, vectors * vector)
                    store_state(cell, dold, dh + at_padded, dc + at_padded, lanes(real))
        if cell.gated_span[1] > 0:
            clear(real, doperand, rows * units)
            back_through(real, call, call.gated, direction, dpre_all, position, rows, doperand)
            for before in range(0, units, call.per_block):
                vectors = min(call.per_block, units - before)
                row = cell.slots * vectors * vector
                target = dpre_all + before * cell.slots * vector * chunk_rows + position * row
                for r in range(rows):
                    for v in range(vectors):
                        unit = (before + v) * lanes(real)
                        at, at_padded = r * state_row + unit * size, r * padded_row + unit * size
                        place = saved + r * saved_row + (before * cell.saved + v) * vector
                        kept = load_saved(cell, real, place, vectors * vector)
                        old = load_state(cell, real, h + at, c + at, hidden - unit)
                        dpre = load_slots(cell, real, target + r * row + v * vector, vectors * vector)
                        dold = load_dstate(cell, real, dh + at_padded, dc + at_padded)
                        dpre, dold = cell.gate_adjoint(kept, old, load(real, doperand + at_padded), dpre, dold)
                        store_all(dpre, target + r * row + v * vector, vectors * vector)
                        store_state(cell, dold, dh + at_padded, dc + at_padded, lanes(real))
        back_through(real, call, call.recurrent, direction, dpre_all, position, rows, dh)


@kernel
def backward(cell, real, address):
    """Take the BACKWARD record at `address` from the last chunk of steps to the first."""
    calls = record_at(address, BACKWARD)
    steps, chunk, directions, tasks, parts, gradient_task = (
        calls[0].steps, calls[0].chunk, calls[0].directions, calls[0].tasks, calls[0].parts, calls[0].routines.gradient_task
    )  # fmt: skip
    for index in range((steps + chunk - 1) // chunk, 0, -1):
        start = (index - 1) * chunk
        count = min(chunk, steps - start)
        for task in prange(directions * tasks):
            backward_task(cell, real, calls, task // tasks, task % tasks, start, count)
        for task in prange(directions * parts):
            invoke(gradient_task, (address, task // parts, task % parts, start, count))
