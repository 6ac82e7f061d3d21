"""The simple (Elman) recurrent network."""

from dataclasses import dataclass

from .activations import Function, Tanh
from .cell import Cell


@dataclass(frozen=True)
class RNNCell(Cell):
    """``h' = f(W x + R h + b)`` (Elman 1990, doi:10.1207/s15516709cog1402_1)."""

    activation: Function = Tanh()

    gates = ("h",)
    slots = 1
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (0,), (0,)

    @property
    def saved(self):
        return len(self.activation.keep_beside(0))  # W x + R h + b, where the slope does not follow from h'

    def forward(self, pre, state, per_unit):
        h = self.activation.value(pre[0])
        return (h,), self.activation.keep_beside(pre[0])

    def adjoint(self, saved, state, new, dnew, per_unit):
        kept = self.activation.kept_beside(new[0], saved)
        return (dnew[0] * self.activation.slope(kept),), (0 * dnew[0],)
