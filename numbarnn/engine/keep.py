"""What a layer's forward keeps for later."""

import functools
import math
from dataclasses import dataclass

from ..errors import known_name, positive_integer

TAPES = ("all", "states")


@dataclass(frozen=True)
class Keep:
    """What forward keeps.

    what : {"nothing", "weights", "all", "states", "checkpoints"}
        ``weights``: those in blocks, for calls of `fill` with the same parameters.  The others are for backward: all it
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
        return self.what in ("all", "states", "checkpoints")


NOTHING, WEIGHTS, ALL, STATES = Keep(), Keep("weights"), Keep("all"), Keep("states")


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
