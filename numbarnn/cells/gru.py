"""The gated recurrent unit, in its two forms."""

from dataclasses import dataclass

from .activations import Function, Sigmoid, Tanh
from .cell import Cell


@dataclass(frozen=True)
class GRUAfterCell(Cell):
    """Reset gate *after* the recurrent product, as in cuDNN and PyTorch (arXiv:1406.1078v1, linear before reset).

    ``r = s(W_r x + R_r h + b_r)``, ``z = s(W_z x + R_z h + b_z)``, ``n = a(W_n x + b_in + r (R_n h + b_hn))``,
    ``h' = (1 - z) n + z h``; s is the logistic function and a is tanh, unless given.
    """

    gate_activation: Function = Sigmoid()
    activation: Function = Tanh()

    gates = ("r", "z", "n")
    slots, saved = 4, 4  # W_n x + b_in, r, z, R_n h + b_hn
    input_slots, input_gates = (0, 1, 2), (2, 0, 1)
    recurrent_slots, recurrent_gates = (1, 2, 3), (0, 1, 2)

    def forward(self, pre, state, per_unit):
        gate, activation = self.gate_activation, self.activation
        from_input, pre_r, pre_z, from_state = pre
        r, z = gate.value(pre_r), gate.value(pre_z)
        candidate = from_input + r * from_state
        n = activation.value(candidate)
        h = (1 - z) * n + z * state[0]
        return (h,), (gate.keep(pre_r, r), gate.keep(pre_z, z), activation.keep(candidate, n), from_state)

    def adjoint(self, saved, state, new, dnew, per_unit):
        gate, activation = self.gate_activation, self.activation
        kept_r, kept_z, kept_n, from_state = saved
        r, z, n = gate.output(kept_r), gate.output(kept_z), activation.output(kept_n)
        dh = dnew[0]
        dn = dh * (1 - z) * activation.slope(kept_n)
        dr = dn * from_state * gate.slope(kept_r)
        dz = dh * (state[0] - n) * gate.slope(kept_z)
        return (dn, dr, dz, dn * r), (dh * z,)


@dataclass(frozen=True)
class GRUBeforeCell(Cell):
    """Reset gate *before* the recurrent product (Cho et al. 2014, doi:10.3115/v1/D14-1179, eq. 5-8; ONNX's default).

    ``r = s(W_r x + R_r h + b_r)``, ``z = s(W_z x + R_z h + b_z)``, ``n = a(W_n x + R_n (r h) + b_n)``,
    ``h' = (1 - z) n + z h``; s is the logistic function and a is tanh, unless given.
    """

    gate_activation: Function = Sigmoid()
    activation: Function = Tanh()

    gates = ("r", "z", "n")
    slots, saved = 3, 3  # r, z, n
    input_slots, input_gates = (0, 1, 2), (0, 1, 2)
    recurrent_slots, recurrent_gates = (0, 1), (0, 1)
    gated_slots, gated_gates = (2,), (2,)

    def gate(self, pre, state, per_unit):
        gate = self.gate_activation
        r, z = gate.value(pre[0]), gate.value(pre[1])
        return (gate.keep(pre[0], r), gate.keep(pre[1], z), pre[2]), r * state[0]

    def forward(self, pre, state, per_unit):
        kept_r, kept_z, candidate = pre
        z, n = self.gate_activation.output(kept_z), self.activation.value(candidate)
        h = (1 - z) * n + z * state[0]
        return (h,), (kept_r, kept_z, self.activation.keep(candidate, n))

    def adjoint(self, saved, state, new, dnew, per_unit):
        gate, activation = self.gate_activation, self.activation
        _, kept_z, kept_n = saved
        z, n = gate.output(kept_z), activation.output(kept_n)
        dh = dnew[0]
        dn = dh * (1 - z) * activation.slope(kept_n)
        dz = dh * (state[0] - n) * gate.slope(kept_z)
        return (0 * dn, dz, dn), (dh * z,)

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        kept_r, gate = saved[0], self.gate_activation
        r = gate.output(kept_r)
        dr = doperand * state[0] * gate.slope(kept_r)
        return (dr, dpre[1], dpre[2]), (dstate[0] + doperand * r,)
