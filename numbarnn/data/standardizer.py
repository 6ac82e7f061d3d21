"""Channels of mean 0 and standard deviation 1, and the way back."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays.conversion import numbers_like
from ..arrays.descriptor import axes_of
from ..arrays.devices import expect_device
from ..arrays.packing import checked_lengths
from ..arrays.ragged import Ragged
from ..descriptions.fields import Description
from ..errors import NonFiniteError, ShapeError, finite_numbers


def _numbers(argument, values, **limits):
    """A tuple of finite numbers, one for each channel."""
    found = finite_numbers(argument, values, "a number for each channel", **limits)
    if not found:
        raise ValueError(f"{argument}: expected a number for each channel, got none")
    return found


@dataclass(frozen=True)
class Standardizer(Description):
    """Brings each channel to mean 0 and standard deviation 1, and predictions back.

    T steps, N batch, C channels ::

        z[t, n, c] = (x[t, n, c] - mean[c]) / scale[c]        x = mean + scale z

    computed in float64, with the result in the dtype of x.  `of` learns mean and scale from the samples of a training.
    ``net.save(path, extra={"x": standardizer})`` keeps it with a network.

    Parameters
    ----------
    mean : sequence of float
        (C,).
    scale : sequence of float
        (C,), each > 0.

    Raises
    ------
    ShapeError, ValueError, TypeError
        If the two are not so many finite numbers.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> x = np.array([[1.0, 7.0], [3.0, 7.0]])
    >>> standardizer = nr.Standardizer.of(x)
    >>> standardizer
    Standardizer(mean=(2.0, 7.0), scale=(1.0, 1.0))
    >>> standardizer(x)
    array([[-1.,  0.],
           [ 1.,  0.]])
    >>> bool((standardizer.inverse(standardizer(x)) == x).all())
    True
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    accepts: ClassVar = {"mean": _numbers, "scale": functools.partial(_numbers, above=0)}

    def __post_init__(self):
        super().__post_init__()
        if len(self.mean) != len(self.scale):
            raise ShapeError(f"scale: expected {len(self.mean)} numbers like mean, got {len(self.scale)}")

    @classmethod
    def of(
        cls,
        x: np.ndarray | Ragged,
        lengths: np.ndarray | None = None,
        layout: str = "tnc",
        weights: np.ndarray | None = None,
    ) -> "Standardizer":
        """The mean and the standard deviation of each channel of x.

        NaN is not observed, and left out.  A channel of equal numbers has the scale 1.

        Parameters
        ----------
        x : array, list, DataFrame or Ragged
            (T, N, C) in the layout; rows (S, C); or (S,), one channel.
        lengths : array of int, optional
            (N,): the steps of each sequence; what lies behind is not read.
        layout : str
            The letters t, n, c in the order of the axes of x.
        weights : array, optional
            Numbers >= 0: (N,), what each sequence counts, or (S,), what each row counts; 1 if None.  What counts 0 is not
            read.

        Raises
        ------
        NonFiniteError
            If x holds an infinity, or numbers so large that their spread is one.
        ValueError
            If a channel has no number.
        ShapeError, TypeError, DTypeError, LayoutError
            If x has other axes or holds no numbers; if lengths or weights are not as described.
        """
        array, axis, channels = _read("x", x, layout)
        by_channel = np.moveaxis(array, axis, 0) if array.ndim > 1 else array[None]  # x may be larger than memory: a map
        there = ... if lengths is None else _there(array, axes_of(layout, 3), lengths)
        if weights is not None:
            weights = _of_rows(weights, x, by_channel.shape[1:], axes_of(layout, 3))[there].ravel()
        found = [_mean_and_scale(channel, by_channel[channel][there].ravel(), weights) for channel in range(channels)]
        return cls(*zip(*found))

    def __call__(self, x: np.ndarray | Ragged, layout: str = "tnc") -> np.ndarray | Ragged:
        """x with each channel standardized: a new array of its dtype; NaN stays NaN.

        Parameters
        ----------
        x : array, list, DataFrame or Ragged
            (T, N, C) in the layout; rows (S, C); or (S,), one channel.
        layout : str
            The letters t, n, c in the order of the axes of x.

        Raises
        ------
        ValueError
            If a result is too large for the dtype.
        ShapeError, TypeError, DTypeError, LayoutError
            If x has other axes or channels, or holds no numbers.
        """
        return self._map("x", x, layout, lambda numbers, mean, scale: (numbers - mean) / scale)

    def inverse(self, z: np.ndarray | Ragged, layout: str = "tnc") -> np.ndarray | Ragged:
        """What was standardized, predictions for example, in the units of before: a new array of its dtype.

        Parameters
        ----------
        z : array, list, DataFrame or Ragged
            (T, N, C) in the layout; rows (S, C); or (S,), one channel.
        layout : str
            The letters t, n, c in the order of the axes of z.

        Raises
        ------
        ValueError, ShapeError, TypeError, DTypeError, LayoutError
            As of a call.
        """
        return self._map("z", z, layout, lambda numbers, mean, scale: mean + scale * numbers)

    def _map(self, argument, x, layout, function):
        """`function` of the numbers of x, and of mean and scale along its axis of channels."""
        array, axis, channels = _read(argument, x, layout)
        if channels != len(self.mean):
            raise ShapeError(f"{argument}: expected {len(self.mean)} channels, got {channels} (shape {array.shape})")
        along = [channels if place == axis else 1 for place in range(array.ndim)]
        mean, scale = (np.reshape(values, along) for values in (self.mean, self.scale))
        with np.errstate(over="ignore", invalid="ignore"):
            found = function(array.astype(np.float64), mean, scale).astype(array.dtype)
        lost = np.isfinite(array) & ~np.isfinite(found)
        if lost.any():
            place = tuple(map(int, np.argwhere(lost)[0]))
            raise ValueError(f"{argument}: expected numbers whose result {array.dtype} holds, got {array[place]} at {place}")
        return Ragged(found, x.offsets) if isinstance(x, Ragged) else found


def _read(argument, x, layout):
    """(array in the host's memory, its axis of channels, how many there are)."""
    letters = axes_of(layout, 3)
    array = numbers_like(argument, x.data if isinstance(x, Ragged) else x, None, letters)
    expect_device(argument, array, "cpu")
    if array.ndim not in (1, 2, 3):
        raise ShapeError(f"{argument}: expected shape (S,), (S, C), or 3 axes {letters}, got {array.shape}")
    axis = letters.index("c") if array.ndim == 3 else array.ndim - 1
    channels = array.shape[axis] if array.ndim > 1 else 1
    if not channels:
        raise ShapeError(f"{argument}: expected at least one channel, got shape {array.shape}")
    return array, axis, channels


def _there(array, letters, lengths):
    """A mask of the steps before the lengths, shaped like x without its axis of channels."""
    if array.ndim != 3:
        raise ShapeError(f"lengths: expected None beside x without an axis of sequences (shape {array.shape}), got lengths")
    steps, batch = (array.shape[letters.index(letter)] for letter in "tn")
    there = np.arange(steps)[:, None] < checked_lengths(lengths, batch, steps)
    return there if letters.index("t") < letters.index("n") else there.T


def _of_rows(weights, x, shape, letters):
    """The weights of sequences, or of rows, spread to all rows: shaped like x without its axis of channels."""
    weights = numbers_like("weights", weights, np.dtype(np.float64))
    along = letters.replace("c", "").index("n") if len(shape) == 2 else 0
    count = len(x) if isinstance(x, Ragged) else shape[along]
    if weights.shape != (count,):
        raise ShapeError(f"weights: expected shape ({count},), got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(f"weights: expected finite numbers >= 0, got {weights.tolist()[:8]}")
    if isinstance(x, Ragged):
        return np.repeat(weights, x.lengths)
    return np.broadcast_to(weights.reshape([-1 if axis == along else 1 for axis in range(len(shape))]), shape)


def _mean_and_scale(channel, numbers, weights=None):
    """(mean, standard deviation) of a channel, by the weights of its numbers; (its value, 1) if there is only one."""
    if weights is not None:
        counting = weights > 0
        numbers, weights = numbers[counting], weights[counting]
    numbers = numbers.astype(np.float64)
    if np.isinf(numbers).any():
        raise NonFiniteError("x: expected finite numbers, or NaN where nothing was observed, got an infinity")
    observed = ~np.isnan(numbers)
    numbers, weights = numbers[observed], None if weights is None else weights[observed]
    if not len(numbers):
        raise ValueError(f"x: expected a number in channel {channel}, got none")
    least, most = float(numbers.min()), float(numbers.max())
    if least == most:
        return least, 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.average(numbers / 2, weights=weights)) * 2
        away = numbers - mean
        largest = float(np.abs(away).max())  # of which no square is too large, and not all are too small
        scale = largest * float(np.sqrt(np.average((away / largest) ** 2, weights=weights)))
    if not np.isfinite(mean) or not np.isfinite(scale):
        raise NonFiniteError(
            f"x: expected numbers of which float64 holds the spread, got {least} and {most} in channel {channel}"
        )
    return mean, scale
