"""Kernels that put one cell's equations to one thread each: for the tests, and for the compile check."""

from numbarnn.cuda.device import cuda, kernel
from numbarnn.cuda.types import (
    add_cells,
    add_output,
    by_projection,
    dtype_of,
    gated_gate,
    get,
    input_gate,
    layer_norm_of,
    load_dpre,
    load_drives,
    load_dstate,
    load_saved,
    load_slots,
    load_state,
    load_terms,
    load_unit_values,
    number,
    put,
    recurrent_gate,
    store_all,
    store_state,
)
from numbarnn.engine.choices import joined


@kernel
def step(cell, real, count, pre, states, given, saved, operand):
    """One step of `count` units: states is [4, count], the old h and the new one, then c; the rest [values, count]."""
    i = cuda.grid(1)
    if i < count:
        old, values = load_state(cell, real, i, 2 * count + i, states), load_slots(cell, real, pre, i, count)
        drives = cell.unit_value_count * count + i
        taken = joined(load_unit_values(cell, real, given, i, count), load_drives(cell, real, given, drives, count))
        if cell.gated_span[1] > 0:
            values, gated = cell.gate(values, old, taken)
            put(gated, operand, i)
            store_all(values, pre, i, count)
        new, kept = cell.forward(values, old, taken)
        store_state(cell, new, count + i, 3 * count + i, states)
        store_all(kept, saved, i, count)


@kernel
def step_adjoint(cell, real, count, states, given, saved, dstates, dy, dcells, doperand, dpre):
    """The adjoint of `step`: dstates is [2, count], of the new h and c, then of the old ones; dpre is filled."""
    i = cuda.grid(1)
    if i < count:
        old = load_state(cell, real, i, 2 * count + i, states)
        new = load_state(cell, real, count + i, 3 * count + i, states)
        drives = cell.unit_value_count * count + i
        taken = joined(load_unit_values(cell, real, given, i, count), load_drives(cell, real, given, drives, count))
        kept = load_saved(cell, real, saved, i, count)
        derivative = add_output(cell, real, load_dstate(cell, real, i, count + i, dstates), i, dy)
        derivative = add_cells(cell, derivative, get(dcells, i))
        found, dold = cell.adjoint(kept, old, new, derivative, taken)
        store_all(found, dpre, i, count)
        if cell.gated_span[1] > 0:
            found = load_dpre(cell, real, dpre, i, count)
            found, dold = cell.gate_adjoint(kept, old, get(doperand, i), found, dold, taken)
            store_all(found, dpre, i, count)
        store_state(cell, dold, i, count + i, dstates)


@kernel
def normalized_step(cell, real, count, pre, c, saved, out):
    """What a cell that normalizes does for each unit: out is [4, count]."""
    i = cuda.grid(1)
    if i < count:
        scale = cell.inverse_deviation(get(c, i) * get(c, i), get(c, i))
        hat = cell.normalized(get(c, i), number(real, 0.25), scale)
        new, kept = cell.forward(load_terms(cell, real, pre, i, count), load_state(cell, real, i, i, c), ())
        store_all(kept, saved, i, count)
        if cell.normalizes_cell:
            do, dc = cell.output_adjoint(kept, new[-1], get(c, i))
            put(cell.output(new[0], new[-1]), out, i)
            put(do + dc, out, count + i)
        put(hat, out, 2 * count + i)
        put(cell.normalized_adjoint(hat, get(c, i), scale, number(real, 1) / 3, get(pre, i)), out, 3 * count + i)


@kernel
def constants(cell, real, table):
    """What a cell says of itself, number by number."""
    if cuda.grid(1) == 0:
        place = cuda.local.array(cell.slots, dtype_of(real))
        place[cell.slots - 1] = 2
        table[0], table[1], table[2], table[3] = cell.gate_count, cell.slots, cell.saved, cell.states
        table[4], table[5], table[6] = cell.unit_value_count, cell.drive_count, cell.dpre_count
        table[7], table[8] = cell.input_span
        table[9], table[10] = cell.recurrent_span
        table[11], table[12] = cell.gated_span
        table[13], table[14] = cell.normalized_values, cell.deviations
        table[15] = by_projection(cell, 3, 4)
        table[16] = int(place[cell.slots - 1])
        at = 17
        for i in range(cell.input_span[1]):
            table[at + i] = input_gate(cell, i)
        at += cell.input_span[1]
        for i in range(cell.recurrent_span[1]):
            table[at + i] = recurrent_gate(cell, i)
        at += cell.recurrent_span[1]
        for i in range(cell.gated_span[1]):
            table[at + i] = gated_gate(cell, i)


@kernel
def runs_of(cell, table):
    """The runs of a cell that normalizes, three numbers each, then the run of each slot."""
    if cuda.grid(1) == 0:
        at = 0
        for first, slots, term in cell.layer_norms:
            table[at], table[at + 1], table[at + 2] = first, slots, term
            at += 3
        for slot in range(cell.slots):
            table[at + slot] = layer_norm_of(cell, slot)
