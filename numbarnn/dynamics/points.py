"""Fixed and slow points of a recurrent layer with constant inputs, by a damped Newton method from many states at once."""

import numpy as np

from ..arrays.devices import contiguous, moved
from ..arrays.ieee import ieee
from ..errors import finite_number, positive_integer
from ..layers.recurrent import Recurrent, State
from ..parameters import Parameters
from .found import FixedPoints
from .maps import StateMap, inputs_of

GROUP_BYTES = 1 << 26  # of the Jacobians of the states that move at once
ROUNDING = 1e3  # in units of the dtype's eps: what may be left of F(s) - s, for each number of the state
LEVEL = 1e-3  # of a slow point: the gradient of the speed, over the residual and the Jacobian, at most
ALONG, ROOM = 20, 1.5  # steps that show how large a state gets, and how much larger it may be
LONG, PIECE = 2000, 50  # steps after which slow trajectories are near where they lead, and of them those at once
FLOOR = 1e-15  # damping, over the trace of A^T A: less of it may leave a singular matrix singular
CLEARLY = 0.5  # smaller than it was by this factor, a speed has not come to rounding
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-20, 1e10


def fixed_points(
    layer: Recurrent,
    p: Parameters,
    x: np.ndarray | None,
    starts: State,
    tolerance: float | None = None,
    slow: float = 1e-4,
    apart: float = 1e-3,
    iterations: int = 200,
) -> FixedPoints:
    """Fixed points of a layer whose inputs stay the same, with their stability, and slow points apart from them.

    N starts, C channels, S numbers of a state.  A step takes the state s, the vector of `step_jacobian`, to ``F(s)``.  From
    each start the speed ``q(s) = |F(s) - s|^2 / 2`` is made smaller by steps d of Newton's method with damping m (Levenberg
    1944, doi:10.1090/qam/10666)::

        (A^T A + m I) d = -A^T (F(s) - s),    A = J(s) - I

    with m no less than 1e-15 of the trace of ``A^T A``, since J may have an eigenvalue of 1.

    Where q gets to 0 is a fixed point; where it has a minimum that is small is a slow point (Sussillo and Barak 2013,
    doi:10.1162/NECO_a_00409).  A fixed point is stable if all eigenvalues of J are less than 1 in modulus.

    No number of h, or of c, gets larger than 1.5 times the largest of its kind in 20 steps of the layer from the start: far
    away gates saturate, and all is slow.  A start that leads to no fixed point in there has another try from where these
    20 steps end, and then one from each of both without a bound; where it has led to no slow point either, one more from
    where 2,000 steps end.  Those without a bound count if they end at a fixed point.  Slow points lie within the bounds.
    All is computed in float64, whatever the dtype of the parameters.  On a GPU the layer's steps and their Jacobians are
    computed there, and the equations solved on the host.

    Parameters
    ----------
    layer : Recurrent
        Any recurrent layer of one direction.
    p : Parameters
    x : numpy.ndarray or None
        The inputs, (C,), or (N, C) for each start its own; None for zeros.
    starts : numpy.ndarray or tuple of two
        Where to start, as the layer takes states: (L, N, H), for an LSTM the pair (h, c).  States of trajectories are good
        ones: ``y.reshape(1, -1, H)`` of a layer's outputs.
    tolerance : float, optional
        The largest q of a fixed point; if None as small as rounding allows.  Where steps still make q clearly smaller they
        go on below it.
    slow : float
        The largest q of a slow point.
    apart : float
        Points no further from each other than this are one.
    iterations : int
        Steps of each try at most.

    Returns
    -------
    FixedPoints
        The points with fewer unstable directions come first; states, inputs and Jacobians of the dtype of the parameters,
        in the host's memory.

    Raises
    ------
    ShapeError, DTypeError, TypeError, ValueError, NonFiniteError
        Named after the argument that is not as described.
    DeviceError
        For arrays that are not where the parameters are.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.RNN(1)
    >>> p = layer.init(channels=1, seed=0, dtype="float64")
    >>> p["weight_hh_l0"][...] = 2.0
    >>> found = nr.dynamics.fixed_points(layer, p, None, np.linspace(-1, 1, 9).reshape(1, 9, 1))
    >>> found
    FixedPoints(3 of a state of 1 number: 2 stable, 1 with 1 unstable direction; no slow points; 0 of 9 starts lost)
    >>> found.states.round(4).ravel().tolist()
    [-0.9575, 0.9575, 0.0]
    """
    steps = StateMap(layer, p)
    vectors = moved(steps.checked("starts", starts), "cpu").astype(np.float64)
    inputs = inputs_of("x", x, len(vectors), steps.channels, steps.dtype, steps.device)
    inputs = moved(inputs, "cpu").astype(np.float64)
    dtype, steps = steps.dtype, _Steps(layer, p)
    rounding = ROUNDING * float(np.finfo(np.float64).eps)
    tolerance = steps.size * rounding**2 / 2 if tolerance is None else finite_number("tolerance", tolerance, above=0)
    slow, apart = finite_number("slow", slow, above=0), finite_number("apart", apart, above=0)
    iterations = positive_integer("iterations", iterations)
    most = max(1, GROUP_BYTES // (steps.size**2 * 8))
    groups = [slice(first, first + most) for first in range(0, len(vectors), most)]
    parts = [_search(steps, inputs[own], vectors[own], tolerance, slow, iterations) for own in groups]
    ends, speeds, fixed, slowly = (np.concatenate(each) for each in zip(*parts))
    found = [_points(steps, inputs[which], ends[which], speeds[which], apart, dtype) for which in (fixed, slowly)]
    lost = len(vectors) - int(fixed.sum()) - int(slowly.sum())
    return FixedPoints(*found[0], steps.shapes, FixedPoints(*found[1], steps.shapes), len(vectors), lost)


class _Steps(StateMap):
    """Steps in float64, wherever the parameters are, from and to arrays of the host."""

    def __init__(self, layer, p):
        super().__init__(layer, Parameters(p.flat.astype(np.float64), p.weights))

    def after(self, inputs, vectors):
        """The vectors (N, S) after one step with inputs (N, C)."""
        here = (moved(each, self.device) for each in (inputs, vectors))
        return moved(self.step(*here), "cpu")

    def long_after(self, inputs, vectors):
        """The vectors after `LONG` steps; where these are not finite, the vectors of some steps before."""
        inputs, vectors = (moved(each, self.device) for each in (inputs, vectors))
        x = contiguous(inputs[None].repeat(PIECE, axis=0))
        for _ in range(LONG // PIECE):
            after = self.vectors(self.layer(self.p, x, self.state(vectors))[1])
            vectors = np.where(np.isfinite(after).all(axis=1)[:, None], after, vectors)
        return moved(vectors, "cpu")

    def with_jacobians(self, inputs, vectors):
        """(vectors after one step, its Jacobians (N, S, S))."""
        inputs, vectors = (moved(each, self.device) for each in (inputs, vectors))
        final, tape = self.run(inputs[None], self.state(vectors))
        return moved(self.vectors(final), "cpu"), moved(self.jacobians(tape)[0], "cpu")


@ieee
def _search(steps, inputs, vectors, tolerance, slow, iterations):
    """(states, speeds, whether these are fixed points, whether slow ones), each from its start by itself."""
    bounds, later = _trajectories(steps, inputs, vectors)
    everywhere = np.full_like(bounds, np.inf)
    ends, speeds = vectors.copy(), np.full(len(vectors), np.inf)
    fixed, slowly = np.zeros(len(vectors), bool), np.zeros(len(vectors), bool)
    tries = (vectors, bounds), (later, bounds), (vectors, everywhere), (later, everywhere), (None, everywhere)
    for starts, limits in tries:
        own = np.flatnonzero(~(fixed | slowly) if starts is None else ~fixed)  # a long way leads from a slow point, too
        if not len(own):
            break
        start = steps.long_after(inputs[own], later[own]) if starts is None else starts[own]
        states, reached, level = _Descent(steps, inputs[own], start, limits[own]).run(tolerance, iterations)
        at = reached <= tolerance
        near = (reached <= slow) & level & (np.abs(states) < bounds[own]).all(axis=1)
        better = at | (near & (reached < speeds[own]))
        ends[own[better]], speeds[own[better]] = states[better], reached[better]
        fixed[own], slowly[own] = at, ~at & (slowly[own] | near)
    return ends, speeds, fixed, slowly


def _trajectories(steps, inputs, vectors):
    """(bounds, later), both (N, S): how large each number of a state may get, and the states after `ALONG` steps."""
    largest, later = np.abs(vectors), vectors
    for _ in range(ALONG):
        after = steps.after(inputs, later)
        later = np.where(np.isfinite(after).all(axis=1, keepdims=True), after, later)
        largest = np.maximum(largest, np.abs(later))
    parts, first = [], 0
    for layers, width in steps.shapes:
        own = largest[:, first : first + layers * width]
        parts.append(np.broadcast_to(ROOM * own.max(axis=1, keepdims=True), own.shape))
        first += layers * width
    return np.concatenate(parts, axis=1), later


class _Descent:
    """States that go down the speed, each by itself, none of whose numbers gets larger than its bound."""

    def __init__(self, steps, inputs, vectors, bounds):
        self._map, self._inputs, self._vectors, self._bounds = steps, inputs, vectors.copy(), bounds

    def run(self, tolerance, iterations):
        """(states, their speeds, whether these have a minimum there)."""
        count, size = self._vectors.shape
        smaller = np.ones(count, bool)  # by the last step, and clearly so
        damping, at_work, own = np.full(count, FIRST_DAMPING), np.arange(count), np.arange(size)
        residual, jacobian = self._look(at_work, self._vectors)
        speeds = self._speed(residual)
        for _ in range(iterations):
            goes_on = (damping[at_work] <= MOST_DAMPING) & ((speeds[at_work] > tolerance) | smaller[at_work])
            at_work, residual, jacobian = at_work[goes_on], residual[goes_on], jacobian[goes_on]
            if not len(at_work):
                break
            slope = np.einsum("nij,ni->nj", jacobian, residual)
            normal = jacobian.transpose(0, 2, 1) @ jacobian
            damped = np.maximum(damping[at_work], FLOOR * np.trace(normal, axis1=1, axis2=2))
            normal[:, own, own] += damped[:, None]
            move = np.linalg.solve(normal, -slope[..., None])[..., 0]
            vectors = np.clip(self._vectors[at_work] + move, -self._bounds[at_work], self._bounds[at_work])
            fresh = self._look(at_work, vectors)
            new = self._speed(fresh[0])
            better, smaller[at_work] = new < speeds[at_work], new < CLEARLY * speeds[at_work]
            self._vectors[at_work[better]], speeds[at_work[better]] = vectors[better], new[better]
            residual[better], jacobian[better] = fresh[0][better], fresh[1][better]
            damping[at_work] = np.maximum(damping[at_work] * np.where(better, 0.1, 10.0), LEAST_DAMPING)
        return self._vectors, speeds, self._level(speeds > tolerance)

    def _level(self, which):
        """Whether the speed of some of the states has no slope to speak of; True for the others."""
        found = ~which
        at_work = np.flatnonzero(which)
        if len(at_work):
            residual, jacobian = self._look(at_work, self._vectors[at_work])
            slope = np.linalg.norm(np.einsum("nij,ni->nj", jacobian, residual), axis=1)
            found[at_work] = slope <= LEVEL * (1 + np.linalg.norm(jacobian, axis=(1, 2))) * np.linalg.norm(residual, axis=1)
        return found

    def _look(self, at_work, vectors):
        """``F(s) - s`` and its Jacobian at vectors s, (N, S) and (N, S, S) in float64, with the inputs of some starts."""
        after, jacobian = self._map.with_jacobians(self._inputs[at_work], vectors)
        own = np.arange(vectors.shape[1])
        jacobian[:, own, own] -= 1
        return after - vectors, jacobian

    @staticmethod
    def _speed(residual):
        speed = (residual**2).sum(axis=1) / 2
        return np.where(np.isfinite(speed), speed, np.inf)


def _points(steps, inputs, vectors, speeds, apart, dtype):
    """(states, inputs, speeds, Jacobians, eigenvalues, starts of each): of points that are near, the slowest."""
    kept, counts = [], []
    for n in np.argsort(speeds, kind="stable"):
        near = [
            k for k, other in enumerate(kept)
            if np.array_equal(inputs[n], inputs[other]) and np.linalg.norm(vectors[n] - vectors[other]) <= apart
        ]  # fmt: skip
        if near:
            counts[near[0]] += 1
        else:
            kept.append(n)
            counts.append(1)
    own, counts = np.array(kept, int), np.array(counts, int)
    states, size = vectors[own], steps.size
    if len(own):
        _, jacobians = steps.with_jacobians(inputs[own], states)
    else:
        jacobians = np.empty((0, size, size))
    eigenvalues = np.linalg.eigvals(jacobians).astype(complex)
    eigenvalues = np.take_along_axis(eigenvalues, np.argsort(-np.abs(eigenvalues), axis=1, kind="stable"), axis=1)
    order = np.lexsort((*np.round(states.T[::-1] / apart), (np.abs(eigenvalues) >= 1).sum(axis=1)))
    states, inputs, jacobians = (a.astype(dtype) for a in (states, inputs[own], jacobians))
    return tuple(a[order] for a in (states, inputs, speeds[own], jacobians, eigenvalues, counts))
