"""Elementary functions on one number; a backend that computes on vectors overloads them.

Equations written with them, with operators, comparisons and `abs` run on plain numbers and on vectors alike.  NaN stays
NaN, and infinities give the limits.
"""

import math

from .symbols import Comparison, Operand, Symbol, chosen


def where(condition, x, y):
    """`x` where the condition (a comparison) holds, else `y`."""
    if isinstance(condition, Comparison) or isinstance(x, Symbol) or isinstance(y, Symbol):
        return chosen(condition, x, y)
    return x if condition else y


def full_like(x, number):
    """`number`, of the kind of `x`: a vector has it in every lane."""
    return x.filled(number) if isinstance(x, Symbol) else number


def clip(x, low, high):
    """`x` kept within ``[low, high]``."""
    return where(x < low, low, where(x > high, high, x))


def sqrt(x):
    """The square root; NaN of negative numbers."""
    if isinstance(x, Operand):
        return x.applied("sqrt")
    return math.nan if x < 0 else math.sqrt(x)


def exp(x):
    """The exponential function."""
    if isinstance(x, Operand):
        return x.applied("exp")
    return math.inf if x > 709.79 else math.exp(x)


def expm1(x):
    """``exp(x) - 1``, accurate near 0."""
    if isinstance(x, Operand):
        return x.applied("expm1")
    return math.inf if x > 709.79 else math.expm1(x)


def tanh(x):
    """Hyperbolic tangent."""
    if isinstance(x, Operand):
        return x.applied("tanh")
    return math.tanh(x)


def sigmoid(x):
    """Logistic function ``1 / (1 + exp(-x))``; on vectors no lower than at -87 (float32) or -708 (float64)."""
    if isinstance(x, Operand):
        return x.applied("sigmoid")
    return 0.5 * math.tanh(0.5 * x) + 0.5


def softplus(x):
    """``log(1 + exp(x))``, accurate in the tails."""
    if isinstance(x, Operand):
        return x.applied("softplus")
    return clip(x, 0.0, math.inf) + math.log1p(math.exp(-abs(x)))


def normal(x):
    """(distribution function, density) of the standard normal distribution, both accurate in the tails."""
    if isinstance(x, Operand):
        return x.applied("normal_distribution"), x.applied("normal_density")
    return 0.5 * math.erfc(-x / math.sqrt(2)), math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
