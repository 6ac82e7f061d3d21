"""What a recurrent layer is made of when it runs: its cell through time, and the weights that it reads."""

import functools
from dataclasses import replace

import numpy as np

from ..arrays.devices import backend, backend_of, device_of
from ..arrays.packing import uniform
from ..errors import CellError
from .operations import NotInPrograms, Operation
from .tangents import separate

MOST_WORKS = 64  # layers whose work on the same lengths is kept
INITIAL = ("initial_h", "initial_c")  # parameters that hold the state to start from


def _work(backend, layer, cell, packing, channels, dtype, differentiable):
    """(kernels, Size) of one stacked layer on a backend; TypeError if backward is wanted and the cell has none."""
    if differentiable:
        cell.check_differentiable()
    vectors, projection = layer.vector_numbers(), layer.projection
    size = backend.plans.Size(cell, layer.hidden, layer.directions, packing, channels, dtype, vectors, projection)
    return backend.normalized if cell.normalized_values else backend.recurrent, size


@functools.lru_cache(maxsize=1024)
def uniform_work(threads, steps, batch, backend, layer, cell, *rest):
    """`_work` on sequences of equal length: found once for so many threads, and the same Size at each call."""
    return _work(backend, layer, cell, uniform(steps, batch), *rest)


def _ragged_work(threads, packing, *of):
    """`_work` on sequences of different lengths, of the rest of its arguments: found once for lengths that come again."""
    works, key = packing.works, (threads, *of)
    if works is None:
        return _work(*of[:3], packing, *of[3:])
    if key not in works:
        if len(works) >= MOST_WORKS:
            works.clear()
        works[key] = _work(*of[:3], packing, *of[3:])
    return works[key]


class Recurrence(Operation):
    """The cell of one stacked layer through time, in one direction or both.

    Parameters
    ----------
    layer : Recurrent
    index : int
        Which of its stacked layers.
    p : Parameters
        The layer's own.
    read : Parameters
        Those that kernels read: `p`, or the effective weights.
    source : TensorDescriptor
    initial : list of numpy.ndarray, callable or None
        The state given, (L, D, N, P or H) for each state of the cell; or what returns it at each call, as another layer
        has left it.
    keep : Keep
    masks : Masks or None

    Attributes
    ----------
    tape : launch.Tape
        The kernels' own, of the backend.
    starts_learned, starts_elsewhere : bool
        Whether it starts from zeros or the learned state, or from what another layer has left.
    """

    learns = True

    def __init__(self, layer, index, p, read, source, initial, keep, masks):
        self.layer, self.index, self.p, self.source = layer, index, p, source
        weights = read.flat
        device, packing = device_of(weights), source.packing
        on = backend(device)
        cell, drives = layer.driven(masks, index, packing, source.dtype, device)
        if len(drives) != len(cell.drives):
            raise CellError(
                f"{type(layer).__name__}.driven: expected an array for each of {cell.drives}, the drives of "
                f"{type(cell).__name__}, got {len(drives)}"
            )
        self._afresh = self._learned(packing, keep) if layer.learned_state else None
        rest = source.channels, source.dtype, keep.for_backward
        if packing.uniform:
            kernels, size = uniform_work(on.threads.threads(), packing.steps, packing.batch, on, layer, cell, *rest)
        else:
            kernels, size = _ragged_work(on.threads.threads(), packing, on, layer, cell, *rest)
        self.first = 0 if index == 0 else read.offset(f"weight_ih_l{index}")
        values = self._write_unit_values if cell.unit_values else None
        start = self._start(initial)
        self.tape = on.launch.run(kernels, size, weights[self.first :], source, start, keep, values, drives)
        self.outputs = self.tape.outputs

    def forward(self):
        self.tape.fill()

    def fills(self):
        return [self.tape.fill]

    def steppers(self):
        return [self.tape.stepper()]

    def add_to(self, program):
        if program.anew and (self.layer.unit_parameters or self.layer.cell.unit_values or self.layer.learned_state):
            raise NotInPrograms("values of units")
        if self.starts_elsewhere:
            raise NotInPrograms("a state that another layer has left")
        if self.tape.checkpoints is not None:
            raise NotInPrograms("checkpoints")
        self.tape.add_to(program)

    @property
    def nbytes(self):
        return self.tape.nbytes

    def start(self, initial):
        self.tape.start(self._start(initial))

    def _start(self, initial):
        """What the kernels' tape takes: the state given, else what it starts from afresh."""
        self.starts_learned, self.starts_elsewhere = initial is None, callable(initial)
        if initial is None:
            return self._afresh
        if callable(initial):
            return lambda: [state[self.index] for state in initial()]
        return [state[self.index].copy() for state in initial]  # the caller's may change before backward

    def _learned(self, packing, keep):
        """The learned state, as it is at each call."""
        suffixes = self.layer.suffixes(self.index)

        def learned():
            return [
                [np.broadcast_to(self.p[f"{name}_{suffix}"].copy(), (packing.sequences, width)) for suffix in suffixes]
                for name, width in zip(INITIAL, self.layer.state_widths)
            ]

        return learned() if keep.weights else learned  # a stream reads parameters when it is made

    def _write_unit_values(self, values):
        """Write the values of the units into a (D, V, H) array (is modified)."""
        for value, suffix in zip(values, self.layer.suffixes(self.index)):
            self.layer.write_unit_values(self.p, suffix, value)

    def backward(self, adjoint, dy, need_x):
        gradient, accumulate = adjoint.gradient, adjoint.accumulate
        dfinal = None if adjoint.dfinal is None else [state[self.index] for state in adjoint.dfinal]
        dcells = adjoint.dcells if self.index == self.layer.layers - 1 else None
        if adjoint.rows is not None:
            own = separate(device_of(adjoint.rows)).Adjoint(self.tape, dy, dfinal, need_x, adjoint.rows[:, self.first :])
            adjoint.stack.insert(0, own)
            adjoint.fills.append(own.fill)
            if self.layer.unit_parameters or self.layer.learned_state:
                adjoint.fills.append(RowVectors(self, own, adjoint.rows).fill)
            return own.dx
        own = backend_of(gradient.flat).launch.Adjoint(
            self.tape, dy, dfinal, need_x, gradient.flat[self.first :], accumulate, dcells
        )
        adjoint.stack.insert(0, own)
        adjoint.fills.append(own.fill)
        if self.layer.unit_parameters or self.layer.learned_state:  # else all is in what the kernels write
            adjoint.fills.append(VectorGradients(self, own, gradient, accumulate).fill)
        return own.dx

    def separable(self):
        learned = self.layer.learned_state and device_of(self.outputs.array) != "cpu"
        return not learned and self.tape.separable

    def jvp(self, tangents, dx):
        parameters = tangents.parameters
        vectors = None if parameters is None else [dp.flat[self.first :] for dp in parameters]
        own = tangents.through(
            self.tape, self.source, vectors, dx, self._moved_start(tangents), self._moved_unit_values(tangents)
        )
        tangents.stack.append(own)
        return own.dy

    def _moved_start(self, tangents):
        """The tangents of the state that it starts from, (M, D, N, P or H) of each state of the cell; None for zeros."""
        given = None if tangents.initial is None else [state[:, self.index] for state in tangents.initial]
        if tangents.parameters is None or not (self.layer.learned_state and self.starts_learned):
            return given
        suffixes, sequences = self.layer.suffixes(self.index), self.source.packing.sequences
        vectors = [
            np.stack([np.stack([dp[f"{name}_{suffix}"] for suffix in suffixes]) for dp in tangents.parameters])
            for name, _ in zip(INITIAL, self.layer.state_widths)
        ]
        learned = [np.repeat(each[:, :, None], sequences, axis=2) for each in vectors]
        return learned if given is None else [a + b for a, b in zip(learned, given)]

    def _moved_unit_values(self, tangents):
        """What writes the tangents of the values of units into an (M, D, V, H) array; None where they are zeros."""
        if tangents.parameters is None or not self.layer.unit_parameters:
            return None

        def write(values):
            for each, dp in zip(values, tangents.parameters):
                for value, suffix in zip(each, self.layer.suffixes(self.index)):
                    self.layer.write_unit_values(dp, suffix, value)

        return write


class VectorGradients:
    """The gradient of what only vectors hold, the values of units and the learned state, from a `launch.Adjoint`."""

    def __init__(self, recurrence, own, gradient, accumulate):
        self._of, self._own, self._gradient, self._accumulate = recurrence, own, gradient, accumulate

    def spare(self):
        """Say what is read of the Adjoint, whatever others leave."""
        self._own.reads_initial = self._of.layer.learned_state

    def fill(self):
        """Write the gradient, or add to it."""
        for name, values, which in self._of_units():
            value = values[which]
            self._put(name, value.sum(axis=1) if self._gradient[name].size < value.size else value.ravel())
        layer = self._of.layer
        if layer.learned_state:
            for d, suffix in enumerate(layer.suffixes(self._of.index)):
                for name, value in zip(INITIAL, self._own.dinitial):
                    self._put(f"{name}_{suffix}", value[d].sum(axis=0) if self._of.starts_learned else 0)

    def _of_units(self):
        """(name of a parameter, derivatives of all values (V, H), which of them it holds) of all that hold some."""
        for d, suffix in enumerate(self._of.layer.suffixes(self._of.index)):
            for name, which, _ in self._of.layer.unit_parameters:
                yield f"{name}_{suffix}", self._own.dunit_values[d], which

    def _put(self, name, value):
        view = self._gradient[name]
        view[...] = view + value if self._accumulate else value

    def add_to(self, program):
        """Add the gradient of the values of units to a program of a step that is taken again and again; False if it cannot.

        The gradient of a learned initial state is not added: whoever takes the steps adds it.
        """
        if program.anew:
            return False
        for name, values, which in self._of_units():
            rows = [values[index] for index in np.arange(len(values))[which]]
            view, elementwise = self._gradient[name], backend_of(values).elementwise
            for row, own in zip(rows, view.reshape(len(rows), -1)):
                add = elementwise.add_sum if own.size == row.size else elementwise.add_total
                add(program, own, row, own)
        return True


class RowVectors:
    """The gradient of what only vectors hold, see `VectorGradients`, by each sequence: from an Adjoint of `separate`."""

    def __init__(self, recurrence, own, rows):
        self._of, self._own, self._rows = recurrence, own, rows

    def fill(self):
        """Write it."""
        layer = self._of.layer
        for d, suffix in enumerate(layer.suffixes(self._of.index)):
            for name, which, _ in layer.unit_parameters:
                values = self._own.dunit_values[:, d, which]
                shared = self._of.p[f"{name}_{suffix}"].size < values[0].size
                self._put(f"{name}_{suffix}", values.sum(axis=2) if shared else values.reshape(len(values), -1))
            for name, value in zip(INITIAL, self._own.dinitial if layer.learned_state else ()):
                self._put(f"{name}_{suffix}", value[d] if self._of.starts_learned else np.zeros_like(value[d]))

    def _put(self, name, values):
        first = self._of.p.offset(name)
        self._rows[:, first : first + values.shape[1]] = values


class Constrained(Operation):
    """An operation that reads `EffectiveWeights` in the place of a layer's parameters."""

    learns = True

    def __init__(self, inner, weights):
        self.inner, self.weights = inner, weights
        self.source, self.outputs = inner.source, inner.outputs

    def forward(self):
        self.weights.fill()
        self.inner.forward()

    def start(self, initial):
        self.inner.start(initial)

    def backward(self, adjoint, dy, need_x):
        of_weights = replace(adjoint, gradient=self.weights.parameters.zeros(), accumulate=False)  # its lists are the same
        dx = self.inner.backward(of_weights, dy, need_x)
        adjoint.fills.append(ConstrainedAdjoint(self.weights, of_weights.gradient, adjoint).fill)
        return dx

    def jvp(self, tangents, dx):
        if tangents.parameters is None:
            return self.inner.jvp(tangents, dx)
        moved = [self.weights.moved(dp) for dp in tangents.parameters]
        return self.inner.jvp(replace(tangents, parameters=moved), dx)  # its list is the same

    def steppers(self):
        return self.inner.steppers()

    def add_to(self, program):
        if program.anew and not self.weights.add_fill(program):
            raise NotInPrograms("effective weights")
        self.inner.add_to(program)

    @property
    def nbytes(self):
        return self.inner.nbytes


class ConstrainedAdjoint:
    """Backward of `Constrained`: the gradient of the parameters from the gradient of `EffectiveWeights`."""

    def __init__(self, weights, of_weights, adjoint):
        self._weights, self._of_weights = weights, of_weights
        self._gradient, self._accumulate = adjoint.gradient, adjoint.accumulate

    def fill(self):
        """Write the gradient of the parameters, or add to it."""
        self._weights.take_back(self._of_weights, self._gradient, self._accumulate)

    def add_to(self, program):
        """Add `fill` to a program of a step that is taken again and again; False if a program cannot do it."""
        return self._weights.add_take_back(program, self._of_weights, self._gradient, self._accumulate)
