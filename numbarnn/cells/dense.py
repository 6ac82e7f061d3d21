"""A layer without recurrence, in the words of a cell."""

from dataclasses import dataclass

from .activations import Function, Identity
from .cell import Cell


@dataclass(frozen=True)
class DenseCell(Cell):
    """``y = f(W x + b)``: one slot, fed by the input alone."""

    activation: Function = Identity()

    gates = ("y",)
    slots, saved = 1, 0
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (), ()
