"""A layer without recurrence, in the words of a cell."""

from dataclasses import dataclass

from .cell import ActivatedCell


@dataclass(frozen=True)
class DenseCell(ActivatedCell):
    """``y = f(W x + b)``: one slot, fed by the input alone."""

    activation: str = "identity"

    gates = ("y",)
    slots, saved = 1, 0
    input_slots, input_gates = (0,), (0,)
    recurrent_slots, recurrent_gates = (), ()
