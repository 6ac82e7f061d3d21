"""The sizes of one layer's call on the GPU, and how blocks of threads share it: as `costs` estimates that it is fastest.

Axis letters: T steps, N runs, D directions, I input channels, H hidden units, P channels of h, V values of a unit; S counts
the rows at work at all steps together, T N if all are.
"""

import functools
import math
from typing import NamedTuple

from ..engine import sizes
from ..errors import CellError
from . import clusters, costs
from .clustered import group_of, parts_of
from .columns import COLUMN
from .device import SIMULATED
from .limits import limits
from .records import MOST_SLOTS
from .resident import MOST_ROWS
from .team import CHUNK, NORMALIZED_THREADS, PARTS, ROWS, SUMS, THREADS, exchange

WARP = 1 if SIMULATED else 32
UNITS = 1 if SIMULATED else WARP // PARTS  # a block's units are a multiple of them, its threads one of a warp's
MOST_ABREAST = 4  # groups of rows
PER_STEP = False  # whether every step is launches of its own: what the kernels through time are measured against
RESIDENT = True  # whether a small layer's blocks keep R in their registers: False to compare with the others


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
        if self.resident:
            return resident_teams(self, COLUMN)
        slots = max(len(self.cell.recurrent_slots), len(self.cell.gated_slots), 1)
        if self.in_clusters and (found := cluster_teams(self, slots, self.hidden)):
            return found
        return teams_of(self, slots, self.hidden, self.width * len(self.cell.recurrent_slots))

    def backward_teams(self):
        """How backward is shared."""
        if self.resident:
            return resident_teams(self, self.cell.dpre_count * COLUMN)
        depth = len(self.cell.recurrent_slots) * self.hidden
        if self.in_clusters and (found := cluster_teams(self, 1, depth)):
            return found
        widest = max(len(self.cell.recurrent_slots), len(self.cell.gated_slots), 1) * self.hidden
        return teams_of(self, 1, widest, depth)

    @property
    def plain(self):
        """Whether a step is R times h and the cell's equations, and no launch of its own as in `dual_steps`."""
        cell = self.cell
        return bool(
            not (PER_STEP or self.dtype.kind == "c")
            and cell.recurrent_slots
            and not (cell.gated_slots or cell.projected or cell.normalized_values)
        )

    @property
    def in_clusters(self):
        """Whether teams are clusters, if R has room there."""
        return clusters.wanted() and self.plain and self.cell.dpre_count <= SUMS

    @property
    def resident(self):
        """Whether a block has all units, and R in its registers: as the cell and H say, whatever the batch is."""
        cell, slots = self.cell, len(self.cell.recurrent_slots)
        if not (RESIDENT and self.plain):
            return False
        fits = self.hidden <= COLUMN and slots * _whole_warps(self.hidden) <= most_threads(cell)
        return fits and (SIMULATED or self.dtype.itemsize == 4)


class Teams(NamedTuple):
    """How one call is shared: the fields of `records.Recurrent`, and what a launch takes."""

    splits: int
    units: int
    tiles: int
    tile: int
    on_chip: bool
    shared_bytes: int
    together: bool  # whether all blocks run at once, so that a team can wait; else each region is a launch
    parts: int = PARTS  # threads of a unit, for each group of rows abreast
    abreast: int = 1  # groups of rows that a block has side by side
    resident: bool = False  # whether a block has all units, and R in its registers: see `resident`
    clustered: bool = False  # whether the team is a cluster: see `clustered`

    @property
    def waits(self):
        """Whether blocks wait for each other by a counter in memory."""
        return self.together and self.splits > 1 and not self.clustered

    @property
    def threads(self):
        """Threads of a block."""
        return self.units * self.parts * self.abreast


def most_threads(cell):
    """Of a block; in the simulator so few that small layers have teams of more than one."""
    if SIMULATED:
        return 32
    return NORMALIZED_THREADS if cell.normalized_values else THREADS


def _whole_warps(units):
    return -(-units // WARP) * WARP


def resident_teams(size, numbers):
    """The `Teams` of a call of `resident`: few rows a block, as long as there are multiprocessors.

    numbers: of a row in shared memory, besides the sums of its slots.
    """
    processors, _ = limits()
    slots = len(size.cell.recurrent_slots)
    tile = min(MOST_ROWS, max(1, -(-size.batch * size.directions // processors)))
    shared = tile * (numbers + slots * size.hidden) * size.dtype.itemsize
    return Teams(1, _whole_warps(size.hidden), -(-size.batch // tile), tile, False, shared, True, slots, resident=True)


def cluster_teams(size, slots, depth):
    """The `Teams` of a call whose teams are clusters; None if R has no room in their shared memory.

    slots, depth: of the products.  A block has as many groups of rows abreast as give each cluster that the GPU runs at a
    time one turn, or as there is room for.
    """
    processors, most_bytes = limits()
    units = -(-size.hidden // (clusters.CLUSTER * UNITS)) * UNITS
    groups = -(-size.batch // ROWS)
    abreast = min(-(-groups * size.directions // max(1, processors // clusters.CLUSTER)), MOST_ABREAST, groups)
    for count in range(max(abreast, 1), 0, -1):
        numbers = count * group_of(parts_of(units, slots), depth) + slots * depth * units
        if count * PARTS * units <= THREADS and numbers * size.dtype.itemsize <= most_bytes:
            tile, shared = ROWS * count, numbers * size.dtype.itemsize
            tiles = -(-size.batch // tile)
            return Teams(clusters.CLUSTER, units, tiles, tile, True, shared, True, abreast=count, clustered=True)
    return None


def teams_of(size, slots, depth, weights):
    """The `Teams` of a call, the fastest by `costs`.

    slots, depth: of the products; weights: numbers of the recurrent weights for each unit.
    """
    most_units = most_threads(size.cell) // PARTS
    most_abreast = 1 if size.cell.normalized_values else MOST_ABREAST
    call = size.hidden, size.batch, size.directions, slots, depth, weights, size.dtype.itemsize, most_units, most_abreast
    found = None if PER_STEP else fastest(*call, *limits())
    if found is not None:
        return found
    units = min(most_units, _whole_warps(size.hidden))
    shared = exchange(units, slots, depth) * size.dtype.itemsize
    return Teams(-(-size.hidden // units), units, -(-size.batch // ROWS), ROWS, False, shared, False)


@functools.lru_cache(maxsize=1024)
def fastest(hidden, batch, directions, slots, depth, weights, item, most_units, most_abreast, processors, most_bytes):
    """The fastest `Teams` of those whose blocks run at once; None if there are none.

    As much as `teams_of` takes, in numbers; of plans that take as long, the one of the fewest blocks.
    """
    best, least = None, math.inf
    for on_chip in (True, False) if weights else (False,):
        tried = set()
        for splits in range(1, -(-hidden // UNITS) + 1):
            units = -(-math.ceil(hidden / splits) // UNITS) * UNITS
            if units in tried or units > most_units:
                continue
            tried.add(units)
            splits = -(-hidden // units)
            most_tiles, groups = processors // (directions * splits), -(-batch // ROWS)
            if splits > 1 and not most_tiles:
                break  # more blocks than run at once
            tile = ROWS if splits == 1 else ROWS * max(1, -(-groups // most_tiles))
            tiles = -(-batch // tile)
            for abreast in range(1, min(tile // ROWS, most_units // units, most_abreast) + 1):
                shared = (exchange(units, slots, depth) * abreast + (weights * units if on_chip else 0)) * item
                if shared > most_bytes:
                    break
                work = costs.Work(
                    slots, depth, -(-depth // CHUNK), units, PARTS, ROWS, abreast, -(-tile // (ROWS * abreast)),
                    directions * tiles * splits, max(1, -(-directions * tiles * splits // processors)),
                    0 if on_chip else weights * units * item, splits > 1, False,
                )  # fmt: skip
                if (time := costs.nanoseconds(work)) < least:
                    together = splits == 1 or not SIMULATED
                    best, least = Teams(splits, units, tiles, tile, on_chip, shared, together, abreast=abreast), time
    return best
