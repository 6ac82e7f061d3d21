"""Network: prediction, gradients of the whole, training, errors."""

import functools

import numpy as np
import pytest
from scipy.optimize import minimize

import numbarnn as nr


def small_network(dtype="float64", seed=0, layout="tnc", last=True):
    layers = [nr.GRU(5, bidirectional=True), nr.LSTM(4), nr.Activation("tanh"), nr.Dense(3, "tanh")]
    return nr.Network([*layers, *([nr.Last()] if last else []), nr.Dense(2)], 3, dtype, layout, seed=seed)


def small_data(layout="tnc", last=True, dtype="float64", samples=7):
    random = np.random.default_rng(1)
    x = random.standard_normal((4, samples, 3)).astype(dtype)
    y = random.standard_normal((samples, 2) if last else (4, samples, 2)).astype(dtype)
    order = ["tnc".index(letter) for letter in layout]
    return x.transpose(order), (y if last else y.transpose(order))


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("layout", ["tnc", "ntc", "cnt"])
def test_gradient_of_the_whole_network_is_the_slope_of_the_loss(layout, last):
    network = small_network(layout=layout, last=last)
    x, y = small_data(layout, last)
    if last:
        y = y.transpose() if layout == "cnt" else y
    flat, direction = network.params.flat.copy(), np.random.default_rng(2).standard_normal(len(network.params))
    direction /= np.linalg.norm(direction)
    before = network.params.flat.copy()
    for loss in ("mse", "quadratic", "huber"):
        _, gradient = network.loss_and_gradient(flat, x, y, loss)
        step = 1e-6
        up, _ = network.loss_and_gradient(flat + step * direction, x, y, loss)
        down, _ = network.loss_and_gradient(flat - step * direction, x, y, loss)
        # central differences of a loss of order 1: rounding 1e-16 / 1e-6, truncation 1e-12
        assert abs((up - down) / (2 * step) - gradient @ direction) < 1e-8 * (1 + np.linalg.norm(gradient))
    assert np.array_equal(network.params.flat, before)


def test_layers_after_a_gradient_have_the_same_parameters_as_the_vector():
    network = small_network()
    network.params.flat[:] = np.arange(len(network.params)) * 1e-3
    x, _ = small_data()
    before = network.predict(x)
    network.params["5.bias"][...] += 1
    assert np.allclose(network.predict(x), before + 1, rtol=0, atol=1e-12)


def test_prediction_takes_any_batch_and_any_number_of_steps():
    network = small_network()
    x, _ = small_data()
    whole = network.predict(x)
    for n in range(x.shape[1]):
        assert np.array_equal(network.predict(x[:, n : n + 1])[0], whole[n])
        assert np.array_equal(network.predict(x[:, n]), whole[n])
    assert network.predict(np.concatenate([x, x])).shape == (7, 2)


def test_layouts_agree_bitwise():
    results = []
    for layout in ("tnc", "ntc", "cnt", "ctn", "nct", "tcn"):
        network = small_network(layout=layout, last=False)
        x, y = small_data(layout, last=False)
        value, gradient = network.loss_and_gradient(network.params.flat, x, y)
        results.append((value, gradient))
    for value, gradient in results[1:]:
        assert np.array_equal(gradient, results[0][1])
        assert value == pytest.approx(results[0][0], rel=1e-14)  # the mean is summed in the layout's order


def test_results_do_not_change_when_asked_again():
    network = small_network("float32")
    x, _ = small_data(dtype="float32")
    first = network.predict(x)
    kept = first.copy()
    second = network.predict(-x)
    assert np.array_equal(first, kept) and not np.shares_memory(first, second)


def test_lbfgs_fits_a_network():
    network = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, dtype="float64")
    x, y = nr.windows(np.sin(np.arange(60) / 3), 5)
    before = network.loss(x, y)
    found = minimize(
        network.loss_and_gradient, network.params.flat, args=(x, y), jac=True, method="L-BFGS-B", options={"maxiter": 60}
    )
    network.params.flat[:] = found.x
    assert network.loss(x, y) == pytest.approx(found.fun, rel=1e-12)
    assert found.fun < 1e-3 * before


def test_fit_trains_every_sample_of_a_smaller_last_batch():
    seen = []

    def loss(prediction, target):
        seen.append(target[:, 0].copy())
        return nr.loss("mse")(prediction, target)

    network = nr.Network([nr.RNN(2), nr.Last(), nr.Dense(1)], channels=1, dtype="float64")
    x, y = nr.windows(np.arange(15.0) / 15, 4)
    history = network.fit(x, y, loss=loss, epochs=2, batch_size=4, progress=False)
    assert [len(batch) for batch in seen] == [4, 4, 3, 4, 4, 3]
    for epoch in (seen[:3], seen[3:]):
        assert np.array_equal(np.sort(np.concatenate(epoch)), y[:, 0])
    assert not np.array_equal(np.concatenate(seen[:3]), np.concatenate(seen[3:]))
    assert len(history.loss) == len(history.seconds) == len(history.rate) == 2


def test_the_same_seed_trains_the_same_network_bitwise():
    x, y = nr.windows(np.sin(np.arange(80, dtype=np.float32) / 3), 6)
    vectors = []
    for seed in (3, 3, 4):
        network = nr.Network([nr.GRU(9), nr.Last(), nr.Dense(1)], channels=1, seed=3)
        network.fit(x, y, epochs=3, seed=seed, progress=False)
        vectors.append(network.params.flat)
    assert np.array_equal(vectors[0], vectors[1]) and not np.array_equal(vectors[0], vectors[2])


def test_clipping_bounds_the_step():
    x, y = nr.windows(100 * np.sin(np.arange(30.0)), 3)
    network = nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64")
    before = network.params.flat.copy()
    network.fit(x, y, optimizer=nr.SGD(1.0), epochs=1, batch_size=100, clip=0.25, progress=False)
    assert np.linalg.norm(network.params.flat - before) == pytest.approx(0.25, rel=1e-12)


def test_validation_and_callbacks():
    x, y = nr.windows(np.sin(np.arange(40.0)), 3)
    network = nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, dtype="float64")
    calls = []

    def stop_after_three(net, history):
        calls.append((net, len(history.loss)))
        return len(history.loss) == 3

    history = network.fit(
        x, y, epochs=9, validation=(x[:, :5], y[:5]), callbacks=[stop_after_three], progress=False
    )  # fmt: skip
    assert calls == [(network, 1), (network, 2), (network, 3)]
    assert all(type(value) is float for value in (*history.loss, *history.validation, *history.rate))
    assert len(history.validation) == 3
    assert history.validation[-1] == network.loss(x[:, :5], y[:5])
    assert "3 epochs" in repr(history)


@pytest.mark.parametrize("rate", [1e30, 1e200])
def test_a_training_that_diverges_stops_with_the_last_finite_parameters(rate):
    x, y = nr.windows(np.sin(np.arange(40.0)), 3)
    network = nr.Network([nr.RNN(3, "identity"), nr.Last(), nr.Dense(1)], channels=1, dtype="float64")
    with pytest.raises(nr.NonFiniteError, match=r"at epoch \d+, batch \d+; the network has the last finite parameters"):
        network.fit(x, y, optimizer=nr.SGD(rate), epochs=20, batch_size=8, progress=False)
    assert np.isfinite(network.params.flat).all()


def test_transfer_and_summary():
    source, target = small_network(seed=1), small_network(seed=2)
    x, _ = small_data()
    assert target.transfer(source) is target
    assert np.array_equal(source.predict(x), target.predict(x))
    rounded = small_network("float32").transfer(source)
    assert np.allclose(rounded.predict(x.astype(np.float32)), source.predict(x), rtol=0, atol=1e-5)
    text = source.summary()
    assert f"{len(source.params):,}" in text and "GRU(hidden=5" in text and "(T, N, 10)" in text


X, Y = (np.zeros((4, 7, 3)), np.zeros((7, 2)))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda n: n.predict(X[:, :, :2]), nr.ShapeError, "x: expected 3 channels, got 2"),
        (lambda n: n.predict(X[0, 0]), nr.ShapeError, r"x: expected 2 or 3 axes"),
        (lambda n: n.loss(X[:0], Y), nr.ShapeError, "x: expected at least one step"),
        (lambda n: n.fit(X[:, :0], Y[:0], progress=False), nr.ShapeError, "x: expected at least one se"),
        (lambda n: n.loss(X, Y[:6]), nr.ShapeError, "y: expected 7 samples like x, got 6"),
        (lambda n: n.loss(X, Y[:, :1]), nr.ShapeError, "y: expected 2 channels"),
        (lambda n: n.loss(X, Y, "msee"), nr.UnknownNameError, "loss: unknown name 'msee'.*did you mean 'mse'"),
        (lambda n: n.fit(X, Y, optimizer="adm"), nr.UnknownNameError, "optimizer: unknown name 'adm'.*did you mean 'adam'"),
        (lambda n: n.fit(X, Y, epochs=0), ValueError, "epochs: expected a positive integer, got 0"),
        (lambda n: n.fit(X, Y, batch_size=1.5), TypeError, "batch_size: expected a positive integer, got 1.5"),
        (lambda n: n.fit(X, Y, clip=-1), ValueError, "clip: expected a number >= 0, got -1"),
        (lambda n: n.fit(X, Y, validation=X), TypeError, "validation: expected the pair"),
        (lambda n: n.loss_and_gradient(n.params.flat[1:], X, Y), nr.ShapeError, "flat: expected a contiguous vector of"),
        (lambda n: n.loss_and_gradient(n.params.flat * np.nan, X, Y), nr.NonFiniteError, "parameter '0.weight_ih_l0'"),
        (lambda n: n.transfer(nr.Network([nr.Dense(2)], 3)), nr.ShapeError, "source: expected 0.weight_ih_l0"),
        (lambda n: nr.Network([], 3), ValueError, "layers: expected at least one layer"),
        (lambda n: nr.Network(["GRU"], 3), TypeError, "layers: expected layers of numbarnn, got 'GRU'"),
        (lambda n: nr.Network([nr.Dense(2)], 0), ValueError, "channels: expected a positive integer, got 0"),
        (lambda n: nr.Network([nr.Dense(2)], 3, layout="nc"), nr.LayoutError, "layout: expected the letters t, n, c"),
        (lambda n: nr.Network([nr.Dense(2)], 3, device="tpu"), nr.DeviceError, "expected 'cpu' or 'cuda', got 'tpu'"),
        (lambda n: nr.Network([nr.Dense(2)], 3, scheme="gloro"), nr.UnknownNameError, "did you mean 'glorot'"),
        (lambda n: nr.Dense(0), ValueError, "units: expected a positive integer, got 0"),
        (lambda n: nr.Dense(2, "rellu"), nr.UnknownNameError, "activation: unknown name 'rellu'.*did you mean 'relu'"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(call, error, message):
    network = small_network()
    before = network.params.flat.copy()
    with pytest.raises(error, match=message):
        call(network)
    assert np.array_equal(network.params.flat, before)


def test_parameters_that_are_not_finite_are_refused():
    network = small_network()
    network.params["1.bias_hh_l0"][3] = np.inf
    with pytest.raises(nr.NonFiniteError, match=r"parameter '1.bias_hh_l0': expected finite numbers, got inf at \(3,\)"):
        network.predict(X)


@pytest.mark.parametrize(
    "result, error, message",
    [
        (lambda p: 1.0, TypeError, r"loss: expected a pair \(loss, gradient\), got float"),
        (lambda p: (1.0, p, p), TypeError, r"loss: expected a pair \(loss, gradient\), got 3 of them"),
        (lambda p: (p, p), TypeError, r"loss: expected a real number and its gradient, got ndarray of shape \(5, 1\)"),
        (lambda p: (1j, p), TypeError, "loss: expected a real number and its gradient, got complex"),
        (lambda p: (None, p), TypeError, "loss: expected a real number and its gradient, got NoneType"),
        (lambda p: (1.0, p.T), nr.ShapeError, r"loss: expected a gradient of shape \(5, 1\), got \(1, 5\)"),
        (lambda p: (1.0, p.tolist()), nr.DTypeError, "loss: expected a gradient of float32 like the prediction, got list"),
        (lambda p: (1.0, np.ma.array(p, mask=True)), TypeError, "loss: expected a gradient .* got MaskedArray"),
        (lambda p: (1.0, p.astype(float)), nr.DTypeError, "loss: expected a gradient of float32 .* got float64"),
    ],
)
def test_what_a_loss_returns_is_checked(result, error, message):
    net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    before, x, y = net.params.flat.copy(), np.zeros((4, 5, 1), np.float32), np.zeros((5, 1), np.float32)
    for call in (functools.partial(net.fit, progress=False), net.loss):
        with pytest.raises(error, match=message):
            call(x, y, loss=lambda prediction, target: result(prediction))
    assert (net.params.flat == before).all()


def test_a_loss_must_return_a_gradient_of_the_predictions_shape():
    net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    before, x, y = net.params.flat.copy(), np.zeros((4, 5, 1), np.float32), np.zeros((5, 1), np.float32)
    with pytest.raises(nr.ShapeError, match=r"loss: expected a gradient of shape \(5, 1\), got \(\)"):
        net.fit(x, y, loss=lambda prediction, target: (0.0, 1.0), progress=False)
    assert (net.params.flat == before).all()
