"""The gradient of each row of a batch by itself: backward, whose last products are summed over steps and not over rows.

Rows of a batch do not see each other.  So one pass back through time has the derivatives of all of them, and a task takes
one row's, and what its weights multiplied, to a gradient of its own.  It is for sequences of equal length.
"""

import functools

from ..engine.inlined import inlined
from . import launch, passes, plans, routines, weights
from .blocks import (
    block_vectors,
    entry,
    share,
    spread,
    spread_row,
    unit_place,
    unpack,
    vector_bytes,
    vectors_for,
    vectors_in,
)
from .compiled import Task, compile_together
from .groups import INPUT, PROJECTION, RECURRENT, group_at
from .records import BACKWARD, ROUTINE_NAMES, place
from .routine_call import invoke, record_at
from .rows import operand_rows, previous_rows, rows_before, segment_time
from .simd import lanes, lanes_of, load, load_first, size_of, store_first
from .threads import threads

STEPS = 16  # between two sums: so many share what is loaded of a gradient
B_ROW_GRADIENT = place(BACKWARD, "row_gradient")


@inlined
def sum_row_group(real, call, group, columns, direction, row, time, steps, dpre, rows_of, row_stride, stride, accumulate):
    """One row's gradient of a weight, over `steps` steps from `time` on; see `weights.sum_group`."""
    if group.slots == 0:
        return
    units, gates, all_slots, per_block = columns
    source, step_table, step_stride, start_table = rows_of
    size, vector, count = size_of(real), vector_bytes(real), group.rows
    index = direction * call.parts + row
    factor = call.factors + index * call.chunk * spread_row(real, vectors_for(real, max(call.channels, call.hidden)))
    factor_row = spread_row(real, vectors_for(real, count))
    invoke(
        call.routines.copy_rows,
        real,
        (
            source, step_table, step_stride, start_table, row_stride, stride, 0, time, steps, 1, row, row + 1, 1, count,
            factor, factor_row,
        ),
    )  # fmt: skip
    target = call.bias + index * call.row_scratch
    weight = call.parameters + row * call.row_gradient + direction * call.direction_stride + group.parameter
    unit_vectors = vectors_for(real, units)
    for before in range(0, unit_vectors, per_block):
        vectors = min(per_block, unit_vectors - before)
        summed, line = group.slots * vectors, all_slots * vectors * vector
        first = dpre + before * all_slots * call.chunk_rows * vector + group.first * vectors * vector + row * line
        weights.sum_block(
            real, call, first, call.batch * line, steps, summed, factor, size, factor_row, count, True, target,
            summed * vector,
        )  # fmt: skip
        unpack(real, target, units, gates, group.gates, group.slots, before, vectors, count, accumulate, weight)


@inlined
def sum_row_bias(real, call, direction, row, steps, dpre, accumulate):
    """One row's gradient of the biases, likewise."""
    vector, unit_vectors, index = vector_bytes(real), vectors_for(real, call.hidden), direction * call.parts + row
    total = call.bias + index * call.row_scratch
    for before in range(0, unit_vectors, call.per_block):
        columns = call.slots * min(call.per_block, unit_vectors - before)
        line = columns * vector
        weights.sum_block(
            real, call, dpre + before * call.slots * call.chunk_rows * vector + row * line, call.batch * line, steps,
            columns, call.one, 0, 0, 1, True, total + before * call.slots * vector, 0,
        )  # fmt: skip
    for number in range(PROJECTION):
        group = group_at(call, number)
        bias = call.parameters + row * call.row_gradient + direction * call.direction_stride + group.bias
        for unit_vector in range(unit_vectors):
            start, slot_stride = unit_place(real, unit_vector, unit_vectors, 1, 0, call.slots, call.per_block)
            unit = unit_vector * lanes(real)
            for slot in range(group.slots):
                value = load(real, total + start + (group.bias_slot + slot) * slot_stride)
                target = bias + (entry(group.gates, slot) * call.hidden + unit) * size_of(real)
                if accumulate:
                    value = value + load_first(real, target, call.hidden - unit)
                store_first(value, target, call.hidden - unit)


@Task
def row_gradient_task(cell, number, record, index):
    """The long products of a chunk of steps for one row: its gradient of each weight, and some rows of dL/dx."""
    real, call = number(0), record_at(record, BACKWARD)[0]
    direction, row, start, steps = index // call.parts, index % call.parts, call.chunk_start, call.chunk_steps
    size, hidden = size_of(real), call.hidden
    time = segment_time(call, direction) + (start if direction == 0 else call.steps - start - steps)
    accumulate = start + steps < call.steps  # the last steps come first
    dpre = call.dpre + direction * call.chunk_rows * call.slots * vectors_for(real, hidden) * vector_bytes(real)
    if call.dx:
        first, rows = share(steps * call.batch, call.parts, row)
        to = direction * rows_before(call, call.total) + rows_before(call, time) + first
        weights.input_gradient(real, call, direction, dpre, first, rows, 1, to)
    for number in range(PROJECTION + 1):
        derivatives, line, stride, start_table = dpre, call.directions * hidden * size, size, 0
        if number == INPUT:
            source, table, step = call.x.address, call.x.step_table, call.x.step_stride
            line, stride, start_table = call.x.batch_stride, call.x.channel_stride, call.x.start_table
        elif number == RECURRENT:
            source, table, step = previous_rows(real, call, direction)
            line = call.directions * call.width * size
        else:
            source, table, step = operand_rows(real, call, direction)
        if number == PROJECTION:
            derivatives = call.dprojected + direction * call.chunk_rows * vectors_for(real, call.width) * vector_bytes(real)
        sum_row_group(
            real, call, group_at(call, number), weights.columns_of(call, number), direction, row, time, steps, derivatives,
            (source, table, step, start_table), line, stride, accumulate,
        )  # fmt: skip
    sum_row_bias(real, call, direction, row, steps, dpre, accumulate)


class RowSize(plans.Size):
    """The sizes of a layer whose rows have a gradient each."""

    @property
    def parts(self):
        """A part for each row."""
        return self.batch

    @functools.cached_property
    def backward_chunk(self):
        """Steps between two sums."""
        return max(1, min(self.steps, max(STEPS, plans.BACKWARD_ROWS // self.batch)))

    @functools.cached_property
    def row_scratch(self):
        """Numbers of a weight's gradient in a block of units, or of the bias, whichever are more."""
        block = block_vectors(self.cell.slots) * lanes_of(self.dtype)
        wide = plans.MAX_VECTORS * lanes_of(self.dtype)  # of a block of the projection
        sizes = [group.rows * len(group.slots) * (wide if group.name == "projection" else block) for group in self.groups]
        return max(*sizes, self.padded * self.cell.dpre_count)

    def backward_scratch(self, need_x):
        """{field: numbers} of what backward needs for itself, and each row's sums."""
        rows, vector = self.directions * self.batch, lanes_of(self.dtype)
        wide = spread(vectors_in(max(self.channels, self.hidden), self.dtype)) * vector
        found = {name: n for name, n in super().backward_scratch(need_x).items() if name not in self.gradients()}
        return found | {"bias": rows * self.row_scratch, "factors": rows * self.backward_chunk * wide}


@functools.lru_cache(maxsize=512)
def row_plans(of, need_x, threads_):
    """The `BackwardPlans` that go with what forward kept, all of it, of sequences of equal length."""
    size = of.size
    size = RowSize(
        size.cell, size.hidden, size.directions, size.packing, size.channels, size.dtype, size.vectors, size.projection
    )
    compile_together(
        (of.kernels.backward_task, size.cell, size.dtype), (row_gradient_task, None, size.dtype), (passes.backward,),
        *((routines.ROUTINES[name], size.dtype) for name in ROUTINE_NAMES),
    )  # fmt: skip
    constants = size.constants(ROUTINE_NAMES) | {
        "c_kept": 1,
        "operand_kept": 1,
        "segment_rows": size.packing.rows,
        "slots": size.cell.dpre_count,
        "work.task": of.kernels.backward_task.address(size.cell, size.dtype),
        "work.gradient_task": row_gradient_task.address(None, size.dtype),
        "chunk": size.backward_chunk,
        "chunk_rows": size.chunk_rows,
        "one": plans._one(size.dtype).ctypes.data,
        "row_scratch": size.row_scratch * size.dtype.itemsize,
    }
    scratch = plans.Layout(size.backward_scratch(need_x), size.dtype)
    held = of.tape.without(size.gradients())
    return plans.BackwardPlans(scratch, plans.Plan(BACKWARD, constants, [scratch, held], size))


def knows(tape):
    """Whether a `launch.Tape` is of a layer and a batch of which each row's gradient can be had."""
    cell = tape.size.cell
    plain = cell.feeds_every_gate and not (cell.unit_value_count or cell.normalized_values)
    return plain and tape.packing.uniform and tape.keep.gates and tape.packing.rows > 0


class Adjoint(launch.Adjoint):
    """One layer's backward with a gradient of each row.

    Parameters
    ----------
    tape, dy, dfinal, need_x
        As of `launch.Adjoint`; `knows` the tape.
    gradient : numpy.ndarray
        (N, numbers): of each row the gradient vector from this layer's part on (is modified).
    """

    def __init__(self, tape, dy, dfinal, need_x, gradient):
        super().__init__(tape, dy, dfinal, need_x, gradient, False)
        self.backward.record[B_ROW_GRADIENT] = gradient.strides[0]

    def _plans(self, need_x):
        return row_plans(self.tape.plans, need_x, threads())
