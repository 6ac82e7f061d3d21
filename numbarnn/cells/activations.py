"""Activation functions and their slopes, written once for every backend.

A slope is computed from what a layer keeps of the forward pass: from the output where it follows from that, so that
nothing more is kept, else from the input.
"""

import math
from dataclasses import dataclass, fields

from ..descriptions.fingerprint import Fingerprinted
from ..errors import finite_number, nearest
from .elementary import clip, exp, expm1, full_like, normal, sigmoid, softplus, tanh, where


class Function(Fingerprinted):
    """An activation function: a frozen dataclass whose methods a backend runs on numbers or on vectors.

    Attributes
    ----------
    from_output : bool
        Whether the slope follows from the output: what is kept for it, in the methods below, is the output y, else the
        input x.
    differentiable : bool
        Whether there is a slope.
    """

    from_output = True
    differentiable = True

    def value(self, x):
        """``f(x)``."""
        raise NotImplementedError

    def slope(self, kept):
        """``f'(x)``, from what was kept; one side's value at a kink."""
        raise NotImplementedError

    def keep(self, x, y):
        """What to keep of ``y = f(x)`` for `slope` and `output`."""
        return y if self.from_output else x

    def output(self, kept):
        """``f(x)``, from what was kept."""
        return kept if self.from_output else self.value(kept)

    def keep_beside(self, x):
        """What to keep where the output is at hand anyway: a tuple of `x`, or of nothing."""
        return () if self.from_output else (x,)

    def kept_beside(self, y, beside):
        """What `keep` would have kept, from the output and what `keep_beside` did."""
        return y if self.from_output else beside[0]


def scaled(alpha, x):
    """``alpha x``, which is 0 for alpha 0 though x be infinite."""
    return alpha * x if alpha != 0 else alpha * clip(x, -1.0, 1.0)


def logistic(x):
    """``s(x)`` and ``s(-x) = 1 - s(x)``, each all the way down to 0, for products with large numbers."""
    small = exp(-abs(x))
    large = 1 / (1 + small)
    small = small * large
    return where(x < 0, small, large), where(x < 0, large, small)


@dataclass(frozen=True)
class Identity(Function):
    """``x``."""

    def value(self, x):
        return x

    def slope(self, kept):
        return full_like(kept, 1)


@dataclass(frozen=True)
class Affine(Function):
    """``alpha x + beta``."""

    alpha: float = 1.0
    beta: float = 0.0

    def value(self, x):
        return scaled(self.alpha, x) + self.beta

    def slope(self, kept):
        return full_like(kept, self.alpha)


@dataclass(frozen=True)
class Tanh(Function):
    """Hyperbolic tangent."""

    def value(self, x):
        return tanh(x)

    def slope(self, kept):
        return 1 - kept * kept


@dataclass(frozen=True)
class ScaledTanh(Function):
    """``alpha tanh(beta x)``."""

    alpha: float = 1.0
    beta: float = 1.0

    @property
    def from_output(self):
        return abs(self.alpha) > 1e-30  # the digits of the output are lost where float32 ends

    def value(self, x):
        return self.alpha * tanh(scaled(self.beta, x))

    def slope(self, kept):
        t = kept / self.alpha if self.from_output else tanh(scaled(self.beta, kept))
        return self.alpha * self.beta * (1 - t * t)


@dataclass(frozen=True)
class Sigmoid(Function):
    """Logistic function ``1 / (1 + exp(-x))``."""

    def value(self, x):
        return sigmoid(x)

    def slope(self, kept):
        return kept * (1 - kept)


@dataclass(frozen=True)
class HardSigmoid(Function):
    """``alpha x + beta``, kept within 0 and 1."""

    alpha: float = 0.2
    beta: float = 0.5

    def value(self, x):
        return clip(scaled(self.alpha, x) + self.beta, 0, 1)

    def slope(self, kept):
        return where(kept > 0, where(kept < 1, self.alpha, 0), 0)


@dataclass(frozen=True)
class Relu(Function):
    """``x`` where positive, else 0."""

    def value(self, x):
        return where(x < 0, 0, x)

    def slope(self, kept):
        return where(kept > 0, 1, 0)


@dataclass(frozen=True)
class LeakyRelu(Function):
    """``x`` where positive, else ``alpha x``."""

    alpha: float = 0.01

    @property
    def from_output(self):
        return self.alpha >= 0  # then the output has the sign of the input

    def value(self, x):
        return where(x < 0, scaled(self.alpha, x), x)

    def slope(self, kept):
        return where(kept > 0, 1, self.alpha)


@dataclass(frozen=True)
class ThresholdedRelu(Function):
    """``x`` where greater than alpha, else 0."""

    alpha: float = 1.0

    @property
    def from_output(self):
        return self.alpha >= 0  # then 0 is not greater than alpha

    def value(self, x):
        return where(x <= self.alpha, 0, x)

    def slope(self, kept):
        return where(kept > self.alpha, 1, 0)


@dataclass(frozen=True)
class Elu(Function):
    """``x`` where positive, else ``alpha (exp(x) - 1)`` (Clevert et al. 2016, arXiv:1511.07289)."""

    alpha: float = 1.0

    @property
    def from_output(self):
        return self.alpha > 0  # then the output has the sign of the input

    def value(self, x):
        return where(x < 0, self.alpha * expm1(x), x)

    def slope(self, kept):
        below = kept + self.alpha if self.from_output else self.alpha * exp(kept)
        return where(kept > 0, 1, below)


@dataclass(frozen=True)
class Softsign(Function):
    """``x / (1 + |x|)``."""

    def value(self, x):
        x = clip(x, -1e18, 1e18)  # infinities, too, are divided by something like themselves
        return x / (1 + abs(x))

    def slope(self, kept):
        rest = 1 - abs(kept)
        return rest * rest


@dataclass(frozen=True)
class Softplus(Function):
    """``log(1 + exp(x))``."""

    def value(self, x):
        return softplus(x)

    def slope(self, kept):
        return -expm1(-kept)


@dataclass(frozen=True)
class Gelu(Function):
    """``x P(X < x)`` for a standard normal X, by the error function (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""

    from_output = False

    def value(self, x):
        below, _ = normal(x)
        return clip(x, -40.0, math.inf) * below  # below is 0 from there on: no infinity times 0

    def slope(self, kept):
        below, density = normal(kept)
        return below + clip(kept, -40.0, 40.0) * density


@dataclass(frozen=True)
class Silu(Function):
    """``x s(x)`` with the logistic function s (Elfwing et al. 2018, doi:10.1016/j.neunet.2017.12.012)."""

    from_output = False

    def value(self, x):
        s, _ = logistic(x)
        return clip(x, -1000.0, math.inf) * s  # s is 0 from there on: no infinity times 0

    def slope(self, kept):
        s, rest = logistic(kept)
        return s * (1 + clip(kept, -1000.0, 1000.0) * rest)


@dataclass(frozen=True)
class Clipped(Function):
    """``f(x)`` of a function `inner`, x kept within ``[-limit, limit]``; the slope is 0 outside."""

    inner: Function
    limit: float

    from_output = False

    @property
    def differentiable(self):
        return self.inner.differentiable

    def value(self, x):
        return self.inner.value(clip(x, -self.limit, self.limit))

    def slope(self, kept):
        x = clip(kept, -self.limit, self.limit)
        return where(abs(kept) <= self.limit, self.inner.slope(self.inner.keep(x, self.inner.value(x))), 0)


FUNCTIONS = {
    "relu": Relu,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "affine": Affine,
    "leaky_relu": LeakyRelu,
    "thresholded_relu": ThresholdedRelu,
    "scaled_tanh": ScaledTanh,
    "hard_sigmoid": HardSigmoid,
    "elu": Elu,
    "softsign": Softsign,
    "softplus": Softplus,
    "identity": Identity,
    "linear": Identity,
    "gelu": Gelu,
    "silu": Silu,
}


ActivationSpec = str | tuple | Function


def activation(spec, argument="activation"):
    """The Function that `spec` describes, or an error that names `argument`.

    Parameters
    ----------
    spec : str, tuple or Function
        A name; a tuple ``(name, alpha)`` or ``(name, alpha, beta)``; or the Function itself.
    argument : str
        What the caller calls it.
    """
    if isinstance(spec, Function):
        return spec
    name, *numbers = spec if isinstance(spec, tuple) and spec else (spec,)
    if not isinstance(name, str) or name not in FUNCTIONS:
        raise nearest(argument, name, FUNCTIONS)
    function = FUNCTIONS[name]
    names = [field.name for field in fields(function)]
    if len(numbers) > len(names):
        takes = " and ".join(names) or "neither alpha nor beta"
        raise ValueError(f"{argument}: {name!r} takes {takes}, got {spec!r}")
    return function(*(finite_number(f"{argument} {n}", number) for n, number in zip(names, numbers)))
