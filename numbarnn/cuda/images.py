"""Images on the GPU: what a kernel is told of them."""

from .records import Images


def images(windows, rows, filters=0, add=0):
    """What a kernel is told of so many images and their windows."""
    return Images(*windows, *windows.outputs, rows, filters, int(add))


def contiguous(array):
    """(T, N, C) or (rows, C) numbers one after the other: a copy unless they lie like that."""
    return array if array.flags.c_contiguous else array.copy()
