"""Pooling over the steps of sequences: values, gradients, lengths, and networks with it."""

import numpy as np
import pytest
from checks import check_pool

import numbarnn as nr

T, N, C = 6, 4, 3
LENGTHS = np.array([6, 0, 3, 5])
RESET = np.random.default_rng(3).random((T, N)) < 0.4
STEPS = ((0, 6), None, (0, 3), (0, 5))
KINDS = ("mean", "max")


def numbers(shape=(T, N, C), seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def expected(kind, x, lengths):
    """The slow way."""
    found = np.zeros(x.shape[1:])
    for n, length in enumerate(lengths):
        if length:
            found[n] = x[:length, n].mean(axis=0) if kind == "mean" else x[:length, n].max(axis=0)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["tnc", "ntc", "cnt"])
def test_values_in_every_layout(kind, layout):
    layer, x = nr.Pool(kind), numbers()
    order = ["tnc".index(letter) for letter in layout]
    given = x.transpose(order)
    y = layer(layer.init(C, dtype="float64"), given, layout=layout)
    y = y.T if layout == "cnt" else y
    np.testing.assert_allclose(y, expected(kind, x, [T] * N), rtol=1e-14)
    y = layer(layer.init(C), given, layout=layout, lengths=LENGTHS)
    y = y.T if layout == "cnt" else y
    np.testing.assert_allclose(y, expected(kind, x, LENGTHS), rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_backward_gives_the_slopes(kind, ragged, lengths):
    check_pool(nr.Pool(kind), numbers(), lengths, ragged)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_not_read_and_a_sequence_has_the_bits_it_has_alone(kind):
    layer, x = nr.Pool(kind), numbers(seed=5).astype(np.float32)
    p = layer.init(C)
    for n, length in enumerate(LENGTHS):
        x[length:, n] = np.nan
    y, tape = layer.forward(p, x, lengths=LENGTHS)
    assert np.isfinite(y).all() and np.isfinite(layer.backward(tape, y).x).all()
    for n, length in enumerate(LENGTHS):
        if length:
            assert np.array_equal(layer(p, x[:length, n : n + 1])[0], y[n])
            assert np.array_equal(layer(p, x[:length, n : n + 1, :1])[0], y[n, :1])
    x[1, 0, 0] = np.nan
    assert np.isnan(layer(p, x, lengths=LENGTHS)[0, 0])


def test_the_first_of_equal_steps_has_the_derivative():
    layer = nr.Pool("max")
    y, tape = layer.forward(layer.init(1), np.ones((3, 2, 1), np.float32))
    assert layer.backward(tape, np.ones_like(y)).x[:, :, 0].tolist() == [[1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_networks_with_it(kind):
    net = nr.Network([nr.GRU(4, bidirectional=True), nr.Pool(kind), nr.Dropout(0.2), nr.Dense(2)], C, "float64", seed=1)
    x, y = numbers(), np.array([0, 1, 1, 0])
    assert net.output_layout == "nc" and "(N, 8)" in net.summary()
    pooled = expected(kind, net.layers[0](net.split(net.params.flat)[0], x, lengths=LENGTHS)[0], LENGTHS)
    np.testing.assert_allclose(
        net.predict(x, LENGTHS), pooled @ net.params["3.weight"].T + net.params["3.bias"], rtol=0, atol=1e-13
    )
    plain, cut = net(x, lengths=LENGTHS)[0], net(x, lengths=LENGTHS, reset=RESET)[0]
    assert plain.shape == cut.shape and not np.array_equal(plain, cut)
    for lengths in (None, LENGTHS):
        flat, along = net.params.flat.copy(), numbers(len(net.params), 4)
        _, gradient = net.loss_and_gradient(flat, x, y, "cross_entropy", lengths)
        up, down = (net.loss_and_gradient(flat + s * 1e-6 * along, x, y, "cross_entropy", lengths)[0] for s in (1, -1))
        assert abs((up - down) / 2e-6 - gradient @ along) < 1e-8 * (1 + abs(gradient @ along))
        history = net.fit(x, y, "cross_entropy", nr.Adam(0.02), epochs=6, batch_size=2, lengths=lengths, progress=False)
        assert history.loss[-1] < history.loss[0]


def test_a_layer_per_step_is_the_layer():
    layers = nr.Dense(3, "relu"), nr.GRU(2)
    told, plain = (nr.Network(list(each), C, seed=1) for each in ((nr.PerStep(layers[0]), layers[1]), layers))
    x = numbers().astype(np.float32)
    np.testing.assert_array_equal(told.predict(x), plain.predict(x))
    assert nr.PerStep(layers[0]) is layers[0]
    for wrong in (nr.GRU(2), nr.LSTM(2, bidirectional=True), nr.Last(), nr.LastStep(), nr.Pool("max")):
        with pytest.raises(ValueError, match="^layer: expected a layer of numbarnn that takes each step by itself"):
            nr.PerStep(wrong)
    for wrong in (None, nr.Dense, [nr.Dense(1)], "Dense"):
        with pytest.raises(TypeError, match="^layer: expected a layer of numbarnn"):
            nr.PerStep(wrong)


def test_errors():
    with pytest.raises(nr.UnknownNameError, match="kind"):
        nr.Pool("sum")
    with pytest.raises(ValueError, match="layers: expected none that needs the steps"):
        nr.Network([nr.Pool("max"), nr.GRU(2)], channels=1)
    with pytest.raises(ValueError, match="steps: .*whole sequence"):
        nr.Network([nr.GRU(2), nr.Pool("max")], channels=1).stream()
    layer = nr.Pool("mean")
    with pytest.raises(nr.LayoutError, match="layout"):
        layer(layer.init(2), np.ones((3, 2), np.float32), layout="nc")
