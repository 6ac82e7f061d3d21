"""Lyapunov exponents: how fast small changes of a recurrent layer's state grow or die out along a trajectory."""

import collections
import functools
import warnings

import numpy as np

from ..arrays.batch import Batch
from ..arrays.devices import backend, expect_device, moved
from ..arrays.ragged import Ragged
from ..errors import DTypeError, NonFiniteError, ShapeError, finite_number, generator, integer, positive_integer
from ..layers.recurrent import Recurrent, State
from ..parameters import Parameters
from .crew import Crew
from .maps import StateMap
from .spectrum import LyapunovSpectrum

CHUNK_BYTES = 1 << 23  # of Jacobians that lie in memory at once, of one group of sequences
WINDOW_BYTES = 1 << 22  # of one window's Jacobians that are multiplied by themselves
SEQUENCES = 64  # of a group
PIECE = 2  # windows that one task multiplies
POINTS = 200  # of the history
SPREAD = 35.0  # logarithm of what tangents may spread by between two decompositions: 1 / eps is 36


@functools.cache
def kernels():
    """The kernels that multiply along time, imported when the first exponents are asked for."""
    from ..cpu import chains

    return chains


@functools.cache
def reflections():
    """The kernels that decompose into Q and R, imported likewise."""
    from ..cpu import reflections

    return reflections


def crew_size():
    """How many threads share the work."""
    from ..cpu.threads import most_threads

    return most_threads()


def lyapunov(
    layer: Recurrent,
    p: Parameters,
    x: np.ndarray | int,
    state: State | None = None,
    exponents: int | None = None,
    every: int = 1,
    transient: int = 0,
    settle: int = 0,
    dt: float = 1.0,
    seed: int = 0,
    layout: str = "tnc",
) -> LyapunovSpectrum:
    """Lyapunov exponents of a layer along trajectories, driven by x or on their own.

    T steps, N sequences, C channels, S numbers of a state, K exponents.  With the Jacobians ``J_t`` of the steps (see
    `step_jacobian`) tangents go along, ``Q_t R_t = J_t Q_(t-1)``, and the exponents are the means of ``log |R_t[k, k]|``,
    over time (Benettin et al. 1980, doi:10.1007/BF02128236; Geist et al. 1990, doi:10.1143/PTP.83.875; of recurrent
    networks Vogt et al. 2022, doi:10.3389/fams.2022.818799, Engelken et al. 2023,
    doi:10.1103/PhysRevResearch.5.043044).  Each sequence has its own.  The state is the vector that
    `step_jacobian` describes.

    Parameters
    ----------
    layer : Recurrent
        Any recurrent layer of one direction.
    p : Parameters
        On a GPU, x and state are there, too: trajectories and Jacobians are computed on it, and decomposed on the host.
    x : numpy.ndarray or int
        (T, N, C) in the order of `layout`, or (T, C): what drives the network.  Or the number of steps T of a network on
        its own, whose inputs are zeros.
    state : numpy.ndarray or tuple of two, optional
        Where the trajectories start, (L, N, H), for an LSTM the pair (h, c); if None as in a call of the layer.
    exponents : int, optional
        K, the largest ones; all S if None.
    every : int
        Steps from one decomposition QR to the next.  More are faster, and as exact as long as the tangents do not spread by
        more than rounding allows; if they do, there is a warning.
    transient : int
        Steps at the beginning without tangents, until the trajectory is on the attractor.
    settle : int
        Steps after these whose tangents do not count, until they have turned to where they grow.
    dt : float
        The time of a step: exponents are per unit of time.
    seed : int or numpy.random.Generator
        Of the tangents at the start.
    layout : str
        The letters t, n, c in the order of x's axes.

    Returns
    -------
    LyapunovSpectrum
        Exponents with their history, the Kaplan-Yorke dimension and the entropy.

    Raises
    ------
    ShapeError, LayoutError, DTypeError, TypeError, ValueError
        Named after the argument that is not as described.
    NonFiniteError
        If a trajectory goes to infinity.
    DeviceError
        For arrays that are not where the parameters are.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.RNN(2, activation="linear")
    >>> p = layer.init(channels=1, seed=0, dtype="float64")
    >>> p["weight_hh_l0"][...] = [[2.0, 1.0], [0.0, 0.5]]
    >>> found = nr.dynamics.lyapunov(layer, p, 200, settle=50)
    >>> np.allclose(found.exponents, [np.log([2.0, 0.5])])
    True
    """
    steps = StateMap(layer, p)
    columns = steps.size if exponents is None else positive_integer("exponents", exponents)
    if columns > steps.size:
        raise ValueError(f"exponents: expected at most {steps.size}, as many as a state has numbers, got {columns}")
    every, dt = positive_integer("every", every), finite_number("dt", dt, above=0)
    given = _inputs(steps, x, state, layout)
    skipped = []
    for name, count in (("transient", transient), ("settle", settle)):
        count = integer(name, count)
        if count < 0:
            raise ValueError(f"{name}: expected an integer >= 0, got {count}")
        skipped.append(count)
    if sum(skipped) >= given.steps:
        name, other = ("transient", "settle") if skipped[0] >= skipped[1] else ("settle", "transient")
        expected = f"fewer than the {given.steps} steps of x, together with {other}"
        raise ValueError(f"{name}: expected {expected}, got {max(skipped)} and {min(skipped)}")
    tangents = generator("seed", seed).standard_normal((columns, steps.size))
    groups = [
        _Group(steps, given, slice(first, first + SEQUENCES), tangents, every).run(*skipped)
        for first in range(0, given.sequences, SEQUENCES)
    ]
    spread = max(group.spread for group in groups)
    if spread > SPREAD:
        warnings.warn(
            f"every: tangents spread by a factor of {np.exp(min(spread, 700.0)):.1g} between two decompositions, more than "
            f"rounding allows: the smallest exponents are wrong; take fewer steps than {every}",
            stacklevel=2,
        )
    counted = groups[0].counted
    history = np.concatenate([group.history for group in groups], axis=1) / (counted[:, None, None] * dt)
    order = np.argsort(-history[-1], axis=-1, kind="stable")
    history = np.take_along_axis(history, order[None], axis=-1)
    final = steps.state(np.concatenate([group.vectors for group in groups]))
    return LyapunovSpectrum(history[-1].copy(), history, counted * dt, steps.size, final)


class _Inputs:
    """What drives the trajectories: an array, or zeros.

    Attributes
    ----------
    steps, sequences : int
        T, N.
    """

    def __init__(self, steps, sequences, vectors, array, zeros):
        self.steps, self.sequences, self.vectors, self._array, self._zeros = steps, sequences, vectors, array, zeros

    def part(self, first, count, own):
        """(count, N, C) from a step on, of some of the sequences."""
        if self._array is not None:
            return self._array[first : first + count, own]
        zeros = self._zeros[own]
        return np.broadcast_to(zeros[None], (count, *zeros.shape)).copy()


def _inputs(steps, x, state, layout):
    """The `_Inputs` of a call, and where its trajectories start: vectors (N, S), or None."""
    if isinstance(x, Ragged):
        raise TypeError("x: expected an array or a number of steps, since sequences go on together, got Ragged")
    if np.ndim(x) == 0:
        length = positive_integer("x", x)
        vectors = None if state is None else steps.checked("state", state)
        sequences = 1 if vectors is None else len(vectors)
        zeros = backend(steps.device).memory.zeros((sequences, steps.channels), steps.dtype)
        return _Inputs(length, sequences, vectors, None, zeros)
    batch, described = Batch.of(x, layout)
    if batch.steps == 0:
        raise ShapeError(f"x: expected at least one step, got shape {np.shape(x)}")
    expect_device("x", described.array, steps.device)
    if described.channels != steps.channels:
        raise ShapeError(f"x: expected {steps.channels} channels, like the parameters, got {described.channels}")
    if described.dtype != steps.dtype:
        raise DTypeError(f"x: expected {steps.dtype} like the parameters, got {described.dtype}")
    vectors = None if state is None else steps.checked("state", state, batch.sequences)
    return _Inputs(batch.steps, batch.sequences, vectors, described.tnc, None)


class _Group:
    """Some sequences that go on together.

    Attributes
    ----------
    vectors : numpy.ndarray
        (N, S): where they end.
    counted : numpy.ndarray
        (P,): the steps at each point of the history.
    history : numpy.ndarray
        (P, N, K): the sums of the logarithms until then.
    spread : float
        The largest logarithm of what tangents have spread by from one decomposition to the next.
    """

    def __init__(self, steps, given, own, tangents, every):
        self._map, self._given, self._own, self._every = steps, given, own, every
        self._state = None if given.vectors is None else steps.state(given.vectors[own])
        self._batch, self.spread = len(range(given.sequences)[own]), 0.0
        columns, size = tangents.shape
        window = every * size * size * 8
        self._composed = every > 1 and 2 * columns > size and window <= WINDOW_BYTES
        most = max(1, CHUNK_BYTES // (self._batch * size * size * 8))
        self._chunk = max(1, most // every) * every if self._composed else most
        self._reflectors = np.empty((self._batch, columns, size))
        self._taus = np.empty((self._batch, columns))
        start = np.repeat(tangents[None, None], self._batch, axis=1)
        self._decompose(start, self._logs_of(start), False)
        self._tangents = None if self._composed else self._columns()

    def run(self, transient, settle):
        """Go through all steps."""
        total = self._given.steps
        for first in range(0, transient, 1 << 12):
            self._advance(first, min(1 << 12, transient - first), tape=False)
        self._propagate(transient, settle, None)
        count = total - transient - settle
        windows = -(-count // self._every)
        points = np.unique(np.linspace(1, windows, min(POINTS, windows)).round().astype(int))
        self._sums = _Sums(points, (self._batch, self._taus.shape[1]))
        self._propagate(transient + settle, count, self._sums)
        self.counted, self.history = np.minimum(points * self._every, count), self._sums.history
        self.vectors = self._map.vectors(self._state)
        return self

    def _advance(self, first, count, tape=True):
        """The tape of some steps from one on."""
        x = self._given.part(first, count, self._own)
        if tape:
            self._state, made = self._map.run(x, self._state)
        else:
            self._state, made = self._map.layer(self._map.p, x, self._state)[1], None
        arrays = self._state if isinstance(self._state, tuple) else (self._state,)
        if not all(np.isfinite(array).all() for array in arrays):
            raise NonFiniteError(
                f"x: expected a trajectory that stays finite, got NaN or infinity before step {first + count}"
            )
        return made

    def _jacobians(self, first, count):
        """(count, N, S, S) in float64."""
        found = moved(self._map.jacobians(self._advance(first, count)), "cpu")
        return np.ascontiguousarray(found, dtype=np.float64)

    def _propagate(self, first, count, sums):
        """Take the tangents through some steps; `sums` takes the logarithms of each window."""
        if self._composed:
            self._by_products(first, count, sums)
        else:
            self._by_tangents(first, count, sums)

    def _by_products(self, first, count, sums):
        """Multiply the Jacobians of each window, while the windows before are decomposed and those behind are computed."""
        parts = [(start, min(self._chunk, first + count - start)) for start in range(first, first + count, self._chunk)]
        with Crew(crew_size() if len(parts) > 1 else 1) as crew:
            coming, made = parts and self._jacobians(*parts[0]), None
            for index in range(len(parts) + 1):
                decomposed, tasks = made, collections.deque()
                if decomposed is not None:
                    logs = self._logs_of(decomposed)
                    tasks.append(functools.partial(self._decompose, decomposed, logs, True))
                if index < len(parts):
                    made = kernels().targets(coming, self._every)
                    tasks.extend(self._products(coming, made))
                following = parts[index + 1 : index + 2]
                coming = crew.run(tasks, functools.partial(self._jacobians, *following[0]) if following else None)
                if decomposed is not None:
                    self._note(logs, sums)

    def _products(self, jacobians, made):
        """Tasks that multiply the Jacobians of some windows each, into `made`."""
        for window in range(0, len(made), PIECE):
            steps = jacobians[window * self._every : (window + PIECE) * self._every]
            yield functools.partial(kernels().chains, steps, self._every, target=made[window : window + PIECE], alone=True)

    def _by_tangents(self, first, count, sums):
        """Take the tangents themselves from step to step."""
        left = self._every
        for start in range(first, first + count, self._chunk):
            jacobians = self._jacobians(start, min(self._chunk, first + count - start))
            done = 0
            while done < len(jacobians):
                some = min(left, len(jacobians) - done)
                made = kernels().chains(jacobians[done : done + some], some, self._tangents)
                done, left = done + some, left - some
                self._tangents = made[0]
                if left == 0 or start + done == first + count:
                    logs = self._logs_of(made)
                    self._decompose(made, logs, False)
                    self._note(logs, sums)
                    self._tangents, left = self._columns(), self._every

    def _logs_of(self, windows):
        """Where the logarithms (W, N, K) of R of each window go."""
        return np.empty((len(windows), self._batch, self._taus.shape[1]))

    def _decompose(self, windows, logs, composed):
        """Q and R of the tangents after each window, and the logarithms (are modified)."""
        reflections().decompose(windows, self._reflectors, self._taus, logs, composed)

    def _columns(self):
        """Q as tangents (N, K, S)."""
        found = np.empty(self._reflectors.shape)
        reflections().columns_of(self._reflectors, self._taus, found)
        return found

    def _note(self, logs, sums):
        """Add the logarithms of some windows to `sums`, and look at them."""
        if np.isnan(logs).any() or np.isposinf(logs).any():
            raise NonFiniteError(
                f"every: expected tangents that stay finite for so many steps, got NaN or infinity after {self._every}"
            )
        if self._every > 1:  # of what a singular step takes to nothing, -inf, nothing is lost
            high, low = logs.max(axis=-1), np.where(np.isneginf(logs), np.inf, logs).min(axis=-1)
            self.spread = max(
                self.spread, float(np.subtract(high, low, where=np.isfinite(low), out=np.zeros_like(low)).max())
            )
        if sums is not None:
            sums.add(logs)


class _Sums:
    """Sums of the logarithms of windows, kept at some of them.

    Parameters
    ----------
    points : numpy.ndarray
        After how many windows.
    shape : tuple
        (N, K).
    """

    def __init__(self, points, shape):
        self._points, self._done, self._kept = points, 0, 0
        self._total, self.history = np.zeros(shape), np.empty((len(points), *shape))

    def add(self, logs):
        """Add the logarithms of some windows, (W, N, K)."""
        for each in logs:
            self._total += each
            self._done += 1
            if self._done == self._points[self._kept]:
                self.history[self._kept] = self._total
                self._kept += 1
