"""Layers whose outputs are part of their next inputs, step after step, and the way back through all steps.

It runs on what the ordinary pass has: the same tapes and adjoints, with `cpu.feedback` in the place of a layer's own loop
over time.
"""

import numpy as np

from ..arrays.devices import backend
from ..arrays.rows import numbers
from .chain import Chain
from .dense import Linear
from .operations import Elementwise, ElementwiseAdjoint, NotInPrograms, Residual, ResidualAdjoint, Scaled, ScaledAdjoint
from .recurrence import Constrained, ConstrainedAdjoint, Recurrence, VectorGradients


class Fed:
    """Layers through all steps, each input made of what is given and of the output before.

    Parameters
    ----------
    x : numpy.ndarray
        (T, N, C), which the layers read (is modified).
    outputs : TensorDescriptor
        (T, N, O) of the last layer.
    tapes : list of Tape
        Of the layers, the lowest first; those of `forward` have run before, on whatever x was.

    Raises
    ------
    NotInPrograms
        If a layer has something that cannot be taken step by step in compiled code.
    """

    def __init__(self, x, outputs, tapes):
        self.x, self.outputs, self.tapes = x, outputs, tapes
        self.y = in_order("outputs that are not in order", outputs)
        on = backend("cpu").feedback
        self._before, self._kernels = [], []
        self._products = sum(map(_products, tapes))
        self._steps = on.FedSteps(*x.shape[:2], x.dtype, self._products)
        for tape in tapes:
            self._add(tape.operation)
        self._forcing = np.zeros(self.y.shape, x.dtype)
        self._records = self._steps.made(
            channels=x.shape[2], outputs=self.y.shape[2], x=x.ctypes.data, y=self.y.ctypes.data,
            forcing=self._forcing.ctypes.data,
        )  # fmt: skip
        self._place = [on.place(on.FED, name) for name in ("given", "given_step", "given_row", "given_channel")]

    def _add(self, operation):
        """Add the steps of an operation."""
        steps, on = self._steps, backend("cpu").feedback
        if isinstance(operation, Constrained):
            self._before.append(operation.weights.fill)
            self._add(operation.inner)
        elif isinstance(operation, Chain):
            for each in operation.operations:
                self._add(each)
        elif isinstance(operation, Residual):
            self._add(operation.inner)
            arrays = [in_order("a sum", each) for each in (operation.inner.outputs, operation.source, operation.outputs)]
            steps.add_elementwise(on.SUM, None, arrays, on.sum_record)
        elif isinstance(operation, (Linear, Recurrence)):
            self._kernels.append(operation.tape)
            steps.add_forward(operation.tape, operation.source, operation.outputs)
        elif isinstance(operation, Elementwise):
            arrays = [in_order("a function", each) for each in (operation.source, operation.outputs)]
            steps.add_elementwise(on.VALUE, operation.cell, arrays, on.value_record)
        elif isinstance(operation, Scaled):
            arrays = in_order("a mask", operation.source), contiguous("a mask", operation.mask), operation.outputs.array
            steps.add_elementwise(on.PRODUCT, None, arrays, on.product_record)
        elif not operation.view:
            raise NotInPrograms(type(operation).__name__)

    def fill(self, given, forcing):
        """Run all steps, or the ordinary forward where all that is read is given.

        given: (T, N, C), at any strides; forcing: (T, N, O), from 0 for the output before to 1 for what is given.
        """
        self.forcing = forcing
        self.ordinary = bool((forcing == 1).all())
        if self.ordinary:
            self.x[...] = given
            for tape in self.tapes:
                tape.fill()
            return
        self._forcing[...] = forcing
        for row in self._records:
            row[self._place] = given.ctypes.data, *given.strides
        for write in self._before:
            write()
        for tape in self._kernels:
            tape.begin()
        self._steps.pack()
        self._steps.run(self._records)


class FedAdjoint:
    """The way back through `Fed`: the exact gradient, that of the outputs that were fed included.

    Parameters
    ----------
    fed : Fed
    dy : numpy.ndarray
        (T, N, O): dL/dy, which the adjoints read; `fill` adds to it what comes by way of the next input (is modified).
    adjoints : list of Adjoint
        Of the layers, the last first, each with dL/dx.
    """

    def __init__(self, fed, dy, adjoints):
        self.fed, self.dy, self.adjoints = fed, dy, adjoints
        on, x = backend("cpu").feedback, fed.x
        self._kernels, self._after = [], []
        self._steps = on.FedSteps(*x.shape[:2], x.dtype, fed._products, fed._steps.parts)
        for adjoint in adjoints:
            for fill in adjoint.fills:
                self._add(getattr(fill, "__self__", fill))
        self.dx = in_order("dx", adjoints[-1].dx)
        self._records = self._steps.made(
            channels=x.shape[2], outputs=dy.shape[2], y=dy.ctypes.data, dx=self.dx.ctypes.data,
            forcing=fed._forcing.ctypes.data,
        )  # fmt: skip

    def _add(self, own):
        """Add the steps back of what a fill is the method of."""
        steps, on = self._steps, backend("cpu").feedback
        if isinstance(own, ElementwiseAdjoint):
            arrays = [in_order("a slope", each) for each in (own.kept, own.dy, own.dx)]
            steps.add_elementwise(on.SLOPE, own.cell, arrays, on.value_record)
        elif isinstance(own, ScaledAdjoint):
            mask = contiguous("a mask", own.scaled.mask)
            arrays = in_order("a mask", own.dy), mask, in_order("a mask", own.dx)
            steps.add_elementwise(on.PRODUCT, None, arrays, on.product_record)
        elif isinstance(own, ResidualAdjoint):
            dx, dy = in_order("a sum", own.dx), in_order("a sum", own.dy)
            steps.add_elementwise(on.SUM, None, (dx, dy, dx), on.sum_record)
        elif hasattr(own, "tape"):
            operation = self._operation_of(own.tape)
            self._kernels.append(own)
            dx, dy = (_unbatched(each, self.fed.x.shape[:2]) for each in (own.dx, own.dy))
            steps.add_backward(own, operation.source, operation.outputs, dy, dx)
        elif isinstance(own, (ConstrainedAdjoint, VectorGradients)):  # of parameters alone
            self._after.append(own)
        else:
            raise NotInPrograms(getattr(own, "__name__", type(own).__name__))

    def _operation_of(self, tape):
        """The operation whose kernels' tape this is."""
        found = (each for own in self.fed.tapes for each in operations_in(own.operation))
        return next(each for each in found if getattr(each, "tape", None) is tape)

    def fill(self):
        """Complete dL/dy, and write what the adjoints do."""
        if self.fed.ordinary:
            for adjoint in self.adjoints:
                adjoint.fill()
            return
        for own in self._kernels:
            own.begin()
        self._steps.run_back(self._records)
        for own in self._kernels:
            own.end()
        for own in self._after:
            own.fill()

    def given(self):
        """dL/d(what was given), (T, N, C): of channels that are fed back, as far as they are given."""
        found = self.dx.copy()
        fed = self.dy.shape[2]
        np.multiply(found[..., :fed], self.fed.forcing, out=found[..., :fed], where=self.fed.forcing != 1)
        return found


def operations_in(operation):
    """The operations that one is made of, those that do something."""
    if isinstance(operation, Chain):
        for each in operation.operations:
            yield from operations_in(each)
    elif isinstance(operation, (Constrained, Residual)):
        yield from operations_in(operation.inner)
    else:
        yield operation


def _products(tape):
    """Multiplications of numbers by parameters in a layer's pass."""
    return sum(each.tape.size.products for each in operations_in(tape.operation) if isinstance(each, (Linear, Recurrence)))


def _unbatched(described, shape):
    """A descriptor, (T, N, C), of what may be the steps of one sequence as a batch."""
    if (described.steps, described.batch) == shape:
        return described
    array = described.array.reshape(*shape, described.channels)
    return type(described).of_tnc(array, described.address)


def in_order(what, described):
    """The numbers of a descriptor, (T, N, C) in C order."""
    return contiguous(what, numbers(described))


def contiguous(what, array):
    """An array that is in C order; else NotInPrograms."""
    if not array.flags.c_contiguous:
        raise NotInPrograms(what)
    return array
