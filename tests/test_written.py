"""Arrays that the library writes to: an array that is read-only, or that it also reads, is refused before any change."""

import re

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


OWN = {"flat": 0, "previous": 1, "memory[0]": 3, "memory[1]": 4}  # what an update writes to, and where it stands


def vectors():
    """What `Adam.update` takes: flat, previous, gradient and two vectors of memory."""
    return [np.full(8, value, np.float32) for value in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize("name", ["flat", "previous", "gradient", "memory[0]", "memory[1]"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda v: v[:3], nr.ShapeError, r"expected shape \(\d,\) like flat, got"),
        (lambda v: v[None], nr.ShapeError, "expected"),
        (lambda v: v.astype(np.float64), nr.DTypeError, "expected float(32|64) like flat, got"),
        (lambda v: v.astype(int), nr.DTypeError, "expected float32 or float64, got int64"),
        (lambda v: np.repeat(v, 2)[::2], nr.LayoutError, "expected a contiguous vector"),
        (lambda v: v.tolist(), TypeError, "expected a numpy.ndarray, got list"),
        (lambda v: np.ma.array(v), TypeError, "expected a numpy.ndarray, got MaskedArray"),
    ],
)
def test_an_update_names_the_vector_that_no_kernel_can_take(name, change, error, message):
    found, at = vectors(), {**OWN, "gradient": 2}[name]
    found[at] = change(found[at])
    other = "previous" if name == "flat" and error in (nr.ShapeError, nr.DTypeError) else name  # flat says what is right
    with pytest.raises(error, match=rf"^({re.escape(name)}|{other}): {message}"):
        nr.Adam().update(*found[:3], found[3:], 1, 0.1)
    found.pop(at)
    assert all(np.array_equal(a, b) for a, b in zip(found, [v for i, v in enumerate(vectors()) if i != at]))


@pytest.mark.parametrize("name", OWN)
def test_an_update_writes_neither_to_read_only_vectors_nor_over_its_own(name):
    found = vectors()
    found[OWN[name]].flags.writeable = False
    with pytest.raises(ValueError, match=f"^{re.escape(name)}: expected a vector that may be written, got a read-only one$"):
        nr.Adam().update(*found[:3], found[3:], 1, 0.1)
    assert all(np.array_equal(a, b) for a, b in zip(found, vectors()))
    for other in {0, 1, 2, 3, 4} - {OWN[name]}:
        found = vectors()
        found[OWN[name]] = found[other]
        with pytest.raises(ValueError, match=r"^\S+: expected memory of its own, got some that it shares with"):
            nr.Adam().update(*found[:3], found[3:], 1, 0.1)
        assert np.array_equal(found[other], vectors()[other])


@pytest.mark.parametrize("step", [0, -1, 1.0, True, "1"])
def test_an_update_is_told_the_numbers_that_it_needs(step):
    flat, previous, gradient, *memory = vectors()
    with pytest.raises((TypeError, ValueError), match="^step: expected a positive integer"):
        nr.Adam().update(flat, previous, gradient, memory, step, 0.1)
    for named in ({"rate": "fast"}, {"rate": np.nan}, {"rate": 0.1, "scale": None}):
        with pytest.raises((TypeError, ValueError), match=f"^{[*named][-1]}: expected a finite number"):
            nr.Adam().update(flat, previous, gradient, memory, 1, **named)
    for short in (memory[:1], [], None, memory[0]):
        with pytest.raises(TypeError, match="^memory: expected a list of 2 vectors, from start, got"):
            nr.Adam().update(flat, previous, gradient, short, 1, 0.1)
    assert all(np.array_equal(a, b) for a, b in zip((flat, previous, gradient, *memory), vectors()))


@pytest.mark.parametrize("start", [lambda flat: [flat, np.zeros_like(flat)], lambda flat: [np.zeros_like(flat)] * 2])
def test_what_an_optimizer_remembers_lies_apart(start):
    class Odd(nr.Adam):
        def start(self, flat):
            return start(flat)

    net = network()
    before = net.params.flat.copy()
    with pytest.raises(TypeError, match="^optimizer: expected Odd.start to return vectors with memory of their own$"):
        net.fit(X, np.zeros((3, 1), np.float32), optimizer=Odd(), epochs=1, progress=False)
    assert np.array_equal(net.params.flat, before)


@pytest.mark.parametrize("layers", [[nr.Last()], [nr.Dropout(0.5)], [nr.Dropout(0.5), nr.Last()]], ids=repr)
@pytest.mark.parametrize("layout", ["tnc", "ntc"])
def test_what_is_predicted_is_never_a_view_of_x(layers, layout):
    net, x = nr.Network(layers, channels=2, layout=layout), X.copy()
    y = net.predict(x)
    y[...] = 7
    assert np.array_equal(x, X)


def test_a_loss_of_one_s_own_may_work_in_place():
    def in_place(prediction, target):
        target -= prediction
        return float(np.square(target).mean()), -2 * target / np.float32(target.size)

    net, y = network(), np.ones((3, 1), np.float32)
    right = net.loss(X, y), net.loss_and_gradient(net.params.flat, X, y)[1]
    assert np.isclose(net.loss(X, y, in_place), right[0])
    assert np.allclose(net.loss_and_gradient(net.params.flat, X, y, in_place)[1], right[1])
    net.fit(X, y, loss=in_place, epochs=2, shuffle=False, progress=False)
    assert (y == 1).all()


def test_parameters_that_another_dtype_cannot_hold_are_not_transferred():
    narrow, wide = network(), nr.Network(network().layers, channels=2, dtype="float64", seed=1)
    wide.params["2.bias"][...] = 1e300
    before = narrow.params.flat.copy()
    with pytest.raises(ValueError, match=r"^source: expected numbers that float32 holds, .* got 1e\+300"):
        narrow.transfer(wide)
    assert np.array_equal(narrow.params.flat, before)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda flat: setattr(flat.flags, "writeable", False), ValueError, "params: .* that may be written"),
        (lambda flat: setattr(flat, "shape", (1, -1)), nr.ShapeError, "flat: expected .* changed in place"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_training_does_not_go_on_with_a_vector_that_a_callback_has_changed(change, error, message):
    net, left = network(), []

    def callback(net, history):
        left.append(net.params.flat.copy())
        change(net.params.flat)

    with pytest.raises(error, match=f"^{message}"):
        net.fit(X, np.zeros((3, 1), np.float32), epochs=3, callbacks=[callback], progress=False)
    assert len(left) == 1 and np.array_equal(net.params.flat.ravel(), left[0])
