"""The independently recurrent network."""

from dataclasses import dataclass

from .activations import Function, Relu
from .cell import Cell


@dataclass(frozen=True)
class IndRNNCell(Cell):
    """A recurrence of each unit with itself alone: ``h' = f(W x + u h + b)`` (Li et al. 2018, arXiv:1803.04831, eq. 2)."""

    activation: Function = Relu()

    gates = ("h",)
    slots = 1
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (), ()
    unit_values = ("u",)

    @property
    def saved(self):
        return len(self.activation.keep_beside(0))  # W x + u h + b, where the slope does not follow from h'

    def forward(self, pre, state, per_unit):
        total = pre[0] + per_unit[0] * state[0]
        return (self.activation.value(total),), self.activation.keep_beside(total)

    def adjoint(self, saved, state, new, dnew, per_unit):
        dpre = dnew[0] * self.activation.slope(self.activation.kept_beside(new[0], saved))
        return (dpre, dpre * state[0]), (dpre * per_unit[0],)
