"""Cells around other cells whose state decays before a step: by how much, a slot says that the input feeds."""

from dataclasses import dataclass

from .activations import Function
from .elementary import exp, where
from .regularized import CellAround


@dataclass(frozen=True)
class Decay(Function):
    """``exp(-max(0, x))``: what is left, from 0 to 1 (Che et al. 2018, doi:10.1038/s41598-018-24271-9, eq. 10).

    Its slope is 0 where nothing is lost.
    """

    def value(self, x):
        return exp(where(x < 0, 0, -x))

    def slope(self, kept):
        return where(kept < 1, -kept, 0)


@dataclass(frozen=True)
class DecayedCell(CellAround):
    """A cell of one state that finds ``g h`` in the place of h, with ``g = exp(-max(0, d))`` (the same, eq. 16).

    The first slot is d, fed by the input alone, and the gate it is of is the last one.  The cell inside has no gated slots:
    here all of its recurrent ones are.
    """

    past: bool = False  # whether the last gate's R, times g h, feeds the first slot of the cell inside
    decay: Function = Decay()

    own_drives = ()
    feeds_every_gate = True  # the last gate's R, which may feed nothing, is no parameter

    @property
    def gates(self):
        return (*self.inner.gates, "decay")

    @property
    def slots(self):
        return self.inner.slots + 1

    @property
    def saved(self):
        return self.inner.saved + 1  # g

    @property
    def input_slots(self):
        return (0, *(slot + 1 for slot in self.inner.input_slots))

    @property
    def input_gates(self):
        return (self.inner.gate_count, *self.inner.input_gates)

    @property
    def recurrent_slots(self):
        return ()

    @property
    def recurrent_gates(self):
        return ()

    @property
    def gated_slots(self):
        return (*((1,) if self.past else ()), *(slot + 1 for slot in self.inner.recurrent_slots))

    @property
    def gated_gates(self):
        return (*((self.inner.gate_count,) if self.past else ()), *self.inner.recurrent_gates)

    def gate(self, pre, state, per_unit):
        g = self.decay.value(pre[0])
        return (g,) + pre[1:], g * state[0]  # noqa: RUF005 (Numba knows tuples that are added)

    def forward(self, pre, state, per_unit):
        g = pre[0]
        new, saved = self.inner.forward(pre[1:], (g * state[0],), per_unit)
        return new, saved + (g,)  # noqa: RUF005

    def adjoint(self, saved, state, new, dnew, per_unit):
        g = saved[-1]
        dpre, dstate = self.inner.adjoint(saved[:-1], (g * state[0],), new, dnew, per_unit)
        d = dstate[0] * state[0] * self.decay.slope(g)
        return (d,) + dpre, (g * dstate[0],)  # noqa: RUF005

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        g = saved[-1]
        d = dpre[0] + doperand * state[0] * self.decay.slope(g)
        return (d,) + dpre[1:], (dstate[0] + g * doperand,)  # noqa: RUF005


@dataclass(frozen=True)
class DecayedMemoryCell(DecayedCell):
    """`DecayedCell` for a cell with two states: it finds ``g h`` and ``g c`` in the place of h and c."""

    def forward(self, pre, state, per_unit):
        g = pre[0]
        new, saved = self.inner.forward(pre[1:], (g * state[0], g * state[1]), per_unit)
        return new, saved + (g,)  # noqa: RUF005

    def adjoint(self, saved, state, new, dnew, per_unit):
        g = saved[-1]
        dpre, dstate = self.inner.adjoint(saved[:-1], (g * state[0], g * state[1]), new, dnew, per_unit)
        d = (dstate[0] * state[0] + dstate[1] * state[1]) * self.decay.slope(g)
        return (d,) + dpre, (g * dstate[0], g * dstate[1])  # noqa: RUF005

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        g = saved[-1]
        d = dpre[0] + doperand * state[0] * self.decay.slope(g)
        return (d,) + dpre[1:], (dstate[0] + g * doperand, dstate[1])  # noqa: RUF005
