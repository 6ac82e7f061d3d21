"""The gated recurrent unit, in its two forms."""

from dataclasses import dataclass

from .activations import sigmoid, sigmoid_slope, tanh, tanh_slope
from .cell import Cell


@dataclass(frozen=True)
class GRUAfterCell(Cell):
    """Reset gate *after* the recurrent product, as in cuDNN and PyTorch (arXiv:1406.1078v1, linear before reset).

    ``r = s(W_r x + R_r h + b_r)``, ``z = s(W_z x + R_z h + b_z)``, ``n = tanh(W_n x + b_in + r (R_n h + b_hn))``,
    ``h' = (1 - z) n + z h``.
    """

    gates = ("r", "z", "n")
    slots, saved = 4, 4  # W_n x + b_in, r, z, R_n h + b_hn
    input_slots, input_gates = (0, 1, 2), (2, 0, 1)
    recurrent_slots, recurrent_gates = (1, 2, 3), (0, 1, 2)

    def forward(self, pre, state, given):
        from_input, r, z, from_state = pre
        r, z = sigmoid(r), sigmoid(z)
        n = tanh(from_input + r * from_state)
        h = (1 - z) * n + z * state[0]
        return (h,), (r, z, n, from_state)

    def adjoint(self, saved, state, new, dnew, given):
        r, z, n, from_state = saved
        dh = dnew[0]
        dn = dh * (1 - z) * tanh_slope(n)
        dr = dn * from_state * sigmoid_slope(r)
        dz = dh * (state[0] - n) * sigmoid_slope(z)
        return (dn, dr, dz, dn * r), (dh * z,)


@dataclass(frozen=True)
class GRUBeforeCell(Cell):
    """Reset gate *before* the recurrent product (Cho et al. 2014, doi:10.3115/v1/D14-1179, eq. 5-8; ONNX's default).

    ``r = s(W_r x + R_r h + b_r)``, ``z = s(W_z x + R_z h + b_z)``, ``n = tanh(W_n x + R_n (r h) + b_n)``,
    ``h' = (1 - z) n + z h``.
    """

    gates = ("r", "z", "n")
    slots, saved = 3, 3  # r, z, n
    input_slots, input_gates = (0, 1, 2), (0, 1, 2)
    recurrent_slots, recurrent_gates = (0, 1), (0, 1)
    gated_slots, gated_gates = (2,), (2,)

    def gate(self, pre, state, given):
        r = sigmoid(pre[0])
        return (r, sigmoid(pre[1]), pre[2]), r * state[0]

    def forward(self, pre, state, given):
        r, z, candidate = pre
        n = tanh(candidate)
        h = (1 - z) * n + z * state[0]
        return (h,), (r, z, n)

    def adjoint(self, saved, state, new, dnew, given):
        r, z, n = saved
        dh = dnew[0]
        dn = dh * (1 - z) * tanh_slope(n)
        dz = dh * (state[0] - n) * sigmoid_slope(z)
        return (0 * dn, dz, dn), (dh * z,)

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, given):
        r = saved[0]
        dr = doperand * state[0] * sigmoid_slope(r)
        return (dr, dpre[1], dpre[2]), (dstate[0] + doperand * r,)
