"""The gated recurrent layer for series with gaps and irregular times: GRU-D."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays.devices import moved
from ..cells import ActivationSpec, DecayedCell, GRUAfterCell, around
from ..descriptions.fields import one_or_each
from ..errors import ShapeError, finite_number
from ..parameters import Parameters, Weight
from .decayed import ALL, Block, DecayedWeights
from .distributions import uniform
from .gaps import InputDecay
from .recurrence import INITIAL
from .recurrent import Recurrent

BLOCKS = 3  # of x: values, masks, spans


@dataclass(frozen=True, repr=False)
class GRUD(Recurrent):
    """A GRU for series with gaps and irregular times: where a value is missing it decays to a mean, and the state decays.

    T steps, N batch, C variables, H hidden units.  x (T, N, 3 C) has of each variable the value v, or the last one that was
    observed; the mask m, 1 where it is observed and 0 where it is missing; and the span d, the time since it was last
    observed.  `numbarnn.observed` makes it of arrays with NaN.  One sequence takes each step by ::

        u = exp(-max(0, w d + b_dx))
        x = m v + (1 - m) (u v + (1 - u) mean)
        g = exp(-max(0, D d + b_dh))
        k = g h
        r = s(W_r x + V_r m + b_ir + R_r k + b_hr)
        z = s(W_z x + V_z m + b_iz + R_z k + b_hz)
        n = a(W_n x + V_n m + b_in + P k + r (R_n k + b_hn))
        h' = (1 - z) n + z k

    where h (H,) is the state before the step, k what is left of it, h' the state after it, r the reset gate, z the update
    gate, n the candidate, s the logistic function (`gate_activation`), a tanh (`activation`), and products of vectors are
    taken unit by unit.  P is there with `past` alone.

    Output y (T, N, H) with the h' of every step, state h (1, N, H).  Parameters, in the order r, z, n: ``weight_ih_l0`` W
    (3H, C), ``weight_mh_l0`` V (3H, C), ``weight_hh_l0`` R (3H, H), ``bias_ih_l0`` and ``bias_hh_l0`` (3H,); and
    ``weight_dh_l0`` D (H, C), ``bias_dh_l0`` (H,), ``weight_dx_l0`` w (C,), ``bias_dx_l0`` (C,), with `past`
    ``weight_ph_l0`` P (H, H).

    Where w, D, V and the biases of the decays are 0, it is the GRU of reset "after" on x, bit by bit; w and D then have no
    gradient, and so they start from positive numbers.

    Parameters
    ----------
    hidden : int
        Units H.
    mean : float or tuple of float
        What a missing value decays to, of all variables or one for each: 0 of standardized ones.
    past : bool
        n sees k past the reset gate too, as in PyPOTS.
    activation, gate_activation : str, tuple or ActivationFunction
        Of n, and of r and z: a name, or ``(name, alpha)`` or ``(name, alpha, beta)``; `numbarnn.Activation` lists them.

    Raises
    ------
    ShapeError
        For input channels that are not three for each variable, or for another number of means.

    References
    ----------
    Che et al. 2018, doi:10.1038/s41598-018-24271-9, eq. 10-17, with the reset gate after the product with R, as in cuDNN and
    PyPOTS, not before it.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> values = np.array([[1.0, 2.0], [np.nan, 3.0], [4.0, np.nan]])[:, None]  # T, N, C
    >>> x = nr.observed(values, times=[0.0, 0.5, 2.0])
    >>> layer = nr.GRUD(8)
    >>> p = layer.init(channels=6, seed=0, dtype="float64")
    >>> layer(p, x)[0].shape
    (3, 1, 8)
    """

    hidden: int
    mean: float | tuple[float, ...] = 0.0
    past: bool = False
    activation: ActivationSpec = "tanh"
    gate_activation: ActivationSpec = "sigmoid"

    accepts: ClassVar = {"mean": one_or_each(finite_number)}
    layers, bidirectional = 1, False

    def __post_init__(self):
        super().__post_init__()
        for name in ("decay", "input_dropout", "weight_drop", "connectivity"):
            if getattr(self, name):
                raise ValueError(f"{name}: expected none of a {type(self).__name__}, got {getattr(self, name)!r}")

    spread = True

    @functools.cached_property
    def cell(self):
        return around(DecayedCell, GRUAfterCell(**self._functions()), self.past)

    def _variables(self, channels):
        """The number of variables in x of `channels` channels; ShapeError if it is no whole number."""
        if channels % BLOCKS:
            raise ShapeError(
                f"channels: expected {BLOCKS} for each variable, its values, masks and spans, see numbarnn.observed, "
                f"got {channels}"
            )
        if isinstance(self.mean, tuple) and len(self.mean) != channels // BLOCKS:
            raise ShapeError(f"mean: expected a number or one for each of {channels // BLOCKS} variables, got {self.mean}")
        return channels // BLOCKS

    @functools.lru_cache(maxsize=1024)  # noqa: B019 (layers are small and equal ones share an entry)
    def weights(self, channels):
        variables, hidden = self._variables(channels), self.hidden
        parts = [
            Weight("weight_ih_l0", variables, 3 * hidden),
            Weight("weight_mh_l0", variables, 3 * hidden),
            Weight("weight_hh_l0", hidden, 3 * hidden),
            Weight("bias_ih_l0", None, 3 * hidden),
            Weight("bias_hh_l0", None, 3 * hidden),
            Weight("weight_dh_l0", variables, hidden),
            Weight("bias_dh_l0", None, hidden),
            Weight("weight_dx_l0", None, variables),
            Weight("bias_dx_l0", None, variables),
        ]
        parts += [Weight("weight_ph_l0", hidden, hidden)] if self.past else []
        parts += [Weight(f"{INITIAL[0]}_l0", None, hidden)] if self.learned_state else []
        return tuple(parts)

    def _value_channels(self, channels):
        return channels // BLOCKS

    def _span_channels(self, channels):
        return slice(channels // BLOCKS * (BLOCKS - 1), channels)

    def has_parameters(self, p):
        first = p.weights[0].inputs if p.weights else None
        fits = not isinstance(self.mean, tuple) or len(self.mean) == first
        return bool(first) and fits and self.weights(BLOCKS * first) == p.weights

    def _expected(self, p):
        channels = BLOCKS * (p[p.names[0]].shape[-1] if isinstance(p, Parameters) and p.names else 1)
        self.check_parameters(p, channels)
        return channels, p.dtype, p.device

    def fill(self, parameters, random, scheme):
        super().fill(parameters, random, scheme)
        if scheme != "pytorch":  # where the argument of a decay is negative, nothing decays, and nothing is learned
            for name in ("weight_dh_l0", "weight_dx_l0"):
                parameters[name][...] = np.abs(uniform(random, parameters[name].shape, self.hidden))

    def means(self, variables, dtype):
        """The values (variables,) to which missing ones decay."""
        return np.broadcast_to(np.asarray(self.mean, dtype), (variables,)).copy()

    def prepare(self, chain, p, keep):
        mean = moved(self.means(chain.source.channels // BLOCKS, p.dtype), p.device)
        chain.append(InputDecay(chain.outputs, p, ("weight_dx_l0", "bias_dx_l0"), mean, keep))

    def effective_weights(self, p, masks):
        channels = BLOCKS * p["weight_ih_l0"].shape[1]
        return DecayedWeights(p, self._weights(channels, self.cell), self._blocks(channels // BLOCKS))

    def _blocks(self, variables):
        """Where the parameters stand in what kernels read: rows r, z, n and the decay, columns x, m, d."""
        gates, decay = slice(3 * self.hidden), slice(3 * self.hidden, None)
        x, m, d = (slice(i * variables, (i + 1) * variables) for i in range(BLOCKS))
        blocks = [
            Block("weight_ih_l0", "weight_ih_l0", gates, x),
            Block("weight_mh_l0", "weight_ih_l0", gates, m),
            Block("weight_dh_l0", "weight_ih_l0", decay, d),
            Block("weight_hh_l0", "weight_hh_l0", gates, ALL),
            Block("bias_ih_l0", "bias_ih_l0", gates),
            Block("bias_dh_l0", "bias_ih_l0", decay),
            Block("bias_hh_l0", "bias_hh_l0", gates),
        ]
        blocks += [Block("weight_ph_l0", "weight_hh_l0", decay, ALL)] if self.past else []
        blocks += [Block("initial_h_l0", "initial_h_l0")] if self.learned_state else []
        return tuple(blocks)
