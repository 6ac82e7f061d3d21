"""The long short-term memory layer."""

import functools
from dataclasses import dataclass

from ..cells import (
    ActivationSpec,
    CoupledLSTMCell,
    CoupledPeepholeLSTMCell,
    LSTMCell,
    NormalizedLSTMCell,
    PeepholeLSTMCell,
)
from ..errors import finite_number
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
    normalized : bool
        Layer normalization (Ba, Kiros, Hinton 2016, arXiv:1607.06450, eq. 20-22): ``LN(W x) + LN(R h)``, each over all
        gates of all units, and ``h' = o tanh(LN(c'))``.  Biases come after it, as do the parameters ``gain_ih_l0``,
        ``gain_hh_l0`` (4H,), ``gain_c_l0`` and ``bias_c_l0`` (H,).  1e-5 is added to each variance.
    clip, merge, residual, learned_state
        As in `Recurrent`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.LSTM(8)
    >>> p = layer.init(channels=3, seed=0)
    >>> y, (h, c) = layer(p, np.zeros((5, 2, 3), np.float32))
    >>> y.shape, h.shape, c.shape
    ((5, 2, 8), (1, 2, 8), (1, 2, 8))
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
    normalized: bool = False

    def __post_init__(self):
        super().__post_init__()
        for name in ("peepholes", "coupled", "normalized"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name}: expected True or False, got {getattr(self, name)!r}")
        for name in ("peepholes", "coupled"):
            if self.normalized and getattr(self, name):
                raise ValueError(f"{name}: expected False together with normalized, got True")
        finite_number("forget_bias", self.forget_bias)

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
        return CELLS[self.peepholes, self.coupled](**self._functions())

    def fill_vector(self, name, view, random):
        if name.startswith("bias_ih") and "f" in self.cell.gates:
            view[self.cell.gates.index("f") * self.hidden :][: self.hidden] = self.forget_bias
