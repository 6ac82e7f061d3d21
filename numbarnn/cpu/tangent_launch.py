"""From arrays to the kernels of forward derivatives, for one layer.

Axis letters: M tangents, T steps, N batch, D directions, I input channels, H hidden units, P channels of h, V values of a
unit; S counts the rows at work at all steps together.
"""

import functools

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..engine.tape import StateTangents
from . import dense, jobs, normalized, recurrent, weights
from .blocks import spread, vectors_in
from .compiled import compile_together
from .memory import borrow, give, take
from .normalized_tangents import normalized_task
from .passes import forward as forward_pass
from .plans import Layout, Plan, segment_plans
from .records import FORWARD, place
from .sizes import FORWARD_ROWS
from .tangent_rows import NAMES, TANGENT, untranspose_task
from .tangents import dense_task, tangent_task
from .tapes import Call
from .threads import MAX_TASK_ROWS, threads, threads_for
from .vectors import lanes_of

TASKS = {recurrent: tangent_task, dense: dense_task, normalized: normalized_task}
F_PARAMETERS, F_BIAS = place(FORWARD, "parameters"), place(FORWARD, "bias")
T_X, T_DRIVES, T_DX, T_DUNIT_VALUES, T_DH, T_DC, T_DY, T_STEPS, T_START = (
    place(TANGENT, name) for name in ("x", "drives", "dx", "dunit_values", "dh", "dc", "dy", "steps", "start")
)


class TangentPlans:
    """What some tangents of one size need, worked out once.

    Parameters
    ----------
    plans : Plans
        Of the tape.
    count : int
        Tangents M.
    learned, with_x : bool
        Whether the parameters have tangents, and x.
    """

    def __init__(self, plans, count, learned, with_x):
        self.plans, self.size, self.count = plans, plans.size, count
        size, cell, dtype = plans.size, plans.size.cell, plans.size.dtype
        self.task = TASKS[plans.kernels]
        compile_together((self.task, cell, dtype), (untranspose_task, None, dtype), (weights.pack_task, None, dtype))
        self.segmented = plans.keep.what in ("states", "checkpoints")
        self.threads = threads_for(2 * count * size.packing.rows * size.directions * size.numbers)
        wanted = -(-self.threads // size.directions)
        tasks = max(1, min(size.batch, max(wanted, -(-size.batch * count // MAX_TASK_ROWS))))
        parts = min(count, -(-wanted // tasks))
        self.jobs, chunk = size.directions * tasks * parts, self._chunk(-(-size.batch // tasks) * -(-count // parts))
        self.groups = {f"{g.name}.weight": size.weights(cell.slots)[f"{g.name}.weight"] for g in size.groups if g.slots}
        scratch = {path: n for path, n in self.groups.items() if with_x or path != "input.weight"}
        self.bias = size.weights(cell.slots)["bias"]
        if learned:
            scratch |= {f"d{path}": count * numbers for path, numbers in self.groups.items()}
            scratch["dbias"] = count * self.bias
        scratch |= self._rows(size, count, parts, chunk, learned, with_x)
        self.scratch = Layout(scratch, dtype)
        self.segment = self.again = self.forward = None
        blocks = [self.scratch, plans.tape.without([*self.groups, "bias"])]
        if self.segmented:
            self.segment, self.again, self.forward = segment_plans(plans)
            blocks.append(self.segment)
        self.plan = Plan(TANGENT, self._constants(size, count, parts, tasks, chunk, learned), blocks, size)

    def _chunk(self, rows):
        """Steps computed ahead, for a task of so many rows."""
        return max(1, min(self.size.steps, FORWARD_ROWS // rows))

    @staticmethod
    def _rows(size, count, parts, chunk, learned, with_x):
        """{field: numbers} of what the tasks need for their rows."""
        rows = size.directions * size.batch
        own, each, kept = rows * parts * chunk, rows * count, size.cell
        state, h = (spread(vectors_in(n, size.dtype)) * lanes_of(size.dtype) for n in (size.hidden, size.width))
        return {
            "inputs": own * size.channels if learned else 0,
            "previous": own * size.width if learned and kept.recurrent_slots else 0,
            "operands": own * size.hidden if learned and kept.gated_slots else 0,
            "dinputs": each * chunk * size.channels if with_x else 0,
            "pre": each * chunk * size.padded * kept.slots,
            "now": each * h,
            "made": each * h,
            "dcells": each * state if kept.states > 1 else 0,
            "doperand": each * state if kept.gated_slots or kept.projected else 0,
        }

    def _constants(self, size, count, parts, tasks, chunk, learned):
        constants = size.constants(NAMES)
        for group in size.groups:
            of_group = {path: n for path, n in constants.items() if path.startswith(f"{group.name}.")}
            constants |= {f"d{path}": n for path, n in of_group.items()}
        checkpoints = self.plans.keep.what == "checkpoints"
        return constants | {
            "tasks": tasks,
            "splits": 1,
            "tangents": count,
            "tangent_parts": parts,
            "learned": int(learned),
            "slots": size.cell.slots,
            "chunk": chunk,
            "whole": int(not checkpoints),
            "segment_rows": size.packing.most_rows(self.plans.segment) if self.segmented else size.packing.rows,
            "c_kept": 1,
            "operand_kept": 1,
        }


def tangent_plans(plans, count, learned, with_x):
    """The `TangentPlans` that go with what forward kept; a uniform batch's are kept, as others like it will come."""
    make = _make_plans if plans.size.packing.uniform else _make_plans.__wrapped__
    return make(plans, count, learned, with_x, threads())


@functools.lru_cache(maxsize=128)
def _make_plans(plans, count, learned, with_x, threads_):
    return TangentPlans(plans, count, learned, with_x)


class Tangents(StateTangents):
    """The tangents of one layer, computed on the CPU."""

    at_once = True  # whether the steps are taken when it is made

    def __init__(self, tape, count, vectors, dx, dinitial=None, unit_values=None):
        self.tape, size, packing = tape, tape.size, tape.packing
        self.plans = tangent_plans(tape.plans, count, vectors is not None, dx is not None)
        shape = count, size.directions, packing.batch
        states = self._starts(tape, count, dinitial, np.zeros)
        values = np.zeros((*shape[:2], size.cell.unit_value_count, size.padded), size.dtype)
        if unit_values is not None:
            unit_values(values[..., : size.hidden])
        outputs, address = borrow(count * packing.rows * size.directions * size.width * size.dtype.itemsize)
        outputs = outputs.view(size.dtype).reshape(count, packing.rows, size.directions * size.width)
        inputs = None if dx is None else np.array([each.record for each in dx], np.int64)
        addresses = {T_DUNIT_VALUES: values, T_DX: inputs, T_DH: states[0], T_DC: states[-1]}
        self._fixed = {field: array.ctypes.data for field, array in addresses.items() if array is not None}
        self._fixed[T_DY] = address
        self._vectors, self._read, self._states = vectors, (inputs, values), states
        if packing.rows and self.at_once:
            self._run()
        step = outputs[0].nbytes
        shaped = [rows.reshape(packing.shape(size.directions * size.width)) for rows in outputs]
        self.dy = [TensorDescriptor.compact(rows, address + i * step, packing) for i, rows in enumerate(shaped)]

    @property
    def dfinal(self):
        """The tangents of the final state, (M, D, sequences, P or H) for each state of the cell."""
        return [self._ends(self.tape.packing, state) for state in self._states]

    def prepared(self, *addresses):
        """The TANGENT record, its weights packed; addresses: of the blocks of memory, the scratch's first."""
        tape, plans = self.tape, self.plans
        record = plans.plan.filled(addresses[0], tape.address, *addresses[1:])
        tape.set_inputs(record, T_X, T_DRIVES)
        record[[*self._fixed]] = [*self._fixed.values()]
        count = plans.size.directions * plans.size.parts
        self._share(untranspose_task, None, record, count)
        for m, vector in enumerate(self._vectors or ()):
            self._share(weights.pack_task, None, self._packing_record(m, vector, addresses[0]), count)
        return record

    def _run(self):
        plans = self.plans
        scratch, segment = take(plans.scratch.nbytes), None
        addresses = [scratch[1]]
        if plans.segment is not None:
            segment = take(plans.segment.nbytes)
            addresses.append(segment[1])
        record = self.prepared(*addresses)
        if segment is None:
            self._share(plans.task, plans.size.cell, record, plans.jobs)
        else:
            self._run_segments(record, segment)
            give(segment)
        give(scratch)

    def _share(self, task, cell, record, count):
        jobs.run(task, cell, self.plans.size.dtype, record, count, self.plans.threads)

    def _packing_record(self, m, vector, scratch):
        """The record that packs tangent m of the parameters."""
        plans, size = self.plans, self.plans.size
        record, item = plans.plans.forward.template.copy(), size.dtype.itemsize
        record[F_PARAMETERS] = vector.ctypes.data
        for path, numbers in plans.groups.items():
            record[place(FORWARD, path)] = scratch + plans.scratch.offsets[f"d{path}"] + m * numbers * item
        record[F_BIAS] = scratch + plans.scratch.offsets["dbias"] + m * plans.bias * item
        return record

    def _run_segments(self, record, segment):
        """Segment by segment: forward again, then the tangents."""
        tape, plans = self.tape, self.plans
        forward, again = tape.segment_forward(plans.forward, segment), plans.again
        call = Call(forward_pass, plans.forward, forward, 0, again.nbytes)
        for start in range(0, plans.size.steps, tape.plans.segment):
            tape.begin_segment(forward, segment, plans.segment, start)
            call()
            count = min(tape.plans.segment, plans.size.steps - start)
            record[T_START], record[T_STEPS] = start, count
            self._share(plans.task, plans.size.cell, record, plans.jobs)


class TangentsByStep(Tangents):
    """The tangents of one layer, where `feedback_tangents` takes each step of all layers before the next step."""

    at_once = False
