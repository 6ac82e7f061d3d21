"""Steps of a kernel that depend on its cell: written once, and chosen when the kernel is compiled.

A function here is chosen by its first argument, a cell.  Called from Python, as in a simulator, it looks each time.

States are read and written at places: a `where` goes with each place, such as the units that are left or an array.
"""

import functools
from typing import NamedTuple

from numba import types


def by_cell(target):
    """A decorator of ``choose(cell)``, which returns the function to run for a cell: it has the same arguments for all."""

    def chosen(choose):
        def function(cell, *args):
            return choose(cell)(cell, *args)

        function.__name__, function.__doc__ = choose.__name__, choose.__doc__
        target.overload(function, strict=False)(lambda cell, *args: choose(cell.cell))
        return function

    return chosen


def joined(values, others):
    """One tuple of two."""
    return values + others


def slots_of_terms(cell):
    """For each pre-activation of a cell that normalizes, the slots that are its terms."""
    slots = [[] for _ in range(cell.terms)]
    for run in cell.layer_norms:
        for slot in range(run.slots):
            slots[run.term + slot].append(run.first + slot)
    return slots


def sum_terms(cell, values):
    """The pre-activations of a cell that normalizes, from its slots."""
    return tuple(functools.reduce(lambda a, b: a + b, (values[s] for s in slots)) for slots in slots_of_terms(cell))


def register(target):
    """Teach a backend the functions above."""

    @target.overload(joined)
    def join(values, others):
        if len(others) == 0:
            return lambda values, others: values
        if len(values) == 0:
            return lambda values, others: others
        return lambda values, others: values + others

    @target.intrinsic
    def add(typingctx, cell, values):
        terms = slots_of_terms(cell.cell)
        result = types.UniTuple(values.dtype, len(terms))

        def codegen(context, builder, signature, args):
            sums = [functools.reduce(builder.fadd, (builder.extract_value(args[1], s) for s in slots)) for slots in terms]
            return context.make_tuple(builder, result, sums)

        return result(cell, values), codegen

    @target.overload(sum_terms)
    def sums(cell, values):
        return lambda cell, values: add(cell, values)


class Choices(NamedTuple):
    """What a backend's kernels do with the states of a cell."""

    load_state: object
    store_state: object
    load_dstate: object
    add_output: object
    add_cells: object
    by_projection: object


def choices(target, get, put, get_whole, number):
    """The `Choices` of a backend, by its ``get(real, place, where)``, ``put(value, place, where)``, ``number(real, n)``.

    get_whole: like `get`, for a row that has numbers behind its last unit.
    """
    chosen = by_cell(target)

    @chosen
    def load_state(cell):
        """The state tuple at places `h` and, where the cell has one, `c`; 0 for an h that is no unit's."""
        if cell.states == 1:
            return lambda cell, real, h, c, where: (get(real, h, where),)
        if cell.projected:
            return lambda cell, real, h, c, where: (number(real, 0), get(real, c, where))
        return lambda cell, real, h, c, where: (get(real, h, where), get(real, c, where))

    @chosen
    def store_state(cell):
        """Write the state tuple to places `h` and, where the cell has one, `c`."""
        if cell.states == 1:
            return lambda cell, state, h, c, where: put(state[0], h, where)

        def both(cell, state, h, c, where):
            put(state[0], h, where)
            put(state[1], c, where)

        return both

    @chosen
    def load_dstate(cell):
        """The derivatives of the state."""
        if cell.states == 1:
            return lambda cell, real, dh, dc, where: (get_whole(real, dh, where),)
        return lambda cell, real, dh, dc, where: (get_whole(real, dh, where), get_whole(real, dc, where))

    @chosen
    def add_output(cell):
        """`dstate` with the output's derivative at a place added to dL/dh: the output of a step is its h.

        Where h is projected, the derivative has been added before.
        """
        if cell.projected:
            return lambda cell, real, dstate, dy, where: dstate
        if cell.states == 1:
            return lambda cell, real, dstate, dy, where: (dstate[0] + get(real, dy, where),)
        return lambda cell, real, dstate, dy, where: (dstate[0] + get(real, dy, where), dstate[1])

    @chosen
    def add_cells(cell):
        """`dstate` with the derivative of a step's c added."""
        if cell.states == 1:
            return lambda cell, dstate, dcells: dstate
        return lambda cell, dstate, dcells: (dstate[0], dstate[1] + dcells)

    @chosen
    def by_projection(cell):
        """`plain`, or for a cell whose h is projected the other."""
        if cell.projected:
            return lambda cell, plain, projected: projected
        return lambda cell, plain, projected: plain

    return Choices(load_state, store_state, load_dstate, add_output, add_cells, by_projection)
