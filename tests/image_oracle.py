"""Convolution and pooling of images in NumPy, pixel by pixel; they share no code with the library."""

import numpy as np


def pair(value):
    """(of rows, of columns)."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def windows(x, shape, kernel, stride, padding, fill):
    """(N, I, out height, out width, kernel height, kernel width) of rows of images, `fill` around them."""
    (rows, columns), (down, across), (above, left) = pair(kernel), pair(stride), pair(padding)
    images = np.pad(x.reshape(-1, *shape), ((0, 0), (0, 0), (above, above), (left, left)), constant_values=fill)
    height, width = images.shape[2] - rows + 1, images.shape[3] - columns + 1
    starts = [(i, j) for i in range(0, height, down) for j in range(0, width, across)]
    found = np.stack([images[:, :, i : i + rows, j : j + columns] for i, j in starts], axis=2)
    return found.reshape(*found.shape[:2], len(range(0, height, down)), len(range(0, width, across)), rows, columns)


def run(layer, p, x):
    """The outputs of rows of images, (N, C)."""
    stride = layer.kernel if layer.stride is None else layer.stride
    kind = type(layer).__name__
    cut = windows(x, layer.shape, layer.kernel, stride, layer.padding, -np.inf if kind == "MaxPool2d" else 0)
    if kind == "Conv2d":
        y = np.einsum("ncijkl,fckl->nfij", cut, p["weight"]) + p["bias"][:, None, None]
    else:
        y = cut.max(axis=(4, 5)) if kind == "MaxPool2d" else cut.mean(axis=(4, 5))
    return y.reshape(len(x), -1)
