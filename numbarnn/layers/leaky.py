"""The leaky, or continuous-time, recurrent layer."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..cells import ActivationSpec, LeakyInsideCell, LeakyOutsideCell
from ..descriptions.fields import one_of, one_or_each
from ..errors import ShapeError, finite_number
from .recurrent import Recurrent

FORMS = {"outside": LeakyOutsideCell, "inside": LeakyInsideCell}


@dataclass(frozen=True, repr=False)
class LeakyRNN(Recurrent):
    """A leaky, or continuous-time, recurrent layer: each step goes a part of the way to a new value.

    T steps, N batch, C input channels, H hidden units, L stacked layers, D directions.  One sequence takes each step by ::

        h' = (1 - a) h + a f(W x + b_ih + R h + b_hh)    form "outside": the function is outside the weights
        h' = (1 - a) h + a (W x + b_ih + R f(h) + b_hh)  form "inside": the function is inside them

    where x (C,) is the input of the step, h (H,) the state before it, h' the state after it, f the activation function, and
    a the rate.  Both are Euler steps of a differential equation, with ``a = dt / tau``.

    Input x (T, N, C), output y (T, N, D * H) with the h' of every step, state h (L * D, N, H).  Parameters of the first
    stacked layer: ``weight_ih_l0`` W (H, C), ``weight_hh_l0`` R (H, H), ``bias_ih_l0`` b_ih (H,), ``bias_hh_l0`` b_hh (H,),
    and where the rate is learned ``rate_l0`` a; `Recurrent` names the parameters of other layers.

    Parameters
    ----------
    hidden : int
        Units H.
    rate : float or tuple of float
        a, of all units or one for each.
    form : {"outside", "inside"}
        Where the function is.  Outputs are h in both: ``f(h)`` is an `Activation` away.
    activation : str, tuple or ActivationFunction
        f: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``; `numbarnn.Activation` lists them.
    layers : int
        Stacked layers L.
    bidirectional : bool
        Also run from the last step to the first; outputs (T, N, 2H), forward half first.
    learned : bool
        a is a parameter, ``rate_l0``, that starts from `rate`: (1,) for a float, (H,) for a tuple.  It is not kept within
        0 and 1.
    clip : float, optional
        Every pre-activation is kept within ``[-clip, clip]``, in the form "inside" the h that f is of; there is no gradient
        outside.

    References
    ----------
    "outside": Jaeger et al. 2007, doi:10.1016/j.neunet.2007.04.016, eq. 3, where units are firing rates. "inside": Song et
    al. 2016, doi:10.1371/journal.pcbi.1004792, eq. 9, where units are currents and ``f(h)`` their rates.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.LeakyRNN(8, rate=0.2, form="inside")
    >>> p = layer.init(channels=3, seed=0)
    >>> layer(p, np.zeros((5, 2, 3), np.float32))[0].shape
    (5, 2, 8)
    >>> nr.LeakyRNN(8, rate=0.2, learned=True).init(channels=3)["rate_l0"]
    array([0.2], dtype=float32)
    """

    hidden: int
    rate: float | tuple[float, ...] = 0.1
    form: str = "outside"
    activation: ActivationSpec = "tanh"
    layers: int = 1
    bidirectional: bool = False
    learned: bool = False

    accepts: ClassVar = {"rate": one_or_each(finite_number), "form": one_of(FORMS)}

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.rate, tuple) and len(self.rate) != self.hidden:
            raise ShapeError(f"rate: expected a number or a tuple of {self.hidden}, one for each unit, got {len(self.rate)}")

    @property
    def unit_parameter(self):
        """What the parameter is called that holds the rates."""
        return "rate" if self.learned else None

    def _unit_numbers(self):
        return self.hidden if isinstance(self.rate, tuple) else 1

    def unit_constants(self):
        return np.asarray(self.rate)

    @functools.cached_property
    def cell(self):
        return FORMS[self.form](**self._functions())

    def fill(self, parameters, random, scheme):
        super().fill(parameters, random, scheme)
        for name, view in parameters.items():
            if name.startswith("rate"):
                view[...] = self.rate
