"""Learning rates that change while training: functions of the update and of the number of updates."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ..descriptions.fields import make_plain
from ..errors import NonFiniteError, finite_number, positive_integer, takes


def checked_rate(argument, value):
    """`value` as a float, if it is a finite number that is not negative."""
    number = finite_number(argument, value, error=NonFiniteError)
    if number < 0:
        raise ValueError(f"{argument}: expected a number >= 0, got {value!r}")
    return number


def number_or_schedule(argument, value):
    """`value` itself, if it is a schedule (a function of the update and of how many there are); else see `checked_rate`."""
    if not callable(value):
        return checked_rate(argument, value)
    if isinstance(value, type):
        raise TypeError(f"{argument}: expected a number or a schedule, got the class {value.__name__}")
    takes(argument, value, "update, updates")
    return value


class Schedule:
    """The part of a schedule that does not depend on how the rate changes."""

    accepts: ClassVar = dict.fromkeys(("rate", "final", "least", "min_delta"), checked_rate)

    def __post_init__(self):
        make_plain(self)


@dataclass(frozen=True)
class constant(Schedule):
    """The same rate at every update."""

    rate: float

    def __call__(self, update: int, updates: int) -> float:
        return self.rate


@dataclass(frozen=True)
class cosine(Schedule):
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

    def __call__(self, update: int, updates: int) -> float:
        return self.final + 0.5 * (self.rate - self.final) * (1 + math.cos(math.pi * update / updates))


@dataclass(frozen=True)
class exponential(Schedule):
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
        super().__post_init__()
        if self.rate == 0 or self.final == 0:
            raise ValueError(f"rate, final: expected numbers > 0, got {self.rate} and {self.final}")

    def __call__(self, update: int, updates: int) -> float:
        return self.rate * (self.final / self.rate) ** (update / updates)


@dataclass(frozen=True)
class warmup(Schedule):
    """From 0 up to a schedule in equal steps, over the first updates; then that schedule (Goyal et al. 2017,
    arXiv:1706.02677, section 2.2).

    Parameters
    ----------
    rate : float or schedule
        What to come to; a schedule counts the updates from the first on.
    updates : int

    Examples
    --------
    >>> import numbarnn as nr
    >>> rate = nr.warmup(0.1, updates=4)
    >>> [round(rate(update, 100), 3) for update in (0, 1, 3, 50)]
    [0.025, 0.05, 0.1, 0.1]
    """

    rate: float | Callable
    updates: int

    accepts: ClassVar = {"rate": number_or_schedule, "updates": positive_integer}

    def __call__(self, update: int, updates: int) -> float:
        return min(1.0, (update + 1) / self.updates) * schedule(self.rate)(update, updates)

    def after(self, history):
        """The schedule of the next epoch."""
        return warmup(after(self.rate, history), self.updates)


@dataclass(frozen=True)
class reduce_on_plateau(Schedule):
    """A rate that is multiplied by `factor` each time the loss has not become less for some epochs.

    It follows the validation loss, or without one the training loss.

    Parameters
    ----------
    rate : float
        At first.
    factor : float
        Greater than 0 and less than 1.
    patience : int
        Epochs without a smaller loss before the rate falls; the same number passes before it may fall again.
    least : float
        What the rate does not fall below.
    min_delta : float
        A loss is smaller if it is so by more than this.

    Examples
    --------
    >>> import numbarnn as nr
    >>> rate = nr.reduce_on_plateau(0.1, factor=0.5, patience=2)
    >>> rate.after(nr.History(loss=[3.0, 2.0, 2.0, 2.5]))(0, 1)
    0.05
    >>> rate.after(nr.History(loss=[3.0, 2.0, 2.0, 1.5]))(0, 1)
    0.1
    """

    rate: float
    factor: float = 0.1
    patience: int = 10
    least: float = 0.0
    min_delta: float = 0.0

    accepts: ClassVar = {"factor": checked_rate, "patience": positive_integer}

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.factor < 1:
            raise ValueError(f"factor: expected a number between 0 and 1, got {self.factor}")

    def __call__(self, update: int, updates: int) -> float:
        return self.rate

    def after(self, history):
        """The schedule of the next epoch: a constant one."""
        rate, best, waited = self.rate, math.inf, 0
        for value in history.validation or history.loss:
            waited += 1
            if value < best - self.min_delta:
                best, waited = value, 0
            elif waited >= self.patience:
                rate, waited = max(rate * self.factor, min(self.least, rate)), 0
        return constant(rate)


def schedule(rate):
    """`rate` as a schedule: a number becomes a constant one."""
    rate = number_or_schedule("rate", rate)
    return rate if callable(rate) else constant(rate)


def after(rate, history):
    """The schedule of the next epoch after `history`: `rate` itself, unless it follows the losses."""
    rate = rate if callable(rate) else schedule(rate)
    return rate.after(history) if hasattr(rate, "after") else rate


def counts_updates(rate):
    """Whether a schedule asks how many updates there are in all; one of the user's own may."""
    while isinstance(rate, warmup):
        rate = rate.rate
    return callable(rate) and not isinstance(rate, (constant, reduce_on_plateau))


def rate_at(schedule, update, updates):
    """The learning rate of an update, counted from 0, as a float, if it is one; else TypeError or ValueError."""
    rate = schedule(update, updates)
    if type(rate) is float and 0.0 <= rate < math.inf:
        return rate
    try:
        return checked_rate("rate", rate)
    except (TypeError, ValueError, NonFiniteError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        name = getattr(schedule, "__qualname__", None) or repr(schedule)
        raise kind(f"rate: expected a finite number >= 0 from {name} at update {update + 1}, got {rate!r}") from None
