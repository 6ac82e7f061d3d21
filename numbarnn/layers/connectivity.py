"""What is imposed on the recurrent weights: which connections there are, the signs of units, and how they are drawn."""

import operator

import numpy as np

from ..arrays.conversion import numbers_like
from ..arrays.devices import backend_of, device_of, expect_finite, moved
from ..arrays.ieee import ieee
from ..descriptions.fields import Settled
from ..errors import ShapeError, finite_number, flag, integer, positive_integer
from ..parameters import Parameters

_product = ieee(operator.mul)


class Connectivity(Settled):
    """What is imposed on a layer's recurrent weights, and how they are drawn; the same for every gate.

    R is ``mask * W``, or ``mask * signs * |W|``.  The parameters hold W, an optimizer changes W, and gradients are with
    respect to W (Song et al. 2016, doi:10.1371/journal.pcbi.1004792, eq. 11-14).

    `density`, `spectral_radius`, `rank` and `balanced` say how `init` draws W, as of a reservoir: normal numbers of variance
    1 / (connections of a unit), of which R then gets what is said here.  Without them a layer draws as ever.

    Parameters
    ----------
    mask : array of bool or float, optional
        (H, H): the factor of the connection from unit j to unit i at ``[i, j]``, 0 for none.
    signs : array of int, optional
        (H,): 1 for a unit that excites, -1 for one that inhibits all that it is connected to (Dale's law).
    density : float, optional
        In the place of a mask: the part of all H * H connections that there are, drawn by `seed`; the others stay 0.
    spectral_radius : float, optional
        The largest absolute value of the eigenvalues of R at first (Jaeger 2001, GMD Report 148).
    rank : int, optional
        R is the product of (H, rank) and (rank, H) at first, normal numbers both (Mastrogiuseppe and Ostojic 2018,
        doi:10.1016/j.neuron.2018.07.003).
    balanced : bool
        The weights of all that come to a unit add up to 0 at first: those that inhibit are scaled to it (Rajan and Abbott
        2006, doi:10.1103/PhysRevLett.97.188104).
    input_scaling : float, optional
        The input weights are this number or its opposite at first, as likely as not.
    input_density : float, optional
        The part of the input weights that are not 0 at first; training may change the others.
    seed : int
        Which of all H * H connections there are: the same ones for each gate, each stacked layer and each seed of `init`.

    Raises
    ------
    TypeError, DTypeError, ShapeError, ValueError
        If an array or a number is not as described, nothing is given, or what is given excludes each other.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> dale = nr.Connectivity(mask=1 - np.eye(4), signs=[1, 1, 1, -1])
    >>> layer = nr.LeakyRNN(4, rate=0.2, connectivity=dale)
    >>> p = layer.init(channels=2, seed=0)
    >>> dale.applied(p["weight_hh_l0"])[:, 3] <= 0
    array([ True,  True,  True,  True])

    The recurrent weights of a reservoir:

    >>> sparse = nr.Connectivity(density=0.1, spectral_radius=0.9)
    >>> p = nr.LeakyRNN(50, rate=0.3, connectivity=sparse).init(channels=1, seed=0, dtype="float64")
    >>> r = sparse.applied(p["weight_hh_l0"])
    >>> int((r != 0).sum()), float(np.abs(np.linalg.eigvals(r)).max().round(6))
    (250, 0.9)
    """

    settled = (
        "mask", "signs", "density", "spectral_radius", "rank", "balanced", "input_scaling", "input_density", "seed",
    )  # fmt: skip

    def __init__(
        self,
        mask=None,
        signs=None,
        *,
        density=None,
        spectral_radius=None,
        rank=None,
        balanced=False,
        input_scaling=None,
        input_density=None,
        seed=0,
    ):
        self.mask = None if mask is None else numbers_like("mask", mask, np.dtype(np.float64)).copy()
        self.signs = None if signs is None else numbers_like("signs", signs, np.dtype(np.float64)).copy()
        self.density = None if density is None else _part("density", density)
        self.spectral_radius = (
            None if spectral_radius is None else finite_number("spectral_radius", spectral_radius, above=0)
        )
        self.rank = None if rank is None else positive_integer("rank", rank)
        self.balanced = flag("balanced", balanced)
        self.input_scaling = None if input_scaling is None else finite_number("input_scaling", input_scaling, above=0)
        self.input_density = None if input_density is None else _part("input_density", input_density)
        self.seed = integer("seed", seed, "an integer >= 0")
        self._check_mask_and_signs()
        self._check_together()
        for array in (self.mask, self.signs):
            if array is not None:
                array.flags.writeable = False  # layers are told apart by what it holds
        held = (getattr(self, name) for name in self.settled)
        self._bits = tuple(value.tobytes() if isinstance(value, np.ndarray) else value for value in held)
        self._drawn = {}  # the mask of so many units

    def _check_mask_and_signs(self):
        """Raise unless the arrays are as described."""
        mask, signs = self.mask, self.signs
        if mask is not None and (mask.ndim != 2 or mask.shape[0] != mask.shape[1]):
            raise ShapeError(f"mask: expected shape (H, H), got {mask.shape}")
        if mask is not None:
            expect_finite("mask", mask, error=ValueError)
        if signs is not None and signs.ndim != 1:
            raise ShapeError(f"signs: expected shape (H,), got {signs.shape}")
        if signs is not None and not np.isin(signs, (-1, 1)).all():
            raise ValueError(f"signs: expected 1 and -1, got {np.setdiff1d(signs, (-1, 1))[0]:g}")
        if mask is not None and signs is not None and len(mask) != len(signs):
            raise ShapeError(f"signs: expected {len(mask)} signs like the mask's units, got {len(signs)}")

    def _check_together(self):
        """Raise ValueError if nothing is given, or what excludes each other."""
        if not (self.constrains or self.draws or self.draws_input):
            raise ValueError("mask: expected a mask, signs, or both, or how weights are drawn, got neither")
        if self.seed < 0:
            raise ValueError(f"seed: expected an integer >= 0, got {self.seed}")
        if self.density is not None and self.mask is not None:
            raise ValueError(f"density: expected None beside a mask, which says what is connected, got {self.density!r}")
        if self.rank is not None and self.constrains:
            what = "a mask, signs or a density, under which no weights are of that rank"
            raise ValueError(f"rank: expected None beside {what}, got {self.rank}")
        if self.balanced and self.signs is None:
            raise ValueError("balanced: expected False without signs, since no unit is known to inhibit, got True")
        if self.seed and self.density is None:
            raise ValueError(f"seed: expected 0 without a density, since it draws nothing else, got {self.seed}")

    def check_units(self, hidden):
        """Raise ShapeError unless it is for a layer of so many units."""
        if self.hidden not in (None, hidden):
            raise ShapeError(f"connectivity: expected {hidden} units, got {self.hidden}")
        if self.rank is not None and self.rank > hidden:
            raise ShapeError(f"connectivity: expected a rank of {hidden} at most, the units, got {self.rank}")

    @property
    def hidden(self) -> int | None:
        """H; None where it is for any number of units."""
        known = self.signs if self.mask is None else self.mask
        return None if known is None else len(known)

    @property
    def constrains(self):
        """Whether R is another matrix than W."""
        return self.mask is not None or self.signs is not None or self.density is not None

    @property
    def draws(self):
        """Whether it says how recurrent weights are drawn."""
        return self.density is not None or self.spectral_radius is not None or self.rank is not None or self.balanced

    @property
    def draws_input(self):
        """Whether it says how input weights are drawn."""
        return self.input_scaling is not None or self.input_density is not None

    def _mask_of(self, hidden):
        """The mask (H, H): the one given, or drawn; ones if all are connected."""
        if self.density is None:
            return np.ones((hidden, hidden)) if self.mask is None else self.mask
        if hidden not in self._drawn:
            # Raw bits, which NumPy promises never to change, as it does not of what a Generator makes of them.
            raw = np.random.PCG64(self.seed).random_raw(hidden * hidden)
            count = max(1, round(self.density * raw.size))
            self._drawn[hidden] = (raw <= np.partition(raw, count - 1)[count - 1]).reshape(hidden, hidden).astype(float)
        return self._drawn[hidden]

    def factor(self, weight: np.ndarray) -> np.ndarray:
        """What a weight (G H, H) is multiplied with, and its gradient too: ``mask``, or ``mask * signs * sign(W)``."""
        hidden = weight.shape[1]
        mask = self._mask_of(hidden)
        factor = np.tile(mask if self.signs is None else mask * self.signs, (len(weight) // hidden, 1))
        factor = moved(factor.astype(weight.dtype), device_of(weight))
        return factor if self.signs is None else np.where(weight < 0, -factor, factor)

    def applied(self, weight: np.ndarray) -> np.ndarray:
        """R from a weight W, (G H, H)."""
        return _product(self.factor(weight), weight)

    def __reduce__(self):
        return _made, ({name: getattr(self, name) for name in self.settled},)

    def __eq__(self, other):
        return isinstance(other, Connectivity) and self._bits == other._bits

    def __hash__(self):
        return hash(self._bits)

    def __repr__(self):
        parts = [] if self.mask is None else [f"{np.count_nonzero(self.mask)} of {self.mask.size} connections"]
        parts += [] if self.signs is None else [f"{np.count_nonzero(self.signs < 0)} of {self.hidden} units inhibit"]
        numbers = {name: getattr(self, name) for name in self.settled[2:]}
        parts += [f"{name}={value!r}" for name, value in numbers.items() if value is not None and value is not False]
        return f"Connectivity({', '.join(parts if self.seed else [part for part in parts if part != 'seed=0'])})"


def _made(values):
    """A Connectivity of the arguments of its constructor, by name: what a copy is made of."""
    return Connectivity(**values)


def _part(argument, value):
    """`value` as a float, if it is greater than 0 and 1 at most; else TypeError or ValueError."""
    number = finite_number(argument, value, above=0)
    if number > 1:
        raise ValueError(f"{argument}: expected a part, greater than 0 and 1 at most, got {value!r}")
    return number


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
                factor = self.layer.connectivity.factor(self.p[name]) if self.layer.constrained else 1
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

    def add_fill(self, program):
        """Add to a program that the weights are computed; False if a program cannot do it."""
        return False

    def add_take_back(self, program, gradient, into, accumulate):
        """Add to a program that dL/dW is added to `into`, and that the gradient is modified; False if it cannot."""
        if program.anew or not accumulate:
            return False
        elementwise = backend_of(into.flat).elementwise
        for name, factor in self.factors.items():
            elementwise.add_product(program, gradient[name].T, np.ascontiguousarray(factor.T), gradient[name].T)
        elementwise.add_sum(program, into.flat, gradient.flat, into.flat)
        return True
