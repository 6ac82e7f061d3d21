"""Series with gaps and irregular times as what a GRU-D reads: last values, masks, and spans since they were observed."""

import numpy as np

from ..arrays.conversion import array_of, numbers_like
from ..arrays.descriptor import axes_of, in_layout
from ..arrays.packing import checked_lengths
from ..arrays.ragged import Ragged
from ..errors import ShapeError, known_name

AXES = "tnc"


def observed(
    values: np.ndarray | Ragged,
    times=None,
    spans=None,
    lengths: np.ndarray | None = None,
    layout: str = "tnc",
    first=0.0,
    previous: np.ndarray | None = None,
) -> np.ndarray | Ragged:
    """What a `GRUD` reads of series with gaps: the last observed values, masks, and the time since they were observed.

    T steps, N batch, C variables.  At step t of one sequence, of each variable ::

        m[t] = 1 where the value is observed, 0 where it is NaN
        v[t] = the value, or the last one that was observed, or `first`
        d[t] = times[t] - times[s], with s the last step before t at which it was observed, or 0 if there is none

    Parameters
    ----------
    values : array, list, DataFrame or Ragged
        (T, N, C) in the layout, or (T, C) for one sequence: NaN where a value is missing.
    times : array, optional
        When the steps are: (T,) for all sequences, or (T, N), never falling; for a Ragged (sum T,), its sequences one after
        the other.  The unit is yours.  Without times and spans, steps are 1 apart.
    spans : array, optional
        In their place the time since the step before, likewise, 0 or more.  The first is read only with `previous`.
    lengths : array of int, optional
        (N,): the steps of each sequence.  What lies behind is not read, and 0 in the result.
    layout : str
        The letters t, n, c in the order of the axes of values and of the result.
    first : float, array or "backward"
        Of all variables, or (C,): the value before the first observation.  ``"backward"`` takes that observation itself,
        which is not known yet at these steps, or 0 if there is none, as PyPOTS does.
    previous : numpy.ndarray, optional
        (N, 3 C), or (3 C,) for one sequence: the last row of the result for what came before, to go on from there, as a
        `Stream` does.  Not for a Ragged.

    Returns
    -------
    numpy.ndarray or Ragged
        (T, N, 3 C) in the layout, or (T, 3 C): the channels v, m, d.  float32 and float64 as the values, which are not
        modified.

    Raises
    ------
    TypeError, DTypeError, LayoutError, ShapeError
        Named after the argument that is not as described.
    ValueError
        If times fall, a span is negative, or one is not finite; for times together with spans or `previous`.

    References
    ----------
    Che et al. 2018, doi:10.1038/s41598-018-24271-9, eq. 1 and 2.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> values = np.array([[5.0], [np.nan], [np.nan], [7.0], [8.0]])
    >>> x = nr.observed(values, times=[0.0, 1.0, 3.0, 4.0, 6.0])
    >>> x[:, 0], x[:, 1], x[:, 2]
    (array([5., 5., 5., 7., 8.]), array([1., 0., 0., 1., 1.]), array([0., 1., 3., 4., 2.]))
    >>> np.array_equal(nr.observed(values[3:], spans=[1.0, 2.0], previous=x[2]), x[3:])
    True
    """
    if times is not None and spans is not None:
        raise ValueError("spans: expected None together with times, got both")
    if times is not None and previous is not None:
        raise ValueError(
            "times: expected spans in their place together with previous, since times have no span before the first"
        )
    given = ("times", times) if spans is None else ("spans", spans)
    if isinstance(values, Ragged):
        return _of_ragged(values, *given, lengths, first, previous)
    values = numbers_like("values", values, None, AXES)
    if values.ndim not in (2, 3) or not values.shape[-1]:
        raise ShapeError(f"values: expected 3 axes ({', '.join(layout.upper())}) or 2, got shape {values.shape}")
    letters = axes_of(layout, values.ndim)
    missing = [letter for letter in AXES if letter not in letters]
    if "t" in missing:
        raise ShapeError(f"values: expected an axis of time, got the layout {layout!r} for shape {values.shape}")
    order = [letters.index(letter) for letter in AXES if letter in letters]
    tnc = values.transpose(order)
    tnc = tnc[:, None] if "n" in missing else tnc
    steps, batch, variables = tnc.shape
    length = np.full(batch, steps) if lengths is None else checked_lengths(lengths, batch, steps)
    alive = np.arange(steps)[:, None] < length
    clock = _clock(*given, alive)
    if previous is not None:
        previous = numbers_like("previous", previous, values.dtype)
        expected = (3 * variables,) if "n" in missing else (batch, 3 * variables)
        if previous.shape != expected:
            raise ShapeError(f"previous: expected shape {expected}, got {previous.shape}")
        previous = previous.reshape(batch, 3 * variables)
    return in_layout(_observed(tnc, alive, clock, _first(first, values.dtype, variables), previous), letters)


def _first(first, dtype, variables):
    """(C,): the value of each variable before it was observed; or None for that which is observed first."""
    if isinstance(first, str):
        return known_name("first", first, ("backward",)) and None
    first = numbers_like("first", first, dtype)
    if first.shape not in ((), (1,), (variables,)) or not np.isfinite(first).all():
        raise ShapeError(f"first: expected a finite number or one for each of {variables} variables, got {first!r}")
    return np.broadcast_to(first, (variables,))


def _of_ragged(values, name, given, lengths, first, previous):
    """`observed` of a Ragged: its sequences one after the other."""
    for argument, value in (("lengths", lengths), ("previous", previous)):
        if value is not None:
            raise ValueError(f"{argument}: expected None for a Ragged, got {type(value).__name__}")
    values = values.to("cpu")
    data = numbers_like("values", values.data)
    data = data if data.ndim == 2 else data[:, None]
    steps, variables = data.shape
    if given is not None:
        given = numbers_like(name, given, np.dtype(np.float64))
        if given.shape != (steps,):
            raise ShapeError(f"{name}: expected shape {(steps,)}, the steps of all sequences, got {given.shape}")
    found = np.empty((steps, 3 * variables), data.dtype)
    first = _first(first, data.dtype, variables)
    for begin, end in zip(values.offsets[:-1], values.offsets[1:]):
        alive = np.ones((end - begin, 1), bool)
        clock = _clock(name, None if given is None else given[begin:end], alive)
        found[begin:end] = _observed(data[begin:end, None], alive, clock, first, None)[:, 0]
    return Ragged(found, values.offsets)


def _clock(name, given, alive):
    """(time of each step, (T, N) float64; the span before the first one, (N,)), from times or spans."""
    steps, batch = alive.shape
    if given is None:
        return np.broadcast_to(np.arange(steps, dtype=np.float64)[:, None], (steps, batch)), np.ones(batch)
    array = array_of(name, given, "tn").astype(np.float64)
    if array.shape not in ((steps,), (steps, batch)):
        raise ShapeError(f"{name}: expected shape {(steps,)} or {(steps, batch)}, got {array.shape}")
    array = np.where(alive, array if array.ndim == 2 else array[:, None], 0)
    if name == "times":
        wrong = ~np.isfinite(array)
        wrong[1:] |= (array[1:] < array[:-1]) & alive[1:]
        expected = "finite numbers that never fall"
    else:
        wrong, expected = ~(np.isfinite(array) & (array >= 0)), "finite numbers of 0 and more"
    if wrong.any():
        at = tuple(map(int, np.argwhere(wrong)[0]))
        raise ValueError(f"{name}: expected {expected}, got {array[at]!s} at step {at[0]} of sequence {at[1]}")
    if name == "times":
        return array, np.zeros(batch)
    before = array[0].copy() if steps else np.zeros(batch)
    array[:1] = 0
    return np.cumsum(array, axis=0), before


def _observed_first(values, there):
    """The first value that is observed of each variable, (N, C); 0 of one that never is."""
    at = np.argmax(there, axis=0)[None]
    return np.where(there.any(axis=0), np.take_along_axis(values, at, axis=0)[0], 0)


def _observed(values, alive, clock, first, previous):
    """(T, N, 3 C) of (T, N, C)."""
    times, before = clock
    steps, batch, variables = values.shape
    found = np.zeros((steps, batch, 3 * variables), values.dtype)
    if not steps:
        return found
    value, mask, span = (found[..., i * variables : (i + 1) * variables] for i in range(3))
    there = ~np.isnan(values) & alive[..., None]
    last = np.maximum.accumulate(np.where(there, np.arange(steps)[:, None, None], -1), axis=0)  # -1: none so far
    since = np.zeros((batch, variables))
    if previous is None:
        start = _observed_first(values, there) if first is None else first
    else:
        start, was, since = np.split(previous, 3, axis=1)
        since = before[:, None] + (1 - was.astype(np.float64)) * since
    held = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    value[...] = np.where(alive[..., None], np.where(last < 0, start, held), 0)
    mask[...] = there
    known = np.concatenate([np.full((1, batch, variables), -1), last[:-1]])  # before the step itself
    origin = np.take_along_axis(np.broadcast_to(times[..., None], values.shape), np.maximum(known, 0), axis=0)
    past = times[..., None] - origin + np.where(known < 0, since, 0)
    span[...] = np.where(alive[..., None], past, 0)
    return found
