"""Arrays that the library writes: read-only ones, and ones that it reads meanwhile, are refused before anything changes."""

import numpy as np
import pytest

import numbarnn as nr

X = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32)
INDEX = np.array([[0, 3, 1], [4, 1, 1]])
LAYERS = {
    "GRU": (nr.GRU(4, layers=2, bidirectional=True), X),
    "GRU that starts from a learned state": (nr.GRU(4, learned_state=True), X),
    "Dense": (nr.Dense(3), X),
    "Embedding": (nr.Embedding(5, 2), INDEX),
}


def forward(kind):
    """(layer, parameters, x, dy, tape)."""
    layer, x = LAYERS[kind]
    p = layer.init(1 if kind == "Embedding" else 2, seed=0)
    y, *_, tape = layer.forward(p, x.copy())
    return layer, p, x, np.ones_like(y), tape


def zeros_in_a_file(path, count):
    np.save(path, np.zeros(count, np.float32))
    return path


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("accumulate", [False, True])
def test_a_gradient_is_not_written_to_read_only_memory(kind, accumulate, tmp_path):
    layer, p, _, dy, tape = forward(kind)
    flagged = np.zeros(len(p), np.float32)
    flagged.flags.writeable = False
    path = zeros_in_a_file(tmp_path / "zeros.npy", len(p))
    of_bytes = np.frombuffer(bytes(4 * len(p)), np.float32)
    for vector in (flagged, np.load(path, mmap_mode="r"), of_bytes, np.broadcast_to(flagged, (1, len(p)))[0]):
        with pytest.raises(ValueError, match="^into: expected parameters that may be written, got a read-only vector"):
            layer.backward(tape, dy, into=nr.Parameters(vector, p.weights), accumulate=accumulate)
        assert not np.any(vector)
    into = nr.Parameters(np.load(path, mmap_mode="r+"), p.weights)
    layer.backward(tape, dy, into=into, accumulate=accumulate)
    assert np.array_equal(into.flat, layer.backward(tape, dy).params.flat) and np.load(path).any()


@pytest.mark.parametrize("kind", LAYERS)
def test_a_gradient_is_not_written_over_what_backward_reads(kind):
    layer, p, x, dy, _ = forward(kind)
    room = np.zeros(len(p) + 2 * dy.size + 2 * x.size, np.float32)
    into = nr.Parameters(room[: len(p)], p.weights)
    shared_dy, before = room[len(p) - 1 :][: dy.size].reshape(dy.shape), room.copy()
    parts = [("dy", layer.forward(p, x)[-1], shared_dy, into), ("the parameters", layer.forward(p, x)[-1], dy, p)]
    if x.dtype == np.float32:
        shared_x = room[1 : 1 + x.size].reshape(x.shape)
        parts.append(("x", layer.forward(p, shared_x)[-1], dy, into))
    kept = p.flat.copy()
    for name, tape, derivative, target in parts:
        with pytest.raises(ValueError, match=f"^into: expected memory of its own, got some that it shares with {name}$"):
            layer.backward(tape, derivative, into=target)
    assert np.array_equal(room, before) and np.array_equal(p.flat, kept)
    apart = room[len(p) :][: dy.size].reshape(dy.shape)  # side by side is apart
    apart[...] = dy
    tape = layer.forward(p, x)[-1]
    assert np.array_equal(layer.backward(tape, apart, into=into).params.flat, layer.backward(tape, dy).params.flat)


def test_a_gradient_is_not_written_over_that_of_the_state():
    layer, p, _, dy, tape = forward("GRU")
    room = np.zeros(len(p) + 48, np.float32)
    dstate = room[:48].reshape(4, 3, 4)
    with pytest.raises(ValueError, match="shares with dstate$"):
        layer.backward(tape, dy, dstate, into=nr.Parameters(room[: len(p)], p.weights))


def network():
    return nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=2, seed=0)


def test_nothing_is_trained_or_assigned_in_read_only_parameters(tmp_path):
    y, started = np.zeros((3, 1), np.float32), []
    net = network()
    net.params.flat.flags.writeable = False
    before, right = net.params.flat.copy(), network().predict(X)
    for call, name in (
        (lambda: net.fit(X, y, epochs=1, progress=False, callbacks=[lambda *_: started.append(1)]), "params"),
        (lambda: net.transfer(network()), "flat"),
        (lambda: setattr(net, "params", network().params), "flat"),
        (lambda: setattr(net.params, "flat", np.zeros(len(net.params), np.float32)), "flat"),
        (lambda: net.params.__setitem__("2.bias", np.zeros(1, np.float32)), "parameter '2.bias'"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: expected parameters that may be written, got a read-only"):
            call()
    assert np.array_equal(net.params.flat, before) and not started
    assert np.array_equal(net.predict(X), right)  # reading goes on, and so does a gradient
    assert net.loss_and_gradient(net.params.flat, X, y)[1].any()
    layer, kept = nr.Dense(2), nr.Dense(2).init(2, seed=0)
    np.save(tmp_path / "parameters.npy", kept.flat)
    p = nr.Parameters(np.load(tmp_path / "parameters.npy", mmap_mode="r"), kept.weights)
    assert np.array_equal(layer(p, X), layer(kept, X))
    with pytest.raises(ValueError, match="^flat: expected parameters that may be written"):
        p.flat = kept.flat
    own = p.copy()
    own.flat = kept.flat
    assert own.flat.flags.writeable
