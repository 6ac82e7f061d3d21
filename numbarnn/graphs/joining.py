"""What lies between the nodes of a graph: values that are joined, derivatives that are summed, states passed on."""

import numpy as np

from ..arrays.devices import backend_of
from ..arrays.ieee import ieee
from ..arrays.rows import like
from ..layers.operations import NotInPrograms, in_rows
from ..layers.over_time import StepSums


class Step:
    """Something that is done in a pass of a graph, again and again, in Python."""

    def fill(self):
        """Do it, with all that it reads as it is now."""
        raise NotImplementedError

    def add_to(self, program):
        """Python has a part in it."""
        raise NotInPrograms(type(self).__name__)


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
        self.fill()

    def fill(self):
        """Copy the values."""
        packing, array = self.outputs.packing, self.outputs.array
        for source, has_steps, channels in zip(self.sources, self.stepped, self.channels):
            if self.repeats and not has_steps:
                array[..., channels] = packing.of_sequences(source.tnc[0])
            else:
                in_rows(self.outputs)[:, channels] = in_rows(source)

    def steppers(self):
        """What takes one step of a stream, on a GPU."""
        return [self.fill]

    def add_to(self, program):
        """Add the copies of one step to a program of a stream; what has no steps stays as it was copied at first."""
        if program.anew:
            raise NotInPrograms("values that are copied side by side, many rows at once")
        add_copy = backend_of(self.outputs.array).programs.add_copy
        for source, has_steps, channels in zip(self.sources, self.stepped, self.channels):
            if not has_steps and self.repeats:
                continue
            target = self.outputs.of_channels(channels)
            for n in range(source.batch):
                addresses = (each.address + n * each.strides[1] for each in (source, target))
                add_copy(program, *addresses, source.channels * source.dtype.itemsize)

    @property
    def nbytes(self):
        """Bytes of the outputs."""
        return self.outputs.array.nbytes


class StaticSlope(Step):
    """The derivative with respect to a value that `Joined` has repeated: (N, C), the sum over the steps, in their order.

    Parameters
    ----------
    joined : Joined
    at : int
        Which of its sources.
    dy : TensorDescriptor
        dL/d(outputs).
    """

    def __init__(self, joined, at, dy):
        self._channels, self._dy = joined.channels[at], dy
        self._sums, source = StepSums(joined.outputs.packing), joined.sources[at]
        self.rows = backend_of(source.array).memory.zeros((source.batch, source.channels), source.dtype)

    def fill(self):
        """Write the sums to `rows`."""
        self._sums.write(in_rows(self._dy)[:, self._channels], self.rows)


class Total(Step):
    """The sum of derivatives of one value, in the order in which they are given.

    Parameters
    ----------
    value : TensorDescriptor
    parts : sequence of callable
        Each returns (rows, C).

    Attributes
    ----------
    outputs : TensorDescriptor
    """

    def __init__(self, value, parts):
        self._parts, self.outputs = parts, like(value)

    @ieee
    def fill(self):
        """Write the sum."""
        first, *others = self._parts
        rows = in_rows(self.outputs)
        rows[...] = first()
        for part in others:
            np.add(rows, part(), out=rows)


class StateTotal(Step):
    """The sum of derivatives of one layer's final state, in the order in which they are given.

    Parameters
    ----------
    parts : sequence of callable
        Each returns, for each state of the cell, (L, D, N, P or H).

    Attributes
    ----------
    arrays : list of numpy.ndarray
        The sums, likewise.
    """

    def __init__(self, parts):
        self._parts, self.arrays = parts, None

    def prepare(self, layer, sequences, dtype, memory):
        """Make the memory of the sums."""
        lead = layer.layers, layer.directions, sequences
        self.arrays = [memory.zeros((*lead, width), dtype) for width in layer.state_widths]
        return self.arrays

    @ieee
    def fill(self):
        """Write the sums."""
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


def numbers_from(arrays):
    """(N, C) of a state, (L, D, N, P or H) for each state of its cell: the way back of `state_from`."""
    rows = [array.transpose(2, 0, 1, 3).reshape(array.shape[2], -1) for array in arrays]
    return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)


def initial_slope(layer, adjoint):
    """dL/d(initial state) of a recurrent layer, likewise."""
    return [np.stack([part.dinitial[m] for part in adjoint.stack]) for m in range(layer.cell.states)]


def rows_of(described):
    """A function that returns the rows of a descriptor, (rows, C), as they are then."""
    return lambda: in_rows(described)
