"""The long short-term memory, with and without peepholes, its gates free or coupled."""

from dataclasses import dataclass

from .activations import Function, Sigmoid, Tanh
from .cell import Cell


@dataclass(frozen=True)
class LSTMCell(Cell):
    """Long short-term memory with a forget gate (Gers et al. 2000, doi:10.1162/089976600300015015).

    ``i, f, o = s(W x + R h + b)``, ``g = a(W_g x + R_g h + b_g)``, ``c' = f c + i g``, ``h' = o b(c')``; the gates' s is the
    logistic function and a and b are tanh, unless given.
    """

    gate_activation: Function = Sigmoid()
    activation: Function = Tanh()
    output_activation: Function = Tanh()
    projected: bool = False  # ``h' = W (o b(c'))`` (Sak et al. 2014, arXiv:1402.1128)

    gates = ("i", "f", "g", "o")
    states = 2
    slots, saved = 4, 4
    input_slots, input_gates = (0, 1, 2, 3), (0, 1, 2, 3)
    recurrent_slots, recurrent_gates = (0, 1, 2, 3), (0, 1, 2, 3)

    def forward(self, pre, state, per_unit):
        gate, activation = self.gate_activation, self.activation
        i, f, g, o = gate.value(pre[0]), gate.value(pre[1]), activation.value(pre[2]), gate.value(pre[3])
        c = f * state[1] + i * g
        saved = gate.keep(pre[0], i), gate.keep(pre[1], f), activation.keep(pre[2], g), gate.keep(pre[3], o)
        return (o * self.output_activation.value(c), c), saved

    def adjoint(self, saved, state, new, dnew, per_unit):
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


@dataclass(frozen=True)
class PeepholeLSTMCell(LSTMCell):
    """Gates that see the cell (Gers et al. 2002, doi:10.1162/153244303768966139): i and f the old c, o the new one.

    ``i, f = s(W x + R h + p c + b)``, ``o = s(W_o x + R_o h + p_o c' + b_o)``; the rest as in `LSTMCell`.
    """

    unit_values = ("p_i", "p_f", "p_o")

    def forward(self, pre, state, per_unit):
        gate, activation = self.gate_activation, self.activation
        p_i, p_f, p_o = per_unit[0], per_unit[1], per_unit[2]
        pre_i, pre_f = pre[0] + p_i * state[1], pre[1] + p_f * state[1]
        i, f, g = gate.value(pre_i), gate.value(pre_f), activation.value(pre[2])
        c = f * state[1] + i * g
        pre_o = pre[3] + p_o * c
        o = gate.value(pre_o)
        saved = gate.keep(pre_i, i), gate.keep(pre_f, f), activation.keep(pre[2], g), gate.keep(pre_o, o)
        return (o * self.output_activation.value(c), c), saved

    def adjoint(self, saved, state, new, dnew, per_unit):
        gate, activation, output = self.gate_activation, self.activation, self.output_activation
        i, f, g, o = gate.output(saved[0]), gate.output(saved[1]), activation.output(saved[2]), gate.output(saved[3])
        p_i, p_f, p_o = per_unit[0], per_unit[1], per_unit[2]
        dh, dc = dnew
        from_c = output.value(new[1])
        do = dh * from_c * gate.slope(saved[3])
        dc = dc + dh * o * output.slope(output.keep(new[1], from_c)) + do * p_o
        di = dc * g * gate.slope(saved[0])
        df = dc * state[1] * gate.slope(saved[1])
        dg = dc * i * activation.slope(saved[2])
        return (di, df, dg, do, di * state[1], df * state[1], do * new[1]), (0 * dh, dc * f + di * p_i + df * p_f)


@dataclass(frozen=True)
class CoupledLSTMCell(LSTMCell):
    """Input and forget gate coupled, ``f = 1 - i`` (Greff et al. 2017, doi:10.1109/TNNLS.2016.2582924, CIFG).

    ``c' = (1 - i) c + i g``; the rest as in `LSTMCell`.
    """

    gates = ("i", "g", "o")
    slots, saved = 3, 3
    input_slots, input_gates = (0, 1, 2), (0, 1, 2)
    recurrent_slots, recurrent_gates = (0, 1, 2), (0, 1, 2)

    def forward(self, pre, state, per_unit):
        gate, activation = self.gate_activation, self.activation
        i, g, o = gate.value(pre[0]), activation.value(pre[1]), gate.value(pre[2])
        c = (1 - i) * state[1] + i * g
        saved = gate.keep(pre[0], i), activation.keep(pre[1], g), gate.keep(pre[2], o)
        return (o * self.output_activation.value(c), c), saved

    def adjoint(self, saved, state, new, dnew, per_unit):
        gate, activation, output = self.gate_activation, self.activation, self.output_activation
        i, g, o = gate.output(saved[0]), activation.output(saved[1]), gate.output(saved[2])
        dh, dc = dnew
        from_c = output.value(new[1])
        dc = dc + dh * o * output.slope(output.keep(new[1], from_c))
        di = dc * (g - state[1]) * gate.slope(saved[0])
        dg = dc * i * activation.slope(saved[1])
        do = dh * from_c * gate.slope(saved[2])
        return (di, dg, do), (0 * dh, dc * (1 - i))


@dataclass(frozen=True)
class CoupledPeepholeLSTMCell(CoupledLSTMCell):
    """Coupled gates that see the cell: i the old c, o the new one; the rest as in `CoupledLSTMCell`."""

    unit_values = ("p_i", "p_o")

    def forward(self, pre, state, per_unit):
        gate, activation = self.gate_activation, self.activation
        p_i, p_o = per_unit[0], per_unit[1]
        pre_i = pre[0] + p_i * state[1]
        i, g = gate.value(pre_i), activation.value(pre[1])
        c = (1 - i) * state[1] + i * g
        pre_o = pre[2] + p_o * c
        o = gate.value(pre_o)
        saved = gate.keep(pre_i, i), activation.keep(pre[1], g), gate.keep(pre_o, o)
        return (o * self.output_activation.value(c), c), saved

    def adjoint(self, saved, state, new, dnew, per_unit):
        gate, activation, output = self.gate_activation, self.activation, self.output_activation
        i, g, o = gate.output(saved[0]), activation.output(saved[1]), gate.output(saved[2])
        p_i, p_o = per_unit[0], per_unit[1]
        dh, dc = dnew
        from_c = output.value(new[1])
        do = dh * from_c * gate.slope(saved[2])
        dc = dc + dh * o * output.slope(output.keep(new[1], from_c)) + do * p_o
        di = dc * (g - state[1]) * gate.slope(saved[0])
        dg = dc * i * activation.slope(saved[1])
        return (di, dg, do, di * state[1], do * new[1]), (0 * dh, dc * (1 - i) + di * p_i)
