"""Where the rows of a step lie, and which of them are at work, in uniform and in ragged batches."""

from ..engine.inlined import inlined
from .blocks import entry, share
from .simd import size_of

WORD = 8  # bytes of an entry of a table


@inlined
def block_row(call, block):
    """The first row of a block of h."""
    return entry(call.table, block) if call.table else block * call.batch


@inlined
def rows_before(call, time):
    """Rows at work at all steps before `time` together."""
    return block_row(call, time + 2) - 2 * call.batch


@inlined
def segment_time(call, direction):
    """The earliest time of the call's segment of steps."""
    return call.start if direction == 0 else call.total - call.start - call.steps


@inlined
def first_held(call, direction):
    """The first row of all blocks that h and c hold."""
    return 0 if call.whole else block_row(call, segment_time(call, direction))


@inlined
def rows_in_segment(call, direction, time):
    """Rows at work in the call's segment before `time`."""
    return rows_before(call, time) - rows_before(call, segment_time(call, direction))


@inlined
def task_rows(call, part):
    """(first, stride, most, before) of the rows of one task, and the rows of all tasks before it.

    In a ragged batch a task takes every so-manieth row: all of them then have as much to do at each step.
    """
    if call.table:
        most = (call.batch - part + call.tasks - 1) // call.tasks
        return part, call.tasks, most, part * (call.batch // call.tasks) + min(part, call.batch % call.tasks)
    first, most = share(call.batch, call.tasks, part)
    return first, 1, most, first


@inlined
def working(call, time, first, stride, most):
    """How many rows of a task are at work at `time`."""
    if call.table:
        return (block_row(call, time + 3) - block_row(call, time + 2) - first + stride - 1) // stride
    return most


@inlined
def starts_at_zero(call):
    """Whether the initial state is zeros that nobody gave."""
    return call.zero_start != 0 and entry(call.zero_start, 0) != 0


@inlined
def going_on(call, direction, time, first, stride, most):
    """How many of a task's rows at work at `time`, the first ones, have been at work at the step before it."""
    if direction == 0:
        return working(call, time, first, stride, most) if time > 0 else 0
    return working(call, time + 1, first, stride, most) if time + 1 < call.total else 0


@inlined
def row_address(array, time, row):
    """Where a row of a caller's array lies."""
    step = (entry(array.step_table, time) if array.step_table else time) * array.step_stride
    return array.address + step + (entry(array.start_table, row) if array.start_table else row * array.batch_stride)


@inlined
def copied_rows(call, array, time, count, time_step, first, stride, most, channel, channels, target, target_row):
    """What the routine copy_rows takes to copy rows of `count` steps, one after the other, `target_row` bytes apart."""
    end = call.batch if call.table else first + most
    return (
        array.address + channel * array.channel_stride, array.step_table, array.step_stride, array.start_table,
        array.batch_stride, array.channel_stride, call.table, time, count, time_step, first, end, stride, channels, target,
        target_row,
    )  # fmt: skip


@inlined
def previous_rows(real, call, direction):
    """(address, step table, step stride) of the rows of h before each step; the row stride is D * P numbers."""
    row, ahead = call.directions * call.width * size_of(real), 0 if direction == 0 else 2
    source = call.h - first_held(call, direction) * row + direction * call.width * size_of(real)
    if call.table:
        return source, call.table + ahead * WORD, row
    return source + ahead * call.batch * row, 0, call.batch * row


@inlined
def operand_rows(real, call, direction):
    """(address, step table, step stride) of the rows of the operand of each step; the row stride is D * H numbers."""
    row = call.directions * call.hidden * size_of(real)
    source = call.operand + direction * call.hidden * size_of(real)
    before = rows_before(call, segment_time(call, direction)) * row
    if call.table:
        return source - before - 2 * call.batch * row, call.table + 2 * WORD, row
    return source - before, 0, call.batch * row
