"""An activation function of one's own."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..descriptions.fingerprint import Fingerprint, fingerprint
from .activations import Function
from .dry_run import check


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
    fingerprint: Fingerprint = field(init=False)  # of what the functions are made of now

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise TypeError(f"name: expected a string, got {self.name!r}")
        if not callable(self.value):
            raise TypeError(f"value: expected a function of x, got {self.value!r}")
        if self.slope is not None and not callable(self.slope):
            raise TypeError(f"slope: expected a function or None, got {self.slope!r}")
        if not isinstance(self.from_output, bool):
            raise TypeError(f"from_output: expected True or False, got {self.from_output!r}")
        object.__setattr__(self, "fingerprint", fingerprint(self))
        check(self)

    @property
    def differentiable(self):
        """Whether there is a slope."""
        return self.slope is not None

    def __repr__(self):
        return f"ActivationFunction({self.name!r}, {self.fingerprint.digest})"

    def __reduce__(self):
        # Made anew: the functions may be others by now, and then have another fingerprint.
        return type(self), (self.name, self.value, self.slope, self.from_output)
