"""What a call of one layer needs besides addresses, worked out once for each size and kept as a `Plan`.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units, P channels of h, V values of a unit; K steps
of a segment.
In a ragged batch N are its runs and T is the longest; S counts the rows at work at all steps together, T N if all are.
"""

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from ..engine.keep import Keep
from . import passes, routines, sparse, weights
from .compiled import compile_together
from .jobs import LONG
from .memory import aligned
from .pool import share
from .records import BACKWARD, FORWARD, FORWARD_NAMES, ROUTINE_NAMES, SPARSE_NAMES, place
from .rows import WORD
from .sizes import Size
from .threads import threads


def _shared(names, dtype):
    """What every pass is made of, for `compile_together`."""
    return (share,), *((routines.ROUTINES[name], dtype) for name in names)


@functools.cache
def _one(dtype):
    return np.ones(1, dtype)


class Layout:
    """Where named buffers lie in one block of memory.

    Parameters
    ----------
    sizes : dict of str to int
        Numbers in the buffer that a field of a record points to; none for 0.
    dtype : numpy.dtype
    """

    def __init__(self, sizes, dtype):
        self.offsets, self.sizes, self.nbytes = {}, {}, 0
        for path, size in sizes.items():
            if size:
                self.offsets[path], self.sizes[path] = self.nbytes, size * dtype.itemsize
                self.nbytes += aligned(self.sizes[path])

    def without(self, paths):
        """The same block, some of its buffers not pointed to."""
        layout = Layout({}, None)
        layout.offsets = {path: offset for path, offset in self.offsets.items() if path not in paths}
        layout.nbytes = self.nbytes
        return layout


class Plan:
    """A record with everything but addresses, and where in it they go.

    Parameters
    ----------
    record : numpy.dtype
        FORWARD or BACKWARD.
    constants : dict of str to int
        Values of fields.
    layouts : sequence of Layout
        The blocks of memory that the record's buffers lie in.
    size : Size
        Its `threads` share the work.
    """

    def __init__(self, record, constants, layouts, size):
        self.template, self.threads = np.zeros(record.itemsize // 8, np.int64), size.threads
        self.long = size.products >= LONG
        for path, value in constants.items():
            self.template[place(record, path)] = value
        self.blocks = []
        for layout in layouts:
            fields = np.array([place(record, path) for path in layout.offsets], np.intp)
            self.template[fields] = list(layout.offsets.values())
            self.blocks.append((fields, self.template[fields]))

    def filled(self, *addresses):
        """A copy of the record, as integers, with the addresses of the first blocks filled in."""
        record = self.template.copy()
        for (fields, _), address in zip(self.blocks, addresses):
            record[fields] += address
        return record

    def move(self, record, block, address):
        """Point the buffers of one block to another address."""
        fields, offsets = self.blocks[block]
        record[fields] = offsets + address


def segment_steps(keep, size):
    """K, the steps of a segment: whole chunks of backward, so that sums have the same order with any K."""
    if keep.what == "states":
        return size.backward_chunk
    if keep.what == "checkpoints":
        steps, chunk = -(-size.steps // keep.segments), size.backward_chunk
        return max(1, min(size.steps, -(-steps // chunk) * chunk))
    return max(1, size.steps)


@dataclass(frozen=True, eq=False)
class Plans:
    """What one size and one way of keeping need."""

    kernels: ModuleType
    size: Size
    keep: Keep
    segment: int  # K
    tape: Layout  # kept by the tape
    states: Layout | None  # h and c where they are not the tape's
    scratch: Layout
    forward: Plan
    shapes: tuple  # of each state


def forward_plans(kernels, size, keep, parameters):
    """The `Plans` of a size, kept with it; a uniform batch's also for others of the same size, which will come.

    parameters: the vector from this layer's part on, which says whether there are lists of weights.
    """
    kept = vars(size).setdefault("_forward_plans", {})
    listed = size.batch == 1 and sparse.pays(size, keep) and sparse.looks_sparse(size, parameters)
    if (keep, listed) not in kept:
        make = _make_forward if size.packing.uniform else _make_forward.__wrapped__
        kept[keep, listed] = make(kernels, size, keep, listed, threads())
    return kept[keep, listed]


@functools.lru_cache(maxsize=512)
def _make_forward(kernels, size, keep, listed, threads_):
    what, packing = keep.what, size.packing
    segmented, kept_c = what in ("states", "checkpoints"), keep.gates or what == "states"
    transposes = keep.gates or segmented
    packing_tasks = [weights.pack_task, *([weights.transpose_task] if transposes else [])]
    packing_tasks += [sparse.lists_task] if listed else []
    names = SPARSE_NAMES if listed else FORWARD_NAMES
    compile_together(
        (kernels.forward_task, size.cell, size.dtype), *((task, None, size.dtype) for task in packing_tasks),
        (passes.forward,), *_shared(names, size.dtype),
    )  # fmt: skip
    packed = size.weights(size.cell.slots) | (sparse.lists(size) if listed else {})
    h_rows = packing.blocks(0, size.steps + 2)
    states = size.states(h_rows, h_rows if kept_c else size.batch)
    gates = size.gates(packing.rows) if keep.gates else {"operand": size.gates(size.batch)["operand"]}
    tape = {"unit_values": size.unit_values(), "zero_start": 0 if keep.weights else WORD // size.dtype.itemsize}
    tape |= {} if what == "checkpoints" else states
    tape |= gates if keep.gates else {}
    tape |= size.transposed() if transposes else {}
    tape |= packed if keep.weights or segmented else {}
    scratch = size.forward_scratch()
    scratch |= {} if keep.gates else gates
    scratch |= packed if what in ("nothing", "all") else {}
    tape, scratch = Layout(tape, size.dtype), Layout(scratch, size.dtype)
    apart = Layout(states, size.dtype) if what == "checkpoints" else None
    constants = size.constants(names) | {
        "chunk": size.forward_chunk,
        "slots": size.cell.slots,
        "work.task": kernels.forward_task.address(size.cell, size.dtype),
        "work.lists_task": sparse.lists_task.address(None, size.dtype) if listed else 0,
        "work.pack_task": weights.pack_task.address(None, size.dtype),
        "work.transpose_task": weights.transpose_task.address(None, size.dtype) if transposes else 0,
        "segment_rows": packing.rows,
        "keep": int(keep.gates),
        "pack": 2 if transposes else 1,
        "c_kept": int(kept_c),
        "operand_kept": int(keep.gates),
    }
    if listed:
        constants |= {f"{group.name}.entries": sparse.entries(size, group) for group in sparse.groups(size)}
    plan = Plan(FORWARD, constants, [scratch, tape, *([apart] if apart else [])], size)
    rows = h_rows, h_rows if kept_c else size.batch
    shapes = tuple((count, size.directions, width) for count, width in zip(rows, size.widths))
    return Plans(kernels, size, keep, segment_steps(keep, size), tape, apart, scratch, plan, shapes)


@dataclass(frozen=True, eq=False)
class BackwardPlans:
    """What backward needs; the last four only where forward runs again, segment by segment."""

    scratch: Layout
    backward: Plan
    segment: Layout | None = None  # h, c and gates of a segment
    gradients: Layout | None = None  # in blocks, summed over the segments
    again: Layout | None = None  # scratch of forward
    forward: Plan | None = None


def backward_plans(plans, need_x, threads_):
    """The `BackwardPlans` that go with what forward kept."""
    if plans.size.packing.uniform:
        return _make_backward(plans, need_x, threads_)
    kept, key = vars(plans.size).setdefault("_backward_plans", {}), (plans, need_x, threads_)
    if key not in kept:
        kept[key] = _make_backward.__wrapped__(*key)
    return kept[key]


@functools.lru_cache(maxsize=512)
def _make_backward(plans, need_x, threads_):
    size, keep = plans.size, plans.keep
    compile_together(
        (plans.kernels.backward_task, size.cell, size.dtype), (weights.gradient_task, None, size.dtype), (passes.backward,),
        *_shared(ROUTINE_NAMES, size.dtype),
    )  # fmt: skip
    scratch, gradients = size.backward_scratch(need_x), size.gradients()
    backward = size.constants(ROUTINE_NAMES) | {
        "c_kept": 1,
        "operand_kept": 1,
        "whole": int(keep.what != "checkpoints"),
        "segment_rows": size.packing.most_rows(plans.segment),
        "slots": size.cell.dpre_count,
        "work.task": plans.kernels.backward_task.address(size.cell, size.dtype),
        "work.gradient_task": weights.gradient_task.address(None, size.dtype),
        "chunk": size.backward_chunk,
        "chunk_rows": size.chunk_rows,
        "factor_columns": size.factor_columns,
        "one": _one(size.dtype).ctypes.data,
    }
    held = plans.tape.without(gradients)
    if keep.gates:
        scratch = Layout(scratch, size.dtype)
        return BackwardPlans(scratch, Plan(BACKWARD, backward, [scratch, held], size))
    scratch = Layout({path: numbers for path, numbers in scratch.items() if path not in gradients}, size.dtype)
    gradients = Layout(gradients, size.dtype)
    segment, again, forward = segment_plans(plans)
    return BackwardPlans(
        scratch, Plan(BACKWARD, backward, [scratch, held, segment, gradients], size),
        segment, gradients, again, forward,
    )  # fmt: skip


def segment_plans(plans):
    """(Layout of h, c and gates of a segment, Layout of forward's scratch, Plan) to run forward again on a segment."""
    size, steps = plans.size, plans.segment
    rows, blocks = size.packing.most_rows(steps), size.packing.most_blocks(steps)
    states = size.states(blocks, blocks) if plans.keep.what == "checkpoints" else {}
    segment, again = Layout(states | size.gates(rows), size.dtype), Layout(size.forward_scratch(), size.dtype)
    constants = size.constants(FORWARD_NAMES) | {
        "c_kept": 1,
        "operand_kept": 1,
        "whole": int(plans.keep.what != "checkpoints"),
        "segment_rows": rows,
        "slots": size.cell.slots,
        "work.task": plans.kernels.forward_task.address(size.cell, size.dtype),
        "chunk": size.forward_chunk,
        "keep": 1,
        "pack": 0,
    }
    return segment, again, Plan(FORWARD, constants, [again, plans.tape, segment], size)
