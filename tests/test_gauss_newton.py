"""`levenberg_marquardt`: its steps against those of the equation they solve, written with NumPy."""

import numpy as np
import pytest

import numbarnn as nr


def sequences(batch=5, dtype="float64", layout="tnc"):
    """(network, x, y) with an output at each of 24 steps."""
    net = nr.Network([nr.GRU(3), nr.Dense(1)], channels=1, dtype=dtype, layout=layout, seed=0)
    u = np.random.default_rng(0).standard_normal((24, batch, 1)).astype(dtype)
    y = np.tanh(np.cumsum(u, axis=0) / 4)
    return net, *((u, y) if layout == "tnc" else (np.ascontiguousarray(each.swapaxes(0, 1)) for each in (u, y)))


def step_of(net, x, y, damping):
    """The step from the parameters of a network, by NumPy."""
    jacobian = net.jacobian(net.params.flat, x).reshape(y.size, -1)
    left = (net.predict(x) - y).ravel()
    matrix = 2 / y.size * jacobian.T @ jacobian + damping * np.eye(jacobian.shape[1])
    return np.linalg.solve(matrix, -2 / y.size * jacobian.T @ left)


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
@pytest.mark.parametrize("solver", ["jacobian", "products"])
def test_a_step_solves_its_equation(solver, layout):
    net, x, y = sequences(layout=layout)
    start, expected = net.params.flat.copy(), step_of(net, x, y, 0.05)
    fit = nr.levenberg_marquardt(net, x, y, steps=1, solver=solver, damping=0.05, tolerance=1e-12)
    assert len(fit.losses) == 2 and fit.losses[1] < fit.losses[0]
    # The matrix has the norm 1 or so and the damping 0.05: rounding becomes larger by less than a hundred times.
    np.testing.assert_allclose(net.params.flat - start, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_solvers_take_the_same_steps():
    fits = {}
    for solver in ("jacobian", "products"):
        net, x, y = sequences()
        fit = nr.levenberg_marquardt(net, x, y, steps=6, solver=solver, tolerance=1e-10)
        fits[solver] = fit, net.params.flat
        assert fit.solver == solver and (fit.products == 0) == (solver == "jacobian")
    np.testing.assert_allclose(fits["products"][0].losses, fits["jacobian"][0].losses, rtol=1e-7)
    assert fits["products"][0].gradients == fits["jacobian"][0].gradients


def test_what_is_fitted_is_counted_and_kept():
    net, x, y = sequences()
    fit = nr.levenberg_marquardt(net, x, y, steps=30)
    assert fit.solver == "products" and fit.losses[-1] < 0.05 * fit.losses[0]
    assert all(after < before for before, after in zip(fit.losses, fit.losses[1:]))
    assert fit.losses[-1] == net.loss_and_gradient(net.params.flat, x, y)[0]
    again, x, y = sequences()
    assert nr.levenberg_marquardt(again, x, y, steps=30) == fit and np.array_equal(again.params.flat, net.params.flat)
    target = fit.losses[5]
    net, x, y = sequences()
    assert nr.levenberg_marquardt(net, x, y, steps=30, target=target).losses == fit.losses[:6]


def test_windows_are_fitted_by_jacobians():
    net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64", seed=0)
    x, y = nr.windows(np.sin(np.arange(60) / 3), 6)
    fit = nr.levenberg_marquardt(net, x, y, steps=30)
    taken = len(fit.losses) - 1
    assert fit.solver == "jacobian" and fit.losses[-1] < 1e-4
    assert fit.samples % len(y) == 0 and taken <= fit.samples / len(y) <= taken + 1


def test_a_network_without_time_and_float32():
    net = nr.Network([nr.Dense(4, "tanh"), nr.Dense(1)], channels=2, seed=0)
    x = np.random.default_rng(1).standard_normal((40, 2)).astype(np.float32)
    fits = [
        nr.levenberg_marquardt(net, x, x[:, :1] * x[:, 1:], steps=20, solver=solver) for solver in ("jacobian", "products")
    ]
    assert fits[0].losses[-1] < 0.2 * fits[0].losses[0] and fits[1].losses[-1] <= fits[1].losses[0] <= fits[0].losses[-1]
    net, x, y = sequences(dtype="float32")
    fit = nr.levenberg_marquardt(net, x, y, steps=20, solver="products")
    assert fit.losses[-1] < 0.1 * fit.losses[0]


def test_a_start_that_cannot_become_better_stays():
    net, x, _ = sequences()
    start = net.params.flat.copy()
    fit = nr.levenberg_marquardt(net, x, net.predict(x))
    assert fit.losses == (0.0,) and np.array_equal(net.params.flat, start) and fit.products == fit.samples == 0


@pytest.mark.parametrize(
    "wrong, error, says",
    [
        ({"network": 3}, TypeError, "^network: expected a Network, got int"),
        ({"x": [[0.0]]}, TypeError, "^x: expected a numpy.ndarray, got list"),
        ({"x": np.zeros(3)}, nr.ShapeError, r"^x: expected 2 or 3 axes, got shape \(3,\)"),
        ({"y": np.full((24, 5, 1), np.nan)}, nr.NonFiniteError, r"^y: expected finite numbers, got nan at \(0, 0, 0\)"),
        ({"x": np.full((24, 5, 1), np.inf)}, nr.NonFiniteError, r"^x: expected finite numbers, got inf at \(0, 0, 0\)"),
        ({"y": np.zeros((24, 4, 1))}, nr.ShapeError, r"^y: expected shape \(24, 5, 1\) .*got \(24, 4, 1\)"),
        ({"y": np.zeros((24, 5, 1), int)}, nr.DTypeError, "^y: expected floating-point numbers, got int64"),
        ({"solver": "product"}, nr.UnknownNameError, "^solver: .*'product'"),
        ({"damping": 0.0}, ValueError, "^damping: "),
        ({"tolerance": 1.0}, ValueError, "^tolerance: expected a number between 0 and 1, got 1.0"),
        ({"steps": 0}, ValueError, "^steps: "),
        ({"target": np.nan}, ValueError, "^target: "),
    ],
)
def test_what_is_wrong_is_said(wrong, error, says):
    net, x, y = sequences()
    start = net.params.flat.copy()
    with pytest.raises(error, match=says):
        nr.levenberg_marquardt(**({"network": net, "x": x, "y": y} | wrong))
    assert np.array_equal(net.params.flat, start)
