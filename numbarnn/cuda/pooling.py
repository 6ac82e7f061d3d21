"""Means and maxima over the windows of images on the GPU: a thread takes one number of a result.

Padding counts as zeros in a mean, and is no number of a maximum.
"""

from .arrays import contiguous
from .device import blocks_for, cuda, function, kernel
from .images import images
from .launches import launch
from .types import get


@kernel
def means(real, divisor, call, x, y):
    """Fill y (rows, channels, out_height, out_width); divisor: the numbers of a window."""
    for i in range(cuda.grid(1), call.rows * call.channels * call.out_height * call.out_width, cuda.gridsize(1)):
        column, row = i % call.out_width, i // call.out_width % call.out_height
        channel = i // (call.out_width * call.out_height) * call.height * call.width
        first_row, first_column = row * call.row_stride - call.row_padding, column * call.column_stride - call.column_padding
        total = real
        for a in range(max(0, first_row), min(call.height, first_row + call.window_rows)):
            for b in range(max(0, first_column), min(call.width, first_column + call.window_columns)):
                total += x[channel + a * call.width + b]
        y[i] = total / divisor


@kernel
def mean_gradient(real, divisor, call, dy, dx):
    """Fill dx (rows, channels, height, width): the derivatives of the windows that a number is in, first to last."""
    for i in range(cuda.grid(1), call.rows * call.channels * call.height * call.width, cuda.gridsize(1)):
        b, a = i % call.width + call.column_padding, i // call.width % call.height + call.row_padding
        channel = i // (call.width * call.height) * call.out_height * call.out_width
        total = real
        for row in range(max(0, a - call.window_rows + call.row_stride) // call.row_stride, call.out_height):
            if row * call.row_stride <= a:
                for column in range(
                    max(0, b - call.window_columns + call.column_stride) // call.column_stride, call.out_width
                ):
                    if column * call.column_stride <= b:
                        total += dy[channel + row * call.out_width + column] / divisor
        dx[i] = total


@function
def greatest(call, x, channel, row, column):
    """Where in x the first greatest number of a window of a channel is; the last NaN."""
    first_row, first_column = row * call.row_stride - call.row_padding, column * call.column_stride - call.column_padding
    found = channel + max(0, first_row) * call.width + max(0, first_column)
    for a in range(max(0, first_row), min(call.height, first_row + call.window_rows)):
        for b in range(max(0, first_column), min(call.width, first_column + call.window_columns)):
            value = get(x, channel + a * call.width + b)
            if value > get(x, found) or value != value:
                found = channel + a * call.width + b
    return found


@kernel
def maxima(call, x, y):
    """Fill y (rows, channels, out_height, out_width)."""
    for i in range(cuda.grid(1), call.rows * call.channels * call.out_height * call.out_width, cuda.gridsize(1)):
        column, row = i % call.out_width, i // call.out_width % call.out_height
        channel = i // (call.out_width * call.out_height) * call.height * call.width
        y[i] = x[greatest(call, x, channel, row, column)]


@kernel
def maximum_gradient(real, call, x, dy, dx):
    """Fill dx (rows, channels, height, width): the derivatives of the windows whose greatest number it is."""
    for i in range(cuda.grid(1), call.rows * call.channels * call.height * call.width, cuda.gridsize(1)):
        b, a = i % call.width + call.column_padding, i // call.width % call.height + call.row_padding
        image = i // (call.width * call.height)
        total = real
        for row in range(max(0, a - call.window_rows + call.row_stride) // call.row_stride, call.out_height):
            if row * call.row_stride <= a:
                for column in range(
                    max(0, b - call.window_columns + call.column_stride) // call.column_stride, call.out_width
                ):
                    if column * call.column_stride <= b:
                        if greatest(call, x, image * call.height * call.width, row, column) == i:
                            total += dy[(image * call.out_height + row) * call.out_width + column]
        dx[i] = total


def forward(kind, windows, x, y):
    """Write the mean or the greatest number of each window.

    Parameters
    ----------
    kind : {"mean", "max"}
    windows : Windows
    x : cupy.ndarray
        (T, N, C) or (rows, C), at any strides.
    y : cupy.ndarray
        As many rows of (channels, pixels), contiguous (is modified).
    """
    if not y.size:
        return
    call, number = images(windows, y.size // (windows.channels * windows.pixels)), y.dtype.type
    if kind == "mean":
        divisor = number(windows.rows * windows.columns)
        launch(means, blocks_for(y.size), number(0), divisor, call, contiguous(x), y)
    else:
        launch(maxima, blocks_for(y.size), call, contiguous(x), y)


def backward(kind, windows, x, dy, dx):
    """Write the derivatives of x, contiguous rows `dx` (is modified), from the outputs' derivatives `dy`, of any strides."""
    if not dx.size:
        return
    call, number = images(windows, dx.size // windows.size), dx.dtype.type
    if kind == "mean":
        divisor = number(windows.rows * windows.columns)
        launch(mean_gradient, blocks_for(dx.size), number(0), divisor, call, contiguous(dy), dx)
    else:
        launch(maximum_gradient, blocks_for(dx.size), number(0), call, contiguous(x), contiguous(dy), dx)
