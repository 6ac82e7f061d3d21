"""Losses of differences between predictions and targets."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...arrays.descriptor import is_on_device
from ...arrays.devices import backend
from ...errors import finite_number
from .numeric import Regression


class DifferenceLoss(Regression):
    """A function of ``d = prediction - target``.  Subclasses write `value` and its derivatives, `slope` and `bend`."""

    def terms(self, prediction, target):
        """The function of each difference, and its derivative."""
        difference = prediction - target
        return self.value(difference), self.slope(difference)

    def curvature(self, prediction, target, direction):
        """The second derivative of each difference's function, times the direction."""
        return self.bend(prediction - target) * direction


class SquareLoss(DifferenceLoss):
    """``factor d^2``: on a GPU by one kernel, with its derivative."""

    factor: ClassVar = 1.0

    def terms(self, prediction, target):
        """As of any difference, with the same bits."""
        if not is_on_device(prediction):
            return super().terms(prediction, target)
        return backend("cuda").losses.squares(prediction, target, self.factor)


def is_of_squares(loss):
    """Whether it is the library's mean of squares, over all targets that it is called with."""
    return type(loss) in (MSE, HalfMSE) and not loss.missing


@dataclass(frozen=True)
class MSE(SquareLoss):
    """The mean of ``d^2``, d = prediction - target, over steps, batch and channels; the loss called ``"mse"``.

    Parameters
    ----------
    missing : {"nan"}, optional
        ``"nan"``: a target that is NaN was not observed.  The mean is over the others, and the derivative is exactly 0
        there; where none is observed, the loss is 0 as well.  With None a NaN in the targets is an error of `Network.fit`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> value, gradient = nr.MSE()(np.array([[1.0], [3.0]]), np.array([[0.0], [1.0]]))
    >>> value, gradient.ravel()
    (2.5, array([1., 2.]))
    >>> value, gradient = nr.MSE(missing="nan")(np.array([[1.0], [3.0]]), np.array([[np.nan], [1.0]]))
    >>> value, gradient.ravel()
    (4.0, array([0., 4.]))
    """

    name = "mse"

    def value(self, d):
        """``d^2``."""
        return np.square(d)

    def slope(self, d):
        """``2 d``."""
        return 2 * d

    def bend(self, d):
        """2."""
        return d.dtype.type(2)


@dataclass(frozen=True)
class HalfMSE(SquareLoss):
    """The mean of ``d^2 / 2``, d = prediction - target; the loss called ``"half_mse"`` and ``"quadratic"``.

    Parameters
    ----------
    missing : {"nan"}, optional
        As in `MSE`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> nr.HalfMSE()(np.array([[1.0], [3.0]]), np.array([[0.0], [1.0]]))[0]
    1.25
    """

    name = "half_mse"
    factor: ClassVar = 0.5

    def value(self, d):
        """``d^2 / 2``."""
        return 0.5 * d * d

    def slope(self, d):
        """``d``."""
        return d

    def bend(self, d):
        """1."""
        return d.dtype.type(1)


@dataclass(frozen=True)
class MAE(DifferenceLoss):
    """The mean of ``|d|``, d = prediction - target; the loss called ``"mae"``.  Its derivative at d = 0 is 0.

    Parameters
    ----------
    missing : {"nan"}, optional
        As in `MSE`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> nr.MAE()(np.array([[1.0], [3.0]]), np.array([[0.0], [1.0]]))[0]
    1.5
    """

    name = "mae"

    def value(self, d):
        """``|d|``."""
        return np.abs(d)

    def slope(self, d):
        """The sign of d."""
        return np.sign(d)

    def bend(self, d):
        """0."""
        return d.dtype.type(0)


@dataclass(frozen=True)
class Huber(DifferenceLoss):
    """The mean of Huber's function of d = prediction - target; the loss called ``"huber"``.

    ``d^2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``: Huber 1964, doi:10.1214/aoms/1177703732, as
    PyTorch's ``huber_loss``.

    Parameters
    ----------
    delta : float
        Where the square ends, greater than 0.
    missing : {"nan"}, optional
        As in `MSE`.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> nr.Huber(delta=2.0)(np.array([[1.0], [4.0]]), np.array([[0.0], [1.0]]))[0]  # the mean of 0.5 and 4
    2.25
    """

    delta: float = 1.0
    name = "huber"
    accepts: ClassVar = {"delta": lambda argument, value: finite_number(argument, value, above=0)}

    def value(self, d):
        """Huber's function."""
        size = np.abs(d)
        small = np.minimum(size, self.delta)
        return small * (size - 0.5 * small)

    def slope(self, d):
        """d, from -delta to delta."""
        return np.clip(d, -self.delta, self.delta)

    def bend(self, d):
        """1 where ``|d| <= delta``, else 0."""
        return (np.abs(d) <= self.delta).astype(d.dtype)
