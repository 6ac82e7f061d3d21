"""The layer of minimal gated units."""

import functools
from dataclasses import dataclass

from ..cells import ActivationSpec, MGUCell
from .recurrent import Recurrent


@dataclass(frozen=True, repr=False)
class MGU(Recurrent):
    """Minimal gated units: ``h' = (1 - f) h + f n`` (Zhou et al. 2016, doi:10.1007/s11633-016-1006-2).

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
