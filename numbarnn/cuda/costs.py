"""What a step of a layer takes on a GPU, estimated: what `plans` choose by.

No figure here was measured.  Instructions are counted in the machine code for sm_90a (``python tests/cuda/loops.py``);
latencies, rates and what a barrier takes are from NVIDIA's manuals and from others' measurements of an H100.  Only ratios
matter to a choice, and a wrong choice costs time alone: the sums have one order whatever the plan.
"""

from typing import NamedTuple

CLOCK = 1.7  # cycles of a nanosecond
SCHEDULERS = 4  # of a multiprocessor: each starts an instruction of a warp a cycle
WARP = 32
BUSY = 1.3  # warps of a scheduler that keep it busy: a single one waits for its own loads now and then
BARRIER = 1100.0  # nanoseconds: a fence, an addition in memory, a look at it, an empty cache
LAUNCH = 2500.0  # nanoseconds from the end of one launch to the work of the next
BLOCK_BARRIER = 40  # cycles: a barrier of a block
LATENCY = 600  # cycles: numbers that others have written, from the second-level cache
EQUATIONS = 900  # cycles: a cell's equations of a row, and what they load
STAGED = 20  # instructions for a number that is copied to shared memory
UNDER_WAY = 8  # such numbers of a thread that are under way at a time
BYTES_OF_ONE = 64  # of the second-level cache in a cycle, for one multiprocessor
BYTES_OF_ALL = 2000  # the same for all of them together, which ask for the same lines at the same time
ELSEWHERE = (
    1.25  # what weights in memory take of the time estimated: they share its caches with all that is read and written
)


class Work(NamedTuple):
    """What the blocks of a call do in one region, a phase of a step: the same each time.

    Attributes
    ----------
    slots, depth, chunks : int
        Of the product, and parts of its depth that are copied to shared memory one after the other.
    units, parts : int
        Units of a block, and threads that share a sum.
    rows : int
        Rows of the batch that share what is read of the weights.
    abreast : int
        Such groups of rows that a block has side by side, with threads of their own.
    turns_of_rows : int
        How often it has so many.
    blocks : int
        In all.
    turns : int
        How often all multiprocessors get another block.
    weights : int
        Bytes of the weights that a block reads in memory for each group, 0 where they are on chip.
    waits : bool
        Whether blocks wait for each other.
    launched : bool
        Whether the region is a launch of its own.
    """

    slots: int
    depth: int
    chunks: int
    units: int
    parts: int
    rows: int
    abreast: int
    turns_of_rows: int
    blocks: int
    turns: int
    weights: int
    waits: bool
    launched: bool


def instructions(slots, on_chip):
    """Of a thread, for one number of the depth: 4 rows by `slots` multiplications and additions, and their loads."""
    return 6.2 + 6.25 * slots if on_chip else 6.5 + 7.25 * slots


def product_cycles(work):
    """Of the groups of rows abreast: the slowest of instructions, of shared memory, and of weights that are not there."""
    all_warps = -(-work.units * work.parts * work.abreast // WARP)
    numbers = work.depth / work.parts
    issued = numbers * instructions(work.slots, not work.weights) * max(all_warps / SCHEDULERS, BUSY)
    if work.weights:
        return ELSEWHERE * max(issued, work.abreast * work.weights / min(BYTES_OF_ONE, BYTES_OF_ALL / work.blocks))
    places = max(
        (WARP * (i + 1) - 1) // work.units - WARP * i // work.units + 1 for i in range(all_warps)
    )  # parts of a warp
    return max(issued, numbers * (work.slots + 1) * places * all_warps)


def nanoseconds(work):
    """Of one region."""
    threads = work.units * work.parts
    warps = max(threads * work.abreast / (WARP * SCHEDULERS), BUSY)
    each = work.depth * work.rows / threads
    staged = max(LATENCY * max(1, each / UNDER_WAY), each * STAGED * warps)
    summed = BLOCK_BARRIER * (2 * work.chunks + 3) + 3 * work.parts * work.slots * warps
    cycles = work.turns_of_rows * (staged + product_cycles(work) + summed + EQUATIONS)
    return work.turns * cycles / CLOCK + BARRIER * work.waits + LAUNCH * work.launched
