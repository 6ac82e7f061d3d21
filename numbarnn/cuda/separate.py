"""The gradient of each row of a batch by itself: backward, whose last products are summed over steps and not over rows.

What `cpu.separate` is for NumPy arrays.  One pass back through time has the derivatives of all rows; then each weight is one
launch, of a product for each row.  Rows that differ in length are filled up with zeros before.
"""

import numpy as np

from . import launch
from .arrays import asarray, flat, zeros
from .device import cupy
from .gradients import BLOCK, SCRATCH, STATES, X, product_of_x, products_of_weights, states_behind
from .product import multiply, multiply_each
from .records import Each, Product
from .rows import matrix_of
from .weights import bias_places


class Adjoint(launch.Adjoint):
    """One layer's backward with a gradient of each sequence.

    Parameters
    ----------
    tape, dy, dfinal, need_x
        As of `launch.Adjoint`; the tape is `separable`.
    gradient : cupy.ndarray
        (N, numbers): of each sequence the gradient vector from this layer's part on (is modified); not of one without steps.
    lies_alone : callable, optional
        As of `cpu.separate.Adjoint`: sums here have one order.
    """

    def __init__(self, tape, dy, dfinal, need_x, gradient, lies_alone=None):
        super().__init__(tape, dy, dfinal, need_x, gradient, False)

    def _repeats(self):
        return False

    def _sum(self, scratch):
        tape, size, at = self.tape, self.tape.size, self.layout.offsets
        packing, rows, columns = tape.packing, size.rows, size.cell.dpre_count * size.hidden
        real, one = size.dtype.type(0), asarray(np.ones(1, size.dtype))
        x, *lying = matrix_of(tape.x, scratch, at["x"])
        into = self.gradient if packing.uniform else zeros((size.batch, size.directions * size.parameters[1]), size.dtype)
        target, first = flat(into)
        for d in range(size.directions):
            dpre, (states, behind) = at["dpre"] + d * rows * columns, states_behind(tape, d)
            arrays = {X: x, STATES: states, BLOCK: tape.block, SCRATCH: scratch}
            factors = {"input": (X, *lying), "recurrent": (STATES, *behind)}
            for call, a, b, _ in products_of_weights(tape, at, d, dpre, factors, False):
                self._multiply(call, arrays[a], arrays[b], target, first, into)
            for slot, places in enumerate(np.reshape(bias_places(size, d), (size.cell.dpre_count, -1))):
                for place in places[places >= 0].tolist():
                    call = Product(
                        1, size.hidden, rows, 0, 0, 0, dpre + slot * size.hidden, columns, 1, place, size.hidden, 1, 0
                    )  # fmt: skip
                    self._multiply(call, one, scratch, target, first, into)
            if self._dx is not None:
                call, *_ = product_of_x(tape, d, dpre)
                multiply(real, call, scratch, tape.block, self._dx)
        if not packing.uniform:
            there = np.flatnonzero(packing.length)
            self.gradient[packing.sequence[there], : into.shape[1]] = into[there]

    def _multiply(self, call, a, b, target, first, into):
        """A `Product` over all rows, for each row by itself: C is at its place in each row of `into`, from `first` on."""
        packing, runs, row = self.tape.packing, self.tape.size.batch, into.strides[0] // into.itemsize
        if not packing.uniform:
            a, call = self._filled(a, call, "a", call.rows, call.a_row)
            b, call = self._filled(b, call, "b", call.columns, call.b_column)
        each = Each(runs, call.a_depth, call.b_depth, row)
        own = call._replace(depth=packing.steps, a_depth=call.a_depth * runs, b_depth=call.b_depth * runs, c=first + call.c)
        multiply_each(into.dtype.type(0), own, each, a, b, target)

    def _filled(self, numbers, call, name, width, stride):
        """(numbers, call): a matrix of a `Product` with a row at every step, (T, N, width), zeros where there was none."""
        packing, depth = self.tape.packing, getattr(call, f"{name}_depth")
        if not depth:  # one number for all
            return numbers, call
        item, first = numbers.itemsize, getattr(call, name)
        lying = cupy.lib.stride_tricks.as_strided(numbers[first:], (packing.rows, width), (depth * item, stride * item))
        found = zeros((packing.steps, packing.batch, width), numbers.dtype)
        found[packing.steps_and_runs()] = lying
        across = {"a": "a_row", "b": "b_column"}[name]
        return found.reshape(-1), call._replace(**{name: 0, f"{name}_depth": width, across: 1})
