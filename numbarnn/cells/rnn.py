"""The simple (Elman) recurrent network."""

from dataclasses import dataclass

from .activations import activation
from .cell import Cell


@dataclass(frozen=True)
class RNNCell(Cell):
    """``h' = f(W x + R h + b)`` (Elman 1990, doi:10.1207/s15516709cog1402_1)."""

    activation: str = "tanh"

    gates = ("h",)
    slots, saved = 1, 0
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (0,), (0,)

    @property
    def value(self):
        """The activation function."""
        return activation(self.activation).value

    @property
    def slope(self):
        """The activation's derivative, from its output."""
        return activation(self.activation).slope

    def forward(self, pre, state):
        return (self.value(pre[0]),), ()

    def adjoint(self, saved, state, new, dnew):
        return (dnew[0] * self.slope(new[0]),), (0 * dnew[0],)
