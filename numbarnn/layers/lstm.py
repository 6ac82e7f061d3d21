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
    """A long short-term memory: gates say what a memory cell forgets, takes in and shows.

    T steps, N batch, C input channels, H hidden units, L stacked layers, D directions.  One sequence takes each step by ::

        i = s(W_i x + b_ii + R_i h + b_hi)
        f = s(W_f x + b_if + R_f h + b_hf)
        g = a(W_g x + b_ig + R_g h + b_hg)
        o = s(W_o x + b_io + R_o h + b_ho)
        c' = f c + i g
        h' = o k(c')

    where x (C,) is the input of the step, h and c (H,) the state before it, h' and c' the state after it, i, f and o the
    input, forget and output gate, g the candidate, s the logistic function (`gate_activation`), a and k tanh (`activation`
    and `output_activation`), and products of vectors are taken unit by unit.

    Input x (T, N, C), output y (T, N, D * H) with the h' of every step, state the pair (h, c), each (L * D, N, H).
    Parameters of the first stacked layer, in the order i, f, g, o: ``weight_ih_l0`` W (4H, C), ``weight_hh_l0`` R (4H, H),
    ``bias_ih_l0`` and ``bias_hh_l0`` (4H,); `Recurrent` names the parameters of other layers.

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
        Gates also see c, each unit its own: ``p_i c`` is added for i, ``p_f c`` for f, ``p_o c'`` for o.  p is the
        parameter ``peephole_l0`` (3H,), in the order i, f, o.
    coupled : bool
        ``f = 1 - i``: gates i, g and o only, and peepholes (2H,) of i and o.
    forget_bias : float
        What the forget gate's bias starts from.
    projection : int, optional
        Channels P of h, fewer than units: ``h' = V (o k(c'))``, with V the parameter ``weight_hr_l0`` (P, H).
        Outputs are (T, N, P), of two directions (T, N, 2P), the state is ((L * D, N, P), (L * D, N, H)), and
        ``weight_hh_l0`` (4H, P).  Threads then share the sequences of a batch, never the units.
    normalized : bool
        Layer normalization: the four sums are ``LN(W x; gain_ih, bias_ih) + LN(R h; gain_hh, bias_hh)``, and
        ``h' = o k(LN(c'; gain_c, bias_c))``.  ``LN(a; gain, bias) = gain (a - m) / sqrt(v + 1e-5) + bias``, with m and v the
        mean and variance of a over all its gates and units.  Adds the parameters ``gain_ih_l0`` and ``gain_hh_l0`` (4H,),
        ``gain_c_l0`` and ``bias_c_l0`` (H,).

    References
    ----------
    Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; the forget gate: Gers et al. 2000,
    doi:10.1162/089976600300015015. `peepholes`: Gers et al. 2002, doi:10.1162/153244303768966139.  `coupled`: Greff et al.
    2017, doi:10.1109/TNNLS.2016.2582924. `projection`: Sak et al. 2014, arXiv:1402.1128.  `normalized`: Ba, Kiros and
    Hinton 2016, arXiv:1607.06450, eq. 20-22.

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
