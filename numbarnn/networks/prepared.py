"""Small calls of a network's forward and backward that have been made before; see `numbarnn.layers.prepared`."""

import numpy as np

from ..layers.base import gradient_vector
from ..layers.prepared import Lease, PreparedBackward, PreparedTraining
from ..training.passes import Passes


class PreparedNetwork(PreparedTraining):
    """A small call whose tapes are kept, and the way back through them.

    Parameters
    ----------
    network : Network
    batch : Batch
        How the caller's arrays lie.
    arguments
        Of `PreparedCall`.
    """

    def __init__(self, network, batch, *arguments):
        super().__init__(network.params, *arguments, stateful=True)
        self._network, self.batch = network, batch
        self.tapes = tuple(self._tapes)

    def lease(self, p, x, idle):
        """What holds the tapes of the call just made for its caller."""
        return Lease(self, idle, x)

    def _way_back(self, *given):
        return NetworkBackward(self._network, self.batch, self.tapes, self._y, self._final, *given)


class NetworkBackward(PreparedBackward):
    """Backward of a small call of a network, to be made again and again; there is a dy.

    Parameters
    ----------
    network : Network
    batch : Batch
    tapes : tuple of Tape
    y : numpy.ndarray
        What dy is shaped like.
    states : list of numpy.ndarray
        What the arrays of dstate are shaped like, the lowest layer's first.
    without_dstate, need_x : bool
    """

    def __init__(self, network, batch, tapes, y, states, _, without_dstate, need_x):
        self._dy = np.zeros_like(y)
        self._dstates = [] if without_dstate else [np.zeros_like(state) for state in states]
        dstate = network._state_from(self._dstates) if self._dstates else None
        dstates = network._states_of("dstate", dstate, batch.sequences)
        self._gradient = gradient_vector(None, network.params.weights, "this network", network.dtype, network.device, {})
        described, adjoints = network._output_like(batch, tapes[-1], self._dy), []
        parts = network.split(self._gradient.flat)
        for index in reversed(range(len(tapes))):
            adjoint = tapes[index].adjoint(described, need_x or index > 0, parts[index], False, dstates.get(index))
            adjoints.append(adjoint)
            described = adjoint.dx
        self._dx = None if described is None else batch.give(described)
        self._run = Passes("cpu", [(each.fill, each.add_to) for each in adjoints]).run
        self._stacks = [adjoints[-1 - index].stack for index in network._stateful]
