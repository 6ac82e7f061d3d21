"""The sizes of one layer's call on the GPU, and how blocks of threads share it.

Axis letters: T steps, N runs, D directions, I input channels, H hidden units, P channels of h, V values of a unit; S counts
the rows at work at all steps together, T N if all are.
"""

import math
from typing import NamedTuple

from ..engine import sizes
from ..errors import CellError
from .device import SIMULATED
from .limits import limits
from .records import MOST_SLOTS
from .team import NORMALIZED_THREADS, PARTS, ROWS, SUMS, THREADS, exchange_end

WARP = 1 if SIMULATED else 32
PER_STEP = False  # whether every step is launches of its own: what the kernels through time are measured against


class Size(sizes.Size):
    """The sizes of one layer on one batch, and how blocks of threads share it."""

    def check_slots(self):
        """Raise unless a thread has room for the sums of the cell's slots."""
        name = type(self.cell).__name__
        for kind in ("input", "recurrent", "gated"):
            if (found := len(getattr(self.cell, f"{kind}_slots"))) > MOST_SLOTS:
                raise CellError(f"{name}.{kind}_slots: expected at most {MOST_SLOTS} slots on device 'cuda', got {found}")
        if self.cell.slots > SUMS:
            raise CellError(f"{name}.slots: expected at most {SUMS} on device 'cuda', got {self.cell.slots}")

    def weights(self):
        """{name: numbers} of the weights in the order of the slots; transposed, they take as many."""
        return {group.name: self.directions * group.rows * len(group.slots) * group.columns for group in self.groups}

    def forward_teams(self):
        """How forward is shared."""
        slots = max(len(self.cell.recurrent_slots), len(self.cell.gated_slots), 1)
        return teams_of(self, slots, self.hidden, self.width * len(self.cell.recurrent_slots))

    def backward_teams(self):
        """How backward is shared."""
        depth = len(self.cell.recurrent_slots) * self.hidden
        widest = max(len(self.cell.recurrent_slots), len(self.cell.gated_slots), 1) * self.hidden
        return teams_of(self, 1, widest, depth)


class Teams(NamedTuple):
    """How one call is shared: the fields of `records.Recurrent`, and what a launch takes."""

    splits: int
    units: int
    tiles: int
    tile: int
    on_chip: bool
    shared_bytes: int
    together: bool  # whether all blocks run at once, so that a team can wait; else each region is a launch

    @property
    def waits(self):
        """Whether blocks wait for each other."""
        return self.together and self.splits > 1

    @property
    def threads(self):
        """Threads of a block."""
        return self.units * PARTS


def most_threads(cell):
    """Of a block; in the simulator so few that small layers have teams of more than one."""
    if SIMULATED:
        return 32
    return NORMALIZED_THREADS if cell.normalized_values else THREADS


def teams_of(size, slots, depth, weights):
    """The `Teams` of a call: the weights on chip if they fit, on as few blocks as they fit on.

    slots, depth: of the products; weights: numbers of the recurrent weights for each unit.
    """
    processors, most_bytes = limits()
    hidden, item = size.hidden, size.dtype.itemsize
    most_units = most_threads(size.cell) // PARTS

    def shared(units, on_chip):
        return (exchange_end(units, slots, depth) + (weights * units if on_chip else 0)) * item

    tiles_of_batch = -(-size.batch // ROWS)
    for on_chip in () if PER_STEP else (True, False):
        for splits in range(1, -(-hidden // WARP) + 1):
            units = math.ceil(math.ceil(hidden / splits) / WARP) * WARP
            if units > most_units or shared(units, on_chip) > most_bytes or (on_chip and not weights):
                continue
            most_tiles = processors // (size.directions * splits)
            if splits > 1 and not most_tiles:
                break  # more blocks than run at once
            groups = 1 if splits == 1 else math.ceil(tiles_of_batch / most_tiles)
            tile = groups * ROWS
            return Teams(
                -(-hidden // units), units, -(-size.batch // tile), tile, on_chip, shared(units, on_chip),
                splits == 1 or not SIMULATED,
            )  # fmt: skip
    units = min(most_units, -(-hidden // WARP) * WARP)
    return Teams(-(-hidden // units), units, tiles_of_batch, ROWS, False, shared(units, False), False)
