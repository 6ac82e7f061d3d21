"""Weights and their gradients between the order of the parameters and that of a cell's slots, and sums over rows."""

from .arrays import asarray, empty
from .device import blocks_for, cuda, kernel
from .launches import launch
from .records import MOST_SLOTS, Gates

PIECE = 128  # rows of a partial sum


@kernel
def copy_gates(call, source, target):
    """Run a `Gates` copy; target is modified."""
    across = call.slots * call.units
    for i in range(cuda.grid(1), call.rows * across, cuda.gridsize(1)):
        row, slot, unit = i // across, i % across // call.units, i % call.units
        value = source[
            call.source + row * call.source_row + call.source_order[slot] * call.source_slot + unit * call.source_unit
        ]
        place = call.target + row * call.target_row + call.target_order[slot] * call.target_slot + unit * call.target_unit
        if call.add:
            value += target[place]
        target[place] = value


@kernel
def sum_pieces(real, call, source, partial):
    """Sums over PIECE rows each, to ``partial[piece, column]`` (is modified)."""
    pieces = (call.rows + PIECE - 1) // PIECE
    for i in range(cuda.grid(1), pieces * call.columns, cuda.gridsize(1)):
        piece, column = i // call.columns, i % call.columns
        total = real
        for row in range(piece * PIECE, min((piece + 1) * PIECE, call.rows)):
            total += source[call.source + row * call.source_row + column]
        partial[call.partial + i] = total


@kernel
def sum_partial(real, call, partial, target):
    """The sums of the pieces' sums, to target (is modified)."""
    pieces = (call.rows + PIECE - 1) // PIECE
    for column in range(cuda.grid(1), call.columns, cuda.gridsize(1)):
        total = real
        for piece in range(pieces):
            total += partial[call.partial + piece * call.columns + column]
        if call.add:
            total += target[call.target + column]
        target[call.target + column] = total


def pieces_of(rows):
    """Partial sums of so many rows."""
    return -(-rows // PIECE)


def sum_rows(real, call, source, scratch, target):
    """Run a `Sums`: each column's sum has one order, PIECE rows at a time."""
    launch(sum_pieces, blocks_for(pieces_of(call.rows) * call.columns), real, call, source, scratch)
    launch(sum_partial, blocks_for(call.columns), real, call, scratch, target)


def order(places):
    """`places` as a kernel takes them."""
    return (*places, *(0,) * (MOST_SLOTS - len(places)))


def move_gates(call, source, target):
    """Run a `Gates` copy, if there is anything to copy."""
    count = call.rows * call.slots * call.units
    if count:
        launch(copy_gates, blocks_for(count), call, source, target)


@kernel
def sum_sequences(real, shape, order, starts, source, target):
    """Sums over the runs of each sequence: shape is (directions, runs, sequences, width); target is modified.

    order: the row of each run, in the order of the sequences; starts: where each sequence's runs begin in it, and its end.
    """
    directions, runs, sequences, width = shape
    for i in range(cuda.grid(1), directions * sequences * width, cuda.gridsize(1)):
        direction, sequence, channel = i // (sequences * width), i // width % sequences, i % width
        total = real
        for r in range(starts[sequence], starts[sequence + 1]):
            total += source[(direction * runs + order[r]) * width + channel]
        target[i] = total


def sum_runs(array, packing):
    """The sum over the runs of each sequence of a contiguous array (D, runs, channels): (D, N, channels)."""
    directions, runs, width = array.shape
    target = empty((directions, packing.sequences, width), array.dtype)
    rows, starts = (asarray(indices) for indices in packing.runs_of_sequences)
    launch(
        sum_sequences, blocks_for(target.size), array.dtype.type(0), (directions, runs, packing.sequences, width), rows,
        starts, array, target,
    )  # fmt: skip
    return target


def pack_weights(size, parameters, target, at):
    """Copy a layer's weights into the order of its slots, and add the biases to those there; target is modified.

    at: where in it `input`, `recurrent`, `gated`, `projection` and `bias` are; see `records.Recurrent`.
    """
    cell, hidden, (starts, stride) = size.cell, size.hidden, size.parameters
    gates = len(cell.gates)
    for d in range(size.directions):
        first, bias = d * stride, at["bias"] + d * cell.slots * hidden
        for group in size.gate_groups:
            slots = len(group.slots)
            place = at[group.name] + d * group.rows * slots * hidden
            call = Gates(
                group.rows, slots, hidden, first + starts[group.weight], gates * hidden, hidden, 1, order(group.gates),
                place, slots * hidden, hidden, 1, order(range(slots)), 0,
            )  # fmt: skip
            move_gates(call, parameters, target)
            call = Gates(
                1, slots, hidden, first + starts[group.bias], 0, hidden, 1, order(group.gates), bias, 0, hidden, 1,
                order(group.slots), 1,
            )  # fmt: skip
            move_gates(call, parameters, target)
        if cell.projected:
            call = _matrix(hidden, size.width, first + starts["weight_hr"], at["projection"] + d * hidden * size.width)
            move_gates(call, parameters, target)


def transpose_weights(size, parameters, target, at):
    """Copy a layer's weights to where units follow each other for what backward multiplies them with; target is modified.

    at: where in it `recurrent`, `gated` and `projection` are.
    """
    hidden, (starts, stride) = size.hidden, size.parameters
    gates = len(size.cell.gates)
    for d in range(size.directions):
        first = d * stride
        for group in size.gate_groups:
            slots = len(group.slots)
            if group.name == "input":
                continue
            call = Gates(
                hidden, slots, group.rows, first + starts[group.weight], 1, hidden, gates * hidden, order(group.gates),
                at[group.name] + d * slots * hidden * group.rows, group.rows, hidden * group.rows, 1, order(range(slots)), 0,
            )  # fmt: skip
            move_gates(call, parameters, target)
        if size.cell.projected:
            call = _matrix(size.width, hidden, first + starts["weight_hr"], at["projection"] + d * size.width * hidden)
            move_gates(call._replace(source_row=1, source_unit=size.width), parameters, target)


def _matrix(rows, columns, source, target):
    """A copy of a contiguous matrix."""
    return Gates(rows, 1, columns, source, columns, 0, 1, order((0,)), target, columns, 0, 1, order((0,)), 0)
