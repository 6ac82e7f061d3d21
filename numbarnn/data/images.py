"""Images in the files of the MNIST data sets: IDX, compressed by gzip."""

import math
from dataclasses import dataclass, field

import numpy as np

from ..errors import ChecksumError
from .downloads import unpacked

BYTES = 0x08  # what IDX calls unsigned bytes


@dataclass(frozen=True)
class Images:
    """Images of one channel, and what is to be seen.

    Attributes
    ----------
    pixels : numpy.ndarray
        (N, height, width), uint8.
    labels : numpy.ndarray
        (N,), int64.
    """

    pixels: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)

    def __len__(self):
        return len(self.labels)

    @property
    def rows(self) -> np.ndarray:
        """The images as a network takes them: (N, height * width), float32 from 0 to 1; new at each call."""
        return np.divide(self.pixels.reshape(len(self), -1), np.float32(255), dtype=np.float32)


def read_idx(path):
    """The array of unsigned bytes in an IDX file that gzip has compressed."""
    content = unpacked(path)
    axes = content[3] if len(content) > 3 else 0
    head = 4 + 4 * axes
    shape = tuple(int(length) for length in np.frombuffer(content[4:head], ">u4"))
    if content[:3] != bytes((0, 0, BYTES)) or len(shape) != axes or len(content) != head + math.prod(shape):
        raise ChecksumError(f"{path}: expected an IDX file of unsigned bytes, got {len(content)} bytes of something else")
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
