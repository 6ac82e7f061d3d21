"""An output of a graph that is fed back as the next value of an input: which nodes go step after step, forward and back."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..arrays.rows import like, numbers
from ..engine.keep import kept
from ..errors import DeviceError, ShapeError, known_name
from ..layers.fed import Fed, FedAdjoint, check_kept
from ..layers.feedback import Feedback
from ..layers.operations import NotInPrograms
from ..layers.recurrent import Recurrent
from .joining import Joined, StateTotal, Total
from .names import ancestors, needed
from .passage import Passage, Return
from .stepwise import step_nodes


@dataclass(frozen=True)
class Feeding:
    """Which output is fed back as which input, and how.

    Attributes
    ----------
    input, output : str
    feedback : Feedback
    channels : int
        Of the output.
    stepwise, after : tuple of str
        The nodes that go step after step, with the output, and those that run afterwards, in the order in which they run.
    """

    input: str
    output: str
    feedback: Feedback
    channels: int
    stepwise: tuple
    after: tuple

    @classmethod
    def of(cls, graph, given):
        """The Feeding of the argument `feedback`, ``{input: (output, Feedback)}``; else a typed error."""
        if isinstance(given, Feeding):  # checked before
            return given
        expected = "{input: (output, numbarnn.Feedback(...))} of one input, or None"
        if not isinstance(given, Mapping) or len(given) != 1:
            raise TypeError(f"feedback: expected {expected}, got {given!r:.80}")
        ((name, pair),) = given.items()
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[1], Feedback)):
            raise TypeError(f"feedback: expected {expected}, got {given!r:.80}")
        described, output = graph._described_inputs[known_name("feedback", name, graph._described_inputs)], pair[0]
        known_name("feedback", output, graph._outputs)
        if graph.device != "cpu":
            raise DeviceError(f"feedback: expected None for a graph on a GPU, got {given!r:.80}; net.to('cpu') takes it")
        if described.channels is None or not described.steps:
            raise ValueError(f"feedback: expected an input of numbers with steps, got {name!r}")
        used = ancestors([output], graph._described_nodes)
        if name not in used or not graph._has_steps(output):
            raise ValueError(f"feedback: expected an output with steps that needs {name!r}, got {output!r}")
        stepwise = step_nodes(graph, "feedback", [name], used)
        moved = {name}
        for node in graph._rows:
            if needed(graph._described_nodes[node]) & moved:
                moved.add(node)
        found = cls(
            name, output, pair[1], graph._channels(output), tuple(stepwise),
            tuple(node for node in graph._rows if node in moved.difference(stepwise)),
        )  # fmt: skip
        found._check(graph, described)
        return found

    def _check(self, graph, described):
        """Raise a typed error unless the nodes have layers of their own, and the input has values for all that is fed."""
        everything = [part.index for row in graph._rows.values() for part in row.parts]
        most = min([described.channels, *(own.start for name, own in graph._span_channels if name == self.input)])
        for name in self.stepwise:
            row = graph._rows[name]
            if any(everything.count(part.index) > 1 for part in row.parts):
                raise ValueError(f"feedback: expected nodes with layers of their own, got {name!r}, whose layers are shared")
            if row.reads == (self.input,):
                most = min(most, row.layers[0]._value_channels(described.channels))
        if self.channels > most:
            expected = f"outputs of at most {most} channels, which are the first channels of {self.input!r}"
            expected += "" if most == described.channels else ", without masks and spans"
            raise ShapeError(f"feedback: expected {expected}, got {self.channels} of {self.output!r}")

    @property
    def _told(self):
        """How a file describes the feedback."""
        return f"{self.output} as {self.input}: {self.feedback._told}"

    def strengths(self, described):
        """The strengths of forcing for a descriptor of the input, see `Feedback`."""
        return self.feedback._strengths_of(described, self.channels)

    def apart(self, parts):
        """What is done before, step after step, and afterwards: three lists of parts, each (name of a node, what)."""
        found = [], [], []
        for name, each in parts:
            found[1 if name in self.stepwise or name == self.input else 2 if name in self.after else 0].append(each)
        return found


class JoinedStep:
    """What `Fed` and `FedAdjoint` take in the place of a tape or an Adjoint, of values that are joined or summed."""

    def __init__(self, step):
        self.operation = self.layer = step
        self.fill, self.fills = step.fill, [step.fill]


def _stepped(each):
    return JoinedStep(each) if isinstance(each, (Joined, Total)) else each


class FedPassage:
    """A `Passage` in which an output is fed back; all as there, but for `given`, a Given.

    What the output does not need runs afterwards, what does not depend on the input before.  It has not been filled.
    """

    def __init__(self, graph, parts, given, feeding, keep, random=None, initial=None, reading=None):
        self.feeding, self._given = feeding, given.described
        keep = kept(*keep, self._given[feeding.input].steps) if isinstance(keep, tuple) else keep
        check_kept(keep)
        self._copies = {name: like(each) for name, each in self._given.items() if name in _numbers(graph)}
        x = self._copies.pop(feeding.input)
        x.array.fill(0)
        self._copy()
        inputs = self._given | self._copies | {feeding.input: x}
        self.passage = passage = Passage(graph, parts, inputs, keep, random, initial, reading=reading)
        self._before, steps, self._after = feeding.apart(passage.parts)
        try:
            self.fed = Fed(x, passage.values[feeding.output], [_stepped(each) for each in steps])
        except NotInPrograms as error:
            raise TypeError(f"feedback: expected layers that take a step in compiled code, got {error}") from None
        for row in graph._rows.values():  # to make them was to run them
            for part in row.parts:
                if isinstance(part.layer, Recurrent):
                    passage.tapes[part.label].start(passage._start(row, part))

    def _copy(self):
        """Copy the inputs that are read as they are: channels side by side."""
        for name, own in self._copies.items():
            own.array[...] = numbers(self._given[name])

    def fill(self, strengths, before=None):
        """Run all nodes, with the inputs as they are now.

        strengths: of the input that is fed, see `Feedback`; before: (sequences, O), the output before the first step, which
        is read where they are less than 1 there.
        """
        self._copy()
        for each in self._before:
            each.fill()
        self.fed.fill(self._given[self.feeding.input], strengths, before)
        for each in self._after:
            each.fill()


class FedReturn:
    """The way back through a `FedPassage`, as `Return`, with all derivatives of the inputs.

    Attributes
    ----------
    back : Return
    """

    def __init__(self, run, dy, dstate, into, accumulate, zeros=False):
        passage, feeding = run.passage, run.feeding
        self._own, self._given = like(passage.values[feeding.output]), dy.get(feeding.output)
        slopes = dy | {feeding.output: self._own}
        self.back = Return(passage, slopes, dstate, into, accumulate, True, zeros)
        self.untouched = self.back.untouched
        last, steps, first = feeding.apart(self.back.parts)
        self._first = [*first, *(each for each in steps if isinstance(each, StateTotal))]
        steps = [_stepped(each) for each in steps if not isinstance(each, StateTotal)]
        self._last, self._steps = last, FedAdjoint(run.fed, self._own, steps, self.back.dx[feeding.input])

    def fill(self):
        """Take the way back, with the passage and the derivatives of the outputs as they are now."""
        self._own.array[...] = 0 if self._given is None else numbers(self._given).reshape(self._own.array.shape)
        for each in self._first:
            each.fill()
        self._steps.fill()
        for each in self._last:
            each.fill()

    def given(self):
        """A descriptor of dL/d(what was given) of the input that is fed."""
        return self._steps.given()


def _numbers(graph):
    """The names of the inputs that are numbers."""
    return [name for name, each in graph._described_inputs.items() if each.channels is not None]
