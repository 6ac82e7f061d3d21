"""A network's way over samples, to what their loss sees, and back from there."""

from ..engine.keep import ALL
from ..layers.fed import FedAdjoint
from ..layers.tangents import Tangents
from .derivatives import moved_by
from .seen import Seen


def passed(network, parts, described, strengths=None):
    """(descriptor of the output, tapes, the Fed or None) of a forward; strengths: of a `Feedback`, None without one."""
    if strengths is None:
        return *network._forward(parts, described, ALL), None
    fed = network._fed(parts, described, ALL)
    fed.fill(described, strengths)
    return fed.outputs, fed.tapes, fed


class Passing:
    """A network's forward over all of some samples.

    Parameters
    ----------
    network : Objective
    parts : sequence of Parameters
        Of each layer.
    samples : Samples
    loss : callable
    convert : callable, optional
        What the descriptor of x is made to before.

    Attributes
    ----------
    seen : list of Seen
        Of each output that has a loss and of which something counts.
    """

    def __init__(self, network, parts, samples, loss, convert=None):
        batch, described = samples.batch()
        described = described if convert is None else convert(described)
        self._network = network
        output, self._tapes, self._fed = passed(network, parts, described, samples.strength_rows(batch))
        self.seen = [Seen(network, loss, 1, samples, batch, output)]

    def moved(self, vector):
        """For each output that a loss sees, a descriptor of its tangent along a vector of parameters; None for zeros."""
        ways = [Tangents(1, [part]) for part in self._network.split(vector)]
        found = moved_by(ways, self._tapes, self._fed)
        return [None if found is None else found[0]]

    def separable(self):
        """Whether `back` can write the gradient of each sequence by itself."""
        return self._fed is None and all(tape.operation.separable() for tape in self._tapes)

    def back(self, slopes, parts, rows=None):
        """Write the gradient of each layer (parts, which are zeros, are modified) from descriptors of dL/d(output), or None.

        rows: for each layer (N, P), where the gradient of each sequence is written by itself (is modified), in the place of
        `parts`; see `separable`.
        """
        (described,) = slopes
        if described is None:
            return
        adjoints = go_back(self._tapes, described, parts, rows, self._fed is not None)
        if self._fed is not None:
            FedAdjoint(self._fed, described, adjoints).fill()


def go_back(tapes, described, parts, rows=None, fed=False):
    """The Adjoints of tapes, the last first, that take a derivative of the output back.

    parts, rows: as in `Passing.back`; fed: whether outputs are fed, and the Adjoints are still to be run.
    """
    adjoints = []
    for index in reversed(range(len(tapes))):
        own = None if rows is None else rows[index]
        adjoints.append(tapes[index].adjoint(described, index > 0 or fed, parts[index], False, rows=own))
        described = adjoints[-1].dx
        if not fed:
            adjoints[-1].fill()
    return adjoints
