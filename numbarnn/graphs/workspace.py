"""The memory of a graph's training: a pass through all nodes and back, and a batch, for batches that are alike."""

from dataclasses import replace

import numpy as np

from ..arrays.devices import backend, device_of
from ..arrays.rows import like
from ..layers.embedding import RowGradient
from ..layers.fed import FED
from ..training.passes import Passes
from ..training.sequences import Sequences
from ..training.workspace import Workspaces
from .feeding import FedPassage, FedReturn
from .passage import Passage, Return


class GraphWorkspace:
    """A graph's forward and backward; on batches of one size memory and kernel calls are made once, and used again.

    Parameters
    ----------
    graph : Objective
    into : sequence of Parameters
        Where the gradient of each layer is written.
    parts : sequence of Parameters
        The parameters of each layer.
    kept : tuple
        ``tape`` and ``checkpoints`` of `Graph.forward`.
    reading : dict of int to callable, optional
        What layers, each an `Embedding`, call before they read rows, by their indices.
    """

    def __init__(self, graph, into, parts, kept, reading=None):
        self.graph, self.into, self.parts, self.kept, self.reading = graph, into, parts, kept, reading
        self._passage = self._back = self._passes = self._fed = None

    @property
    def nbytes(self):
        """Bytes of the arrays that the layers' tapes hold."""
        return 0 if self._passage is None else self._passage.nbytes

    def gradient(self, samples, losses, random=None, initial=None):
        """The loss of a batch; its gradient is written to `into` (is modified).

        Samples of equal length must lie where the first call's samples lay.  random: a Generator, where dropout and the like
        are to be drawn.  initial: {label: the state that a layer starts from}, in each call of the same layers, and under
        FED the output that is fed at the first step; the others start from what their nodes say.
        """
        if self._passage is None or samples.ragged:
            given = samples.given()
            self._batches = given.batches
            if samples.feedback is None:
                self._passage = Passage(
                    self.graph, self.parts, given.described, self.kept, random, initial, reading=self.reading
                )
            else:
                self._fed = FedPassage(
                    self.graph, self.parts, given, samples.feedback, self.kept, random, initial, self.reading
                )
                self._passage = self._fed.passage
            self._back = self._passes = None
        else:
            for label in self.graph._stateful.keys() & (initial or {}):
                self._passage.tapes[label].start(initial[label])
            if random is not None:
                self._passage.redraw(random)
            if self._fed is None and self._passes is None:  # from the second time on
                steps = self._passage.steps, self._back.steps
                self._passes = [Passes(self.graph.device, each) for each in steps]
            if self._fed is None:
                self._passes[0].run()
        if self._fed is not None:
            self._fed.fill(samples.strength_rows(self._batches), (initial or {}).get(FED))
        total, slopes = 0.0, {}
        for output, loss, weight in losses.parts:
            if output in samples.empty:
                slopes[output] = None
                continue
            value, dy = self._compared(output, loss, samples)
            total += weight * value
            slopes[output] = dy if weight == 1 else dy * dy.dtype.type(weight)
        if self._back is None:
            self._start_backward(samples)
        for output, dy in slopes.items():
            if dy is None:
                self._dy[output].fill(0)
            else:
                np.copyto(self._dy[output], dy)
        self._clear_untouched()
        if self._passes is not None:
            self._passes[1].run()
        else:
            self._back.fill()
        return total

    def final(self):
        """{label: the state in which the last batch has left a layer}, as `gradient` takes them: copies."""
        found = {label: self._passage.tapes[label].final() for label in self.graph._stateful}
        return found if self._fed is None else found | {FED: self._fed.fed.last()}

    def _compared(self, output, loss, samples):
        """(loss, derivative) of one output."""
        view, part = self.graph._view(output), samples.parts[output]
        described, batch = self._passage.values[output], samples.batch_of(output, self._batches)
        prediction = view._rows(described, part).copy()
        target, weights = view._target_rows(batch, described, part), view._weight_rows(batch, part)
        return view._call_loss(loss, prediction, target, weights, part)

    def _start_backward(self, samples):
        """The way back, from memory for the derivatives of the outputs."""
        described = {output: like(self._passage.values[output]) for output in samples.parts}
        self._dy = {
            output: self.graph._view(output)._rows(each, samples.parts[output]) for output, each in described.items()
        }
        if self._fed is None:
            self._back = Return(self._passage, described, {}, self.into, accumulate=False, need_x=False)
        else:
            self._back = FedReturn(self._fed, described, {}, self.into, accumulate=False)

    def _clear_untouched(self):
        """The gradient of layers to which no derivative comes is 0; another workspace may have written there before."""
        for index in self._back.untouched:
            into = self.into[index]
            if isinstance(into, RowGradient):
                into.rows = np.zeros(0, np.int64)
                into.values = self.parts[index].flat.reshape(-1, self.graph.layers[index].size)[:0]
            else:
                into.flat.fill(0)


class GraphBuffer:
    """Memory for batches of as many samples, of as many steps in each input, as a first one: inputs lie in one place.

    Parameters
    ----------
    samples : GraphSamples
        Of the first batch.
    chosen : numpy.ndarray of int
    first : int
        The step from which they are taken.
    steps : tuple of int
        Of each input.
    """

    def __init__(self, samples, chosen, first, steps):
        self._arrays = {}
        for (name, each), count in zip(samples.inputs.items(), steps):
            array = each.some_steps(chosen, first, count).array
            self._arrays[name] = backend(device_of(array)).memory.empty(array.shape, array.dtype)
        self.nbytes = sum(array.nbytes for array in self._arrays.values())

    def take(self, samples, chosen, first, steps):
        """The samples `chosen`, whose inputs have the given steps; the next call overwrites the inputs."""
        counts = dict(zip(samples.inputs, steps))
        whole = all((samples.lengths_of_inputs[name][chosen] == count).all() for name, count in counts.items())
        span = None if whole else (first, first + max(steps))
        inputs = {
            name: _in_layout(each, each.some_steps(chosen, first, counts[name], self._arrays[name]))
            for name, each in samples.inputs.items()
        }
        parts = {}
        for output, part in samples.parts.items():
            name = samples.owner[output]
            own = {
                what: None if each is None else _in_layout(each, each.some_steps(chosen, first, counts[name]))
                for what, each in (("y", part.y), ("weights", part.weights))
            }
            parts[output] = replace(part, x=inputs[name], lengths=None, stepwise=part.in_rows, **own)
        strengths = None
        if samples.strengths is not None:
            name = samples.feedback.input
            strengths = _in_layout(samples.strengths, samples.strengths.some_steps(chosen, first, counts[name]))
        empty = samples._empty(chosen, span)
        return replace(samples, inputs=inputs, lengths={}, parts=parts, empty=empty, strengths=strengths)


def _in_layout(original, taken):
    """Steps side by side that were a Ragged, which lie in the order of time and samples, as a view in their own layout."""
    if not original.ragged:
        return taken
    letters = original.letters.replace("c", "") if len(taken.letters) == 2 else original.letters
    return Sequences(taken.array.transpose([taken.letters.index(letter) for letter in letters]), letters, letters)


class GraphWorkspaces(Workspaces):
    """A workspace and a buffer for each number of samples, of steps of each input, and of threads."""

    def _common_steps(self, samples, chosen, span):
        """The steps of some samples in each input; None if they differ, are none, or a sample starts afresh in between."""
        if samples.reset is not None:
            return None
        common = []
        for name, each in samples.inputs.items():
            steps = samples.lengths_of_inputs[name][chosen]
            if span is not None and each.stepped:
                steps = np.clip(steps, *span) - span[0]
            common.append(int(steps[0]))
            if not common[-1] or (steps != common[-1]).any():
                return None
        return tuple(common)

    def _started(self, initial):
        """The layers that start from a given state: no derivative goes to the nodes that would start them."""
        return frozenset(initial or ())

    def _buffer(self, *part):
        return GraphBuffer(*part)
