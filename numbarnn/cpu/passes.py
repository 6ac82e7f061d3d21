"""A layer's forward and backward as jobs of the pool, one after the other; see `records` and `recurrent`.

What a job does is in tasks, called by address: these functions are the same for every cell and dtype.
"""

from ..engine.inlined import inlined
from .compiled import Function
from .failures import call_or_raise
from .records import BACKWARD, FORWARD
from .regions import share_regions
from .routine_call import copy_bytes, record_at


@inlined
def share_out(call, task, record, count):
    """Have a task called once for each index below `count`."""
    call_or_raise(call.work.share, (call.work.pool, task, record, count))


@inlined
def take_regions(call, record, count):
    """Have the cell's task done for all parts of the batch; or, where units are split, of units, region after region."""
    parts = call.splits * call.directions * call.tasks
    if call.splits == 1:
        share_out(call, call.work.task, record, parts)
    else:
        share_regions(call, call.work.task, record, parts, count)


@inlined
def pack_weights(call, record):
    """Pack the weights of a FORWARD record, also the transposed ones if it says so, and make the lists that it has."""
    share_out(call, call.work.pack_task, record, call.directions * call.parts)
    if call.pack == 2:
        share_out(call, call.work.transpose_task, record, call.directions * call.parts)
    if call.work.lists_task:
        share_out(call, call.work.lists_task, record, call.directions * call.parts)


@Function
def forward(record):
    """Fill h, c and the tape of the FORWARD record."""
    call = record_at(record, FORWARD)[0]
    if call.pack:
        pack_weights(call, record)
    take_regions(call, record, call.steps * call.work.phases)


@Function
def steps(record):
    """Some steps of a stream: the FORWARD record, whose weights are packed, and carry h along to row 0."""
    call = record_at(record, FORWARD)[0]
    take_regions(call, record, call.steps * call.work.phases)
    row = call.batch * call.directions * call.width * call.item
    copy_bytes(call.h + call.steps * row, call.h, row)


@Function
def backward(record):
    """Take the BACKWARD record from the last chunk of steps to the first."""
    calls = record_at(record, BACKWARD)
    call = calls[0]
    for index in range((call.steps + call.chunk - 1) // call.chunk, 0, -1):
        start = (index - 1) * call.chunk
        count = min(call.chunk, call.steps - start)
        calls[0].chunk_start, calls[0].chunk_steps = start, count
        take_regions(call, record, count * call.work.phases + 1)
        share_out(call, call.work.gradient_task, record, call.directions * call.parts)
