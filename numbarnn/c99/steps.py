"""One stacked layer in C while it is written: the statements of its function, and its cell's equations among them."""

from ..cells.dry_run import OnlyCompiled, run_on_symbols
from ..errors import CellError, ConversionError
from .literals import comment
from .source import indented


def equations(source, owner, method, *args):
    """What a method of a cell or of an activation function makes of values; ConversionError if it cannot."""
    try:
        return run_on_symbols(owner, method, *args)[1]
    except OnlyCompiled:
        raise ConversionError(
            f"{source.where}: expected equations of operators and the functions of numbarnn.elementary, but"
            f" {method} of {owner!r} calls what is there only where Numba compiles it"
        ) from None
    except CellError as error:
        raise ConversionError(f"{source.where}: expected equations that are run on symbols; {error}") from error


def loop(source, recording, assignments, count):
    """Lines of a loop over so many numbers that computes values and then assigns them: {place: Value}."""
    lines, texts = source.recorded(recording, assignments.values())
    lines += [f"{place} = {text};" for place, text in zip(assignments, texts)]
    return [f"for (int j = 0; j < {count}; j++) {{", *indented(lines), "}"]


class Step:
    """The function of one stacked layer: it reads x and changes the state.

    Parameters
    ----------
    source : Source
    name : str
        What the names of its arrays and functions begin with, after the network's.
    cell : Cell
    hidden : int

    Attributes
    ----------
    lines : list of str
        The statements of the function, so far.
    """

    def __init__(self, source, name, cell, hidden):
        self.source, self.name, self.cell, self.hidden, self.lines = source, name, cell, hidden, []

    def array(self, name, numbers):
        """Define a constant array; returns its name in C."""
        return self.source.array(f"{self.name}_{name}", numbers)

    def at(self, array, row=0):
        """The number of unit j in a row of an array, in C."""
        return f"{array}[{f'{row * self.hidden} + ' if row else ''}j]"

    def state(self, recording):
        """The state of a unit as the equations see it: of an h whose channels are no units 0."""
        h = recording.value(0) if self.cell.projected else recording.read("h[j]")
        return (h, recording.read("c[j]"))[: self.cell.states]

    def equations(self, method, *args):
        """What a method of the cell makes of values."""
        return equations(self.source, self.cell, method, *args)

    def loop(self, recording, assignments):
        """Add a loop over the units that computes values and then assigns them: {place: Value}."""
        self.lines += loop(self.source, recording, assignments, self.hidden)

    def define(self, name, arguments, lines, about=None):
        """Define a function of the layer; returns its name in C."""
        found = f"{self.source.name}_{self.name}{name}"
        opening = [comment(about)] if about else []
        opening += [f"static void {found}({', '.join(arguments)})", "{"]
        self.source.function("\n".join([*opening, *indented(lines), "}", ""]))
        return found
