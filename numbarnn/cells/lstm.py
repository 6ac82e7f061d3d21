"""The long short-term memory."""

from dataclasses import dataclass

from .activations import Function, Sigmoid, Tanh
from .cell import Cell


@dataclass(frozen=True)
class LSTMCell(Cell):
    """Long short-term memory with a forget gate (Gers et al. 2000, doi:10.1162/089976600300015015), no peepholes.

    ``i, f, o = s(W x + R h + b)``, ``g = a(W_g x + R_g h + b_g)``, ``c' = f c + i g``, ``h' = o b(c')``; the gates' s is the
    logistic function and a and b are tanh, unless given.
    """

    gate_activation: Function = Sigmoid()
    activation: Function = Tanh()
    output_activation: Function = Tanh()

    gates = ("i", "f", "g", "o")
    states = 2
    slots, saved = 4, 4
    input_slots, input_gates = (0, 1, 2, 3), (0, 1, 2, 3)
    recurrent_slots, recurrent_gates = (0, 1, 2, 3), (0, 1, 2, 3)

    def forward(self, pre, state, given):
        gate, activation = self.gate_activation, self.activation
        i, f, g, o = gate.value(pre[0]), gate.value(pre[1]), activation.value(pre[2]), gate.value(pre[3])
        c = f * state[1] + i * g
        saved = gate.keep(pre[0], i), gate.keep(pre[1], f), activation.keep(pre[2], g), gate.keep(pre[3], o)
        return (o * self.output_activation.value(c), c), saved

    def adjoint(self, saved, state, new, dnew, given):
        gate, activation, output = self.gate_activation, self.activation, self.output_activation
        i, f, g, o = gate.output(saved[0]), gate.output(saved[1]), activation.output(saved[2]), gate.output(saved[3])
        dh, dc = dnew
        from_c = output.value(new[1])
        dc = dc + dh * o * output.slope(output.keep(new[1], from_c))
        di = dc * g * gate.slope(saved[0])
        df = dc * state[1] * gate.slope(saved[1])
        dg = dc * i * activation.slope(saved[2])
        do = dh * from_c * gate.slope(saved[3])
        return (di, df, dg, do), (0 * dh, dc * f)
