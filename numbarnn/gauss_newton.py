"""The method of Levenberg and Marquardt: nonlinear least squares by a network's Jacobian, or by products with it."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from .arrays.devices import expect_finite
from .errors import DeviceError, DTypeError, NonFiniteError, ShapeError, finite_number, known_name, positive_integer
from .network import Network

SOLVERS = ("jacobian", "products")
ROWS = 16  # outputs of a sample up to which a Jacobian costs less than the products of a step
PART = 4  # of the samples one in so many has its Jacobian made, where it only preconditions
MADE_AFRESH = 16  # a Jacobian of that part costs as much as min(outputs of a sample, P) / so many products
LEAST_GAIN = 1e-4  # of the fall that the linear model foretells: with less a step is not taken
FAR = 10  # a factor of the damping, up to which the preconditioner of another one is as good
LARGEST = 1e12  # damping at which no step of any length makes the loss smaller


class LeastSquaresFit(NamedTuple):
    """What `levenberg_marquardt` has done.

    Attributes
    ----------
    losses : tuple of float
        The mean squared error at the start and after each step that was taken.
    solver : str
        "jacobian" or "products".
    gradients, products, samples : int
        What it took: gradients of the loss, products of its Gauss-Newton matrix, and Jacobians, each of one sample.
    """

    losses: tuple[float, ...]
    solver: str
    gradients: int
    products: int
    samples: int


def levenberg_marquardt(
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    steps: int = 100,
    *,
    solver: str | None = None,
    target: float = 0.0,
    damping: float = 1e-3,
    tolerance: float = 0.3,
) -> LeastSquaresFit:
    """Fit a network to its targets by least squares, with the method of Levenberg and Marquardt.

    With J (n, P) the `Network.jacobian` of all n outputs and g the gradient of the mean squared error, each step d solves ::

        (2 / n J' J + damping I) d = -g

    and is taken if the error falls.  The damping becomes smaller where the linear model has foretold the fall well, and
    larger where it has not.  The network's parameters are modified: after each step that is taken they are the new ones.

    Parameters
    ----------
    network : Network
        On the CPU; modified.
    x : array
        (T, N, C) in the network's layout, or (N, C) without recurrent layers: all samples.
    y : array
        Targets, shaped like ``network.predict(x)``.
    steps : int
        How many are taken at most.
    solver : {"jacobian", "products"}, optional
        How d is found.  "jacobian" makes J for each step.  "products" has conjugate gradients, by products of ``J' J`` with
        vectors that make no matrix; what preconditions them is ``J' J`` of a quarter of the samples, from some steps before.
        If None, "jacobian" where a sample has 16 outputs at most, as after `Last`, or the network 16 parameters; else, as in
        long sequences with an output at each step, "products".
    target : float
        It ends when the loss is this, or less.
    damping : float
        > 0: of the first step.
    tolerance : float
        Above 0, below 1: how large the residual of the equation may be with "products", beside that of d = 0, in the norm
        of the preconditioner.  A small one makes its steps those of "jacobian".

    Returns
    -------
    LeastSquaresFit

    Raises
    ------
    TypeError, ValueError, DTypeError, ShapeError, DeviceError, UnknownNameError
        Named after the argument that is not as described; nothing is modified then.
    NonFiniteError
        If there is a NaN or an infinity in x or y, with its place, or if the loss of the start is not finite.

    References
    ----------
    Marquardt 1963, doi:10.1137/0111030; the damping: Nielsen 1999, Damping parameter in Marquardt's method, eq. 2.4; the
    truncated solution: Wright and Holt 1985, doi:10.1017/S0334270000004641.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> net = nr.Network([nr.GRU(4), nr.Dense(1)], channels=1, dtype="float64", seed=0)
    >>> u = np.random.default_rng(0).standard_normal((60, 4, 1))
    >>> fit = nr.levenberg_marquardt(net, u, np.tanh(np.cumsum(u, axis=0) / 4), steps=20)
    >>> fit.solver, fit.losses[-1] < 0.01 * fit.losses[0]
    ('products', True)
    """
    steps, y = positive_integer("steps", steps), _checked(network, x, y)
    if solver is not None:
        known_name("solver", solver, SOLVERS)
    target, damping = finite_number("target", target), finite_number("damping", damping, above=0)
    tolerance = finite_number("tolerance", tolerance, above=0)
    if tolerance >= 1:
        raise ValueError(f"tolerance: expected a number between 0 and 1, got {tolerance!r}")
    network.params.check_writable("params")
    problem = _Problem(network, x, y)
    if solver is None:
        solver = "jacobian" if problem.rows <= ROWS else "products"
    flat = network.params.flat.copy()
    loss, gradient = problem.gradient(flat)
    if not np.isfinite(loss):
        raise NonFiniteError(f"network: expected parameters of a finite loss, got the loss {loss}")
    losses, growth = [loss], 2.0
    find = _ByJacobian(problem) if solver == "jacobian" else _ByProducts(problem, tolerance)
    while len(losses) <= steps and loss > target and gradient.any() and damping < LARGEST:
        find.at(flat)
        while damping < LARGEST:
            step, curved = find.step(gradient, damping)
            there = (flat + step).astype(network.dtype)
            new, slope = problem.gradient(there)
            foretold = -(gradient @ step + step @ curved / 2)
            gain = (loss - new) / foretold if foretold > 0 and np.isfinite(new) and np.isfinite(slope).all() else -1.0
            if gain > LEAST_GAIN and new < loss:
                damping, growth = damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
                flat, loss, gradient = there, new, slope
                losses.append(loss)
                network.params.flat[:] = flat
                break
            damping, growth = damping * growth, 2 * growth
    return LeastSquaresFit(tuple(losses), solver, problem.gradients, problem.products, problem.samples)


def _checked(network, x, y):
    """The targets, if all is as it must be; else a typed error."""
    if not isinstance(network, Network):
        raise TypeError(f"network: expected a Network, got {type(network).__name__}")
    if network.device != "cpu":
        raise DeviceError(f"network: expected one on device 'cpu', got one on {network.device!r}")
    for argument, value in (("x", x), ("y", y)):
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{argument}: expected a numpy.ndarray, got {type(value).__name__}")
    if x.ndim not in (2, 3):
        raise ShapeError(f"x: expected 2 or 3 axes, got shape {x.shape}")
    if y.dtype.kind != "f":
        raise DTypeError(f"y: expected floating-point numbers, got {y.dtype}")
    shape = network.predict(x).shape
    if y.shape != shape:
        raise ShapeError(f"y: expected shape {shape} like what is predicted, got {y.shape}")
    if not y.size:
        raise ShapeError(f"y: expected some numbers, got shape {y.shape}")
    for argument, value in (("x", x), ("y", y)):
        expect_finite(argument, value)
    return y


class _Problem:
    """A network, its samples, and how often it was asked for what.

    Attributes
    ----------
    rows : int
        What a Jacobian costs: the outputs of a sample, or the parameters if they are fewer.
    """

    def __init__(self, network, x, y):
        self.network, self.x, self.y = network, x, y
        self._axis = network.layout.upper().index("N") if x.ndim == 3 or network.takes_indices else 0
        self.batch = x.shape[self._axis]
        self.rows = min(y.size // self.batch, len(network.params))
        self.gradients = self.products = self.samples = 0

    def gradient(self, flat):
        """(loss, gradient in float64)."""
        self.gradients += 1
        loss, gradient = self.network.loss_and_gradient(flat, self.x, self.y)
        return float(loss), gradient.astype(np.float64)

    def matrix(self, flat, samples=slice(None)):
        """(P, P): ``2 / n J' J`` in float64, of the outputs of some samples, given by a slice."""
        chosen = np.ascontiguousarray(self.x[(slice(None),) * self._axis + (samples,)])
        jacobian = self.network.jacobian(flat, chosen).reshape(-1, len(flat)).astype(np.float64, copy=False)
        self.samples += chosen.shape[self._axis]
        return 2 / len(jacobian) * (jacobian.T @ jacobian)


class _ByJacobian:
    """Steps by the Jacobian of all samples."""

    def __init__(self, problem):
        self._problem = problem

    def at(self, flat):
        """Go on from parameters."""
        self._matrix = self._problem.matrix(flat)

    def step(self, gradient, damping):
        """(step, the Gauss-Newton matrix times it)."""
        step = -cho_solve(_factor(self._matrix, damping), gradient)
        return step, self._matrix @ step


class _ByProducts:
    """Steps by conjugate gradients, preconditioned by the Jacobian of some samples, which is made now and then."""

    def __init__(self, problem, tolerance):
        self._problem, self._tolerance = problem, tolerance
        self._matrix, self._turn, self._since = None, 0, 0
        self._factor, self._damped = None, 0.0  # the preconditioner, and the damping in it

    def at(self, flat):
        """Go on from parameters."""
        problem = self._problem
        if self._matrix is None or self._since > problem.rows // MADE_AFRESH:
            self._matrix = problem.matrix(flat, slice(self._turn, None, PART))
            self._turn, self._since = (self._turn + 1) % min(PART, problem.batch), 0
            self._factor = None
        self._product = problem.network._gauss_newton_products(flat, "mse", {"x": problem.x, "y": problem.y})

    def step(self, gradient, damping):
        """(step, the Gauss-Newton matrix times it)."""
        if self._factor is None or not self._damped / FAR <= damping <= self._damped * FAR:
            self._factor, self._damped = _factor(self._matrix, damping), damping
        factor, dtype = self._factor, self._problem.network.dtype
        step, curved, left = np.zeros_like(gradient), np.zeros_like(gradient), -gradient
        direction = near = cho_solve(factor, left)
        first = size = left @ near
        for _ in range(len(gradient)):  # exactly computed it would be solved then
            product = self._product(direction.astype(dtype)).astype(np.float64)
            self._problem.products += 1
            self._since += 1
            far = size / (direction @ product + damping * (direction @ direction))
            step, curved = step + far * direction, curved + far * product
            left = left - far * (product + damping * direction)
            near = cho_solve(factor, left)
            before, size = size, left @ near
            if size <= self._tolerance**2 * first:
                break
            direction = near + size / before * direction
        return step, curved


def _factor(matrix, damping):
    """The Cholesky factor of a matrix with the damping on its diagonal."""
    return cho_factor(matrix + damping * np.eye(len(matrix)))
