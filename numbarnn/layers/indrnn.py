"""The independently recurrent layer."""

import functools
from dataclasses import dataclass

from ..cells import ActivationSpec, IndRNNCell
from .recurrent import Recurrent


@dataclass(frozen=True, repr=False)
class IndRNN(Recurrent):
    """An independently recurrent layer: of the old state each unit sees its own value only.

    T steps, N batch, C input channels, H hidden units, L stacked layers, D directions.  One sequence takes each step by ::

        h' = f(W x + u h + b)

    where x (C,) is the input of the step, h (H,) the state before it, h' the state after it, f the activation function, and
    u h is a product unit by unit.

    Input x (T, N, C), output y (T, N, D * H) with the h' of every step, state h (L * D, N, H).  Parameters of the first
    stacked layer: ``weight_ih_l0`` W (H, C), ``bias_ih_l0`` b (H,), ``weight_hh_l0`` u (H,), which starts uniform between 0
    and 1; `Recurrent` names the parameters of other layers.

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

    References
    ----------
    Li et al. 2018, Independently recurrent neural network, arXiv:1803.04831, eq. 2.

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
