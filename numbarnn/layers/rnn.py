"""The simple recurrent layer."""

import functools
from dataclasses import dataclass

from ..cells import ActivationSpec, RNNCell
from .recurrent import Recurrent


@dataclass(frozen=True, repr=False)
class RNN(Recurrent):
    """A simple recurrent layer: each state is a function of the input and of the state before.

    T steps, N batch, C input channels, H hidden units, L stacked layers, D directions.  One sequence takes each step by ::

        h' = f(W x + b_ih + R h + b_hh)

    where x (C,) is the input of the step, h (H,) the state before it, h' the state after it, and f the activation function.

    Input x (T, N, C), output y (T, N, D * H) with the h' of every step, state h (L * D, N, H).  Parameters of the first
    stacked layer: ``weight_ih_l0`` W (H, C), ``weight_hh_l0`` R (H, H), ``bias_ih_l0`` b_ih (H,), ``bias_hh_l0`` b_hh (H,);
    `Recurrent` names the parameters of other layers.

    Parameters
    ----------
    hidden : int
        Units H.
    activation : str, tuple or ActivationFunction
        f: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``; `numbarnn.Activation` lists them.
    layers : int
        Stacked layers L; each takes the one below as its input.
    bidirectional : bool
        Also run from the last step to the first; outputs (T, N, 2H), forward half first.

    References
    ----------
    Elman 1990, Finding structure in time, doi:10.1207/s15516709cog1402_1.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.RNN(8, "relu")
    >>> p = layer.init(channels=3, seed=0)
    >>> y, state = layer(p, np.zeros((5, 2, 3), np.float32))
    >>> y.shape, state.shape
    ((5, 2, 8), (1, 2, 8))
    """

    hidden: int
    activation: ActivationSpec = "tanh"
    layers: int = 1
    bidirectional: bool = False

    @functools.cached_property
    def cell(self):
        return RNNCell(**self._functions())
