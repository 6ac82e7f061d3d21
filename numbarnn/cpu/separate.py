"""The gradient of each row of a batch by itself: backward, whose last products are summed over steps and not over rows.

Rows of a batch do not see each other.  So one pass back through time has the derivatives of all of them, and a task takes
one row's, and what its weights multiplied, to a gradient of its own.  Each row's steps are summed in the order in which they
are where it is the only one: its gradient has the same bits then.
"""

import functools

import numpy as np

from ..arrays.packing import uniform
from ..engine.inlined import inlined
from . import launch, passes, plans, routines, sizes, weights
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
from .memory import zeros
from .product import MAX_VECTORS
from .records import BACKWARD, ROUTINE_NAMES, place
from .routine_call import invoke, record_at
from .rows import WORD, operand_rows, previous_rows, rows_before
from .simd import lanes, load, size_of, store_first
from .threads import threads
from .vectors import lanes_of

B_ROW_GRADIENT, B_ALONE, B_DUNIT_VALUES = (place(BACKWARD, name) for name in ("row_gradient", "alone", "dunit_values"))
ALONE = 3  # numbers of each row there


@inlined
def alone(call, row):
    """(steps of a row, steps between two sums, which of the gradients is the row's)."""
    place = call.alone + row * ALONE * WORD
    return entry(place, 0), entry(place, 1), entry(place, 2)


@inlined
def span(direction, length, most, chunk):
    """(earliest time, number) of the steps of a row's chunk: of `length` steps, `most` in each but the last."""
    start = chunk * most
    count = min(most, length - start)
    return (start if direction == 0 else length - start - count), count


@inlined
def derivatives_of(real, call, index, row, dpre, line, columns, time, count):
    """(address, stride) of what a row has of dpre at some steps: `columns` vectors, rows `line` bytes apart.

    dpre: of the first row of all; copied where rows grow fewer.
    """
    if not call.table:
        return dpre + (time * call.batch + row) * line, call.batch * line
    target, width = call.gathered + index * call.row_gathered, columns * vector_bytes(real)
    invoke(
        call.routines.copy_rows,
        real,
        (
            dpre - 2 * call.batch * line, call.table + 2 * WORD, line, 0, line, size_of(real), 0, time, count, 1, row,
            row + 1, 1, columns * lanes(real), target, width,
        ),
    )  # fmt: skip
    return target, width


@inlined
def sum_row_group(real, call, group, columns, direction, row, dpre, rows_of, row_stride, stride):
    """One row's gradient of a weight, over all steps; see `weights.sum_group`."""
    if group.slots == 0:
        return
    units, gates, all_slots, per_block = columns
    source, step_table, step_stride, start_table = rows_of
    size, vector, wide = size_of(real), vector_bytes(real), group.rows
    index, (length, most, which) = direction * call.parts + row, alone(call, row)
    factor, factor_row = call.factors + index * call.row_factors, spread_row(real, vectors_for(real, wide))
    target = call.bias + index * call.row_scratch
    weight = call.parameters + which * call.row_gradient + direction * call.direction_stride + group.parameter
    unit_vectors, chunks = vectors_for(real, units), (length + most - 1) // most
    for before in range(0, unit_vectors, per_block):
        vectors = min(per_block, unit_vectors - before)
        summed, line = group.slots * vectors, all_slots * vectors * vector
        first = dpre + before * all_slots * call.chunk_rows * vector + group.first * vectors * vector
        for behind in range(chunks):
            time, count = span(direction, length, most, chunks - 1 - behind)
            if before == 0 or chunks > 1:  # else it is there
                invoke(
                    call.routines.copy_rows,
                    real,
                    (
                        source, step_table, step_stride, start_table, row_stride, stride, 0, time, count, 1, row, row + 1,
                        1, wide, factor, factor_row,
                    ),
                )  # fmt: skip
            derivatives, derivatives_row = derivatives_of(real, call, index, row, first, line, summed, time, count)
            weights.sum_block(
                real, call, derivatives, derivatives_row, count, summed, factor, size, factor_row, wide, behind == 0,
                target, summed * vector,
            )  # fmt: skip
        if chunks:
            unpack(real, target, units, gates, group.gates, group.slots, before, vectors, wide, False, weight)


@inlined
def sum_row_bias(real, call, direction, row, dpre):
    """One row's gradient of the biases, likewise."""
    vector, unit_vectors = vector_bytes(real), vectors_for(real, call.hidden)
    index, (length, most, which) = direction * call.parts + row, alone(call, row)
    total, chunks = call.bias + index * call.row_scratch, (length + most - 1) // most
    if chunks == 0:
        return
    for before in range(0, unit_vectors, call.per_block):
        columns = call.slots * min(call.per_block, unit_vectors - before)
        line, first = columns * vector, dpre + before * call.slots * call.chunk_rows * vector
        for behind in range(chunks):
            time, count = span(direction, length, most, chunks - 1 - behind)
            derivatives, derivatives_row = derivatives_of(real, call, index, row, first, line, columns, time, count)
            weights.sum_block(
                real, call, derivatives, derivatives_row, count, columns, call.one, 0, 0, 1, behind == 0,
                total + before * call.slots * vector, 0,
            )  # fmt: skip
    for number in range(PROJECTION):
        group = group_at(call, number)
        bias = call.parameters + which * call.row_gradient + direction * call.direction_stride + group.bias
        for unit_vector in range(unit_vectors):
            start, slot_stride = unit_place(real, unit_vector, unit_vectors, 1, 0, call.slots, call.per_block)
            unit = unit_vector * lanes(real)
            for slot in range(group.slots):
                value = load(real, total + start + (group.bias_slot + slot) * slot_stride)
                target = bias + (entry(group.gates, slot) * call.hidden + unit) * size_of(real)
                store_first(value, target, call.hidden - unit)
    values = call.directions * call.unit_value_count * unit_vectors * vector
    weights.unpack_unit_values(real, call, direction, total, call.dunit_values + which * values)


@Task
def row_gradient_task(cell, number, record, index):
    """The long products of all steps for one row: its gradient of each weight, and some rows of dL/dx."""
    real, call = number(0), record_at(record, BACKWARD)[0]
    direction, row = index // call.parts, index % call.parts
    size, hidden = size_of(real), call.hidden
    dpre = call.dpre + direction * call.chunk_rows * call.slots * vectors_for(real, hidden) * vector_bytes(real)
    if call.dx:
        total = rows_before(call, call.total)
        first, rows = share(total, call.parts, row)
        weights.input_gradient(real, call, direction, dpre, first, rows, 1, direction * total + first)
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
            real, call, group_at(call, number), weights.columns_of(call, number), direction, row, derivatives,
            (source, table, step, start_table), line, stride,
        )  # fmt: skip
    sum_row_bias(real, call, direction, row, dpre)


class RowSize(sizes.Size):
    """The sizes of a layer whose rows have a gradient each."""

    @property
    def parts(self):
        """A part for each row."""
        return self.batch

    @property
    def backward_chunk(self):
        """All steps: rows have chunks of their own, which may begin at any step."""
        return max(1, self.steps)

    @functools.cached_property
    def block_numbers(self):
        """Numbers that a row has in the widest block, of the gates or of the projection."""
        gates = self.cell.dpre_count * block_vectors(self.cell.slots)
        return max(gates, MAX_VECTORS) * lanes_of(self.dtype)

    @functools.cached_property
    def row_sizes(self):
        """{field: numbers} of what each row has for itself: sums of a block or of the bias, and a chunk of steps."""
        block = block_vectors(self.cell.slots) * lanes_of(self.dtype)
        wide = MAX_VECTORS * lanes_of(self.dtype)  # of a block of the projection
        summed = [group.rows * len(group.slots) * (wide if group.name == "projection" else block) for group in self.groups]
        most = min(self.steps, sizes.BACKWARD_ROWS)
        factor = spread(vectors_in(max(self.channels, self.hidden), self.dtype)) * lanes_of(self.dtype)
        return {
            "row_scratch": max(*summed, self.padded * self.cell.dpre_count),
            "row_factors": most * factor,
            "row_gathered": 0 if self.packing.uniform else most * self.block_numbers,
        }

    def backward_scratch(self, need_x):
        """{field: numbers} of what backward needs for itself, and each row's part."""
        rows, own = self.directions * self.batch, self.row_sizes
        found = {name: n for name, n in super().backward_scratch(need_x).items() if name not in self.gradients()}
        parts = {"bias": "row_scratch", "factors": "row_factors", "gathered": "row_gathered"}
        return found | {name: rows * own[each] for name, each in parts.items()}


def row_plans(of, need_x, threads_):
    """The `BackwardPlans` that go with what forward kept, all of it."""
    return (_row_plans if of.size.packing.uniform else _row_plans.__wrapped__)(of, need_x, threads_)


@functools.lru_cache(maxsize=512)
def _row_plans(of, need_x, threads_):
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
    }
    constants |= {name: numbers * size.dtype.itemsize for name, numbers in size.row_sizes.items()}
    scratch = plans.Layout(size.backward_scratch(need_x), size.dtype)
    held = of.tape.without(size.gradients())
    return plans.BackwardPlans(scratch, plans.Plan(BACKWARD, constants, [scratch, held], size))


def one_row(steps):
    """How a sequence of so many steps lies where it is alone."""
    return uniform(steps, 1)


class Adjoint(launch.Adjoint):
    """One layer's backward with a gradient of each sequence.

    Parameters
    ----------
    tape, dy, dfinal, need_x
        As of `launch.Adjoint`; the tape is `separable`.
    gradient : numpy.ndarray
        (N, numbers): of each sequence the gradient vector from this layer's part on (is modified); not of one without steps.
    lies_alone : callable
        Returns the Uniform of a sequence of so many steps where it is alone, and no Ragged: it is summed in that order.
    """

    def __init__(self, tape, dy, dfinal, need_x, gradient, lies_alone=one_row):
        super().__init__(tape, dy, dfinal, need_x, gradient, False)
        packing = tape.packing
        if packing.uniform:
            lengths, sequences = packing.lengths, np.arange(packing.batch)
        else:
            lengths, sequences, lies_alone = packing.length, packing.sequence, one_row
        sums = {steps: self._steps_of_sum(lies_alone(steps)) if steps else 1 for steps in set(lengths.tolist())}
        # (N, ALONE), as long as this lives: see `records.BACKWARD`
        self._alone = np.array([(steps, sums[steps], at) for steps, at in zip(lengths.tolist(), sequences)], np.int64)
        if self._dunit_values is not None:  # of each sequence: (N, D, V, padded H); zeros of one without steps
            size = self.tape.size
            self._values = zeros((packing.sequences, *self._dunit_values.shape), size.dtype)
            self.backward.record[B_DUNIT_VALUES] = self._values.ctypes.data
            self.dunit_values = self._values[..., : size.hidden]
        self.backward.record[B_ROW_GRADIENT], self.backward.record[B_ALONE] = gradient.strides[0], self._alone.ctypes.data

    @staticmethod
    def _steps_of_sum(packing):
        """Steps of a sequence that are summed together where it lies like that."""
        return sizes.backward_chunk(packing) * packing.batch

    def _plans(self, need_x):
        return row_plans(self.tape.plans, need_x, threads())
