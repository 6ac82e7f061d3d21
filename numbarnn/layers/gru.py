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
    """A gated recurrent unit: a gate says how much of the old state stays.

    T steps, N batch, C input channels, H hidden units, L stacked layers, D directions.  One sequence takes each step by ::

        r = s(W_r x + b_ir + R_r h + b_hr)
        z = s(W_z x + b_iz + R_z h + b_hz)
        n = a(W_n x + b_in + r (R_n h + b_hn))    reset "after"
        n = a(W_n x + b_in + R_n (r h) + b_hn)    reset "before"
        h' = (1 - z) n + z h

    where x (C,) is the input of the step, h (H,) the state before it, h' the state after it, r the reset gate, z the update
    gate, n the candidate, s the logistic function (`gate_activation`), a tanh (`activation`), and products of vectors are
    taken unit by unit.

    Input x (T, N, C), output y (T, N, D * H) with the h' of every step, state h (L * D, N, H).  Parameters of the first
    stacked layer, in the order r, z, n: ``weight_ih_l0`` W (3H, C), ``weight_hh_l0`` R (3H, H), ``bias_ih_l0`` and
    ``bias_hh_l0`` (3H,); `Recurrent` names the parameters of other layers.

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
        Layer normalization, with reset "after" only: the sums of r and z are ``LN(W x; gain_ih, bias_ih)``
        plus ``LN(R h; gain_hh, bias_hh)``, and ``n = a(LN(W_n x; gain_ih, bias_ih) + r LN(R_n h; gain_hh, bias_hh))``.
        ``LN(a; gain, bias) = gain (a - m) / sqrt(v + 1e-5) + bias``, with m and v the mean and variance of a over all its
        units, of r and z together and of n by itself.  Adds the parameters ``gain_ih_l0`` and ``gain_hh_l0`` (3H,).

    References
    ----------
    "before": Cho et al. 2014, doi:10.3115/v1/D14-1179, eq. 5-8.  "after": its first version, arXiv:1406.1078v1.
    `normalized`: Ba, Kiros and Hinton 2016, Layer normalization, arXiv:1607.06450, supplement.

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
