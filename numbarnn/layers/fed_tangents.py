"""Forward derivatives of layers whose outputs are fed back, step after step."""

from dataclasses import replace

import numpy as np

from ..arrays.devices import backend
from ..arrays.rows import like
from .chain import Chain
from .dense import LINEAR, Linear
from .fed import mask_of, side_by_side
from .gaps import CELL as DECAY
from .gaps import InputDecay
from .operations import Elementwise, NotInPrograms, Residual, Scaled
from .recurrence import Constrained, Recurrence
from .spans import Beside
from .tangents import fed_back


class FedTangents:
    """Tangents of what `Fed` has written: what moves an output moves the next input, and so on.

    Parameters
    ----------
    fed : Fed
        Whose `fill` has run, and whose tapes keep what backward needs.
    count : int
        How many tangents there are.

    Attributes
    ----------
    x : list of TensorDescriptor
        The tangents of what the layers read, (T, N, C), which `run` writes.
    """

    def __init__(self, fed, count):
        self._fed = fed
        self._steps = fed_back().TangentSteps(fed.packing, fed.x.dtype, 2 * count * fed._products)
        self.x = [like(fed.x) for _ in range(count)]

    def add(self, tape, tangents, dx):
        """Add the steps of a layer; returns descriptors of the tangents of its outputs, which `run` writes.

        tangents: the Tangents of its parameters and initial state (are modified); dx: descriptors of the tangents of what it
        reads.
        """
        try:
            return self._add(tape.operation, tangents, dx)
        except NotInPrograms:
            expected = "one of layers whose tangents are taken step by step where outputs are fed back"
            raise TypeError(f"tape: expected {expected}, got one with {tape.layer!r}") from None

    def add_copies(self, joined):
        """Add the steps of tangents that are joined, a `graphs.joining.Joined`."""
        joined.add_steps(self._steps)

    def run(self, dy, given):
        """Take all steps.

        dy: descriptors of the tangents of the outputs that are fed back, (T, N, O); given: how what is given moves,
        (T, N, C) for each tangent, or None for zeros.
        """
        fed = self._fed
        if given is None:
            zeros = like(fed.x)
            zeros.array.fill(0)
            given = [zeros] * len(self.x)
        before = np.zeros_like(fed._before)
        if fed.packing.rows:
            self._steps.run(self._steps.fed(self.x, dy, fed._forcing, before, given))

    def _add(self, operation, tangents, dx):
        """Add the steps of an operation; returns descriptors of the tangents of its outputs."""
        on, steps, outputs = backend("cpu").elementwise, self._steps, operation.outputs
        if isinstance(operation, Constrained):
            if tangents.parameters is not None:
                moved = [operation.weights.moved(dp) for dp in tangents.parameters]
                tangents = replace(tangents, parameters=moved)  # its lists are the same
            return self._add(operation.inner, tangents, dx)
        if isinstance(operation, Chain):
            for each in operation.operations:
                dx = self._add(each, tangents, dx)
            return dx
        if operation.view:
            return operation.jvp(tangents, dx)
        if isinstance(operation, (Linear, Recurrence)):
            passes = []
            dy = operation.jvp(replace(tangents, passes=passes), dx)
            steps.add_tangents(passes[0], operation.source, outputs, dx)
            return dy
        if isinstance(operation, Residual):
            sums = zip(self._add(operation.inner, tangents, dx), dx)
            return [self._each(on.add_sum_steps, pair, outputs) for pair in sums]
        if isinstance(operation, Beside):
            made, found = self._add(operation.inner, tangents, dx), [like(outputs) for _ in dx]
            for parts in zip(made, dx, found):
                for source, target in operation.copies(*parts):
                    on.add_value_steps(steps, LINEAR, side_by_side("a tangent", source), target)
            return found
        if isinstance(operation, Elementwise):
            kept = outputs if operation.cell.activation.from_output else operation.source
            return [self._each(on.add_slope_steps, (kept, each), outputs, operation.cell) for each in dx]
        if isinstance(operation, InputDecay):
            return [self._decayed(operation, tangents, index, each) for index, each in enumerate(dx)]
        if not isinstance(operation, Scaled):
            raise NotInPrograms(type(operation).__name__)
        mask = mask_of(operation)
        return [self._each(on.add_product_steps, (each, mask), outputs) for each in dx]

    def _decayed(self, decay, tangents, index, dx):
        """A descriptor of how the outputs of an `InputDecay` move in one of the tangents."""
        found, constants = like(decay.outputs), decay.constants
        if tangents.parameters is None:
            moved = [np.zeros_like(each) for each in constants[:2]]
        else:
            moved = [tangents.parameters[index][name] for name in decay.names]
        arrays = (side_by_side("values that decay", each) for each in (decay.source, dx, found))
        backend("cpu").gaps.add_tangent_steps(self._steps, DECAY, *arrays, *constants, *moved)
        return found

    def _each(self, add, read, outputs, *cell):
        """A descriptor like one of the outputs, of which `add` says that it is written at each step from what is read."""
        found = like(outputs)
        add(self._steps, *cell, *(side_by_side("a tangent", each) for each in read), found)
        return found
