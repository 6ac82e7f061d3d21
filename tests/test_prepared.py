"""A call that was made before is found by its key, and gives the bits of a first call; nothing else is different."""

import copy
import threading

import numpy as np
import pytest
from checks import as_tuple, same_bits

import numbarnn as nr
from numbarnn.layers import prepared

LAYERS = [
    nr.GRU(5),
    nr.GRU(5, layers=2, bidirectional=True),
    nr.LSTM(5, layers=2, residual=True),
    nr.GRU(4, learned_state=True),
    nr.GRU(4, bidirectional=True, merge="sum"),
]
NETWORKS = [
    [nr.GRU(5), nr.GRU(4), nr.Dense(2, "tanh")],
    [nr.GRU(5), nr.Activation("tanh"), nr.Dropout(0.5), nr.Last(), nr.Dense(2)],
    [nr.GRU(5, bidirectional=True), nr.Last(), nr.Dense(2)],
    [nr.Dense(3)],
    [nr.Dropout(0.5)],
]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def first(layer, p, *args, **options):
    """What a call with parameters that nothing was called with before returns."""
    return layer(p.copy(), *args, **options)


def is_prepared(parameters):
    return any(kind.idle for kind in parameters._calls.values())


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer(layer, with_state):
    p, directions = layer.init(3, seed=0), 2 if layer.bidirectional else 1
    for seed in range(5):
        x, state = numbers(6, 2, 3, seed=seed), None
        if with_state:
            count = layer.layers * directions
            state = tuple(numbers(count, 2, layer.hidden, seed=seed + i) for i in range(layer.cell.states))
            state = state if len(state) > 1 else state[0]
        if seed == 3:
            p.flat[...] *= np.float32(0.5)  # parameters are read anew at each call
        (y, final), (expected, expected_final) = layer(p, x, state), first(layer, p, x, state)
        assert same_bits(y, expected.copy())
        assert same_bits(as_tuple(final), as_tuple(expected_final))
        y[...] = 7  # the caller's own
    assert is_prepared(p) == (not layer.learned_state and layer.merge == "concat")


@pytest.mark.parametrize("given", ["dy", "dstate", "both", "neither"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_and_back(layer, given):
    p, tapes = layer.init(3, seed=0), []

    def arrays(seed):
        y, state = layer(p, numbers(6, 2, 3))
        dy = numbers(*y.shape, seed=seed) if given in ("dy", "both") else None
        dstate = [numbers(*part.shape, seed=seed + i) for i, part in enumerate(as_tuple(state))]
        dstate = tuple(dstate) if len(dstate) > 1 else dstate[0]
        return dy, dstate if given in ("dstate", "both") else None

    for seed in range(6):
        x, (dy, dstate), need_x = numbers(6, 2, 3, seed=seed), arrays(seed), seed != 4
        q = p.copy()
        expected_y, expected_state, expected_tape = layer.forward(q, x)
        expected = layer.backward(expected_tape, dy, dstate, need_x)
        y, state, tape = layer.forward(p, x)
        tapes.append((tape, dy, dstate, need_x, expected))
        if seed == 2:
            p.flat[...] *= np.float32(0.5)
        elif seed == 3:
            tapes.pop(0)  # its memory may be used again, the memory of the other tapes must not
        x[...] = np.nan if tape.lease is not None else x
        assert same_bits(y, expected_y.copy()) and not y.flags.writeable
        assert same_bits(as_tuple(state), as_tuple(expected_state))
        assert tape.layer is layer and tape.nbytes == expected_tape.nbytes and tape.parameters is p
    for _ in range(3):
        for tape, dy, dstate, need_x, expected in tapes:
            found = layer.backward(tape, dy, dstate, need_x)
            assert same_bits(found.params.flat, expected.params.flat)
            assert same_bits(as_tuple(found.state), as_tuple(expected.state))
            assert (found.x is None) == (not need_x) and (not need_x or same_bits(found.x, expected.x.copy()))
            assert found.params.names == p.names and layer(found.params, numbers(6, 2, 3))
            found.params.flat[:] = np.nan  # the caller's own
            into = p.zeros()
            layer.backward(tape, dy, dstate, need_x, into=into)
            layer.backward(tape, dy, dstate, need_x, into=into, accumulate=True)
            assert same_bits(into.flat, 2 * expected.params.flat)


def test_errors_of_backward_are_the_same():
    layer, x = nr.GRU(5), numbers(6, 2, 3)
    p = layer.init(3, seed=0)
    for _ in range(3):
        y, state, tape = layer.forward(p, x)
        layer.backward(tape, y, state)
    assert tape.lease is not None
    for _ in range(3):
        for dy, dstate, error, message in [
            (y[:3], None, nr.ShapeError, "dy: expected 6 steps"),
            (y.astype(float), None, nr.DTypeError, "dy: expected float32"),
            (y.tolist(), None, TypeError, "dy: expected"),
            (y, (state,), TypeError, "dstate: expected"),
            (y, state[:, :1], nr.ShapeError, "dstate: expected shape"),
        ]:
            with pytest.raises(error, match=message):
                layer.backward(tape, dy, dstate)
        with pytest.raises(TypeError, match="need_x: expected"):
            layer.backward(tape, y, need_x=1)
        with pytest.raises(TypeError, match="tape: expected"):
            nr.GRU(4).backward(tape, y)
        with pytest.raises(ValueError, match="into: expected memory of its own"):
            layer.backward(tape, p.flat[:60].reshape(6, 2, 5), into=p)
        layer.backward(tape, y, state)
        with pytest.raises(TypeError, match="state: expected"):
            layer.forward(p, x, (state,))
        layer.forward(p, x, state)


@pytest.mark.parametrize("layers", NETWORKS)
def test_a_network(layers):
    net = nr.Network(layers, channels=3, seed=0)
    for seed in range(4):
        x = numbers(6, 2, 3, seed=seed)
        found = net.predict(x)
        assert same_bits(found.copy(), nr.Network(layers, channels=3, seed=0).predict(x).copy())
        assert not np.shares_memory(found, x)
        found[...] = 7


def parts_of(state):
    """The arrays of a network's state."""
    return [array for part in state for array in as_tuple(part)]


def same_state(found, expected):
    return len(found) == len(expected) and all(map(same_bits, parts_of(found), parts_of(expected)))


STACKS = [*NETWORKS, [nr.LSTM(4, layers=2), nr.GRU(3, learned_state=True), nr.Dense(1)], [nr.GRU(4, bidirectional=True)]]


@pytest.mark.parametrize("need_x", [True, False])
@pytest.mark.parametrize("with_state, with_dstate", [(False, False), (True, True), (False, True)])
@pytest.mark.parametrize("layers", STACKS)
def test_a_network_and_back(layers, with_state, with_dstate, need_x):
    net, leased = nr.Network(layers, channels=3, seed=0), []
    state = tuple(
        tuple(numbers(*array.shape, seed=9) for array in part) if isinstance(part, tuple) else numbers(*part.shape, seed=9)
        for part in net(numbers(6, 2, 3))[1]
    )
    for seed in range(5):
        x, given = numbers(6, 2, 3, seed=seed), state if with_state else None
        other = copy.copy(net)
        expected_y, expected_state, expected_tape = other.forward(x, given)
        dy, dstate = numbers(*expected_y.shape, seed=seed + 20), state if with_dstate else None
        expected = other.backward(expected_tape, dy, dstate, need_x)
        y, final, tape = net.forward(x, given)
        assert same_bits(y, expected_y.copy()) and not y.flags.writeable
        assert same_state(final, expected_state) and tape.network is net
        leased.append((tape, dy, dstate, expected))
        x[...] = x if tape.lease is None else np.nan
        if seed == 3:
            leased.pop(0)  # its memory may be used again, the memory of the other tapes must not
        for _ in range(2):
            for tape, dy, dstate, expected in leased:
                found = net.backward(tape, dy, dstate, need_x)
                assert same_bits(found.params.flat, expected.params.flat) and found.params.names == net.params.names
                assert same_state(found.state, expected.state)
                assert (found.x is None) == (not need_x) and (not need_x or same_bits(found.x, expected.x.copy()))
                found.params.flat[:] = np.nan  # the caller's own
                into = net.params.zeros()
                net.backward(tape, dy, dstate, need_x, into=into)
                assert same_bits(into.flat, expected.params.flat)
    not_in_programs = any(getattr(layer, "learned_state", False) for layer in layers) or layers is STACKS[2]
    assert (leased[-1][0].lease is None) == (not_in_programs or (with_state and not state))


def test_errors_of_a_network_s_backward_are_the_same():
    net, x = nr.Network([nr.GRU(5), nr.Dense(2)], channels=3, seed=0), numbers(6, 2, 3)
    for _ in range(3):
        y, state, tape = net.forward(x)
        net.backward(tape, y, state)
    assert tape.lease is not None
    for dy, dstate, error, message in [
        (y[:3], None, nr.ShapeError, "dy: expected 6 steps"),
        (y.astype(float), None, nr.DTypeError, "dy: expected float32"),
        (y, state[0], TypeError, "dstate: expected"),
        (y, (state[0][:, :1],), nr.ShapeError, r"dstate\[0\]: expected shape"),
    ]:
        with pytest.raises(error, match=message):
            net.backward(tape, dy, dstate)
    with pytest.raises(TypeError, match="need_x: expected"):
        net.backward(tape, y, need_x=1)
    with pytest.raises(TypeError, match="tape: expected"):
        copy.copy(net).backward(tape, y)
    zero = net.backward(tape, None)
    assert not zero.params.flat.any() and not zero.x.any() and not zero.state[0].any()
    net.params.flat[0] = np.nan
    with pytest.raises(nr.NonFiniteError, match="parameter '0.weight_ih_l0'"):
        net.forward(x)


@pytest.mark.parametrize("layout", ["tnc", "ntc", "cnt"])
def test_however_x_lies(layout):
    layer, order = nr.GRU(5), ["tnc".index(letter) for letter in layout]
    p = layer.init(3, seed=0)
    variants = [
        lambda x: x,
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
    ]
    for seed, variant in enumerate(variants * 2):
        x = variant(numbers(6, 2, 3, seed=seed).transpose(order))
        assert same_bits(layer(p, x, layout=layout)[0].copy(), first(layer, p, x, layout=layout)[0].copy())
    assert is_prepared(p)
    for _ in range(3):
        assert layer(p, numbers(6, 3))[0].shape == (6, 5)


ERRORS = [
    (lambda x: x.astype(float), {}, nr.DTypeError, "x: expected float32"),
    (lambda x: x.astype(">f4"), {}, nr.DTypeError, "x: expected float32"),
    (lambda x: x[..., :2], {}, nr.ShapeError, "p: .* with 2 channels"),
    (lambda x: x[:, :0], {}, nr.ShapeError, "x: expected at least one sequence"),
    (lambda x: x.tolist(), {}, TypeError, "x: expected a numpy.ndarray"),
    (lambda x: np.ma.array(x), {}, TypeError, "x: .*MaskedArray"),
    (
        lambda x: np.frombuffer(b"_" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
        {},
        nr.LayoutError,
        "aligned",
    ),
    (lambda x: x, {"layout": "tnx"}, nr.LayoutError, "layout: expected"),
    (lambda x: x, {"layout": ["t"]}, nr.LayoutError, "layout: expected"),
    (lambda x: x, {"state": np.zeros((1, 3, 5), np.float32)}, nr.ShapeError, "state: expected shape"),
    (lambda x: x, {"state": np.zeros((1, 2, 5))}, nr.DTypeError, "state: expected float32"),
    (lambda x: x, {"state": (np.zeros((1, 2, 5), np.float32),)}, TypeError, "state: expected"),
]


@pytest.mark.parametrize("change, options, error, message", ERRORS)
def test_errors_are_the_same(change, options, error, message):
    layer, x = nr.GRU(5), numbers(6, 2, 3)
    p = layer.init(3, seed=0)
    expected = layer(p, x)[0].copy()
    for _ in range(3):
        assert same_bits(layer(p, x)[0], expected)
        with pytest.raises(error, match=message):
            layer(p, change(x), **options)


def test_parameters_that_are_no_longer_right():
    layer, x = nr.GRU(5), numbers(6, 2, 3)
    p = layer.init(3, seed=0)
    expected = [layer(p, x)[0].copy() for _ in range(3)][0]
    for bad in (np.nan, np.inf, -np.inf):
        kept, p.flat[-1] = p.flat[-1], bad
        with pytest.raises(nr.NonFiniteError, match="parameter 'bias_hh_l0'"):
            layer(p, x)
        p.flat[-1] = kept
        assert same_bits(layer(p, x)[0], expected)
    with pytest.raises(nr.ShapeError, match="p: "):
        nr.GRU(4)(p, x)
    p.flat.shape = (1, -1)
    with pytest.raises(nr.ShapeError, match="changed in place"):
        layer(p, x)


def test_a_network_whose_parameters_are_assigned():
    net, x = nr.Network(NETWORKS[0], 3, seed=0), numbers(6, 2, 3)
    other = nr.Network(NETWORKS[0], 3, seed=1)
    before = [net.predict(x).copy() for _ in range(3)]
    net.params = other.params
    assert same_bits(net.predict(x), other.predict(x)) and not same_bits(net.predict(x), before[-1])
    net.params.flat[0] = np.nan
    with pytest.raises(nr.NonFiniteError):
        net.predict(x)


def test_two_threads_call_one_layer():
    layer, found = nr.GRU(5), {}
    p = layer.init(3, seed=0)
    inputs = [numbers(6, 2, 3, seed=seed) for seed in range(4)]

    def work(number):
        found[number] = [layer(p, inputs[number])[0] for _ in range(300)]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for number, x in enumerate(inputs):
        expected = first(layer, p, x)[0].copy()
        assert all(same_bits(y, expected) for y in found[number])


def test_memory_is_bounded():
    layer = nr.GRU(2)
    p = layer.init(3)
    for steps in range(1, 40):
        for _ in range(2):
            layer(p, numbers(steps, 1, 3))
    assert len(p._calls) <= 16


@pytest.mark.parametrize("layer", [nr.GRU(5), nr.GRU(5, layers=2, bidirectional=True)])
def test_large_outputs_are_lent(layer, monkeypatch):
    monkeypatch.setattr(prepared, "LEAST_LENT", 1)
    p, inputs = layer.init(3, seed=0), [numbers(6, 2, 3, seed=seed) for seed in range(9)]
    expected = [first(layer, p, x)[0].copy() for x in inputs]
    for _ in range(3):
        found = [layer(p, x)[0] for x in inputs]
        (kind,) = p._calls.values()
        assert kind.made == prepared.MOST_MADE and len(kind.idle) == 1  # one is never lent: it copies
        assert all(same_bits(y.copy(), known) for y, known in zip(found, expected, strict=True))
        part, row = found[2][3], expected[2][3]
        for y in (*found[:2], *found[3:]):
            y[...] = 7  # the caller's own
        del found, y
        assert len(kind.idle) == prepared.MOST_MADE - 1  # a view of outputs keeps them
        assert all(same_bits(layer(p, x)[0].copy(), known) for x, known in zip(inputs, expected, strict=True))
        assert same_bits(part.copy(), row)
        del part
        assert len(kind.idle) == prepared.MOST_MADE


def test_large_calls_share_a_limit(monkeypatch):
    layer = nr.RNN(600)  # two million products in 4 steps: threads share them
    p = layer.init(3, seed=0)

    def held():
        return sum(kind.nbytes for kind in p._calls.values())

    for _ in range(3):
        layer(p, numbers(8, 1, 3))
    one = held()
    assert is_prepared(p) and one >= 600 * 600 * 4
    monkeypatch.setattr(prepared, "MOST_BYTES", int(1.5 * one))
    for steps in (9, 10):
        for _ in range(3):
            assert same_bits(layer(p, numbers(steps, 1, 3))[0], first(layer, p, numbers(steps, 1, 3))[0])
    assert held() == one


@pytest.mark.parametrize("layer, batch", [(nr.LSTM(200), 1), (nr.LSTM(90, layers=2), 40), (nr.GRU(96, reset="before"), 40)])
def test_a_large_layer(layer, batch):
    p = layer.init(7, seed=0)
    for seed in range(6):
        x = numbers(12, batch, 7, seed=seed)
        if seed == 3:
            p.flat[seed * 1000] += np.float32(0.5)  # one weight: the others are not packed again
        elif seed == 4:
            p["weight_hh_l0"][1, 2] = -0.0
        elif seed == 5:
            p["bias_hh_l0"][3] = 2
        (y, state), (expected, expected_state) = layer(p, x), first(layer, p, x)
        assert same_bits(y, expected.copy()) and same_bits(as_tuple(state), as_tuple(expected_state))
        y[...] = 7
    assert is_prepared(p)
    for name in p.names:
        kept = p[name].flat[-1].copy()
        for bad in (np.nan, np.inf):
            p[name][(-1,) * p[name].ndim] = bad
            for _ in range(3):  # and not only when it is packed
                with pytest.raises(nr.NonFiniteError, match=f"parameter '{name}'"):
                    layer(p, x)
        p[name][(-1,) * p[name].ndim] = kept
        for _ in range(3):
            assert same_bits(layer(p, x)[0], expected)
