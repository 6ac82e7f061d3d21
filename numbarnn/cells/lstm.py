"""The long short-term memory."""

from dataclasses import dataclass

from .activations import sigmoid, sigmoid_slope, tanh, tanh_slope
from .cell import Cell


@dataclass(frozen=True)
class LSTMCell(Cell):
    """Long short-term memory with a forget gate (Gers et al. 2000, doi:10.1162/089976600300015015), no peepholes.

    ``i, f, o = s(W x + R h + b)``, ``g = tanh(W_g x + R_g h + b_g)``, ``c' = f c + i g``, ``h' = o tanh(c')``.
    """

    gates = ("i", "f", "g", "o")
    states = 2
    slots, saved = 4, 4
    input_slots, input_gates = (0, 1, 2, 3), (0, 1, 2, 3)
    recurrent_slots, recurrent_gates = (0, 1, 2, 3), (0, 1, 2, 3)

    def forward(self, pre, state, given):
        i, f, g, o = sigmoid(pre[0]), sigmoid(pre[1]), tanh(pre[2]), sigmoid(pre[3])
        c = f * state[1] + i * g
        return (o * tanh(c), c), (i, f, g, o)

    def adjoint(self, saved, state, new, dnew, given):
        i, f, g, o = saved
        dh, dc = dnew
        tanh_c = tanh(new[1])
        dc = dc + dh * o * tanh_slope(tanh_c)
        di = dc * g * sigmoid_slope(i)
        df = dc * state[1] * sigmoid_slope(f)
        dg = dc * i * tanh_slope(g)
        do = dh * tanh_c * sigmoid_slope(o)
        return (di, df, dg, do), (0 * dh, dc * f)
