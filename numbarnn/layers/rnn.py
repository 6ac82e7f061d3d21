"""The simple recurrent layer."""

import functools
from dataclasses import dataclass

from ..cells import ActivationSpec, RNNCell
from .recurrent import Recurrent


@dataclass(frozen=True, repr=False)
class RNN(Recurrent):
    """Simple recurrent layers: ``h' = f(W x + b_ih + R h + b_hh)`` (Elman 1990).

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
