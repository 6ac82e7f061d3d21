"""Activation functions and their slopes, on one number; a target that computes on vectors overloads them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import nearest


def tanh(x):
    """Hyperbolic tangent."""
    return math.tanh(x)


def sigmoid(x):
    """Logistic function ``1 / (1 + exp(-x))``."""
    return 0.5 * math.tanh(0.5 * x) + 0.5


def relu(x):
    """``x`` where positive, else 0; NaN stays NaN."""
    return 0.0 if x < 0 else x


def identity(x):
    """``x`` itself."""
    return x


def tanh_slope(y):
    """d tanh / dx, from the output ``y = tanh(x)``."""
    return 1 - y * y


def sigmoid_slope(y):
    """d sigmoid / dx, from the output ``y = sigmoid(x)``."""
    return y * (1 - y)


def relu_slope(y):
    """d relu / dx, from the output: 1 where positive, else 0 (0 is taken at the kink)."""
    return 1 + 0 * y if y > 0 else 0 * y


def identity_slope(y):
    """d identity / dx: 1."""
    return 1 + 0 * y


@dataclass(frozen=True)
class Activation:
    """A function and its slope, the slope as a function of the *output*, so that no input has to be kept."""

    name: str
    value: Callable
    slope: Callable


ACTIVATIONS = {
    a.name: a
    for a in (
        Activation("tanh", tanh, tanh_slope),
        Activation("sigmoid", sigmoid, sigmoid_slope),
        Activation("relu", relu, relu_slope),
        Activation("identity", identity, identity_slope),
    )
}
ALIASES = {"linear": "identity"}


def activation(name):
    """The activation called `name`; ``linear`` is another word for ``identity``."""
    canonical = ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(canonical, str) or canonical not in ACTIVATIONS:
        raise nearest("activation", name, (*ACTIVATIONS, *ALIASES))
    return ACTIVATIONS[canonical]
