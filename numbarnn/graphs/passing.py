"""A graph's way over samples, to what their losses see, and back from there."""

from dataclasses import replace

from ..engine.keep import ALL
from ..networks.seen import Seen
from .feeding import FedPassage, FedReturn
from .motion import Motion
from .passage import Passage, Return


def passed(graph, parts, given, strengths=None, feeding=None):
    """(Passage, the FedPassage or None) of a forward over a Given; strengths: of a Feeding, None without one."""
    if strengths is None:
        return Passage(graph, parts, given.described, ALL), None
    fed = FedPassage(graph, parts, given, feeding, ALL)
    fed.fill(strengths)
    return fed.passage, fed


class Passing:
    """A graph's forward over all of some samples; see `networks.passing.Passing`.

    Parameters
    ----------
    graph : Objective
    parts : sequence of Parameters
    samples : GraphSamples
    losses : Losses
    convert : callable, optional
        What the descriptor of each input is made to before.
    """

    def __init__(self, graph, parts, samples, losses, convert=None):
        read = samples.given()
        if convert is not None:
            read = replace(read, described={name: convert(each) for name, each in read.described.items()})
        strengths = None if samples.feedback is None else samples.strength_rows(read.batches)
        self._graph = graph
        self._passage, self._fed = passed(graph, parts, read, strengths, samples.feedback)
        self._names = [output for output, _, _ in losses.parts if output not in samples.empty]
        self.seen = [
            Seen(
                graph._view(output), loss, weight, samples.parts[output], samples.batch_of(output, read.batches),
                self._passage.values[output],
            )
            for output, loss, weight in losses.parts if output not in samples.empty
        ]  # fmt: skip

    def moved(self, vector):
        """For each output that a loss sees, a descriptor of its tangent along a vector of parameters; None for zeros."""
        ways = {index: [way] for index, way in enumerate(self._graph.split(vector))}
        found = Motion(self._passage, 1, ways, {}, {}, self._fed).values
        return [None if found[name] is None else found[name][0] for name in self._names]

    def separable(self):
        """Whether `back` can write the gradient of each sequence by itself."""
        return self._fed is None and self._passage.separable()

    def back(self, slopes, parts, rows=None):
        """Write the gradient of each layer from descriptors of dL/d(output); see `networks.passing.Passing.back`."""
        given = {name: slope for name, slope in zip(self._names, slopes) if slope is not None}
        if self._fed is not None:
            FedReturn(self._fed, given, {}, parts, accumulate=False, zeros=True).fill()
        else:
            Return(self._passage, given, {}, parts, accumulate=False, need_x=False, zeros=rows is None, rows=rows).fill()
