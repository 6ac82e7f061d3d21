"""Plots of trainings, forecasts, states, gates and dynamics, by matplotlib (``pip install numbarnn[plot]``).

Each function draws on the Axes `ax`, on new ones if it is None, and returns them.
"""

import numpy as np

from .arrays.conversion import array_of
from .arrays.descriptor import TensorDescriptor
from .arrays.ragged import Ragged
from .errors import IndexRangeError, ShapeError, flag, integer, plain

MOST_LINES = 10  # units that have a line each; more become an image


def _axes(ax, size):
    """`ax`, or new Axes."""
    try:
        from matplotlib import pyplot
        from matplotlib.axes import Axes
    except ImportError:
        raise ImportError("plot: expected matplotlib, which is not installed: pip install numbarnn[plot]") from None
    if ax is None:
        return pyplot.subplots(figsize=size, layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax: expected matplotlib Axes or None, got {type(ax).__name__}")
    return ax


def history(history, ax=None, log: bool = True):
    """The losses of a training by epoch.

    Parameters
    ----------
    history : History
    ax : matplotlib.axes.Axes, optional
    log : bool
        On a logarithmic scale, as far as no loss is 0.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numbarnn as nr
    >>> ax = nr.plot.history(nr.History(loss=[1.0, 0.1], validation=[1.5, 0.5]))
    >>> ax.get_yscale(), [line.get_label() for line in ax.lines]
    ('log', ['training', 'validation'])
    """
    if not isinstance(getattr(history, "loss", None), list):
        raise TypeError(f"history: expected the History that fit returns, got {type(history).__name__}")
    log, ax = flag("log", log), _axes(ax, (6, 3.5))
    for values, label in ((history.loss, "training"), (history.validation, "validation")):
        if values:
            ax.plot(np.arange(1, len(values) + 1), values, label=label, marker="." if len(values) < 20 else None)
    if log and min([*history.loss, *history.validation], default=0) > 0:
        ax.set_yscale("log")
    ax.set(xlabel="epoch", ylabel="loss")
    if history.validation:
        ax.legend()
    return ax


def forecast(observed, forecasts, times=None, ax=None, label: str = "observed"):
    """A series and forecasts of it.

    Parameters
    ----------
    observed : array
        (S,); NaN leaves a gap.
    forecasts : array, pair or dict of str to these
        As many values as `observed`; or ``(first, values)`` with the index of the first one, from 0 on: they may go on past
        the end.  In a dict by label.  Values are (H,), or (H, L) of L rising quantiles: a band from the first to the last, a
        darker one from the second to the last but one, and so on; the one in the middle, if L is odd, is a line.
    times : array, optional
        (S,): where the values are, numbers or dates, instead of their indices; past the end it goes on by the last step.
    ax : matplotlib.axes.Axes, optional
    label : str
        The label of `observed`.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> ax = nr.plot.forecast(np.arange(4.0), {"by a line": (3, np.array([3.0, 4.0, 5.0]))}, times=np.arange(2000, 2004))
    >>> ax.lines[1].get_xdata().tolist()
    [2003.0, 2004.0, 2005.0]
    >>> low_middle_high = np.arange(4.0)[:, None] + [-1, 0, 1]
    >>> ax = nr.plot.forecast(np.arange(4.0), low_middle_high)
    >>> len(ax.lines), len(ax.collections)
    (2, 1)
    """
    observed = array_of("observed", observed)
    if observed.ndim != 1 or not len(observed):
        raise ShapeError(f"observed: expected shape (S,), got {observed.shape}")
    times = np.arange(len(observed)) if times is None else np.asarray(plain("times", times, "numbers or dates"))
    if times.dtype.kind != "M":  # dates stay dates
        times = array_of("times", times).astype(float)
    if times.shape != observed.shape:
        raise ShapeError(f"times: expected shape {observed.shape} like observed, got {times.shape}")
    lines = []
    for name, given in (forecasts if isinstance(forecasts, dict) else {"forecast": forecasts}).items():
        if isinstance(given, tuple) and len(given) != 2:
            raise ValueError(f"forecasts: expected a pair (first, values), got {len(given)} parts for {name!r}")
        first, values = given if isinstance(given, tuple) else (0, given)
        first, values = integer("forecasts", first, "an integer first"), array_of("forecasts", values)
        if values.ndim not in (1, 2) or not values.shape[-1]:
            expected = "vectors, or arrays (H, L) of quantiles"
            raise ShapeError(f"forecasts: expected {expected}, got shape {values.shape} for {name!r}")
        if not isinstance(given, tuple) and len(values) != len(observed):
            expected = f"{len(observed)} values like observed, or a pair (first, values)"
            raise ShapeError(f"forecasts: expected {expected}, got {len(values)} values for {name!r}")
        if not 0 <= first <= len(observed):
            raise ValueError(f"forecasts: expected a first index from 0 to {len(observed)}, got {first} for {name!r}")
        beyond = max(0, first + len(values) - len(times))
        step = times[-1] - times[-2] if len(times) > 1 else 1
        more = times[-1] + step * np.arange(1, beyond + 1)
        lines.append((name, np.concatenate([times, more])[first : first + len(values)], values))
    ax = _axes(ax, (9, 3.5))
    ax.plot(times, observed, ".-", color="black", linewidth=0.4, markersize=3, zorder=3, label=label)
    for name, where, values in lines:
        _quantiles(ax, where, values if values.ndim == 2 else values[:, None], name)
    ax.legend()
    return ax


def _quantiles(ax, where, values, label):
    """(H, L) quantiles in one colour: a line for the one in the middle, NaN if there is none, bands between the others."""
    outer, middle = divmod(values.shape[1], 2)
    (line,) = ax.plot(where, values[:, outer] if middle else np.full(len(values), np.nan), linewidth=1.2, label=label)
    for k in range(outer):
        ax.fill_between(where, values[:, k], values[:, -1 - k], color=line.get_color(), alpha=0.2, linewidth=0)


def _over_time(argument, array, layout, sequence):
    """(T, C) of one sequence of an array or a Ragged."""
    sequence = integer("sequence", sequence)
    if isinstance(array, Ragged):
        if not -len(array) <= sequence < len(array):
            raise IndexRangeError(f"sequence: expected an index from 0 to {len(array) - 1}, got {sequence}")
        return array[sequence]
    described = TensorDescriptor.of(array, layout, argument)
    if "t" not in described.layout:
        raise ShapeError(f"{argument}: expected 2 or 3 axes, steps among them, got shape {array.shape} ({layout})")
    if not -described.batch <= sequence < described.batch:
        raise IndexRangeError(f"sequence: expected an index from 0 to {described.batch - 1}, got {sequence}")
    return described.tnc[:, sequence]


def _image(ax, rows, low, high, label):
    """Rows over time as an image with a bar of colours."""
    extent = (-0.5, rows.shape[1] - 0.5, len(rows) - 0.5, -0.5)
    image = ax.imshow(rows, aspect="auto", interpolation="nearest", vmin=low, vmax=high, cmap="RdBu_r", extent=extent)
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.02)


def states(y, layout: str = "tnc", sequence: int = 0, ax=None):
    """The units of a layer over time, in one sequence: a line each, or an image where there are more than ten.

    Parameters
    ----------
    y : numpy.ndarray or Ragged
        What a layer returns: (T, N, H), or (T, H) for one sequence.
    layout : str
        The letters t, n, c in the order of y's axes.
    sequence : int
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> len(nr.plot.states(np.zeros((7, 1, 3))).lines), len(nr.plot.states(np.zeros((7, 1, 30))).images)
    (3, 1)
    """
    own = _over_time("y", y, layout, sequence)
    ax = _axes(ax, (8, 3.5))
    if own.shape[1] <= MOST_LINES:
        for unit in range(own.shape[1]):
            ax.plot(own[:, unit], marker="." if len(own) < 60 else None, label=f"unit {unit}")
        ax.set(ylabel="state")
        if own.shape[1] > 1:
            ax.legend(fontsize="small")
    else:
        most = float(np.abs(own).max()) or 1.0
        _image(ax, own.T, -most, most, "state")
        ax.set(ylabel="unit")
    ax.set(xlabel="step")
    return ax


def gates(activations: dict, layout: str = "tnc", sequence: int = 0, ax=None):
    """The gates of a layer over time, in one sequence, one below the other; of a single unit a line for each gate.

    Parameters
    ----------
    activations : dict of str to numpy.ndarray or Ragged
        What the method ``gates`` of a GRU, LSTM or MGU returns.
    layout : str
        The letters t, n, c in the order of the arrays' axes.
    sequence : int
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.GRU(8)
    >>> p, x = layer.init(channels=1, seed=0), np.ones((20, 1, 1), np.float32)
    >>> ax = nr.plot.gates(layer.gates(p, x))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['r', 'z', 'n']
    """
    if not isinstance(activations, dict) or not activations:
        raise TypeError(
            f"activations: expected a dict of arrays by gate, from layer.gates, got {type(activations).__name__}"
        )
    own = {name: _over_time(f"activations[{name!r}]", array, layout, sequence) for name, array in activations.items()}
    units = next(iter(own.values())).shape[1]
    if any(array.shape[1] != units for array in own.values()):
        raise ShapeError(f"activations: expected {units} units of every gate, got {[a.shape[1] for a in own.values()]}")
    ax = _axes(ax, (8, 1 + 1.2 * len(own)))
    if units == 1:
        for name, array in own.items():
            ax.plot(array[:, 0], marker="." if len(array) < 60 else None, label=name)
        ax.set(ylabel="activation")
        ax.legend(fontsize="small")
    else:
        rows = np.concatenate([array.T for array in own.values()])
        most = max(1.0, float(np.abs(rows).max()))
        _image(ax, rows, -most, most, "activation")
        for border in range(units, units * len(own), units):
            ax.axhline(border - 0.5, color="black", linewidth=0.8)
        ax.set_yticks([units * (k + 0.5) - 0.5 for k in range(len(own))], list(own))
        ax.set(ylabel="gate, all its units")
    ax.set(xlabel="step")
    return ax


def _exponents(found, sequence, ax, draw, label):
    """Axes of what `dynamics.lyapunov` returns, of one of its trajectories, with a line at 0.

    draw: called with the Axes and the index of the trajectory; label: of the horizontal axis.
    """
    if getattr(found, "history", None) is None or not hasattr(found, "exponents"):
        raise TypeError(f"found: expected the LyapunovSpectrum that lyapunov returns, got {type(found).__name__}")
    sequence, count = integer("sequence", sequence), len(found.exponents)
    if not -count <= sequence < count:
        raise IndexRangeError(f"sequence: expected an index from 0 to {count - 1}, got {sequence}")
    ax = _axes(ax, (6, 3.5))
    draw(ax, sequence)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel=label, ylabel="Lyapunov exponent")
    return ax


def spectrum(found, sequence: int = 0, ax=None):
    """Lyapunov exponents, the largest first.

    Parameters
    ----------
    found : LyapunovSpectrum
    sequence : int
        Which of the trajectories.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numbarnn as nr
    >>> layer = nr.GRU(4)
    >>> found = nr.dynamics.lyapunov(layer, layer.init(1, seed=0, dtype="float64"), 50)
    >>> len(nr.plot.spectrum(found).lines[0].get_xdata())
    4
    """

    def draw(ax, sequence):
        own = found.exponents[sequence]
        ax.plot(np.arange(1, len(own) + 1), own, ".-", linewidth=0.8)

    return _exponents(found, sequence, ax, draw, "index")


def convergence(found, sequence: int = 0, ax=None):
    """How Lyapunov exponents have converged: a line over time for each of the ten largest.

    Parameters
    ----------
    found : LyapunovSpectrum
    sequence : int
        Which of the trajectories.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numbarnn as nr
    >>> layer = nr.GRU(4)
    >>> found = nr.dynamics.lyapunov(layer, layer.init(1, seed=0, dtype="float64"), 50)
    >>> len(nr.plot.convergence(found).lines)
    5
    """

    def draw(ax, sequence):
        own = found.history[:, sequence, :MOST_LINES]
        ax.plot(found.times, own, linewidth=1.2, marker="." if len(own) < 20 else None)

    return _exponents(found, sequence, ax, draw, "time")


def fixed_points(points, states=None, modes: int = 1, ax=None):
    """Fixed points, slow points and their modes over the first two principal components of the states.

    Stable points are filled, others open, slow ones crosses.  A mode is a line along an eigenvector of the Jacobian, red
    where its eigenvalue is 1 or more in modulus and the state leaves the point along it, else blue.

    Parameters
    ----------
    points : FixedPoints
    states : array, optional
        (..., S): states of trajectories, such as a layer's outputs; the components are theirs, and they are drawn.  If
        None, the components are computed from the points.
    modes : int
        How many modes of each point are drawn, the largest eigenvalues first; 0 for none.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.RNN(2)
    >>> p, starts = layer.init(1, seed=0, dtype="float64"), np.zeros((1, 1, 2))
    >>> ax = nr.plot.fixed_points(nr.dynamics.fixed_points(layer, p, None, starts))
    >>> ax.get_xlabel(), len(ax.lines)
    ('first principal component', 2)
    """
    if not hasattr(points, "jacobians") or not hasattr(points, "stable"):
        raise TypeError(f"points: expected the FixedPoints that fixed_points returns, got {type(points).__name__}")
    size, modes = points.states.shape[1], integer("modes", modes)
    if not 0 <= modes <= size:
        raise ValueError(f"modes: expected a number from 0 to {size}, got {modes}")
    if states is None:
        trajectory = points.states
    else:
        trajectory = array_of("states", states)
        if trajectory.ndim < 2 or trajectory.shape[-1] != size:
            raise ShapeError(f"states: expected shape (..., {size}) like the points, got {trajectory.shape}")
        trajectory = trajectory.reshape(-1, size)
    if not len(trajectory):
        raise ShapeError("points: expected at least one, or states, got none")
    centre = trajectory.mean(axis=0)
    components = np.zeros((2, size))
    components[: min(2, size)] = np.linalg.svd(trajectory - centre, full_matrices=True)[2][:2]
    drawn = (trajectory - centre) @ components.T
    ax, length = _axes(ax, (6, 5)), 0.06 * (float(np.ptp(drawn, axis=0).max()) or 1.0)
    if states is not None:
        ax.plot(*drawn.T, ".", color="0.75", markersize=2, zorder=1)
    for index, place in enumerate((points.states - centre) @ components.T):
        for value, mode in zip(*(part[..., :modes].T for part in points.modes(index))):
            way = length * (components @ mode.real) / np.linalg.norm(mode.real)
            ax.plot(*np.transpose([place - way, place + way]), color="tab:red" if abs(value) >= 1 else "tab:blue", zorder=2)
    for which, face in ((points.stable, "black"), (~points.stable, "white")):
        if which.any():
            there = (points.states[which] - centre) @ components.T
            ax.plot(*there.T, "o", color="black", markerfacecolor=face, label="stable" if face == "black" else "unstable")
    if points.slow is not None and len(points.slow):
        ax.plot(*((points.slow.states - centre) @ components.T).T, "x", color="black", label="slow")
    ax.set(xlabel="first principal component", ylabel="second principal component")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize="small")
    return ax
