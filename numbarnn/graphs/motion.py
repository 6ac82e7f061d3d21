"""How the values of a graph move where what they are made of does, node after node."""

import numpy as np

from ..arrays.rows import like, numbers
from ..layers.fed_tangents import FedTangents
from ..layers.recurrent import Recurrent
from ..layers.tangents import Tangents, zeros_like
from .joining import Joined, state_from


class Motion:
    """Tangents of a graph's values, several at once.

    Parameters
    ----------
    passage : Passage
        Which has run, and whose tapes keep what backward needs.
    count : int
        How many tangents there are.
    parts : dict of int to sequence of Parameters
        By the indices of layers how their parameters move, one for each tangent; others stay.
    given : dict of str to list of TensorDescriptor
        How inputs move; others stay.
    initial : dict of str to list of numpy.ndarray
        By their labels how the states move that layers start from, (M, L, D, N, P or H) for each state of a cell.
    fed : FedPassage, optional
        Whose passage it is, if an output is fed back.

    Attributes
    ----------
    values : dict of str to list of TensorDescriptor or None
        The tangents of inputs and nodes; None for zeros.
    stacks : dict of str to Tangents or None
        By label those of recurrent layers; None where nothing moves.
    """

    def __init__(self, passage, count, parts, given, initial, fed=None):
        self._passage, self._count, self._parts, self._initial = passage, count, parts, initial
        self._rows = passage.graph._rows
        self.values, self.stacks = {name: given.get(name) for name in passage.graph._described_inputs}, {}
        if fed is None or fed.fed.ordinary:
            self._move(self._rows)
        else:
            self._move_fed(fed)

    def _move_fed(self, fed):
        """What does not depend on the input that is fed, then step after step what is between, then the others."""
        feeding, values = fed.feeding, self.values
        values.update({name: self._side_by_side(name, each) for name, each in values.items() if each is not None})
        self._move([name for name in self._rows if name not in feeding.stepwise and name not in feeding.after])
        given, steps = values[feeding.input], FedTangents(fed.fed, self._count)
        values[feeding.input] = steps.x
        self._move(feeding.stepwise, steps)
        steps.run(values[feeding.output], given)
        self._move(feeding.after)

    def _side_by_side(self, name, moved):
        """Copies of the tangents of an input, laid out as the passage has its numbers."""
        found = [like(self._passage.values[name]) for _ in moved]
        for own, each in zip(found, moved):
            numbers(own)[...] = numbers(each)
        return found

    def _move(self, names, steps=None):
        """Move nodes, in order; steps: the FedTangents to which they are added, if they go step after step."""
        for name in names:
            row = self._rows[name]
            x = self._read(name, row, steps)
            for part in row.parts:
                tape, parameters = self._passage.tapes[part.label], self._parts.get(part.index)
                start = self._start(row, part) if isinstance(part.layer, Recurrent) else None
                if x is start is parameters is None:  # nothing moves here
                    self.stacks[part.label] = None
                    continue
                tangents = Tangents(self._count, parameters, start)
                x = tape.operation.jvp(tangents, x) if steps is None else steps.add(tape, tangents, x)
                self.stacks[part.label] = tangents
            self.values[name] = x

    def _read(self, name, row, steps):
        """The tangents of what a node reads, or None."""
        passage, moved = self._passage, self.values
        if name not in passage.joined:
            return moved[row.reads[0]]
        if all(moved[read] is None for read in row.reads):
            return None
        sources = [
            zeros_like(passage.values[read], self._count) if moved[read] is None else moved[read] for read in row.reads
        ]
        joined = [Joined(each, passage.joined[name].stepped) for each in zip(*sources)]
        for each in joined if steps is not None else ():
            steps.add_copies(each)
        return [each.outputs for each in joined]

    def _start(self, row, part):
        """The tangents of what a recurrent layer starts from, (M, L, D, N, P or H) of each state of its cell, or None."""
        passage, moved = self._passage, self.values
        if part.label in passage.initial or row.state is None:
            return self._initial.get(part.label)
        if passage.graph._has_steps(row.state):
            ended = self.stacks[self._rows[row.state].recurrent[0].label]
            return (
                None if ended is None else [np.stack(states, axis=1) for states in zip(*(own.dfinal for own in ended.stack))]
            )
        if moved[row.state] is None:
            return None
        return [np.stack(states) for states in zip(*(state_from(part.layer, each) for each in moved[row.state]))]
