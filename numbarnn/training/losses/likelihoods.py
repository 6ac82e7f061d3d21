"""Negative logarithms of likelihoods: normal and Poisson distributions."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import gammaln

from ...arrays.devices import device_of, moved
from ...arrays.ieee import ieee
from ...errors import ShapeError, finite_number
from .numeric import Regression, exponential, logistic
from .targets import described


@dataclass(frozen=True)
class GaussianNLL(Regression):
    """The mean negative log likelihood of normal distributions; the loss called ``"gaussian_nll"``.

    ``log(s) + ((y - m) / s)^2 / 2`` of a target y, with mean m and standard deviation s, and ``log(2 pi) / 2`` more if
    `full`.  Of K targets a network has 2 K output channels: channel ``2 k`` is the mean of target k, and channel ``2 k + 1``
    a number r for its standard deviation, ``s = least + log(1 + exp(r))``, as in Salinas et al. 2020,
    doi:10.1016/j.ijforecast.2019.07.001, equation 3.

    That s grows no faster than r and never falls below `least`, so that neither loss nor derivative overflows for any r.
    (Of a log-variance v the factor ``exp(-v)`` does, after one bad step.)  An r of 0 stands for ``s = least + 0.693``: scale
    targets to a spread of about 1.  PyTorch's ``gaussian_nll_loss`` of ``var = s^2`` is this.

    Parameters
    ----------
    least : float
        The smallest standard deviation, greater than 0, in units of the targets.
    full : bool
        Whether the constant term is added, which no prediction changes.
    missing : {"nan"}, optional
        As in `MSE`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> loss, prediction = nr.GaussianNLL(), np.array([[1.0, 0.0], [1.0, 3.0]])
    >>> mean, deviation = loss.distribution(prediction)
    >>> mean.ravel(), deviation.ravel().round(3)
    (array([1., 1.]), array([0.694, 3.05 ]))
    >>> round(loss(prediction, np.array([[1.0], [1.0]]))[0], 3)  # the mean of log(0.694) and log(3.05)
    0.375
    """

    least: float = 1e-3
    full: bool = False
    name, several = "gaussian_nll", True
    accepts: ClassVar = {"least": lambda argument, value: finite_number(argument, value, above=0)}

    def target_channels(self, channels):
        """The number of targets K for a prediction of 2K channels; ShapeError if `channels` is odd."""
        if channels % 2:
            raise ShapeError(f"prediction: expected an even number of channels, two of each target, got {channels}")
        return channels // 2

    @ieee
    def distribution(self, prediction: np.ndarray, layout: str = "tnc") -> tuple[np.ndarray, np.ndarray]:
        """(means, standard deviations) that a network's output says, each of an array with half as many channels.

        Parameters
        ----------
        prediction : numpy.ndarray
            (N, 2 K), or (T, N, 2 K) in the order of `layout`.
        layout : str
            The letters t, n, c in the order of its axes; without t for a 2-D one.

        Raises
        ------
        TypeError, DTypeError, ShapeError, LayoutError
            If the prediction is not as described.
        """
        found = described(prediction, layout)
        self.target_channels(found.channels)
        axis = found.layout.index("c")
        rows = np.moveaxis(found.array, axis, -1)
        mean, deviation = rows[..., ::2].copy(), self._deviation(rows[..., 1::2])[0]
        return np.moveaxis(mean, -1, axis), np.moveaxis(deviation, -1, axis)

    def _deviation(self, r):
        """The standard deviation, and its derivative."""
        return self.least + exponential("softplus", r), logistic(r)[1]

    def terms(self, prediction, target):
        """The function of each target, and its derivative with respect to both of its channels."""
        s, slope = self._deviation(prediction[..., 1])
        z = (prediction[..., 0] - target) / s
        value = np.log(s) + 0.5 * z * z + (0.5 * math.log(2 * math.pi) if self.full else 0.0)
        return value, np.stack([z / s, slope * (1 - z * z) / s], axis=-1)

    def curvature(self, prediction, target, direction):
        """The second derivative of each target's function with respect to its two channels, times the direction of these."""
        s, slope = self._deviation(prediction[..., 1])
        small = np.exp(-np.abs(prediction[..., 1]))
        bend = small / np.square(1 + small)  # the second derivative of s
        z = (prediction[..., 0] - target) / s
        both = -2 * z * slope / (s * s)
        of_r = bend * (1 - z * z) / s + slope * slope * (3 * z * z - 1) / (s * s)
        dm, dr = direction[..., 0], direction[..., 1]
        return np.stack([dm / (s * s) + both * dr, both * dm + of_r * dr], axis=-1)


@dataclass(frozen=True)
class PoissonNLL(Regression):
    """The mean negative log likelihood of Poisson distributions; the loss called ``"poisson_nll"``.

    ``exp(p) - y p`` of a prediction p, the logarithm of the rate, and a target y, a count; and ``log(y!)`` more if `full`,
    by the gamma function.  Targets are numbers >= 0, whole or not.  That is PyTorch's ``poisson_nll_loss``, whose ``full``
    has Stirling's approximation in the place of ``log(y!)``.

    Parameters
    ----------
    full : bool
        Whether the term is added that no prediction changes.
    missing : {"nan"}, optional
        As in `MSE`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> value, gradient = nr.PoissonNLL()(np.log([[2.0], [4.0]]), np.array([[2.0], [3.0]]))
    >>> round(value, 6), gradient.ravel().round(6)  # rates of 2 and 4, counts of 2 and 3
    (0.227411, array([0. , 0.5]))
    """

    full: bool = False
    name, expected, strict = "poisson_nll", "finite numbers >= 0", True

    def allowed(self, target):
        """Where numbers may be counts."""
        return np.isfinite(target) & (target >= 0)

    def terms(self, prediction, target):
        """The function of each prediction and target, and its derivative."""
        rate = exponential("exp", prediction)
        value = rate - target * prediction
        if self.full:
            logarithm = gammaln(moved(target, "cpu").astype(np.float64) + 1).astype(target.dtype)
            value = value + moved(logarithm, device_of(target))
        return value, rate - target

    def curvature(self, prediction, target, direction):
        """The rate times the direction."""
        return np.exp(prediction) * direction
