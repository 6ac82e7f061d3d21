"""What of an input is given, and what is the network's own output of the step before."""

from hashlib import blake2b

import numpy as np

from ..arrays.conversion import numbers_like
from ..descriptions.fields import Settled
from ..errors import NonFiniteError, ShapeError, flag, positive_integer

AXES = {0: "a number", 1: "(T,)", 2: "(T, N)", 3: "(T, N, O)"}


class Feedback(Settled):
    """Inputs made of what is given and of the output of the step before: teacher forcing, and free running.

    T steps, N batch, C input channels, O output channels, the first O channels of the input being those of the output.
    At each step but the first the network reads ::

        x'[t] = a[t] x[t] + (1 - a[t]) y[t - 1]

    in its first O channels, where x (T, N, C) is what is given, y (T, N, O) what the network writes, and a the strength of
    forcing: 1 for what is given, as in an ordinary pass (teacher forcing), 0 for the network's own prediction (free run),
    and 0 or 1 by a mask for scheduled sampling (Bengio et al. 2015).  The other channels, and all of the first step, are
    read as they are given.  Gradients are exact: they go back through the outputs that were fed.

    It is the *input* that is forced here.  Sparse and generalized teacher forcing as Brenner et al. (2022) and Hess et al.
    (2023) have them, from whom the interval and the strength are taken, force the latent *state*, with an estimate of it
    from the data: the same idea, and another algorithm.

    Parameters
    ----------
    forcing : float or array
        a, from 0 to 1: a number, or one for each step (T,), for each of each sequence (T, N), or for each number (T, N, O),
        in this order whatever the layout is.  A bool array is a mask: True where the input is given.
    every : int, optional
        At every so-manieth step from the first on the input is given, whatever `forcing` says: sparse teacher forcing.
    missing : bool
        NaN in x is not observed, and the network's output stands in for it (a is 0 there).  Not at the first step.

    Raises
    ------
    TypeError, DTypeError, ShapeError, ValueError
        If an argument is not as described.

    References
    ----------
    Williams and Zipser 1989, doi:10.1162/neco.1989.1.2.270 (teacher forcing); Bengio et al. 2015, arXiv:1506.03099
    (scheduled sampling); Brenner et al. 2022, arXiv:2207.02542, and Mikhaeil et al. 2022, arXiv:2110.07238 (sparse teacher
    forcing); Hess et al. 2023, arXiv:2306.04406 (generalized teacher forcing).

    Examples
    --------
    A network that is trained to go on by itself, with a value from the data at every tenth step:

    >>> import numpy as np, numbarnn as nr
    >>> series = np.sin(np.arange(101, dtype=np.float32) / 5)[:, None]
    >>> net = nr.Network([nr.GRU(8), nr.Dense(1)], channels=1, seed=0)
    >>> sparse = nr.Feedback(every=10)
    >>> history = net.fit(series[:-1], series[1:], feedback=sparse, epochs=50, optimizer=nr.Adam(0.02), progress=False)
    >>> history.loss[-1] < 0.2 * history.loss[0]
    True

    A free run is one from the first value, and the same as `Stream.feed_back`:

    >>> y, state = net(series[:-1], feedback=nr.Feedback(0.0))
    >>> np.array_equal(y, net.stream().feed_back(series[:1], 100)[:, 0])
    True
    """

    settled = ("forcing", "every", "missing")

    def __init__(self, forcing: "float | np.ndarray" = 0.0, every: int | None = None, missing: bool = False):
        if isinstance(forcing, (bool, np.bool_)):
            raise TypeError(f"forcing: expected a number from 0 to 1, or an array, got {forcing!r}")
        if isinstance(forcing, np.ndarray) and forcing.dtype == bool:
            forcing = forcing.astype(np.float64)
        array = numbers_like("forcing", forcing, np.dtype(np.float64)).copy()
        if array.ndim > 3:
            raise ShapeError(f"forcing: expected a number or up to 3 axes (T, N, O), got {array.ndim} (shape {array.shape})")
        wrong = ~((array >= 0) & (array <= 1))
        if wrong.any():
            raise ValueError(f"forcing: expected numbers from 0 to 1, got {array[wrong][0]:g}")
        array.flags.writeable = False  # what it was said to be
        self.forcing = array
        self.every = None if every is None else positive_integer("every", every)
        self.missing = flag("missing", missing)

    def __repr__(self):
        shown = f"{self.forcing:g}" if self.forcing.ndim == 0 else f"array of shape {self.forcing.shape}"
        every = "" if self.every is None else f", every={self.every}"
        return f"Feedback({shown}{every}{', missing=True' * self.missing})"

    def __eq__(self, other):
        return type(other) is Feedback and self._key == other._key

    def __hash__(self):
        return hash(self._key)

    @property
    def _told(self):
        """What a file says of it: no other one that has other strengths is told likewise."""
        digest = blake2b(self.forcing, digest_size=8).hexdigest()
        return repr(self) if self.forcing.ndim == 0 else f"{self!r} of digest {digest}"

    @property
    def _key(self):
        return self.forcing.shape, self.forcing.tobytes(), self.every, self.missing

    def __setstate__(self, state):
        """A copy, or what a pickle holds, has an array that cannot be written to either."""
        self.__dict__.update(state)
        self.forcing.flags.writeable = False

    def _check_sizes(self, steps, batch, outputs):
        """Raise ShapeError unless `forcing` goes with so many steps, sequences and output channels."""
        shape = self.forcing.shape
        expected = (steps, batch, outputs)[: len(shape)]
        if shape != expected:
            raise ShapeError(f"feedback: expected forcing of shape {expected} {AXES[len(shape)]}, got {shape}")

    def strengths(self, x: np.ndarray, outputs: int) -> np.ndarray:
        """a of every number that is fed, (T, N, O): 1 at the first step, and 0 where one is missing.

        Parameters
        ----------
        x : numpy.ndarray
            (T, N, C): what is given.
        outputs : int
            O.

        Returns
        -------
        numpy.ndarray
            (T, N, O), new, of the dtype of x.

        Raises
        ------
        ShapeError
            If `forcing` is not of so many steps, sequences and channels.
        NonFiniteError
            If a number that is read is NaN and `missing` is False, or of the first step.
        """
        self._check_sizes(*x.shape[:2], outputs)
        a = self.forcing.astype(x.dtype)
        a = a.reshape(*a.shape, *(1,) * (3 - a.ndim)) if a.ndim else a
        found = np.empty((*x.shape[:2], outputs), x.dtype)
        found[...] = a
        if self.every is not None:
            found[:: self.every] = 1
        found[:1] = 1
        if self.missing:
            found[1:][np.isnan(x[1:, :, :outputs])] = 0
        self._check_read(x, found)
        return found

    def _check_read(self, x, strengths):
        """Raise NonFiniteError, with its place, of the first number that is read and is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(x.sum()):
                return
        wrong = ~np.isfinite(x)
        wrong[..., : strengths.shape[2]] &= strengths > 0
        if wrong.any():
            t, n, c = (int(i) for i in np.argwhere(wrong)[0])
            hint = "; Feedback(missing=True) takes NaN, but at the first step, for what was not observed"
            hint = hint if np.isnan(x[t, n, c]) and c < strengths.shape[2] else ""
            raise NonFiniteError(
                f"x: expected finite numbers, got {x[t, n, c]} at step {t}, sequence {n}, channel {c}{hint}"
            )
