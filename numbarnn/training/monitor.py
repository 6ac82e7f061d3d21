"""What is followed from epoch to epoch: a column of the history, and which of its values are better."""

import math
from dataclasses import dataclass

from ..errors import UnknownNameError, known_name, nearest
from .history import OF_VALIDATION
from .metrics import MODES


@dataclass(frozen=True)
class Monitor:
    """A column of a `History`, and what makes one value better than another.

    Attributes
    ----------
    name : str or None
        "loss", "validation" or the name of a metric; None for the validation loss, without one the training loss.
    mode : {"min", "max"}
        Whether smaller values or larger ones are better.
    min_delta : float
        By how much, at least.
    """

    name: str | None
    mode: str
    min_delta: float

    @classmethod
    def of(cls, name, mode, min_delta):
        """The Monitor that a user's arguments say, if they do; else a typed error."""
        if name is not None and not isinstance(name, str):
            raise TypeError(f"monitor: expected text or None, got {name!r} ({type(name).__name__})")
        if mode is not None:
            return cls(name, str(known_name("mode", mode, ("min", "max"))), min_delta)
        known = {None: "min", "loss": "min", "validation": "min"} | MODES
        metric = None if name is None else name.removeprefix(OF_VALIDATION)
        if metric not in known:
            whose = "a metric of your own or of an output"
            raise ValueError(f"mode: expected 'min' or 'max' beside monitor={name!r}, {whose}, got None")
        return cls(name, known[metric], min_delta)

    @property
    def worst(self):
        """A value that every number improves."""
        return math.inf if self.mode == "min" else -math.inf

    def value(self, history):
        """The value of the last epoch; UnknownNameError if the history has none of this name."""
        if self.name is None:
            return (history.validation or history.loss)[-1]
        columns = {"loss": history.loss, "validation": history.validation} | history.metrics
        if not columns.get(self.name):
            unknown = nearest("monitor", self.name, [name for name, values in columns.items() if values])
            raise UnknownNameError(f"{unknown}; what fit measures besides is said by its metrics= and validation=")
        return columns[self.name][-1]

    def improves(self, value, best):
        """Whether a value is better than the best one so far; NaN never is."""
        return value < best - self.min_delta if self.mode == "min" else value > best + self.min_delta
