"""A layer without recurrence, in the words of a cell."""

from dataclasses import dataclass

from .activations import activation
from .cell import Cell


@dataclass(frozen=True)
class DenseCell(Cell):
    """``y = f(W x + b)``: one slot, fed by the input alone."""

    activation: str = "identity"

    gates = ("y",)
    slots, saved = 1, 0
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (), ()

    @property
    def value(self):
        """The activation function."""
        return activation(self.activation).value

    @property
    def slope(self):
        """The activation's derivative, from its output."""
        return activation(self.activation).slope
