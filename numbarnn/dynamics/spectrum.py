"""What Lyapunov exponents say of an attractor."""

from dataclasses import dataclass, field

import numpy as np

from ..layers.recurrent import State


@dataclass(frozen=True, eq=False, repr=False)
class LyapunovSpectrum:
    """Lyapunov exponents of N trajectories, as `lyapunov` finds them.

    Attributes
    ----------
    exponents : numpy.ndarray
        (N, K), the largest first, per unit of time.
    history : numpy.ndarray
        (P, N, K): what they were after a part of the time, the last of P points being the result.
    times : numpy.ndarray
        (P,): the time at each point.
    size : int
        S, the numbers of a state.
    state : numpy.ndarray or tuple of two
        Where the trajectories end, as the layer takes it.
    """

    exponents: np.ndarray
    history: np.ndarray
    times: np.ndarray
    size: int
    state: State = field(repr=False)

    @property
    def kaplan_yorke(self) -> np.ndarray:
        """The Kaplan-Yorke dimension of each attractor, (N,): ``j + (l_1 + ... + l_j) / |l_(j+1)|``.

        j is the largest number of exponents whose sum is not negative (Kaplan and Yorke 1979, doi:10.1007/BFb0064319).  The
        dimension is 0 where the largest is negative, S where the sum of all is not, and NaN where more exponents are needed
        to tell.
        """
        found = np.empty(len(self.exponents))
        for n, own in enumerate(self.exponents):
            sums = np.cumsum(own)
            below = np.flatnonzero(sums < 0)
            if not len(below):
                found[n] = self.size if len(own) == self.size else np.nan
            else:
                j = below[0]
                found[n] = j + (sums[j - 1] / -own[j] if j else 0.0)
        return found

    @property
    def entropy(self) -> np.ndarray:
        """The sum of the positive exponents, (N,): the entropy rate of Kolmogorov and Sinai, or a bound from above.

        They are equal by Pesin's formula where the attractor has a smooth density along the directions that grow (Eckmann
        and Ruelle 1985, doi:10.1103/RevModPhys.57.617).  NaN where more exponents are needed to tell.
        """
        more = (self.exponents.shape[1] < self.size) & (self.exponents[:, -1] > 0)
        return np.where(more, np.nan, np.maximum(self.exponents, 0).sum(axis=1))

    def __repr__(self):
        batch, count = self.exponents.shape
        largest = ", ".join(f"{value:.4g}" for value in self.exponents[0, :3]) + (", ..." if count > 3 else "")
        of = f"of {self.size}" if count < self.size else "all"
        others = "" if batch == 1 else f" in the first of {batch} trajectories"
        return (
            f"LyapunovSpectrum({count} exponents ({of}): {largest}{others}; Kaplan-Yorke {self.kaplan_yorke[0]:.4g}, "
            f"entropy {self.entropy[0]:.4g}, time {self.times[-1]:g})"
        )
