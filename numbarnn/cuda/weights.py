"""Weights and their gradients between the order of the parameters and the order of a cell's slots, and sums over rows."""

import functools

import numpy as np

from .arrays import asarray, empty
from .device import blocks_for, cuda, function, kernel, stream_address
from .launches import launch
from .records import MOST_BIASES, MOST_SLOTS, Bias, Copies, Gates

PIECE = 128  # rows of a partial sum
MOST_ROWS = 2 * PIECE  # that one thread sums: to launch another kernel would take longer
ORDERS = 10  # fields of a copy before the places of its slots
ROW = ORDERS + MOST_SLOTS


@kernel
def copy_all(real, call, table, source, target, zeroed):
    """Run `Copies` of a table of rows, see `_row`; target and zeroed are modified."""
    for i in range(cuda.grid(1), call.numbers + call.zeros, cuda.gridsize(1)):
        if i >= call.numbers:
            zeroed[call.first_zero + i - call.numbers] = real
            continue
        row = 0
        while i >= table[row * ROW]:
            row += 1
        at = row * ROW
        slots, units = table[at + 1], table[at + 2]
        k = i - (table[at - ROW] if row > 0 else 0)
        unit, slot, line = k % units, k // units % slots, k // units // slots
        value = real
        if table[at + 3] < 0:  # a bias: what there is of it, added up
            for j in range(MOST_BIASES):
                if table[at + ORDERS + j] >= 0:
                    value += source[table[at + ORDERS + j] + unit]
        else:
            value = source[
                table[at + 3] + line * table[at + 4] + table[at + ORDERS + slot] * table[at + 5] + unit * table[at + 6]
            ]
        target[table[at + 7] + line * table[at + 8] + slot * table[at + 9] + unit] = value


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


@function
def spread(call, places, column, total, target, gradient):
    """Write a column's sum to the target, and to the gradients that it is; both are modified."""
    target[call.target + column] = total
    slot, unit = column // call.units, column % call.units
    for j in range(MOST_BIASES):
        place = places[slot * MOST_BIASES + j]
        if place >= 0:
            if call.add:
                gradient[place + unit] += total
            else:
                gradient[place + unit] = total


@function
def sum_column(real, call, column, source):
    """The sum of a column, PIECE rows at a time: of the rows, or where they are many of what `sum_pieces` has left."""
    total = real
    if call.rows <= MOST_ROWS:
        for first in range(0, call.rows, PIECE):
            piece = real
            for row in range(first, min(first + PIECE, call.rows)):
                piece += source[call.source + row * call.source_row + column]
            total += piece
    else:
        for piece in range((call.rows + PIECE - 1) // PIECE):
            total += source[call.partial + piece * call.columns + column]
    return total


def pieces_of(rows):
    """Partial sums of so many rows."""
    return -(-rows // PIECE)


def prepare_sums(real, call, scratch):
    """Before a kernel that asks `sum_column`: sums of pieces, where there are many rows; scratch is modified."""
    if call.rows > MOST_ROWS:
        launch(sum_pieces, blocks_for(pieces_of(call.rows) * call.columns), real, call, scratch, scratch)


def on_device(numbers):
    """A table of integers on the device, sent there once."""
    return _sent(numbers, stream_address())


@functools.lru_cache(maxsize=256)
def _sent(numbers, stream):
    return asarray(np.array(numbers, np.int64))


def copy(real, copies, source, target, zeroed=None, first_zero=0, zeros=0):
    """Run all copies in one launch (target is modified), and write so many zeros to an array `zeroed` (is modified).

    copies: `Gates` and `Bias`; no number of the target is written twice.
    """
    rows, end = [], 0
    for each in copies:
        if numbers := _numbers(each):
            end += numbers
            rows += _row(each, end)
    if end + zeros:
        table = on_device(tuple(rows) or (0,))
        call = Copies(end, zeros, first_zero)
        launch(copy_all, blocks_for(end + zeros), real, call, table, source, target, target if zeroed is None else zeroed)


def _numbers(copy):
    return copy.units if isinstance(copy, Bias) else copy.rows * copy.slots * copy.units


def _row(copy, end):
    """A copy as a row of the kernel's table: where its numbers end among the numbers of all copies, and its fields."""
    if isinstance(copy, Bias):
        return end, 1, copy.units, -1, 0, 0, 1, copy.target, 0, 0, *_filled(copy.sources, -1)
    return (
        end, copy.slots, copy.units, copy.source, copy.source_row, copy.source_slot, copy.source_unit, copy.target,
        copy.target_row, copy.target_slot, *_filled(copy.source_order, 0),
    )  # fmt: skip


def _filled(places, rest):
    return *places, *(rest,) * (MOST_SLOTS - len(places))


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


def packed(size, at):
    """Copies of a layer's weights into the order of its slots, and of the sums of biases.

    at: where `input`, `recurrent`, `gated`, `projection` and `bias` are to be; see `records.Recurrent`.
    """
    cell, hidden, (starts, stride) = size.cell, size.hidden, size.parameters
    gates = len(cell.gates)
    for d in range(size.directions):
        first, sources = d * stride, [[] for _ in range(cell.slots)]
        for group in size.gate_groups:
            slots = len(group.slots)
            place = at[group.name] + d * group.rows * slots * hidden
            yield Gates(
                group.rows, slots, hidden, first + starts[group.weight], gates * hidden, hidden, 1, group.gates, place,
                slots * hidden, hidden,
            )  # fmt: skip
            for gate, slot in zip(group.gates, group.slots):
                sources[slot].append(first + starts[group.bias] + gate * hidden)
        if cell.projected:
            yield _matrix(hidden, size.width, first + starts["weight_hr"], at["projection"] + d * hidden * size.width)
        for slot, of_slot in enumerate(sources):
            yield Bias(hidden, tuple(of_slot), at["bias"] + (d * cell.slots + slot) * hidden)


def transposed(size, at):
    """Copies of a layer's weights to where units follow each other for what backward multiplies them with.

    at: where `recurrent`, `gated` and `projection` are to be.
    """
    hidden, (starts, stride) = size.hidden, size.parameters
    gates = len(size.cell.gates)
    for d in range(size.directions):
        first = d * stride
        for group in size.gate_groups:
            slots = len(group.slots)
            if group.name == "input":
                continue
            yield Gates(
                hidden, slots, group.rows, first + starts[group.weight], 1, hidden, gates * hidden, group.gates,
                at[group.name] + d * slots * hidden * group.rows, group.rows, hidden * group.rows,
            )  # fmt: skip
        if size.cell.projected:
            call = _matrix(size.width, hidden, first + starts["weight_hr"], at["projection"] + d * size.width * hidden)
            yield call._replace(source_row=1, source_unit=size.width)


def bias_places(size, direction):
    """For each slot of dpre, MOST_BIASES places in the gradient that the sum of its rows goes to, -1 for none."""
    cell, (starts, stride) = size.cell, size.parameters
    found = [[] for _ in range(cell.dpre_count)]
    for group in size.gate_groups:
        for index, gate in enumerate(group.gates):
            place = direction * stride + starts[group.bias] + gate * size.hidden
            found[cell.bias_slot(group.slots[0]) + index].append(place)
    return tuple(place for places in found for place in (*places, *(-1,) * (MOST_BIASES - len(places))))


def _matrix(rows, columns, source, target):
    """A copy of a contiguous matrix."""
    return Gates(rows, 1, columns, source, columns, 0, 1, (0,), target, columns, 0)
