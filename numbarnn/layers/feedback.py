"""What of an input is given, and what is the network's own output of the step before."""

from hashlib import blake2b

import numpy as np

from ..arrays.conversion import numbers_like
from ..arrays.packing import uniform
from ..arrays.rows import numbers
from ..descriptions.fields import Settled
from ..errors import NonFiniteError, ShapeError, flag, positive_integer

AXES = {0: "a number", 1: "(T,)", 2: "(T, N)", 3: "(T, N, O)"}


class Feedback(Settled):
    """Inputs made of what is given and of the output of the step before: teacher forcing, and free running.

    T steps, N batch, C input channels, O output channels, the first O channels of the input being the output's channels.
    At each step but the first the network reads ::

        x'[t] = a[t] x[t] + (1 - a[t]) y[t - 1]

    in its first O channels, where x (T, N, C) is what is given, y (T, N, O) what the network writes, and a the strength of
    forcing: 1 for what is given, as in an ordinary pass (teacher forcing), 0 for the network's own prediction (free run),
    and 0 or 1 by a mask for scheduled sampling (Bengio et al. 2015).  The other channels, and all of the first step of a
    sequence and of a step with a reset, are read as they are given.  Gradients are exact: they go back through the outputs
    that were fed.

    It is the *input* that is forced here.  Sparse and generalized teacher forcing as Brenner et al. (2022) and Hess et al.
    (2023) have them, from whom the interval and the strength are taken, force the latent *state*, with an estimate of it
    from the data: the same idea, and another algorithm.

    Parameters
    ----------
    forcing : float or array
        a, from 0 to 1: a number, or one for each step (T,), for each of each sequence (T, N), or for each number (T, N, O),
        in this order whatever the layout is; beside a `Ragged`, T is the longest sequence.  A bool array is a mask: True
        where the input is given.
    every : int, optional
        At every so-manieth step from the first on, or from a reset, the input is given, whatever `forcing` says: sparse
        teacher forcing.
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

    def _of_part(self, steps, sequences):
        """The Feedback of some sequences, a slice, and of so many steps, the most that these have."""
        forcing = self.forcing[(slice(steps), sequences)[: min(2, self.forcing.ndim)]]
        return Feedback(forcing, self.every, self.missing)

    def _between(self, begin, end):
        """The Feedback of the steps of each sequence from one to another, (N,), as sequences that begin there."""
        forcing = self.forcing
        if forcing.ndim:
            places = np.minimum(begin + np.arange((end - begin).max())[:, None], len(forcing) - 1)
            forcing = forcing[places] if forcing.ndim == 1 else forcing[places, np.arange(len(begin))]
        return Feedback(forcing, self.every, self.missing)

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

        Examples
        --------
        >>> import numpy as np, numbarnn as nr
        >>> nr.Feedback(0.2, every=3).strengths(np.zeros((5, 1, 2)), outputs=1)[:, 0, 0]
        array([1. , 0.2, 0.2, 1. , 0.2])
        """
        return self._strengths(x, uniform(*x.shape[:2]), outputs)

    def _strengths_of(self, described, outputs):
        """`strengths` for a descriptor of x: (T, N, O), or (S, O) of the steps that there are in a ragged batch."""
        return self._strengths(numbers(described), described.packing, outputs)

    def _strengths(self, x, packing, outputs):
        """`strengths` for the rows x of a packing; at the first step of each run nothing is fed."""
        self._check_sizes(packing.total, packing.sequences, outputs)
        a = self.forcing.astype(x.dtype)
        found = np.empty((*x.shape[:-1], outputs), x.dtype)
        if packing.uniform:
            found[...] = a.reshape(*a.shape, *(1,) * (3 - a.ndim)) if a.ndim else a
            first, whole = slice(1), slice(None, None, self.every)
        else:
            steps, places = packing.steps_and_runs()[0], packing.places[: min(a.ndim, 2)]
            found[...] = a if a.ndim == 0 else a[places] if a.ndim == 3 else a[places][:, None]
            first, whole = steps == 0, self.every is not None and steps % self.every == 0
        if self.every is not None:
            found[whole] = 1
        if self.missing:
            found[np.isnan(x[..., :outputs])] = 0
        found[first] = 1
        self._check_read(x, found, packing)
        return found

    def _check_read(self, x, strengths, packing):
        """Raise NonFiniteError, with its place, of the first number that is read and is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(x.sum()):
                return
        wrong = ~np.isfinite(x)
        wrong[..., : strengths.shape[-1]] &= strengths > 0
        if wrong.any():
            *row, c = (int(i) for i in np.argwhere(wrong)[0])
            number = x[(*row, c)]
            t, n = row if packing.uniform else (int(place[row[0]]) for place in packing.places)
            hint = "; Feedback(missing=True) takes NaN, but at the first step, for what was not observed"
            hint = hint if np.isnan(number) and c < strengths.shape[-1] else ""
            raise NonFiniteError(f"x: expected finite numbers, got {number} at step {t}, sequence {n}, channel {c}{hint}")
