"""What lies between the nodes of a graph: values that are joined, derivatives that are summed, states passed on."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import backend, backend_of, device_of
from ..arrays.ieee import ieee
from ..arrays.rows import like, numbers
from ..layers.dense import LINEAR
from ..layers.fed import side_by_side, unbatched
from ..layers.operations import NotInPrograms, in_rows
from ..layers.over_time import StepSums


class Step:
    """Something that is done in a pass of a graph, again and again."""

    compiled = None  # what does it on the CPU, and adds itself to programs; None where Python has a part in it

    def fill(self):
        """Do it, with all that it reads as it is now."""
        if self.compiled is None:
            self._fill()
        else:
            self.compiled.run()

    def _fill(self):
        """Do it in Python."""
        raise NotImplementedError

    def add_to(self, program):
        """Add it to a program; NotInPrograms if Python has a part in it."""
        if self.compiled is None:
            raise NotInPrograms(type(self).__name__)
        self.compiled.add_to(program)


class Joined(Step):
    """Values side by side along their channels; those without steps are repeated at each step.

    Parameters
    ----------
    sources : sequence of TensorDescriptor
        (T, N, C) each, with the same steps and sequences, or (1, N, C).
    stepped : sequence of bool
        Which of them have steps.

    Attributes
    ----------
    outputs : TensorDescriptor
        (T, N, C), C being the sum of theirs.
    """

    def __init__(self, sources, stepped):
        self.sources, self.stepped = sources, stepped
        first = next((source for source, has_steps in zip(sources, stepped) if has_steps), sources[0])
        ends = np.cumsum([source.channels for source in sources]).tolist()
        self.channels = [slice(end - source.channels, end) for source, end in zip(sources, ends)]
        self.outputs = like(first, ends[-1])
        self.repeats = any(stepped) and not all(stepped)
        if device_of(self.outputs.array) == "cpu":
            self.compiled = self._copies(range(len(sources)))
        self.fill()

    def _copies(self, which):
        """Compiled copies of some of the values."""
        pieces = []
        for at in which:
            source, packing = self.sources[at], self.outputs.packing
            if self.repeats and not self.stepped[at]:
                source = _at_each_step(source, packing)
            pieces.append((source, self.channels[at].start, False))
        return backend("cpu").joining.Join(self.outputs, pieces)

    def _fill(self):
        packing, array = self.outputs.packing, self.outputs.array
        for source, has_steps, channels in zip(self.sources, self.stepped, self.channels):
            if self.repeats and not has_steps:
                array[..., channels] = packing.of_sequences(source.tnc[0])
            else:
                in_rows(self.outputs)[:, channels] = in_rows(source)

    def add_steps(self, steps):
        """Add the copies to `one_step.StepCalls`."""
        packing = self.outputs.packing
        for source, has_steps, channels in zip(self.sources, self.stepped, self.channels):
            source = _at_each_step(source, packing) if self.repeats and not has_steps else unbatched(source, packing)
            target = self.outputs.of_channels(channels)
            backend("cpu").elementwise.add_value_steps(steps, LINEAR, side_by_side("a copy", source), target)

    def steppers(self):
        """What takes one step of a stream, on a GPU."""
        return [self.fill]

    def add_to(self, program):
        """Add the copies to a program; in one of a stream what has no steps stays as it was copied at first."""
        moving = [at for at, has_steps in enumerate(self.stepped) if has_steps or not self.repeats]
        (self.compiled if program.anew else self._copies(moving)).add_to(program)

    @property
    def nbytes(self):
        """Bytes of the outputs."""
        return self.outputs.array.nbytes


class StaticSlope(Step):
    """The derivative with respect to a value that `Joined` has repeated: the sum over the steps, in their order.

    Parameters
    ----------
    joined : Joined
    at : int
        Which of its sources.
    dy : TensorDescriptor
        dL/d(outputs).

    Attributes
    ----------
    outputs : TensorDescriptor
        (1, N, C).
    """

    def __init__(self, joined, at, dy):
        self._dy, source = dy.of_channels(joined.channels[at]), joined.sources[at]
        rows = backend_of(source.array).memory.zeros((source.batch, source.channels), source.dtype)
        self._rows, self.outputs = rows, TensorDescriptor.of_tnc(rows[None])
        if device_of(rows) == "cpu":
            self.compiled = backend("cpu").joining.StepSums(self._dy, rows)
        else:
            self._sums = StepSums(joined.outputs.packing)

    def _fill(self):
        self._sums.write(in_rows(self._dy), self._rows)


class Total(Step):
    """The sum of derivatives of one value, in the order in which they are given.

    Parameters
    ----------
    value : TensorDescriptor
    parts : sequence of TensorDescriptor

    Attributes
    ----------
    outputs : TensorDescriptor
    """

    def __init__(self, value, parts):
        self._parts, self.outputs = parts, like(value)
        if device_of(self.outputs.array) == "cpu":
            pieces = [(part, 0, bool(at)) for at, part in enumerate(parts)]
            self.compiled = backend("cpu").joining.Join(self.outputs, pieces)

    def add_steps(self, steps):
        """Add it to `one_step.StepCalls`."""
        on, total = backend("cpu").elementwise, self.outputs
        first, *others = (side_by_side("a sum", unbatched(part, total.packing)) for part in self._parts)
        on.add_value_steps(steps, LINEAR, first, total)
        for part in others:
            on.add_sum_steps(steps, total, part, total)

    @ieee
    def _fill(self):
        first, *others = self._parts
        rows = self.outputs.array
        rows[...] = numbers(first).reshape(rows.shape)
        for part in others:
            np.add(rows, numbers(part).reshape(rows.shape), out=rows)


class StateTotal(Step):
    """The sum of derivatives of one layer's final state, in the order in which they are given.

    Parameters
    ----------
    parts : sequence of callable
        Each returns, for each state of the cell, (L, D, N, P or H).

    Attributes
    ----------
    arrays : list of numpy.ndarray
        The sums, for each state (L, D, N, P or H).
    """

    def __init__(self, parts):
        self._parts, self.arrays = parts, None

    def prepare(self, layer, sequences, dtype, memory):
        """Make the memory of the sums."""
        lead = layer.layers, layer.directions, sequences
        self.arrays = [memory.zeros((*lead, width), dtype) for width in layer.state_widths]
        return self.arrays

    @ieee
    def _fill(self):
        first, *others = self._parts
        for array, part in zip(self.arrays, first()):
            array[...] = part
        for other in others:
            for array, part in zip(self.arrays, other()):
                np.add(array, part, out=array)


def state_numbers(layer):
    """How many numbers of one sequence are the state of a recurrent layer."""
    return layer.layers * layer.directions * sum(layer.state_widths)


def state_from(layer, value):
    """The state of a recurrent layer, (L, D, N, P or H) for each state of its cell, that numbers (1, N, C) are."""
    numbers, found, at = value.tnc[0], [], 0
    for width in layer.state_widths:
        size = layer.layers * layer.directions * width
        part = numbers[:, at : at + size].reshape(len(numbers), layer.layers, layer.directions, width)
        found.append(part.transpose(1, 2, 0, 3))
        at += size
    return found


class StateNumbers(Step):
    """The derivative of the numbers that a state is made of: the way back of `state_from`.

    Parameters
    ----------
    value : TensorDescriptor
        The numbers, (1, N, C).
    slope : callable
        Returns dL/d(state), (L, D, N, P or H) for each state of the cell.

    Attributes
    ----------
    outputs : TensorDescriptor
    """

    def __init__(self, value, slope):
        self._slope, self.outputs = slope, like(value)

    def _fill(self):
        at = 0
        for array in self._slope():
            rows = array.transpose(2, 0, 1, 3).reshape(array.shape[2], -1)
            self.outputs.array[0, :, at : at + rows.shape[1]] = rows
            at += rows.shape[1]


def initial_slope(layer, adjoint):
    """dL/d(initial state) of a recurrent layer: for each state (L, D, N, P or H)."""
    return [np.stack([part.dinitial[m] for part in adjoint.stack]) for m in range(layer.cell.states)]


def _at_each_step(source, packing):
    """The rows that a value without steps, (1, N, C), has at each step of a packing."""
    _, batch, channel = source.strides
    if packing.uniform:
        strides = 0, batch, channel
        return TensorDescriptor.made(
            packing.steps, packing.batch, source.channels, strides, source.dtype, "tnc", source.array, source.address
        )
    starts = packing.sequence * batch
    return TensorDescriptor.ragged(packing, source.channels, (0, 0, channel), source.array, source.address, starts=starts)
