"""What of a graph runs step by step where one of its inputs is fed, and what is fed."""

import functools

import numpy as np

from ..arrays.conversion import integers_like, numbers_like
from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import backend, device_of, expect_finite, moved
from ..arrays.indices import Indices
from ..arrays.packing import uniform
from ..errors import (
    DTypeError,
    IndexRangeError,
    ShapeError,
    integer,
    known_name,
    positive_integer,
    takes,
)
from ..layers.recurrent import Recurrent
from .joining import Joined
from .names import ancestors, needed

CHOICES = ("argmax", "output")


def step_nodes(graph, argument, moving, among=None):
    """The nodes that inputs which come step by step have a part in, in the order in which they run.

    Parameters
    ----------
    graph : Structure
    argument : str
        What errors begin with.
    moving : sequence of str
        The inputs that come step by step.
    among : collection of str, optional
        The nodes that run; all of them if None.

    Raises
    ------
    ValueError
        If one of them cannot take a step before the next one is there; it says which, and why.
    """
    nodes, ended, moved = [], set(), {*moving}
    for name, row in graph._rows.items():
        if not needed(graph._described_nodes[name]) & moved or (among is not None and name not in among):
            continue
        nodes.append(name)
        moved.add(name)
        for layer in row.layers:
            why = _needs_the_end(layer)
            if why:
                expected = "nodes that take each step by itself"
                raise ValueError(f"{argument}: expected {expected}, got {layer!r} in {name!r}, {why}")
        expected = "nodes that wait for the end of no other"
        if row.state in moved:
            what = f"{name!r}, which starts from where {row.state!r} has ended"
            raise ValueError(f"{argument}: expected {expected}, got {what}")
        late = sorted(ended.intersection(row.reads))
        if late and any(graph._has_steps(read) for read in row.reads):
            what = f"{name!r}, which reads the end of a sequence, {late[0]!r}, at each step"
            raise ValueError(f"{argument}: expected {expected}, got {what}")
        if row.axis is None:
            ended.add(name)
    return nodes


def _needs_the_end(layer):
    """Why a layer cannot take a step before the next one is there, in words; empty if it can."""
    if getattr(layer, "needs_all", False):
        return "which is of all steps"
    return "whose second direction begins at the last step" if getattr(layer, "bidirectional", False) else ""


class Plan:
    """Which nodes run before an input is fed, and which step by step.

    Attributes
    ----------
    before, stepwise : list of str
        The nodes that the output needs, in the order in which they run.
    inputs : set of str
        The inputs that it needs, but the one that is fed.
    known : list of str
        The values with steps that are there before, and are read step by step.
    vocabulary : int or None
        Of an input of indices: how many there are.
    """

    def __init__(self, graph, feed, output):
        self.graph, self.feed, self.output = graph, known_name("feed", feed, graph._described_inputs), output
        known_name("output", output, graph._rows)
        if not graph._described_inputs[feed].steps:
            raise ValueError(f"feed: expected an input with steps, got {feed!r}")
        nodes = graph._described_nodes
        used = ancestors([output], nodes)
        if feed not in used:
            raise ValueError(f"output: expected a node that needs {feed!r}, got {output!r}")
        self.inputs = (used & graph._described_inputs.keys()) - {feed}
        self.stepwise = step_nodes(graph, "output", [feed], used)
        self.before = [name for name in graph._rows if name in used.difference(self.stepwise)]
        reads = {read for name in self.stepwise for read in graph._rows[name].reads}
        self.known = [name for name in (*self.inputs, *self.before) if name in reads and graph._has_steps(name)]
        self.vocabulary = graph._vocabularies(self.stepwise).get(feed)

    def checked_steps(self, steps, called):
        """How many steps there are, if what is known has so many."""
        axes = [self.graph._axis(name, self.graph._rows) for name in self.known]
        for axis in axes:
            packing = called.batches[axis].packing
            if not packing.rows:
                raise ShapeError(f"inputs[{axis!r}]: expected at least one step, got none")
            if not packing.uniform:
                given = f"{packing.lengths.tolist()!r:.80}"
                raise ValueError(f"lengths: expected none for inputs[{axis!r}], which is read step by step, got {given}")
        there = {axis: called.batches[axis].steps for axis in axes}
        if steps is None:
            if not there:
                raise TypeError("steps: expected a positive integer, since no input with steps is known, got None")
            return min(there.values())
        steps = positive_integer("steps", steps)
        for axis, most in there.items():
            if most < steps:
                raise ShapeError(f"inputs[{axis!r}]: expected at least {steps} steps, which are decoded, got {most}")
        return steps


class FedInput:
    """What is fed: indices (N,), or numbers (N, C).

    Parameters
    ----------
    channels : int or None
        None for indices.
    vocabulary : int or None
        How many of these there are.
    sequences : int
    dtype : numpy.dtype
    """

    def __init__(self, channels, vocabulary, sequences, dtype):
        self.channels, self.vocabulary, self.sequences, self.dtype = channels, vocabulary, sequences, dtype

    @property
    def shape(self):
        """The shape of one step: (N, C), or (N,) for indices."""
        return (self.sequences,) if self.channels is None else (self.sequences, self.channels)

    def zeros(self, steps):
        """(steps, N) or (steps, N, C): what is chosen goes there."""
        return np.zeros((steps, *self.shape), np.int64 if self.channels is None else self.dtype)

    def checked(self, argument, value, widened=False):
        """An array of one step in the host's memory, as it is fed; widened: whether one for all sequences will do."""
        if self.channels is None:
            array = integers_like(argument, value)
        else:
            array = numbers_like(argument, value, self.dtype)
        array = moved(array, "cpu")
        if widened and array.ndim < len(self.shape) and array.shape in ((), self.shape[1:]):
            array = np.broadcast_to(array, self.shape)
        if array.shape != self.shape:
            raise ShapeError(f"{argument}: expected shape {self.shape}, got {array.shape}")
        if self.channels is None:
            wrong = (array < 0) | (array >= self.vocabulary)
            if wrong.any():
                raise IndexRangeError(f"{argument}: expected indices from 0 to {self.vocabulary - 1}, got {array[wrong][0]}")
            return array.astype(np.int64)
        expect_finite(argument, array)
        return array

    def checked_choice(self, choose, channels):
        """A function that makes what is fed of an output of so many channels, (N, channels)."""
        if choose is None:
            choose = "argmax" if self.channels is None else "output"
        if not isinstance(choose, str):
            takes("choose", choose, "output")
            return lambda y: self.checked("choose", choose(y.copy()))
        known_name("choose", choose, CHOICES)
        most = self.vocabulary if self.channels is None else self.channels
        if choose == "output" and self.channels is None:
            raise ValueError("choose: expected 'argmax' or a function for an input of indices, got 'output'")
        if channels != most:
            raise ShapeError(f"output: expected {most} channels like what is fed, got {channels}")
        if choose == "output":
            return functools.partial(self.checked, "output")
        return self._largest

    def _largest(self, y):
        """The index of the largest channel, or one-hot numbers."""
        expect_finite("output", y)
        largest = y.argmax(axis=1)
        return largest if self.channels is None else np.eye(self.channels, dtype=self.dtype)[largest]

    def checked_stop(self, stop):
        """The index that ends a sequence, or None."""
        if stop is None:
            return None
        if self.channels is not None:
            raise DTypeError("stop: expected None for an input of numbers, got one for indices")
        number = integer("stop", stop)
        if not 0 <= number < self.vocabulary:
            raise IndexRangeError(f"stop: expected an index from 0 to {self.vocabulary - 1}, got {number}")
        return number


def step_values(graph, names, sequences, steps=1):
    """{name: TensorDescriptor or Indices} over new memory for so many steps of inputs and nodes with steps."""
    memory, found = backend(graph.device).memory, {}
    for name in names:
        given = graph._described_inputs.get(name)
        if given is not None and given.channels is None:
            found[name] = Indices(uniform(steps, sequences), np.zeros((steps, sequences), np.int64))
        else:
            found[name] = TensorDescriptor.of_tnc(memory.zeros((steps, sequences, graph._channels(name)), graph.dtype))
    return found


class Stepped:
    """Nodes that take one step after the other, or several at once, again and again from the same memory.

    Parameters
    ----------
    graph : Structure
    passage : Passage
        Of what is there before.
    written : dict of str to TensorDescriptor or Indices
        The values with steps of which steps are written before they are taken, as many of each.
    nodes : sequence of str
        Those that take them, in the order in which they run.

    Attributes
    ----------
    values : dict of str to TensorDescriptor or Indices
    operations : list of Operation
    tapes : dict of str to Tape
        Of the recurrent layers, by their labels.
    """

    def __init__(self, graph, passage, written, nodes):
        self.values, self.operations, self.tapes = passage.values | written, [], {}
        self._moving = written.keys() | nodes
        self._graph = graph
        for name in nodes:
            row = graph._rows[name]
            sources = [self.values[read] for read in row.reads]
            y = sources[0]
            if len(sources) > 1:
                joined = Joined(sources, [read in self._moving for read in row.reads])
                self.operations.append(joined)
                y = joined.outputs
            for part in row.parts:
                more = ()
                if isinstance(part.layer, Recurrent):
                    start = passage._start(row, part)
                    more = (start() if callable(start) else start,)
                y, tape = part.layer.run_stream(graph._own[part.index], y, *more)
                self.operations.append(tape.operation)
                if more:
                    self.tapes[part.label] = tape
                    for each in tape.stack:
                        each.restart(slice(None))  # to make it was to take a step
            self.values[name] = y

    def gives(self, name):
        """Whether there is a row of a value at each step: it takes the steps, or has none."""
        return name in self._moving or not self._graph._has_steps(name)

    def side_by_side(self, names):
        """An operation that writes values side by side: those that take no steps at each of them."""
        return Joined([self.values[name] for name in names], [name in self._moving for name in names])


class StepRun:
    """The nodes that run step by step, as one program.

    Parameters
    ----------
    graph : Structure
    plan : Plan
    passage : Passage
        Of the nodes before.
    sequences : int
    """

    def __init__(self, graph, plan, passage, sequences):
        written = step_values(graph, [plan.feed, *plan.known], sequences)
        self._stepped = stepped = Stepped(graph, passage, written, plan.stepwise)
        self.x = written[plan.feed].array[0]
        self.known = []  # (where a step is read from, all of its steps)
        for name in plan.known:
            source = passage.values[name]
            steps = source.array if isinstance(source, Indices) else source.tnc
            self.known.append((written[name].array[0], steps))
        y = stepped.values[plan.output]
        self.y = y.tnc[0]
        self.program = backend(graph.device).programs.Steps(self.x[None], y.array, stepped.operations)

    def take(self, fed, first, steps, choose, stop):
        """(what was chosen, (T, N) or (T, N, C); how many steps each sequence has before `stop`), in the host's memory."""
        chosen = fed.zeros(steps)
        ends = np.full(fed.sequences, steps)
        now, device = first, device_of(self.x)
        for t in range(steps):
            self.x[...] = moved(now, device)
            for step, source in self.known:
                step[...] = source[t]
            self.program.step()
            now = chosen[t] = choose(moved(self.y, "cpu"))
            if stop is not None:
                np.minimum(ends, np.where(now == stop, t, steps), out=ends)
                if (ends <= t).all():
                    break
        return chosen, ends
