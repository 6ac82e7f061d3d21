"""Step by step is the same as the whole sequence, to the bit."""

import numpy as np
import pytest
from checks import as_tuple, same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, random_case

import numbarnn as nr

UNLIKE = ("rnn-relu", "gru-after", "gru-before", "lstm", "lstm-projected")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", UNLIKE)
def test_a_layer_step_by_step(kind, dtype):
    @given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 3), st.sampled_from([1, 7, 33]), st.integers(1, 3))
    def check(steps, batch, channels, hidden, layers):
        case = random_case(KINDS[kind](hidden, layers=layers), steps, batch, channels, dtype=dtype)
        y, final = case.layer(case.parameters, case.x, case.state)
        stream = case.layer.stream(case.parameters, batch, case.state)
        assert same_bits(stream.state, case.state)
        assert same_bits(np.array([stream.step(x) for x in case.x]), y.copy())
        assert same_bits(as_tuple(stream.state), as_tuple(final))

    check()


def network(**fields):
    layers = [nr.GRU(5, layers=2), nr.Activation("tanh"), nr.LSTM(4), nr.Last(), nr.Dense(3)]
    return nr.Network(layers, channels=2, seed=0, **fields)


def test_a_network_step_by_step():
    net, x = network(), np.random.default_rng(0).standard_normal((6, 3, 2)).astype(np.float32)
    stream = net.stream(3)
    for t in range(6):
        assert same_bits(stream.step(x[t]), net.predict(x[: t + 1]).copy())


def test_the_state_can_be_set():
    net, x = network(), np.random.default_rng(0).standard_normal((6, 1, 2)).astype(np.float32)
    stream = net.stream()
    for t in range(3):
        stream.step(x[t])
    kept = stream.state
    first = [stream.step(x[t]) for t in range(3, 6)]
    stream.state = kept
    assert same_bits(np.array(first), np.array([stream.step(x[t]) for t in range(3, 6)]))
    other = net.stream()
    other.state = kept
    assert same_bits(other.step(x[3]), first[0])


def test_streams_do_not_share_a_state():
    layer = nr.LSTM(4)
    p, x = layer.init(2), np.ones((1, 2), np.float32)
    one, two = layer.stream(p), layer.stream(p)
    first = one.step(x)
    one.step(x)
    assert same_bits(two.step(x), first)


def test_the_parameters_are_those_of_the_start():
    layer = nr.GRU(4)
    p, x = layer.init(2, seed=0), np.ones((1, 2), np.float32)
    stream, other = layer.stream(p), layer.stream(p.copy())
    p.flat[:] = 0
    assert same_bits(stream.step(x), other.step(x))


def test_an_output_is_the_callers():
    layer = nr.GRU(4)
    stream, x = layer.stream(layer.init(2, seed=0)), np.ones((1, 2), np.float32)
    y = stream.step(x)
    kept = y.copy()
    y[:] = 0
    second = stream.step(x)
    assert not same_bits(second, kept) and (y == 0).all()


@pytest.mark.parametrize(
    "x, error", [(np.ones((2, 2), np.float32), nr.ShapeError), (np.ones((1, 2)), nr.DTypeError), ([[1, 2]], TypeError)]
)
def test_bad_input_leaves_the_state(x, error):
    layer = nr.LSTM(4)
    stream = layer.stream(layer.init(2))
    before = stream.state
    with pytest.raises(error, match="x: expected"):
        stream.step(x)
    assert same_bits(stream.state, before)


def test_bad_streams():
    layer = nr.GRU(3, bidirectional=True)
    with pytest.raises(ValueError, match="bidirectional"):
        layer.stream(layer.init(2))
    layer = nr.GRU(3)
    with pytest.raises(ValueError, match="batch"):
        layer.stream(layer.init(2), 0)
    with pytest.raises(nr.ShapeError, match="parameters"):
        layer.stream(nr.GRU(4).init(2))
    with pytest.raises(TypeError, match="parameters"):
        layer.stream(None)
    with pytest.raises(nr.ShapeError, match="state"):
        layer.stream(layer.init(2), 2, np.zeros((1, 1, 3), np.float32))
    with pytest.raises(TypeError, match="state"):
        network().stream().state = None
