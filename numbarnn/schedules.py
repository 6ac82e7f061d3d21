"""Learning rates that change while training: functions of the update and of the number of updates."""

import math
from dataclasses import dataclass

from .errors import NonFiniteError


def checked_rate(argument, value):
    """`value` as a float, if it is a finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) and not hasattr(value, "__float__"):
        raise TypeError(f"{argument}: expected a number, got {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise NonFiniteError(f"{argument}: expected a finite number, got {number}")
    if number < 0:
        raise ValueError(f"{argument}: expected a number >= 0, got {number}")
    return number


@dataclass(frozen=True)
class constant:
    """The same rate at every update."""

    rate: float

    def __post_init__(self):
        checked_rate("rate", self.rate)

    def __call__(self, update: int, updates: int) -> float:
        return self.rate


@dataclass(frozen=True)
class cosine:
    """From `rate` down to `final` along half a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5).

    Parameters
    ----------
    rate : float
        At the first update.
    final : float
        After the last one.

    Examples
    --------
    >>> import numbarnn as nr
    >>> rate = nr.cosine(0.1)
    >>> [round(rate(update, 4), 4) for update in range(4)]
    [0.1, 0.0854, 0.05, 0.0146]
    """

    rate: float
    final: float = 0.0

    def __post_init__(self):
        checked_rate("rate", self.rate)
        checked_rate("final", self.final)

    def __call__(self, update: int, updates: int) -> float:
        return self.final + 0.5 * (self.rate - self.final) * (1 + math.cos(math.pi * update / updates))


@dataclass(frozen=True)
class exponential:
    """From `rate` to `final` by the same factor at every update.

    Examples
    --------
    >>> import numbarnn as nr
    >>> [round(nr.exponential(1.0, 0.01)(update, 2), 4) for update in range(2)]
    [1.0, 0.1]
    """

    rate: float
    final: float

    def __post_init__(self):
        if checked_rate("rate", self.rate) == 0 or checked_rate("final", self.final) == 0:
            raise ValueError(f"rate, final: expected numbers > 0, got {self.rate} and {self.final}")

    def __call__(self, update: int, updates: int) -> float:
        return self.rate * (self.final / self.rate) ** (update / updates)


def schedule(rate):
    """`rate` as a schedule: a number becomes a constant one."""
    return rate if callable(rate) else constant(checked_rate("rate", rate))
