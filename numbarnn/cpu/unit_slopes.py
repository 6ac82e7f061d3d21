"""Slopes of single steps on the CPU: by what each unit's changes are multiplied, from what forward kept.

A step takes the changes of a unit's pre-activations and old states to the changes of its new states by its rows
of `jacobian`.  With the recurrent weights they are all of the Jacobian of the step, see `step_jacobians`.
"""

import functools

from ..engine.choices import joined
from . import jobs
from .blocks import vector_bytes, vectors_for
from .compiled import Task, compile_together
from .jacobian import row_of_gate, rows_of_step
from .memory import empty
from .plans import Plan
from .records import place
from .routine_call import record_at
from .rows import block_row, rows_before, task_rows
from .simd import lanes, size_of
from .step_products import previous_block
from .tangent_rows import TANGENT
from .threads import MAX_TASK_ROWS, threads_for
from .types import by_cell, drive_places, load_drives, load_saved, load_state, load_unit_values, store_all

T_X, T_DRIVES, T_SLOPES = (place(TANGENT, name) for name in ("x", "drives", "dy"))


@by_cell
def slopes_of(cell):
    """One tuple of the rows of each new state, and of the operand where the cell has a gate."""
    if cell.states == 1 and not cell.gated_slots:
        return lambda cell, real, kept, old, new, per_unit: rows_of_step(cell, real, kept, old, new, per_unit)[0]
    if cell.states == 1:

        def with_gate(cell, real, kept, old, new, per_unit):
            rows = rows_of_step(cell, real, kept, old, new, per_unit)
            return joined(rows[0], row_of_gate(cell, real, kept, old, per_unit))

        return with_gate
    if not cell.gated_slots:

        def of_both(cell, real, kept, old, new, per_unit):
            rows = rows_of_step(cell, real, kept, old, new, per_unit)
            return joined(rows[0], rows[1])

        return of_both

    def of_all(cell, real, kept, old, new, per_unit):
        rows = rows_of_step(cell, real, kept, old, new, per_unit)
        return joined(joined(rows[0], rows[1]), row_of_gate(cell, real, kept, old, per_unit))

    return of_all


@Task
def slopes_task(cell, number, record, index):
    """The slopes of one part of the batch at all steps, of the forward direction: [S, slopes, padded H]."""
    real, call = number(0), record_at(record, TANGENT)[0]
    first, _, most, _ = task_rows(call, index)
    size, vector, hidden = size_of(real), vector_bytes(real), call.hidden
    units, row = vectors_for(real, hidden), hidden * size_of(real)
    saved_row = units * cell.saved * vector
    for time in range(call.steps):
        old_row, new_row = block_row(call, previous_block(time, 0)) + first, block_row(call, time + 1) + first
        step_row = rows_before(call, time) + first
        for r in range(most):
            drives = drive_places(cell, call, time, first + r)
            h, c = call.h + (old_row + r) * row, call.c + (old_row + r) * row
            h_new, c_new = call.h + (new_row + r) * row, call.c + (new_row + r) * row
            for before in range(0, units, call.per_block):
                vectors = min(call.per_block, units - before)
                for v in range(vectors):
                    unit = (before + v) * lanes(real)
                    saved = call.saved + (step_row + r) * saved_row + (before * cell.saved + v) * vector
                    kept = load_saved(cell, real, saved, vectors * vector)
                    old = load_state(cell, real, h + unit * size, c + unit * size, hidden - unit)
                    new = load_state(cell, real, h_new + unit * size, c_new + unit * size, hidden - unit)
                    per_unit = joined(
                        load_unit_values(cell, real, call.unit_values + (before + v) * vector, units * vector),
                        load_drives(cell, real, drives, unit * size, hidden - unit),
                    )
                    found = slopes_of(cell, real, kept, old, new, per_unit)
                    at = ((step_row + r) * len(found) * units + before + v) * vector
                    store_all(found, call.dy + at, units * vector)


def slope_rows(cell):
    """(numbers of one row, number of rows): a row for each new state, and one for the operand of a gate."""
    return cell.dpre_count + cell.states, cell.states + bool(cell.gated_slots)


@functools.lru_cache(maxsize=128)
def _plan(plans, tasks):
    size = plans.size
    compile_together((slopes_task, size.cell, size.dtype))
    constants = size.constants(()) | {"tasks": tasks, "splits": 1, "slots": size.cell.slots, "whole": 1}
    groups = [path for path in plans.tape.offsets if path.endswith(".weight")]
    return Plan(TANGENT, constants, [plans.tape.without([*groups, "bias"])], size)


def slopes(tape):
    """The slopes of all steps of a `launch.Tape` of one direction that keeps all, (T * N, rows, numbers, padded H)."""
    size, packing, cell = tape.size, tape.packing, tape.size.cell
    numbers, rows = slope_rows(cell)
    found = empty((packing.rows, rows, numbers, size.padded), size.dtype)
    tasks = threads_for(found.size * 8)
    tasks = min(size.batch, max(tasks, -(-size.batch // MAX_TASK_ROWS)))
    record = _plan(tape.plans, tasks).filled(tape.address)
    tape.set_inputs(record, T_X, T_DRIVES)
    record[T_SLOPES] = found.ctypes.data
    jobs.run(slopes_task, cell, size.dtype, record, tasks)
    return found
