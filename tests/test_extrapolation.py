"""Networks that go on from their own predictions."""

import numpy as np
import pytest
from checks import same_bits

import numbarnn as nr


def network(layout="tnc", last=True, dtype="float64", **other):
    layers = [nr.GRU(4), nr.LSTM(3), *([nr.Last()] if last else []), nr.Dense(2)]
    return nr.Network(layers, channels=2, layout=layout, dtype=dtype, seed=0, **other)


def one_of_two(channels=2, **other):
    """A network that predicts the first channel of its input."""
    layers = [nr.LSTM(4, layers=2), nr.GRU(3, normalized=True), nr.Last(), nr.Dense(3, "tanh"), nr.Dense(1)]
    return nr.Network(layers, channels=channels, **{"dtype": "float64", "seed": 0} | other)


def start(dtype="float64"):
    return np.random.default_rng(0).standard_normal((5, 3, 2)).astype(dtype)


@pytest.mark.parametrize("last", [True, False])
def test_windows(last):
    net, series = network(last=last), start()
    found = nr.extrapolate(net, series, 4)
    for expected in found:
        predicted = net.predict(series[-5:].copy())
        assert same_bits((predicted if last else predicted[-1]).copy(), expected.copy())
        series = np.concatenate([series, expected[None]])


@pytest.mark.parametrize("last", [True, False])
def test_the_state_goes_on(last):
    net, series = network(last=last), start()
    found = nr.extrapolate(net, series, 4, stateful=True)
    for expected in found:
        predicted = net.predict(series)  # of all that came before
        assert same_bits((predicted if last else predicted[-1]).copy(), expected.copy())
        series = np.concatenate([series, expected[None]])


@pytest.mark.parametrize("stateful", [True, False])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("layout", ["ntc", "cnt"])
def test_layouts(layout, last, stateful):
    expected = nr.extrapolate(network(last=last), start(), 3, stateful)
    order = ["tnc".index(letter) for letter in layout]
    found = nr.extrapolate(network(layout, last), start().transpose(order), 3, stateful)
    assert np.array_equal(found, expected.transpose(order))
    one = nr.extrapolate(network(layout, last), start()[:, 1].transpose([o // 2 for o in order if o != 1]), 3, stateful)
    assert np.array_equal(one, expected[:, 1].transpose([o // 2 for o in order if o != 1]))


def test_what_was_there_is_not_changed():
    net, series = network(dtype="float32"), start("float32")
    before, flat = series.copy(), net.params.flat.copy()
    assert nr.extrapolate(net, series, 7).dtype == np.float32
    assert same_bits(series, before) and same_bits(net.params.flat, flat)


def test_a_stream_runs_and_feeds_back():
    net, x = network(), start()
    stream, other = net.stream(3), net.stream(3)
    assert same_bits(stream.run(x), np.array([other.step(x_t) for x_t in x]))
    y = stream.feed_back(x[0], 3)
    expected = [other.step(x[0])]
    for _ in range(2):
        expected.append(other.step(expected[-1]))
    assert same_bits(y, np.array(expected))
    assert stream.run(x[:0]).shape == (0, 3, 2)
    layer = nr.GRU(2)
    assert layer.stream(layer.init(2, dtype="float64"), 3).feed_back(x[0], 4).shape == (4, 3, 2)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda n, x: nr.extrapolate(nr.GRU(2), x, 1), TypeError, "network: expected a Network, got GRU"),
        (lambda n, x: nr.extrapolate(n, x, 0), ValueError, "steps: expected a positive integer, got 0"),
        (lambda n, x: nr.extrapolate(n, x, 1, 1), TypeError, "stateful: expected True or False, got 1"),
        (lambda n, x: nr.extrapolate(n, x[:, :, :1], 1), nr.ShapeError, "start: expected 2 channels, got 1"),
        (lambda n, x: nr.extrapolate(n, x[:0], 1), nr.ShapeError, "start: expected at least one step"),
        (lambda n, x: nr.extrapolate(n, x * np.nan, 0), ValueError, "steps"),
        (
            lambda n, x: nr.extrapolate(nr.Network([nr.GRU(3), nr.Last()], 2, "float64"), x, 1),
            nr.ShapeError,
            "network: expected as many output channels as input channels, 2, to feed predictions back, got 3",
        ),
        (
            lambda n, x: nr.extrapolate(nr.Network([nr.GRU(1, bidirectional=True)], 2, "float64"), x, 1, True),
            ValueError,
            "is bidirectional and needs the whole sequence",
        ),
        (
            lambda n, x: nr.extrapolate(nr.Network([nr.GRU(1)], 2, "float64"), x, 1),
            nr.ShapeError,
            "got 1; known= has those that it does not predict",
        ),
        (
            lambda n, x: nr.extrapolate(n, x, 1, known=x[:1]),
            nr.ShapeError,
            "network: expected fewer output channels than the 2 of its input, of which known= has the others, got 2",
        ),
        (
            lambda n, x: nr.extrapolate(nr.Network([nr.GRU(3)], 2, "float64"), x, 1, True, x[:1]),
            nr.ShapeError,
            "network: expected fewer output channels than the 2 of its input, of which known= has the others, got 3",
        ),
        (
            lambda n, x: n.stream(3).feed_back(x[0], 2, x[:2]),
            nr.ShapeError,
            r"known: expected None, since outputs of shape \(3, 2\) leave no channels of inputs of shape \(3, 2\), got",
        ),
        (
            lambda n, x: one_of_two().stream(3).feed_back(x[0], 2, x[:2]),
            nr.ShapeError,
            r"known: expected shape \(2, 3, 1\) \(T, N, channels that are not fed back\), got \(2, 3, 2\)",
        ),
        (
            lambda n, x: one_of_two().stream(3).feed_back(x[0], 2, x[:2, :, :1].astype("f")),
            nr.DTypeError,
            "known: expected float64 like the parameters, got float32",
        ),
        (
            lambda n, x: one_of_two().stream(3).feed_back(x[0], 2, [1.0]),
            TypeError,
            "known: expected a numpy.ndarray, got list",
        ),
        (
            lambda n, x: one_of_two().stream(3).feed_back(x[0, :2], 2, x[:2, :, :1]),
            nr.ShapeError,
            r"x: expected shape \(3, 2\)",
        ),
        (lambda n, x: n.stream().feed_back(x[0], 2), nr.ShapeError, r"x: expected shape \(1, 2\)"),
        (lambda n, x: n.stream(3).run(x[0]), nr.ShapeError, r"x: expected shape \('T', 3, 2\) \(T, N, C\), got \(3, 2\)"),
        (
            lambda n, x: nr.Network([nr.GRU(3)], 2, "float64").stream(3).feed_back(x[0], 2),
            nr.ShapeError,
            r"feed_back: expected outputs of shape \(3, 2\) like the inputs, got \(3, 3\)$",
        ),
        (
            lambda n, x: one_of_two().stream(3).feed_back(x[0], 2),
            nr.ShapeError,
            r"feed_back: .* like the inputs, got \(3, 1\); known= gives the channels that they lack$",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(network(), start())


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
@pytest.mark.parametrize("stateful", [True, False])
def test_known_channels_stand_beside_each_prediction(stateful, layout):
    net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=2, layout=layout, dtype="float64", seed=0)
    order = ["tnc".index(letter) for letter in layout]
    series, known = start(), np.random.default_rng(1).standard_normal((4, 3, 1))
    found = nr.extrapolate(net, series.transpose(order), 4, stateful, known.transpose(order)).transpose(order)
    for expected, beside in zip(found, known):
        seen = series if stateful else series[-5:]
        assert np.allclose(net.predict(seen.transpose(order).copy()), expected, rtol=1e-12, atol=0)
        series = np.concatenate([series, np.concatenate([expected, beside], axis=1)[None]])
    with pytest.raises(nr.ShapeError, match="known: expected 3 steps of 3 sequences and 1 channels"):
        nr.extrapolate(net, start().transpose(order), 3, stateful, known.transpose(order))
    with pytest.raises(nr.ShapeError, match=r"known: expected 3 axes \(.*\) like start"):
        nr.extrapolate(net, start().transpose(order), 4, stateful, known[:, 0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch, steps", [(1, 1), (1, 2), (1, 9), (5, 4)])
def test_a_stream_feeds_back_beside_what_is_known(batch, steps, dtype):
    random = np.random.default_rng(0)
    x, known = (random.standard_normal((count, batch, c)).astype(dtype) for count, c in ((4, 3), (steps, 2)))
    net = one_of_two(3, dtype=dtype)
    stream, other = net.stream(batch), net.stream(batch)
    for each in (stream, other):
        each.run(x[:3])
    before = known.copy()
    found = stream.feed_back(x[3], steps, known.transpose(2, 1, 0).copy().transpose(2, 1, 0))
    expected = [other.step(x[3])]
    for beside in known[:-1]:
        expected.append(other.step(np.concatenate([expected[-1], beside], axis=1)))
    assert same_bits(found, np.array(expected)) and same_bits(known, before)
    assert same_bits(stream.run(x), other.run(x))  # the state has gone on, and the stream is as good as before
    assert same_bits(stream.feed_back(x[0], steps, known)[0], other.step(x[0]))


def test_what_is_known_after_the_last_step_is_not_read():
    x, known = start(), start()[:4, :, :1].copy()
    expected = nr.extrapolate(one_of_two(), x, 4, True, known)
    known[-1] = np.nan
    assert same_bits(nr.extrapolate(one_of_two(), x, 4, True, known), expected)
