"""From logits to probabilities: softmax over channels, and the sigmoid."""

import numpy as np

from ..arrays.ieee import ieee
from ..arrays.rows import like, numbers
from ..layers.dense import Activation, Dense
from ..training.losses import BinaryCrossEntropy, CrossEntropy
from ..training.losses import loss as find_loss
from ..training.losses.numeric import logistic

PROBABILITIES = ("sigmoid", "hard_sigmoid")  # activation functions whose outputs are probabilities already


@ieee
def softmax_of(logits):
    """A descriptor of ``exp(z) / sum exp(z)`` over the channels of one of z."""
    found, z = like(logits), numbers(logits)
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    found.array[...] = powers / powers.sum(axis=-1, keepdims=True)
    return found


@ieee
def sigmoid_of(logits):
    """A descriptor of ``1 / (1 + exp(-z))`` of every number z, which neither overflows nor loses a small one."""
    found = like(logits)
    found.array[...] = logistic(numbers(logits))[1]
    return found


def link_of(loss, last, channels):
    """What makes a descriptor of probabilities out of one of logits, of so many channels, that a layer `last` gives.

    Raises
    ------
    ValueError
        If the loss is none of logits, or the layer gives probabilities already.
    """
    loss = find_loss(loss)
    if not isinstance(loss, (CrossEntropy, BinaryCrossEntropy)):
        raise ValueError(f'loss: expected "cross_entropy" or "binary_cross_entropy", got {loss!r}')
    function = last.activation if isinstance(last, Dense) else last.name if isinstance(last, Activation) else None
    if (function[0] if isinstance(function, tuple) else function) in PROBABILITIES:
        raise ValueError(f"layers: expected the last one to give logits, got {last!r}, which gives probabilities")
    if isinstance(loss, BinaryCrossEntropy):
        return sigmoid_of
    if channels == 1:
        raise ValueError(
            'loss: expected "binary_cross_entropy" for 1 output channel, whose softmax is always 1, got "cross_entropy"'
        )
    return softmax_of
