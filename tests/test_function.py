"""A network as a function: what it returns, and its gradients for parameters, inputs and states."""

import numpy as np
import pytest
from checks import check_function, flat_of

import numbarnn as nr

T, N, C = 5, 3, 2
LENGTHS = np.array([5, 0, 3])
RESET = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
STATES = ((2, N, 3), ((1, N, 2), (1, N, 2)))


def make(last=False, layout="tnc", embedding=False, middle=(), dtype="float64"):
    first = [nr.Embedding(7, C)] if embedding else []
    merged = [nr.GRU(3, bidirectional=True, merge="sum")]
    layers = [*first, *merged, *middle, nr.LSTM(2), *([nr.Last()] if last else []), nr.Dense(2, "tanh")]
    return nr.Network(layers, None if embedding else C, dtype, layout, seed=1)


def numbers(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def start(seed=3):
    return tuple(tuple(numbers(part, seed) for part in s) if isinstance(s[0], tuple) else numbers(s, seed) for s in STATES)


def inputs(kind, layout="tnc"):
    """(x, the other arguments) of a call."""
    x = numbers((T, N, C)).transpose(["tnc".index(letter) for letter in layout])
    if kind == "indices":
        return np.random.default_rng(1).integers(0, 7, (T, N)), {"lengths": LENGTHS, "reset": RESET}
    if kind == "ragged":
        return nr.Ragged(numbers((8, C)), [0, 5, 5, 8]), {}
    return x, {"plain": {}, "lengths": {"lengths": LENGTHS}, "reset": {"lengths": LENGTHS, "reset": RESET}}[kind]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", ["plain", "lengths", "reset", "ragged"])
def test_backward_gives_the_slopes(kind, last):
    found = check_function(make(last), *inputs(kind), start())
    if kind in ("lengths", "reset"):
        assert not found.x[:, 1].any() and not found.x[3:, 2].any()


@pytest.mark.parametrize("layout", ["ntc", "cnt"])
def test_backward_in_other_layouts(layout):
    net = make(layout=layout)
    found = check_function(net, *inputs("plain", layout), start())
    assert found.x.shape == inputs("plain", layout)[0].shape


def test_backward_after_an_embedding_and_with_dropout():
    net = make(embedding=True, middle=[nr.Dropout(0.4)], last=True)
    x, options = inputs("indices")
    check_function(net, x, options | {"seed": 11}, start())
    assert not np.array_equal(net(x, seed=1)[0], net(x, seed=2)[0])
    assert np.array_equal(net(x, seed=1)[0], net.predict(x, seed=1))


def test_layers_one_by_one_give_the_same_bits():
    net, (x, options), state = make(), inputs("reset"), start()
    y, final, tape = net.forward(x, state, **options)
    own, stateful = net.split(net.params.flat), iter(state)
    layers, tapes, expected, at = net.layers, [], [], x
    for layer, p in zip(layers, own):
        if isinstance(layer, nr.Recurrent):
            at, last, t = layer.forward(p, at, next(stateful), **options)
            expected.append(last)
        else:
            at, t = layer.forward(p, at, lengths=LENGTHS)
        tapes.append(t)
    rest = np.arange(T)[:, None] < LENGTHS
    assert np.array_equal(y[rest], at[rest])
    assert all(map(np.array_equal, flat_of(final), flat_of(expected)))
    g = net.backward(tape, np.ones_like(y))
    assert [p.shape for p in flat_of(g.state)] == [p.shape for p in flat_of(state)]


def test_one_sequence_and_the_device_of_x():
    net = make(last=True)
    x = numbers((T, C))
    y, state, tape = net.forward(x)
    assert y.shape == (2,) and np.array_equal(y, net(x[:, None])[0][0])
    g = net.backward(tape, np.ones(2))
    assert g.x.shape == x.shape


def test_a_network_whose_states_are_carried_goes_on():
    net, x = nr.Network([nr.GRU(3), nr.LSTM(2), nr.Dense(1)], C, "float64"), numbers((T, N, C))
    y, state = net(x[:3])
    rest, end = net(x[3:], state)
    whole, final = net(x)
    assert np.array_equal(np.concatenate([y, rest]), whole)
    assert all(map(np.array_equal, flat_of(end), flat_of(final)))
    stream = net.stream(N)
    stream.state = state
    assert np.allclose(stream.run(x[3:]), rest, rtol=0, atol=1e-14)
    assert np.array_equal(net(x, (None, state[1]))[1][0], final[0])


def test_derivatives_are_overwritten_or_added_and_may_be_left_out():
    net, (x, _) = make(), inputs("plain")
    y, _, tape = net.forward(x)
    dy = numbers(y.shape)
    expected = net.backward(tape, dy).params.flat
    into = net.params.zeros()
    into.flat[:] = 7
    assert net.backward(tape, dy, into=into).params is into and np.array_equal(into.flat, expected)
    net.backward(tape, dy, into=into, accumulate=True)
    assert np.allclose(into.flat, 2 * expected, rtol=1e-14)
    assert net.backward(tape, dy, need_x=False).x is None
    nothing = net.backward(tape, None, into=into)
    assert not into.flat.any() and not nothing.x.any() and not any(map(np.any, flat_of(nothing.state)))
    only_state = net.backward(tape, None, (None, tuple(numbers((1, N, 2), k) for k in (1, 2))))
    assert only_state.x.any() and not only_state.params["2.weight"].any()


def test_layers_without_a_state():
    net = nr.Network([nr.Dropout(0.5), nr.Activation("linear")], C, "float64")
    x = numbers((T, N, C))
    y, state, tape = net.forward(x)
    assert state == () and np.array_equal(y, x) and not np.shares_memory(net(x)[0], x)
    dy = np.ones_like(y)
    g = net.backward(tape, dy)
    assert g.state == () and np.array_equal(g.x, dy) and not np.shares_memory(g.x, dy)
    assert np.array_equal(net.backward(tape, None).x, np.zeros_like(x))


def test_padding_is_not_read_and_backward_may_recompute():
    net, (x, options), state = make(), inputs("lengths"), start()
    y, _, tape = net.forward(x, state, **options)
    x = x.copy()
    x[3:, 2] = x[:, 1] = np.nan
    dy = numbers(y.shape)
    expected = net.backward(tape, dy)
    dy[3:, 2] = np.nan
    for way in ({}, {"tape": "states"}, {"checkpoints": 2}):
        again, _, tape = net.forward(x, state, **options, **way)
        found = net.backward(tape, dy)
        assert np.array_equal(again, y)
        assert np.array_equal(found.params.flat, expected.params.flat) and np.array_equal(found.x, expected.x)


def test_wrong_arguments_are_named():
    net, (x, _) = make(), inputs("plain")
    y, state, tape = net.forward(x)
    cases = [
        (lambda: net(x, state[:1]), TypeError, "state: expected a tuple of 2 states, one for each recurrent layer, got 1"),
        (lambda: net(x, state[0]), TypeError, "state: expected a tuple of 2 states"),
        (lambda: net(x, (state[0][:, :1], None)), nr.ShapeError, r"state\[0\]: expected shape \(2, 3, 3\)"),
        (lambda: net(x, (None, state[1][0])), TypeError, r"state\[1\]: expected the pair \(h, c\)"),
        (lambda: net(x, (state[0].astype("f4"), None)), nr.DTypeError, r"state\[0\]: expected float64"),
        (lambda: net(x, reset=RESET[:2]), nr.ShapeError, "reset: expected shape"),
        (lambda: net(x, seed=-1), ValueError, "seed"),
        (lambda: net.backward(tape, y[:2]), nr.ShapeError, "dy: expected 5 steps"),
        (lambda: net.backward(tape, y.astype("f4")), nr.DTypeError, "dy: expected float64"),
        (lambda: make().backward(tape, y), TypeError, "tape: expected one that forward of this network returned"),
        (lambda: net.backward(tape, y, into=net.params), ValueError, "into: expected memory of its own"),
        (lambda: net.backward(tape, y, into=make(embedding=True).params), nr.ShapeError, "into: expected the parameters"),
        (lambda: net.backward(tape, y, need_x=1), TypeError, "need_x"),
        (lambda: net.forward(x, tape="none"), nr.UnknownNameError, "tape"),
        (lambda: net.predict(nr.Ragged(numbers((3, C)), [0, 3]), reset=RESET), TypeError, "reset: expected None"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


def test_prediction_with_resets_is_that_of_the_pieces(monkeypatch):
    net, (x, _) = nr.Network([nr.GRU(3), nr.Dense(1)], C, "float64"), inputs("plain")
    found = net.predict(x, reset=RESET)
    cut = net.predict(x[3:, :1])
    assert np.array_equal(found[3:, :1], cut) and np.array_equal(found, net(x, reset=RESET)[0])
    monkeypatch.setattr(nr.Network, "_piece_rows", 5)
    assert np.array_equal(
        net.predict(x, reset=RESET, lengths=LENGTHS)[:, [0, 2]],
        found[:, [0, 2]] * (np.arange(T)[:, None] < LENGTHS)[:, [0, 2], None],
    )
    assert net.predict(x[:, :0], reset=RESET[:, :0]).shape == (T, 0, 1)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("indices", [False, True])
def test_training_with_resets_is_training_on_the_pieces(last, indices):
    net = make(embedding=indices, last=last, dtype="float64")
    x = np.random.default_rng(2).integers(0, 7, (T, N)) if indices else numbers((T, N, C))
    y = numbers((N, 2) if last else (T, N, 2), 4)
    loss = net.loss(x, y, reset=RESET)
    if last:  # the last piece of each sequence makes its output
        starts = [3, 2, 1]
        pieces = [(x[s:, n : n + 1], y[n : n + 1]) for n, s in enumerate(starts)]
        parts = [net.loss(*piece) / N for piece in pieces]
    else:
        cuts = [[0, 3, 5], [0, 2, 5], [0, 1, 5]]
        pieces = [(n, a, b) for n, row in enumerate(cuts) for a, b in zip(row, row[1:])]
        parts = [net.loss(x[a:b, n : n + 1], y[a:b, n : n + 1]) * (b - a) / (T * N) for n, a, b in pieces]
    assert loss == pytest.approx(sum(parts), rel=1e-13)
    value, gradient = net.loss_and_gradient(net.params.flat, x, y, reset=RESET)
    assert value == pytest.approx(loss, rel=1e-13)
    assert net.evaluate(x, y, reset=RESET)["loss"] == loss
    along, flat = numbers(len(gradient), 9), net.params.flat.copy()
    up, down = (net.loss_and_gradient(flat + s * 1e-5 * along, x, y, reset=RESET)[0] for s in (1, -1))
    assert abs((up - down) / 2e-5 - gradient @ along) < 1e-8 * (1 + abs(gradient @ along))
    expected = net.params.flat - 0.1 * gradient
    validation = x, y, None, None, RESET
    twin = nr.Network(net.layers, net.channels, "float64").transfer(net)
    options = {"optimizer": nr.SGD(0.1), "epochs": 1, "batch_size": N, "shuffle": False, "progress": False}
    history = net.fit(x, y, reset=RESET, validation=validation, **options)
    assert history.loss[0] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(net.params.flat, expected, rtol=0, atol=1e-14)
    assert history.validation[0] == net.loss(x, y, reset=RESET)
    assert nr.Trainer(twin, optimizer=nr.SGD(0.1)).update(x, y, reset=RESET) == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(twin.params.flat, expected, rtol=0, atol=1e-14)


def test_resets_of_other_shapes_are_refused():
    net = make(last=True)
    x, y = numbers((T, N, C)), numbers((N, 2))
    for call in (net.fit, net.loss, net.evaluate):
        with pytest.raises(nr.ShapeError, match=r"reset: expected shape \(5, 3\)"):
            call(x, y, reset=RESET.T)
    with pytest.raises(nr.ShapeError, match="validation reset: expected shape"):
        net.fit(x, y, validation=(x, y, None, None, RESET[:2]))


def test_calls_that_are_made_again_and_again_have_the_same_bits():
    layers = [nr.GRU(3, layers=2), nr.Dense(3, "tanh"), nr.LSTM(2), nr.Dense(1)]
    net, x = nr.Network(layers, C, "float64", seed=0), numbers((8, N, C))
    whole, final = net(x)
    state = (np.zeros((2, N, 3)), (np.zeros((1, N, 2)), np.zeros((1, N, 2))))
    for t in range(8):
        y, state = net(x[t : t + 1], state)
        assert np.array_equal(y[0], whole[t])
    assert all(map(np.array_equal, flat_of(state), flat_of(final)))
    kept = [part.copy() for part in flat_of(state)]
    net(x[:1], state)
    assert all(map(np.array_equal, flat_of(state), kept))
    wrong = ((state[0], state[1][0]), state[1][1])
    for _ in range(3):
        with pytest.raises(TypeError, match="state"):
            net(x[:1], wrong)
    net.params.flat[:] *= 0.5
    assert np.array_equal(net(x[:1], state)[0], net(x[:1], state, lengths=[1] * N)[0])
    net.params.flat[3] = np.nan
    with pytest.raises(nr.NonFiniteError):
        net(x[:1], state)
