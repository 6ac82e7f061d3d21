"""What a layer's forward keeps for later."""

import functools
import math
from dataclasses import dataclass

from ..errors import known_name, positive_integer

TAPES = ("all", "states")


@dataclass(frozen=True)
class Keep:
    """What forward keeps.

    what : {"nothing", "weights", "step", "all", "states", "checkpoints"}
        ``weights``: those in blocks, for calls of `fill` with the same parameters; ``step``: these and, of a single step,
        all that backward needs.  The others are for backward: all it
        needs; h and c of every step; or h and c at the start of each segment.  Backward runs a segment forward again to
        get what is missing, with the same bits.
    segments : int
        At most this many checkpoints.
    """

    what: str = "nothing"
    segments: int = 1

    @functools.cached_property
    def for_backward(self):
        """Whether backward may be asked for."""
        return self.what in ("step", "all", "states", "checkpoints")

    @functools.cached_property
    def weights(self):
        """Whether the parameters are read once, and not at each `fill`."""
        return self.what in ("weights", "step")

    @functools.cached_property
    def gates(self):
        """Whether all that backward needs of each step is kept."""
        return self.what in ("step", "all")


NOTHING, WEIGHTS, STEP, ALL, STATES = Keep(), Keep("weights"), Keep("step"), Keep("all"), Keep("states")


def kept(tape, checkpoints, steps):
    """The `Keep` that the arguments `tape` and `checkpoints` ask for on a sequence of so many steps."""
    if type(tape) is not str or tape not in TAPES:
        known_name("tape", tape, TAPES)
    if checkpoints is None:
        return ALL if tape == "all" else STATES
    if tape != "all":
        raise ValueError(f"tape: expected 'all' together with checkpoints, got {tape!r}")
    if isinstance(checkpoints, str) and checkpoints == "sqrt":
        return Keep("checkpoints", math.isqrt(max(steps, 1) - 1) + 1)
    return Keep("checkpoints", positive_integer("checkpoints", checkpoints))
