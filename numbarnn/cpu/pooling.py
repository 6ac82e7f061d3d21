"""Means and maxima over the windows of images on the CPU, forward and backward: a task takes some images.

Padding counts as zeros in a mean, and is no number of a maximum.
"""

import numpy as np

from ..engine.inlined import inlined
from .blocks import share
from .compiled import Task
from .images import IMAGES, WINDOWS, add_job, counts, place, row_of, tasks_for
from .jobs import run
from .records import integers
from .records import place as index_of
from .routine_call import record_at
from .simd import get, lanes, put, size_of, splat, store_first

WORK = 16  # multiplications of a product in the time that one number of a window takes
POOLING = np.dtype(
    [("x", IMAGES), ("dy", IMAGES)]
    + WINDOWS
    + integers(
        "rows",  # images
        "batch",  # of a step
        "tasks",
        "y",  # (rows, channels, pixels)
        "dx",  # (rows, image)
    )
)
ROWS = index_of(POOLING, "rows")


@inlined
def part_of_window(place, stride, padding, length, limit):
    """(first, end) of the rows, or columns, of an image in the window at `place`."""
    first = place * stride - padding
    return max(0, first), min(limit, first + length)


@inlined
def clear_image(real, call, target):
    """Write zeros over an image."""
    count, zero = call.channels * call.height * call.width, splat(real, 0)
    for i in range(0, count, lanes(real)):
        store_first(zero, target + i * size_of(real), count - i)


@inlined
def greatest(real, call, x, first_row, end_row, first_column, end_column):
    """(place in the channel, number) of the first greatest number of a window of the channel at x; of the last NaN."""
    best, found = (
        get(real, x + (first_row * call.width + first_column) * call.x.channel),
        first_row * call.width + first_column,
    )
    for i in range(first_row, end_row):
        for j in range(first_column, end_column):
            value = get(real, x + (i * call.width + j) * call.x.channel)
            if value > best or value != value:
                best, found = value, i * call.width + j
    return found, best


@Task
def mean_task(cell, number, record, part):
    """The mean of each window of some images."""
    real, call = number(0), record_at(record, POOLING)[0]
    size, stride = size_of(real), call.x.channel
    count = number(call.window_rows * call.window_columns)
    first, mine = share(call.rows, call.tasks, part)
    for row in range(first, first + mine):
        x = row_of(call.x, call.batch, row)
        y = call.y + row * call.channels * call.out_height * call.out_width * size
        for _ in range(call.channels):
            for i in range(call.out_height):
                first_row, end_row = part_of_window(i, call.row_stride, call.row_padding, call.window_rows, call.height)
                for j in range(call.out_width):
                    first_column, end_column = part_of_window(
                        j, call.column_stride, call.column_padding, call.window_columns, call.width
                    )
                    total = real
                    for a in range(first_row, end_row):
                        for b in range(first_column, end_column):
                            total += get(real, x + (a * call.width + b) * stride)
                    put(total / count, y)
                    y += size
            x += call.height * call.width * stride


@Task
def mean_gradient_task(cell, number, record, part):
    """dL/dx of the means of some images: each window's derivative, divided by its numbers, added to them."""
    real, call = number(0), record_at(record, POOLING)[0]
    size = size_of(real)
    count = number(call.window_rows * call.window_columns)
    first, mine = share(call.rows, call.tasks, part)
    for row in range(first, first + mine):
        dy, dx = row_of(call.dy, call.batch, row), call.dx + row * call.channels * call.height * call.width * size
        clear_image(real, call, dx)
        for _ in range(call.channels):
            for i in range(call.out_height):
                first_row, end_row = part_of_window(i, call.row_stride, call.row_padding, call.window_rows, call.height)
                for j in range(call.out_width):
                    first_column, end_column = part_of_window(
                        j, call.column_stride, call.column_padding, call.window_columns, call.width
                    )
                    slope = get(real, dy) / count
                    for a in range(first_row, end_row):
                        for b in range(first_column, end_column):
                            at = dx + (a * call.width + b) * size
                            put(get(real, at) + slope, at)
                    dy += call.dy.channel
            dx += call.height * call.width * size


@Task
def greatest_task(cell, number, record, part):
    """The greatest number of each window of some images."""
    real, call = number(0), record_at(record, POOLING)[0]
    size = size_of(real)
    first, mine = share(call.rows, call.tasks, part)
    for row in range(first, first + mine):
        x = row_of(call.x, call.batch, row)
        y = call.y + row * call.channels * call.out_height * call.out_width * size
        for _ in range(call.channels):
            for i in range(call.out_height):
                first_row, end_row = part_of_window(i, call.row_stride, call.row_padding, call.window_rows, call.height)
                for j in range(call.out_width):
                    first_column, end_column = part_of_window(
                        j, call.column_stride, call.column_padding, call.window_columns, call.width
                    )
                    put(greatest(real, call, x, first_row, end_row, first_column, end_column)[1], y)
                    y += size
            x += call.height * call.width * call.x.channel


@Task
def greatest_gradient_task(cell, number, record, part):
    """dL/dx of the maxima of some images: each window's derivative, added to its greatest number."""
    real, call = number(0), record_at(record, POOLING)[0]
    size = size_of(real)
    first, mine = share(call.rows, call.tasks, part)
    for row in range(first, first + mine):
        x, dy = row_of(call.x, call.batch, row), row_of(call.dy, call.batch, row)
        dx = call.dx + row * call.channels * call.height * call.width * size
        clear_image(real, call, dx)
        for _ in range(call.channels):
            for i in range(call.out_height):
                first_row, end_row = part_of_window(i, call.row_stride, call.row_padding, call.window_rows, call.height)
                for j in range(call.out_width):
                    first_column, end_column = part_of_window(
                        j, call.column_stride, call.column_padding, call.window_columns, call.width
                    )
                    at = dx + greatest(real, call, x, first_row, end_row, first_column, end_column)[0] * size
                    put(get(real, at) + get(real, dy), at)
                    dy += call.dy.channel
            x += call.height * call.width * call.x.channel
            dx += call.height * call.width * size


FORWARD = {"mean": mean_task, "max": greatest_task}
BACKWARD = {"mean": mean_gradient_task, "max": greatest_gradient_task}


def _record(windows, x, **fields):
    """(record, tasks) of a call; x, and a dy, are placed."""
    rows, batch = counts(x)
    tasks = tasks_for(rows, WORK * windows.pixels * windows.depth)
    values = dict(zip([name for name, _ in WINDOWS], (*windows, *windows.outputs)))
    values |= {"x": place(x), "rows": rows, "batch": max(1, batch), "tasks": tasks, **fields}
    record = np.zeros(1, POOLING)
    for name, value in values.items():
        record[name] = value
    return record, tasks


def forward(kind, windows, x, y):
    """Write the mean or the greatest number of each window.

    Parameters
    ----------
    kind : {"mean", "max"}
    windows : Windows
    x : numpy.ndarray
        (T, N, C) or (rows, C), at any strides.
    y : numpy.ndarray
        As many rows of (channels, pixels), contiguous (is modified).
    """
    record, tasks = _record(windows, x, y=y.ctypes.data)
    run(FORWARD[kind], None, x.dtype, record, tasks)


def add_forward(program, kind, windows, x, y):
    """Add `forward` to a program, of (T, ...) arrays in C order: T is as many steps as the program takes at once."""
    record, tasks = _record(windows, x, y=y.ctypes.data)
    add_job(program, FORWARD[kind], x.dtype, record, tasks, x, y, rows=(ROWS, len(x[0])))


def backward(kind, windows, x, dy, dx):
    """Write the derivatives of x, contiguous rows `dx` (is modified), from those of the outputs, rows at any strides."""
    record, tasks = _record(windows, x, dy=place(dy), dx=dx.ctypes.data)
    run(BACKWARD[kind], None, x.dtype, record, tasks)


def add_backward(program, kind, windows, x, dy, dx):
    """Add `backward` to a program, of arrays that stay where they are."""
    record, tasks = _record(windows, x, dy=place(dy), dx=dx.ctypes.data)
    add_job(program, BACKWARD[kind], x.dtype, record, tasks, x, dy, dx)
