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


@pytest.mark.parametrize("learned", [False, True])
def test_sequences_start_afresh(learned):
    layer = nr.LSTM(4, layers=2, learned_state=learned)
    p, x = layer.init(2, seed=0), np.random.default_rng(0).standard_normal((6, 3, 2)).astype(np.float32)
    for name in p.names[-4:]:
        p[name][...] = 0.5 if learned else p[name]
    stream = layer.stream(p, 3)
    before = stream.run(x[:4])
    stream.reset([False, True, False])
    found = stream.run(x[4:])
    assert same_bits(found[:, 1:2].copy(), layer(p, x[4:, 1:2])[0].copy())
    assert same_bits(np.concatenate([before, found])[:, ::2].copy(), layer(p, x[:, ::2])[0].copy())
    stream.reset()
    assert same_bits(stream.run(x), layer(p, x)[0].copy())


def test_a_networks_sequences_start_afresh():
    net, x = network(), np.random.default_rng(0).standard_normal((5, 2, 2)).astype(np.float32)
    stream, other = net.stream(2), net.stream(2)
    stream.run(x)
    stream.reset(np.array([1, 1]))
    assert same_bits(stream.run(x), other.run(x))


@pytest.mark.parametrize(
    "mask, error, message",
    [
        ([True], nr.ShapeError, r"mask: expected shape \(3,\) \(N,\), got \(1,\)"),
        ([0.0, 1.0, 0.0], nr.DTypeError, "mask: expected True and False"),
        ([0, 2, 0], nr.DTypeError, "mask: expected True and False"),
        (np.ma.array([True] * 3, mask=[0, 1, 0]), TypeError, "mask: .* got MaskedArray"),
    ],
)
def test_a_mask_that_does_not_fit_changes_nothing(mask, error, message):
    layer = nr.GRU(4)
    stream = layer.stream(layer.init(2), 3)
    stream.step(np.ones((3, 2), np.float32))
    before = stream.state
    with pytest.raises(error, match=message):
        stream.reset(mask)
    assert same_bits(stream.state, before)


@pytest.mark.parametrize("layer", [nr.GRU(4), nr.LSTM(4)])
def test_what_is_written_to_a_state_is_not_lost(layer):
    stream = layer.stream(layer.init(2), 2)
    for array in as_tuple(stream.state):
        with pytest.raises(ValueError, match="read-only"):
            array[:, 0] = 0
    state = tuple(array.copy() for array in as_tuple(stream.state))
    state[0][:, 1] = 0.25
    stream.state = state if len(state) > 1 else state[0]
    assert (as_tuple(stream.state)[0][:, 1] == 0.25).all()


@pytest.mark.parametrize("layer", [nr.LSTM(4, learned_state=True, peepholes=True), nr.GRU(4, normalized=True)])
def test_no_parameter_is_read_late(layer):
    p, x = layer.init(2, seed=0), np.ones((3, 1, 2), np.float32)
    p.flat[:] = np.random.default_rng(1).standard_normal(len(p)) / 3
    expected = layer(p, x)[0].copy()
    stream = layer.stream(p)
    p.flat[:] = np.nan
    assert same_bits(stream.run(x), expected)
    stream.reset()
    assert same_bits(stream.run(x), expected)
    stream.state = None
    assert same_bits(stream.run(x), expected)


def embedded():
    layers = [nr.Embedding(7, 3), nr.GRU(4, layers=2, residual=True), nr.Activation("tanh"), nr.Dropout(0.5), nr.Dense(3)]
    return nr.Network(layers, seed=0)


def by_steps(stream, x):
    """The outputs of one call of `step` after the other."""
    return np.array([stream.step(x_t) for x_t in x])


@pytest.mark.parametrize("most", [1, 3, 100])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("make", [network, embedded])
def test_a_sequence_in_one_call(make, batch, most, monkeypatch):
    net, random = make(), np.random.default_rng(0)
    x = random.standard_normal((8, batch, 2)).astype(np.float32)
    x = random.integers(0, 7, (8, batch), np.uint8) if net.takes_indices else x
    expected = by_steps(net.stream(batch), x)
    monkeypatch.setattr("numbarnn.cpu.programs.MOST_STEPS", most)
    stream = net.stream(batch)
    found = [stream.run(x[:0]), stream.run(x[:5]), stream.step(x[5])[None], stream.run(x[6:])]
    assert found[0].shape == (0, batch, 3)
    assert same_bits(np.concatenate(found), expected)
    stream.reset()
    assert same_bits(stream.run(x[:, ::-1][:, ::-1]), expected)
    assert same_bits(expected[-1], (net.predict(x)[-1] if make is embedded else net.predict(x)).copy())


@pytest.mark.parametrize("kind", UNLIKE)
def test_a_layers_sequence_in_one_call(kind, monkeypatch):
    case = random_case(KINDS[kind](9, layers=2), 7, 2, 3, dtype="float32")
    y, final = case.layer(case.parameters, case.x, case.state)
    for most in (3, 100):
        monkeypatch.setattr("numbarnn.cpu.programs.MOST_STEPS", most)
        stream = case.layer.stream(case.parameters, 2, case.state)
        assert same_bits(stream.run(case.x), y.copy())
        assert same_bits(as_tuple(stream.state), as_tuple(final))


def test_outputs_that_are_fed_back():
    layer, start = nr.GRU(3), np.ones((2, 3), np.float32)
    p = layer.init(3, seed=0)
    stream, y, expected = layer.stream(p, 2), start, []
    for _ in range(5):
        y = stream.step(y)
        expected.append(y)
    other = layer.stream(p, 2)
    assert same_bits(other.feed_back(start, 5), np.array(expected))
    assert same_bits(other.state, stream.state) and (start == 1).all()
    with pytest.raises(nr.DTypeError, match="x: expected float32"):
        other.feed_back(start.astype(float), 5)


@pytest.mark.parametrize(
    "make, x, error, message",
    [
        (network, np.ones((2, 2), np.float32), nr.ShapeError, r"x: expected shape \('T', 1, 2\) \(T, N, C\), got \(2, 2\)"),
        (network, np.ones((2, 1, 2)), nr.DTypeError, "x: expected float32 like the parameters, got float64"),
        (network, [[[1, 2]]], TypeError, "x: expected a numpy.ndarray"),
        (embedded, np.array([[1], [7]]), nr.IndexRangeError, "x: expected indices from 0 to 6, got 7"),
        (embedded, np.array([[1], [-1]]), nr.IndexRangeError, "x: expected indices from 0 to 6, got -1"),
        (embedded, np.array([[[1]]]), nr.ShapeError, r"x: expected shape \('T', 1\) \(T, N\), got \(1, 1, 1\)"),
        (embedded, np.ones((2, 1)), nr.DTypeError, "x: expected integers"),
    ],
)
def test_a_bad_sequence_leaves_the_state(make, x, error, message):
    stream = make().stream()
    before = stream.state
    with pytest.raises(error, match=message):
        stream.run(x)
    assert same_bits(as_tuple(stream.state[0]), as_tuple(before[0]))


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i4", "int64", "uint64"])
@pytest.mark.parametrize("batch", [1, 3, 65])
def test_a_step_of_indices(batch, dtype):
    x = np.random.default_rng(0).integers(0, 7, (3, batch)).astype(dtype)
    stream = embedded().stream(batch)
    expected = stream.run(x)
    stream.reset()
    assert same_bits(np.array([stream.step(x_t) for x_t in x]), expected)


@pytest.mark.parametrize("batch", [1, 65])
@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda x: x + 7, nr.IndexRangeError, "x: expected indices from 0 to 6, got 7"),
        (lambda x: x - 1, nr.IndexRangeError, "x: expected indices from 0 to 6, got -1"),
        (lambda x: x.astype(np.uint64) - np.uint64(1), nr.IndexRangeError, "x: expected indices from 0 to 6, got 18446744"),
        (lambda x: x.astype(np.float32), nr.DTypeError, "x: expected integers"),
        (lambda x: x == 1, nr.DTypeError, "x: expected integers"),
        (lambda x: x[:, None], nr.ShapeError, "x: expected shape"),
        (lambda x: np.ma.array(x), TypeError, "x: expected a numpy.ndarray of integers, got MaskedArray"),
        (lambda x: x.tolist(), TypeError, "x: expected a numpy.ndarray of integers, got list"),
    ],
)
def test_a_bad_step_of_indices_leaves_the_state(change, batch, error, message):
    stream, x = embedded().stream(batch), np.zeros(batch, np.int64)
    stream.step(x)
    before = stream.state
    with pytest.raises(error, match=message):
        stream.step(change(x))
    assert same_bits(stream.state[0], before[0])


def test_bad_streams():
    layer = nr.GRU(3, bidirectional=True)
    with pytest.raises(ValueError, match="bidirectional"):
        layer.stream(layer.init(2))
    layer = nr.GRU(3)
    with pytest.raises(ValueError, match="batch"):
        layer.stream(layer.init(2), 0)
    with pytest.raises(nr.ShapeError, match="p: "):
        layer.stream(nr.GRU(4).init(2))
    with pytest.raises(TypeError, match="p: "):
        layer.stream(None)
    with pytest.raises(nr.ShapeError, match="state"):
        layer.stream(layer.init(2), 2, np.zeros((1, 1, 3), np.float32))
    with pytest.raises(TypeError, match="state"):
        network().stream().state = None
