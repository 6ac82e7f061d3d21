"""Sequences out of a series."""

import numpy as np

from .descriptor import checked_array
from .errors import ShapeError, positive_integer


def windows(series: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Every window of a series, and the value that follows it.

    Parameters
    ----------
    series : numpy.ndarray
        (S,) or (S, C), float32 or float64.
    steps : int
        Length T of a window.

    Returns
    -------
    x : numpy.ndarray
        (T, N, C) with N = S - T: ``x[t, n] = series[n + t]``; a read-only view of `series`.
    y : numpy.ndarray
        (N, C): ``y[n] = series[n + T]``; a read-only view.

    Raises
    ------
    ShapeError
        If the series has other axes, or is not longer than a window.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> x, y = nr.windows(np.arange(5.0), 2)
    >>> x[:, :, 0]
    array([[0., 1., 2.],
           [1., 2., 3.]])
    >>> y[:, 0]
    array([2., 3., 4.])
    """
    steps = positive_integer("steps", steps)
    checked_array("series", series)
    if series.ndim not in (1, 2):
        raise ShapeError(f"series: expected shape (S,) or (S, C), got {series.shape}")
    if len(series) <= steps:
        raise ShapeError(f"series: expected more than {steps} values for windows of {steps} steps, got {len(series)}")
    columns = series.reshape(len(series), -1) if series.ndim == 2 else series[:, None]
    x = np.lib.stride_tricks.sliding_window_view(columns[:-1], steps, axis=0).transpose(2, 0, 1)
    y = columns[steps:].view()
    y.flags.writeable = False
    return x, y
