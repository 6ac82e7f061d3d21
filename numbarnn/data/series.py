"""Sequences out of series."""

import numpy as np

from ..arrays.conversion import array_of, column_names, numbers_like
from ..arrays.descriptor import axes_of, in_layout
from ..arrays.devices import native
from ..arrays.ragged import Ragged
from ..errors import DTypeError, IndexRangeError, ShapeError, integer, nearest, positive_integer, several


def windows(
    series: np.ndarray,
    steps: int,
    horizon: int | None = None,
    stride: int = 1,
    targets=None,
    layout: str = "tnc",
) -> tuple[np.ndarray, np.ndarray]:
    """Every window of a series, and what follows it.

    Parameters
    ----------
    series : array, list, Series or DataFrame, or several of them
        (S,) or (S, C).  float32 and float64 are taken as they are, other numbers (integers, bool, float16) become float64.
        Several series are a list of (S_k, C) arrays or of DataFrames, or a `Ragged`: no window crosses from one into the
        next, and one that is too short for a window has none.
    steps : int
        Length T of a window.
    horizon : int, optional
        H, how many values after a window are its y, which then has an axis of time.  None: the next one, without that axis.
    stride : int
        Steps from the start of a window to the start of the next.
    targets : int, str, or a sequence of those; optional
        The channels of y, in this order: by index, or by name for a DataFrame; None has all.  x has all in any case.
    layout : str
        The letters t, n, c in the order of the axes of x, and of y.

    Returns
    -------
    x : numpy.ndarray
        (T, N, C) in the layout, ``x[t, n] = series[n * stride + t]``; a read-only view of `series`, unless that was
        converted.  Of several series, their windows one after the other in n, copied.
    y : numpy.ndarray
        (N, K) in the layout, ``y[n] = series[n * stride + T, targets]``; or (H, N, K),
        ``y[h, n] = series[n * stride + T + h, targets]``.  Read-only; copied of several series, or with `targets`.

    Raises
    ------
    ShapeError
        If the series has other axes, or none is longer than a window, or several have different channels.
    UnknownNameError, IndexRangeError, ValueError
        If there is no such channel, or it is named twice; if a length is not positive.
    TypeError, DTypeError, LayoutError
        If a series holds something else than numbers, or is a masked array; if several have different dtypes; for a layout
        without these letters.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> x, y = nr.windows(np.arange(5.0), 2)
    >>> x[:, :, 0]
    array([[0., 1., 2.],
           [1., 2., 3.]])
    >>> y[:, 0]
    array([2., 3., 4.])
    >>> x, y = nr.windows([np.zeros((6, 3)), np.ones((9, 3))], 4, horizon=2, targets=[2], layout="ntc")
    >>> x.shape, y.shape
    ((5, 4, 3), (5, 2, 1))
    """
    steps, stride = positive_integer("steps", steps), positive_integer("stride", stride)
    ahead = 1 if horizon is None else positive_integer("horizon", horizon)
    letters = axes_of(layout, 3)
    parts, names = _parts(series)
    long = [part for part in parts if len(part) >= steps + ahead]
    if not long:
        of_y = "" if horizon is None else f" and the {ahead} after them"
        wanted = f"more than {steps + ahead - 1} values for windows of {steps} steps{of_y}"
        raise ShapeError(f"series: expected {wanted}, got {max(map(len, parts))}")
    chosen = None if targets is None else _channels(targets, parts[0].shape[1], names)
    found = [_windows(part, steps, ahead, stride, chosen) for part in long]
    x, y = found[0] if len(parts) == 1 else (np.concatenate(each, axis=1) for each in zip(*found))
    x.flags.writeable = y.flags.writeable = False
    return in_layout(x, letters), in_layout(y, letters if horizon is not None else letters.replace("t", ""))


def strips(series: np.ndarray, count: int) -> np.ndarray:
    """A long series cut into strips of equal length, side by side, which ``fit(carry=True)`` takes a piece at a time.

    S values of C channels or none, N strips of T = S // N steps ::

        strips[t, n] = series[n * T + t]

    Parameters
    ----------
    series : array, list, Series or DataFrame
        (S,) or (S, C), such as the indices of a text.  Integers, float32 and float64 are taken as they are, other numbers
        become float64.
    count : int
        N.  The last S % N values are in no strip.

    Returns
    -------
    numpy.ndarray
        (T, N) or (T, N, C); a read-only view of `series`, unless that was converted.

    Raises
    ------
    ShapeError
        If the series has other axes, or fewer values than strips.
    TypeError, DTypeError, ValueError
        If it holds something else than numbers, or is a masked array; if `count` is not positive.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> text = np.arange(10)
    >>> nr.strips(text[:-1], 2)
    array([[0, 4],
           [1, 5],
           [2, 6],
           [3, 7]])
    >>> nr.strips(text[1:], 2)[0]  # what follows
    array([1, 5])
    """
    count, numbers = positive_integer("count", count), array_of("series", series, "tc")
    if numbers.dtype.kind not in "iu":
        numbers = numbers_like("series", numbers)
    if numbers.ndim not in (1, 2):
        raise ShapeError(f"series: expected shape (S,) or (S, C), got {numbers.shape}")
    steps = len(numbers) // count
    if not steps:
        raise ShapeError(f"series: expected at least {count} values for {count} strips, got {len(numbers)}")
    found = numbers[: steps * count].reshape(count, steps, *numbers.shape[1:]).swapaxes(0, 1)
    found.flags.writeable = False
    return found


def _parts(series):
    """([(S, C) array of each series], names of the channels or None)."""
    if isinstance(series, Ragged):
        return _columns("series", series.to("cpu").data, series), None
    if isinstance(series, (list, tuple)):
        series = [native(f"series[{k}]", part) for k, part in enumerate(series)]
    several_series = isinstance(series, (list, tuple)) and series and all(map(_is_table, series))
    given = {f"series[{k}]": part for k, part in enumerate(series)} if several_series else {"series": series}
    found, names = [], [column_names(part) for part in given.values()]
    for (argument, part), own in zip(given.items(), names):
        numbers = numbers_like(argument, part, None, "tc")
        if numbers.ndim not in (1, 2) or numbers.ndim == 2 and not numbers.shape[1]:
            raise ShapeError(f"{argument}: expected shape (S,) or (S, C), got {numbers.shape}")
        found.append(numbers if numbers.ndim == 2 else numbers[:, None])
        if found[-1].shape[1] != found[0].shape[1]:
            raise ShapeError(f"{argument}: expected {found[0].shape[1]} channels like the first, got {found[-1].shape[1]}")
        if found[-1].dtype != found[0].dtype:
            raise DTypeError(f"{argument}: expected {found[0].dtype} like the first, got {found[-1].dtype}")
        if own != names[0]:
            raise ShapeError(f"{argument}: expected the columns of the first, {names[0]}, got {own}")
    return found, names[0]


def _is_table(part):
    """Whether it has two axes; a masked array is refused as a part of the whole list."""
    return getattr(part, "ndim", None) == 2 and not isinstance(part, np.ma.MaskedArray)


def _columns(argument, data, ragged):
    """The sequences of a Ragged, (S, C) each."""
    data = numbers_like(argument, data)
    data = data if data.ndim == 2 else data[:, None]
    return [data[first:end] for first, end in zip(ragged.offsets[:-1], ragged.offsets[1:])] or [data]


def _channels(targets, channels, names):
    """The indices of the channels that `targets` names, all of which there are."""
    one = isinstance(targets, (str, bytes)) or np.ndim(targets) == 0 and not hasattr(targets, "__iter__")
    given = (targets,) if one else several("targets", targets, "channels by index or name")
    found = []
    for target in given:
        if isinstance(target, str):
            if names is None:
                raise TypeError(f"targets: expected indices of channels, since the series has no names, got {target!r}")
            if target not in names:
                raise nearest("targets", target, [name for name in names if isinstance(name, str)])
            found.append(names.index(target))
            continue
        index = integer("targets", target, "channels by index or name")
        if not 0 <= index < channels:
            raise IndexRangeError(f"targets: expected channels from 0 to {channels - 1}, got {index}")
        found.append(index)
    if not found or len({*found}) < len(found):
        raise ValueError(f"targets: expected at least one channel, each once, got {targets!r}")
    return found


def _windows(series, steps, ahead, stride, chosen):
    """(x, y) of one series, (T, N, C) and (ahead, N, K) views, or of y one of a copy."""
    view = np.lib.stride_tricks.sliding_window_view
    x = view(series[:-ahead], steps, axis=0)[::stride].transpose(2, 0, 1)
    y = view((series if chosen is None else series[:, chosen])[steps:], ahead, axis=0)[::stride].transpose(2, 0, 1)
    return x, y
