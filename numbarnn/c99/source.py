"""The C source of a network while it is written: constants, functions, states, and the statements of a step."""

from . import elementary
from .expressions import Recording
from .literals import Real


class Source:
    """What layers add to, from the first to the last.

    Parameters
    ----------
    name : str
        What all names begin with.
    dtype : numpy.dtype

    Attributes
    ----------
    real : Real
    definitions : list of str
        Arrays and functions, in the order in which C reads them.
    states : list of (str, numpy.ndarray)
        Each field of the state and what it starts from.
    step : list of str
        The statements of a step, each level of blocks indented.
    output, channels : str, int
        What the layer written last has left: an array, by its name in the step, and its numbers.
    where : str
        What errors call the layer that is written.
    """

    def __init__(self, name, dtype):
        self.name, self.real, self.where = name, Real(dtype), ""
        self.definitions, self.states, self.step = [], [], []
        self.output, self.channels = "x", 0
        self._called = []

    @property
    def restrict(self):
        """The macro that stands for C99's ``restrict``."""
        return f"{self.name.upper()}_RESTRICT"

    def array(self, name, numbers):
        """Define a constant array; returns its name in C."""
        found = f"{self.name}_{name}"
        self.definitions.append(self.real.array(found, numbers.astype(self.real.dtype)))
        return found

    def function(self, text):
        """Define a function."""
        self.definitions.append(text)

    def state(self, field, initial):
        """Add an array to the state; returns how a step reads and writes it."""
        self.states.append((field, initial))
        return f"state->{field}"

    def local(self, name, count):
        """Declare an array of a step; returns its name."""
        self.step.append(f"{self.real.name} {name}[{count}];")
        return name

    def recording(self):
        """A new Recording, whose functions `recorded` defines."""
        return Recording(self.real, self.name)

    def recorded(self, recording, outputs):
        """(statements, texts of the outputs) of a recording, whose functions are defined."""
        found = recording.statements(outputs)
        self._called += recording.called
        return found

    def functions(self):
        """The elementary functions that are called anywhere, in the order in which C reads them."""
        return list(elementary.definitions(self._called, self.real, self.name).values())


def indented(lines, levels=1):
    """Lines of C in a block."""
    return [f"{'    ' * levels}{line}" for line in lines]
