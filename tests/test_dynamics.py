"""Dynamics: Jacobians against backward and differences, exponents and fixed points that are known, the same bits always."""

import pickle
import warnings
from dataclasses import dataclass

import numba
import numpy as np
import pytest
from checks import same_bits
from dynamics_checks import (
    check_exponents,
    check_spiral,
    parts_of,
    random_parameters,
    random_state,
    transpose_error,
    vectors,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.dynamics import exponents as exponents_module
from numbarnn.dynamics import points

CONNECTED = nr.Connectivity(mask=1 - np.eye(3), signs=[1, -1, 1])
LAYERS = {
    "rnn": nr.RNN,
    "gru": nr.GRU,
    "gru-before": lambda hidden: nr.GRU(hidden, "before"),
    "lstm": lambda hidden: nr.LSTM(hidden, peepholes=True),
    "leaky-inside": lambda hidden: nr.LeakyRNN(hidden, 0.3, "inside"),
    "indrnn": nr.IndRNN,
    "lstm-stacked": lambda hidden: nr.LSTM(hidden, peepholes=True, layers=2, residual=True),
    "lstm-projected": lambda hidden: nr.LSTM(hidden + 1, projection=hidden),
    "gru-normalized": lambda hidden: nr.GRU(hidden, normalized=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_jacobians_are_the_transposes_of_backward(name):
    @settings(max_examples=6)
    @given(st.integers(1, 19), st.integers(1, 5), st.integers(0, 9))
    def check(hidden, batch, seed):
        assert transpose_error(LAYERS[name](hidden), batch, seed=seed) < 1e-13

    check()


@dataclass(frozen=True)
class QuadraticCell(nr.Cell):
    """``h' = W x + R_l h + R_q h^2 + b``."""

    gates = ("l", "q")
    slots, saved = 2, 0
    input_slots = input_gates = (0,)
    recurrent_slots = recurrent_gates = (0,)
    gated_slots = gated_gates = (1,)

    def gate(self, pre, state, per_unit):
        return pre, state[0] * state[0]

    def forward(self, pre, state, per_unit):
        return (pre[0] + pre[1],), ()

    def adjoint(self, saved, state, new, dnew, per_unit):
        return (dnew[0], dnew[0]), (0 * dnew[0],)

    def gate_adjoint(self, saved, state, doperand, dpre, dstate, per_unit):
        return dpre, (dstate[0] + 2 * doperand * state[0],)


@dataclass(frozen=True, repr=False)
class Quadratic(nr.Recurrent):
    hidden: int
    layers: int = 1
    bidirectional: bool = False
    cell = QuadraticCell()


def henon():
    """(layer, p) of Hénon's map, ``x' = 1 - 1.4 x^2 + y, y' = 0.3 x``."""
    layer = Quadratic(2)
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][:2] = [[0, 1], [0.3, 0]]
    p["weight_hh_l0"][2:] = [[-1.4, 0], [0, 0]]
    p["bias_ih_l0"][0] = 1
    return layer, p


def test_jacobians_of_a_cell_of_ones_own():
    assert transpose_error(Quadratic(5)) < 1e-13
    layer, p = henon()
    h = np.array([[[0.3, -0.2]]])
    assert np.allclose(nr.dynamics.step_jacobian(layer, p, None, h), [[[-2.8 * 0.3, 1], [0.3, 0]]], rtol=0, atol=1e-15)


def test_jacobians_of_constrained_weights():
    layer = nr.RNN(3, connectivity=CONNECTED)
    assert transpose_error(layer) < 1e-13


@pytest.mark.parametrize("name", ["gru", "lstm-stacked"])
def test_jacobians_are_slopes(name):
    layer = LAYERS[name](4)
    p, state, x = random_parameters(layer), random_state(layer, 3), np.random.default_rng(2).standard_normal((3, 2))
    found, way = nr.dynamics.step_jacobian(layer, p, x, state), random_state(layer, 3, seed=5)

    def at(distance):
        moved = tuple(s + distance * w for s, w in zip(parts_of(state), parts_of(way), strict=True))
        return vectors(layer(p, x[None], moved if len(moved) > 1 else moved[0])[1])

    step = 1e-3
    slope = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", found, vectors(way)), slope, rtol=0, atol=1e-10)


def test_jacobians_in_float32():
    layer = nr.GRU(6)
    p, state = random_parameters(layer), random_state(layer, 4)
    half = nr.Parameters(p.flat.astype("float32"), p.weights)
    exact = nr.dynamics.step_jacobian(layer, p, None, state)
    found = nr.dynamics.step_jacobian(layer, half, np.zeros(2, "float32"), state.astype("float32"))
    assert found.dtype == np.float32 and np.abs(found - exact).max() < 1e-5


@pytest.mark.parametrize("count", [None, 2])
@pytest.mark.parametrize("name, every", [("gru", 1), ("gru", 4), ("lstm", 3), ("lstm-stacked", 2)])
def test_exponents_by_numpy(name, every, count):
    check_exponents(LAYERS[name](3), every, count)


@pytest.mark.parametrize("angle", [0.2, 1.4, 2.5])
def test_spirals(angle):
    check_spiral(angle)


@pytest.mark.parametrize("every", [1, 5])
def test_the_sum_of_all_is_that_of_the_determinants(every):
    layer = nr.LSTM(3)
    p, state = random_parameters(layer), random_state(layer, 2)
    found = nr.dynamics.lyapunov(layer, p, 40, state, every=every, transient=7, settle=6)
    total = 0
    for t in range(40):
        if t >= 13:
            total = total + np.linalg.slogdet(nr.dynamics.step_jacobian(layer, p, None, state))[1]
        state = layer(p, np.zeros((1, 2, 2)), state)[1]
    np.testing.assert_allclose(found.exponents.sum(axis=1), total / 27, rtol=1e-10)


@pytest.mark.parametrize("every", [1, 4])
def test_exponents_of_a_linear_map(every):
    layer = nr.RNN(5, activation="linear")
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    random = np.random.default_rng(0)
    basis = np.eye(5) + 0.3 * random.standard_normal((5, 5))
    values = np.array([1.0, 0.8, 0.5, -0.3, 0.2])
    p["weight_hh_l0"][...] = basis @ np.diag(values) @ np.linalg.inv(basis)
    found = nr.dynamics.lyapunov(layer, p, 2000, random.standard_normal((1, 3, 5)), every=every, settle=200)
    np.testing.assert_allclose(found.exponents, np.tile(np.log(np.abs(values)), (3, 1)), rtol=0, atol=1e-9)
    few = nr.dynamics.lyapunov(layer, p, 2000, exponents=2, every=every, settle=200)
    np.testing.assert_allclose(few.exponents, np.log([[1.0, 0.8]]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_tangents_whose_squares_are_no_numbers(factor):
    layer = nr.RNN(3, activation="linear")
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][...] = factor * np.array([[1, 0.3, 0.2], [0, 0.5, 0.1], [0, 0, 0.25]])
    found = nr.dynamics.lyapunov(layer, p, 300, settle=100)
    np.testing.assert_allclose(found.exponents[0] - np.log(factor), np.log([1, 0.5, 0.25]), rtol=0, atol=1e-11)


def test_exponents_of_a_step_that_changes_nothing():
    layer = nr.LeakyRNN(4, rate=0.0)
    found = nr.dynamics.lyapunov(layer, layer.init(1, dtype="float64"), 50, every=5)
    np.testing.assert_allclose(found.exponents, np.zeros((1, 4)), rtol=0, atol=1e-15)
    assert found.kaplan_yorke.shape == found.entropy.shape == (1,)


def test_a_direction_that_is_lost_has_minus_infinity():
    layer = nr.RNN(3, activation="linear")
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][...] = np.diag([0.5, 0.25, 0.0])
    found = nr.dynamics.lyapunov(layer, p, 300, settle=100)
    np.testing.assert_allclose(found.exponents[0, :2], np.log([0.5, 0.25]), rtol=0, atol=1e-12)
    assert found.exponents[0, 2] < -30 and found.kaplan_yorke[0] == found.entropy[0] == 0


@pytest.mark.parametrize("every", [1, 10])
def test_henon(every):
    """Exponents 0.4192 and log 0.3 less that (Sprott 2003); the sum is exact."""
    layer, p = henon()
    found = nr.dynamics.lyapunov(layer, p, 20500, np.array([[[0.1, 0.1]]]), every=every, transient=300, settle=200)
    assert abs(found.exponents[0, 0] - 0.4192) < 0.006
    assert abs(found.exponents.sum() - np.log(0.3)) < 1e-9
    assert abs(found.kaplan_yorke[0] - 1.258) < 0.005 and found.entropy[0] == found.exponents[0, 0]
    assert found.times[-1] == 20000 and len(found.times) == len(found.history) == exponents_module.POINTS
    assert same_bits(found.history[-1].copy(), found.exponents)


def test_dimension_and_entropy():
    def spectrum(values, size=None):
        values = np.array([values], float)
        return nr.dynamics.LyapunovSpectrum(values, values[None], np.ones(1), size or values.shape[1], None)

    assert spectrum([0.9, 0.0, -14.5]).kaplan_yorke == pytest.approx(2 + 0.9 / 14.5)
    assert spectrum([0.5, 0.25, -0.5, -0.5]).kaplan_yorke == pytest.approx(3.5)
    assert spectrum([0.5, 0.25, -0.5, -0.5]).entropy == 0.75
    assert spectrum([-0.5, -1]).kaplan_yorke == 0 == spectrum([-0.5, -1]).entropy
    assert spectrum([0.5, -0.25]).kaplan_yorke == 2
    assert np.isnan(spectrum([0.5, 0.25], size=4).kaplan_yorke) and np.isnan(spectrum([0.5, 0.25], size=4).entropy)
    assert spectrum([0.5, -0.25], size=4).entropy == 0.5
    assert "2 exponents (of 4): 0.5, -0.25; Kaplan-Yorke nan, entropy 0.5" in repr(spectrum([0.5, -0.25], size=4))


@pytest.mark.parametrize("every, count", [(1, None), (4, None), (4, 2)])
def test_threads_and_batches_give_the_same_bits(every, count, monkeypatch):
    monkeypatch.setattr(exponents_module, "CHUNK_BYTES", 1 << 13)
    monkeypatch.setattr(exponents_module, "SEQUENCES", 3)
    layer = nr.GRU(5)
    p, state, x = random_parameters(layer), random_state(layer, 4), np.random.default_rng(3).standard_normal((60, 4, 2))

    def run(own=slice(None)):
        found = nr.dynamics.lyapunov(layer, p, x[:, own], state[:, own], exponents=count, every=every, settle=9)
        jacobians = nr.dynamics.step_jacobian(layer, p, x[0, own], state[:, own])
        return found.exponents, found.history, found.state, jacobians

    whole = run()
    numba.set_num_threads(1)
    assert same_bits(whole, run())
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    alone = run(slice(2, 3))
    assert same_bits(alone, (whole[0][2:3], whole[1][:, 2:3].copy(), whole[2][:, 2:3].copy(), whole[3][2:3]))
    monkeypatch.setattr(exponents_module, "CHUNK_BYTES", 1 << 20)
    assert same_bits(whole, run())


def test_steps_that_are_too_many_are_said():
    layer = nr.RNN(2, activation="linear")
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][...] = [[1.0, 0.3], [0.0, 1e-3]]
    with pytest.warns(UserWarning, match="every: tangents spread by a factor of .* take fewer steps than 20"):
        nr.dynamics.lyapunov(layer, p, 100, every=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = nr.dynamics.lyapunov(layer, p, 100, every=2, settle=20)
    np.testing.assert_allclose(found.exponents, np.log([[1.0, 1e-3]]), rtol=0, atol=1e-10)


def squared(number):
    """An RNN of two units, each ``tanh(number h)`` on its own."""
    layer = nr.RNN(2)
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][...] = number * np.eye(2)
    return layer, p


def test_fixed_points_of_two_units():
    layer, p = squared(2.0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * 2), axis=-1).reshape(1, -1, 2)
    found = nr.dynamics.fixed_points(layer, p, None, grid)
    root = 0.957504024079493  # of tanh(2 h) = h
    expected = {(a * root, b * root) for a in (-1, 0, 1) for b in (-1, 0, 1)}
    assert len(found) == 9 and {tuple(np.round(s, 9) + 0.0) for s in found.states} == {
        tuple(np.round(s, 9)) for s in expected
    }
    assert found.unstable.tolist() == [0] * 4 + [1] * 4 + [2] and found.stable.sum() == 4
    slope = 2 * (1 - root**2)
    np.testing.assert_allclose(np.sort(np.abs(found.eigenvalues[0])), [slope, slope], rtol=1e-9)
    np.testing.assert_allclose(found.eigenvalues[-1], [2, 2], rtol=1e-12)
    assert found.starts.sum() + found.lost + found.slow.starts.sum() == 81 == found.started
    assert np.abs(layer(p, np.zeros((1, 9, 1)), found.state)[1] - found.state).max() < 1e-12
    values, modes = found.modes(4)
    np.testing.assert_allclose(found.jacobians[4] @ modes, modes * values, atol=1e-12)
    assert repr(found).startswith("FixedPoints(9 of a state of 2 numbers: 4 stable, 4 with 1 unstable direction, 1 with 2")


@pytest.mark.parametrize("name", ["gru", "lstm", "lstm-stacked"])
def test_fixed_points_stay_where_they_are(name):
    layer = LAYERS[name](4)
    p = random_parameters(layer, scale=1.5, seed=3)
    found = nr.dynamics.fixed_points(layer, p, np.array([0.5, -1.0]), random_state(layer, 40))
    assert len(found) and found.lost < 40
    x = np.tile(np.array([0.5, -1.0]), (1, len(found), 1))
    after = layer(p, x, found.state)[1]
    np.testing.assert_allclose(vectors(after), found.states, rtol=0, atol=1e-11)
    expected = nr.dynamics.step_jacobian(layer, p, x[0], found.state)
    assert same_bits(expected, found.jacobians)
    assert np.array_equal(found.stable, np.abs(np.linalg.eigvals(expected)).max(axis=1) < 1)


def lstm_of_large_weights(seed):
    """(layer, p, starts, share of starts whose c still grows after 4,000 steps) of weights drawn with a deviation of 3."""
    layer = nr.LSTM(6)
    p, random = layer.init(2, seed=0, dtype="float64"), np.random.default_rng(seed)
    p.flat[...] = 3 * random.standard_normal(len(p))
    starts = tuple(random.standard_normal((1, 40, 6)) for _ in range(2))
    _, state = layer(p, np.zeros((4000, 40, 2)), starts)
    _, (_, c) = layer(p, np.zeros((100, 40, 2)), state)
    return layer, p, starts, (np.abs(c - state[1])[0] > 1).any(axis=1).mean()


def test_a_fixed_point_that_trajectories_take_long_to_reach():
    """From 23 of 40 starts nothing was found by the tries that begin within 20 steps of them."""
    layer, p, starts, growing = lstm_of_large_weights(0)
    found = nr.dynamics.fixed_points(layer, p, None, starts)
    assert growing == 0 and found.lost == 0 and len(found) == 1
    points.LONG, kept = 0, points.LONG
    try:
        assert nr.dynamics.fixed_points(layer, p, None, starts).lost > 10  # what the try is for
    finally:
        points.LONG = kept


def test_no_fixed_point_where_c_grows_for_ever():
    layer, p, starts, growing = lstm_of_large_weights(8)
    found = nr.dynamics.fixed_points(layer, p, None, starts)
    assert 0 < found.lost / 40 <= growing < 1


def test_a_slow_point_is_no_fixed_point():
    """Behind a fold ``tanh(2 h + b)`` nearly touches h, where its slope is 1: there its speed has a minimum."""
    touched, gap = np.sqrt(0.5), 1e-3  # tanh' = 1 / 2 at tanh = sqrt(1/2)
    layer = nr.RNN(1)
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][...] = 2
    h = -touched - gap  # where F(h) - h = gap
    p["bias_ih_l0"][...] = -np.arctanh(touched) - 2 * h
    found = nr.dynamics.fixed_points(layer, p, None, np.array([[[-0.9], [-0.6], [0.9]]]))
    assert len(found) == 1 and found.states[0, 0] > 0.9
    assert len(found.slow) == 1 and abs(found.slow.states[0, 0] - h) < 1e-4 and found.slow.slow is None
    np.testing.assert_allclose(found.slow.speeds, [gap**2 / 2], rtol=1e-4)
    np.testing.assert_allclose(found.slow.eigenvalues, [[1]], atol=2e-3)
    assert not len(nr.dynamics.fixed_points(layer, p, None, np.array([[[-0.9]]]), slow=1e-8).slow)


@pytest.mark.parametrize("tolerance", [None, 1e-8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fixed_point_comes_once(dtype, tolerance):
    layer = nr.RNN(6)
    p = layer.init(2, seed=0, dtype=dtype)
    p["weight_hh_l0"][...] *= 0.99  # slow to contract
    starts = np.random.default_rng(0).uniform(-1, 1, (1, 40, 6)).astype(dtype)
    found = nr.dynamics.fixed_points(layer, p, np.array([0.3, -0.2], dtype), starts, tolerance, apart=1e-6)
    assert len(found) == 1 and found.starts.tolist() == [40] and found.stable.all()
    assert found.states.dtype == found.jacobians.dtype == found.inputs.dtype == np.dtype(dtype)
    after = layer(p, found.inputs[None], found.state)[1]
    np.testing.assert_allclose(after[0], found.states, rtol=0, atol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("draw", ["uniform", "standard_normal"])
def test_states_that_are_far_away_are_not_slow(draw):
    """A GRU whose gates saturate: where its update gate is 1, every state is slow."""
    layer = nr.GRU(6)
    p = layer.init(2, seed=0, dtype="float64")
    p.flat[...] *= 4
    random = np.random.default_rng(0)
    starts = random.uniform(-1, 1, (1, 60, 6)) if draw == "uniform" else random.standard_normal((1, 60, 6))
    found = nr.dynamics.fixed_points(layer, p, None, starts)
    assert np.abs(found.states).max() < 1 and found.starts.sum() >= 35
    assert (np.abs(found.slow.states) < 1.5 * np.abs(starts).max()).all()


@pytest.mark.parametrize("units", [2, 5])
def test_a_fixed_point_whose_newton_matrix_is_singular(units):
    """At 0 of ``tanh(mean(h))`` one eigenvalue is 1, and ``J - I`` has one of 0."""
    layer = nr.RNN(units)
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][...] = 1 / units
    found = nr.dynamics.fixed_points(layer, p, None, np.random.default_rng(0).uniform(-1, 1, (1, 50, units)))
    assert found.starts.tolist() == [50] and np.abs(found.states).max() < 1e-3


def test_what_overflows_is_lost_without_a_warning():
    layer = nr.RNN(2, activation="linear")
    p = layer.init(1, dtype="float64")
    p["weight_hh_l0"][...] = 5 * np.eye(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = nr.dynamics.fixed_points(layer, p, None, np.array([[[1e300, 1e300], [0.0, 0.0]]]))
    assert found.started == 2 and found.lost == 2 - found.starts.sum()


def test_fixed_points_that_are_far_away_are_found():
    layer = nr.RNN(1, activation="linear")
    p = layer.init(1, dtype="float64")
    p.flat[...] = 0
    p["weight_hh_l0"][...], p["bias_ih_l0"][...] = 0.999, 1
    found = nr.dynamics.fixed_points(layer, p, None, np.array([[[0.0], [1.0]]]))
    assert found.starts.tolist() == [2] and found.lost == 0
    np.testing.assert_allclose(found.states, [[1000]], rtol=1e-9)


def test_each_start_has_its_own_inputs():
    layer, p = squared(0.5)
    p["weight_ih_l0"][...] = 1
    x = np.array([[0.0], [1.0], [1.0]])
    found = nr.dynamics.fixed_points(layer, p, x, np.zeros((1, 3, 2)))
    assert len(found) == 2 and sorted(found.starts) == [1, 2] and {*found.inputs.ravel()} == {0.0, 1.0}
    np.testing.assert_allclose(np.tanh(0.5 * found.states + found.inputs), found.states, rtol=0, atol=1e-12)


def test_points_do_not_depend_on_the_batch_or_threads():
    layer = LAYERS["gru"](4)
    p, starts = random_parameters(layer, scale=1.5, seed=3), random_state(layer, 12)
    whole = nr.dynamics.fixed_points(layer, p, None, starts, apart=1e-12)
    numba.set_num_threads(1)
    again = nr.dynamics.fixed_points(layer, p, None, starts, apart=1e-12)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert same_bits((whole.states, whole.jacobians), (again.states, again.jacobians))
    alone = [nr.dynamics.fixed_points(layer, p, None, starts[:, n : n + 1], apart=1e-12) for n in range(12)]
    assert {s.tobytes() for a in alone for s in a.states} >= {s.tobytes() for s in whole.states}


def test_results_are_pickled():
    layer, p = squared(2.0)
    points = nr.dynamics.fixed_points(layer, p, None, np.zeros((1, 1, 2)))
    assert same_bits(pickle.loads(pickle.dumps(points)).state, points.state)
    spectrum = nr.dynamics.lyapunov(layer, p, 10)
    assert same_bits(pickle.loads(pickle.dumps(spectrum)).exponents, spectrum.exponents)


P = nr.RNN(2).init(1, seed=0, dtype="float64")
H = np.zeros((1, 3, 2))
WRONG = [
    (lambda: nr.dynamics.step_jacobian(nr.Dense(2), P, None, H), TypeError, "layer: expected a recurrent layer, got Dense"),
    (
        lambda: nr.dynamics.step_jacobian(nr.RNN(2, bidirectional=True), P, None, H),
        ValueError,
        r"layer: expected one direction, .*got RNN\(hidden=2, bidirectional=True\)",
    ),
    (lambda: nr.dynamics.step_jacobian(nr.RNN(2), P.flat, None, H), TypeError, "p: expected the Parameters of"),
    (
        lambda: nr.dynamics.step_jacobian(nr.RNN(2), P, np.zeros(3), H),
        nr.ShapeError,
        r"x: expected shape \(1,\) or \(3, 1\)",
    ),
    (lambda: nr.dynamics.step_jacobian(nr.RNN(2), P, np.zeros(1, "f4"), H), nr.DTypeError, "x: expected float64"),
    (
        lambda: nr.dynamics.step_jacobian(nr.RNN(2), P, None, H[0]),
        nr.ShapeError,
        r"state: expected a state of shape \(1, N, 2\)",
    ),
    (
        lambda: nr.dynamics.step_jacobian(nr.RNN(2), P, None, H + np.nan),
        nr.NonFiniteError,
        r"state: expected finite numbers, got nan at \(0, 0, 0\)",
    ),
    (lambda: nr.dynamics.lyapunov(nr.RNN(2), P, 0), ValueError, "x: expected a positive integer, got 0"),
    (lambda: nr.dynamics.lyapunov(nr.RNN(2), P, np.zeros((4, 1, 2))), nr.ShapeError, "x: expected 1 channels"),
    (lambda: nr.dynamics.lyapunov(nr.RNN(2), P, np.zeros((0, 1))), nr.ShapeError, r"x: expected at least one step, got"),
    (lambda: nr.dynamics.lyapunov(nr.RNN(2), P, np.zeros((0, 1, 1))), nr.ShapeError, r"x: expected at least one step, got"),
    (lambda: nr.dynamics.lyapunov(nr.RNN(2), P, np.zeros((4, 1), "f4")), nr.DTypeError, "x: expected float64"),
    (lambda: nr.dynamics.lyapunov(nr.RNN(2), P, 9, exponents=3), ValueError, "exponents: expected at most 2"),
    (
        lambda: nr.dynamics.lyapunov(nr.RNN(2), P, 9, transient=5, settle=4),
        ValueError,
        "transient: expected fewer",
    ),
    (lambda: nr.dynamics.lyapunov(nr.RNN(2), P, 9, settle=-1), ValueError, "settle: expected an integer >= 0, got -1"),
    (lambda: nr.dynamics.lyapunov(nr.RNN(2), P, 9, dt=0), ValueError, "dt: expected a finite number > 0"),
    (lambda: nr.dynamics.lyapunov(nr.RNN(2), P, nr.Ragged.of([np.zeros((3, 1))])), TypeError, "x: .*got Ragged"),
    (
        lambda: nr.dynamics.fixed_points(nr.RNN(2), P, None, H, tolerance=0),
        ValueError,
        "tolerance: expected a finite number > 0",
    ),
    (lambda: nr.dynamics.fixed_points(nr.RNN(2), P, None, H[0]), nr.ShapeError, "starts: expected a state of shape"),
    (lambda: nr.dynamics.fixed_points(nr.LSTM(2), P, None, H), nr.ShapeError, "p: LSTM"),
]


@pytest.mark.parametrize("call, error, message", WRONG)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_trajectory_to_infinity_is_refused():
    layer = nr.RNN(2, activation="linear")
    p = layer.init(1, dtype="float64")
    p["weight_hh_l0"][...] = 10 * np.eye(2)
    with pytest.raises(nr.NonFiniteError, match="x: expected a trajectory that stays finite"):
        nr.dynamics.lyapunov(layer, p, 400, np.ones((1, 1, 2)))
