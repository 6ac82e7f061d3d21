"""What a kernel is told: one tuple of integers per call; offsets, lengths and strides in numbers, not in bytes.

Axis letters: T steps, N runs, D directions, I input channels, H hidden units, P channels of h (H, unless h is projected),
G gates, V values of a unit.  S counts the rows at work at all steps together, T N if all are.
The table has T + 3 entries: where each block of h begins, in rows (see `packing.Packing`).
A tuple goes to a kernel by value; its fields are read by name, compiled and simulated.
"""

from typing import NamedTuple


class Recurrent(NamedTuple):
    """One layer, forward or backward.

    Blocks of threads make a team of `splits`, which share the hidden units of `tile` rows of the batch through all steps.
    """

    steps: int  # T
    batch: int  # N
    rows: int  # S
    hidden: int
    width: int  # P
    directions: int
    splits: int  # blocks of a team
    units: int  # hidden units of a block; it has PARTS times as many threads for each group of rows abreast
    abreast: int  # groups of ROWS rows that a block has side by side
    tiles: int  # teams of a direction
    tile: int  # rows of a team
    from_region: int  # a region is what is done between two barriers: a phase of a step
    to_region: int
    on_chip: int  # 1 where a block keeps its part of the recurrent weights in shared memory
    keep: int  # 1 where `saved` is written
    # In the tape:
    recurrent: int  # [D, P, recurrent slots, H]: R; backward: [D, recurrent slots, H, P]
    gated: int  # [D, H, gated slots, H]; backward: [D, gated slots, H, H]
    projection: int  # [D, H, P]; backward: [D, P, H]
    bias: int  # [D, slots, H]
    h: int  # [T + 2 blocks, N, D, P]: block 0 the initial state of the forward direction, the last of the reverse one
    c: int  # like h, of H; [N, D, H] where it is not kept
    c_kept: int  # 1 where c has every step, 0 where it has one
    operand: int  # [S, D, H], what the gated R or the projection multiplies; [N, D, H] where it is not kept
    operand_kept: int  # likewise
    saved: int  # [D, S, saved, H]
    normalized: int  # [D, S, normalized, H], of a cell that normalizes
    deviations: int  # [D, S, deviations], likewise
    unit_values: int  # [D, V, H]
    drives: int  # [drives, S, D, H]
    # In scratch, of this call:
    inputs: int  # forward: [D, S, input slots, H], W x
    pre: int  # forward: [D, N, slots, H], what a step's first phase leaves to the next one
    dy: int  # backward: [S, D, P], -1 where there is none
    dcells: int  # backward: [S, D, H], -1 where there is none
    begun: int  # backward: 1 where dh and dc hold dL/d(final state), 0 where they begin as zeros
    dh: int  # backward: [D, N, P]: dL/dh of the last step on entry, of the initial state at the end
    dc: int  # backward: [D, N, H], likewise
    doperand: int  # backward: [D, N, H]
    dpre: int  # backward: [D, S, slots + V, H]
    dprojected: int  # backward: [D, S, P], dL/dh of each step, of a projected h


class Product(NamedTuple):
    """``C = A B`` or ``C += A B`` of matrices at any strides; C is (rows, columns), `depth` numbers make a sum."""

    rows: int
    columns: int
    depth: int
    a: int
    a_row: int
    a_depth: int
    b: int
    b_depth: int
    b_column: int
    c: int
    c_row: int
    c_column: int
    add: int  # 1 to add to C


class Each(NamedTuple):
    """A `Product` for each of several: how far each one's matrices lie behind the matrices of the one before."""

    count: int
    a: int
    b: int
    c: int


MOST_SLOTS = 8  # that one weight feeds
MOST_BIASES = 3  # of one slot: the biases of the input, of R, and of the gated R


class Gates(NamedTuple):
    """Copy of (rows, slots, units), each slot of the source at a place of its own; the target's units follow each other."""

    rows: int
    slots: int
    units: int
    source: int
    source_row: int
    source_slot: int
    source_unit: int
    source_order: tuple[int, ...]  # places, in slots
    target: int
    target_row: int
    target_slot: int


class Bias(NamedTuple):
    """The sum of some biases of one slot, of `units` numbers each."""

    units: int
    sources: tuple[int, ...]  # where they begin, at most MOST_BIASES
    target: int


class Copies(NamedTuple):
    """Copies that a table lists, and zeros from `first_zero` on."""

    numbers: int  # that all copies write
    zeros: int
    first_zero: int


class Sums(NamedTuple):
    """Sums over the rows of (rows, columns): to ``target + column``, and to the gradients of biases."""

    rows: int
    columns: int
    source: int
    source_row: int
    target: int
    partial: int  # [pieces, columns]
    units: int  # columns that are one slot's
    add: int  # 1 to add to the gradients


class Images(NamedTuple):
    """Windows over images, one image a row: the fields of `engine.windows.Windows`, and what becomes of them."""

    channels: int
    height: int
    width: int
    window_rows: int
    window_columns: int
    row_stride: int
    column_stride: int
    row_padding: int
    column_padding: int
    out_height: int
    out_width: int
    rows: int  # images
    filters: int  # of a convolution
    add: int  # 1 to add to a gradient
