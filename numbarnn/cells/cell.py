"""What a cell must say of itself for a kernel to run it."""

from dataclasses import fields
from typing import ClassVar

from .activations import Function


class Cell:
    """The equations of one recurrent unit, forward and adjoint, on values of any kind that add and multiply.

    A cell is a frozen dataclass; of its fields, equations may read those that are activation functions.

    A target runs the methods on SIMD vectors (CPU), on scalars (CUDA) or on plain numbers (Python).  All of them take
    and return tuples:

    * ``pre``: one pre-activation per *slot*, the sums ``W x + R h + b`` that are summed separately;
    * ``state``: ``(h,)`` or ``(h, c)`` before the step, ``new`` after it;
    * ``given``: one value per name in `unit_values`, then one per name in `drives`;
    * ``saved``: what the adjoint needs besides the states;
    * ``dpre``, ``dstate``: derivatives of the loss with respect to the same-named values; after those of the slots, `dpre`
      has one for each of `unit_values`.

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

    def __getstate__(self):
        """The fields alone: not what a target keeps in the cell, which is of one process."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def check_differentiable(self):
        """Raise, naming the field, if an activation function has no slope."""
        for name, value in self.__getstate__().items():
            if isinstance(value, Cell):
                value.check_differentiable()
            if isinstance(value, Function) and not value.differentiable:
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
        """Standard deviations of a sample at a step, likewise."""
        return 0

    def bias_slot(self, slot):
        """The derivative that sums to that of a slot's bias."""
        return slot

    def forward(self, pre, state, given):
        """``(new, saved)`` of one step."""
        raise NotImplementedError

    def adjoint(self, saved, state, new, dnew, given):
        """``(dpre, dstate)``: what `dnew` asks of the pre-activations and, past them, of the state."""
        raise NotImplementedError

    def gate(self, pre, state, given):
        """``(pre, operand)``: apply the gates that come first; `operand` is what the gated slots' R multiplies."""
        return pre, state[0]

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, given):
        """``(dpre, dstate)`` with the part of `gate` added, from the derivative of its operand.

        The derivatives of the gated slots are returned as they are: other units are reading them at the same time.
        """
        return dpre, (dstate[0] + doperand,) + dstate[1:]  # noqa: RUF005 (Numba knows tuples that are added)


def span(slots):
    """(first, number) of a run of consecutive slots; (0, 0) for none."""
    return (slots[0], len(slots)) if slots else (0, 0)
