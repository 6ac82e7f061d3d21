"""A unit's Jacobian on the GPU: how the new states of a cell move where its pre-activations and old states do.

What `cpu.jacobian` is for the processor; see `engine.unit_jacobian`.  The rows of all units at all steps are made by one
launch.
"""

import numpy as np

from ..engine import unit_jacobian
from ..engine.choices import by_cell, joined
from . import extending
from .arrays import asarray, empty, zeros
from .device import blocks_for, cuda, kernel
from .launches import launch
from .recurrent import block_before, per_unit_of, state_places
from .rows import table_of
from .types import load_dpre, load_saved, load_state, number, store_all

chosen = by_cell(extending)


_, rows_of_step = unit_jacobian.rows(extending, number)


@chosen
def no_states(cell):
    """Derivatives of 0 of all states."""
    if cell.states == 1:
        return lambda cell, real: (number(real, 0),)
    return lambda cell, real: (number(real, 0), number(real, 0))


@chosen
def one_after_the_other(cell):
    """The numbers of `rows_of_step` as one tuple."""
    if cell.states == 1:
        return lambda cell, rows: rows[0]
    return lambda cell, rows: joined(rows[0], rows[1])


@chosen
def with_row_of_gate(cell):
    """`rows`, and behind them the row of the gated weight's operand where there is one; `none` is derivatives of 0."""
    if not cell.gated_slots:
        return lambda cell, real, rows, none, kept, old, per_unit: rows

    def all_rows(cell, real, rows, none, kept, old, per_unit):
        dpre, dold = cell.gate_adjoint(kept, old, number(real, 1), none, no_states(cell, real), per_unit)
        return joined(rows, joined(dpre, dold))

    return all_rows


@kernel
def unit_slopes(cell, real, call, tape, table, steps, runs, zero, found):
    """Write `slopes` of a `Recurrent` call; found is modified.  steps, runs: of each row; zero: one number."""
    count = call.directions * call.rows * call.hidden
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        unit, row, direction = i % call.hidden, i // call.hidden % call.rows, i // (call.hidden * call.rows)
        time, n = steps[row], runs[row]
        old_h, old_c = state_places(call, table, direction, block_before(direction, time), n, unit)
        h, c = state_places(call, table, direction, time + 1, n, unit)
        old, new = load_state(cell, real, old_h, old_c, tape), load_state(cell, real, h, c, tape)
        place = call.saved + (direction * call.rows + row) * cell.saved * call.hidden + unit
        kept = load_saved(cell, real, tape, place, call.hidden)
        per_unit = per_unit_of(cell, real, call, tape, direction, row, unit)
        rows = one_after_the_other(cell, rows_of_step(cell, real, kept, old, new, per_unit))
        none = load_dpre(cell, real, zero, 0, 0)
        store_all(with_row_of_gate(cell, real, rows, none, kept, old, per_unit), found, i, count)


def slopes(tape):
    """The rows of the Jacobian of each unit at each row of a `launch.Tape` that keeps all, (rows, numbers, D, S, H).

    A row for each new state, and one for the operand of a gate; a row has a number for each of dpre and of the old states.
    """
    size, packing, cell = tape.size, tape.packing, tape.size.cell
    shape = cell.states + bool(cell.gated_slots), cell.dpre_count + cell.states
    found = empty((*shape, size.directions, size.rows, size.hidden), size.dtype)
    steps, runs = (asarray(np.ascontiguousarray(each, np.int64)) for each in packing.steps_and_runs())
    launch(
        unit_slopes, blocks_for(size.directions * size.rows * size.hidden), cell, size.dtype.type(0), tape.call, tape.block,
        table_of(packing), steps, runs, zeros((1,), size.dtype), found,
    )  # fmt: skip
    return found


def dot(row, changes):
    """The sum of the products of a row of the Jacobian, (numbers, N, H), and changes (M, N, H), of which None are zeros."""
    total = None
    for slope, change in zip(row, changes, strict=True):
        if change is not None:
            total = slope * change if total is None else total + slope * change
    return total
