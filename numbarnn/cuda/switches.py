"""What the user may switch on, for all Python threads, and no GPU has run yet: off unless asked for."""

from ..errors import DeviceError
from .device import SIMULATED


class Switch:
    """What a function of that name switches.

    Parameters
    ----------
    name : str
        Of the function, for errors.
    what : str
        What Numba's simulator does not have.

    Attributes
    ----------
    on : bool
    """

    def __init__(self, name, what):
        self.name, self.what, self.on = name, what, False

    def turn(self, choice, check=None):
        """Switch it on or off; returns what it was before.  `check` raises DeviceError where the GPU cannot have it."""
        if choice not in (True, False):
            raise TypeError(f"choice: expected True or False, got {choice!r}")
        if choice and SIMULATED:
            raise DeviceError(f"{self.name}: expected a GPU, got Numba's simulator, which has no {self.what}")
        if choice and check is not None:
            check()
        before, self.on = self.on, bool(choice)
        return before
