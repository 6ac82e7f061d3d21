"""What backward sums over all rows after the loop over time: gradients of weights, biases, values of units, and dx.

All of it is one launch for each direction: blocks that sum the biases, then blocks that compute a square of a product each.
"""

from .device import cuda, kernel
from .launches import launch
from .product import THREADS, by_cublas, compute_square, squares_of
from .records import Product, Sums
from .rows import matrix_of, previous_rows
from .weights import bias_places, on_device, prepare_sums, spread, sum_column

X, STATES, BLOCK, SCRATCH, GRADIENT, DX = range(6)  # the arrays of the kernel, as the table of products has them
FIELDS = len(Product._fields)
ROW = FIELDS + 4  # of the table: a product, where its squares end among all squares, and the arrays of A, B and C


@kernel
def sum_all(real, call, places, table, x, states, block, scratch, gradient, dx):
    """Run the `Sums` of a direction, and the products of a table; scratch, gradient and dx are modified.

    places: see `weights.bias_places`.  table: rows as `_row` has them.
    """
    of_sums = (call.columns + THREADS - 1) // THREADS
    if cuda.blockIdx.x < of_sums:
        column = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
        if column < call.columns:
            spread(call, places, column, sum_column(real, call, column, scratch), scratch, gradient)
        return
    square, at, first = cuda.blockIdx.x - of_sums, 0, 0
    while square >= table[at + FIELDS]:
        first = table[at + FIELDS]
        at += ROW
    product = Product(
        table[at], table[at + 1], table[at + 2], table[at + 3], table[at + 4], table[at + 5], table[at + 6], table[at + 7],
        table[at + 8], table[at + 9], table[at + 10], table[at + 11], table[at + 12],
    )  # fmt: skip
    a, b, c = scratch, scratch, gradient
    if table[at + FIELDS + 1] == X:
        a = x
    elif table[at + FIELDS + 1] == STATES:
        a = states
    elif table[at + FIELDS + 1] == BLOCK:
        a = block
    if table[at + FIELDS + 2] == BLOCK:
        b = block
    if table[at + FIELDS + 3] == DX:
        c = dx
    compute_square(real, product, square - first, a, b, c)


def sums_over_rows(tape, scratch, at, gradient, accumulate, dunit_values, dx):
    """Fill the gradient, dunit_values and dx, which may be None, of a layer whose dpre is in scratch (all are modified).

    at: where in scratch its buffers are; scratch also takes x where it does not lie as a matrix.
    """
    size, cell, hidden, rows = tape.size, tape.size.cell, tape.size.hidden, tape.size.rows
    real, columns = size.dtype.type(0), cell.dpre_count * hidden
    x, *lying = matrix_of(tape.x, scratch, at["x"])
    for d in range(size.directions):
        dpre, states, behind = at["dpre"] + d * rows * columns, *states_behind(tape, d)
        factors = {"input": (X, *lying), "recurrent": (STATES, *behind)}
        products = [*products_of_weights(tape, at, d, dpre, factors, accumulate)]
        if dx is not None:
            products.append(product_of_x(tape, d, dpre))
        arrays = x, states, tape.block, scratch, gradient, scratch if dx is None else dx.reshape(-1)
        call = Sums(rows, columns, dpre, columns, at["sums"], at["partial"], hidden, int(accumulate))
        sum_together(real, call, bias_places(size, d), products, arrays)
        if cell.unit_values:
            found = at["sums"] + (cell.dpre_count - cell.unit_value_count) * hidden
            dunit_values[d][...] = scratch[found : found + dunit_values[d].size].reshape(*dunit_values[d].shape)


def sum_together(real, call, places, products, arrays):
    """Run a `Sums` and products in one launch, but for the products that cuBLAS computes.

    places: see `bias_places`.  products: each with the places among the arrays (x, states, block, scratch, gradient, dx) of
    the memory that its A, its B and its C are in.
    """
    prepare_sums(real, call, arrays[SCRATCH])
    table, end = [], 0
    for product, *which in products:
        if squares_of(product) and not by_cublas(real, product, *(arrays[index] for index in which)):
            end += squares_of(product)
            table += _row(product, end, which)
    blocks = -(-call.columns // THREADS) + end
    launch(sum_all, (blocks, THREADS), real, call, on_device(places), on_device(tuple(table) or (0,)), *arrays)


def _row(product, end, which):
    """A row of the kernel's table."""
    return *product, end, *which


def products_of_weights(tape, at, d, dpre, factors, accumulate):
    """The products that are a direction's gradients of weights: dpre with what each weight multiplied, of `factors`."""
    size, cell, hidden, rows = tape.size, tape.size.cell, tape.size.hidden, tape.size.rows
    (starts, stride), wide = size.parameters, size.directions * hidden
    factors = factors | {"gated": (BLOCK, tape.call.operand + d * hidden, wide, 1)}
    for group in size.gate_groups:
        if not group.slots:
            continue
        source, start, row, channel = factors[group.name]
        for index, count in _runs(group.gates):
            yield Product(
                group.rows, count * hidden, rows, start, channel, row, dpre + (group.slots[0] + index) * hidden,
                cell.dpre_count * hidden, 1, d * stride + starts[group.weight] + group.gates[index] * hidden,
                len(cell.gates) * hidden, 1, int(accumulate),
            ), source, SCRATCH, GRADIENT  # fmt: skip
    if cell.projected:
        yield Product(
            hidden, size.width, rows, tape.call.operand + d * hidden, 1, wide, at["dprojected"] + d * rows * size.width,
            size.width, 1, d * stride + starts["weight_hr"], size.width, 1, int(accumulate),
        ), BLOCK, SCRATCH, GRADIENT  # fmt: skip


def product_of_x(tape, d, dpre):
    """The product that is a direction's part of dx."""
    size, cell = tape.size, tape.size.cell
    width, weight = len(cell.input_slots) * size.hidden, tape.layout.offsets["input"]
    return Product(
        size.rows, size.channels, width, dpre + cell.input_slots[0] * size.hidden, cell.dpre_count * size.hidden, 1,
        weight + d * size.channels * width, 1, width, 0, size.channels, 1, int(d > 0),
    ), SCRATCH, BLOCK, DX  # fmt: skip


def _runs(gates):
    """(index, number) of the gates that follow each other in the order of the parameters, too."""
    begins = [i for i, gate in enumerate(gates) if i == 0 or gate != gates[i - 1] + 1]
    return [(begin, end - begin) for begin, end in zip(begins, [*begins[1:], len(gates)])]


def states_behind(tape, d):
    """What a direction's R multiplied, as a matrix: (numbers, (start, row stride, channel stride))."""
    size = tape.size
    if tape.packing.uniform or not size.cell.recurrent_slots:
        before = (0 if d == 0 else 2) * size.batch  # rows of h: a step starts from the block behind it, or the one ahead
        row = size.directions * size.width
        return tape.block, (tape.call.h + before * row + d * size.width, row, 1)
    return tape.h[:, d][previous_rows(tape.packing, d)].reshape(-1), (0, size.width, 1)
