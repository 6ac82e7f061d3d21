"""The leaky, or continuous-time, recurrent network, in its two forms."""

from dataclasses import dataclass

from .activations import Function, Tanh
from .cell import Cell


@dataclass(frozen=True)
class LeakyOutsideCell(Cell):
    """Function *outside* the weights: ``h' = (1 - a) h + a f(W x + R h + b)`` (Jaeger et al. 2007,
    doi:10.1016/j.neunet.2007.04.016, eq. 3): the units are firing rates.
    """

    activation: Function = Tanh()

    gates = ("h",)
    slots, saved = 1, 1
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (0,), (0,)
    unit_values = ("a",)

    def forward(self, pre, state, per_unit):
        candidate = self.activation.value(pre[0])
        h = (1 - per_unit[0]) * state[0] + per_unit[0] * candidate
        return (h,), (self.activation.keep(pre[0], candidate),)

    def adjoint(self, saved, state, new, dnew, per_unit):
        candidate = self.activation.output(saved[0])
        dpre = dnew[0] * per_unit[0] * self.activation.slope(saved[0])
        return (dpre, dnew[0] * (candidate - state[0])), (dnew[0] * (1 - per_unit[0]),)


@dataclass(frozen=True)
class LeakyInsideCell(Cell):
    """Function *inside* the weights: ``h' = (1 - a) h + a (W x + R f(h) + b)`` (Song et al. 2016,
    doi:10.1371/journal.pcbi.1004792, eq. 9): the units are currents, ``f(h)`` their rates.
    """

    activation: Function = Tanh()

    gates = ("h",)
    slots, saved = 1, 1
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (), ()
    gated_slots, gated_gates = (0,), (0,)
    unit_values = ("a",)

    def gate(self, pre, state, per_unit):
        return pre, self.activation.value(state[0])

    def forward(self, pre, state, per_unit):
        return ((1 - per_unit[0]) * state[0] + per_unit[0] * pre[0],), pre

    def adjoint(self, saved, state, new, dnew, per_unit):
        return (dnew[0] * per_unit[0], dnew[0] * (saved[0] - state[0])), (dnew[0] * (1 - per_unit[0]),)

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        kept = self.activation.keep(state[0], self.activation.value(state[0]))
        return (dpre[0], dpre[1]), (dstate[0] + doperand * self.activation.slope(kept),)
