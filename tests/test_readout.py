"""Readouts by ridge regression, against the closed form: chunks, warm-up, lengths, weights, penalties."""

import numpy as np
import pytest
from checks import same_bits
from hypothesis import given, settings
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.networks import readout
from numbarnn.training.ridge import NormalEquations

H, U = 6, 2


def make(dtype="float64", layout="tnc", last=False):
    reservoir = nr.LeakyRNN(H, 0.5, connectivity=nr.Connectivity(density=0.5, spectral_radius=0.9))
    return nr.Network([reservoir, *([nr.Last()] if last else []), nr.Dense(U)], 1, dtype, layout, seed=1)


def closed_form(f, y, penalty, weights):
    """(W, b) by QR of the rows, with sqrt(penalty) W = 0 as further ones: no product of a matrix with itself."""
    root = np.sqrt(weights)[:, None]
    rows = np.concatenate([f, np.ones((len(f), 1))], axis=1) * root
    more = np.concatenate([np.sqrt(penalty) * np.eye(f.shape[1]), np.zeros((f.shape[1], 1))], axis=1)
    found = np.linalg.lstsq(np.concatenate([rows, more]), np.concatenate([y * root, np.zeros((f.shape[1], U))]), rcond=None)[
        0
    ]
    return found[:-1].T, found[-1]


def check_readout(steps, batch, kind, penalty, warmup, chunk, seed, layout="tnc", weigh=False):
    """Raise AssertionError unless the readout is the closed form of the rows that count."""
    random, net = np.random.default_rng(seed), make(layout=layout)
    x, y = random.standard_normal((steps, batch, 1)), random.standard_normal((steps, batch, U))
    lengths = random.integers(0, steps + 1, batch) if kind in ("lengths", "ragged") else np.full(batch, steps)
    lengths[0] = steps
    reset = random.random((steps, batch)) < 0.1 if kind == "reset" else np.zeros((steps, batch), bool)
    weights = random.choice([0.0, 0.5, 2.0], (steps, batch)) if weigh else np.ones((steps, batch))
    weights[-1, 0] = 1
    f, rows, own = net.states(x if layout == "tnc" else np.transpose(x, places(layout)), reset=reset), [], []
    f = f if layout == "tnc" else np.transpose(f, [layout.index(letter) for letter in "tnc"])
    for n in range(batch):
        begun = 0
        for t in range(lengths[n]):
            begun = 0 if reset[t, n] else begun
            if begun >= warmup and weights[t, n]:
                rows.append((t, n))
                own.append(weights[t, n])
            begun += 1
    options = {"lengths": lengths} if kind == "lengths" else {"reset": reset} if kind == "reset" else {}
    given_weights = weights.astype(np.float64) if weigh else None
    given_y = np.where(weights[:, :, None] > 0, y, np.nan)  # what weighs nothing is not read
    if kind == "ragged":
        x, given_y = (nr.Ragged.of([array[:length, n] for n, length in enumerate(lengths)]) for array in (x, given_y))
        if weigh:
            given_weights = nr.Ragged.of([weights[:length, n, None] for n, length in enumerate(lengths)])
    elif layout != "tnc":
        x, given_y = np.transpose(x, places(layout)), np.transpose(given_y, places(layout))
        given_weights = None if given_weights is None else np.transpose(given_weights, places(layout.replace("c", ""), "tn"))
    before = net.params["0.weight_hh_l0"].copy()
    errors = net.fit_readout(x, given_y, penalty, warmup=warmup, weights=given_weights, chunk=chunk, **options)
    f, y = (np.array([array[place] for place in rows]) for array in (f, y))
    weight, bias = closed_form(f, y, penalty, np.array(own))
    scale = 1e-10 * max(1, np.abs(weight).max())
    np.testing.assert_allclose(net.params["1.weight"], weight, rtol=0, atol=scale)
    np.testing.assert_allclose(net.params["1.bias"], bias, rtol=0, atol=scale)
    error = np.average(((y - f @ weight.T - bias) ** 2).mean(axis=1), weights=own)
    np.testing.assert_allclose(errors[penalty], error, rtol=1e-9, atol=1e-12)
    assert same_bits(before, net.params["0.weight_hh_l0"].copy())


def places(letters, of="tnc"):
    return [of.index(letter) for letter in letters]


@given(
    st.integers(12, 40), st.integers(1, 4), st.sampled_from(("uniform", "lengths", "ragged", "reset")),
    st.sampled_from((1e-4, 0.1, 10.0)), st.sampled_from((0, 3)), st.sampled_from((1, 7, 4096)), st.integers(0, 999),
    st.booleans(),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_it_is_the_closed_form(steps, batch, kind, penalty, warmup, chunk, seed, weigh):
    check_readout(steps, batch, kind, penalty, warmup, chunk, seed, weigh=weigh)


@pytest.mark.parametrize("layout", ["ntc", "cnt"])
def test_other_layouts(layout):
    check_readout(20, 3, "uniform", 0.1, 2, 4096, 0, layout, weigh=True)


def unweighed(self, x, y, weights=None):
    there = weights > 0
    add(self, x[there], y[there])


def of_first_piece(self, samples, warmup, most):
    return iter(list(rows_of(self, samples, warmup, most))[:1])


def at_once(self, samples, warmup, most):
    return rows_of(self, samples, 0, most)


add, rows_of = NormalEquations.add, readout.Readout._readout_rows


@pytest.mark.parametrize(
    "place, name, mutant",
    [
        (NormalEquations, "add", unweighed),
        (readout.Readout, "_readout_rows", of_first_piece),
        (readout.Readout, "_readout_rows", at_once),
    ],
    ids=["weights left out", "one piece alone", "no warm-up"],
)
def test_the_check_catches_mutants(monkeypatch, place, name, mutant):
    monkeypatch.setattr(place, name, mutant)
    with pytest.raises(AssertionError):
        check_readout(30, 1, "uniform", 0.1, 3, 7, 0, weigh=True)


def test_numbers_far_from_zero_keep_their_digits():
    """Sums of squares of numbers around 1e6 have lost all digits of a spread of 1e-3."""
    random = np.random.default_rng(0)
    x, y = 1e6 + 1e-3 * random.standard_normal((200, 3)), 1e6 + random.standard_normal((200, U))
    equations = NormalEquations(3, U)
    for first in range(0, 200, 60):
        equations.add(x[first : first + 60], y[first : first + 60])
    ((weight, _),) = equations.solve([1e-6])
    centred = x - 1e6
    expected, _ = closed_form(centred, y - 1e6, 1e-6, np.ones(200))
    np.testing.assert_allclose(weight, expected, rtol=1e-7)


def test_of_several_penalties_the_one_with_the_smallest_error_is_taken():
    random, net = np.random.default_rng(0), make()
    x, y = random.standard_normal((60, 2, 1)), random.standard_normal((60, 2, U))
    held_out = random.standard_normal((40, 2, 1)), random.standard_normal((40, 2, U))
    penalties = [1e-6, 1.0, 1e3, 1e1]
    errors = net.fit_readout(x, y, penalties, warmup=5, validation=held_out, chunk=16)
    assert list(errors) == penalties
    for penalty in penalties:
        alone = make()
        alone.fit_readout(x, y, penalty, warmup=5)
        found = ((alone.predict(held_out[0])[5:] - held_out[1][5:]) ** 2).mean()
        np.testing.assert_allclose(errors[penalty], found, rtol=1e-10)
        if errors[penalty] == min(errors.values()):
            np.testing.assert_allclose(net.params.flat, alone.params.flat, rtol=0, atol=1e-12)


def test_as_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    random, net = np.random.default_rng(0), make()
    x, y, weights = random.standard_normal((80, 1, 1)), random.standard_normal((80, 1, U)), random.random((80, 1))
    net.fit_readout(x, y, 0.3, weights=weights)
    found = linear_model.Ridge(0.3, solver="svd").fit(net.states(x)[:, 0], y[:, 0], weights[:, 0])
    np.testing.assert_allclose(net.params["1.weight"], found.coef_, rtol=0, atol=1e-10)
    np.testing.assert_allclose(net.params["1.bias"], found.intercept_, rtol=0, atol=1e-10)


def test_one_target_for_each_sample():
    random, net = np.random.default_rng(0), make(last=True)
    x, y, lengths = random.standard_normal((9, 30, 1)), random.standard_normal((30, U)), random.integers(1, 10, 30)
    net.fit_readout(x, y, 0.1, lengths=lengths, chunk=40)
    f = np.stack([net.states(x)[length - 1, n] for n, length in enumerate(lengths)])
    weight, bias = closed_form(f, y, 0.1, np.ones(30))
    np.testing.assert_allclose(net.params["2.weight"], weight, rtol=0, atol=1e-10)
    np.testing.assert_allclose(net.params["2.bias"], bias, rtol=0, atol=1e-10)


def test_units_that_never_move_without_a_penalty_weigh_nothing():
    net = make()
    net.params["0.weight_ih_l0"][0], net.params["0.weight_hh_l0"][0] = 0, 0
    random = np.random.default_rng(0)
    x, y = random.standard_normal((50, 1, 1)), random.standard_normal((50, 1, U))
    net.fit_readout(x, y, 0)
    assert (net.params["1.weight"][:, 0] == 0).all() and np.abs(net.params["1.weight"]).max() < 1e3


def test_in_float32_it_is_the_rounded_solution():
    net, same = make("float32"), make()
    same.params.flat = net.params.flat.astype(np.float64)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((50, 1, 1)).astype("float32"), random.standard_normal((50, 1, U)).astype("float32")
    net.fit_readout(x, y, 0.1)
    same.fit_readout(x.astype(float), y.astype(float), 0.1)
    np.testing.assert_allclose(net.params.flat, same.params.flat, rtol=0, atol=2e-5)


X, Y = np.ones((5, 2, 1)), np.ones((5, 2, U))
NAN = np.full((5, 2, U), np.nan)


@pytest.mark.parametrize(
    "arguments, error, fragments",
    [
        ({"penalty": -1.0}, ValueError, ["penalty", ">= 0", "-1.0"]),
        ({"penalty": np.inf}, ValueError, ["penalty", "finite", "inf"]),
        ({"penalty": "small"}, TypeError, ["penalty", "'small'"]),
        ({"penalty": []}, ValueError, ["penalty", "got none"]),
        ({"penalty": [1, -2], "validation": (X, Y)}, ValueError, ["penalty[1]", "-2"]),
        ({"penalty": [1, 2]}, ValueError, ["validation", "2 penalties", "None"]),
        ({"warmup": -1}, ValueError, ["warmup", ">= 0", "-1"]),
        ({"warmup": 1.5}, TypeError, ["warmup", "1.5"]),
        ({"warmup": 5}, ValueError, ["warmup", "fewer steps", "5"]),
        ({"chunk": 0}, ValueError, ["chunk", "positive", "0"]),
        ({"y": NAN}, nr.NonFiniteError, ["y", "nan", "weight 0"]),
        ({"y": 1e200 * np.arange(10.0 * U).reshape(5, 2, U)}, nr.NonFiniteError, ["y: ", "finite squares"]),
        ({"y": np.ones((5, 2, 3))}, nr.ShapeError, ["y", "2 channels", "3"]),
        ({"x": np.ones((5, 2, 2))}, nr.ShapeError, ["x", "1 channels", "2"]),
        ({"weights": np.zeros((5, 2))}, ValueError, ["weights", "> 0"]),
        ({"validation": X}, TypeError, ["validation", "pair"]),
        ({"validation": (X, Y[:-1])}, nr.ShapeError, ["validation y", "5 steps", "4"]),
    ],
)  # fmt: skip
def test_named_error_and_nothing_changed(arguments, error, fragments):
    net = make()
    before = net.params.flat.copy()
    with pytest.raises(error) as raised:
        net.fit_readout(**{"x": X, "y": Y} | arguments)
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value
    assert same_bits(before, net.params.flat)


def test_targets_of_weight_0_may_be_missing():
    random = np.random.default_rng(0)
    x, y, weights = random.standard_normal((9, 2, 1)), random.standard_normal((9, 2, U)), np.ones((9, 2))
    weights[4:6, 1] = 0
    one, other = make(), make()
    one.fit_readout(x, y, weights=weights)
    other.fit_readout(x, np.where(weights[..., None] > 0, y, np.nan), weights=weights)
    assert same_bits(one.params.flat, other.params.flat)


def test_no_warm_up_where_each_sample_has_one_target():
    with pytest.raises(ValueError, match="^warmup: expected 0 where each sample has one target, got 2"):
        make(last=True).fit_readout(X, Y[0], warmup=2)


@pytest.mark.parametrize("layers", [[nr.GRU(3)], [nr.GRU(3), nr.Dense(1, "tanh")], [nr.Dense(2), nr.Last()]], ids=repr)
def test_there_must_be_a_linear_layer_at_the_end(layers):
    with pytest.raises(TypeError, match="^layers: expected a Dense with the activation 'linear' as the last"):
        nr.Network(layers, 1, "float64").fit_readout(X, np.ones((5, 2, 3)))
