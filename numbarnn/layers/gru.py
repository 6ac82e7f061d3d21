"""The gated recurrent layer."""

import functools
from dataclasses import dataclass
from typing import ClassVar

from ..cells import ActivationSpec, GRUAfterCell, GRUBeforeCell, NormalizedGRUCell
from ..descriptions.fields import one_of
from .normalized import unit_parameters
from .recurrent import Recurrent


@dataclass(frozen=True, repr=False)
class GRU(Recurrent):
    """Gated recurrent units: ``h' = (1 - z) n + z h`` (Cho et al. 2014).

    Parameters
    ----------
    hidden : int
        Units H.
    reset : {"after", "before"}
        Where the reset gate acts on the state: after the product with R (cuDNN, PyTorch) or before it (the paper, ONNX).
    layers : int
        Stacked layers L.
    bidirectional : bool
        Also run from the last step to the first; outputs (T, N, 2H), forward half first.
    activation, gate_activation : str, tuple or ActivationFunction
        Of n, and of r and z: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``; `numbarnn.Activation` lists them.
    normalized : bool
        Layer normalization (Ba, Kiros, Hinton 2016, arXiv:1607.06450): ``LN(W x) + LN(R h)`` over r and z of all units,
        ``n = tanh(LN(W_n x) + r LN(R_n h))`` over n by itself; reset "after" only.  Biases come after it, as do the
        parameters ``gain_ih_l0`` and ``gain_hh_l0`` (3H,).  1e-5 is added to each variance.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.GRU(8, layers=2, bidirectional=True)
    >>> p = layer.init(channels=3, seed=0)
    >>> y, state = layer(p, np.zeros((5, 2, 3), np.float32))
    >>> y.shape, state.shape
    ((5, 2, 16), (4, 2, 8))
    """

    hidden: int
    reset: str = "after"
    layers: int = 1
    bidirectional: bool = False
    activation: ActivationSpec = "tanh"
    gate_activation: ActivationSpec = "sigmoid"
    normalized: bool = False

    accepts: ClassVar = {"reset": one_of(("after", "before"))}

    def __post_init__(self):
        super().__post_init__()
        if self.normalized and self.reset != "after":
            raise ValueError(f"reset: expected 'after' together with normalized, got {self.reset!r}")

    @property
    def unit_parameters(self):
        return unit_parameters(self.cell, self.hidden) if self.normalized else super().unit_parameters

    @functools.cached_property
    def cell(self):
        cell = NormalizedGRUCell if self.normalized else GRUAfterCell if self.reset == "after" else GRUBeforeCell
        return cell(**self._functions())
