"""The long short-term memory layer."""

import functools
from dataclasses import dataclass
from typing import ClassVar

from ..cells import (
    ActivationSpec,
    CoupledLSTMCell,
    CoupledPeepholeLSTMCell,
    LSTMCell,
    NormalizedLSTMCell,
    PeepholeLSTMCell,
)
from ..descriptions.fields import optional
from ..errors import positive_integer
from .normalized import unit_parameters
from .recurrent import Recurrent

CELLS = {  # peepholes, coupled
    (False, False): LSTMCell,
    (True, False): PeepholeLSTMCell,
    (False, True): CoupledLSTMCell,
    (True, True): CoupledPeepholeLSTMCell,
}


@dataclass(frozen=True, repr=False)
class LSTM(Recurrent):
    """Long short-term memory: ``c' = f c + i g``, ``h' = o tanh(c')`` (Gers et al. 2000).

    The state is the pair (h, c).

    Parameters
    ----------
    hidden : int
        Units H.
    layers : int
        Stacked layers L.
    bidirectional : bool
        Also run from the last step to the first; outputs (T, N, 2H), forward half first.
    activation, gate_activation, output_activation : str, tuple or ActivationFunction
        Of g, of i, f and o, and of c on its way to h: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``;
        `numbarnn.Activation` lists them.
    peepholes : bool
        i and f also see the old c, o the new one, each unit its own: parameter ``peephole_l0`` (3H,), of i, f and o.
    coupled : bool
        ``f = 1 - i``: gates i, g and o only, and peepholes (2H,) of i and o.
    forget_bias : float
        What the forget gate's bias starts from.
    projection : int, optional
        Channels P of h, fewer than units: ``h' = W (o tanh(c'))`` (Sak et al. 2014, arXiv:1402.1128), W being the parameter
        ``weight_hr_l0`` (P, H).  Outputs are (T, N, P), of two directions (T, N, 2P), the state is ((L * D, N, P),
        (L * D, N, H)), and ``weight_hh_l0`` (4H, P).  Threads then share the sequences of a batch, never the units.
    normalized : bool
        Layer normalization (Ba, Kiros, Hinton 2016, arXiv:1607.06450, eq. 20-22): ``LN(W x) + LN(R h)``, each over all
        gates of all units, and ``h' = o tanh(LN(c'))``.  Biases come after it, as do the parameters ``gain_ih_l0``,
        ``gain_hh_l0`` (4H,), ``gain_c_l0`` and ``bias_c_l0`` (H,).  1e-5 is added to each variance.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.LSTM(8)
    >>> p = layer.init(channels=3, seed=0)
    >>> y, (h, c) = layer(p, np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape, c.shape
    ((5, 2, 8), (1, 2, 8), (1, 2, 8))
    >>> layer = nr.LSTM(8, projection=3)
    >>> y, (h, c) = layer(layer.init(channels=3, seed=0), np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape, c.shape
    ((5, 2, 3), (1, 2, 3), (1, 2, 8))
    """

    hidden: int
    layers: int = 1
    bidirectional: bool = False
    activation: ActivationSpec = "tanh"
    gate_activation: ActivationSpec = "sigmoid"
    output_activation: ActivationSpec = "tanh"
    peepholes: bool = False
    coupled: bool = False
    forget_bias: float = 1.0
    projection: int | None = None
    normalized: bool = False

    accepts: ClassVar = {"projection": optional(positive_integer)}

    def __post_init__(self):
        super().__post_init__()
        for name in ("peepholes", "coupled", "projection"):
            if self.normalized and getattr(self, name):
                raise ValueError(f"{name}: expected none together with normalized, got {getattr(self, name)!r}")
        if self.coupled and self.forget_bias != type(self).forget_bias:
            raise ValueError(
                f"forget_bias: expected {type(self).forget_bias} with coupled=True, which has no forget gate of its own,"
                f" got {self.forget_bias!r}"
            )
        if self.projection is not None and self.projection >= self.hidden:
            raise ValueError(
                f"projection: expected None or fewer than the {self.hidden} hidden units, got {self.projection}"
            )

    @property
    def unit_parameter(self):
        """What the parameter is called that holds the peepholes."""
        return "peephole" if self.peepholes else None

    @property
    def unit_parameters(self):
        return unit_parameters(self.cell, self.hidden) if self.normalized else super().unit_parameters

    @functools.cached_property
    def cell(self):
        if self.normalized:
            return NormalizedLSTMCell(**self._functions())
        return CELLS[self.peepholes, self.coupled](**self._functions(), projected=self.projection is not None)

    def fill_vector(self, name, view, random):
        if name.startswith("bias_ih") and "f" in self.cell.gates:
            view[self.cell.gates.index("f") * self.hidden :][: self.hidden] = self.forget_bias
