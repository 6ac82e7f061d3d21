"""Programs for batches of sequences of different lengths, made once in a `Room`: what they follow from batch to batch."""

import numpy as np

from ..arrays.packing import Room
from ..cpu import launch
from ..cpu.programs import add_copy
from ..cpu.ragged_programs import Changes, add_ends
from ..layers.chain import Chain
from ..layers.dense import MOST_ROWS, Linear
from ..layers.last import Ends, EndsAdjoint
from ..layers.operations import NotInPrograms
from ..layers.recurrence import Recurrence


def roomy_steps(steps):
    """So many steps or more, a power of two or halfway to the next: few rooms then serve batches of any length."""
    room = 1
    while room < steps:
        room *= 2
    return 3 * room // 4 if 3 * room // 4 >= steps else room


class Followed:
    """What programs follow that recurrent layers, `Dense` and `Last` are added to.

    Parameters
    ----------
    steps, count : int
        The most steps that a sequence has, and how many sequences a batch has.

    Attributes
    ----------
    room : Room
        Of the descriptors that the layers read and write.
    changes : Changes
        The numbers in records that follow.
    """

    def __init__(self, steps, count):
        if count == 1 and steps > MOST_ROWS:
            raise NotInPrograms("a single sequence, which dense layers take in pieces")
        self.room = Room(steps, count)
        self.changes = Changes(self.room)
        # For each direction, rows of the last step in h, and among all rows; and rows of h that the reverse one starts from.
        self._ends, self._steps = ([np.zeros(count, np.int64) for _ in range(2)] for _ in range(2))
        self._starts = np.zeros(count, np.int64)

    @property
    def arrays(self):
        """All that `follow` writes."""
        return [*self.changes.arrays, *self._ends, *self._steps, self._starts]

    def add_forward(self, program, operation):
        """Add an operation forward to a program; NotInPrograms if it cannot follow."""
        if isinstance(operation, Chain):
            for each in operation.operations:
                self.add_forward(program, each)
        elif isinstance(operation, Ends) and not operation.source.packing.uniform:
            source, (outputs, *_) = operation.source, operation.outputs.tnc
            if source.first_entry != 1:
                raise NotInPrograms("ends of what is no state")
            for channels, rows in zip(operation.directions, self._ends):
                add_ends(program, source.array[:, channels], outputs[:, channels], rows, 0)
        elif isinstance(operation, (Recurrence, Linear)):
            if not operation.source.packing.uniform:
                self._add_recurrence(program, operation)
            operation.add_to(program)
        elif not operation.outputs.packing.uniform:
            raise NotInPrograms("an operation on sequences of different lengths")
        else:
            operation.add_to(program)

    def _add_recurrence(self, program, operation):
        tape = operation.tape
        if tape.drives:
            raise NotInPrograms("drives, which lie as their own batch")
        if tape.size.directions == 2:  # a reverse run's first block is where another batch has had steps
            for state in (tape.h, tape.c)[: tape.size.cell.states]:
                add_ends(program, np.zeros((self.room.batch, state.shape[2]), state.dtype), state[:, 1], self._starts, 1)
        self.changes.add_pass(tape.forward.record)

    def add_backward(self, program, adjoint):
        """Add the way back through a layer to a program; NotInPrograms if it cannot follow."""
        for fill in adjoint.fills:
            owner = getattr(fill, "__self__", None)
            if isinstance(owner, EndsAdjoint) and not owner.dx.packing.uniform:
                dx = owner.dx.array
                cleared = add_copy(program, 0, dx.ctypes.data, dx.nbytes)
                self.changes.add(cleared[2:], "rows", dx[0].nbytes)
                for channels, rows in zip(owner.directions, self._steps):
                    add_ends(program, owner.dy.tnc[0][:, channels], dx[:, channels], rows, 1)
            elif not hasattr(owner, "add_to") or not owner.add_to(program):
                raise NotInPrograms("a step of backward")
            elif isinstance(owner, launch.Adjoint) and not owner.tape.packing.uniform:
                self.changes.add_pass(owner.backward.record, backward=True)
                if owner.sum is not None:
                    self.changes.add_sum(owner.sum, owner.dx)

    def follow(self, packing):
        """Have the next run be of the batch of a `Packing`, of as many runs."""
        self.changes.write(packing)
        self._starts[...] = packing.initial_rows(1)
        if packing.length.all():
            for d, run in enumerate((packing.last, packing.first)):
                self._ends[d][...], self._steps[d][...] = packing.final_rows(d)[run], packing.end_rows(d == 1)[1]
