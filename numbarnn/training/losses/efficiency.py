"""The Nash-Sutcliffe efficiency as a loss."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...arrays.devices import device_of, moved
from ...errors import ShapeError, finite_number, finite_numbers
from .numeric import Regression


def _spread(argument, values):
    """A tuple of numbers > 0, one number, or None."""
    if values is None:
        return None
    if np.ndim(values) == 0 and not isinstance(values, (set, dict)) and not np.iterable(values):
        return finite_number(argument, values, above=0)
    expected = "a number > 0, or one for each target in a sequence"
    found = finite_numbers(argument, values, expected, above=0)
    if not found:
        raise ValueError(f"{argument}: expected {expected}, got none")
    return found


@dataclass(frozen=True)
class NashSutcliffe(Regression):
    """One minus the Nash-Sutcliffe efficiency; the loss called ``"nash_sutcliffe"``.  0 is perfect, 1 as good as the mean.

    The mean of ``((p - y) / s)^2`` over predictions p and targets y, s the standard deviation of the target.  Of one target
    it is ``sum (p - y)^2 / sum (y - mean y)^2``: Nash and Sutcliffe 1970, doi:10.1016/0022-1694(70)90255-6, equation 3; of
    several the mean of these.  With weights the mean of y and s are weighted too, and missing targets count in neither.

    Without `spread`, s is computed from the targets of the call: all of them in `Network.loss`, `Network.evaluate` and
    `Network.loss_and_gradient`, and so with SciPy's optimizers, but a batch in `Network.fit`.  There what a sample counts
    depends on its batch, and a batch of equal targets is an error: give `spread`, the deviation of the training data.
    Kratzert et al. 2019, doi:10.5194/hess-23-5089-2019, take the s of each basin: `MSE` with ``weights=1 / (s + 0.1)**2`` of
    the basin of each sample is their loss but for a factor.

    Parameters
    ----------
    spread : float or sequence of float, optional
        (K,): s of each target, greater than 0; one number stands for all.
    missing : {"nan"}, optional
        As in `MSE`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> y = np.array([[1.0], [2.0], [6.0]])
    >>> nr.NashSutcliffe()(np.full((3, 1), 3.0), y)[0]  # the mean of y
    1.0
    >>> nr.NashSutcliffe(spread=y.std(axis=0))(np.array([[1.0]]), np.array([[2.0]]))[0].__round__(6)  # 1 / 4.667
    0.214286
    """

    spread: float | tuple[float, ...] | None = None
    name, by_channel = "nash_sutcliffe", True
    accepts: ClassVar = {"spread": _spread}

    def target_channels(self, channels):
        """The same number as the prediction's channels; ShapeError unless there are as many spreads."""
        if isinstance(self.spread, tuple) and len(self.spread) != channels:
            raise ShapeError(f"spread: expected one for each of {channels} targets, got {len(self.spread)}")
        return channels

    def _of_call(self, target, weights, there):
        """The loss with the spread of some targets."""
        if self.spread is not None:
            return self
        y, weights, there = (None if part is None else moved(part, "cpu") for part in (target, weights, there))
        y = y.astype(np.float64).reshape(-1, y.shape[-1])
        counts = np.ones(y.shape)
        if there is not None:
            there = there.reshape(y.shape)
            counts = np.where(
                there, 1.0 if weights is None else np.broadcast_to(weights, target.shape).reshape(y.shape), 0.0
            )
            y = np.where(there, y, 0.0)
        total = counts.sum(axis=0)
        some = np.where(total > 0, total, 1.0)
        variance = (counts * (y - (counts * y).sum(axis=0) / some) ** 2).sum(axis=0) / some
        variance[total == 0] = 1.0  # of a target that nothing is known of
        if not variance.all():
            channel = int(np.argmin(variance))
            expected = f"targets that differ, or their spread, spread= of {type(self).__name__}"
            raise ValueError(f"target y: expected {expected}, got equal ones only in channel {channel}")
        spread = np.where(np.isfinite(variance), np.sqrt(variance), 1.0)  # else what is not finite is in the loss itself
        return replace(self, spread=tuple(spread.tolist()))

    def terms(self, prediction, target):
        """The square of each difference over the spread, and its derivative."""
        factor = self._factor(prediction, target)
        scaled = (prediction - target) * factor
        return np.square(scaled), 2 * scaled * factor

    def curvature(self, prediction, target, direction):
        """The direction over the square of the spread, twice."""
        return 2 * np.square(self._factor(prediction, target)) * direction

    def _factor(self, prediction, target):
        """1 over the spread of each target."""
        factor = np.broadcast_to(np.asarray(self.spread, np.float64), target.shape[-1:]) ** -1
        return moved(factor.astype(prediction.dtype), device_of(prediction))
