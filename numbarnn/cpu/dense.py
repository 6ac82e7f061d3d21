"""A layer without recurrence on the CPU: ``y = f(W x + b)`` for every row, forward and backward.

It is a recurrent layer whose cell has no recurrent slots: the same records, the same packed weights, no loop over time.
"""

from .blocks import vector_bytes, vectors_for
from .compiled import Task
from .records import BACKWARD, FORWARD
from .routine_call import record_at
from .rows import block_row, rows_before, task_rows, working
from .simd import lanes, load, load_first, size_of, store, store_first
from .step_products import add_input, chunk_rows, gather_outputs, time_of


@Task
def forward_task(cell, number, record, part):
    """One part of the batch, a chunk of steps at a time."""
    real, call = number(0), record_at(record, FORWARD)[0]
    first, stride, most, rows_of_others = task_rows(call, part)
    vector, size, hidden = vector_bytes(real), size_of(real), call.hidden
    units = vectors_for(real, hidden)
    inputs = call.inputs + rows_of_others * call.chunk * call.channels * size
    pre = call.pre + rows_of_others * call.chunk * units * vector
    for start in range(0, call.steps, call.chunk):
        count = min(call.chunk, call.steps - start)
        add_input(real, call, 0, part, start, count, 0, units, inputs, pre)
        for before in range(0, units, call.per_block):
            vectors = min(call.per_block, units - before)
            source = pre + before * vector * call.chunk * most
            for step in range(start, start + count):
                done, time = chunk_rows(call, 0, part, start, step - start), time_of(call, step, 0)
                for r in range(working(call, time, first, stride, most)):
                    y = call.h + (block_row(call, time + 1) + first + r * stride) * hidden * size
                    for v in range(vectors):
                        unit = (before + v) * lanes(real)
                        value = load(real, source + ((done + r) * vectors + v) * vector)
                        store_first(cell.activation.value(value), y + unit * size, hidden - unit)


@Task
def backward_task(cell, number, record, part):
    """Slot derivatives of a chunk of steps for one part of the batch; the slope follows from the output."""
    real, call = number(0), record_at(record, BACKWARD)[0]
    start, count = call.chunk_start, call.chunk_steps
    first, stride, most, _ = task_rows(call, part)
    vector, size, hidden = vector_bytes(real), size_of(real), call.hidden
    units = vectors_for(real, hidden)
    earliest = time_of(call, start, 0)
    gather_outputs(real, call, call.dy, hidden, 0, earliest, count, part, 0, hidden, call.outputs)
    for time in range(earliest, earliest + count):
        position = rows_before(call, time) - rows_before(call, earliest) + call.earlier_rows + first
        for r in range(working(call, time, first, stride, most)):
            y = call.h + (block_row(call, time + 1) + first + r * stride) * hidden * size
            dy = call.outputs + (position + r * stride) * hidden * size
            for unit_vector in range(units):
                before = unit_vector // call.per_block * call.per_block
                vectors = min(call.per_block, units - before)
                at, rest = unit_vector * vector, hidden - unit_vector * lanes(real)
                slope = cell.activation.slope(load_first(real, y + at, rest))
                place = before * call.chunk_rows + (position + r * stride) * vectors + unit_vector - before
                store(load_first(real, dy + at, rest) * slope, call.dpre + place * vector)
