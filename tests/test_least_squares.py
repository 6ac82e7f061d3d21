"""Recursive least squares: against the ridge of the same rows, and FORCE against the equations step by step in NumPy."""

import copy
import pickle

import numpy as np
import pytest
from checks import same_bits
from hypothesis import given, settings
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn import least_squares

H, U = 8, 2
RESERVOIR = nr.Connectivity(density=0.5, spectral_radius=1.2)


def make(channels=3, dtype="float64"):
    layers = [nr.LeakyRNN(H, 0.4, form="inside", connectivity=RESERVOIR), nr.Activation("tanh"), nr.Dense(U)]
    return nr.Network(layers, channels, dtype, seed=2)


def step_of(net, x, h):
    """(r, h') of one step of the reservoir, in float64: the equations of the form "inside"."""
    p = {name: view.astype(np.float64) for name, view in net.params.items()}
    drive = p["0.weight_ih_l0"] @ x + p["0.bias_ih_l0"] + p["0.bias_hh_l0"]
    h = 0.6 * h + 0.4 * (drive + RESERVOIR.applied(p["0.weight_hh_l0"]) @ np.tanh(h))
    return np.append(np.tanh(h), 1.0), h


def learned(net, inputs, y, fed, penalty, forgetting, every):
    """(outputs, w, h) by the equations; with `fed` the inputs are the first, and then what stands beside outputs."""
    w = np.concatenate([net.params["2.weight"], net.params["2.bias"][:, None]], axis=1).astype(np.float64)
    inverse, h, found = np.eye(H + 1) / penalty, np.zeros(H), []
    for t, target in enumerate(y):
        x = np.append(found[-1], inputs[t]) if fed and t else inputs[t]
        r, h = step_of(net, x, h)
        found.append(w @ r)
        if (t + 1) % every == 0:
            k = inverse @ r / (forgetting + r @ inverse @ r)
            w = w + np.outer(target - found[-1], k)
            inverse = (inverse - np.outer(k, r @ inverse)) / forgetting
    return np.array(found), w, h


def check_against_numpy(steps, fed, forgetting, every, seed, dtype="float64", tolerance=1e-9):
    """Raise AssertionError unless outputs, weights and states agree with the equations."""
    random, net = np.random.default_rng(seed), make(dtype=dtype)
    x = random.standard_normal((steps, 3)).astype(dtype)
    y = np.sin(np.arange(steps)[:, None] / 3 + np.arange(U))
    beside = [x[0], *x[:-1, U:]]
    outputs, w, h = learned(net, beside if fed else x, y, fed, 0.5, forgetting, every)
    force = nr.RecursiveLeastSquares(net, penalty=0.5, forgetting=forgetting, every=every)
    found = force.feed_back(x[0], y, x[:, U:]) if fed else force.run(x, y)
    assert found.dtype == dtype and found.shape == (steps, U)
    np.testing.assert_allclose(found, outputs, rtol=0, atol=tolerance)
    np.testing.assert_allclose(net.params["2.weight"], w[:, :-1], rtol=0, atol=tolerance)
    np.testing.assert_allclose(net.params["2.bias"], w[:, -1], rtol=0, atol=tolerance)
    np.testing.assert_allclose(force.state[0][0, 0], h, rtol=0, atol=tolerance)


@given(st.integers(1, 60), st.booleans(), st.sampled_from((1.0, 0.95)), st.integers(1, 3), st.integers(0, 999))
@settings(deadline=None, max_examples=50)
def test_it_is_the_equations(steps, fed, forgetting, every, seed):
    check_against_numpy(steps, fed, forgetting, every, seed)


def test_in_float32_the_readout_is_learned_in_float64():
    check_against_numpy(40, True, 1.0, 1, 0, "float32", 2e-5)


def mutant_of(change):
    """`backend` in the place of the real one, whose kernel is called with changed arguments."""

    class Kernels:
        class least_squares:
            @staticmethod
            def learn(*arguments):
                return least_squares_kernel()(*change(list(arguments)))

    return lambda device: Kernels


def least_squares_kernel():
    from numbarnn.cpu.least_squares import learn

    return learn


def changed(index, value):
    return lambda arguments: [value(a) if i == index else a for i, a in enumerate(arguments)]


@pytest.mark.parametrize(
    "change",
    [changed(7, lambda _: 1.0), changed(6, lambda _: 1), changed(5, lambda _: 1), changed(1, lambda x: 0 * x)],
    ids=["no forgetting", "every step", "a step too early", "nothing beside what is fed back"],
)
def test_the_check_catches_mutants(monkeypatch, change):
    check_against_numpy(30, True, 0.95, 2, 0)
    monkeypatch.setattr(least_squares, "backend", mutant_of(change))
    with pytest.raises(AssertionError):
        check_against_numpy(30, True, 0.95, 2, 0)


@pytest.mark.parametrize("forgetting", [1.0, 0.97])
def test_it_is_the_ridge_of_the_same_rows(forgetting):
    """By QR of the weighted rows; what it starts from is where the penalty draws it to."""
    random, net = np.random.default_rng(0), make()
    x, y, steps = random.standard_normal((50, 3)), random.standard_normal((50, U)), 50
    start = np.concatenate([net.params["2.weight"], net.params["2.bias"][:, None]], axis=1)
    nr.RecursiveLeastSquares(net, penalty=0.1, forgetting=forgetting).run(x, y)
    f = np.concatenate([np.tanh(net.states(x, layer=0)), np.ones((steps, 1))], axis=1)
    root = forgetting ** (np.arange(steps - 1, -1, -1) / 2)[:, None]
    rest = np.sqrt(0.1 * forgetting**steps) * np.eye(H + 1)
    rows, targets = np.concatenate([root * f, rest]), np.concatenate([root * (y - f @ start.T), np.zeros((H + 1, U))])
    w = start + np.linalg.lstsq(rows, targets, rcond=None)[0].T
    np.testing.assert_allclose(net.params["2.weight"], w[:, :-1], rtol=0, atol=1e-10)
    np.testing.assert_allclose(net.params["2.bias"], w[:, -1], rtol=0, atol=1e-10)


def check_several(fed=False, forgetting=0.97):
    """Raise AssertionError unless sequences of several lengths are learned as by the equations, one after the other."""
    random, net, lengths = np.random.default_rng(0), make(), [12, 0, 20, 7]
    x, y = random.standard_normal((20, 4, 3)), random.standard_normal((20, 4, U))
    padding = np.arange(20)[:, None] >= lengths
    x[padding], y[padding] = np.nan, np.nan
    w = np.concatenate([net.params["2.weight"], net.params["2.bias"][:, None]], axis=1)
    inverse, h, outputs = np.eye(H + 1) / 0.5, np.zeros((4, H)), np.zeros((20, 4, U))
    for t in range(20):
        rows = {}
        for n in np.flatnonzero(~padding[t]):
            given = np.append(outputs[t - 1, n], x[t - 1, n, U:]) if fed and t else x[t, n]
            rows[n], h[n] = step_of(net, given, h[n])
            outputs[t, n] = w @ rows[n]
        inverse = inverse / forgetting
        for n, r in rows.items():
            k = inverse @ r / (1 + r @ inverse @ r)
            w = w + np.outer(y[t, n] - w @ r, k)
            inverse = inverse - np.outer(k, r @ inverse)
    rls = nr.RecursiveLeastSquares(net, penalty=0.5, forgetting=forgetting, batch=4)
    first = np.where(np.isnan(x[0]), 0, x[0])
    found = rls.feed_back(first, y, x[:, :, U:], lengths) if fed else rls.run(x, y, lengths)
    np.testing.assert_allclose(found, outputs, rtol=0, atol=1e-9)
    np.testing.assert_allclose(net.params["2.weight"], w[:, :-1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(net.params["2.bias"], w[:, -1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(rls.state[0][0], h, rtol=0, atol=1e-9)


@pytest.mark.parametrize("fed", [False, True])
def test_several_sequences_are_learned_one_after_the_other(fed):
    check_several(fed)


@pytest.mark.parametrize(
    "change", [changed(3, lambda lengths: lengths + 1), changed(4, lambda owners: 0 * owners)], ids=["too long", "one owner"]
)
def test_the_check_of_several_catches_mutants(monkeypatch, change):
    monkeypatch.setattr(least_squares, "backend", mutant_of(change))
    with pytest.raises((AssertionError, nr.NonFiniteError)):
        check_several()


def test_two_calls_are_one():
    random = np.random.default_rng(0)
    x, y = random.standard_normal((21, 3)), random.standard_normal((21, U))
    once, twice = (nr.RecursiveLeastSquares(make(), every=2) for _ in range(2))
    whole = once.run(x, y)
    parts = np.concatenate([twice.run(x[:9], y[:9]), twice.run(x[9:], y[9:])])
    assert same_bits(whole, parts) and same_bits(once.network.params.flat, twice.network.params.flat)
    fed, again = (nr.RecursiveLeastSquares(make()) for _ in range(2))
    whole = fed.feed_back(x[0], y, x[:, U:])
    first = again.feed_back(x[0], y[:9], x[:9, U:])
    assert same_bits(whole, np.concatenate([first, again.feed_back(np.append(first[-1], x[8, U:]), y[9:], x[9:, U:])]))


def test_a_stream_goes_on_from_its_state():
    net = make(U)
    force, y = nr.RecursiveLeastSquares(net), np.sin(np.arange(100)[:, None] / 5 + np.arange(U))
    before = net.params["0.weight_hh_l0"].copy()
    z = force.feed_back(np.zeros(U), y)
    stream, h, x = net.stream(), force.state[0][0, 0], z[-1]
    stream.state = force.state
    w = np.concatenate([net.params["2.weight"], net.params["2.bias"][:, None]], axis=1)
    for ahead in stream.feed_back(z[-1:], 10)[:, 0]:
        r, h = step_of(net, x, h)
        x = w @ r
        np.testing.assert_allclose(ahead, x, rtol=0, atol=1e-9)
    assert same_bits(before, net.params["0.weight_hh_l0"].copy())


X, Y = np.ones((5, 3)), np.ones((5, U))


@pytest.mark.parametrize(
    "bad, error, fragments",
    [
        (lambda rls: nr.RecursiveLeastSquares(nr.GRU(3)), TypeError, ["network", "Network", "GRU"]),
        (lambda rls: nr.RecursiveLeastSquares(nr.Network([nr.Dense(1)], 1)), TypeError, ["network", "layers and then"]),
        (lambda rls: nr.RecursiveLeastSquares(nr.Network([nr.GRU(2)], 1)), TypeError, ["network", "Dense"]),
        (lambda rls: nr.RecursiveLeastSquares(make(), 0), ValueError, ["penalty", "> 0", "0"]),
        (lambda rls: nr.RecursiveLeastSquares(make(), forgetting=1.1), ValueError, ["forgetting", "1 at most", "1.1"]),
        (lambda rls: nr.RecursiveLeastSquares(make(), every=0), ValueError, ["every", "positive", "0"]),
        (lambda rls: rls.run(X[:, :2], Y), nr.ShapeError, ["x", "(T, 3)", "(5, 2)"]),
        (lambda rls: rls.run(X, Y[:, 0]), nr.ShapeError, ["y", "(T, 2)", "(5,)"]),
        (lambda rls: rls.run(X, Y[1:]), nr.ShapeError, ["y", "5 steps", "4"]),
        (lambda rls: rls.run(X, np.nan * Y), nr.NonFiniteError, ["y", "finite", "nan at (0, 0)"]),
        (lambda rls: rls.run(X, np.inf * Y), nr.NonFiniteError, ["y", "finite", "inf"]),
        (lambda rls: rls.run(np.ma.array(X), Y), TypeError, ["x", "MaskedArray"]),
        (lambda rls: rls.feed_back(X[0], Y), nr.ShapeError, ["known", "1 channels", "none"]),
        (lambda rls: rls.feed_back(X[0], Y, X[1:, 2:]), nr.ShapeError, ["known", "5 steps", "4"]),
        (lambda rls: rls.feed_back(X[0, :2], Y, X[:, 2:]), nr.ShapeError, ["x", "(3,)", "(2,)"]),
        (lambda rls: rls.run(X, Y, [6]), ValueError, ["lengths", "6"]),
        (lambda rls: nr.RecursiveLeastSquares(make(), batch=0), ValueError, ["batch", "positive", "0"]),
        (lambda rls: nr.RecursiveLeastSquares(make(), batch=2).run(X, Y), nr.ShapeError, ["x", "(T, 2, 3)", "(5, 3)"]),
        (lambda rls: rls.feed_back(X[0] * np.inf, Y, X[:, 2:]), nr.NonFiniteError, ["x", "inf at (0,)"]),
    ],
)  # fmt: skip
def test_named_error_and_nothing_changed(bad, error, fragments):
    rls = nr.RecursiveLeastSquares(make())
    rls.run(X, Y)
    before, state = rls.network.params.flat.copy(), rls.state[0].copy()
    with pytest.raises(error) as raised:
        bad(rls)
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value
    assert same_bits(before, rls.network.params.flat) and same_bits(state, rls.state[0])


def test_what_overflows_changes_nothing():
    rls = nr.RecursiveLeastSquares(make(), forgetting=1e-12)
    before = rls.network.params.flat.copy()
    with np.errstate(all="ignore"), pytest.raises(nr.NonFiniteError, match="^y: expected targets that can be learned"):
        rls.run(np.ones((40, 3)), np.ones((40, U)))
    assert same_bits(before, rls.network.params.flat) and not rls.state[0].any()


def test_the_series_of_mackey_and_glass():
    """Each step has the error of the method, against an integration with steps a hundred times as fine."""
    x = nr.datasets.mackey_glass(300)
    assert x.shape == (300,) and x[0] == 1.2 and same_bits(x[:50].copy(), nr.datasets.mackey_glass(50))
    for t in range(17, 299):
        delayed = x[t - 17]
        drive, fine = 0.2 * delayed / (1 + delayed**10), x[t]
        fine = drive / 0.1 + (fine - drive / 0.1) * np.exp(-0.1)  # the solution for a drive that stays the same
        np.testing.assert_allclose(x[t + 1], fine, rtol=0, atol=1e-7)
    assert not np.array_equal(x, nr.datasets.mackey_glass(300, seed=1))


def test_a_reservoir_forecasts_the_series_of_mackey_and_glass():
    """The setting of reservoirpy's README: 100 units, rate 0.3, radius 1.25; one of three penalties."""
    s = nr.datasets.mackey_glass(2000)[:, None]
    x, y, end = s[:-1], s[1:], 1599
    reservoir = nr.Connectivity(density=0.1, spectral_radius=1.25, input_scaling=1.0, input_density=0.1)
    net = nr.Network([nr.LeakyRNN(100, rate=0.3, connectivity=reservoir), nr.Dense(1)], 1, "float64", seed=0)
    held_out = x[1200:end], y[1200:end]
    net.fit_readout(x[:1200], y[:1200], [1e-5, 1e-7, 1e-9], warmup=100, validation=held_out)
    _, state = net(x[:end])
    found, _ = net(x[end:], state)
    error = found - y[end:]
    assert np.sqrt((error**2).mean()) <= 0.0020
    assert 1 - (error**2).sum() / ((y[end:] - y[end:].mean()) ** 2).sum() >= 0.9999


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_refuses_copies_with_a_sentence(way):
    with pytest.raises(TypeError, match="^RecursiveLeastSquares: .* make another one of a copy of its network"):
        way(nr.RecursiveLeastSquares(make()))


def test_padding_is_no_step():
    """Which steps are learned from follows from the steps taken, however much padding there is behind them."""
    random, lengths = np.random.default_rng(0), [3, 2]
    few, many = (nr.RecursiveLeastSquares(make(), every=2, batch=2) for _ in range(2))
    x, y = random.standard_normal((6, 2, few.network.channels)), random.standard_normal((6, 2, few.network.output_channels))
    for _ in range(2):
        few.run(x[:3], y[:3], lengths)
        many.run(x, y, lengths)
    assert np.array_equal(few.network.params.flat, many.network.params.flat)
    assert repr(many).endswith("6 steps)")


def test_what_is_known_last_is_not_read():
    known = np.array([[0.5], [np.nan]])
    first = nr.RecursiveLeastSquares(make()).feed_back(X[0], Y[:2], known)
    assert np.array_equal(first, nr.RecursiveLeastSquares(make()).feed_back(X[0], Y[:2], np.nan_to_num(known)))
    with pytest.raises(nr.NonFiniteError, match="known"):
        nr.RecursiveLeastSquares(make()).feed_back(X[0], Y[:2], known[::-1])
