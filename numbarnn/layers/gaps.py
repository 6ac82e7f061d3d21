"""Values that decay to their mean where they are missing: what GRU-D does to its input."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor, address_of
from ..arrays.devices import backend_of, contiguous
from ..arrays.ieee import ieee
from ..arrays.rows import like, numbers
from ..cells import Decay, DenseCell
from .operations import NotInPrograms, Operation, in_rows

CELL = DenseCell(Decay())


def mixed(value, mask, left, mean):
    """``m v + (1 - m) (u v + (1 - u) mean)`` of values of any kind, with u in `left`: what `InputDecay` makes of a value."""
    return mask * value + (1 - mask) * (left * value + (1 - left) * mean)


class InputDecay(Operation):
    """``m v + (1 - m) (g v + (1 - g) mean)`` with ``g = exp(-max(0, w d + b))`` in the place of v; m and d stay.

    Parameters
    ----------
    source : TensorDescriptor
        (T, N, 3 C): of C variables the values v, the masks m, the spans d.
    p : Parameters
    names : tuple of str
        What the parameters w and b (C,) are called.
    mean : numpy.ndarray
        (C,).
    keep : Keep
    """

    learns = True

    def __init__(self, source, p, names, mean, keep):
        p = p.copy() if keep.weights else p  # a stream reads parameters when it is made
        self.names, self.constants = names, (p[names[0]], p[names[1]], mean)
        super().__init__(source, like(source))

    def _source(self):
        return contiguous(numbers(self.source))

    def forward(self):
        x = self._source()
        if x.size:
            backend_of(x).gaps.fill(CELL, x, *self.constants, self.outputs.array)

    def add_to(self, program):
        x = numbers(self.source)
        if not (self.source.packing.uniform and x.size and x.flags.c_contiguous):
            raise NotInPrograms("a source that must be copied")
        backend_of(x).gaps.add_fill(program, CELL, x, *self.constants, self.outputs.array)

    def backward(self, adjoint, dy, need_x):
        own = InputDecayAdjoint(self, dy, adjoint.gradient, adjoint.accumulate)
        adjoint.fills.append(own.fill)
        return own.dx if need_x else None

    @ieee
    def jvp(self, tangents, dx):
        weight, bias, mean = self.constants
        value, mask, span = np.split(in_rows(self.source), 3, axis=1)
        left = backend_of(weight).elementwise.value(CELL, span * weight + bias)
        slope = -left * (left < 1)
        found = []
        for index in range(tangents.count):
            zeros = np.zeros_like(value)
            dvalue, dmask, dspan = (zeros,) * 3 if dx is None else np.split(in_rows(dx[index]), 3, axis=1)
            inner = weight * dspan
            if tangents.parameters is not None:
                dweight, dbias = (tangents.parameters[index][name] for name in self.names)
                inner = inner + span * dweight + dbias
            moved = dvalue * (mask + (1 - mask) * left) + dmask * (1 - left) * (value - mean)
            moved = moved + (1 - mask) * (value - mean) * slope * inner
            array = np.concatenate([moved, dmask, dspan], axis=1).reshape(self.outputs.array.shape)
            found.append(TensorDescriptor.compact(array, address_of(array), self.outputs.packing))
        return found


class InputDecayAdjoint:
    """Backward of `InputDecay`."""

    def __init__(self, of, dy, gradient, accumulate):
        self.of, self.dy, self._accumulate, self.dx = of, dy, accumulate, like(of.source)
        self._sums = [gradient[name] for name in of.names]

    def fill(self):
        """Write dL/dx, and write, or add, the derivatives of the parameters."""
        x, dy = self.of._source(), contiguous(numbers(self.dy))
        constants, gaps = self.of.constants, backend_of(x).gaps
        gaps.take_back(CELL, x, *constants, dy, self.dx.array, *self._sums, self._accumulate)

    def add_to(self, program):
        """Add `fill` to a program of a step that is taken again and again; False if a program cannot do it."""
        x, dy = numbers(self.of.source), numbers(self.dy)
        if not (x.size and x.flags.c_contiguous and dy.flags.c_contiguous):
            return False
        backend_of(x).gaps.add_take_back(
            program, CELL, x, *self.of.constants, dy, self.dx.array, *self._sums, self._accumulate
        )
        return True
