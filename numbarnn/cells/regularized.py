"""Cells around other cells: what regularisation and noise do at each step."""

import functools
from dataclasses import dataclass

from .cell import Cell


@dataclass(frozen=True)
class CellAround(Cell):
    """A cell that has the slots, states and values of units of the one inside, and drives of its own after those."""

    inner: Cell

    @property
    def gates(self):
        return self.inner.gates

    @property
    def states(self):
        return self.inner.states

    @property
    def slots(self):
        return self.inner.slots

    @property
    def saved(self):
        return self.inner.saved

    @property
    def input_slots(self):
        return self.inner.input_slots

    @property
    def input_gates(self):
        return self.inner.input_gates

    @property
    def recurrent_slots(self):
        return self.inner.recurrent_slots

    @property
    def recurrent_gates(self):
        return self.inner.recurrent_gates

    @property
    def gated_slots(self):
        return self.inner.gated_slots

    @property
    def gated_gates(self):
        return self.inner.gated_gates

    @property
    def unit_values(self):
        return self.inner.unit_values

    @property
    def drives(self):
        return (*self.inner.drives, *self.own_drives)


@functools.lru_cache(maxsize=256)
def around(kind, cell, *options):
    """The cell of a class of these around `cell`: the same one at each call, which knows its fingerprint."""
    return kind(cell, *options)


@dataclass(frozen=True)
class PerturbedCell(CellAround):
    """Zoneout and noise (Krueger et al. 2017, arXiv:1606.01305, eq. 2): ``h'' = z h + (1 - z) h' + e``.

    h' is what the cell inside makes of h; z is 0 or 1 in training and its mean where there is none; e is noise.
    """

    own_drives = ("z_h", "e")

    @property
    def saved(self):
        return self.inner.saved + 1  # h'

    def gate(self, pre, state, per_unit):
        return self.inner.gate(pre, state, per_unit[:-2])

    def forward(self, pre, state, per_unit):
        new, saved = self.inner.forward(pre, state, per_unit[:-2])
        z, e = per_unit[-2], per_unit[-1]
        return (z * state[0] + (1 - z) * new[0] + e,), saved + new

    def adjoint(self, saved, state, new, dnew, per_unit):
        z = per_unit[-2]
        dinner = ((1 - z) * dnew[0],)
        dpre, dstate = self.inner.adjoint(saved[:-1], state, saved[-1:], dinner, per_unit[:-2])
        return dpre, (dstate[0] + z * dnew[0],)

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        return self.inner.gate_adjoint(saved[:-1], state, doperand, dpre, dstate, per_unit[:-2])


@dataclass(frozen=True)
class PerturbedMemoryCell(CellAround):
    """`PerturbedCell` for a cell with two states: ``h'' = z h + (1 - z) h' + e``, ``c'' = y c + (1 - y) c'``."""

    own_drives = ("z_h", "z_c", "e")

    @property
    def saved(self):
        return self.inner.saved + 2  # h', c'

    def gate(self, pre, state, per_unit):
        return self.inner.gate(pre, state, per_unit[:-3])

    def forward(self, pre, state, per_unit):
        new, saved = self.inner.forward(pre, state, per_unit[:-3])
        z, y, e = per_unit[-3], per_unit[-2], per_unit[-1]
        return (z * state[0] + (1 - z) * new[0] + e, y * state[1] + (1 - y) * new[1]), saved + new

    def adjoint(self, saved, state, new, dnew, per_unit):
        z, y = per_unit[-3], per_unit[-2]
        dinner = ((1 - z) * dnew[0], (1 - y) * dnew[1])
        dpre, dstate = self.inner.adjoint(saved[:-2], state, saved[-2:], dinner, per_unit[:-3])
        return dpre, (dstate[0] + z * dnew[0], dstate[1] + y * dnew[1])

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        return self.inner.gate_adjoint(saved[:-2], state, doperand, dpre, dstate, per_unit[:-3])


@dataclass(frozen=True)
class RecurrentDropoutCell(CellAround):
    """R multiplies ``m h`` in the place of h (Gal and Ghahramani 2016, arXiv:1512.05287, eq. 7): m is the same at each step.

    For cells whose R multiplies one thing: h, or what their `gate` makes of it.
    """

    own_drives = ("m",)

    @property
    def recurrent_slots(self):
        return ()

    @property
    def recurrent_gates(self):
        return ()

    @property
    def gated_slots(self):
        return self.inner.recurrent_slots or self.inner.gated_slots

    @property
    def gated_gates(self):
        return self.inner.recurrent_gates or self.inner.gated_gates

    def gate(self, pre, state, per_unit):
        pre, operand = self.inner.gate(pre, state, per_unit[:-1])
        return pre, per_unit[-1] * operand

    def forward(self, pre, state, per_unit):
        return self.inner.forward(pre, state, per_unit[:-1])

    def adjoint(self, saved, state, new, dnew, per_unit):
        return self.inner.adjoint(saved, state, new, dnew, per_unit[:-1])

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        return self.inner.gate_adjoint(saved, state, per_unit[-1] * doperand, dpre, dstate, per_unit[:-1])
