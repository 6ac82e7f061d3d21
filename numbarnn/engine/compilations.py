"""What is compiled and what is found on disk, for those who want to know."""

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Compilation:
    """A function that has become machine code in this process.

    Attributes
    ----------
    name : str
        Of the function, with its module.
    types : str
        What it was compiled for.
    seconds : float
        That it took; 0 if it was found on disk.
    found : bool
        Whether it was.
    file : pathlib.Path or None
        Where it is kept; None if it is not.
    """

    name: str
    types: str
    seconds: float
    found: bool
    file: Path | None


_watching, _lock = [], threading.Lock()


@contextlib.contextmanager
def watched():
    """A list, to which each `Compilation` that ends in this process meanwhile is added."""
    found = []
    with _lock:
        _watching.append(found)
    try:
        yield found
    finally:
        with _lock:
            _watching[:] = [each for each in _watching if each is not found]


def note(compilation):
    """Add one to the lists of those who watch."""
    with _lock:
        for found in _watching:
            found.append(compilation)
