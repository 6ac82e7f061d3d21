"""Convolution of images: Conv2d."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays.devices import backend_of
from ..arrays.ieee import ieee
from ..arrays.rows import like, numbers
from ..errors import positive_integer
from ..parameters import Weight
from .distributions import uniform
from .images import OfImages, OverImages, OverImagesAdjoint, size


@dataclass(frozen=True, repr=False)
class Conv2d(OfImages):
    """A convolution: filters that move over an image, each of which gives a channel of the output.

    T steps, N batch, I channels of images of height A and width B, F filters of height K and width L.  Output pixel (i, j)
    of channel f, with stride s and padding p, is ::

        y[f, i, j] = b[f] + sum over c, k, l of W[f, c, k, l] x[c, i s + k - p, j s + l - p]

    where x is 0 outside of the image.  (It is a cross-correlation, as in every such library.)

    Input x (T, N, I A B) or (N, I A B): a row holds an image, channel after channel and row after row; output y likewise,
    F channels of height ``(A + 2 p - K) // s + 1`` and width ``(B + 2 p - L) // s + 1``.  No state.  Parameters: ``weight``
    W (F, I, K, L), as in PyTorch, in memory too, and ``bias`` b (F,).

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel : int or tuple of two
        Rows and columns of a filter.
    stride, padding : int or tuple of two
        Of rows and columns.
    shape : tuple of three, optional
        (I, A, B).  In a `Network` it is known from ``channels=(I, A, B)`` or from the layer before.

    Raises
    ------
    ShapeError
        If the filter does not fit into the image, or the shape is not known.

    References
    ----------
    LeCun et al. 1998, Proceedings of the IEEE 86, 2278.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.Conv2d(6, 5, padding=2, shape=(1, 28, 28))
    >>> p = layer.init(channels=28 * 28, seed=0)
    >>> p["weight"].shape, layer.output_shape
    ((6, 1, 5, 5), (6, 28, 28))
    >>> layer(p, np.zeros((3, 28 * 28), np.float32)).shape
    (3, 4704)
    """

    filters: int
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0
    shape: tuple[int, int, int] | None = None

    accepts: ClassVar = {"filters": positive_integer, "stride": size}

    def _output_images(self):
        return self.filters

    @functools.lru_cache(maxsize=1024)  # noqa: B019 (layers are small and equal ones share an entry)
    def weights(self, channels):
        self._expect(channels)
        axes = self.windows.channels, self.windows.rows, self.windows.columns
        weight = Weight("weight", self.filters, self.windows.depth, table=True, axes=axes)
        return (weight, Weight("bias", None, self.filters))

    def fill(self, parameters, random, scheme):
        weight, inputs = parameters["weight"], self.windows.depth
        if scheme == "pytorch":
            for _, view in parameters.items():
                view[...] = uniform(random, view.shape, inputs)
        else:
            limit = np.sqrt(6 / (inputs + self.filters * self.windows.rows * self.windows.columns))
            weight[...] = random.uniform(-limit, limit, weight.shape)

    def operation(self, p, x, keep):
        return Convolution(self, p.copy() if keep.weights else p, x)  # a stream reads parameters when it is made


class Convolution(OverImages):
    """The convolution of a `Conv2d`, of every row.

    Parameters
    ----------
    layer : Conv2d
    p : Parameters
    source : TensorDescriptor
    """

    learns = True

    def __init__(self, layer, p, source):
        what = layer.windows, layer.filters, p.flat
        super().__init__(backend_of(source.array).convolution, what, source, layer.filters * layer.windows.pixels)

    def backward(self, adjoint, dy, need_x):
        own = OverImagesAdjoint(self, dy, need_x, adjoint.gradient.flat, int(adjoint.accumulate))
        adjoint.fills.append(own.fill)
        return own.dx

    @ieee
    def jvp(self, tangents, dx):
        windows, filters, flat = self.what
        vectors = None if tangents.parameters is None else [dp.flat for dp in tangents.parameters]
        if vectors is dx is None:
            return None
        found = [like(self.outputs) for _ in range(tangents.count)]
        if vectors is not None:
            for each, vector in zip(found, vectors):
                self.kernels.forward(windows, filters, vector, numbers(self.source), each.array)
        if dx is not None:
            alone = flat.copy()
            alone[-filters:] = 0  # a bias does not move with x
            for each, source in zip(found, dx):
                moved = each if vectors is None else like(each)
                self.kernels.forward(windows, filters, alone, numbers(source), moved.array)
                if moved is not each:
                    np.add(each.array, moved.array, out=each.array)
        return found
