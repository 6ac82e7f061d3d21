"""What a process does that uses a network, in small: it needs the same kernels, since they do not depend on shapes."""

import copy
from dataclasses import dataclass

import numpy as np

from ..arrays.devices import moved
from ..engine.compilations import watched
from ..layers.base import Layer
from ..many import fit_many
from ..network import Network
from ..sampling import is_language_model, sample
from ..training.losses import loss as find_loss
from ..training.losses import takes_labels, target_channels

STEPS, BATCH, LENGTHS = 2, 2, [2, 1]
WORKS = ("both", "inference", "training")


@dataclass(frozen=True)
class Work:
    """One network or layer, and what is to be compiled for it.

    Attributes
    ----------
    what : Network or Layer
    channels : int or None
        Of the input of a layer.
    dtype : str or None
        The network's own if None.
    work : {"both", "inference", "training"}
    losses, optimizers : tuple
    """

    what: Network | Layer
    channels: int | None
    dtype: str | None
    work: str
    losses: tuple
    optimizers: tuple

    def network(self):
        """A network of its own to work with."""
        if isinstance(self.what, Layer):
            return Network([self.what], self.channels or 1, self.dtype or "float32")
        if self.dtype in (None, self.what.dtype.name):
            return copy.copy(self.what)
        what = self.what
        return Network(what.layers, what.channels, self.dtype, what.layout, what.device)

    def done(self):
        """The compilations that it takes, once it is done: a list of `Compilation`, those found on disk among them."""
        with watched() as found:
            network = self.network()
            x = inputs(network)
            prediction = [network.predict(x) for _ in range(2)][1]  # the second call is prepared
            network.predict(x, lengths=LENGTHS)
            if not any(layer.needs_all or getattr(layer, "bidirectional", False) for layer in network.layers):
                shape, dtype = ((BATCH,), np.int64) if network.takes_indices else ((BATCH, network.channels), network.dtype)
                step = np.zeros(shape, dtype)
                network.stream(BATCH).step(step if network.takes_indices else moved(step, network.device))
                if network.takes_indices and is_language_model(network):
                    sample(network, step[None], STEPS)
            if self.work != "inference":
                for loss, optimizer in self._pairs():
                    fit(network, x, prediction, loss, optimizer)
        return found

    def _pairs(self):
        """Each loss with the first optimizer, and each other optimizer with the first loss."""
        yield from ((loss, self.optimizers[0]) for loss in self.losses)
        yield from ((self.losses[0], optimizer) for optimizer in self.optimizers[1:])


def inputs(network):
    """An input of a network."""
    sizes = {"t": STEPS, "n": BATCH, "c": network.channels}
    if network.takes_indices:
        return np.zeros([sizes[letter] for letter in network.layout if letter != "c"], np.int64)
    shape = [sizes[letter] for letter in network.layout]
    return np.linspace(0, 1, np.prod(shape), dtype=network.dtype).reshape(shape)


def fit(network, x, prediction, loss, optimizer):
    """Two training steps of a network that has predicted `prediction` for x, the second prepared; and as one of many."""
    loss, axis = find_loss(loss), network.output_layout.index("c")
    shape = list(prediction.shape)
    shape[axis] = target_channels(loss, shape[axis])
    y = np.linspace(0, 1, np.prod(shape), dtype=network.dtype).reshape(shape)  # targets of any loss of the library's
    if takes_labels(loss, y):
        ignored, weights = getattr(loss, "ignore_index", None), getattr(loss, "class_weights", None)
        counted = (c for c in range(y.shape[axis]) if c != ignored and (weights is None or weights[c]))
        y = np.full(np.delete(y.shape, axis), next(counted, 0), np.int64)
    network = copy.copy(network)
    options = {"loss": loss, "optimizer": optimizer, "epochs": 2, "batch_size": BATCH, "clip": 1.0, "progress": False}
    network.fit(x, y, **options)
    fit_many(network, x, y, seeds=[0], **options)
