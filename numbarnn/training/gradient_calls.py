"""Gradients that a caller asks for, of one vector of parameters after the other: what a call has made serves the next."""

import numpy as np

MOST_BYTES = 1 << 24  # of inputs that are copied over the inputs of the call before, and of what is kept


class GradientCalls:
    """The loss and its gradient at vectors of parameters, with memory and kernel calls that are kept from call to call.

    Parameters
    ----------
    network : Network or Graph
        Only its layers and its device count; its own parameters are neither read nor written.

    Notes
    -----
    One vector of parameters and one of gradients lie here as long as the object lives, and the workspaces of batches
    that have one length, see `Workspaces`.
    """

    def __init__(self, network):
        self._flat, self._gradient = (network.params.zeros().flat for _ in range(2))
        self._on_host = network.device == "cpu"
        self._workspaces = network._workspaces(network.split(self._gradient), network.split(self._flat), ("all", None))

    def __call__(self, flat, samples, loss):
        """(the loss of all samples, its gradient, a new vector) at a vector of parameters."""
        self._flat[:] = flat
        # The rows of ragged samples that are as long would add up in another order where they lie side by side.
        apart = samples.ragged or samples.feedback is not None
        if apart or not self._on_host or samples.input_bytes > MOST_BYTES:
            value = self._workspaces.once(samples, loss)
        else:
            value = self._workspaces.gradient(samples, np.arange(samples.x.count), loss, None)
        return value, self._gradient.copy()

    @property
    def worth_keeping(self):
        """Whether the next call can use something of it, and it takes little memory."""
        return 0 < self._workspaces.nbytes <= MOST_BYTES
