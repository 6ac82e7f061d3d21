"""Fixed and slow points of a recurrent layer with constant inputs, by a damped Newton method from many states at once."""

import numpy as np

from ..errors import finite_number, positive_integer
from ..layers.recurrent import Recurrent, State
from ..parameters import Parameters
from .found import FixedPoints
from .maps import StateMap, inputs_of

GROUP_BYTES = 1 << 26  # of the Jacobians of the states that move at once
ROUNDING = 1e3  # in units of the dtype's eps: what may be left of F(s) - s, for each number of the state
LEVEL = 1e-3  # of a slow point: the gradient of the speed, over the residual and the Jacobian, at most
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

    Where q gets to 0 is a fixed point; where it has a minimum that is small is a slow point (Sussillo and Barak 2013,
    doi:10.1162/NECO_a_00409).  A fixed point is stable if all eigenvalues of J are less than 1 in modulus.

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
        The largest q of a fixed point; if None as small as rounding allows.
    slow : float
        The largest q of a slow point.
    apart : float
        Points no further from each other than this are one.
    iterations : int
        Steps from each start at most.

    Returns
    -------
    FixedPoints
        Those of more unstable directions after those of fewer.

    Raises
    ------
    ShapeError, DTypeError, TypeError, ValueError, NonFiniteError
        Named after the argument that is not as described.
    DeviceError
        For parameters on a GPU.

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
    vectors = steps.checked("starts", starts)
    inputs = inputs_of("x", x, len(vectors), steps.channels, steps.dtype)
    rounding = ROUNDING * float(np.finfo(steps.dtype).eps)
    tolerance = steps.size * rounding**2 / 2 if tolerance is None else finite_number("tolerance", tolerance, above=0)
    slow, apart = finite_number("slow", slow, above=0), finite_number("apart", apart, above=0)
    iterations = positive_integer("iterations", iterations)
    most = max(1, GROUP_BYTES // (steps.size**2 * 8))
    groups = [slice(first, first + most) for first in range(0, len(vectors), most)]
    parts = [_Descent(steps, inputs[own], vectors[own]).run(tolerance, iterations) for own in groups]
    ends, speeds, level = (np.concatenate(each) for each in zip(*parts))
    fixed = speeds <= tolerance
    slowly = ~fixed & (speeds <= slow) & level
    found = [_points(steps, inputs[which], ends[which], speeds[which], apart) for which in (fixed, slowly)]
    lost = len(vectors) - int(fixed.sum()) - int(slowly.sum())
    return FixedPoints(*found[0], steps.shapes, FixedPoints(*found[1], steps.shapes), len(vectors), lost)


class _Descent:
    """States that go down the speed, each by itself."""

    def __init__(self, steps, inputs, vectors):
        self._map, self._inputs, self._vectors = steps, inputs, vectors.copy()

    def run(self, tolerance, iterations):
        """(states, their speeds, whether these have a minimum there)."""
        count, size = self._vectors.shape
        damping, at_work, own = np.full(count, FIRST_DAMPING), np.arange(count), np.arange(size)
        residual, jacobian = self._look(at_work, self._vectors)
        speeds = self._speed(residual)
        for _ in range(iterations):
            goes_on = (damping[at_work] <= MOST_DAMPING) & (speeds[at_work] > tolerance)
            at_work, residual, jacobian = at_work[goes_on], residual[goes_on], jacobian[goes_on]
            if not len(at_work):
                break
            slope = np.einsum("nij,ni->nj", jacobian, residual)
            normal = jacobian.transpose(0, 2, 1) @ jacobian
            normal[:, own, own] += damping[at_work, None]
            move = np.linalg.solve(normal, -slope[..., None])[..., 0]
            vectors = (self._vectors[at_work] + move).astype(self._map.dtype)
            fresh = self._look(at_work, vectors)
            new = self._speed(fresh[0])
            better = new < speeds[at_work]
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
        final, tape = self._map.run(self._inputs[at_work][None], self._map.state(vectors))
        jacobian = self._map.jacobians(tape)[0].astype(np.float64)
        own = np.arange(vectors.shape[1])
        jacobian[:, own, own] -= 1
        return self._map.vectors(final).astype(np.float64) - vectors, jacobian

    @staticmethod
    def _speed(residual):
        speed = (residual**2).sum(axis=1) / 2
        return np.where(np.isfinite(speed), speed, np.inf)


def _points(steps, inputs, vectors, speeds, apart):
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
        _, tape = steps.run(inputs[own][None], steps.state(states))
        jacobians = steps.jacobians(tape)[0]
    else:
        jacobians = np.empty((0, size, size), steps.dtype)
    eigenvalues = np.linalg.eigvals(jacobians.astype(np.float64)).astype(complex)
    eigenvalues = np.take_along_axis(eigenvalues, np.argsort(-np.abs(eigenvalues), axis=1, kind="stable"), axis=1)
    order = np.lexsort((*np.round(states.T[::-1] / apart), (np.abs(eigenvalues) >= 1).sum(axis=1)))
    return tuple(a[order] for a in (states, inputs[own], speeds[own], jacobians, eigenvalues, counts))
