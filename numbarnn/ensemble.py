"""Networks of one structure side by side: their parameters, their histories, and what they predict together."""

from dataclasses import dataclass

import numpy as np

from .arrays.devices import moved
from .arrays.ragged import Ragged, chosen_of
from .errors import finite_number, integer
from .network import Network
from .parameters import Parameters


@dataclass(frozen=True, eq=False)
class Ensemble:
    """K networks of one structure, the members, as `fit_many` has trained them.

    ``ensemble[k]`` is a member as a `Network` of its own, with its history; a slice, a list of numbers or a mask gives an
    Ensemble of some members.  ``len(ensemble)`` is K.

    Attributes
    ----------
    network : Network
        The structure: layers, channels, dtype, layout and device.  Its parameters are no member's.
    seeds : tuple of int
    params : numpy.ndarray
        (K, P): the flat vector of each member, in the host's memory.
    histories : list of History
        Of the whole epochs of each member.  Where members are trained side by side, the seconds are those of all of them,
        shared out evenly.
    errors : tuple
        For each member None, or what has ended its training early, as text: numbers that were not finite.  Its parameters
        are then the last finite ones.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1)
    >>> x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32) / 4), 5)
    >>> ensemble = nr.fit_many(net, x, y, seeds=range(3), epochs=5, progress=False)
    >>> ensemble
    Ensemble(3 members of 89 parameters, seeds 0, 1, 2)
    >>> np.array_equal(ensemble[1].predict(x), ensemble.predict_many(x).members[1])
    True
    >>> len(ensemble[ensemble.finished])
    3
    """

    network: Network
    seeds: tuple
    params: np.ndarray
    histories: list
    errors: tuple

    @property
    def finished(self) -> np.ndarray:
        """(K,) of bool: which trainings have come to their end, all epochs or early stopping, with finite numbers."""
        return np.array([error is None for error in self.errors], bool)

    def predict_many(self, x: np.ndarray | Ragged, lengths: np.ndarray | None = None) -> "Predictions":
        """What every member predicts.

        Parameters
        ----------
        x, lengths
            As in `Network.predict`.

        Returns
        -------
        Predictions
        """
        member, found = self.network._with(self.network.params.copy()), []
        for row in self.params:
            member.params.flat[:] = moved(row, member.device)
            one = member.predict(x, lengths)
            found.append(one.to("cpu") if isinstance(one, Ragged) else moved(one, "cpu"))
        return Predictions(tuple(found) if isinstance(found[0], Ragged) else np.stack(found))

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, which):
        if not hasattr(which, "__index__") or np.ndim(which):
            chosen = chosen_of("members", which, len(self))
            return Ensemble(
                self.network, tuple(self.seeds[k] for k in chosen), self.params[chosen],
                [self.histories[k] for k in chosen], tuple(self.errors[k] for k in chosen),
            )  # fmt: skip
        k = integer("member", which)
        if not -len(self) <= k < len(self):
            raise IndexError(f"member: expected an index from 0 to {len(self) - 1}, got {k}")
        given = Parameters(self.params[k].copy(), self.network.params.weights)
        member = self.network._with(given.to(self.network.device))
        member._history = self.histories[k]
        return member

    def __iter__(self):
        return (self[k] for k in range(len(self)))

    def __repr__(self):
        shown = ", ".join(map(str, self.seeds[:3])) + ", ..." * (len(self) > 3)
        ended = len(self) - int(self.finished.sum())
        failed = f", {ended} ended early" if ended else ""
        return f"Ensemble({len(self)} members of {self.params.shape[1]} parameters, seeds {shown}{failed})"


@dataclass(frozen=True, eq=False)
class Predictions:
    """What each of K members predicts, and what they say together.

    Attributes
    ----------
    members : numpy.ndarray or tuple of Ragged
        (K, ...): what `Network.predict` gives of each; where that is a Ragged, a tuple of them, and the rest is Ragged too.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> found = nr.Predictions(np.array([[1.0, 2.0], [3.0, 6.0]]))
    >>> found.mean, found.spread
    (array([2., 4.]), array([1.41421356, 2.82842712]))
    >>> found.quantile(0.25)
    array([1.5, 3. ])
    """

    members: np.ndarray | tuple

    @property
    def mean(self) -> np.ndarray | Ragged:
        """The mean over the members, summed in float64."""
        return self._joined(lambda numbers: numbers.mean(axis=0, dtype=np.float64))

    @property
    def spread(self) -> np.ndarray | Ragged:
        """The standard deviation between the members, with K - 1; ValueError for a single member."""
        if len(self.members) < 2:
            raise ValueError(f"members: expected at least two for a spread, got {len(self.members)}")
        return self._joined(lambda numbers: numbers.std(axis=0, dtype=np.float64, ddof=1))

    def quantile(self, q: float) -> np.ndarray | Ragged:
        """A quantile over the members, linear between two of them.

        Parameters
        ----------
        q : float
            From 0 to 1; 0.5 is the median.
        """
        number = finite_number("q", q)
        if not 0 <= number <= 1:
            raise ValueError(f"q: expected a number from 0 to 1, got {q!r}")
        return self._joined(lambda numbers: np.quantile(numbers.astype(np.float64), number, axis=0))

    def _joined(self, of):
        """What a function of (K, ...) numbers gives, in their dtype, and Ragged where the members are."""
        ragged = isinstance(self.members, tuple)
        numbers = np.stack([member.data for member in self.members]) if ragged else self.members
        found = of(numbers).astype(numbers.dtype)
        return Ragged(found, self.members[0].offsets) if ragged else found

    def __len__(self) -> int:
        return len(self.members)
