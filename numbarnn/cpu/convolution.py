"""A convolution of images on the CPU, forward and backward, as products of matrices.

A task takes some images, one after the other.  It writes the windows of an image side by side, a row for each place in a
window and a column for each pixel of the output: the filters times that are the output, and that times the derivative of
the output is the gradient of the filters.  No sum depends on the number of threads: one task takes the sums of an
image, and the sums over images are sums of `GROUPS` sums.
"""

import functools

import numpy as np

from ..engine.inlined import inlined
from .blocks import clear, share, vector_bytes, vectors_for, vectors_in
from .compiled import Task
from .images import (
    IMAGES,
    WINDOWS,
    add_job,
    add_windows,
    copy_numbers,
    counts,
    gather_windows,
    pad,
    place,
    record_of,
    row_of,
    spread_windows,
    tasks_for,
    unpad,
)
from .jobs import run
from .memory import aligned, empty, give, take
from .records import integers
from .records import place as index_of
from .routine_call import invoke, record_at
from .routines import ROUTINES
from .shuffles import transpose
from .simd import get, lanes, load, put, size_of, splat, store
from .vectors import lanes_of

GROUPS = 16  # sums over images that the gradient is the sum of: fixed, so that it has one order
# Of a task, offsets in its scratch.
BUFFERS = ("image", "columns", "windows", "outputs", "biases", "across", "dwindows", "dimage")
CONVOLUTION = np.dtype(
    [("x", IMAGES), ("dy", IMAGES)]
    + WINDOWS
    + integers(
        "product",  # the routine
        "rows",  # images
        "batch",  # of a step
        "tasks",
        "groups",
        "filters",
        "weight",  # (filters, depth); backward: of the parameters
        "bias",
        "y",  # (rows, filters, pixels)
        "dx",  # (rows, image), 0 where it is not asked for
        "gradient",  # of the weight
        "bias_gradient",
        "accumulate",  # 1 to add to the gradient, 0 to overwrite it
        "partial",  # [groups, 1 + depth, vectors of filters]: the bias first
        "partial_bytes",  # of a group
        "zeros",  # a vector of them
        "scratch",  # [tasks]
        "scratch_bytes",  # of a task
        "image_bytes",  # of a padded image
    )
    + integers(*BUFFERS)
)
ROWS = index_of(CONVOLUTION, "rows")


@Task
def forward_task(cell, number, record, part):
    """The outputs of some images."""
    real, call = number(0), record_at(record, CONVOLUTION)[0]
    size, vector = size_of(real), vector_bytes(real)
    pixels, depth = call.out_height * call.out_width, call.channels * call.window_rows * call.window_columns
    vectors = vectors_for(real, pixels)
    scratch = call.scratch + part * call.scratch_bytes
    clear(real, scratch + call.image, call.image_bytes // vector)
    for f in range(call.filters):
        store(splat(real, get(real, call.bias + f * size)), scratch + call.biases + f * vector)
    first, mine = share(call.rows, call.tasks, part)
    for row in range(first, first + mine):
        pad(real, call, row_of(call.x, call.batch, row), call.x.channel, scratch + call.image)
        spread_windows(real, call, scratch + call.image, scratch + call.columns, scratch + call.windows)
        y = call.y + row * call.filters * pixels * size
        whole = pixels % lanes(real) == 0
        target, target_row = (y, pixels * size) if whole else (scratch + call.outputs, vectors * vector)
        invoke(
            call.product,
            real,
            (
                target, target_row, scratch + call.biases, vector, 0, call.weight, depth * size, size, depth, 0,
                scratch + call.windows, vectors * vector, depth, call.filters, vectors,
            ),
        )  # fmt: skip
        if not whole:
            for f in range(call.filters):
                copy_numbers(real, target + f * target_row, size, pixels, y + f * pixels * size)


@Task
def backward_task(cell, number, record, part):
    """dL/dx of the images of some groups, and each group's part of the gradient."""
    real, call = number(0), record_at(record, CONVOLUTION)[0]
    size, vector = size_of(real), vector_bytes(real)
    pixels, depth = call.out_height * call.out_width, call.channels * call.window_rows * call.window_columns
    vectors, filter_vectors = vectors_for(real, pixels), vectors_for(real, call.filters)
    scratch = call.scratch + part * call.scratch_bytes
    image, windows, outputs, across = (
        scratch + call.image, scratch + call.windows, scratch + call.outputs, scratch + call.across,
    )  # fmt: skip
    clear(real, image, call.image_bytes // vector)
    clear(real, outputs, filter_vectors * lanes(real) * vectors)  # of filters that there are not, too
    for v in range(vectors):
        store(splat(real, 1), windows + v * vector)  # a window's place for the bias
    first, mine = share(call.groups, call.tasks, part)
    for group in range(first, first + mine):
        partial = call.partial + group * call.partial_bytes
        clear(real, partial, (1 + depth) * filter_vectors)
        first_row, rows = share(call.rows, call.groups, group)
        for row in range(first_row, first_row + rows):
            pad(real, call, row_of(call.x, call.batch, row), call.x.channel, image)
            spread_windows(real, call, image, scratch + call.columns, windows + vectors * vector)
            dy = row_of(call.dy, call.batch, row)
            for f in range(call.filters):
                copy_numbers(
                    real, dy + f * pixels * call.dy.channel, call.dy.channel, pixels, outputs + f * vectors * vector
                )
            for f in range(filter_vectors):
                for v in range(vectors):
                    transpose(
                        real, outputs + (f * lanes(real) * vectors + v) * vector, vectors * vector,
                        across + (v * lanes(real) * filter_vectors + f) * vector, filter_vectors * vector,
                    )  # fmt: skip
            invoke(
                call.product,
                real,
                (
                    partial, filter_vectors * vector, partial, filter_vectors * vector, vector, windows, vectors * vector,
                    size, pixels, 0, across, filter_vectors * vector, pixels, 1 + depth, filter_vectors,
                ),
            )  # fmt: skip
            if call.dx:
                image_gradient(real, call, scratch, row, depth, vectors)


@inlined
def image_gradient(real, call, scratch, row, depth, vectors):
    """dL/dx of one image, whose dL/dy lies in `outputs`."""
    size, vector = size_of(real), vector_bytes(real)
    image, dwindows, dx = scratch + call.dimage, scratch + call.dwindows, row * call.channels * call.height * call.width
    invoke(
        call.product,
        real,
        (
            dwindows, vectors * vector, call.zeros, 0, 0, call.weight, size, depth * size, call.filters, 0,
            scratch + call.outputs, vectors * vector, call.filters, depth, vectors,
        ),
    )  # fmt: skip
    if call.column_stride == 1:
        gather_windows(real, call, dwindows, call.dx + dx * size)
    else:
        clear(real, image, call.image_bytes // vector)
        add_windows(real, call, dwindows, image)
        unpad(real, call, image, call.dx + dx * size)


@Task
def sum_task(cell, number, record, part):
    """Some places of the window, or the bias: the sum of all groups, in order, written to the gradient."""
    real, call = number(0), record_at(record, CONVOLUTION)[0]
    size, vector = size_of(real), vector_bytes(real)
    depth, filter_vectors = call.channels * call.window_rows * call.window_columns, vectors_for(real, call.filters)
    first, mine = share(1 + depth, call.tasks, part)
    for k in range(first, first + mine):
        for v in range(filter_vectors):
            at = call.partial + (k * filter_vectors + v) * vector
            total = load(real, at)
            for group in range(1, call.groups):
                total = total + load(real, at + group * call.partial_bytes)
            store(total, at)
            for lane in range(min(lanes(real), call.filters - v * lanes(real))):
                f, value = v * lanes(real) + lane, get(real, at + lane * size)
                target = call.bias_gradient + f * size if k == 0 else call.gradient + (f * depth + k - 1) * size
                put(value + get(real, target) if call.accumulate else value, target)


@functools.lru_cache(maxsize=256)
def _scratch(windows, filters, dtype, backward):
    """({buffer: where it begins}, bytes, bytes of an image) of the scratch of a task."""
    vector = lanes_of(dtype)
    pixels, filter_vectors = vectors_in(windows.pixels, dtype), vectors_in(filters, dtype)
    image = vectors_in(windows.channels * windows.padded[0] * windows.padded[1], dtype) + 1  # read a vector too far
    rows = windows.row_stride * -(-windows.padded[0] // windows.row_stride)
    vectors = {
        "image": image,
        "columns": vectors_in(rows * windows.outputs[1], dtype) + 1,  # read and written a vector too far
        "windows": (1 + windows.depth) * pixels,
        "outputs": filter_vectors * vector * pixels,
        "biases": filters,
    }
    if backward:
        vectors |= {"across": pixels * vector * filter_vectors, "dwindows": windows.depth * pixels, "dimage": image}
    offsets, end = {}, 0
    for name, count in vectors.items():
        offsets[name] = end
        end += aligned(count * vector * dtype.itemsize)
    return offsets, end, image * vector * dtype.itemsize


def _record(windows, filters, parameters, x, backward, **fields):
    """(record, bytes of scratch) of a call; its scratch is at address 0."""
    rows, _ = counts(x)
    products = filters * windows.depth * windows.pixels
    groups = max(1, min(rows, GROUPS))
    tasks = min(tasks_for(rows, 3 * products), groups) if backward else tasks_for(rows, products)
    offsets, nbytes, image = _scratch(windows, filters, x.dtype, backward)
    at = parameters.ctypes.data
    values = {
        **offsets,
        "product": ROUTINES["product"].address(x.dtype),
        "tasks": tasks,
        "groups": groups,
        "filters": filters,
        "weight": at,
        "bias": at + filters * windows.depth * x.itemsize,
        "scratch_bytes": nbytes,
        "image_bytes": image,
        **fields,
    }
    return record_of(CONVOLUTION, windows, x, **values), tasks * nbytes


def _run(task, record, nbytes, dtype):
    """Have a task done, with scratch of so many bytes."""
    scratch = take(nbytes)
    record["scratch"] = scratch[1]
    run(task, None, dtype, record, int(record["tasks"][0]))
    give(scratch)


class _Borrower:
    """A record whose scratch is lent by a program, see `Program.lend`."""

    def __init__(self, record, nbytes):
        self.record, self.scratch_bytes = record, nbytes

    def keep_scratch(self, block):
        """Take a block, of `borrow`, from now on."""
        self.block, self.record["scratch"] = block


def _add(program, task, dtype, record, nbytes, *kept, written, per_step=()):
    """Add a task to a program, with scratch of so many bytes, which the program's other calls use too."""
    program.lend(_Borrower(record, nbytes), nbytes)
    add_job(program, task, dtype, record, *kept, written=written, per_step=per_step)


def forward(windows, filters, parameters, x, y):
    """Write the outputs of images.

    Parameters
    ----------
    windows : Windows
    filters : int
    parameters : numpy.ndarray
        The parameter vector from this layer's part on: the weight (filters, depth), the bias (filters,).
    x : numpy.ndarray
        (T, N, C) or (rows, C), at any strides.
    y : numpy.ndarray
        As many rows of (filters, pixels), contiguous (is modified).
    """
    record, nbytes = _record(windows, filters, parameters, x, False, y=y.ctypes.data)
    _run(forward_task, record, nbytes, x.dtype)


def add_forward(program, windows, filters, parameters, x, y):
    """Add `forward` to a program, of (T, ...) arrays in C order: T is as many steps as the program takes at once."""
    record, nbytes = _record(windows, filters, parameters, x, False, y=y.ctypes.data)
    _add(program, forward_task, x.dtype, record, nbytes, parameters, x, written=[y], per_step=[(ROWS, len(x[0]))])


def _backward(windows, filters, parameters, x, dy, gradient, accumulate, dx):
    """(record of `backward_task`, record of `sum_task`, bytes of scratch, arrays that are read, arrays that are written)."""
    depth, item = windows.depth, x.itemsize
    vector = lanes_of(x.dtype)
    rows = (1 + depth) * vectors_in(filters, x.dtype) * vector
    at, zeros = gradient.ctypes.data, np.zeros(vector, x.dtype)
    record, nbytes = _record(
        windows, filters, parameters, x, True, dx=0 if dx is None else dx.ctypes.data, gradient=at,
        bias_gradient=at + filters * depth * item, accumulate=accumulate, partial_bytes=rows * item, zeros=zeros.ctypes.data,
    )  # fmt: skip
    record["dy"] = place(dy)
    partial = empty((int(record["groups"][0]), rows), x.dtype)
    record["partial"] = partial.ctypes.data
    sums = record.copy()
    sums["tasks"] = min(1 + depth, tasks_for(1 + depth, partial.size // (1 + depth)))
    return record, sums, nbytes, (zeros, parameters, x, dy), [partial, gradient, *([] if dx is None else [dx])]


def backward(windows, filters, parameters, x, dy, gradient, accumulate, dx):
    """Derivatives with respect to x and the parameters, from `dy`, the derivatives with respect to the outputs.

    Parameters
    ----------
    windows, filters, parameters, x
        As in `forward`.
    dy : numpy.ndarray
        (T, N, C) or (rows, C), at any strides.
    gradient : numpy.ndarray
        The gradient vector from this layer's part on (is modified).
    accumulate : bool
        Add to it instead of overwriting it.
    dx : numpy.ndarray or None
        Shaped like x, contiguous (is modified); None leaves it out.
    """
    record, sums, nbytes, *_kept = _backward(windows, filters, parameters, x, dy, gradient, accumulate, dx)
    _run(backward_task, record, nbytes, x.dtype)
    run(sum_task, None, x.dtype, sums, int(sums["tasks"][0]))


def add_backward(program, windows, filters, parameters, x, dy, gradient, accumulate, dx):
    """Add `backward` to a program, of arrays that stay where they are."""
    record, sums, nbytes, kept, written = _backward(windows, filters, parameters, x, dy, gradient, accumulate, dx)
    _add(program, backward_task, x.dtype, record, nbytes, *kept, written=written)
    add_job(program, sum_task, x.dtype, sums)
