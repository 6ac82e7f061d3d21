"""What backward sums over all rows after the loop over time: gradients of weights, biases, values of units, and dx."""

from .product import multiply
from .records import Product, Sums
from .rows import matrix_of, previous_rows
from .weights import bias_places, sum_rows


def sums_over_rows(tape, scratch, at, gradient, accumulate, dunit_values, dx):
    """Fill the gradient, dunit_values and dx, which may be None, of a layer whose dpre is in scratch (all are modified).

    at: where in scratch its buffers are; scratch also takes x where it does not lie as a matrix.
    """
    size, cell, hidden, rows = tape.size, tape.size.cell, tape.size.hidden, tape.size.rows
    real, columns, (starts, stride) = size.dtype.type(0), cell.dpre_count * hidden, size.parameters
    x = matrix_of(tape.x, scratch, at["x"])
    for d in range(size.directions):
        first, dpre = d * stride, at["dpre"] + d * rows * columns
        call = Sums(rows, columns, dpre, columns, at["sums"], at["partial"], hidden, int(accumulate))
        sum_rows(real, call, scratch, scratch, gradient, bias_places(size, d))
        for group in size.gate_groups:
            if group.slots:
                factor = _factor(tape, group.name, d, x)
                _weight_gradient(size, group, factor, dpre, scratch, first, gradient, accumulate)
        if cell.projected:
            call = Product(
                hidden, size.width, rows, tape.call.operand + d * hidden, 1, size.directions * hidden,
                at["dprojected"] + d * rows * size.width, size.width, 1, first + starts["weight_hr"], size.width, 1,
                int(accumulate),
            )  # fmt: skip
            multiply(real, call, tape.block, scratch, gradient)
        if cell.unit_values:
            found = at["sums"] + (cell.dpre_count - cell.unit_value_count) * hidden
            dunit_values[d][...] = scratch[found : found + dunit_values[d].size].reshape(*dunit_values[d].shape)
        if dx is not None:
            width, weight = len(cell.input_slots) * hidden, tape.layout.offsets["input"]
            call = Product(
                rows, size.channels, width, dpre + cell.input_slots[0] * hidden, columns, 1,
                weight + d * size.channels * width, 1, width, 0, size.channels, 1, int(d > 0),
            )  # fmt: skip
            multiply(real, call, scratch, tape.block, dx)


def _weight_gradient(size, group, factor, dpre, scratch, first, gradient, accumulate):
    """The gradient of one weight, from dpre and what the weight multiplied; gradient is modified."""
    cell, hidden, (starts, _) = size.cell, size.hidden, size.parameters
    source, start, row, channel = factor
    for index, count in _runs(group.gates):
        call = Product(
            group.rows, count * hidden, size.rows, start, channel, row, dpre + (group.slots[0] + index) * hidden,
            cell.dpre_count * hidden, 1, first + starts[group.weight] + group.gates[index] * hidden,
            len(cell.gates) * hidden, 1, int(accumulate),
        )  # fmt: skip
        multiply(size.dtype.type(0), call, source, scratch, gradient)


def _runs(gates):
    """(index, number) of the gates that follow each other in the order of the parameters, too."""
    begins = [i for i, gate in enumerate(gates) if i == 0 or gate != gates[i - 1] + 1]
    return [(begin, end - begin) for begin, end in zip(begins, [*begins[1:], len(gates)])]


def _factor(tape, name, d, x):
    """What a weight multiplied, as a matrix like that of `matrix_of`."""
    size = tape.size
    if name == "input":
        return x
    if name == "gated":
        return tape.block, tape.call.operand + d * size.hidden, size.directions * size.hidden, 1
    if not tape.packing.uniform:
        return tape.h[:, d][previous_rows(tape.packing, d)], 0, size.width, 1
    before = (0 if d == 0 else 2) * size.batch  # rows of h: a step starts from the block behind it, or the one ahead
    row = size.directions * size.width
    return tape.block, tape.call.h + before * row + d * size.width, row, 1
