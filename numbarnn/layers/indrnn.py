"""The independently recurrent layer."""

import functools
from dataclasses import dataclass

from ..cells import ActivationSpec, IndRNNCell
from .recurrent import Recurrent


@dataclass(frozen=True, repr=False)
class IndRNN(Recurrent):
    """Units that each see only themselves again: ``h' = f(W x + u h + b)`` (Li et al. 2018, arXiv:1803.04831).

    u is the parameter ``weight_hh_l0`` (H,), and there is one bias.

    Parameters
    ----------
    hidden : int
        Units H.
    activation : str, tuple or ActivationFunction
        f: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``; `numbarnn.Activation` lists them.
    layers : int
        Stacked layers L.
    bidirectional : bool
        Also run from the last step to the first; outputs (T, N, 2H), forward half first.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.IndRNN(8)
    >>> p = layer.init(channels=3, seed=0)
    >>> p.names
    ('weight_ih_l0', 'bias_ih_l0', 'weight_hh_l0')
    >>> layer(p, np.zeros((5, 2, 3), np.float32))[0].shape
    (5, 2, 8)
    """

    hidden: int
    activation: ActivationSpec = "relu"
    layers: int = 1
    bidirectional: bool = False

    unit_parameter = "weight_hh"

    @functools.cached_property
    def cell(self):
        return IndRNNCell(**self._functions())

    def fill_vector(self, name, view, random):
        if name.startswith("weight_hh"):
            view[...] = random.uniform(0, 1, view.shape)
