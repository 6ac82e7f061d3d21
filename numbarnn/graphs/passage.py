"""A pass through all nodes of a graph, and the way back: made once, and taken again and again."""

from collections.abc import Callable

from ..arrays.devices import backend
from ..arrays.rows import like
from ..descriptions.fields import Unsendable
from ..engine.keep import kept
from ..layers.chain import Chain
from ..layers.recurrence import Recurrence
from ..layers.recurrent import Recurrent
from ..networks.placing import brought_state
from .joining import (
    Joined,
    StateNumbers,
    StateTotal,
    StaticSlope,
    Total,
    initial_slope,
    state_from,
)


class Passage(Unsendable):
    """The nodes of a graph, run over descriptors of its inputs.

    Parameters
    ----------
    graph : Structure
    parts : sequence of Parameters
        Of each of the graph's layers.
    inputs : dict of str to TensorDescriptor or Indices
    keep : Keep, or the arguments of `kept`
    random : numpy.random.Generator, optional
        Dropout and the like are drawn, in the order in which the nodes run.
    initial : dict of str to list of numpy.ndarray
        The states that layers start from, (L, D, N, P or H) for each state of a cell, by their labels; what is not there
        starts from what its node says.
    until : collection of str, optional
        The nodes to run; all of them if None.
    reading : dict of int to callable, optional
        What layers, each an `Embedding`, call before they read rows, by their indices.

    Attributes
    ----------
    values : dict of str to TensorDescriptor or Indices
        What the inputs are and the nodes have written.
    tapes : dict of str to Tape
        By the labels of parts, in the order in which they run.
    joined : dict of str to Joined
        By the names of nodes that read several values.
    parts : list of (str, Joined or Tape)
        What is done, in order, each with the name of its node.
    """

    instead = "copy the inputs and the graph, and call forward of it"

    def __init__(self, graph, parts, inputs, keep, random=None, initial=None, until=None, reading=None):
        self.graph, self.values, self.tapes, self.joined, self._steps = graph, dict(inputs), {}, {}, []
        self.parts = []
        self.initial = {} if initial is None else initial
        for name, row in graph._rows.items():
            if until is not None and name not in until:
                continue
            x = self._read(name, row)
            for part in row.parts:
                layer, options = part.layer, {}
                if random is not None and layer.random:
                    options["masks"] = layer.drawn_masks(x, random)
                if not part.merged:
                    options["merged"] = False
                if reading and part.index in reading:
                    options["reading"] = reading[part.index]
                start = self._start(row, part) if isinstance(layer, Recurrent) else None
                own = kept(*keep, x.steps) if isinstance(keep, tuple) else keep
                x, tape = layer.run(parts[part.index], x, start, own, **options)
                self.tapes[part.label] = tape
                self._steps.append((tape.fill, tape.operation.add_to))
                self.parts.append((name, tape))
            self.values[name] = x

    def _read(self, name, row):
        """A descriptor of what a node reads."""
        sources = [self.values[read] for read in row.reads]
        if len(sources) == 1:
            return sources[0]
        joined = self.joined[name] = Joined(sources, [self.graph._has_steps(read) for read in row.reads])
        self._steps.append((joined.fill, joined.add_to))
        self.parts.append((name, joined))
        return joined.outputs

    def _start(self, row, part):
        """What a recurrent layer starts from: arrays, a function that returns them, or None."""
        if part.label in self.initial:
            return self.initial[part.label]
        if row.state is None:
            return None
        if not self.graph._has_steps(row.state):
            value = self.values[row.state]
            return lambda: state_from(part.layer, value)
        return self.tapes[self.graph._rows[row.state].recurrent[0].label].final

    @property
    def steps(self):
        """[(what takes a step, what adds it to a program)], in order."""
        return self._steps

    @property
    def nbytes(self):
        """Bytes of the arrays that are kept, without the inputs."""
        return sum(tape.nbytes for tape in self.tapes.values()) + sum(joined.nbytes for joined in self.joined.values())

    def redraw(self, random):
        """Draw new masks."""
        for tape in self.tapes.values():
            tape.redraw(random)

    def final_states(self, device):
        """{label: the final state} of the recurrent layers that have run, as callers have it on a device."""
        graph = self.graph
        return {
            label: brought_state(device, part.layer._final_state(self.tapes[label]))
            for label, part in graph._stateful.items()
            if label in self.tapes
        }

    def separable(self):
        """Whether the way back can have a gradient of each sequence: no layer is used twice, and each has one of a row."""
        parts = [part for row in self.graph._rows.values() for part in row.parts]
        return len({part.index for part in parts}) == len(parts) and all(
            tape.operation.separable() for tape in self.tapes.values()
        )

    def read_by_backward(self):
        """{name: arrays} of what backward reads, apart from what it is given."""
        found = {}
        for tape in self.tapes.values():
            for name, arrays in tape.read_by_backward().items():
                found.setdefault({"x": "the inputs"}.get(name, name), []).extend(arrays)
        return found


class Return(Unsendable):
    """The way back through a passage.

    The derivative of a value that several nodes read is a sum in one order: first the derivative by way of an output, then
    by way of each node, the last node first.

    Parameters
    ----------
    passage : Passage
    dy : dict of str to TensorDescriptor
        dL/d(output) of some of the outputs.
    dstate : dict of str to list of numpy.ndarray
        dL/d(final state) of some of the recurrent layers, (L, D, N, P or H) for each state of a cell.
    into : sequence of Parameters
        Where the gradient of each of the graph's layers is written (is modified).
    accumulate : bool
        Add to them instead of overwriting them.
    need_x : bool
        Whether the derivatives with respect to the inputs are wanted.
    zeros : bool
        Whether `into` are zeros: of an embedding's table only the rows in use are then written.
    rows : sequence of numpy.ndarray, optional
        For each of the graph's layers (N, P): where the gradient of each sequence is written by itself (is modified), in the
        place of `into`; see `separable`.

    Attributes
    ----------
    dx : dict of str to TensorDescriptor
        dL/d(input) of those inputs to which a derivative comes.
    dinitial : dict of str to callable
        Functions that return dL/d(initial state) of the layers to which a derivative comes.
    parts : list of (str, Adjoint or Step)
        What is done, in order, each with the name of the value to whose derivative it belongs.
    untouched : set of int
        Which of the graph's layers no derivative comes to: their gradient is not written.
    """

    instead = "copy what backward returns"

    def __init__(self, passage, dy, dstate, into, accumulate, need_x, zeros=False, rows=None):
        self.passage, graph = passage, passage.graph
        self.steps, self.parts, self.dx, self.dinitial = [], [], {}, {}
        self._slopes = {name: [(described, True)] for name, described in dy.items()}  # False: it is part of other rows
        self._finals = {label: [lambda arrays=arrays: arrays] for label, arrays in dstate.items() if arrays is not None}
        self._wanted = _wanted(graph, need_x)
        written = set()
        for name, row in reversed(graph._rows.items()):
            described = self._slope(name)
            for place in reversed(range(len(row.parts))):
                part = row.parts[place]
                dfinal = self._final(name, part)
                if described is None and dfinal is None:
                    continue
                goes_on = place > 0 or any(read in self._wanted for read in row.reads)
                adding = accumulate or part.index in written or (zeros and part.layer.takes_indices)
                own = None if rows is None else rows[part.index]
                adjoint = passage.tapes[part.label].adjoint(described, goes_on, into[part.index], adding, dfinal, rows=own)
                written.add(part.index)
                self.steps.append((adjoint.fill, adjoint.add_to))
                self.parts.append((name, adjoint))
                described = adjoint.dx
                if isinstance(part.layer, Recurrent):
                    self._to_start(row, part, adjoint)
            if described is not None:
                self._to_sources(name, row, described)
        for name in graph._described_inputs:
            described = self._slope(name)
            if described is not None:
                self.dx[name] = described
        self.untouched = set(range(len(graph.layers))) - written

    def _add(self, name, step):
        """Take a step from now on, after those before it; name: of the value to whose derivative it belongs."""
        self.steps.append((step.fill, step.add_to))
        self.parts.append((name, step))
        return step

    def _slope(self, name):
        """A descriptor of the derivative of a value, None if none comes to it."""
        parts = self._slopes.get(name)
        if parts is None or (name in self.passage.graph._described_inputs and name not in self._wanted):
            return None
        described, whole = parts[0]
        if len(parts) == 1 and (whole or self._reads_columns(name)):
            return described
        return self._add(name, Total(self.passage.values[name], [each for each, _ in parts])).outputs

    def _reads_columns(self, name):
        """Whether what goes back through a node reads rows that are part of others, as a recurrent layer does."""
        row = self.passage.graph._rows.get(name)
        if row is None:
            return False
        operation = self.passage.tapes[row.parts[-1].label].operation
        while isinstance(operation, Chain) and operation.operations:
            operation = operation.operations[-1]
        return isinstance(operation, Recurrence)

    def _final(self, name, part):
        """The derivative of a layer's final state, None if none comes to it."""
        parts = self._finals.get(part.label)
        if parts is None:
            return None
        total = self._add(name, StateTotal(parts))
        own, device = self.passage.tapes[part.label], self.passage.graph.device
        return total.prepare(part.layer, own.x.packing.sequences, own.operation.outputs.dtype, backend(device).memory)

    def _to_start(self, row, part, adjoint):
        """The derivative of the initial state goes to where that comes from."""
        slope, graph = _initial_slope(part.layer, adjoint), self.passage.graph
        if row.state is None or part.label in self.passage.initial:
            self.dinitial[part.label] = slope
        elif graph._has_steps(row.state):
            self._finals.setdefault(graph._rows[row.state].recurrent[0].label, []).append(slope)
        elif row.state in self._wanted:
            numbers = self._add(row.state, StateNumbers(self.passage.values[row.state], slope))
            self._slopes.setdefault(row.state, []).append((numbers.outputs, True))

    def _to_sources(self, name, row, described):
        """The derivative of what a node has read goes to the values that this is made of."""
        joined = self.passage.joined.get(name)
        if joined is None:
            self._slopes.setdefault(row.reads[0], []).append((described, True))
            return
        for at, (read, channels) in enumerate(zip(row.reads, joined.channels)):
            if read not in self._wanted:
                continue
            if joined.repeats and not joined.stepped[at]:
                part = self._add(read, StaticSlope(joined, at, described)).outputs, True
            else:
                part = described.of_channels(channels), False
            self._slopes.setdefault(read, []).append(part)

    def fill(self):
        """Take the way back, with the passage and the derivatives of the outputs as they are now."""
        for take, _ in self.steps:
            take()

    def no_slope(self, name):
        """A descriptor of zeros for an input to which no derivative comes."""
        zeros = like(self.passage.values[name])
        zeros.array.fill(0)
        return zeros


def _initial_slope(layer, adjoint) -> Callable:
    return lambda: initial_slope(layer, adjoint)


def _wanted(graph, need_x):
    """The names of the values whose derivatives are wanted: what parameters, or wanted inputs, have a part in."""
    wanted = {name for name, each in graph._described_inputs.items() if need_x and each.channels is not None}
    for name, row in graph._rows.items():
        sources = {*row.reads, *(() if row.state is None else (row.state,))}
        if sources & wanted or any(layer.weights(at) for layer, at in zip(row.layers, row.inputs)):
            wanted.add(name)
    return wanted
