"""What a call of one layer needs besides addresses, worked out once for each size and kept as a `Plan`.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units, P channels of h, V values of a unit; K steps
of a segment.
In a ragged batch N are its runs and T is the longest; S counts the rows at work at all steps together, T N if all are.
"""

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from ..engine import sizes
from ..engine.keep import Keep
from . import passes, routines, sparse, weights
from .blocks import block_vectors, packed_size, spread, transposed_size, vectors_in
from .compiled import compile_together
from .jobs import LONG
from .memory import aligned
from .pool import share, share_parts
from .product import MAX_VECTORS
from .records import BACKWARD, FORWARD, FORWARD_NAMES, ROUTINE_NAMES, SPARSE_NAMES, place
from .regions import of_part, take_parts
from .simd import lanes_of
from .threads import shares, sharing, threads, threads_for

FORWARD_ROWS = 96  # rows of pre-activations computed ahead of the loop over time: they stay in the L2 cache
BACKWARD_ROWS = 512  # rows of derivatives between two sums of the weight gradients
FACTOR_BYTES = 1 << 18  # of what a weight multiplied that stay in the L2 cache while the derivatives of all units pass by
WORD = 8  # bytes of an integer in a record, or that one points to
LEAST_COLUMNS = 48  # with fewer, the derivatives would pass by too often


def backward_chunk(packing):
    """Steps between two sums of the weight gradients, see `Size.backward_chunk`."""
    steps = max(BACKWARD_ROWS // packing.batch, BACKWARD_ROWS * packing.steps // (2 * max(1, packing.rows)))
    return max(1, min(packing.steps, steps))


class Size(sizes.Size):
    """The sizes of one layer on one batch, and of the buffers that it takes."""

    @functools.cached_property
    def padded(self):
        """Hidden units, rounded up to whole vectors."""
        return vectors_in(self.hidden, self.dtype) * lanes_of(self.dtype)

    def spread(self, channels):
        """Numbers in a row of derivatives of a state of so many channels."""
        return spread(vectors_in(channels, self.dtype)) * lanes_of(self.dtype)

    @functools.cached_property
    def dstates(self):
        """([(shape, offset, strides)] of the derivatives of each state, in a block of memory; bytes of the block)."""
        places, end, item = [], 0, self.dtype.itemsize
        for width in self.widths:
            row = self.spread(width) * item
            places.append(((self.directions, self.batch, width), end, (self.batch * row, row, item)))
            end += self.directions * self.batch * row
        return places, end

    @functools.cached_property
    def threads(self):
        """Threads that pay for this size, of those that there are now."""
        return threads_for(self.products)

    @functools.cached_property
    def numbers(self):
        """What each row is multiplied with, of each direction."""
        return sum(group.rows * group.columns * len(group.slots) for group in self.groups)

    @functools.cached_property
    def products(self):
        """Multiplications of numbers by parameters."""
        return self.packing.rows * self.directions * self.numbers

    @property
    def parts(self):
        """Into how many parts the work of each direction is split, so that every thread has one."""
        return -(-self.threads // self.directions)

    @functools.cached_property
    def shares(self):
        """(parts of the batch, parts of the hidden units) of each direction, for these threads."""
        slots = len(self.cell.recurrent_slots) + len(self.cell.gated_slots)
        weight_bytes = packed_size(self.hidden, self.hidden, slots, self.dtype) * self.dtype.itemsize
        panels = -(-self.padded // (MAX_VECTORS * lanes_of(self.dtype)))
        if self.cell.projected or self.cell.normalized_values:
            panels = 1  # a step needs all units, for the channels of h or for sums: these stay together
        return shares(self.threads, self.batch, self.directions, panels, weight_bytes)

    @property
    def forward_chunk(self):
        """Steps of input products computed ahead."""
        tasks, _ = self.shares
        return max(1, min(self.steps, FORWARD_ROWS // -(-self.batch // tasks)))

    @functools.cached_property
    def backward_chunk(self):
        """Steps between two sums of the weight gradients: more where there is little to do at most steps."""
        return backward_chunk(self.packing)

    @functools.cached_property
    def chunk_rows(self):
        """Rows of so many steps; where a row is read as a whole, an odd number, so that its blocks spread over a cache."""
        rows = self.packing.most_rows(self.backward_chunk)
        return rows | 1 if self.cell.normalized_values else rows

    @functools.cached_property
    def factor_columns(self):
        """Columns, at most, of what a weight multiplied that meet the derivatives together, see FACTOR_BYTES."""
        most = max(LEAST_COLUMNS, FACTOR_BYTES // (max(1, self.chunk_rows) * self.dtype.itemsize))  # none may be at work
        return min(most, -(-max(self.channels, self.hidden) // self.parts))

    def weights(self, bias_slots):
        """{field: numbers} of the weights and the bias in blocks, all directions, or of their gradients."""
        sizes = {
            f"{group.name}.weight": self.directions * packed_size(group.rows, group.columns, len(group.slots), self.dtype)
            for group in self.groups
        }
        return {**sizes, "bias": self.directions * packed_size(1, self.hidden, bias_slots, self.dtype)}

    def gradients(self):
        """{field: numbers} of the gradients of the weights and of the bias in blocks."""
        return self.weights(self.cell.dpre_count)

    def transposed(self):
        """{field: numbers} of the transposed weights."""
        return {
            f"{group.name}.transposed": self.directions
            * transposed_size(group.rows, group.columns, len(group.slots), self.dtype)
            for group in self.groups
        }

    def states(self, h_rows, c_rows):
        """{field: numbers} of h and c."""
        c = c_rows * self.directions * self.hidden if self.cell.states > 1 else 0
        return {"h": h_rows * self.directions * self.width, "c": c}

    def gates(self, rows):
        """{field: numbers} of what backward needs of each of `rows` besides the states."""
        return {
            "operand": rows * self.directions * self.hidden if self.cell.gated_slots or self.cell.projected else 0,
            "saved": self.directions * rows * self.padded * self.cell.saved,
            "normalized": self.directions * rows * self.padded * self.cell.normalized_values,
            "deviations": self.directions * rows * self.cell.deviations,
        }

    @property
    def saved_block(self):
        """Vectors of units in a block of what the cell saves."""
        return 1 if self.cell.normalized_values else block_vectors(self.cell.slots)

    def unit_values(self):
        """Numbers of what the cell takes for each unit."""
        return self.directions * self.cell.unit_value_count * self.padded

    def forward_scratch(self):
        """{field: numbers} of what a forward call needs for itself."""
        tasks, splits = self.shares
        rows = self.directions * self.batch * self.forward_chunk
        in_place = self.forward_chunk == 1 and self.packing.uniform
        inputs = 0 if in_place else rows * splits * self.channels
        projected = self.directions * self.batch * self._padded_width if self.cell.projected else 0
        return {
            "inputs": inputs,
            "pre": rows * self.padded * self.cell.slots,
            "projected": projected,
            "claims": self._claims(),
        }

    def _claims(self):
        """Numbers that take as much room as `regions.take_parts` needs."""
        tasks, splits = self.shares
        return of_part(tasks * splits * self.directions) // self.dtype.itemsize if splits > 1 else 0

    @property
    def _padded_width(self):
        return vectors_in(self.width, self.dtype) * lanes_of(self.dtype)

    def backward_scratch(self, need_x):
        """{field: numbers} of what backward needs for itself, the gradients in blocks included."""
        rows = self.directions * self.chunk_rows
        owners = self.parts
        columns, vector = vectors_in(self.factor_columns, self.dtype), lanes_of(self.dtype)
        return {
            **self.gradients(),
            "doperand": self.directions * self.batch * self.spread(self.hidden),
            "dpre": rows * self.padded * self.cell.dpre_count,
            "factors": rows * owners * spread(columns) * vector,
            "dprojected": rows * self._padded_width if self.cell.projected else 0,
            "outputs": rows * self.width,
            "cell_outputs": rows * self.hidden if self.cell.states > 1 else 0,
            "dinputs": rows * spread(vectors_in(self.channels, self.dtype)) * vector if need_x else 0,
            "claims": self._claims(),
        }

    def constants(self, names):
        """The fields of a record that are neither addresses of buffers nor the caller's.

        names: of the routines that are called.
        """
        places, direction = self.parameters
        tasks, splits = self.shares
        values = {
            "steps": self.steps,
            "total": self.steps,
            "batch": self.batch,
            "table": self.packing.table_address,
            "unit_value_count": self.cell.unit_value_count,
            "channels": self.channels,
            "hidden": self.hidden,
            "width": self.width,
            "item": self.dtype.itemsize,
            "directions": self.directions,
            "work.share": share.address,
            "work.pool": sharing(self.threads),
            "work.share_parts": share_parts.address if splits > 1 else 0,
            "work.take": take_parts.address if splits > 1 else 0,
            "work.threads": self.threads,
            "work.phases": 2 if self.cell.gated_slots else 1,
            "gates": len(self.cell.gates),
            "per_block": block_vectors(self.cell.slots),
            "tasks": tasks,
            "splits": splits,
            "parts": self.parts,
            "direction_stride": direction * self.dtype.itemsize,
            "whole": 1,
            "zeros": _zeros(self.dtype).ctypes.data,
        }
        for group in self.groups:
            values |= {
                f"{group.name}.rows": group.rows,
                f"{group.name}.first": group.slots[0] if group.slots else 0,
                f"{group.name}.bias_slot": self.cell.bias_slot(group.slots[0]) if group.slots and group.bias else 0,
                f"{group.name}.slots": len(group.slots),
                f"{group.name}.gates": _gate_table(group.gates).ctypes.data,
                f"{group.name}.parameter": self.dtype.itemsize * places[group.weight],
                f"{group.name}.bias": self.dtype.itemsize * places[group.bias] if group.bias else 0,
            }
        for name in names:
            values[f"routines.{name}"] = routines.ROUTINES[name].address(self.dtype)
        return values


def _shared(names, dtype):
    """What every pass is made of, for `compile_together`."""
    return (share,), *((routines.ROUTINES[name], dtype) for name in names)


@functools.cache
def _gate_table(gates):
    return np.array(gates, np.int64)


@functools.cache
def _one(dtype):
    return np.ones(1, dtype)


@functools.cache
def _zeros(dtype):
    return np.zeros(lanes_of(dtype), dtype)


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
    """The `Plans` of a size, kept with it; those of a uniform batch also for others of the same size, which will come.

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
