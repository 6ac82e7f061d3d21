"""Networks of one structure side by side: their parameters and their histories."""

from dataclasses import dataclass

import numpy as np

from .arrays.devices import moved
from .arrays.ragged import Ragged, chosen_of
from .errors import IndexRangeError, integer
from .network import Network
from .networks.predictions import Predictions, together
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
        Of the whole epochs of each member.  Where members are trained side by side, they share the seconds of the training
        evenly.
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

    def predict_many(
        self, x: np.ndarray | Ragged, lengths: np.ndarray | None = None, reset: np.ndarray | None = None
    ) -> Predictions:
        """What every member predicts; `Network.predict_many` is of one network and many seeds.

        Parameters
        ----------
        x, lengths, reset
            As in `Network.predict`.

        Returns
        -------
        Predictions
        """
        member, found = self.network._with(self.network.params.copy()), []
        for row in self.params:
            member.params.flat[:] = moved(row, member.device)
            found.append(member.predict(x, lengths, reset))
        return together(found)

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
            raise IndexRangeError(f"member: expected an index from 0 to {len(self) - 1}, got {k}")
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
