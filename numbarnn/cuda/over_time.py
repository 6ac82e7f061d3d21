"""The kernel that carries a layer through time: which one it is, and how it is launched."""

import numpy as np

from . import clustered, dense, dual_steps, resident
from .clusters import CLUSTER
from .launches import launch
from .rows import table_of


def counters_of(tape, teams):
    """Numbers of scratch that a call's counters take, an int64 for each team: 0 where no team waits."""
    size = tape.size
    return size.directions * teams.tiles * (8 // size.dtype.itemsize) if teams.waits and tape.recurrent else 0


def run_kernel(way, tape, call, teams, scratch, counters, dy=()):
    """Launch a kernel over time: once where its teams can wait, else once for each region.

    way: "forward" or "backward"; counters: where in scratch they are, zeros; dy: an array, for backward.
    """
    size, block, kernels = tape.size, tape.block, tape.kernels
    if teams.resident or teams.clustered:
        kernels = resident if teams.resident else clustered
    cell, real, kernel = size.cell, size.dtype.type(0), getattr(kernels, way)
    if kernels is dense:
        dense.run(kernel, cell, real, call, block, scratch, *dy)
        return
    if real.dtype.kind == "c":
        dual_steps.run(way, cell, real, call, block, scratch, *dy, table_of(tape.packing))
        return
    table, blocks = table_of(tape.packing), call.directions * teams.tiles * teams.splits
    if kernels is not tape.kernels:
        shape, cluster = (blocks, teams.threads, teams.shared_bytes), CLUSTER if teams.clustered else 1
        launch(kernel, shape, cell, real, call, block, scratch, *dy, table, cluster=cluster)
        return
    regions = call.steps * kernels.phases_of(cell) + (way == "backward")
    found = table if not teams.waits else scratch[counters : counters + counters_of(tape, teams)].view(np.int64)
    spans = [(0, regions)] if teams.together else [(region, region + 1) for region in range(regions)]
    for first, end in spans:
        args = (cell, real, call._replace(from_region=first, to_region=end), block, scratch, *dy, table, found)
        launch(kernel, (blocks, teams.threads, teams.shared_bytes), *args, together=teams.waits)
