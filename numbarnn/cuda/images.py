"""Images on the GPU: what a kernel is told of them."""

from .records import Images


def images(windows, rows, filters=0, add=0):
    """What a kernel is told of so many images and their windows."""
    return Images(*windows, *windows.outputs, rows, filters, int(add))
