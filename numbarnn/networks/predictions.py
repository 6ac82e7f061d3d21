"""What several members predict, and what they say together."""

from dataclasses import dataclass

import numpy as np

from ..arrays.ragged import Ragged
from ..errors import finite_number
from .placing import brought


@dataclass(frozen=True, eq=False)
class Predictions:
    """What each of K members predicts, and what they say together: networks of an ensemble, or one network with K seeds.

    Attributes
    ----------
    members : numpy.ndarray or tuple of Ragged
        (K, ...): what `Network.predict` gives of each; where that is a Ragged, a tuple of them, and the rest is Ragged too.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> found = nr.Predictions(np.array([[1.0, 2.0], [3.0, 6.0]]))
    >>> found
    Predictions(2 members of shape (2,), float64)
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

    def __repr__(self):
        if isinstance(self.members, tuple):
            return f"Predictions({len(self)} members: {self.members[0]!r})"
        return f"Predictions({len(self)} members of shape {self.members.shape[1:]}, {self.members.dtype})"


def together(members):
    """The Predictions of what `Network.predict` has given for each member, in the host's memory."""
    found = [brought(one, "cpu") for one in members]
    return Predictions(tuple(found) if isinstance(found[0], Ragged) else np.stack(found))
