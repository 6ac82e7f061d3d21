"""Layers whose outputs are part of their next inputs, step after step, and the way back through all steps.

It runs on what the ordinary pass has: the same tapes and adjoints, with `cpu.feedback` in the place of a layer's own loop
over time.
"""

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import backend
from ..arrays.rows import like, numbers
from .chain import Chain
from .dense import LINEAR, Linear
from .gaps import CELL as DECAY
from .gaps import InputDecay, InputDecayAdjoint
from .operations import Elementwise, ElementwiseAdjoint, NotInPrograms, Residual, ResidualAdjoint, Scaled, ScaledAdjoint
from .recurrence import Constrained, ConstrainedAdjoint, Recurrence, VectorGradients
from .spans import Beside, BesideAdjoint

FED = ".fed"  # beside the states of layers, by index or label, none of which it is: the last outputs, which are fed next


class Fed:
    """Layers through all steps, each input made of what is given and of the output before.

    S counts the steps of all sequences of a ragged batch, whose rows (S, C) are in the place of (T, N, C).

    Parameters
    ----------
    x : TensorDescriptor
        (T, N, C), of rows without a gap, which the layers read (is modified).
    outputs : TensorDescriptor
        (T, N, O) of the last layer.
    tapes : list of Tape
        Of the layers, the lowest first; their `forward` has run before, on whatever x was.

    Raises
    ------
    NotInPrograms
        If a layer has something that cannot be taken step by step in compiled code.
    """

    def __init__(self, x, outputs, tapes):
        self.x, self.outputs, self.tapes, self.packing = x, outputs, tapes, x.packing
        on = backend("cpu").feedback
        self._first, self._kernels = [], []
        self._products = sum(map(_products, tapes))
        self._steps = on.FedSteps(self.packing, x.dtype, self._products)
        for tape in tapes:
            try:
                self._add(tape.operation)
            except NotInPrograms as error:
                raise NotInPrograms(f"{tape.layer!r}, which has {error}") from None
        self._forcing = np.zeros(self.packing.shape(outputs.channels), x.dtype)
        self._before = np.zeros((self.packing.batch, outputs.channels), x.dtype)
        y = side_by_side("outputs that are not in order", outputs)
        self._records = self._steps.fed([x], [y], self._forcing, self._before)

    def _add(self, operation):
        """Add the steps of an operation."""
        steps, on = self._steps, backend("cpu")
        if hasattr(operation, "add_steps"):
            operation.add_steps(steps)
        elif isinstance(operation, Constrained):
            self._first.append(operation.weights.fill)
            self._add(operation.inner)
        elif isinstance(operation, Chain):
            for each in operation.operations:
                self._add(each)
        elif isinstance(operation, Residual):
            self._add(operation.inner)
            arrays = [side_by_side("a sum", each) for each in (operation.inner.outputs, operation.source, operation.outputs)]
            on.elementwise.add_sum_steps(steps, *arrays)
        elif isinstance(operation, Beside):
            self._add(operation.inner)
            for source, target in operation.copies(operation.inner.outputs, operation.source, operation.outputs):
                on.elementwise.add_value_steps(steps, LINEAR, side_by_side("a copy", source), target)
        elif isinstance(operation, (Linear, Recurrence)):
            self._kernels.append(operation.tape)
            steps.add_forward(operation.tape, operation.source, operation.outputs)
        elif isinstance(operation, Elementwise):
            arrays = [side_by_side("a function", each) for each in (operation.source, operation.outputs)]
            on.elementwise.add_value_steps(steps, operation.cell, *arrays)
        elif isinstance(operation, Scaled):
            mask = mask_of(operation)
            source, outputs = (side_by_side("a mask", each) for each in (operation.source, operation.outputs))
            on.elementwise.add_product_steps(steps, source, mask, outputs)
        elif isinstance(operation, InputDecay):
            arrays = (side_by_side("values that decay", each) for each in (operation.source, operation.outputs))
            on.gaps.add_fill_steps(steps, DECAY, *arrays, *operation.constants)
        elif not operation.view:
            raise NotInPrograms(type(operation).__name__)

    def fill(self, given, forcing, before=None):
        """Run all steps, or the ordinary forward where all that is read is given.

        given: a descriptor, (T, N, C); forcing: (T, N, O), from 0 for the output before to 1 for what is given; before:
        (sequences, O), the output before the first step, which is read where the forcing is less than 1 there.
        """
        self.forcing = forcing
        self.ordinary = bool((forcing == 1).all())
        if self.ordinary:
            self.x.array[...] = numbers(given)
            for tape in self.tapes:
                tape.fill()
            return
        self._forcing[...] = forcing
        self._before[...] = 0 if before is None else before[self.packing.sequence]
        self._records[:, backend("cpu").feedback.GIVEN] = given.record
        for write in self._first:
            write()
        for tape in self._kernels:
            tape.begin()
        self._steps.pack()
        self._steps.run(self._records)

    def last(self):
        """The outputs of the last step of each sequence, (sequences, O): a copy, 0 where it has none."""
        found = np.zeros((self.packing.sequences, self.outputs.channels), self.x.dtype)
        there, rows = self.packing.end_rows(first=False)
        found[there] = numbers(self.outputs).reshape(-1, self.outputs.channels)[rows]
        return found


def check_kept(keep):
    """Raise ValueError unless forward keeps nothing, or all that backward needs of each step."""
    if keep.what == "states":
        raise ValueError("tape: expected 'all' beside feedback, got 'states'")
    if keep.what == "checkpoints":
        raise ValueError(f"checkpoints: expected None beside feedback, got what makes {keep.segments} of them")


class FedAdjoint:
    """The way back through `Fed`: the exact gradient, also by way of the outputs that were fed.

    Parameters
    ----------
    fed : Fed
    dy : TensorDescriptor
        (T, N, O), of rows without a gap: dL/dy, which the adjoints read; `fill` adds to it what comes by way of the next
        input (is modified).
    adjoints : list of Adjoint
        Of the layers, the last first, each with dL/dx.
    dx : TensorDescriptor, optional
        dL/dx of all of them; None for the last Adjoint's dL/dx.
    """

    def __init__(self, fed, dy, adjoints, dx=None):
        self.fed, self.dy, self.adjoints = fed, dy, adjoints
        on, packing = backend("cpu").feedback, fed.packing
        self._kernels, self._after = [], []
        self._steps = backend("cpu").feedback_adjoint.StepsBack(packing, dy.dtype, fed._products, fed._steps.parts)
        for adjoint in adjoints:
            for fill in adjoint.fills:
                self._add(getattr(fill, "__self__", fill))
        self.dx = adjoints[-1].dx if dx is None else dx
        self._records = self._steps.made(
            on.FED, channels=self.dx.channels, outputs=dy.channels, y=dy.record, dx=self.dx.address,
            forcing=fed._forcing.ctypes.data,
        )  # fmt: skip

    def _add(self, own):
        """Add the steps back of what a fill is the method of."""
        steps, on = self._steps, backend("cpu")
        if hasattr(own, "add_steps"):
            own.add_steps(steps)
        elif isinstance(own, ElementwiseAdjoint):
            arrays = [side_by_side("a slope", each) for each in (own.kept, own.dy, own.dx)]
            on.elementwise.add_slope_steps(steps, own.cell, *arrays)
        elif isinstance(own, ScaledAdjoint):
            dy, dx = (side_by_side("a mask", each) for each in (own.dy, own.dx))
            on.elementwise.add_product_steps(steps, dy, mask_of(own.scaled), dx)
        elif isinstance(own, ResidualAdjoint):
            dx, dy = side_by_side("a sum", own.dx), side_by_side("a sum", own.dy)
            on.elementwise.add_sum_steps(steps, dx, dy, dx)
        elif isinstance(own, BesideAdjoint):
            dx, dy = (side_by_side("a sum", each) for each in (own.dx, own.dy))
            on.elementwise.add_sum_steps(steps, dx, dy, dx)
        elif isinstance(own, InputDecayAdjoint):
            arrays = (side_by_side("values that decay", each) for each in (own.of.source, own.dy, own.dx))
            on.gaps.add_slope_steps(steps, DECAY, *arrays, *own.of.constants)
            self._after.append(own)  # the sums, for which dL/dy must be known at all steps
        elif hasattr(own, "tape"):
            operation = self._operation_of(own.tape)
            self._kernels.append(own)
            dx, dy = (unbatched(each, self.fed.packing) for each in (own.dx, own.dy))
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
        self._steps.run(self._records)
        for own in self._kernels:
            own.end()
        for own in self._after:
            own.fill()

    def given(self):
        """A descriptor of dL/d(what was given), (T, N, C): of channels that are fed back, as far as they are given."""
        found, forcing = like(self.dx), self.fed.forcing
        found.array[...] = numbers(self.dx)
        fed = found.array[..., : self.dy.channels]
        np.multiply(fed, forcing, out=fed, where=forcing != 1)
        return found


def operations_in(operation):
    """The operations that one is made of, those that do something."""
    if isinstance(operation, Chain):
        for each in operation.operations:
            yield from operations_in(each)
    elif isinstance(operation, (Beside, Constrained, Residual)):
        yield from operations_in(operation.inner)
    else:
        yield operation


def _products(tape):
    """Multiplications of numbers by parameters in a layer's pass."""
    return sum(each.tape.size.products for each in operations_in(tape.operation) if isinstance(each, (Linear, Recurrence)))


def unbatched(described, packing):
    """A descriptor, (T, N, C), of what may be the steps of one sequence as a batch."""
    if not packing.uniform or (described.steps, described.batch) == (packing.steps, packing.batch):
        return described
    array = described.array.reshape(packing.shape(described.channels))
    return TensorDescriptor.of_tnc(array, described.address)


def mask_of(scaled):
    """A descriptor, (T, N, C), of the mask of a `Scaled`, which may be the same at all steps."""
    packing, mask = scaled.source.packing, scaled.mask
    shape = packing.total, packing.sequences, scaled.source.channels
    return side_by_side("a mask", TensorDescriptor.of_tnc(np.broadcast_to(mask, shape)).packed(packing))


def side_by_side(what, described):
    """A descriptor whose channels lie side by side; else NotInPrograms."""
    if described.channels > 1 and described.strides[2] != described.dtype.itemsize:
        raise NotInPrograms(what)
    return described
