"""What a layer's forward keeps for later."""

from dataclasses import dataclass


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

    @property
    def for_backward(self):
        """Whether backward may be asked for."""
        return self.what in ("all", "states", "checkpoints")


NOTHING, WEIGHTS, ALL, STATES = Keep(), Keep("weights"), Keep("all"), Keep("states")
