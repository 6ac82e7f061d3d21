"""An activation function of one's own."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FunctionType

from .activations import Function


@dataclass(frozen=True, repr=False)
class ActivationFunction(Function):
    """An activation function of your own, for any layer's ``activation``.

    It is compiled into the layers' kernels and runs on vectors, so it is written with operators, comparisons, `abs` and
    the functions of `numbarnn.elementary`.

    Parameters
    ----------
    name : str
        For messages.
    value : callable
        ``f(x)``.
    slope : callable, optional
        ``f'(x)``, as a function of x.  Without it a layer can be called, but not trained.
    from_output : bool
        `slope` is a function of the output ``f(x)`` instead, so that a layer need not keep x.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> el = nr.elementary
    >>> def mish(x):
    ...     return x * el.tanh(el.softplus(x))
    >>> def mish_slope(x):
    ...     t = el.tanh(el.softplus(x))
    ...     return t + x * el.sigmoid(x) * (1 - t * t)
    >>> layer = nr.RNN(8, nr.ActivationFunction("mish", mish, mish_slope))
    >>> y, state = layer(layer.init(channels=3), np.zeros((5, 2, 3), np.float32))
    >>> y.shape
    (5, 2, 8)
    """

    name: str
    value: Callable = field()  # field(): else Function's method would be its default
    slope: Callable | None = None
    from_output: bool = False

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise TypeError(f"name: expected a string, got {self.name!r}")
        if not callable(self.value):
            raise TypeError(f"value: expected a function of x, got {self.value!r}")
        if self.slope is not None and not callable(self.slope):
            raise TypeError(f"slope: expected a function or None, got {self.slope!r}")
        if not isinstance(self.from_output, bool):
            raise TypeError(f"from_output: expected True or False, got {self.from_output!r}")

    @property
    def differentiable(self):
        """Whether there is a slope."""
        return self.slope is not None

    def __repr__(self):
        # The disk cache of compiled kernels tells functions apart by this: the name alone would not do.
        return f"ActivationFunction({self.name!r}, {fingerprint(self.value, self.slope, self.from_output)})"


def fingerprint(*values):
    """A short digest of functions' code and of the constants and functions that they find outside of it."""
    digest, seen = hashlib.sha256(), set()
    for value in values:
        _take(value, digest, seen)
    return digest.hexdigest()[:12]


def _take(value, digest, seen):
    value = getattr(value, "py_func", value)  # one that Numba has compiled
    if not isinstance(value, FunctionType):
        digest.update(f"{value!r};".encode())
    elif value.__module__ and value.__module__.startswith("numbarnn."):
        digest.update(f"{value.__module__}.{value.__qualname__};".encode())  # in the cache's stamp already
    elif id(value) not in seen:
        seen.add(id(value))
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        for part in (value.__defaults__, *cells):
            _take(part, digest, seen)
        _take_code(value.__code__, value.__globals__, digest, seen)


def _take_code(code, namespace, digest, seen):
    digest.update(code.co_code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _take_code(constant, namespace, digest, seen)
        else:
            digest.update(f"{constant!r};".encode())
    for name in code.co_names:
        digest.update(f"{name};".encode())
        if name in namespace:
            _take(namespace[name], digest, seen)
