"""The quantile loss, of several levels at once."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...arrays.devices import device_of, moved
from ...errors import ShapeError, finite_numbers
from .numeric import Regression


def _levels(argument, values):
    """A tuple of rising numbers between 0 and 1."""
    expected = "rising numbers greater than 0 and less than 1, in a sequence"
    found = finite_numbers(argument, values, expected)
    edges = (0.0, *found, 1.0)
    if not found or any(low >= high for low, high in zip(edges, edges[1:])):
        raise ValueError(f"{argument}: expected {expected}, got {found}")
    return found


@dataclass(frozen=True)
class Quantile(Regression):
    """The mean of the quantile loss, also called pinball loss, of several levels at once; the loss called ``"quantile"``.

    Of a target y, a prediction q and a level a it is ``a (y - q)`` where ``y >= q``, else ``(1 - a) (q - y)``: Koenker and
    Bassett 1978, doi:10.2307/1913643.  Its mean is smallest where q is the quantile a of y.  The derivative is -a where
    ``y > q``, 1 - a where ``y < q``, and 0 where they are equal.

    Of K targets and L levels a network has K L output channels, the levels of one target side by side: channel ``k L + l``
    is level l of target k.  The mean is over steps, batch, targets and levels.  Nothing keeps the predicted quantiles from
    crossing: numpy.sort over the levels of a target orders them.

    Parameters
    ----------
    levels : sequence of float
        Rising, each greater than 0 and less than 1.
    missing : {"nan"}, optional
        As in `MSE`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> loss = nr.Quantile(levels=(0.1, 0.5, 0.9))
    >>> value, gradient = loss(np.array([[1.0, 2.0, 3.0]]), np.array([[2.5]]))  # one sample, one target, three levels
    >>> round(value, 6), (3 * gradient).round(6)  # (0.1 1.5 + 0.5 0.5 + 0.1 0.5) / 3
    (0.15, array([[-0.1, -0.5,  0.1]]))
    """

    levels: tuple[float, ...] = (0.1, 0.5, 0.9)
    name, several = "quantile", True
    accepts: ClassVar = {"levels": _levels}

    def target_channels(self, channels):
        """The number of targets K for a prediction of K times the levels channels; ShapeError if K is no whole number."""
        count = len(self.levels)
        if channels % count:
            expected = f"a multiple of {count} channels, {count} levels of each target"
            raise ShapeError(f"prediction: expected {expected}, got {channels}")
        return channels // count

    def terms(self, prediction, target):
        """The mean over levels for each target, and its derivative."""
        level = moved(np.asarray(self.levels, prediction.dtype), device_of(prediction))
        d = target[..., None] - prediction
        count = prediction.dtype.type(len(self.levels))
        value = np.where(d >= 0, level * d, (level - 1) * d).sum(-1) / count
        return value, np.where(d > 0, -level, np.where(d < 0, 1 - level, 0)) / count

    def curvature(self, prediction, target, direction):
        """0: the function is straight on both sides of a target."""
        return np.zeros_like(prediction)
