"""Jacobians of single steps on the CPU, from `unit_slopes` and the recurrent weights.

    J = sum_k diag(a_k) R_k + sum_g diag(a_g) R_g O + diag(b),    O = sum_k diag(o_k) R_k + diag(o)

for each new state, with the slots k that receive ``R h``, the slots g that receive R times the operand of a gate, and the
slopes a, b of the state and o of the operand.  An old c comes in by its own unit alone.
"""

import functools

import numpy as np

from ..engine.inlined import inlined
from . import jobs
from .blocks import entry, share, vector_bytes, vectors_for
from .compiled import Task
from .memory import empty, give, take
from .records import integers
from .routine_call import invoke, record_at
from .routines import ROUTINES
from .simd import get, lanes, load, load_first, put, size_of, splat, store, store_first
from .threads import threads_for
from .unit_slopes import slopes
from .vectors import lanes_of

TASKS = 4  # of each thread: one that is held up leaves the others something to take
JACOBIANS = np.dtype(
    integers(
        "product",  # a routine
        "zeros",  # one vector
        "slopes",  # [count, rows, numbers, padded H]
        "numbers",
        "rows",
        "states",
        "hidden",
        "weights",  # [gates, H, padded H]
        "recurrent",  # slots that receive R h: the first ...
        "recurrent_count",
        "recurrent_gates",  # ... and a table of the gates whose R that is
        "gated",  # likewise, of the slots that receive R times an operand
        "gated_count",
        "gated_gates",
        "dpre",  # numbers of a row that are no states'
        "scratch",  # [tasks, 2, H, padded H]
        "count",
        "tasks",
        "target",  # [count, states * H, states * H]
    )
)


@inlined
def mixed(real, call, row, i, v):
    """``sum_k a_k R_k`` of unit i and one vector of units before the step; row: where the slopes a lie."""
    padded, value = vectors_for(real, call.hidden) * vector_bytes(real), splat(real, 0)
    for k in range(call.recurrent_count):
        factor = splat(real, get(real, row + (call.recurrent + k) * padded + i * size_of(real)))
        weight = call.weights + (entry(call.recurrent_gates, k) * call.hidden + i) * padded
        value = value + factor * load(real, weight + v * vector_bytes(real))
    return value


@inlined
def make_operand(real, call, gate, operand):
    """Write the Jacobian O of the operand of a gate with respect to h; gate: where its slopes lie."""
    units, vector, size = vectors_for(real, call.hidden), vector_bytes(real), size_of(real)
    for i in range(call.hidden):
        row = operand + i * units * vector
        for v in range(units):
            store(mixed(real, call, gate, i, v), row + v * vector)
        own = get(real, gate + call.dpre * units * vector + i * size)
        put(get(real, row + i * size) + own, row + i * size)


@inlined
def add_gated(real, call, weight, factors, by_unit, block, width):
    """Add ``diag(a) W diag(o)`` to a block of the target; by_unit: where o lies, 0 for ones."""
    hidden, units, vector, size = call.hidden, vectors_for(real, call.hidden), vector_bytes(real), size_of(real)
    for i in range(hidden):
        factor = splat(real, get(real, factors + i * size))
        for v in range(units):
            value = factor * load(real, weight + (i * units + v) * vector)
            if by_unit:
                value = value * load(real, by_unit + v * vector)
            place, left = block + i * width + v * vector, hidden - v * lanes(real)
            store_first(load_first(real, place, left) + value, place, left)


@Task
def jacobian_task(cell, number, record, index):
    """The Jacobians of one part of the steps."""
    real, call = number(0), record_at(record, JACOBIANS)[0]
    size, vector, hidden, units = size_of(real), vector_bytes(real), call.hidden, vectors_for(real, call.hidden)
    padded, width = units * vector, call.states * hidden * size  # bytes of a row: of units, of the target
    operand = call.scratch + 2 * index * hidden * padded
    made = operand + hidden * padded
    first, count = share(call.count, call.tasks, index)
    for n in range(first, first + count):
        own, target = call.slopes + n * call.rows * call.numbers * padded, call.target + n * call.states * hidden * width
        gate = own + call.states * call.numbers * padded
        if call.gated_count and call.recurrent_count:
            make_operand(real, call, gate, operand)
        for s in range(call.states):
            row, block = own + s * call.numbers * padded, target + s * hidden * width
            for i in range(hidden):
                for v in range(units):
                    place, left = block + i * width + v * vector, hidden - v * lanes(real)
                    store_first(mixed(real, call, row, i, v), place, left)
                    for m in range(1, call.states):
                        store_first(splat(real, 0), place + m * hidden * size, left)
            for g in range(call.gated_count):
                factors = row + (call.gated + g) * padded
                weight = call.weights + entry(call.gated_gates, g) * hidden * padded
                for m in range(call.states):
                    into = block + m * hidden * size
                    if m == 0 and call.recurrent_count:
                        invoke(
                            call.product,
                            real,
                            (
                                made, padded, call.zeros, 0, 0, weight, padded, size, hidden, 0, operand, padded, hidden,
                                hidden, units,
                            ),
                        )  # fmt: skip
                        add_gated(real, call, made, factors, 0, into, width)
                    else:
                        add_gated(real, call, weight, factors, gate + (call.dpre + m) * padded, into, width)
            for m in range(call.states):
                for i in range(hidden):
                    place = block + i * width + (m * hidden + i) * size
                    put(get(real, place) + get(real, row + (call.dpre + m) * padded + i * size), place)


def fields_of(cell):
    """The fields of a record that say which slots receive what, and where a row has the slopes of states."""
    tables = [_table(gates) for gates in (cell.recurrent_gates, cell.gated_gates)]
    return {
        "recurrent": cell.recurrent_span[0], "recurrent_count": cell.recurrent_span[1],
        "recurrent_gates": tables[0].ctypes.data, "gated": cell.gated_span[0], "gated_count": cell.gated_span[1],
        "gated_gates": tables[1].ctypes.data, "dpre": cell.dpre_count,
    }  # fmt: skip


@functools.cache
def _table(gates):
    return np.array(gates, np.int64)


def step_jacobians(tape, weights, target=None):
    """The Jacobians of all steps of a `launch.Tape` of one direction that keeps all, (T * N, S, S).

    Parameters
    ----------
    tape : launch.Tape
    weights : numpy.ndarray or None
        The recurrent weights (gates, H, H), if there are some.
    target : numpy.ndarray, optional
        Where they are written (is modified); new by default.
    """
    cell, dtype, hidden = tape.size.cell, tape.size.dtype, tape.size.hidden
    found = slopes(tape)
    count, rows, numbers, padded = found.shape
    width = cell.states * hidden
    target = empty((count, width, width), dtype) if target is None else target
    of_gates = np.zeros((len(cell.gates), hidden, padded), dtype)
    if weights is not None:
        of_gates[..., :hidden] = weights
    sharing = threads_for(target.size)
    tasks = min(count, TASKS * sharing) if sharing > 1 else min(1, count)
    scratch, zeros = take(2 * max(1, tasks) * of_gates[0].nbytes), np.zeros(lanes_of(dtype), dtype)
    record = np.zeros(1, JACOBIANS)
    for name, value in {
        "product": ROUTINES["product"].address(dtype), "zeros": zeros.ctypes.data, "slopes": found.ctypes.data,
        "numbers": numbers, "rows": rows, "states": cell.states, "hidden": hidden, "weights": of_gates.ctypes.data,
        "scratch": scratch[1], "count": count, "tasks": tasks, "target": target.ctypes.data, **fields_of(cell),
    }.items():  # fmt: skip
        record[name] = value
    jobs.run(jacobian_task, None, dtype, record, tasks)
    give(scratch)
    return target
