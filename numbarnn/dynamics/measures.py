"""How far what a model generates is from what was observed: of the states that are visited, and of the power spectra."""

import math

import numpy as np

from ..arrays.conversion import numbers_like
from ..arrays.devices import expect_finite
from ..errors import ShapeError, finite_number, generator, known_name, positive_integer

FORMS = ("binned", "gaussian")
SMOOTHING = 1e-5  # what every bin has besides its points, so that no logarithm is infinite
ROWS = 1 << 22  # distances that lie in memory at once


def state_space_divergence(
    true: np.ndarray,
    generated: np.ndarray,
    form: str = "binned",
    bins: int = 30,
    width: float = 1.0,
    samples: int = 1000,
    seed: int = 0,
) -> float:
    """D_stsp: the Kullback-Leibler divergence of the states that a model visits from those that were observed.

    T steps, N sequences, C channels; all steps of all sequences are points of one distribution, whatever their order:
    ``D = sum_k p_k log(p_k / q_k)``, where p and q are the shares of the true and of the generated points in bin k; or the
    integral ``D = int p(x) log(p(x) / q(x)) dx``, where p and q are the means of Gaussians around these points.  It is 0 for
    the same points, and else greater (the integral, up to the error of its samples).

    Parameters
    ----------
    true, generated : numpy.ndarray
        (T, C), (T, N, C), or (T,) of one channel; T and N may differ.
    form : {"binned", "gaussian"}
        Bins, for up to three channels or so; Gaussians for more of them, where most bins would be empty.
    bins : int
        Along each channel, between the smallest and the largest true number.  What is outside is in one bin more.  Every
        bin has 1e-5 points besides its own, since the logarithm would be infinite where the model never is.
    width : float
        Standard deviation of each Gaussian, in units of the channels: standardize them.
    samples : int
        Points at which the integral is taken, drawn from p in pairs on both sides of a true point: an even number.
    seed : int or numpy.random.Generator
        For these.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    ShapeError, NonFiniteError, TypeError, ValueError
        Named after the argument that is not as described.

    References
    ----------
    Koppe et al. 2019, doi:10.1371/journal.pcbi.1007263 (binned); Brenner et al. 2022, arXiv:2207.02542 ("gaussian",
    after Hershey and Olsen 2007, doi:10.1109/ICASSP.2007.366913).

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> circle = np.exp(0.1j * np.arange(1000))
    >>> true = np.stack([circle.real, circle.imag], axis=1)
    >>> nr.dynamics.state_space_divergence(true, true)
    0.0
    >>> nr.dynamics.state_space_divergence(true, 0.9 * true) > nr.dynamics.state_space_divergence(true, 0.99 * true) > 0
    True
    """
    known_name("form", form, FORMS)
    true, generated = _points("true", true), _points("generated", generated)
    if true.shape[1] != generated.shape[1]:
        raise ShapeError(f"generated: expected {true.shape[1]} channels like true, got {generated.shape[1]}")
    bins, samples = positive_integer("bins", bins), positive_integer("samples", samples)
    width, random = finite_number("width", width, above=0), generator("seed", seed)
    if form == "binned":
        return _of_bins(true, generated, bins)
    half = -(-samples // 2)
    moves = width * random.standard_normal((half, true.shape[1]))
    centers = true[random.integers(len(true), size=half)]
    at = np.concatenate([centers + moves, centers - moves])
    return float((_log_density(at, true, width) - _log_density(at, generated, width)).mean())


def _of_bins(true, generated, bins):
    """The divergence by shares of points in bins."""
    low, high = true.min(axis=0), true.max(axis=0)
    found = [_places(points, low, high, bins) for points in (true, generated)]
    places, inverse = np.unique(np.concatenate(found), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    counts = [np.bincount(own, minlength=len(places)) for own in np.split(inverse, [len(true)])]
    total = float(bins) ** true.shape[1] + 1  # and the one outside
    shares = [(own + SMOOTHING) / (own.sum() + SMOOTHING * total) for own in counts]
    empty = [SMOOTHING / (own.sum() + SMOOTHING * total) for own in counts]
    rest = (total - len(places)) * empty[0] * math.log(empty[0] / empty[1])
    return float((shares[0] * np.log(shares[0] / shares[1])).sum() + rest)


def _places(points, low, high, bins):
    """(points, channels): in which bin each point is along each channel; -1 in all of them for one that is outside."""
    span = np.where(high > low, high - low, 1.0)
    with np.errstate(over="ignore"):
        places = np.floor((points - low) / span * bins)
    places[points == high] = bins - 1  # the last bin has its upper end
    outside = ((points < low) | (points > high)).any(axis=1)
    return np.where(outside[:, None], -1.0, np.minimum(places, bins - 1))


def _log_density(at, points, width):
    """The logarithm of the mean of Gaussians around points, at some places."""
    channels, found = points.shape[1], np.empty(len(at))
    squares = (points**2).sum(axis=1)
    step = max(1, ROWS // len(points))
    for first in range(0, len(at), step):
        here = at[first : first + step]
        distances = (here**2).sum(axis=1)[:, None] - 2 * here @ points.T + squares
        exponents = -0.5 * np.maximum(distances, 0) / width**2
        largest = exponents.max(axis=1)
        found[first : first + step] = largest + np.log(np.exp(exponents - largest[:, None]).mean(axis=1))
    return found - channels * (0.5 * math.log(2 * math.pi) + math.log(width))


def spectral_distance(true: np.ndarray, generated: np.ndarray, smoothing: float = 20.0) -> float:
    """D_H: the mean over channels of the Hellinger distances of smoothed power spectra, from 0 to 1.

    T steps, N sequences, C channels.  The mean of each sequence and channel is taken away; the squares of its Fourier
    transform, meant over sequences, are smoothed by a Gaussian over frequencies and divided by their sum.  Of two such
    spectra f and g the distance is ``sqrt(1 - sum_w sqrt(f_w g_w))``.

    Parameters
    ----------
    true, generated : numpy.ndarray
        (T, C), (T, N, C), or (T,) of one channel, of the same T: the frequencies are then the same.
    smoothing : float
        Standard deviation of the Gaussian, in frequencies of the transform, of which there are T / 2 + 1; 0 for none.

    Returns
    -------
    float
        Of a channel that stays where it is in one of them alone the distance is 1, in both 0.

    Raises
    ------
    ShapeError, NonFiniteError, TypeError, ValueError
        Named after the argument that is not as described.

    References
    ----------
    Mikhaeil et al. 2022, arXiv:2110.07238; Hess et al. 2023, arXiv:2306.04406.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> time = np.arange(2000)
    >>> slow, fast = np.sin(0.1 * time), np.sin(0.5 * time)
    >>> print(round(nr.dynamics.spectral_distance(slow, 3 * slow + 1, 5.0), 6))  # power is compared, not height
    0.0
    >>> nr.dynamics.spectral_distance(slow, fast, smoothing=5.0) > 0.99
    True
    """
    true, generated = _series("true", true), _series("generated", generated)
    smoothing = finite_number("smoothing", smoothing)
    if smoothing < 0:
        raise ValueError(f"smoothing: expected a number >= 0, got {smoothing:g}")
    for axis, what in ((0, "steps"), (2, "channels")):
        if true.shape[axis] != generated.shape[axis]:
            raise ShapeError(f"generated: expected {true.shape[axis]} {what} like true, got {generated.shape[axis]}")
    f, g = (_spectra(each, smoothing) for each in (true, generated))
    halves = ((np.sqrt(f) - np.sqrt(g)) ** 2).sum(axis=0) / 2  # 1 - sum sqrt(f g), without the difference of two ones
    still = (f.sum(axis=0) == 0) != (g.sum(axis=0) == 0)
    return float(np.sqrt(np.where(still, 1.0, np.minimum(halves, 1.0))).mean())


def _spectra(series, smoothing):
    """(frequencies, channels): power, smoothed, of sum 1 for each channel; zeros where nothing moves."""
    from scipy.ndimage import gaussian_filter1d

    series = series - series.mean(axis=0)
    largest = np.abs(series).max(axis=(0, 1))
    series = series / np.where(largest > 0, largest, 1.0)  # squares of large numbers would overflow
    power = (np.abs(np.fft.rfft(series, axis=0)) ** 2).mean(axis=1)
    if smoothing:
        power = gaussian_filter1d(power, smoothing, axis=0, mode="reflect", truncate=8)
    total = power.sum(axis=0)
    return power / np.where(total > 0, total, 1.0)


def _series(argument, value):
    """(T, N, C) of float64."""
    array = numbers_like(argument, value, np.dtype(np.float64))
    if array.ndim not in (1, 2, 3):
        raise ShapeError(f"{argument}: expected axes (T, C), (T, N, C) or (T,), got shape {array.shape}")
    expect_finite(argument, array)
    array = array.reshape(len(array), *((1, 1), (1, array.shape[-1]), array.shape[1:])[array.ndim - 1])
    if not array.size:
        raise ShapeError(f"{argument}: expected at least one step, sequence and channel, got shape {np.shape(value)}")
    return array


def _points(argument, value):
    """(points, C) of float64."""
    array = _series(argument, value)
    return array.reshape(-1, array.shape[2])
