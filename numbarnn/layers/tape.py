"""What forward of a stack of recurrent layers leaves behind, and backward through it."""

import functools
import math
from dataclasses import dataclass, field

from ..arrays.batch import Batch
from ..arrays.descriptor import TensorDescriptor
from ..arrays.devices import target_of
from ..descriptions.fields import Unsendable
from ..engine.keep import ALL, STATES, Keep
from ..errors import known_name, positive_integer
from ..parameters import Parameters
from .base import Layer
from .between import Between, BetweenAdjoint, Scaled
from .connectivity import EffectiveWeights
from .masks import Masks

TAPES = ("all", "states")


@dataclass(frozen=True)
class Stage:
    """One stacked layer of a tape: its kernels' tape, and what is done before and after."""

    scaled_input: Scaled | None
    tape: object  # `launch.Tape` of the target
    between: Between
    scaled_output: Scaled | None

    @functools.cached_property
    def fills(self):
        """Functions that run it again, in order."""
        parts = (self.scaled_input, self.tape, self.between, self.scaled_output)
        return [part.fill for part in parts if part is not None]


@dataclass(frozen=True)
class Tape(Unsendable):
    """What backward needs of one forward call: copies, but of `x`, which must not change while the tape is in use."""

    layer: Layer
    x: TensorDescriptor
    stages: tuple[Stage, ...] = field(repr=False)
    weights: EffectiveWeights | None = field(repr=False)  # None where kernels read the parameters themselves
    masks: Masks | None = field(repr=False)
    learned_state: bool = field(repr=False)  # whether it started from the state that the parameters hold, or from zeros
    batch: Batch | None = field(default=None, repr=False)  # how the caller's arrays lie
    parameters: Parameters | None = field(default=None, repr=False)

    instead = "copy x and the parameters, and call forward with them"

    def read_by_backward(self):
        """{name: arrays} of what backward reads, apart from what it is given."""
        masks = () if self.masks is None else self.masks.arrays.values()
        return {"the parameters": (self.parameters.flat,), "x": (self.x.array,), "masks": masks}

    @property
    def stack(self):
        """The kernels' tapes, the lowest layer's first."""
        return [stage.tape for stage in self.stages]

    @property
    def nbytes(self):
        """Bytes of the arrays the tape holds, `x` not counted."""
        return sum(tape.nbytes for tape in self.stack)

    def redraw(self, random):
        """Draw new masks, for the next `fill`."""
        if self.masks is not None:
            self.masks.redraw(random)

    def fill(self):
        """Run forward again, with x, the parameters and the masks as they are now."""
        if self.weights is not None:
            self.weights.fill()
        for stage in self.stages:
            for fill in stage.fills:
                fill()

    def steppers(self):
        """Functions that take one step of a stream, the lowest layer's first."""
        return [step for stage in self.stages for step in (stage.tape.stepper(), *stage.between.steppers())]


def kept(tape, checkpoints, steps):
    """The `Keep` that the arguments `tape` and `checkpoints` ask for on a sequence of so many steps."""
    known_name("tape", tape, TAPES)
    if checkpoints is None:
        return ALL if tape == "all" else STATES
    if tape != "all":
        raise ValueError(f"tape: expected 'all' together with checkpoints, got {tape!r}")
    if isinstance(checkpoints, str) and checkpoints == "sqrt":
        return Keep("checkpoints", math.isqrt(max(steps, 1) - 1) + 1)
    return Keep("checkpoints", positive_integer("checkpoints", checkpoints))


class Adjoint(Unsendable):
    """Backward through the stacked layers, which `fill` runs.

    Attributes
    ----------
    dx : TensorDescriptor or None
        dL/dx, (T, N, C).
    """

    instead = "copy what backward returns"

    def __init__(self, layer, tape, dy, dfinal, need_x, gradient, accumulate, dcells):
        self.layer, self.tape, self.into, self.accumulate = layer, tape, gradient, accumulate
        self.gradient = gradient
        if tape.weights is not None:  # that of what kernels read
            self.gradient, accumulate = gradient.zeros(), False
        self.stack, self._fills = [None] * layer.layers, []
        for index in reversed(range(layer.layers)):
            stage = tape.stages[index]
            if stage.scaled_output is not None:
                self._fills.append(functools.partial(stage.scaled_output.take_back, dy))
            between = BetweenAdjoint(stage.between, dy)
            adjoint = target_of(gradient.flat).launch.Adjoint(
                stage.tape, between.dy, None if dfinal is None else [s[index] for s in dfinal],
                need_x or index > 0, self.gradient.flat[gradient.offset(f"weight_ih_l{index}") :], accumulate, dcells,
            )  # fmt: skip
            self.stack[index] = adjoint
            self._fills += [between.fill, adjoint.fill]
            if stage.scaled_input is not None and adjoint.dx is not None:
                self._fills.append(functools.partial(stage.scaled_input.take_back, adjoint.dx))
            self._fills.append(functools.partial(between.add_residual, adjoint.dx))
            dy, dcells = adjoint.dx, None
        self.dx = dy

    @property
    def dinitial(self):
        """dL/d(initial state) of each stacked layer, the lowest first: (states, D, N, H)."""
        return [adjoint.dinitial for adjoint in self.stack]

    def fill(self):
        """Run backward, with the tape and dy as they are now."""
        for fill in self._fills:
            fill()
        weights, accumulate = self.tape.weights, self.accumulate
        if not self.layer.unit_parameters and not self.layer.learned_state:  # all is in what the kernels write
            if weights is not None:
                weights.take_back(self.gradient, self.into, accumulate)
            return
        for index, adjoint in enumerate(self.stack):
            self.layer._vectors_of(
                self.gradient, index, adjoint, self.tape.learned_state, accumulate and weights is None
            )
        if weights is not None:
            weights.take_back(self.gradient, self.into, accumulate)
