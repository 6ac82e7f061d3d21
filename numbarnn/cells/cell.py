"""What a cell must say of itself for a kernel to run it."""

import functools
from dataclasses import fields, is_dataclass
from typing import ClassVar

from ..descriptions.fingerprint import Fingerprinted, fingerprint
from ..errors import CellError
from .activations import Function


class Cell(Fingerprinted):
    """The equations of one recurrent unit, forward and adjoint, on values of any kind that add and multiply.

    A cell is a frozen dataclass.  Equations may read what is a constant in it: numbers, tuples of numbers, activation
    functions, other cells; and they may call methods.  Cells of one class are equal if they have the same fingerprint:
    if all is equal that they are made of.

    A backend runs the methods on SIMD vectors (CPU), on scalars (CUDA) or on plain numbers (Python).  All of them take
    and return tuples:

    * ``pre``: one pre-activation per *slot*, the sums ``W x + R h + b`` that are summed separately;
    * ``state``: ``(h,)`` or ``(h, c)`` before the step, ``new`` after it;
    * ``per_unit``: one value per name in `unit_values`, then one per name in `drives`;
    * ``saved``: what the adjoint needs besides the states;
    * ``dpre``, ``dstate``: derivatives of the loss with respect to `pre` and `state`; `dpre` has one for each slot, then
      one for each of `unit_values`.

    `unit_values` are numbers that each hidden unit has for itself, parameters (a peephole) or constants (a rate); `drives`
    are numbers that come in from outside for each step, sequence and unit (a mask, noise), and have no derivative.

    A slot receives ``W x`` of one gate, ``R h`` of one gate, or both; a gate whose two parts meet only after something
    happened to one of them (GRU, reset "after") has a slot for each.  A cell whose candidate sees the state through a
    gate (GRU, reset "before") names that slot in `gated_slots`: its R multiplies what the method `gate` returns.

    Where h is `projected`, ``new[0]`` of `forward` is what a matrix then takes to h, and ``dnew[0]`` its derivative.  Its
    channels are no units: ``state[0]`` is 0, and so is what the adjoint gets as ``new[0]``; its ``dstate[0]`` is not read.
    """

    gates: ClassVar[tuple[str, ...]]  # in the order of the parameters: PyTorch's
    states: ClassVar[int] = 1
    slots: ClassVar[int]
    saved: ClassVar[int]  # values kept per unit and step for the adjoint
    input_slots: ClassVar[tuple[int, ...]]  # consecutive slots that receive W x ...
    input_gates: ClassVar[tuple[int, ...]]  # ... and the gate whose W that is
    recurrent_slots: ClassVar[tuple[int, ...]]  # consecutive slots that receive R h ...
    recurrent_gates: ClassVar[tuple[int, ...]]  # ... and the gate whose R that is
    gated_slots: ClassVar[tuple[int, ...]] = ()  # consecutive slots that receive R times the operand of `gate` ...
    gated_gates: ClassVar[tuple[int, ...]] = ()  # ... and the gate whose R that is

    projected: ClassVar[bool] = False  # whether a matrix takes what the equations make to h, which they do not see

    unit_values: ClassVar[tuple[str, ...]] = ()
    drives: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name in ("__eq__", "__hash__"):  # else a dataclass makes its own, of the fields alone
            if name not in vars(cls):
                setattr(cls, name, getattr(Cell, name))

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return self.fingerprint == other.fingerprint

    def __hash__(self):
        return hash(self.fingerprint.digest)

    def __getstate__(self):
        """The fields alone: not what a backend keeps in the cell, which is of one process."""
        return {f.name: getattr(self, f.name) for f in fields(self)} if is_dataclass(self) else {}

    def check_unchanged(self):
        """Raise, naming what, if the cell is not made of what it was when its fingerprint was taken."""
        if fingerprint(self, fresh=True) != self.fingerprint:
            inside = [value for value in self.__getstate__().values() if isinstance(value, Fingerprinted)]
            changed = [value for value in inside if fingerprint(value, fresh=True) != value.fingerprint]
            raise CellError(
                f"{(changed or [self])[0]!r}: expected what it was when it was made, but a function, a global or an array "
                "that it reads has changed since; make it and its layer anew"
            )

    def check_differentiable(self):
        """Raise if there is no adjoint or, naming the field, an activation function has no slope."""
        if type(self).adjoint is Cell.adjoint and type(self).forward is not Cell.forward:
            raise TypeError(
                f"{type(self).__name__} has no method adjoint, so there is no tape for backward; it may only be called"
            )
        for name, value in self.__getstate__().items():
            if isinstance(value, Cell):
                value.check_differentiable()
            if isinstance(value, Function) and not (value.differentiable and type(value).slope is not Function.slope):
                raise TypeError(f"{name}: {value!r} has no slope, so there is no tape for backward; it may only be called")

    @property
    def unit_value_count(self):
        """Values of each unit."""
        return len(self.unit_values)

    @property
    def drive_count(self):
        """Numbers that come in from outside for each step, sequence and unit."""
        return len(self.drives)

    @property
    def gate_count(self):
        """Gates, each with its own part of the weights."""
        return len(self.gates)

    @property
    def dpre_count(self):
        """Derivatives that the adjoint returns first: of the slots, then of the values of a unit."""
        return self.slots + self.unit_value_count

    @functools.cached_property
    def feeds_every_gate(self):
        """Whether each gate feeds a slot by each of its weights: where it does not, a part of them has no effect."""
        gates = list(range(self.gate_count))
        recurrent = sorted({*self.recurrent_gates, *self.gated_gates})
        return sorted(set(self.input_gates)) == gates and recurrent in ([], gates)

    @property
    def input_span(self):
        """(first, number) of the slots that receive ``W x``."""
        return span(self.input_slots)

    @property
    def recurrent_span(self):
        """(first, number) of the slots that receive ``R h``."""
        return span(self.recurrent_slots)

    @property
    def gated_span(self):
        """(first, number) of the slots that receive ``R`` times the gated operand."""
        return span(self.gated_slots)

    @property
    def normalized_values(self):
        """Values of a unit that are normalized at a step; see `normalized.NormalizedCell`."""
        return 0

    @property
    def deviations(self):
        """Standard deviations of a sample at a step; see `normalized.NormalizedCell`."""
        return 0

    def bias_slot(self, slot):
        """The place in `dpre` of what sums to the derivative of a slot's bias."""
        return slot

    def forward(self, pre, state, per_unit):
        """``(new, saved)`` of one step."""
        raise NotImplementedError

    def adjoint(self, saved, state, new, dnew, per_unit):
        """``(dpre, dstate)``: what `dnew` asks of the pre-activations and, past them, of the state."""
        raise NotImplementedError

    def gate(self, pre, state, per_unit):
        """``(pre, operand)``: apply the gates that come first; `operand` is what the gated slots' R multiplies."""
        return pre, state[0]

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        """``(dpre, dstate)`` with the part of `gate` added, from the derivative of its operand.

        The derivatives of the gated slots are returned as they are: other units are reading them at the same time.
        """
        return dpre, (dstate[0] + doperand,) + dstate[1:]  # noqa: RUF005 (Numba knows tuples that are added)


def span(slots):
    """(first, number) of a run of consecutive slots; (0, 0) for none."""
    return (slots[0], len(slots)) if slots else (0, 0)
