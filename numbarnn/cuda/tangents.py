"""Forward derivatives of one layer on the GPU: tangents through time, several at once, beside what forward kept.

What `cpu.tangent_launch` is for NumPy arrays, composed of products and of operations on arrays: no kernel of its own goes
through time.  What follows from the directions of parameters and x is a product of all rows, made before; each step adds
``R dh``, and takes each unit through its Jacobian, which is made once for all steps and tangents.

Axis letters: M tangents, T steps, N batch, D directions, I input channels, H hidden units, P channels of h, V values of a
unit.  In a ragged batch N are its runs and T is the longest; S counts the rows at work at all steps together.
"""

import math

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..engine.tape import StateTangents
from . import elementwise
from .arrays import contiguous, empty, zeros
from .jacobian import dot, slopes
from .launch import Layout
from .normalized_tangents import Rows
from .product import multiply
from .records import Product
from .rows import matrix_of, previous_rows
from .weights import copy, packed


class Tangents(StateTangents):
    """How they are computed on the GPU, one layer at a time."""

    def __init__(self, tape, count, vectors, dx, dinitial=None, unit_values=None):
        size, packing = tape.size, tape.packing
        self._tape = tape.again() if tape.recurrent and tape.keep.what != "all" else tape
        self._count, self._dx = count, dx
        self._parts = None if vectors is None else [self._packed(vector) for vector in vectors]
        outputs = zeros((count, size.rows, size.directions * size.width), size.dtype)
        states = self._starts(tape, count, dinitial, zeros)
        if tape.recurrent:
            self._values = zeros((count, size.directions, size.cell.unit_value_count, size.hidden), size.dtype)
            if unit_values is not None and self._values.size:
                unit_values(self._values)
            found = Rows(self._tape) if size.rows and size.cell.normalized_values else None
            units = slopes(self._tape) if size.rows and found is None else None
            for d in range(size.directions) if size.rows else ():
                own, of_d = outputs[:, :, d * size.width : (d + 1) * size.width], [state[:, d] for state in states]
                if found is not None:
                    self._normalized_through_time(d, found, of_d, own)
                else:
                    self._through_time(d, units[:, :, d], of_d, own)
        elif size.rows:
            for pre, own in zip(self._directions(0), outputs):
                elementwise.times_slope(size.cell, tape.h.reshape(pre.shape), pre, own)
        shaped = [rows.reshape(packing.shape(size.directions * size.width)) for rows in outputs]
        self.dy = [TensorDescriptor.compact(rows, 0, packing) for rows in shaped]
        self.dfinal = [self._ends(packing, state) for state in states] if tape.recurrent else []

    def _packed(self, vector):
        """A tangent of the parameters in the order of the slots: (numbers, where each weight begins)."""
        size = self._tape.size
        layout = Layout({**size.weights(), "bias": size.directions * size.cell.slots * size.hidden})
        block = zeros((max(layout.size, 1),), size.dtype)
        copy(size.dtype.type(0), packed(size, layout.offsets), contiguous(vector), block)
        return block, layout.offsets

    def _directions(self, d):
        """What the pre-activations of all rows change by, but for the changes of states: (M, S, slots * H)."""
        size, tape = self._tape.size, self._tape
        cell, rows, columns = size.cell, size.rows, size.cell.slots * size.hidden
        found, scratch = zeros((self._count, rows, columns), size.dtype), empty((rows * size.channels,), size.dtype)
        if self._parts is not None:
            x = matrix_of(tape.x, scratch, 0)
            for (block, at), own in zip(self._parts, found):
                bias = at["bias"] + d * columns
                if not cell.normalized_values:  # which are biased after that
                    own[...] = block[bias : bias + columns]
                _add_product(size, "input", d, x, block, at, own)
                for name, slots in (("recurrent", cell.recurrent_slots), ("gated", cell.gated_slots)):
                    if slots:
                        _add_product(size, name, d, self._factor(name, d), block, at, own)
        for m, described in enumerate(self._dx or ()):
            _add_product(size, "input", d, matrix_of(described, scratch, 0), tape.block, tape.layout.offsets, found[m])
        return found

    def _factor(self, name, d):
        """What a weight multiplied at all rows, as a matrix like the result of `matrix_of`."""
        size, tape = self._tape.size, self._tape
        if name != "recurrent":
            return tape.block, tape.call.operand + d * size.hidden, size.directions * size.hidden, 1
        step, run = tape.packing.steps_and_runs()
        if tape.packing.uniform:
            previous = (step if d == 0 else step + 2) * size.batch + run
        else:
            previous = previous_rows(tape.packing, d)
        return contiguous(tape.h[:, d][previous]).reshape(-1), 0, size.width, 1

    def _projected(self, d):
        """What h of all rows changes by as its projection does: (M, S, P), or None."""
        size = self._tape.size
        if not size.cell.projected or self._parts is None:
            return None
        found = zeros((self._count, size.rows, size.width), size.dtype)
        for (block, at), own in zip(self._parts, found):
            _add_product(size, "projection", d, self._factor("projection", d), block, at, own)
        return found

    def _through_time(self, d, rows, states, outputs):
        """Take the states (M, N, P or H) of a direction through its steps, and write the outputs; both are modified.

        rows: its `jacobian.slopes`, (rows, numbers, S, H).
        """
        size, cell, packing = self._tape.size, self._tape.size.cell, self._tape.packing
        pre, projected, hidden = self._directions(d), self._projected(d), size.hidden
        values = [self._values[:, d, v][:, None] for v in range(cell.unit_value_count)]
        for time in range(size.steps) if d == 0 else reversed(range(size.steps)):
            first, count = _rows_at(packing, time)
            at, now = slice(first, first + count), [state[:, :count] for state in states]
            here, of_rows = contiguous(pre[:, at]), rows[:, :, at]
            if cell.recurrent_slots:
                self._add_states("recurrent", d, now[0], here)
            own = here.reshape(self._count, count, cell.slots, hidden)
            changes = [own[:, :, slot] for slot in range(cell.slots)] + values
            changes += [None, *now[1:]] if cell.projected else now
            if cell.gated_slots:
                self._add_states("gated", d, dot(of_rows[cell.states], changes), here)
            new = [dot(of_rows[m], changes) for m in range(cell.states)]
            if cell.projected:
                h = zeros((self._count, count, size.width), size.dtype)
                self._add_states("projection", d, new[0], h)
                new[0] = h if projected is None else h + projected[:, at]
            for state, moved in zip(now, new):
                state[...] = moved
            outputs[:, at] = new[0]

    def _normalized_through_time(self, d, rows, states, outputs):
        """`_through_time` of a cell that normalizes; rows: `normalized_tangents.Rows`."""
        size, cell, packing = self._tape.size, self._tape.size.cell, self._tape.packing
        pre, shape = self._directions(d), (size.directions, cell.slots, size.hidden)
        biases = None
        if self._parts is not None:
            biases = [block[at["bias"] : at["bias"] + math.prod(shape)].reshape(shape)[d] for block, at in self._parts]
            biases = np.stack(biases)
        for time in range(size.steps) if d == 0 else reversed(range(size.steps)):
            first, count = _rows_at(packing, time)
            at, now = slice(first, first + count), [state[:, :count] for state in states]
            sums = contiguous(pre[:, at])
            self._add_states("recurrent", d, now[0], sums)
            sums = sums.reshape(self._count, count, cell.slots, size.hidden)
            new = rows.moved(d, at, sums, now, biases, self._values[:, d])
            for state, moved in zip(now, new):
                state[...] = moved
            outputs[:, at] = new[0]

    def _add_states(self, name, d, states, target):
        """Add a weight times the tangents (M, N, P or H) of what it multiplies to the contiguous target (is modified)."""
        size, tape, width = self._tape.size, self._tape, states.shape[-1]
        factor = contiguous(states).reshape(-1), 0, width, 1
        _add_product(size, name, d, factor, tape.block, tape.layout.offsets, target.reshape(-1, target.shape[-1]))


def _add_product(size, name, d, factor, block, at, target):
    """Add the product of a matrix and a direction's weight of that name to its slots in the rows of target (is modified).

    factor: like `rows.matrix_of`; block, at: memory that has the weight, and where each begins.
    """
    group = next(group for group in size.groups if group.name == name)
    numbers, start, row, channel = factor
    columns, first = len(group.slots) * group.columns, group.slots[0] * group.columns
    call = Product(
        len(target), columns, group.rows, start, row, channel, at[name] + d * group.rows * columns, columns, 1, first,
        target.shape[1], 1, 1,
    )  # fmt: skip
    multiply(size.dtype.type(0), call, numbers, block, target)


def _rows_at(packing, time):
    """(first, number) of the rows at work at a step, among all step by step."""
    if packing.uniform:
        return time * packing.batch, packing.batch
    first, end = (int(row) - 2 * packing.batch for row in packing.table[time + 2 : time + 4])
    return first, end - first
