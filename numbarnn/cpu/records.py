"""What a kernel is told: one record of integers per call, addresses and strides in bytes.

Axis letters: T steps, N batch, D directions, I input channels, H hidden units, P channels of h (H, unless h is projected),
G gates, S slots of the cell, V values it takes for each unit.
A call runs K consecutive steps of the T, a segment; without checkpoints there is one, and K is T.  Steps are counted in
the order a direction visits them: the reverse direction's segment lies at the mirrored times.
N counts the rows at work at a step.  In a ragged batch they grow fewer with time: where it says ``K, N`` or ``T, N``
there are as many rows as `packing.Packing` counts, one step after the other without a gap.
A buffer "in blocks" is ``[blocks, rows, (slot, unit)]``: hidden units in vectors, one to four vectors a block, all slots
of a block's units side by side, so that one panel of the product fills every gate of its units while they are in the
L1 cache.  The last block may be narrower, and its last vector is padded with zeros, never the user's array.
A row is "spread" where it takes an odd number of vectors.
"""

import functools

import numpy as np


def integers(*names):
    """Fields of a record, a 64-bit integer each."""
    return [(name, np.int64) for name in names]


# Rows of channels wherever they lie: their strides in T, N, C order; address 0 where there is none.  Step t lies
# step_table[t] step strides from the address, or t of them without a table; row n lies start_table[n] bytes further, or
# n batch strides without a table.
ROWS = np.dtype(integers("address", "step_stride", "batch_stride", "channel_stride", "step_table", "start_table"))

# Shared routines, by address.
FORWARD_NAMES = ("product", "row_product", "copy_rows")  # those that forward calls
ROUTINE_NAMES = (*FORWARD_NAMES, "times_transposed")
SPARSE_NAMES = (*FORWARD_NAMES, "sparse_product")  # those that it calls where weights are zero in most places
ROUTINES = np.dtype(integers(*ROUTINE_NAMES, "sparse_product"))

# The work that threads share, by address: `share` of the pool, the pool itself, and the tasks.
WORK = np.dtype(
    integers(
        "share",
        "pool",  # 0 where one thread does it all
        "share_parts",  # likewise, of `take_parts`; where units are split
        "take",  # `take_parts`
        "threads",  # how many share the work
        "task",  # of the cell: takes a part of the batch, or of the units, through time
        "pack_task",  # forward: packs weights
        "transpose_task",  # forward: packs them for backward, transposed
        "lists_task",  # forward: makes the lists of weights that are zero in most places; 0 where none may be
        "gradient_task",  # backward: sums gradients of weights
        "phases",  # regions of a step where units are split: 2 if the cell has gated slots, else 1
    )
)

# A run of slots that one weight feeds; or the projection, (H, P), whose blocks are MAX_VECTORS wide and of one slot.
GROUP = np.dtype(
    integers(
        "rows",  # what the weight multiplies, counted: I, P or H
        "first",  # the first slot
        "slots",  # their number, 0 for none
        "gates",  # [slots]: the gate that feeds each of them
        "parameter",  # where in a direction's parameters the weight (rows, G, H) starts
        "bias",  # where in a direction's parameters its bias (G, H) starts
        "bias_slot",  # backward: the first of the derivatives that sum to the bias's
        "weight",  # forward: [D] the weight in blocks; backward: its gradient
        "transposed",  # [D] [panels over rows, (block, slot, unit), row]: takes slot derivatives back to rows; 0: not wanted
        "entries",  # forward: the entries that the lists of a vector of units may have, see `sparse`; 0 where there are none
        "lists",  # forward: [D, blocks] of lists
    )
)

CALL = integers(
    "steps",  # K
    "start",  # the first step of the segment
    "total",  # T
    "batch",
    "table",  # [T + 3] first row of each block of h, where rows grow fewer; 0 where all are at work at every step
    "channels",
    "hidden",
    "width",  # P
    "item",  # bytes of a number
    "directions",
    "gates",  # G
    "slots",  # S; backward: slots and values of a unit, S + V
    "per_block",  # vectors of units in a block
    "tasks",  # parts the batch is split into, in each direction
    "splits",  # parts the hidden units are split into, in each direction; 1 where the batch is split
    "parts",  # parts the rows of a weight are split into, in each direction
    "claims",  # where units are split: who is at which of the regions of all steps, see `regions.take_parts`; this call only
    "chunk",  # steps between two changes from time to weights
    "segment_rows",  # room for the rows of K steps
    "parameters",  # [D] of weight_ih (I, G, H), weight_hh (P, G, H), biases (G, H), weight_hr (H, P); backward: gradient
    "direction_stride",  # from one direction's parameters to the next one's
    "bias",  # [D] one row in blocks, all slots; backward: its gradient
    "whole",  # 1 where h and c hold all T steps, 0 where they hold the segment's K
    "h",  # [T or K, + 2, N, D, P]: row 0 the initial state of the forward direction, the last row of the reverse one
    "c",  # like h, of H; a single step, overwritten by each, where nothing is kept
    "c_kept",  # 1 where c has every step, 0 where it has one
    "operand",  # [K, N, D, H], what the gated R or the projection multiplies; a single step where nothing is kept
    "operand_kept",  # likewise
    "saved",  # [D, K, N, blocks, (saved, unit)]: written by forward, read by backward
    "normalized",  # [D, K, N, blocks, (normalized, unit)]: likewise, of a cell that normalizes
    "deviations",  # [D, K, N, deviations]: likewise, what deviations from the mean were multiplied with
    "unit_value_count",  # V
    "unit_values",  # [D, V, padded H]: what the cell takes for each unit
    "drives",  # [drives] of ROWS: (T, N, D * H) of the caller, what the cell takes at each step
    "zeros",  # a vector of zeros
    "zero_start",  # address of a number: 1 where the initial state is zeros, which nobody gave; 0 for no such number
)
GROUPS = [("input", GROUP), ("recurrent", GROUP), ("gated", GROUP), ("projection", GROUP)]

FORWARD = np.dtype(
    [("routines", ROUTINES), ("work", WORK), ("x", ROWS)]
    + GROUPS
    + CALL
    + integers(
        "keep",  # 1 to fill `saved`, 0 to leave it alone
        "pack",  # 1 to pack the weights, 2 the transposed ones too, 0 where an earlier call has done it
        "wrong",  # becomes 1 where a weight or bias that is packed is not finite; it stays 1
        "inputs",  # x in order: [D, N * splits * chunk, I], this call only
        "pre",  # [D, tasks, blocks, chunk * rows of the task, (slot, unit)]: pre-activations, this call only
        "projected",  # [D, N, padded P]: h of a step, this call only
    )
)

BACKWARD = np.dtype(
    [("routines", ROUTINES), ("work", WORK), ("x", ROWS), ("dy", ROWS), ("dcells", ROWS)]
    + GROUPS
    + CALL
    + integers(
        "chunk_start",  # the first step of the chunk that tasks are at
        "chunk_steps",  # its steps
        "earlier_rows",  # rows of the chunk before the rows of its steps, where each step is a call of its own; else 0
        "accumulate",  # 1 to add to the gradient, 0 to overwrite it
        "chunk_rows",  # room for the rows of a chunk
        "dh",  # [D, N, spread P]: dL/dh of the last step on entry, of the initial state at the end
        "dc",  # [D, N, spread H]: likewise
        "doperand",  # [D, N, spread H], this call only
        "dpre",  # [D, blocks, chunk * N, (slot, unit)], this call only
        "dprojected",  # [D, blocks of the projection, chunk * N, channel]: dL/dh of each step, this call only
        "outputs",  # dy in order: [D, chunk * N, P], this call only
        "cell_outputs",  # dcells in order: [D, chunk * N, H], likewise
        "factors",  # [D, parts, chunk * N, spread factor_columns]: what a weight multiplied, this call only
        "factor_columns",  # columns of a part, at most, that are copied there together
        "dinputs",  # [D, chunk * N, spread I], this call only
        "dx",  # [D, T, N, I]; 0 where it is not asked for
        "discards_initial",  # 1 where nobody reads dL/d(initial state): what dh and dc end with is then something else
        "dunit_values",  # [D, V, padded H]: the gradient of unit_values
        "one",  # the number 1, in the dtype of the call
        "row_gradient",  # from one sequence's gradient to the next one's, where each has its own
        "row_scratch",  # from one row to the next, of what its gradient is summed in, at `bias`; of each direction
        "row_factors",  # likewise, of what a weight multiplied, at `factors`
        "row_gathered",  # likewise, at `gathered`
        "gathered",  # a block of dpre of some steps, where rows grow fewer
        "alone",  # [N] of each row its steps, those between two sums, and which sequence it is
    )
)

UNPACK = np.dtype(
    [("source", ROWS), ("target", ROWS)]
    + integers(
        "runs",
        "parts",  # into which they are split
        "block",  # runs that go through their steps together
        "columns",  # channels
        "lengths",  # [runs] steps to copy
        "ends",  # [runs] steps after which no zeros are written any more
    )
)


@functools.cache
def place(record, path):
    """Index of a field of `record`, seen as a vector of 64-bit integers; ``"input.rows"`` is a field of a field."""
    index = 0
    for name in path.split("."):
        record, offset = record.fields[name][:2]
        index += offset // 8
    return index
