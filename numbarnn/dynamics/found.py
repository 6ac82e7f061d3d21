"""Fixed points that were found, and what they are like."""

from dataclasses import dataclass, field

import numpy as np

from ..layers.recurrent import State
from .maps import state_of


@dataclass(frozen=True, eq=False, repr=False)
class FixedPoints:
    """P fixed points, or slow ones, as `fixed_points` finds them.

    Attributes
    ----------
    states : numpy.ndarray
        (P, S): the vectors of the states.
    inputs : numpy.ndarray
        (P, C): the inputs that they belong to.
    speeds : numpy.ndarray
        (P,): what is left of ``|F(s) - s|^2 / 2``.
    jacobians : numpy.ndarray
        (P, S, S): of a step, there.
    eigenvalues : numpy.ndarray
        (P, S), complex: of the Jacobians, the largest modulus first.
    starts : numpy.ndarray
        (P,): how many starts have led to each.
    shapes : tuple
        (L, H) of each state of the cell.
    slow : FixedPoints or None
        Slow points, which are no fixed points.
    started, lost : int
        How many starts there were, and how many of them have led to neither.
    """

    states: np.ndarray
    inputs: np.ndarray
    speeds: np.ndarray
    jacobians: np.ndarray
    eigenvalues: np.ndarray
    starts: np.ndarray
    shapes: tuple = field(repr=False)
    slow: "FixedPoints | None" = None
    started: int = 0
    lost: int = 0

    @property
    def unstable(self) -> np.ndarray:
        """(P,): unstable directions of each, eigenvalues of modulus 1 or more."""
        return (np.abs(self.eigenvalues) >= 1).sum(axis=1)

    @property
    def stable(self) -> np.ndarray:
        """(P,): whether all eigenvalues are less than 1 in modulus."""
        return self.unstable == 0

    @property
    def state(self) -> State:
        """The states as the layer takes them, (L, P, H), for an LSTM the pair (h, c)."""
        return state_of(self.states, self.shapes)

    def modes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (S,) and eigenvectors (S, S), in columns, of one of the points, the largest modulus first."""
        values, vectors = np.linalg.eig(self.jacobians[index].astype(np.float64))
        order = np.argsort(-np.abs(values), kind="stable")
        return values[order].astype(complex), vectors[:, order].astype(complex)

    def __len__(self):
        return len(self.states)

    def __repr__(self):
        size = self.states.shape[1]
        kinds = []
        for count in np.unique(self.unstable):
            here = int((self.unstable == count).sum())
            kinds.append(f"{here} stable" if count == 0 else f"{here} with {_many(count, 'unstable direction')}")
        said = f"FixedPoints({len(self)} of a state of {_many(size, 'number')}" + (": " + ", ".join(kinds) if kinds else "")
        if self.slow is None:
            return said + ")"
        slow = _many(len(self.slow), "slow point") if len(self.slow) else "no slow points"
        return f"{said}; {slow}; {self.lost} of {self.started} starts lost)"


def _many(count, noun):
    return f"{count} {noun}" + ("" if count == 1 else "s")
