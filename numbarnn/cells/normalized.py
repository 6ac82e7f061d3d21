"""Layer normalization (Ba, Kiros, Hinton 2016, arXiv:1607.06450), and the two cells that the paper gives with it.

``LN(a; gain, bias) = gain (a - mean) / sqrt(variance + EPSILON) + bias``, mean and variance over the units of one sample at
one step, the variance divided by their number.  A backend sums over the units; the methods here are about one of them.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from .cell import Cell
from .elementary import sqrt
from .gru import GRUAfterCell
from .lstm import LSTMCell

EPSILON = 1e-5
SHRINK_SINGLE, SHRINK_DOUBLE = 2.0**-80, 2.0**-560  # factors of numbers whose squares are too large for a dtype


class LayerNorm(NamedTuple):
    """Consecutive slots that have mean and variance in common.

    first, slots : int
        The first of them, and their number.
    term : int
        The first of the cell's pre-activations that they are terms of.
    """

    first: int
    slots: int
    term: int


class NormalizedCell(Cell):
    """A cell whose pre-activations are sums of normalized slots: one ``LN(W x)``, one ``LN(R h)``, or one of each.

    Slots are what is normalized: each receives ``W x`` or ``R h``, without a bias.  A backend adds the bias and multiplies
    by the gain after that, and adds up the slots of each pre-activation.  `forward` and `adjoint` see these: their ``pre``
    and ``dpre`` have `terms` values.

    Where `normalizes_cell` says so, the output sees c' normalized: `forward` returns ``(o, c')`` for the state, `output`
    makes h' of them, and `adjoint` finds dL/do in the place of dL/dh'.

    `unit_values` are what the backend needs besides biases, in this order: the bias of c', the gains of the slots, the gain
    of c'.
    """

    layer_norms: ClassVar[tuple[LayerNorm, ...]]
    terms: ClassVar[int]
    normalizes_cell: ClassVar[bool] = False

    @property
    def normalized_values(self):
        """Values of a unit that are normalized at a step."""
        return self.slots + self.normalizes_cell

    @property
    def deviations(self):
        """Standard deviations of a sample at a step."""
        return len(self.layer_norms) + self.normalizes_cell

    @property
    def dpre_count(self):
        """Derivatives for each unit: of slots, of terms (they sum to the biases' derivatives), and of `unit_values`."""
        return self.slots + self.terms + self.unit_value_count

    def bias_slot(self, slot):
        """The place in `dpre` of what sums to the derivative of a slot's bias."""
        norm = next(norm for norm in self.layer_norms if norm.first <= slot < norm.first + norm.slots)
        return self.slots + norm.term + slot - norm.first

    def inverse_deviation(self, variance, factor):
        """What a deviation from the mean is multiplied with; factor: what all numbers were multiplied with before, or 1."""
        return 1 / sqrt(variance + factor * factor * EPSILON)

    def normalized(self, a, mean, scale):
        """`a` in units of the standard deviation; scale: the `inverse_deviation`."""
        return (a - mean) * scale

    def normalized_adjoint(self, dy, y, scale, mean_dy, mean_dy_y):
        """dL/da from dL/dy, with ``y = normalized(a)``; mean_dy, mean_dy_y: the means of ``dy`` and of ``dy y``."""
        return scale * (dy - mean_dy - y * mean_dy_y)

    def output(self, o, c):
        """h', from the first of the new states and ``LN(c')``; where c' is not normalized, the first is h' itself."""
        return o

    def output_adjoint(self, saved, c, dh):
        """(dL/do, dL/dLN(c')) from dL/dh'."""
        return dh, 0 * dh


@dataclass(frozen=True)
class NormalizedLSTMCell(NormalizedCell, LSTMCell):
    """Normalized long short-term memory (arXiv:1607.06450, eq. 20-22), the statistics over all gates of all units.

    ``(i, f, g, o) = LN(W x; gain_ih, bias_ih) + LN(R h; gain_hh, bias_hh)``, ``c' = s(f) c + s(i) a(g)``,
    ``h' = s(o) b(LN(c'; gain_c, bias_c))``; the rest as in `LSTMCell`.
    """

    slots, terms = 8, 4  # W x and R h of i, f, g, o
    input_slots, input_gates = (0, 1, 2, 3), (0, 1, 2, 3)
    recurrent_slots, recurrent_gates = (4, 5, 6, 7), (0, 1, 2, 3)
    layer_norms = (LayerNorm(0, 4, 0), LayerNorm(4, 4, 0))
    normalizes_cell = True
    unit_values = (
        "bias_c",
        "gain_ih_i", "gain_ih_f", "gain_ih_g", "gain_ih_o",
        "gain_hh_i", "gain_hh_f", "gain_hh_g", "gain_hh_o",
        "gain_c",
    )  # fmt: skip

    def forward(self, pre, state, per_unit):
        gate, activation = self.gate_activation, self.activation
        i, f, g, o = gate.value(pre[0]), gate.value(pre[1]), activation.value(pre[2]), gate.value(pre[3])
        c = f * state[1] + i * g
        saved = gate.keep(pre[0], i), gate.keep(pre[1], f), activation.keep(pre[2], g), gate.keep(pre[3], o)
        return (o, c), saved

    def output(self, o, c):
        return o * self.output_activation.value(c)

    def output_adjoint(self, saved, c, dh):
        output = self.output_activation
        from_c = output.value(c)
        dc = dh * self.gate_activation.output(saved[3]) * output.slope(output.keep(c, from_c))
        return dh * from_c, dc

    def adjoint(self, saved, state, new, dnew, per_unit):
        gate, activation = self.gate_activation, self.activation
        i, f, g = gate.output(saved[0]), gate.output(saved[1]), activation.output(saved[2])
        do, dc = dnew
        di = dc * g * gate.slope(saved[0])
        df = dc * state[1] * gate.slope(saved[1])
        dg = dc * i * activation.slope(saved[2])
        return (di, df, dg, do * gate.slope(saved[3])), (0 * do, dc * f)


@dataclass(frozen=True)
class NormalizedGRUCell(NormalizedCell, GRUAfterCell):
    """Normalized gated recurrent unit (arXiv:1607.06450, supplement): statistics over r and z, and over n by itself.

    ``(r, z) = LN(W x; gain_ih, bias_ih) + LN(R h; gain_hh, bias_hh)``,
    ``n = a(LN(W_n x; gain_ih, bias_ih) + s(r) LN(R_n h; gain_hh, bias_hh))``; the rest as in `GRUAfterCell`.
    """

    slots, terms = 6, 4  # W x of n, r, z and R h of r, z, n; the terms are n's first part, r, z, n's second part
    input_slots, input_gates = (0, 1, 2), (2, 0, 1)
    recurrent_slots, recurrent_gates = (3, 4, 5), (0, 1, 2)
    layer_norms = (LayerNorm(0, 1, 0), LayerNorm(1, 2, 1), LayerNorm(3, 2, 1), LayerNorm(5, 1, 3))
    unit_values = ("gain_ih_n", "gain_ih_r", "gain_ih_z", "gain_hh_r", "gain_hh_z", "gain_hh_n")
