"""The minimal gated unit."""

from dataclasses import dataclass

from .activations import Function, Sigmoid, Tanh
from .cell import Cell


@dataclass(frozen=True)
class MGUCell(Cell):
    """One gate for everything (Zhou et al. 2016, doi:10.1007/s11633-016-1006-2, eq. 9-11).

    ``f = s(W_f x + R_f h + b_f)``, ``n = a(W_n x + R_n (f h) + b_n)``, ``h' = (1 - f) h + f n``; s is the logistic function
    and a is tanh, unless given.
    """

    gate_activation: Function = Sigmoid()
    activation: Function = Tanh()

    gates = ("f", "n")
    slots, saved = 2, 2
    input_slots, input_gates = (0, 1), (0, 1)
    recurrent_slots, recurrent_gates = (0,), (0,)
    gated_slots, gated_gates = (1,), (1,)

    def gate(self, pre, state, per_unit):
        f = self.gate_activation.value(pre[0])
        return pre, f * state[0]

    def forward(self, pre, state, per_unit):
        f, n = self.gate_activation.value(pre[0]), self.activation.value(pre[1])
        h = (1 - f) * state[0] + f * n
        return (h,), (self.gate_activation.keep(pre[0], f), self.activation.keep(pre[1], n))

    def adjoint(self, saved, state, new, dnew, per_unit):
        f, n = self.gate_activation.output(saved[0]), self.activation.output(saved[1])
        dh = dnew[0]
        df = dh * (n - state[0]) * self.gate_activation.slope(saved[0])
        dn = dh * f * self.activation.slope(saved[1])
        return (df, dn), (dh * (1 - f),)

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        f = self.gate_activation.output(saved[0])
        df = doperand * state[0] * self.gate_activation.slope(saved[0])
        return (dpre[0] + df, dpre[1]), (dstate[0] + doperand * f,)
