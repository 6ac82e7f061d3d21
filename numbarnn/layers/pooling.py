"""Windows of images as one number each: AvgPool2d, MaxPool2d."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays.devices import backend, backend_of, device_of, moved
from ..arrays.rows import like, numbers
from ..descriptions.fields import optional
from ..errors import ShapeError
from .images import OfImages, OverImages, OverImagesAdjoint, size


class Pooling2d(OfImages):
    """The part of pooling that does not depend on what becomes of a window."""

    kind: ClassVar[str]
    accepts: ClassVar = {"stride": optional(size)}

    @property
    def _strides(self):
        return self.kernel if self.stride is None else self.stride

    def __post_init__(self):
        super().__post_init__()
        if self.shape is not None:
            found = self.windows
            if 2 * found.row_padding > found.rows or 2 * found.column_padding > found.columns:
                raise ShapeError(f"padding: expected at most half the kernel {self.kernel}, got {self.padding}")

    def operation(self, p, x, keep):
        return WindowsPooled(self, x)


@dataclass(frozen=True, repr=False)
class AvgPool2d(Pooling2d):
    """Means over windows of an image, channel by channel.

    T steps, N batch, I channels of images of height A and width B, windows of height K and width L.  Output pixel (i, j) of
    channel c, with stride s and padding p, is ::

        y[c, i, j] = sum over k < K, l < L of x[c, i s + k - p, j s + l - p] / (K L)

    where x is 0 outside of the image, which counts, as in PyTorch.  Rows and columns that fill no window are left out.

    Input x (T, N, I A B) or (N, I A B): a row holds an image, channel after channel and row after row; output y likewise, of
    height ``(A + 2 p - K) // s + 1`` and width ``(B + 2 p - L) // s + 1``.  No state, no parameters.

    Parameters
    ----------
    kernel : int or tuple of two
        Rows and columns of a window.
    stride : int or tuple of two, optional
        Of rows and columns; the kernel if None.
    padding : int or tuple of two
        At most half the kernel.
    shape : tuple of three, optional
        (I, A, B).  In a `Network` it is known from ``channels=(I, A, B)`` or from the layer before.

    Raises
    ------
    ShapeError
        If the window does not fit into the image, or the shape is not known.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.AvgPool2d(2, shape=(1, 2, 4))
    >>> layer(layer.init(channels=8), np.arange(8, dtype=np.float32)[None])
    array([[2.5, 4.5]], dtype=float32)
    """

    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    shape: tuple[int, int, int] | None = None

    kind = "mean"


@dataclass(frozen=True, repr=False)
class MaxPool2d(Pooling2d):
    """The greatest number of each window of an image, channel by channel.

    T steps, N batch, I channels of images of height A and width B, windows of height K and width L.  Output pixel (i, j) of
    channel c, with stride s and padding p, is ::

        y[c, i, j] = max over k < K, l < L of x[c, i s + k - p, j s + l - p]

    of those that are in the image.  The derivative goes to the first of equal numbers; a NaN is the greatest.  Rows and
    columns that fill no window are left out.

    Input x (T, N, I A B) or (N, I A B): a row holds an image, channel after channel and row after row; output y likewise, of
    height ``(A + 2 p - K) // s + 1`` and width ``(B + 2 p - L) // s + 1``.  No state, no parameters.

    Parameters
    ----------
    kernel : int or tuple of two
        Rows and columns of a window.
    stride : int or tuple of two, optional
        Of rows and columns; the kernel if None.
    padding : int or tuple of two
        At most half the kernel.
    shape : tuple of three, optional
        (I, A, B).  In a `Network` it is known from ``channels=(I, A, B)`` or from the layer before.

    Raises
    ------
    ShapeError
        If the window does not fit into the image, or the shape is not known.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.MaxPool2d(2, shape=(1, 2, 4))
    >>> layer(layer.init(channels=8), np.arange(8, dtype=np.float32)[None])
    array([[5., 7.]], dtype=float32)
    """

    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    shape: tuple[int, int, int] | None = None

    kind = "max"


class WindowsPooled(OverImages):
    """What a `Pooling2d` makes of every row.

    Parameters
    ----------
    layer : Pooling2d
    source : TensorDescriptor
    """

    def __init__(self, layer, source):
        channels = layer.windows.channels * layer.windows.pixels
        super().__init__(backend_of(source.array).pooling, (layer.kind, layer.windows), source, channels)

    def backward(self, adjoint, dy, need_x):
        if not need_x:
            return None
        own = OverImagesAdjoint(self, dy, need_x)
        adjoint.fills.append(own.fill)
        return own.dx

    def jvp(self, tangents, dx):
        if dx is None:
            return None
        kind, windows = self.what
        if kind == "mean":
            found = [like(self.outputs) for _ in dx]
            for each, source in zip(found, dx):
                self.kernels.forward(kind, windows, numbers(source), each.array)
            return found
        return [self._of_greatest(numbers(each)) for each in dx]

    def _of_greatest(self, dx):
        """A descriptor of the numbers of `dx` where each window of the source has its greatest: of the same ones, the first.

        It looks at one place of all windows at a time.
        """
        windows, device = self.what[1], device_of(dx)
        (height, width), x = windows.outputs, self._bordered(numbers(self.source))
        dx, inside = self._bordered(dx), np.zeros(x.shape[2:], bool)
        inside[self._inner] = True
        shape = *x.shape[:2], height, width
        best, tangent = (backend(device).memory.zeros(shape, x.dtype) for _ in range(2))
        found = np.zeros((height, width), bool)
        for i, j in np.ndindex(windows.rows, windows.columns):
            down = slice(i, i + height * windows.row_stride, windows.row_stride)
            along = slice(j, j + width * windows.column_stride, windows.column_stride)
            values, here = x[..., down, along], inside[down, along]
            there, new = moved(here.copy(), device), moved(here & ~found, device)
            greater = new | there & ((values > best) | (values != values))
            best, tangent = np.where(greater, values, best), np.where(greater, dx[..., down, along], tangent)
            found |= here
        outputs = like(self.outputs)
        outputs.array[...] = tangent.reshape(outputs.array.shape)
        return outputs

    @property
    def _inner(self):
        """Where an image lies between its borders."""
        windows = self.what[1]
        down, along = windows.row_padding, windows.column_padding
        return slice(down, down + windows.height), slice(along, along + windows.width)

    def _bordered(self, images):
        """Images, (rows, channels, height, width), with a border of zeros as wide as the padding."""
        windows, rows = self.what[1], self.source.packing.rows
        shape = windows.height + 2 * windows.row_padding, windows.width + 2 * windows.column_padding
        found = backend(device_of(images)).memory.zeros((rows, windows.channels, *shape), images.dtype)
        found[(..., *self._inner)] = images.reshape(rows, windows.channels, windows.height, windows.width)
        return found
