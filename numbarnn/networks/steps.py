"""The layers of a network over the steps that a stream takes at once."""

from typing import NamedTuple

import numpy as np

from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import backend
from ..arrays.indices import Indices
from ..arrays.packing import uniform
from ..layers.recurrent import Recurrent


class OverSteps(NamedTuple):
    """Layers that take up to K steps, again and again from the same memory.

    x : numpy.ndarray
        (K, N, C), or (K, N) of indices: what the lowest layer reads.
    y : TensorDescriptor
        Of what the last layer writes.
    operations : list of Operation
        From the lowest on.
    stateful : list of (Layer, Tape)
        Those with a state.
    vocabulary : int or None
        Of indices.
    """

    x: np.ndarray
    y: TensorDescriptor
    operations: list
    stateful: list
    vocabulary: int | None

    @classmethod
    def of(cls, layers, channels, dtype, device, steps, batch):
        """Of (layer, Parameters) pairs, each with its own, for inputs of so many channels, steps and sequences."""
        vocabulary = None
        if layers[0][0].takes_indices:
            x, vocabulary = np.zeros((steps, batch), np.int64), layers[0][0].vocabulary
            y = Indices(uniform(steps, batch), x)
        else:
            x = backend(device).memory.zeros((steps, batch, channels), dtype)
            y = TensorDescriptor.of_tnc(x)
        operations, stateful = [], []
        for layer, own in layers:
            y, tape = layer.run_stream(own, y)
            operations.append(tape.operation)
            if isinstance(layer, Recurrent):
                stateful.append((layer, tape))
        return cls(x, y, operations, stateful, vocabulary)
