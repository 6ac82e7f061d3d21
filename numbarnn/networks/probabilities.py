"""From logits to probabilities: softmax over channels, and the sigmoid."""

import numpy as np

from ..arrays.ieee import ieee
from ..arrays.rows import like, numbers
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
