"""Forward derivatives of a cell that normalizes, on the GPU: from the tangents of its slots' sums to its states' tangents.

What `cpu.normalized_tangents` is for the processor, composed of operations on arrays.  The Jacobian of a normalization is
symmetric, so that `NormalizedCell.normalized_adjoint` takes tangents forward too; how a unit's new states follow its terms
is a Jacobian of each unit, made by one launch for all rows.

Axis letters: M tangents, D directions, S rows at work at all steps together, N rows of one step, V values of a unit, H
hidden units.
"""

import numpy as np

from ..arrays.ieee import ieee
from ..engine.choices import by_cell, joined
from . import extending
from .arrays import asarray, empty
from .device import blocks_for, cuda, kernel
from .jacobian import dot, one_after_the_other, rows_of_step
from .launches import launch
from .normalized import tape_place
from .recurrent import block_before, state_places
from .rows import table_of
from .types import get, load_drives, load_saved, load_state, number, store_all

chosen = by_cell(extending)


@chosen
def with_slopes_of_output(cell):
    """`rows`, and behind them how h' follows the first of the new states and the normalized c', where the output sees that.

    hats, values: places of a unit's first normalized number and of its first value in the tape.
    """
    if not cell.normalizes_cell:
        return lambda cell, real, rows, tape, hats, values, hidden, kept: rows

    def all_rows(cell, real, rows, tape, hats, values, hidden, kept):
        hat = get(tape, hats + cell.slots * hidden)
        seen = get(tape, values + (1 + cell.slots) * hidden) * hat + get(tape, values)
        return joined(rows, cell.output_adjoint(kept, seen, number(real, 1)))

    return all_rows


@kernel
def term_slopes(cell, real, call, tape, table, steps, runs, found):
    """Write what `Rows` has of a call; found is modified.  steps, runs: of each row."""
    count = call.directions * call.rows * call.hidden
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        unit, row, direction = i % call.hidden, i // call.hidden % call.rows, i // (call.hidden * call.rows)
        time, n = steps[row], runs[row]
        old_h, old_c = state_places(call, table, direction, block_before(direction, time), n, unit)
        h, c = state_places(call, table, direction, time + 1, n, unit)
        old, new = load_state(cell, real, old_h, old_c, tape), load_state(cell, real, h, c, tape)
        kept = load_saved(cell, real, tape, call.saved + tape_place(call, cell.saved, direction, row) + unit, call.hidden)
        drives = call.drives + (row * call.directions + direction) * call.hidden + unit
        per_unit = load_drives(cell, real, tape, drives, call.rows * call.directions * call.hidden)
        rows = one_after_the_other(cell, rows_of_step(cell, real, kept, old, new, per_unit))
        hats = call.normalized + tape_place(call, cell.normalized_values, direction, row) + unit
        values = call.unit_values + direction * cell.unit_value_count * call.hidden + unit
        store_all(with_slopes_of_output(cell, real, rows, tape, hats, values, call.hidden, kept), found, i, count)


class Rows:
    """How the new states of a cell that normalizes follow its slots' sums and its old states, at all rows of a tape.

    Parameters
    ----------
    tape : launch.Tape
        That keeps all.
    """

    def __init__(self, tape):
        size, packing, cell = tape.size, tape.packing, tape.size.cell
        units = size.directions, size.rows, size.hidden
        of_states = cell.states, cell.terms + cell.states
        numbers = of_states[0] * of_states[1]
        found = empty((numbers + 2 * cell.normalizes_cell, *units), size.dtype)
        steps, runs = (asarray(np.ascontiguousarray(each, np.int64)) for each in packing.steps_and_runs())
        launch(
            term_slopes, blocks_for(size.directions * size.rows * size.hidden), cell, size.dtype.type(0), tape.call,
            tape.block, table_of(packing), steps, runs, found,
        )  # fmt: skip
        self._cell, self._of_states, self._of_output = cell, found[:numbers].reshape(*of_states, *units), found[numbers:]
        lead = size.directions, size.rows
        self._hats = tape.part("normalized", (*lead, cell.normalized_values, size.hidden))
        self._scales = tape.part("deviations", (*lead, cell.deviations))
        self._values = tape.part("unit_values", (size.directions, cell.unit_value_count, size.hidden))

    @ieee
    def moved(self, d, at, sums, states, biases, dvalues):
        """The tangents (M, N, H) of each new state, at some of the rows of a direction.

        Parameters
        ----------
        d : int
        at : slice
        sums : array
            (M, N, slots, H): tangents of what the slots normalize.
        states : list of array
            (M, N, H): of the old states.
        biases : array or None
            (M, slots, H): of the biases; None for zeros.
        dvalues : array
            (M, V, H): of the values of units, the gains among them.
        """
        cell, hats, scales, first = self._cell, self._hats[d, at], self._scales[d, at], int(self._cell.normalizes_cell)
        terms = [None] * cell.terms
        for index, run in enumerate(cell.layer_norms):
            own, gained = slice(run.first, run.first + run.slots), slice(first + run.first, first + run.first + run.slots)
            hat = hats[:, own]
            dhat = self._normalized(sums[:, :, own], hat, scales[:, index])
            found = self._values[d, gained] * dhat + dvalues[:, None, gained] * hat
            if biases is not None:
                found = found + biases[:, None, own]
            for slot in range(run.slots):
                term, part = run.term + slot, found[:, :, slot]
                terms[term] = part if terms[term] is None else terms[term] + part
        changes = [*terms, *states]
        new = [dot(row, changes) for row in self._of_states[:, :, d, at]]
        if first:
            hat = hats[:, cell.slots]
            dhat = self._normalized(new[1][:, :, None], hat[:, None], scales[:, cell.deviations - 1])[:, :, 0]
            gain = 1 + cell.slots
            seen = self._values[d, gain] * dhat + dvalues[:, None, gain] * hat + dvalues[:, None, 0]
            new[0] = dot(self._of_output[:, d, at], [new[0], seen])
        return new

    def _normalized(self, sums, hats, scales):
        """The tangents of normalized numbers (N, slots, H) from `sums`, the tangents of the sums, (M, N, slots, H)."""
        count = sums.shape[2] * sums.shape[3]
        mean, mean_hat = ((each.sum(axis=(2, 3)) / count)[:, :, None, None] for each in (sums, sums * hats))
        return self._cell.normalized_adjoint(sums, hats, scales[:, None, None], mean, mean_hat)
