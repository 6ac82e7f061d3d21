"""The layer of minimal gated units."""

import functools
from dataclasses import dataclass

from ..cells import ActivationSpec, MGUCell
from .recurrent import Recurrent


@dataclass(frozen=True, repr=False)
class MGU(Recurrent):
    """A minimal gated unit: a GRU with one gate, which both forgets and resets.

    T steps, N batch, C input channels, H hidden units, L stacked layers, D directions.  One sequence takes each step by ::

        f = s(W_f x + b_if + R_f h + b_hf)
        n = a(W_n x + b_in + R_n (f h) + b_hn)
        h' = (1 - f) h + f n

    where x (C,) is the input of the step, h (H,) the state before it, h' the state after it, f the gate, n the candidate, s
    the logistic function (`gate_activation`), a tanh (`activation`), and products of vectors are taken unit by unit.

    Input x (T, N, C), output y (T, N, D * H) with the h' of every step, state h (L * D, N, H).  Parameters of the first
    stacked layer, f before n: ``weight_ih_l0`` W (2H, C), ``weight_hh_l0`` R (2H, H), ``bias_ih_l0`` and ``bias_hh_l0``
    (2H,); `Recurrent` names the parameters of other layers.

    Parameters
    ----------
    hidden : int
        Units H.
    layers : int
        Stacked layers L.
    bidirectional : bool
        Also run from the last step to the first; outputs (T, N, 2H), forward half first.
    activation, gate_activation : str, tuple or ActivationFunction
        Of n and of f: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``; `numbarnn.Activation` lists them.

    References
    ----------
    Zhou et al. 2016, Minimal gated unit for recurrent neural networks, doi:10.1007/s11633-016-1006-2, eq. 9-11.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.MGU(8)
    >>> p = layer.init(channels=3, seed=0)
    >>> p["weight_hh_l0"].shape
    (16, 8)
    >>> layer(p, np.zeros((5, 2, 3), np.float32))[0].shape
    (5, 2, 8)
    """

    hidden: int
    layers: int = 1
    bidirectional: bool = False
    activation: ActivationSpec = "tanh"
    gate_activation: ActivationSpec = "sigmoid"

    @functools.cached_property
    def cell(self):
        return MGUCell(**self._functions())
