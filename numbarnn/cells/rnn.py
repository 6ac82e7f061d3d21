"""The simple (Elman) recurrent network."""

from dataclasses import dataclass

from .cell import ActivatedCell


@dataclass(frozen=True)
class RNNCell(ActivatedCell):
    """``h' = f(W x + R h + b)`` (Elman 1990, doi:10.1207/s15516709cog1402_1)."""

    activation: str = "tanh"

    gates = ("h",)
    slots, saved = 1, 0
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (0,), (0,)

    def forward(self, pre, state, given):
        return (self.value(pre[0]),), ()

    def adjoint(self, saved, state, new, dnew, given):
        return (dnew[0] * self.slope(new[0]),), (0 * dnew[0],)
