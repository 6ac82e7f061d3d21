"""What a layer does to the numbers that pass through it, one operation at a time: forward, and back."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import backend_of
from ..arrays.ieee import ieee
from ..arrays.rows import like, numbers
from .masks import rows_of

MERGES = ("concat", "sum", "average", "product")


class NotInPrograms(Exception):
    """An operation cannot be part of a program: Python has a part in it."""


class Operation:
    """One operation of a layer; its memory is made once, for all its calls.

    Attributes
    ----------
    source, outputs : TensorDescriptor
        What it reads and what it writes, (T, N, channels) each.
    learns : bool
        Whether there are parameters, so that derivatives must come this far back.
    """

    learns = False
    view = False  # whether the outputs are the source's own memory, so that a step of a stream has nothing to do

    def __init__(self, source, outputs):
        self.source, self.outputs = source, outputs
        self.forward()

    def forward(self):
        """Write the outputs, from the source as it is now."""

    def start(self, initial):
        """Let the next `forward` start from a state, (L, D, N, P or H) for each state of the cell, or afresh for None."""

    def backward(self, adjoint, dy, need_x):
        """A descriptor of dL/d(source), or None unless `need_x`, from `dy`, a descriptor of dL/d(outputs).

        adjoint: gains what computes it, and the parameters' derivatives, from dy as it is then; see `chain.Adjoint`.
        """
        raise NotImplementedError

    def separable(self):
        """Whether `backward` can have a gradient of each row of the batch: `chain.Adjoint.rows`."""
        return not self.learns

    def jvp(self, tangents, dx):
        """Descriptors of the tangents of the outputs from `dx`, the tangents of the source; None for zeros; on the CPU.

        tangents: how parameters and initial states move, see `tangents.Tangents`.
        """
        raise NotImplementedError

    def fills(self):
        """The functions that `forward` calls one after the other: the kernels' own functions where there are any."""
        return [] if self.view else [self.forward]

    def steppers(self):
        """Functions that take one step of a stream, on a GPU."""
        return [] if self.view else [self.forward]

    def add_to(self, program):
        """Add forward to a program, on the CPU; of an operation made to keep weights, some steps of a stream.

        NotInPrograms, with the program as it was or not, if Python has a part in it.
        """
        if not self.view:
            raise NotInPrograms(type(self).__name__)

    @property
    def nbytes(self):
        """Bytes that are held for backward, without the source."""
        return 0 if self.view else self.outputs.array.nbytes


def in_rows(described):
    """The numbers of a descriptor as (rows, C); a view where they lie like that."""
    array = numbers(described)
    return array.reshape(-1, array.shape[-1])


def _filled(described, values):
    """A descriptor of new numbers, laid out like another."""
    found = like(described)
    found.array[...] = values
    return found


def in_order(described):
    """The same numbers, the axes of a uniform batch in T, N, C order; a view."""
    return TensorDescriptor.of_tnc(described.tnc) if described.packing.uniform else described


class PassedOn(Operation):
    """The source as it is."""

    view = True

    def __init__(self, source):
        super().__init__(source, in_order(source))

    def backward(self, adjoint, dy, need_x):
        return in_order(dy) if need_x else None

    def jvp(self, tangents, dx):
        return dx and [*map(in_order, dx)]


class Scaled(Operation):
    """The source times a mask, as that is at each call: (T, N, C), or (N, C) for all steps."""

    def __init__(self, source, mask):
        self.mask = mask
        super().__init__(source, like(source))

    @ieee
    def forward(self):
        np.multiply(numbers(self.source), rows_of(self.mask, self.source.packing), out=self.outputs.array)

    def add_to(self, program):
        if not self.add_product(program, self.source, self.outputs):
            raise NotInPrograms("a source that must be copied")

    def add_product(self, program, source, target):
        """Add the product of a source with the mask to a program; False if a program cannot do it."""
        x = numbers(source)
        if not (source.packing.uniform and x.size and x.flags.c_contiguous and self.mask.flags.c_contiguous):
            return False
        backend_of(x).elementwise.add_product(program, x, self.mask, target.array)
        return True

    def backward(self, adjoint, dy, need_x):
        if not need_x:
            return None
        scaled = ScaledAdjoint(self, dy)
        adjoint.fills.append(scaled.fill)
        return scaled.dx

    @ieee
    def jvp(self, tangents, dx):
        mask = rows_of(self.mask, self.source.packing)
        return dx and [_filled(self.outputs, numbers(each) * mask) for each in dx]


class ScaledAdjoint:
    """Backward of `Scaled`: dL/d(outputs) times the mask."""

    def __init__(self, scaled, dy):
        self.scaled, self.dy, self.dx = scaled, dy, like(scaled.source)

    @ieee
    def fill(self):
        """Write the product."""
        mask = rows_of(self.scaled.mask, self.scaled.source.packing)
        np.multiply(numbers(self.dy), mask, out=self.dx.array)

    def add_to(self, program):
        """Add `fill` to a program; False if a program cannot do it."""
        return self.scaled.add_product(program, self.dy, self.dx)


def scale(chain, masks, name):
    """Add to a chain (is modified) the multiplication with the mask of that name, if there is one."""
    mask = masks.get(name)
    if mask is not None:
        chain.append(Scaled(chain.outputs, mask))


class Elementwise(Operation):
    """The activation function of a `DenseCell`, of every number."""

    def __init__(self, source, cell):
        self.cell, self.kernels = cell, backend_of(source.array).elementwise
        super().__init__(source, like(source))

    def forward(self):
        self.kernels.value(self.cell, numbers(self.source), self.outputs.array)

    def add_to(self, program):
        source = numbers(self.source)
        if not source.flags.c_contiguous:
            raise NotInPrograms("a source that must be copied")
        self.kernels.add_value(program, self.cell, source, self.outputs.array)

    def backward(self, adjoint, dy, need_x):
        if not need_x:
            return None
        own = ElementwiseAdjoint(self, dy)
        adjoint.fills.append(own.fill)
        return own.dx

    def jvp(self, tangents, dx):
        if dx is None:
            return None
        slopes = [ElementwiseAdjoint(self, each) for each in dx]  # what goes back through one number goes forward likewise
        for each in slopes:
            each.fill()
        return [each.dx for each in slopes]


class ElementwiseAdjoint:
    """Backward of `Elementwise`: dL/d(outputs) times the slope."""

    def __init__(self, of, dy):
        self._kernels, self.cell, self.dy = of.kernels, of.cell, dy
        self.kept = of.outputs if of.cell.activation.from_output else of.source
        self.dx = like(of.source)

    def fill(self):
        """Write dL/dx."""
        self._kernels.times_slope(self.cell, numbers(self.kept), numbers(self.dy), self.dx.array)

    def add_to(self, program):
        """Add `fill` to a program; False if a program cannot do it."""
        if not (self.kept.packing.uniform and self.dy.packing.uniform):
            return False
        kept, dy = numbers(self.kept), numbers(self.dy)
        if not (kept.size and kept.flags.c_contiguous and dy.flags.c_contiguous):
            return False
        self._kernels.add_times_slope(program, self.cell, kept, dy, self.dx.array)
        return True


class Merged(Operation):
    """The outputs of two directions, (T, N, 2H), forward half first, as one: their sum, average or product, (T, N, H)."""

    def __init__(self, source, merge):
        self.merge = merge
        super().__init__(source, like(source, source.channels // 2))

    def _halves(self):
        return np.split(in_rows(self.source), 2, axis=1)

    @ieee
    def forward(self):
        merged = in_rows(self.outputs)
        (np.multiply if self.merge == "product" else np.add)(*self._halves(), out=merged)
        if self.merge == "average":
            merged *= merged.dtype.type(0.5)

    def backward(self, adjoint, dy, need_x):
        if dy is None or not need_x:
            return None
        dx = like(self.source)

        @ieee
        def fill():
            doutputs, halves = in_rows(dy), np.split(in_rows(dx), 2, axis=1)
            factors = [doutputs.dtype.type(0.5 if self.merge == "average" else 1)] * 2
            if self.merge == "product":
                factors = reversed(self._halves())
            for half, factor in zip(halves, factors):
                np.multiply(doutputs, factor, out=half)

        adjoint.fills.append(fill)
        return dx

    @ieee
    def jvp(self, tangents, dx):
        if dx is None:
            return None
        found, (a, b) = [like(self.outputs) for _ in dx], self._halves()
        for each, source in zip(found, dx):
            da, db = np.split(in_rows(source), 2, axis=1)
            merged = da * b + a * db if self.merge == "product" else da + db
            in_rows(each)[...] = merged * merged.dtype.type(0.5) if self.merge == "average" else merged
        return found


class Residual(Operation):
    """An operation whose source is added to its outputs."""

    def __init__(self, inner):
        self.inner, self.learns = inner, inner.learns
        self.source, self.outputs = inner.source, like(inner.outputs)
        self._add()  # the operation inside has run

    @ieee
    def _add(self):
        np.add(in_rows(self.inner.outputs), in_rows(self.source), out=in_rows(self.outputs))

    def forward(self):
        self.inner.forward()
        self._add()

    def start(self, initial):
        self.inner.start(initial)

    def backward(self, adjoint, dy, need_x):
        dx = self.inner.backward(adjoint, dy, need_x)
        if dx is not None and dy is not None:
            adjoint.fills.append(ResidualAdjoint(dx, dy).fill)
        return dx

    def separable(self):
        return self.inner.separable()

    @ieee
    def jvp(self, tangents, dx):
        dy = self.inner.jvp(tangents, dx)
        if dx is None or dy is None:
            return dx if dy is None else dy
        return [_filled(self.outputs, numbers(a) + numbers(b)) for a, b in zip(dy, dx)]

    def steppers(self):
        return [*self.inner.steppers(), self._add]

    def add_to(self, program):
        self.inner.add_to(program)
        inner, source = numbers(self.inner.outputs), numbers(self.source)
        backend_of(source).elementwise.add_sum(program, inner, source, self.outputs.array)

    @property
    def nbytes(self):
        return self.inner.nbytes + super().nbytes


class ResidualAdjoint:
    """Backward of what `Residual` adds: dL/d(outputs) is added to dL/d(source), dx, which is modified."""

    def __init__(self, dx, dy):
        self.dx, self.dy = dx, dy

    @ieee
    def fill(self):
        """Add dy to dx."""
        np.add(in_rows(self.dx), in_rows(self.dy), out=in_rows(self.dx))

    def add_to(self, program):
        """Add the addition to a program; False if a program cannot do it."""
        if not (self.dx.packing.uniform and self.dy.packing.uniform):
            return False
        dx, dy = numbers(self.dx), numbers(self.dy)
        if not (dx.size and dx.flags.c_contiguous and dy.flags.c_contiguous):
            return False
        backend_of(dx).elementwise.add_sum(program, dx, dy, dx)
        return True
