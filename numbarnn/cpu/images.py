"""Images on the CPU: how a task finds them, one a row, and puts their windows side by side."""

import numpy as np

from ..engine.inlined import inlined
from .blocks import vector_bytes, vectors_for
from .records import integers
from .simd import get, lanes, load, load_between, load_first, put, size_of, splat, store, store_first
from .threads import threads, threads_for

TASKS = 4  # tasks of each thread: one that is held up leaves the others something to take
PLACE = integers("address", "step", "row", "channel")  # bytes from one step, row and number to the next
WINDOWS = integers(
    "channels", "height", "width", "window_rows", "window_columns", "row_stride", "column_stride", "row_padding",
    "column_padding", "out_height", "out_width",
)  # fmt: skip
IMAGES = np.dtype(PLACE)


def place(array):
    """Where the rows of a (T, N, C) or (rows, C) array lie, as an IMAGES record has it."""
    strides = array.strides if array.ndim == 3 else (0, *array.strides)
    return (array.ctypes.data, *strides)


def counts(array):
    """(rows, rows of a step) of a (T, N, C) or (rows, C) array."""
    batch = array.shape[-2]
    return (len(array) * batch if array.ndim == 3 else batch), batch


def tasks_for(rows, products):
    """Into how many tasks so many rows are split, each of which takes so many multiplications."""
    sharing = threads_for(rows * products)
    return 1 if sharing == 1 else max(1, min(rows, TASKS * sharing))


def record_of(dtype, windows, x, /, **fields):
    """A record, as an array of one, of a call for images x: of a dtype that has x, WINDOWS, rows and batch, and `fields`."""
    record = np.zeros(1, dtype)
    for (name, _), value in zip(WINDOWS, (*windows, *windows.outputs)):
        record[name] = value
    rows, batch = counts(x)
    for name, value in {"x": place(x), "rows": rows, "batch": max(1, batch), **fields}.items():
        record[name] = value
    return record


def add_job(program, task, dtype, record, *kept, written=(), per_step=()):
    """Add to a program a task that threads share, with a record that says into how many `tasks` it is split."""
    count = int(record["tasks"][0])
    program.add_job(
        task, None, dtype, record, *kept, written=written, count=count, per_step=per_step, threads=min(count, threads())
    )
    program.large |= count > 1
    program.long |= count > 1


@inlined
def row_of(images, batch, row):
    """The address of a row of images."""
    return images.address + row // batch * images.step + row % batch * images.row


@inlined
def copy_numbers(real, source, stride, count, target):
    """Copy `count` numbers that lie `stride` bytes apart to where they lie side by side."""
    size = size_of(real)
    if stride == size:
        for i in range(0, count, lanes(real)):
            store_first(load_first(real, source + i * size, count - i), target + i * size, count - i)
    else:
        for i in range(count):
            put(get(real, source + i * stride), target + i * size)


@inlined
def padded_size(call):
    """(height, width) of an image with its border."""
    return call.height + 2 * call.row_padding, call.width + 2 * call.column_padding


@inlined
def pad(real, call, source, stride, target):
    """Copy an image into the middle of one with a border, which is left alone."""
    size, (height, width) = size_of(real), padded_size(call)
    for channel in range(call.channels):
        for i in range(call.height):
            copy_numbers(
                real, source + (channel * call.height + i) * call.width * stride, stride, call.width,
                target + ((channel * height + i + call.row_padding) * width + call.column_padding) * size,
            )  # fmt: skip


@inlined
def unpad(real, call, source, target):
    """Copy an image without its border."""
    size, (height, width) = size_of(real), padded_size(call)
    for channel in range(call.channels):
        for i in range(call.height):
            copy_numbers(
                real, source + ((channel * height + i + call.row_padding) * width + call.column_padding) * size, size,
                call.width, target + (channel * call.height + i) * call.width * size,
            )  # fmt: skip


@inlined
def cut_columns(real, call, image, dj, target):
    """Write those columns of a padded channel that are in place dj of windows, row after row: ``[rows, out_width]``.

    Rows that are `row_stride` apart stand together: so then do the numbers in one place of all windows.  A vector behind
    the last may be overwritten.
    """
    size, (height, width) = size_of(real), padded_size(call)
    for phase in range(call.row_stride):
        to = target + phase * rows_apart(call) * call.out_width * size
        for row in range(phase, height, call.row_stride):
            source = image + (row * width + dj) * size
            if call.column_stride == 1:
                for j in range(0, call.out_width, lanes(real)):  # what is too much is overwritten by the next row
                    store(load(real, source + j * size), to + j * size)
            else:
                for j in range(call.out_width):
                    put(get(real, source + j * call.column_stride * size), to + j * size)
            to += call.out_width * size


@inlined
def rows_apart(call):
    """Rows of a padded image that are `row_stride` apart: how many, at most."""
    return (call.height + 2 * call.row_padding + call.row_stride - 1) // call.row_stride


@inlined
def spread_windows(real, call, image, columns, target):
    """Write a row of numbers for each place in a window, the windows side by side: ``[depth, pixels]``.

    image: padded, a vector of room behind it; columns: room for `cut_columns`.  The rows of target are whole vectors.
    """
    size, vector, (height, width) = size_of(real), vector_bytes(real), padded_size(call)
    vectors = vectors_for(real, call.out_height * call.out_width)
    for channel in range(call.channels):
        for dj in range(call.window_columns):
            cut_columns(real, call, image + channel * height * width * size, dj, columns)
            for di in range(call.window_rows):
                row = di % call.row_stride * rows_apart(call) + di // call.row_stride
                source = columns + row * call.out_width * size
                to = target + ((channel * call.window_rows + di) * call.window_columns + dj) * vectors * vector
                for v in range(vectors):
                    store(load(real, source + v * vector), to + v * vector)


@inlined
def gather_windows(real, call, source, image):
    """Write the sums of all numbers of the windows, ``[depth, pixels]``, that are in one place of an image.

    Only of windows a column apart; `add_windows` takes others.
    """
    size = size_of(real)
    row_bytes = vectors_for(real, call.out_height * call.out_width) * vector_bytes(real)
    for channel in range(call.channels):
        for row in range(call.height):
            # The last window that has this row has it as its row `over`; each one before `row_stride` further down.
            last, over = (row + call.row_padding) // call.row_stride, (row + call.row_padding) % call.row_stride
            first_back = max(0, last + 1 - call.out_height)
            end_back = min(last, (call.window_rows - 1 - over) // call.row_stride) + 1
            for column in range(0, call.width, lanes(real)):
                total = splat(real, 0)
                for dj in range(call.window_columns):
                    j = column + call.column_padding - dj  # of the window whose column dj is in the first lane
                    for back in range(first_back, end_back):
                        di = over + back * call.row_stride
                        k = (channel * call.window_rows + di) * call.window_columns + dj
                        at = source + k * row_bytes + ((last - back) * call.out_width + j) * size
                        total = total + load_between(real, at, -j, call.out_width - j)
                to = image + ((channel * call.height + row) * call.width + column) * size
                store_first(total, to, call.width - column)


@inlined
def add_windows(real, call, source, image):
    """Add the numbers of all windows, ``[depth, pixels]``, to where they are in a padded image (modified)."""
    size, (height, width) = size_of(real), padded_size(call)
    row_bytes = vectors_for(real, call.out_height * call.out_width) * vector_bytes(real)
    for channel in range(call.channels):
        for dj in range(call.window_columns):
            for di in range(call.window_rows):
                k = (channel * call.window_rows + di) * call.window_columns + dj
                for i in range(call.out_height):
                    to = image + ((channel * height + i * call.row_stride + di) * width + dj) * size
                    numbers = source + k * row_bytes + i * call.out_width * size
                    for j in range(call.out_width):
                        at = to + j * call.column_stride * size
                        put(get(real, at) + get(real, numbers + j * size), at)
