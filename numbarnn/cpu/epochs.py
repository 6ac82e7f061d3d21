"""Updates of several networks of one structure, without Python in between: each thread takes a network and trains it.

A worker is a network's memory and a program for each size of a batch: gather the batch, forward, the loss's slope, backward,
the norm, the optimizer, and a look at the parameters.  What it is to train it copies in, and out when it has done so.
"""

import math

import numpy as np

from .atomics import atomic_add
from .compiled import Function, Task
from .failures import call_or_raise
from .jobs import run_long
from .optimizers import BLOCK, SCALARS, SQUARES, TASKS, UPDATE, WASTE_BYTES, squares
from .programs import once
from .records import integers
from .routine_call import numbers_at, record_at
from .threads import most_threads

GATHER = np.dtype(integers("source", "target", "chosen", "steps", "count", "words"))
CLIP = np.dtype([*integers("partial", "count", "single", "scale"), ("clip", float)])

# A program and what changes from update to update: addresses in its records.
BATCHES = np.dtype(
    integers("program", "chosen_x", "chosen_y", "source_x", "source_y", "output", "scalars", "wrong", "count", "masks")
)
WORKER = np.dtype(integers("flat", "memory", "batches"))
MEMBER = np.dtype(integers("flat", "memory", "x", "y", "order", "scalars", "outputs", "wrong", "masks"))
BATCHES_BYTES, WORKER_BYTES, MEMBER_BYTES = (kind.itemsize for kind in (BATCHES, WORKER, MEMBER))
TRAINING = np.dtype(
    integers(
        "members",  # their MEMBER records
        "count",
        "claimed",  # the address of how many of them are taken
        "workers",  # their WORKER records
        "once",  # runs a program
        "updates",
        "which",  # [updates]: which program each of them runs
        "flat_bytes",
        "memory_bytes",
        "output_bytes",  # [updates]: of the outputs of each of them
        "mask_bytes",  # [updates]: of the masks that each of them reads
    )
)


@Function
def gather(record):
    """Put some samples side by side: ``target[t, n] = source[chosen[n], t]``, of so many words of 4 bytes."""
    call = record_at(record, GATHER)[0]
    chosen = numbers_at(np.int64, call.chosen, call.count)
    for n in range(call.count):
        row = call.source + chosen[n] * call.steps * call.words * 4
        for t in range(call.steps):
            source = numbers_at(np.uint32, row + t * call.words * 4, call.words)
            target = numbers_at(np.uint32, call.target + (t * call.count + n) * call.words * 4, call.words)
            for i in range(call.words):
                target[i] = source[i]


@Function
def _clip(record):
    """Write the factor that makes a gradient no longer than is allowed, in its dtype; NaN where that cannot be told."""
    call = record_at(record, CLIP)[0]
    partial, total = numbers_at(np.float64, call.partial, call.count), 0.0
    for i in range(call.count):
        total += partial[i]
    size, scale = math.sqrt(total), 1.0
    if not math.isfinite(size):
        scale = np.nan
    elif size > 0:
        scale = min(1.0, call.clip / size)
    numbers_at(np.float64, call.scale, 1)[0] = np.float64(np.float32(scale)) if call.single else scale


@Task
def _train(cell, number, record, part):
    """Take members, one after the other, through their updates with one worker; one that goes wrong is left as it is."""
    call = record_at(record, TRAINING)[0]
    worker = record_at(call.workers + part * WORKER_BYTES, WORKER)[0]
    which = numbers_at(np.int64, call.which, call.updates)
    output_bytes = numbers_at(np.int64, call.output_bytes, call.updates)
    mask_bytes = numbers_at(np.int64, call.mask_bytes, call.updates)
    own_flat, own_memory = numbers_at(np.uint32, worker.flat, call.flat_bytes // 4), worker.memory
    kept = numbers_at(np.uint32, own_memory, call.memory_bytes // 4)
    while True:
        index = atomic_add(call.claimed, 1)
        if index >= call.count:
            break
        member = record_at(call.members + index * MEMBER_BYTES, MEMBER)[0]
        flat, memory = numbers_at(np.uint32, member.flat, own_flat.size), numbers_at(np.uint32, member.memory, kept.size)
        for i in range(flat.size):
            own_flat[i] = flat[i]
        for i in range(memory.size):
            kept[i] = memory[i]
        chosen, outputs, masks = member.order, member.outputs, member.masks
        for update in range(call.updates):
            batch = record_at(worker.batches + which[update] * BATCHES_BYTES, BATCHES)[0]
            numbers_at(np.int64, batch.chosen_x, 1)[0] = chosen
            numbers_at(np.int64, batch.chosen_y, 1)[0] = chosen
            numbers_at(np.int64, batch.source_x, 1)[0] = member.x
            numbers_at(np.int64, batch.source_y, 1)[0] = member.y
            numbers_at(np.int64, batch.output, 1)[0] = outputs
            numbers_at(np.int64, batch.wrong, 1)[0] = 0
            if batch.masks != 0:
                numbers_at(np.int64, batch.masks, 1)[0] = masks
            target = numbers_at(np.float64, batch.scalars, SCALARS)
            source = numbers_at(np.float64, member.scalars + update * SCALARS * 8, SCALARS)
            for i in range(SCALARS):
                target[i] = source[i]
            call_or_raise(call.once, (batch.program,))
            if numbers_at(np.int64, batch.wrong, 1)[0] != 0:
                numbers_at(np.int64, member.wrong, 1)[0] = 1
                break
            chosen += 8 * batch.count
            outputs += output_bytes[update]
            masks += mask_bytes[update]
        for i in range(flat.size):
            flat[i] = own_flat[i]
        for i in range(memory.size):
            memory[i] = kept[i]


def add_gather(program, target):
    """Add `gather` to a program, into a (T, N, C) array; returns its record, whose source and samples are to be set."""
    steps, count = target.shape[:2]
    record = np.array((0, target.ctypes.data, 0, steps, count, target[0, 0].nbytes // 4), GATHER)
    program.add(gather, record, target)
    return record


def add_update(program, name, flat, previous, gradient, memory, clip):
    """Add an update by an optimizer's kernel to a program, of a clipped gradient; returns the address of its scalars."""
    vectors = [vector.ctypes.data for vector in (flat, previous, gradient, *memory)]
    record = np.zeros((), UPDATE)
    record["parts"], record["size"] = 1, flat.size
    for field, address in zip(("flat", "previous", "gradient", "first", "second", "decays"), vectors):
        record[field] = address
    wrong = np.zeros(WASTE_BYTES // flat.itemsize, flat.dtype)  # the program looks at all parameters itself
    record["wrong"] = wrong.ctypes.data
    scalars = record.ctypes.data + UPDATE.fields["scalars"][1]
    if clip is not None:
        partial = np.zeros(-(-flat.size // BLOCK))
        norm = np.array((gradient.ctypes.data, gradient.size, partial.ctypes.data), SQUARES)
        program.add_job(squares, None, flat.dtype, norm, gradient, partial, count=partial.size)
        limit = np.array((partial.ctypes.data, partial.size, flat.itemsize == 4, scalars, clip), CLIP)
        program.add(_clip, limit)
    program.add_job(TASKS[name], None, flat.dtype, record, flat, previous, gradient, wrong, *memory)
    return scalars


def train(workers, members, which, flat_bytes, memory_bytes, output_bytes, mask_bytes, dtype):
    """Take members through updates, spread over the threads.

    Parameters
    ----------
    workers : numpy.ndarray of WORKER
    members : numpy.ndarray of MEMBER
    which, output_bytes, mask_bytes : numpy.ndarray of int
    flat_bytes, memory_bytes : int
    dtype : numpy.dtype
    """
    claimed = np.zeros(1, np.int64)
    record = np.array((
        members.ctypes.data, len(members), claimed.ctypes.data, workers.ctypes.data, once.address, len(which),
        which.ctypes.data, flat_bytes, memory_bytes, output_bytes.ctypes.data, mask_bytes.ctypes.data,
    ), TRAINING)  # fmt: skip
    run_long(_train, None, dtype, record, min(len(workers), len(members), most_threads()))
