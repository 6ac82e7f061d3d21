"""What is imposed on the recurrent weights: which connections there are, and the signs of units."""

import operator

import numpy as np

from ..arrays.conversion import numbers_like
from ..arrays.devices import backend_of, device_of, moved
from ..arrays.ieee import ieee
from ..descriptions.fields import Settled
from ..errors import ShapeError
from ..parameters import Parameters

_product = ieee(operator.mul)


class Connectivity(Settled):
    """Constraints on a layer's recurrent weights, the same for every gate: R is ``mask * W``, or ``mask * signs * |W|``.

    The parameters hold W, an optimizer changes W, and gradients are with respect to W (Song et al. 2016,
    doi:10.1371/journal.pcbi.1004792, eq. 11-14).

    Parameters
    ----------
    mask : array of bool or float, optional
        (H, H): the factor of the connection from unit j to unit i at ``[i, j]``, 0 for none.
    signs : array of int, optional
        (H,): 1 for a unit that excites, -1 for one that inhibits all that it is connected to (Dale's law).

    Raises
    ------
    TypeError, DTypeError, ShapeError, ValueError
        If an array is not as described, or neither is given.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> dale = nr.Connectivity(mask=1 - np.eye(4), signs=[1, 1, 1, -1])
    >>> layer = nr.LeakyRNN(4, rate=0.2, connectivity=dale)
    >>> p = layer.init(channels=2, seed=0)
    >>> dale.applied(p["weight_hh_l0"])[:, 3] <= 0
    array([ True,  True,  True,  True])
    """

    settled = ("mask", "signs")

    def __init__(self, mask=None, signs=None):
        if mask is None and signs is None:
            raise ValueError("mask: expected a mask, signs, or both, got neither")
        self.mask = None if mask is None else numbers_like("mask", mask, np.dtype(np.float64)).copy()
        self.signs = None if signs is None else numbers_like("signs", signs, np.dtype(np.float64)).copy()
        if mask is not None and (self.mask.ndim != 2 or self.mask.shape[0] != self.mask.shape[1]):
            raise ShapeError(f"mask: expected shape (H, H), got {self.mask.shape}")
        if mask is not None and not np.isfinite(self.mask).all():
            raise ValueError("mask: expected finite numbers, got some that are not")
        if signs is not None and self.signs.ndim != 1:
            raise ShapeError(f"signs: expected shape (H,), got {self.signs.shape}")
        if signs is not None and not np.isin(self.signs, (-1, 1)).all():
            raise ValueError(f"signs: expected 1 and -1, got {np.setdiff1d(self.signs, (-1, 1))[0]:g}")
        if mask is not None and signs is not None and len(self.mask) != len(self.signs):
            raise ShapeError(f"signs: expected {len(self.mask)} signs like the mask's units, got {len(self.signs)}")
        for array in (self.mask, self.signs):
            if array is not None:
                array.flags.writeable = False  # layers are told apart by what it holds
        self._bits = tuple(None if a is None else a.tobytes() for a in (self.mask, self.signs))

    @property
    def hidden(self) -> int:
        """H."""
        return len(self.signs if self.mask is None else self.mask)

    def factor(self, weight: np.ndarray) -> np.ndarray:
        """What a weight (G H, H) is multiplied with, and its gradient too: ``mask``, or ``mask * signs * sign(W)``."""
        factor = np.ones((self.hidden, self.hidden)) if self.mask is None else self.mask
        factor = np.tile(factor if self.signs is None else factor * self.signs, (len(weight) // self.hidden, 1))
        factor = moved(factor.astype(weight.dtype), device_of(weight))
        return factor if self.signs is None else np.where(weight < 0, -factor, factor)

    def applied(self, weight: np.ndarray) -> np.ndarray:
        """R from a weight W, (G H, H)."""
        return _product(self.factor(weight), weight)

    def __reduce__(self):
        return type(self), (self.mask, self.signs)

    def __eq__(self, other):
        return isinstance(other, Connectivity) and self._bits == other._bits

    def __hash__(self):
        return hash(self._bits)

    def __repr__(self):
        parts = [] if self.mask is None else [f"{np.count_nonzero(self.mask)} of {self.mask.size} connections"]
        parts += [] if self.signs is None else [f"{np.count_nonzero(self.signs < 0)} of {self.hidden} units inhibit"]
        return f"Connectivity({', '.join(parts)})"


class EffectiveWeights:
    """The parameters that kernels read in the place of a layer's own: recurrent weights multiplied with their factors.

    Attributes
    ----------
    parameters : Parameters
        Written by `fill`.
    """

    def __init__(self, layer, p, masks):
        self.layer, self.p, self.masks = layer, p, masks
        self.parameters = p.copy()
        self.factors = {}
        self.fill()

    @ieee
    def fill(self):
        """Compute the weights from the parameters and the masks as they are now."""
        np.copyto(self.parameters.flat, self.p.flat)
        for index in range(self.layer.layers):
            dropped = None if self.masks is None else self.masks.get(f"weight_l{index}")
            for d, suffix in enumerate(self.layer.suffixes(index)):
                name = f"weight_hh_{suffix}"
                factor = 1 if self.layer.connectivity is None else self.layer.connectivity.factor(self.p[name])
                self.factors[name] = factor if dropped is None else factor * dropped[d]
                np.multiply(self.parameters[name], self.factors[name], out=self.parameters[name])

    @ieee
    def moved(self, dp):
        """How the weights that kernels read move, as Parameters, where the layer's own move by `dp`."""
        found = Parameters(dp.flat.copy(), dp.weights)
        for name, factor in self.factors.items():
            found[name] *= factor
        return found

    @ieee
    def take_back(self, gradient, into, accumulate):
        """Write, or add, dL/dW to `into` (is modified), from the gradient with respect to R, which is modified too."""
        for name, factor in self.factors.items():
            gradient[name][...] *= factor
        into.flat[...] = into.flat + gradient.flat if accumulate else gradient.flat

    def add_take_back(self, program, gradient, into):
        """Add to a program that dL/dW is added to `into`, and that the gradient is modified; whether that could be done."""
        elementwise = backend_of(into.flat).elementwise
        for name, factor in self.factors.items():
            elementwise.add_product(program, gradient[name].T, np.ascontiguousarray(factor.T), gradient[name].T)
        elementwise.add_sum(program, into.flat, gradient.flat, into.flat)
        return True
