"""Sequences out of a series."""

import numpy as np

from ..arrays.conversion import numbers_like
from ..errors import ShapeError, positive_integer


def windows(series: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Every window of a series, and the value that follows it.

    Parameters
    ----------
    series : array, list, Series or DataFrame
        (S,) or (S, C).  float32 and float64 are taken as they are, other numbers (integers, bool, float16) become float64.
    steps : int
        Length T of a window.

    Returns
    -------
    x : numpy.ndarray
        (T, N, C) with N = S - T: ``x[t, n] = series[n + t]``; a read-only view of `series`, unless that was converted.
    y : numpy.ndarray
        (N, C): ``y[n] = series[n + T]``; a read-only view.

    Raises
    ------
    ShapeError
        If the series has other axes, or is not longer than a window.
    TypeError, DTypeError
        If it holds something else than numbers, or is a masked array.

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
    series = numbers_like("series", series)
    if series.ndim not in (1, 2):
        raise ShapeError(f"series: expected shape (S,) or (S, C), got {series.shape}")
    if len(series) <= steps:
        raise ShapeError(f"series: expected more than {steps} values for windows of {steps} steps, got {len(series)}")
    columns = series.reshape(len(series), -1) if series.ndim == 2 else series[:, None]
    x = np.lib.stride_tricks.sliding_window_view(columns[:-1], steps, axis=0).transpose(2, 0, 1)
    y = columns[steps:].view()
    y.flags.writeable = False
    return x, y
