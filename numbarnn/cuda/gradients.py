"""What backward sums over all rows after the loop over time: gradients of weights, biases, values of units, and dx."""

from .product import multiply
from .records import Gates, Product, Sums
from .rows import matrix_of, previous_rows
from .weights import move_gates, order, sum_rows


def sums_over_rows(tape, scratch, at, gradient, accumulate, dunit_values, dx, stream):
    """Fill the gradient, dunit_values and dx, which may be None, of a layer whose dpre is in scratch (all are modified).

    at: where in the memory of scratch its buffers are; scratch also takes x where it does not lie as a matrix.
    """
    size, cell, hidden, rows = tape.size, tape.size.cell, tape.size.hidden, tape.size.rows
    real, columns, (starts, stride) = size.dtype.type(0), cell.dpre_count * hidden, size.parameters
    x = matrix_of(tape.x, scratch, at["x"] - scratch.offset)
    for d in range(size.directions):
        first, dpre = gradient.offset + d * stride, at["dpre"] + d * rows * columns
        call = Sums(rows, columns, dpre, columns, at["sums"], at["partial"], 0)
        sum_rows(real, call, scratch.memory, scratch.memory, scratch.memory, stream)
        for group in size.gate_groups:
            if group.slots:
                factor, keep = _factor(tape, group.name, d, x)
                _weight_gradient(size, group, factor, dpre, scratch, at, first, gradient, accumulate, stream)
                del keep
        if cell.projected:
            call = Product(
                hidden, size.width, rows, tape.call.operand + d * hidden, 1, size.directions * hidden,
                at["dprojected"] + d * rows * size.width, size.width, 1, first + starts["weight_hr"], size.width, 1,
                int(accumulate),
            )  # fmt: skip
            multiply(real, call, tape.block.memory, scratch.memory, gradient.memory, stream)
        if cell.unit_values:
            found = at["sums"] - scratch.offset + (cell.dpre_count - cell.unit_value_count) * hidden
            dunit_values[d][...] = scratch[found : found + dunit_values[d].size].reshape(*dunit_values[d].shape)
        if dx is not None:
            width, weight = len(cell.input_slots) * hidden, tape.block.offset + tape.layout.offsets["input"]
            call = Product(
                rows, size.channels, width, dpre + cell.input_slots[0] * hidden, columns, 1,
                weight + d * size.channels * width, 1, width, dx.offset, size.channels, 1, int(d > 0),
            )  # fmt: skip
            multiply(real, call, scratch.memory, tape.block.memory, dx.memory, stream)


def _weight_gradient(size, group, factor, dpre, scratch, at, first, gradient, accumulate, stream):
    """The gradient of one weight and its bias, from dpre and what the weight multiplied; gradient is modified."""
    cell, hidden, slots, (starts, _) = size.cell, size.hidden, len(group.slots), size.parameters
    source, start, row, channel = factor
    call = Product(
        group.rows, slots * hidden, size.rows, start, channel, row, dpre + group.slots[0] * hidden,
        cell.dpre_count * hidden, 1, at["gradient"], slots * hidden, 1, 0,
    )  # fmt: skip
    multiply(size.dtype.type(0), call, source, scratch.memory, scratch.memory, stream)
    gates, place, add = len(cell.gates), order(group.gates), int(accumulate)
    call = Gates(
        group.rows, slots, hidden, at["gradient"], slots * hidden, hidden, 1, order(range(slots)),
        first + starts[group.weight], gates * hidden, hidden, 1, place, add,
    )  # fmt: skip
    move_gates(call, scratch.memory, gradient.memory, stream)
    sums = at["sums"] + cell.bias_slot(group.slots[0]) * hidden
    call = Gates(
        1, slots, hidden, sums, 0, hidden, 1, order(range(slots)), first + starts[group.bias], 0, hidden, 1, place, add
    )
    move_gates(call, scratch.memory, gradient.memory, stream)


def _factor(tape, name, d, x):
    """What a weight multiplied, as a matrix like that of `matrix_of`, and what keeps its memory."""
    size = tape.size
    if name == "input":
        return x, None
    if name == "gated":
        return (tape.block.memory, tape.call.operand + d * size.hidden, size.directions * size.hidden, 1), None
    if not tape.packing.uniform:
        found = tape.h[:, d][previous_rows(tape.packing, d)]
        return (found.memory, found.offset, size.width, 1), found
    before = (0 if d == 0 else 2) * size.batch  # rows of h: a step starts from the block behind it, or the one ahead
    row = size.directions * size.width
    return (tape.block.memory, tape.call.h + before * row + d * size.width, row, 1), None
