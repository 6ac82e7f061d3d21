"""Operations one after the other, what forward leaves behind of them, and backward through them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..arrays.batch import Batch
from ..arrays.descriptor import TensorDescriptor
from ..arrays.indices import Indices
from ..descriptions.fields import Unsendable
from ..parameters import Parameters
from .base import Layer
from .masks import Masks
from .operations import NotInPrograms, Operation


class Chain(Operation):
    """Operations in a row, each reading what the one before it writes, as one."""

    def __init__(self, source):
        self.source = self.outputs = source
        self.operations = []

    def append(self, operation):
        """Add an operation that reads the chain's outputs, which are then its own; returns it."""
        self.operations.append(operation)
        self.outputs = operation.outputs
        return operation

    @property
    def learns(self):
        """Whether any of the operations has parameters."""
        return any(operation.learns for operation in self.operations)

    def forward(self):
        for operation in self.operations:
            operation.forward()

    def fills(self):
        return [fill for operation in self.operations for fill in operation.fills()]

    def start(self, initial):
        for operation in self.operations:
            operation.start(initial)

    def backward(self, adjoint, dy, need_x):
        for index in reversed(range(len(self.operations))):
            wanted = need_x or any(operation.learns for operation in self.operations[:index])
            dy = self.operations[index].backward(adjoint, dy, wanted)
        return dy

    def separable(self):
        return all(operation.separable() for operation in self.operations)

    def jvp(self, tangents, dx):
        for operation in self.operations:
            dx = operation.jvp(tangents, dx)
        return dx

    def steppers(self):
        return [step for operation in self.operations for step in operation.steppers()]

    def add_to(self, program):
        for operation in self.operations:
            operation.add_to(program)

    @property
    def nbytes(self):
        return sum(operation.nbytes for operation in self.operations)


@dataclass(frozen=True, eq=False)
class Tape(Unsendable):
    """What backward needs of one forward call: copies, but of `x`, which must not change while the tape is in use."""

    layer: Layer
    x: TensorDescriptor | Indices
    operation: Operation = field(repr=False)
    batch: Batch | None = field(default=None, repr=False)  # how the caller's arrays lie
    parameters: Parameters | None = field(default=None, repr=False)
    masks: Masks | None = field(default=None, repr=False)
    stack: tuple = field(default=(), repr=False)  # the kernels' tapes of stacked layers, the lowest first
    lease: object = field(default=None, repr=False)  # of a prepared call: its memory is the tape's as long as this lives

    instead = "copy x and the parameters, and call forward with them"

    def read_by_backward(self):
        """{name: arrays} of what backward reads, apart from what it is given."""
        masks = () if self.masks is None else self.masks.arrays.values()
        own = () if self.parameters is None else (self.parameters.flat,)
        x = self.x.array if self.lease is None else self.lease.x
        return {"the parameters": own, "x": (x,), "masks": masks}

    @property
    def nbytes(self):
        """Bytes of the arrays the tape holds, `x` not counted."""
        return self.operation.nbytes

    def redraw(self, random):
        """Draw new masks, for the next `fill`."""
        if self.masks is not None:
            self.masks.redraw(random)

    def start(self, initial):
        """Let the next `fill` start from a state, as `Stacked.checked_state` gives it, or afresh for None."""
        self.operation.start(initial)

    def final(self):
        """The state in which the last `fill` has ended, as `start` takes it: copies."""
        states = zip(*(part.final() for part in self.stack))
        return [np.concatenate(parts).reshape(-1, *parts[0].shape) for parts in states]

    def fill(self):
        """Run forward again, with x, the parameters and the masks as they are now."""
        self.operation.forward()

    def adjoint(self, dy, need_x, gradient, accumulate, dfinal=None, dcells=None, rows=None):
        """The Adjoint that goes back through the tape, from descriptors of what the caller of backward gives."""
        adjoint = Adjoint(gradient, accumulate, dfinal, dcells, rows=rows)
        adjoint.dx = self.operation.backward(adjoint, dy, need_x)
        return adjoint


@dataclass(eq=False)
class Adjoint(Unsendable):
    """Backward through a tape's operations, which `fill` runs: as often as wanted, after the tape was filled again.

    Attributes
    ----------
    gradient : Parameters
        dL/dp, of what the operations read (is modified).
    accumulate : bool
        Add to it instead of overwriting it.
    dfinal : list of numpy.ndarray or None
        dL/d(final state), (L, D, N, P or H) for each state of the cell.
    dcells : TensorDescriptor or None
        dL/d(c of every step).
    fills : list of callable
        What `fill` calls, in order.
    stack : list
        The kernels' adjoints of stacked layers, the lowest first.
    dx : TensorDescriptor or None
        dL/dx, (T, N, C).
    rows : numpy.ndarray or None
        (N, P): where the gradient of each row of the batch is written by itself (is modified), in the place of `gradient`;
        of operations that have `separable`.
    """

    gradient: Parameters
    accumulate: bool
    dfinal: list | None = None
    dcells: TensorDescriptor | None = None
    fills: list[Callable] = field(default_factory=list)
    stack: list = field(default_factory=list)
    dx: TensorDescriptor | None = None
    rows: np.ndarray | None = None

    instead = "copy what backward returns"

    def fill(self):
        """Run backward, with the tape and dy as they are now."""
        for fill in self.fills:
            fill()

    def spare(self):
        """Have the tape, when it is filled again, leave out what this never reads: no other adjoint of it will be used."""
        for fill in self.fills:
            owner = getattr(fill, "__self__", None)
            if hasattr(owner, "spare"):
                owner.spare()

    def add_to(self, program):
        """Add backward to a program, on the CPU; NotInPrograms, with the program as it was or not, if that cannot be."""
        for fill in self.fills:
            owner = getattr(fill, "__self__", None)  # what `fill` is the method of says how it is done in a program
            if not hasattr(owner, "add_to") or not owner.add_to(program):
                raise NotInPrograms("a step of backward")


def expect_tape(layer, tape):
    """Raise TypeError unless `tape` is of that layer."""
    if not isinstance(tape, Tape) or tape.layer != layer:
        raise TypeError(f"tape: expected one that {layer!r}.forward returned, got {tape!r}")
