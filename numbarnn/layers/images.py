"""Layers of images: what a layer knows of the shape of its images, and how a network tells it."""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from ..arrays.rows import like, numbers
from ..descriptions.fields import optional
from ..engine.windows import Windows
from ..errors import ShapeError, integer, positive_integer
from .base import Layer
from .operations import NotInPrograms, Operation, PassedOn
from .stateless import Stateless


def image_shape(argument, value):
    """`value` as the (channels, height, width) of images, if it is three positive integers."""
    expected = "(channels, height, width), three positive integers"
    if not isinstance(value, tuple):
        raise TypeError(f"{argument}: expected {expected}, got {value!r} ({type(value).__name__})")
    if len(value) != 3:
        raise ShapeError(f"{argument}: expected {expected}, got {len(value)} of them: {value!r}")
    return tuple(positive_integer(argument, length) for length in value)


def _one_or_two(check):
    """The check of a field that is one value for rows and columns, or a pair of them; equal ones become one."""

    def checked(argument, value):
        if not isinstance(value, tuple):
            return check(argument, value)
        if len(value) != 2:
            raise ShapeError(f"{argument}: expected an integer or (rows, columns), got {len(value)} of them: {value!r}")
        rows, columns = (check(argument, each) for each in value)
        return rows if rows == columns else (rows, columns)

    return checked


def _not_negative(argument, value):
    """`value` as a Python int from 0 on."""
    number = integer(argument, value, "an integer >= 0")
    return number if number == 0 else positive_integer(argument, number)


size = _one_or_two(positive_integer)
border = _one_or_two(_not_negative)


def pair_of(value):
    """(of rows, of columns) of an image, of one number for both or two."""
    return value if isinstance(value, tuple) else (value, value)


class OfImages(Stateless):
    """A layer whose input are images, and that knows their shape: the part that is the same for all of them.

    A row of x, (N, C) or (T, N, C), holds the numbers of one image, channel after channel and row after row: C is channels
    times height times width.  So is a row of y.
    """

    accepts: ClassVar = {"shape": optional(image_shape), "kernel": size, "padding": border}

    def __post_init__(self):
        super().__post_init__()
        if self.shape is None:
            return
        found = self.windows
        if min(found.outputs) < 1:
            height, width = found.padded
            raise ShapeError(
                f"kernel: expected one that fits into images of {height} x {width} with their padding, got"
                f" {found.rows} x {found.columns}"
            )

    @property
    def _strides(self):
        return self.stride

    def check_shape(self):
        """Raise unless the layer knows the shape of its images."""
        if self.shape is None:
            raise ShapeError(
                f"shape: expected the (channels, height, width) of the images that {self!r} takes, which a network has from"
                f" channels=(channels, height, width) or from the layer before, got None"
            )

    @functools.cached_property
    def windows(self):
        """The windows of the layer over its images."""
        self.check_shape()
        return Windows(*self.shape, *pair_of(self.kernel), *pair_of(self._strides), *pair_of(self.padding))

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """The (channels, height, width) of the images that come out."""
        return (self._output_images(), *self.windows.outputs)

    def _output_images(self):
        """Channels of the images that come out."""
        return self.windows.channels

    def _expect(self, channels):
        if channels != self.windows.size:
            raise ShapeError(
                f"channels: expected {self.windows.size}, the numbers of an image of {' x '.join(map(str, self.shape))}, for"
                f" {self!r}, got {channels}"
            )

    def weights(self, channels):
        self._expect(channels)
        return ()

    def output_channels(self, channels):
        self._expect(channels)
        return math.prod(self.output_shape)

    def has_parameters(self, p):
        return self.shape is not None and self.weights(self.windows.size) == p.weights

    def after(self, shape):
        """This layer as it is in a network, where its images have a shape, or None where that is not known."""
        if shape is None or shape == self.shape:
            self.check_shape()
            return self
        if self.shape is not None:
            raise ShapeError(f"shape: expected {shape}, as the layer before has it, got {self.shape} in {self!r}")
        return replace(self, shape=shape)


class OverImages(Operation):
    """What kernels make of every image, one a row.

    Parameters
    ----------
    kernels : module
        Of a backend, with `forward`, `backward`, and what adds them to a program.
    what : tuple
        What they are told before the arrays.
    source : TensorDescriptor
    channels : int
        Of the outputs.
    """

    def __init__(self, kernels, what, source, channels):
        self.kernels, self.what = kernels, what
        super().__init__(source, like(source, channels))

    def forward(self):
        self.kernels.forward(*self.what, numbers(self.source), self.outputs.array)

    def add_to(self, program):
        source = numbers(self.source)
        if not source.flags.c_contiguous or source.ndim != 3:
            raise NotInPrograms("a source that must be copied")
        self.kernels.add_forward(program, *self.what, source, self.outputs.array)


class OverImagesAdjoint:
    """Backward of `OverImages`.

    learned: the gradient vector, and whether it is added to, where there are parameters.
    """

    def __init__(self, operation, dy, need_x, *learned):
        self._of, self._dy, self._learned = operation, dy, learned
        self.dx = like(operation.source) if need_x else None

    def _arguments(self):
        of, dx = self._of, None if self.dx is None else self.dx.array
        return *of.what, numbers(of.source), numbers(self._dy), *self._learned, dx

    def fill(self):
        """Write dL/dx, and the gradient."""
        self._of.kernels.backward(*self._arguments())

    def add_to(self, program):
        """Add `fill` to a program, of sequences of equal length; False if a program cannot do it."""
        if not (self._of.source.packing.uniform and self._dy.packing.uniform):
            return False
        self._of.kernels.add_backward(program, *self._arguments())
        return True


@dataclass(frozen=True, repr=False)
class Flatten(Stateless):
    """The numbers of an image in a row, which they are in: y is x.

    T steps, N batch, C numbers of an image: channels times height times width.  Between layers images are rows already,
    (T, N, C) or (N, C), channel after channel and row after row, as PyTorch's ``Flatten`` has them; so this layer only says
    where the images end.  No state, no parameters, and y is a view of x.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.Flatten()
    >>> layer(layer.init(channels=4), np.arange(4, dtype=np.float32)[None])
    array([[0., 1., 2., 3.]], dtype=float32)
    """

    channelwise = True

    def operation(self, p, x, keep):
        return PassedOn(x)


def shaped(layers: Iterable[Layer], channels: object) -> tuple[tuple[Layer, ...], object]:
    """(layers, channels) of a network, in which each layer of images knows their shape.

    channels: what the network was given.  For images of (channels, height, width) their product is returned; where nothing
    is given, the product of the shape that the first layer knows.

    Raises
    ------
    ShapeError
        If a layer of images cannot know their shape, or is said to have another one.
    """
    layers, shape = tuple(layers), None
    if isinstance(channels, tuple):
        shape = image_shape("channels", channels)
        channels = math.prod(shape)
    elif channels is None and isinstance(layers[0], OfImages) and layers[0].shape is not None:
        channels = math.prod(layers[0].shape)
    found = []
    for layer in layers:
        if isinstance(layer, OfImages):
            layer = layer.after(shape)
            shape = layer.output_shape
        elif isinstance(layer, Flatten) or not layer.channelwise:
            shape = None
        found.append(layer)
    return tuple(found), channels
