"""The projection of h, ``h' = W m`` (Sak et al. 2014, arXiv:1402.1128): after a step forward, before a step backward.

The cell's equations give m, H wide, which is kept as the *operand*; h, which the next step and the next layer read, has
fewer channels.  For a cell without a projection each function here does nothing, and a kernel has no trace of it.
"""

from ..engine.choices import by_cell
from ..engine.inlined import inlined
from . import extending
from .blocks import spread_row, unit_place, vector_bytes, vectors_for
from .product import MAX_VECTORS
from .routine_call import invoke
from .rows import task_rows
from .simd import lanes, load, load_first, size_of, store, store_first


@by_cell(extending)
def project(cell):
    """Write the h of a task's rows (is modified), from what the cell made of them.

    operand, h: addresses of the task's first row at the step.
    """
    if cell.projected:
        return lambda cell, real, call, direction, part, operand, rows, h: project_rows(
            real, call, direction, part, operand, rows, h
        )
    return lambda cell, real, call, direction, part, operand, rows, h: None


@inlined
def project_rows(real, call, direction, part, operand, rows, h):
    """`project`, panel by panel into whole vectors, of which h gets as many numbers as it has channels."""
    size, vector, width, depth = size_of(real), vector_bytes(real), call.width, call.projection.rows
    _, stride, _, rows_of_others = task_rows(call, part)
    vectors, operand_row = vectors_for(real, width), stride * call.directions * call.hidden * size
    row, h_row = vectors * vector, stride * call.directions * width * size
    weight = call.projection.weight + direction * depth * row
    target = call.projected + (direction * call.batch + rows_of_others) * row
    done, panel = 0, MAX_VECTORS * vector
    if rows == 1:
        whole = vectors // MAX_VECTORS
        invoke(
            call.routines.row_product,
            real,
            (
                target, panel, call.zeros, 0, 0, operand, size, depth, 0, weight, depth * panel,
                panel, depth, MAX_VECTORS, whole,
            ),
        )  # fmt: skip
        done = whole * MAX_VECTORS
    for before in range(done, vectors, MAX_VECTORS):
        columns = min(MAX_VECTORS, vectors - before)
        invoke(
            call.routines.product,
            real,
            (
                target + before * vector, row, call.zeros, 0, 0, operand, operand_row, size, depth, 0,
                weight + before * depth * vector, columns * vector, depth, rows, columns,
            ),
        )  # fmt: skip
    for r in range(rows):
        for v in range(vectors):
            channel = v * lanes(real)
            store_first(load(real, target + r * row + v * vector), h + r * h_row + channel * size, width - channel)


@by_cell(extending)
def unproject(cell):
    """Take the derivatives of a step's h back to what the cell made (`doperand` is modified).

    position, rows, stride: the task's rows in the chunk; dh: address of its first row of what came back from
    the step behind; outputs: of dy of the chunk, if there is one.  Their sum is kept for the gradient of the weight.
    """
    if cell.projected:
        return lambda cell, real, call, direction, position, rows, stride, dh, outputs, doperand, descending: unproject_rows(
            real, call, direction, position, rows, stride, dh, outputs, doperand, descending
        )
    return lambda cell, real, call, direction, position, rows, stride, dh, outputs, doperand, descending: None


@inlined
def unproject_rows(real, call, direction, position, rows, stride, dh, outputs, doperand, descending):
    """`unproject`, through rows in blocks of the projection."""
    size, vector, width, depth = size_of(real), vector_bytes(real), call.width, call.projection.rows
    vectors, units = vectors_for(real, width), vectors_for(real, depth)
    dprojected = call.dprojected + direction * call.chunk_rows * vectors * vector
    for r in range(rows):
        row = position + r * stride
        for v in range(vectors):
            channel = v * lanes(real)
            value = load(real, dh + r * stride * spread_row(real, vectors) + v * vector)
            if call.dy.address:
                value = value + load_first(real, outputs + (row * width + channel) * size, width - channel)
            place, _ = unit_place(real, v, vectors, call.chunk_rows, row, 1, MAX_VECTORS)
            store(value, dprojected + place)
    transposed = call.projection.transposed + direction * units * lanes(real) * vectors * vector
    invoke(
        call.routines.times_transposed,
        real,
        (
            call.routines.product, call.routines.row_product, call.zeros, transposed, depth, 1, width, MAX_VECTORS,
            dprojected, 1, 0, call.chunk_rows, position, rows, stride, doperand, stride * spread_row(real, units), 0, units,
            descending,
        ),
    )  # fmt: skip
