"""What is dropped, kept or added at random inside a recurrent layer, and what is imposed on its weights."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..arrays.devices import moved
from ..cells import PerturbedCell, PerturbedMemoryCell, RecurrentDropoutCell, around
from ..descriptions.fields import instance_of, one_or_each, optional
from ..errors import rate
from .connectivity import Connectivity, EffectiveWeights
from .masks import Drawn, drawings, drive


@dataclass(frozen=True, repr=False)
class Regularized(Drawn):
    """The part of a recurrent layer that is drawn for a call, or imposed on the recurrent weights.

    Dropout, zoneout and noise are drawn where a call is given a `seed`, and by `Network.fit`; else their mean is taken.

    Parameters
    ----------
    dropout : float
        Rate at which the outputs of each stacked layer but the last are dropped, anew at each step.  This, and all else
        that is random, is drawn where a call is given a `seed`, and by `Network.fit`; else its mean is taken.
    input_dropout, recurrent_dropout : float
        Rates at which the inputs of each stacked layer, and the h that R multiplies, are dropped: the same ones at each
        step of a sequence (variational dropout, Gal and Ghahramani 2016, arXiv:1512.05287).
    zoneout : float or tuple of two
        Rate at which a unit's h stays what it was, for an LSTM (of h, of c) (Krueger et al. 2017, arXiv:1606.01305).
    weight_drop : float
        Rate at which recurrent weights are dropped, for a whole call (Merity et al. 2018, arXiv:1708.02182).
    noise : float
        Standard deviation of normal noise that is added to h at each step.
    connectivity : Connectivity, optional
        Which recurrent connections there are, the signs of units, and how the weights are drawn.
    """

    dropout: float = field(default=0.0, kw_only=True)
    input_dropout: float = field(default=0.0, kw_only=True)
    recurrent_dropout: float = field(default=0.0, kw_only=True)
    zoneout: float | tuple[float, float] = field(default=0.0, kw_only=True)
    weight_drop: float = field(default=0.0, kw_only=True)
    noise: float = field(default=0.0, kw_only=True)
    connectivity: Connectivity | None = field(default=None, kw_only=True)

    accepts: ClassVar = {
        "dropout": rate,
        "input_dropout": rate,
        "recurrent_dropout": rate,
        "zoneout": one_or_each(rate),
        "weight_drop": rate,
        "connectivity": optional(instance_of(Connectivity)),
    }

    def check_regularization(self):
        """Raise for an option that the cell has no use for, and for options that exclude each other."""
        if isinstance(self.zoneout, tuple) and len(self.zoneout) != 2:
            raise ValueError(f"zoneout: expected a rate or a pair of rates, of h and of c, got {self.zoneout!r}")
        if self.cell.states == 1 and isinstance(self.zoneout, tuple):
            raise ValueError(f"zoneout: expected one rate, since {type(self).__name__} has no c, got {self.zoneout!r}")
        if self.noise < 0:
            raise ValueError(f"noise: expected a standard deviation >= 0, got {self.noise!r}")
        if self.recurrent_dropout and bool(self.cell.recurrent_slots) == bool(self.cell.gated_slots):
            raise ValueError(
                f"recurrent_dropout: expected 0, since the weights of {self!r} do not all multiply the same thing, got "
                f"{self.recurrent_dropout!r}"
            )
        for name in ("recurrent_dropout", "zoneout", "noise", "connectivity"):
            if self.projection and getattr(self, name):
                raise ValueError(f"{name}: expected none together with a projection, got {getattr(self, name)!r}")
            if self.cell.normalized_values and name != "connectivity" and getattr(self, name):
                raise ValueError(f"{name}: expected none together with normalized, got {getattr(self, name)!r}")
        for name in ("weight_drop", "connectivity"):
            if getattr(self, name) and not self.recurrent_matrix:
                raise ValueError(f"{name}: expected none, since {type(self).__name__} has no recurrent matrix")
        if self.connectivity is not None:
            self.connectivity.check_units(self.hidden)

    @property
    def constrained(self):
        """Whether a connectivity makes other recurrent weights than the parameters hold."""
        return self.connectivity is not None and self.connectivity.constrains

    @property
    def zoneout_rates(self):
        """The rates of h and of c; of c 0 where there is none."""
        if isinstance(self.zoneout, tuple):
            return self.zoneout
        return self.zoneout, self.zoneout if self.cell.states > 1 else 0.0

    @property
    def random(self):
        """Whether there is anything to draw."""
        names = ("dropout", "input_dropout", "recurrent_dropout", "weight_drop", "noise")
        return any(self.zoneout_rates) or any(getattr(self, name) for name in names)

    def drawings(self, steps, batch, channels):
        """{name: (shape, function of a Generator and a shape)} of all that is drawn for one call."""
        return drawings(self, steps, batch, channels)

    def optional_masks(self, steps, batch):
        """{name: shape} of what may be given besides: noise."""
        noisy = 0 if self.projection or self.cell.normalized_values else self.layers
        return {f"noise_l{index}": (steps, batch, self.directions * self.hidden) for index in range(noisy)}

    def driven(self, masks, layer, packing, dtype, device):
        """(cell, drives) of one stacked layer: what is drawn for each step, or its mean."""
        if masks is None and not self.zoneout:
            return self.stepping_cell, []
        steps, batch = packing.total, packing.sequences
        wide = self.directions * self.hidden
        cell, arrays = self.stepping_cell, []
        noise = None if masks is None else masks.get(f"noise_l{layer}")
        if any(self.zoneout_rates) or noise is not None:
            cell = around(PerturbedCell if cell.states == 1 else PerturbedMemoryCell, cell)
            for name, rate in zip(("zoneout_h", "zoneout_c")[: cell.states], self.zoneout_rates):
                drawn = None if masks is None else masks.get(f"{name}_l{layer}")
                arrays.append(np.full(wide, rate, dtype) if drawn is None else drawn)
            arrays.append(np.zeros(wide, dtype) if noise is None else noise)
        mask = None if masks is None else masks.get(f"recurrent_l{layer}")
        if mask is not None:
            cell = around(RecurrentDropoutCell, cell)
            arrays.append(mask)
        return cell, [drive(moved(array, device), packing, steps, batch) for array in arrays]

    def effective_weights(self, p, masks):
        """The EffectiveWeights that kernels read in the place of `p`, or None where they read `p` itself."""
        constrained = self.constrained or (masks is not None and self.weight_drop)
        return EffectiveWeights(self, p, masks) if constrained else None
