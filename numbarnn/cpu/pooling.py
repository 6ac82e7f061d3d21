"""Means and maxima over the windows of images on the CPU, forward and backward: a task takes some images.

Padding counts as zeros in a mean, and is no number of a maximum.
"""

import numpy as np

from ..engine.inlined import inlined
from .blocks import share, vector_bytes
from .compiled import Task
from .images import IMAGES, WINDOWS, add_job, counts, place, record_of, row_of, tasks_for
from .jobs import run
from .records import integers
from .records import place as index_of
from .routine_call import record_at
from .shuffles import even_lanes, first_pairs, last_pairs
from .simd import get, greater, lanes, load_first, put, select, size_of, splat, store_first

WORK = 16  # multiplications of a product in the time that one number of a window takes
POOLING = np.dtype(
    [("x", IMAGES), ("dy", IMAGES)]
    + WINDOWS
    + integers(
        "rows",  # images
        "batch",  # of a step
        "tasks",
        "means",  # 1 for means, 0 for maxima
        "y",  # (rows, channels, pixels)
        "dx",  # (rows, image)
    )
)
ROWS = index_of(POOLING, "rows")


@inlined
def rows_of_window(call, i):
    """(first, end) of the rows of an image in the windows of row i of the output."""
    first = i * call.row_stride - call.row_padding
    return max(0, first), min(call.height, first + call.window_rows)


@inlined
def columns_of_window(call, j):
    """(first, end) of the columns of an image in the windows of column j of the output."""
    first = j * call.column_stride - call.column_padding
    return max(0, first), min(call.width, first + call.window_columns)


@inlined
def clear_image(real, call, target):
    """Write zeros over an image."""
    count, zero = call.channels * call.height * call.width, splat(real, 0)
    for i in range(0, count, lanes(real)):
        store_first(zero, target + i * size_of(real), count - i)


@inlined
def total_of(real, call, x, rows, columns):
    """The sum of the numbers of a window of the channel at x."""
    total = real
    for i in range(rows[0], rows[1]):
        for j in range(columns[0], columns[1]):
            total += get(real, x + (i * call.width + j) * call.x.channel)
    return total


@inlined
def greatest(real, call, x, rows, columns):
    """(place in the channel, number) of the first greatest number of a window of the channel at x; of the last NaN."""
    found = rows[0] * call.width + columns[0]
    best = get(real, x + found * call.x.channel)
    for i in range(rows[0], rows[1]):
        for j in range(columns[0], columns[1]):
            value = get(real, x + (i * call.width + j) * call.x.channel)
            if value.real > best.real or value.real != value.real:  # of a dual number the value
                best, found = value, i * call.width + j
    return found, best


@inlined
def whole_windows(call):
    """(first, end) of the columns of the output whose windows lie within the image: those between are taken by vectors."""
    first = (call.column_padding + call.column_stride - 1) // call.column_stride
    last = (call.width + call.column_padding - call.window_columns) // call.column_stride
    return first, max(first, min(last + 1, call.out_width))


@inlined
def load_apart(real, at, apart, count):
    """`count` numbers from `at` on, every one or, if `apart` is 2, every other."""
    if apart == 1:
        return load_first(real, at, count)
    span = 2 * count - 1
    low = high = load_first(real, at, span)
    if span > lanes(real):
        high = load_first(real, at + vector_bytes(real), span - lanes(real))
    return even_lanes(low, high)


@inlined
def add_apart(real, values, nexts, at, apart, span):
    """Add to `span` numbers from `at` on (modified): values, or if `apart` is 2 by turns values and nexts."""
    if apart == 1:
        store_first(load_first(real, at, span) + values, at, span)
    else:
        store_first(load_first(real, at, span) + first_pairs(values, nexts), at, span)
        if span > lanes(real):
            at, span = at + vector_bytes(real), span - lanes(real)
            store_first(load_first(real, at, span) + last_pairs(values, nexts), at, span)


@inlined
def totals(real, call, corner, rows, count):
    """`total_of` of `count` windows side by side, whose first number is at `corner`: as many rows of each."""
    total = splat(real, 0)
    for i in range(rows):
        for j in range(call.window_columns):
            total = total + load_apart(real, corner + (i * call.width + j) * size_of(real), call.column_stride, count)
    return total


@inlined
def all_greatest(real, call, corner, rows, count):
    """`greatest` of such windows: (places in the window, numbers)."""
    best = load_apart(real, corner, call.column_stride, count)
    found = splat(real, 0)
    for i in range(rows):
        for j in range(call.window_columns):
            value = load_apart(real, corner + (i * call.width + j) * size_of(real), call.column_stride, count)
            place, is_number = splat(real, i * call.window_columns + j), value >= value
            found = select(is_number, greater(value, best, place, found), place)
            best = select(is_number, greater(value, best, value, best), value)
    return found, best


@inlined
def where_found(real, found, place, slopes):
    """The slopes of those windows whose greatest number is at a place, 0 for the others."""
    zero = splat(real, 0)
    return select(abs(found - splat(real, place)) > zero, zero, slopes)


@Task
def forward_task(cell, number, record, part):
    """The mean of each window of some images, or its greatest number."""
    real, call = number(0), record_at(record, POOLING)[0]
    size, means, count = size_of(real), call.means, number(call.window_rows * call.window_columns)
    first, mine = share(call.rows, call.tasks, part)
    whole, end = whole_windows(call)
    if call.x.channel != size or call.column_stride > 2:
        whole, end = 0, 0
    for row in range(first, first + mine):
        x = row_of(call.x, call.batch, row)
        y = call.y + row * call.channels * call.out_height * call.out_width * size
        for _ in range(call.channels):
            for i in range(call.out_height):
                rows = rows_of_window(call, i)
                for j in range(whole, end, lanes(real)):
                    together = min(lanes(real), end - j)
                    corner = x + (rows[0] * call.width + j * call.column_stride - call.column_padding) * size
                    if means:
                        values = totals(real, call, corner, rows[1] - rows[0], together) / count
                    else:
                        values = all_greatest(real, call, corner, rows[1] - rows[0], together)[1]
                    store_first(values, y + j * size, together)
                for index in range(call.out_width - (end - whole)):
                    j = index if index < whole else index + end - whole
                    columns = columns_of_window(call, j)
                    if means:
                        put(total_of(real, call, x, rows, columns) / count, y + j * size)
                    else:
                        put(greatest(real, call, x, rows, columns)[1], y + j * size)
                y += call.out_width * size
            x += call.height * call.width * call.x.channel


@Task
def backward_task(cell, number, record, part):
    """dL/dx of some images: each window's derivative, added to its greatest number, or its share of a mean to them all."""
    real, call = number(0), record_at(record, POOLING)[0]
    size, means, count = size_of(real), call.means, number(call.window_rows * call.window_columns)
    first, mine = share(call.rows, call.tasks, part)
    whole, end = whole_windows(call)
    apart = call.column_stride
    if call.x.channel != size or call.dy.channel != size or apart > 2 or call.window_columns > apart:
        whole, end = 0, 0  # of windows with columns in common each adds in its turn
    for row in range(first, first + mine):
        x, dy = row_of(call.x, call.batch, row), row_of(call.dy, call.batch, row)
        dx = call.dx + row * call.channels * call.height * call.width * size
        clear_image(real, call, dx)
        for _ in range(call.channels):
            for i in range(call.out_height):
                rows = rows_of_window(call, i)
                for j in range(whole, end, lanes(real)):
                    together = min(lanes(real), end - j)
                    span = (together - 1) * apart + call.window_columns
                    corner = (rows[0] * call.width + j * apart - call.column_padding) * size
                    slopes, found = load_first(real, dy + j * size, together), splat(real, 0)
                    if means:
                        slopes = slopes / count
                    else:
                        found = all_greatest(real, call, x + corner, rows[1] - rows[0], together)[0]
                    for a in range(rows[1] - rows[0]):
                        place = a * call.window_columns
                        values, nexts = slopes, splat(real, 0)
                        if call.window_columns == 2:
                            nexts = slopes if means else where_found(real, found, place + 1, slopes)
                        if not means:
                            values = where_found(real, found, place, slopes)
                        add_apart(real, values, nexts, dx + corner + a * call.width * size, apart, span)
                for index in range(call.out_width - (end - whole)):
                    j = index if index < whole else index + end - whole
                    columns, slope = columns_of_window(call, j), get(real, dy + j * call.dy.channel)
                    if means:
                        slope = slope / count
                        for a in range(rows[0], rows[1]):
                            for b in range(columns[0], columns[1]):
                                at = dx + (a * call.width + b) * size
                                put(get(real, at) + slope, at)
                    else:
                        at = dx + greatest(real, call, x, rows, columns)[0] * size
                        put(get(real, at) + slope, at)
                dy += call.out_width * call.dy.channel
            x += call.height * call.width * call.x.channel
            dx += call.height * call.width * size


def _record(kind, windows, x, **fields):
    """The record of a call for images x."""
    tasks = tasks_for(counts(x)[0], WORK * windows.pixels * windows.depth)
    return record_of(POOLING, windows, x, tasks=tasks, means=kind == "mean", **fields)


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
    record = _record(kind, windows, x, y=y.ctypes.data)
    run(forward_task, None, x.dtype, record, int(record["tasks"][0]))


def add_forward(program, kind, windows, x, y):
    """Add `forward` to a program, of (T, ...) arrays in C order: T is as many steps as the program takes at once."""
    record = _record(kind, windows, x, y=y.ctypes.data)
    add_job(program, forward_task, x.dtype, record, x, written=[y], per_step=[(ROWS, len(x[0]))])


def backward(kind, windows, x, dy, dx):
    """Write the derivatives of x, contiguous rows `dx` (is modified), from the outputs' derivatives `dy`, of any strides."""
    record = _record(kind, windows, x, dy=place(dy), dx=dx.ctypes.data)
    run(backward_task, None, x.dtype, record, int(record["tasks"][0]))


def add_backward(program, kind, windows, x, dy, dx):
    """Add `backward` to a program, of arrays that stay where they are."""
    record = _record(kind, windows, x, dy=place(dy), dx=dx.ctypes.data)
    add_job(program, backward_task, x.dtype, record, x, dy, written=[dx])
