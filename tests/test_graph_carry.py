"""Long sequences of a graph in pieces: the bits of the network that it is, and of a loop by hand where there is more."""

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.graphs.passage import Passage

RANDOM = np.random.default_rng(0)
STEPS, SAMPLES = 23, 4
X, Z = RANDOM.standard_normal((STEPS, SAMPLES, 2)), RANDOM.standard_normal((STEPS, SAMPLES, 1))
Y, LABELS = RANDOM.standard_normal((STEPS, SAMPLES, 1)), RANDOM.integers(0, 3, (STEPS, SAMPLES))
S = RANDOM.standard_normal((SAMPLES, 3))
LENGTHS = np.array([23, 4, 12, 10])
THIRD = np.arange(STEPS)[:, None] // 5 == 2  # the steps of the third piece
WAY = {"batch_size": 3, "carry": True, "steps": 5, "progress": False}


def tank(dtype="float64", layout="tnc"):
    """A series and what drives it, a place that is its initial state and stands beside it, and two outputs."""
    nodes = {
        "start": nr.Node(nr.Dense(4, "tanh"), "place"),
        "h": nr.Node(nr.GRU(4), ["level", "rain", "place"], state="start"),
        "c": nr.Node([nr.Dropout(0.2), nr.LSTM(3)], ["h", "rain"]),
        "y": nr.Node(nr.Dense(1), ["c", "h", "level"]),
        "class": nr.Node(nr.Dense(3), "c"),
    }
    inputs = {"level": 2, "rain": 1, "place": nr.Input(3, steps=False)}
    return nr.Graph(inputs, nodes, ["y", "class"], dtype, layout, seed=0)


INPUTS = {"level": X, "rain": Z, "place": S}
TARGETS = {"y": Y, "class": LABELS}
LOSS = {"y": "mse", "class": ("cross_entropy", 0.25)}


def cut(arrays, span, samples=slice(None)):
    """Some steps of what has steps."""
    return {name: each[span][:, samples] if len(each) == STEPS else each[samples] for name, each in arrays.items()}


@pytest.mark.parametrize(
    "kind", ["plain", "ntc", "lengths", "ragged", "weights", "nothing in a piece", "labels", "accumulate"]
)
def test_a_graph_carries_with_the_bits_of_the_network_that_it_is(kind):
    layout, labels = "ntc" if kind == "ntc" else "tnc", kind in ("labels", "nothing in a piece")
    rows = [nr.LSTM(3, layers=2, dropout=0.3), nr.Dropout(0.2), nr.GRU(2, learned_state=True), nr.Dense(3 if labels else 1)]
    net = nr.Network(rows, 2, "float64", layout, seed=1)
    graph = nr.Graph({"x": 2}, {"a": nr.Node(rows[:2], "x"), "b": nr.Node(rows[2:], "a")}, ["b"], "float64", layout, seed=1)
    x, y, options, make, loss = X, Y, {}, {"accumulate": 2 if kind == "accumulate" else 1}, "mse"
    if kind == "ntc":
        x, y = x.swapaxes(0, 1), y.swapaxes(0, 1)
    if kind == "lengths":
        options["lengths"] = LENGTHS
    if kind == "ragged":
        x, y = (nr.Ragged.of([each[:length, n] for n, length in enumerate(LENGTHS)]) for each in (X, Y))
    if kind == "weights":
        options["weights"] = np.where(THIRD, 0.0, RANDOM.integers(0, 3, (STEPS, SAMPLES)))
    if labels:
        y, loss = LABELS, nr.CrossEntropy(ignore_index=0)
        y = np.where(THIRD, 0, y) if kind == "nothing in a piece" else y
    one, two = (nr.Trainer(each, loss, nr.Adam(0.02), seed=3, clip=0.5, **make) for each in (net, graph))
    right = one.fit(x, y, epochs=3, **WAY, **options)
    found = two.fit({"x": x}, {"b": y}, epochs=3, **WAY, **options)
    assert np.array_equal(graph.params.flat, net.params.flat) and found.loss == right.loss and one.step == two.step


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
def test_pieces_are_those_of_a_loop_by_hand(layout):
    net, other = tank(layout=layout), tank(layout=layout)
    turn = (lambda each: each) if layout == "tnc" else (lambda each: each.swapaxes(0, 1) if len(each) == STEPS else each)
    turned = [{name: turn(each) for name, each in given.items()} for given in (INPUTS, TARGETS)]
    way = WAY | {"batch_size": SAMPLES, "shuffle": False}
    history = nr.Trainer(net, LOSS, nr.Adam(0.02), seed=1).fit(*turned, epochs=2, **way)
    trainer, losses = nr.Trainer(other, LOSS, nr.Adam(0.02), seed=1), []
    for _ in range(2):
        state = None
        for first in range(0, STEPS, 5):
            span = slice(first, first + 5)
            given = [{name: each[:, span] if layout == "ntc" and each.ndim > 1 and each.shape[1] == STEPS else
                      each[span] if layout == "tnc" and len(each) == STEPS else each
                      for name, each in part.items()} for part in turned]  # fmt: skip
            loss, state = trainer.update(*given, state=state)
            losses.append(loss)
    assert np.array_equal(net.params.flat, other.params.flat) and list(state) == ["h", "c.1"]
    weights = np.array([5, 5, 5, 5, 3] * 2).reshape(2, 5)
    means = (np.reshape(losses, (2, 5)) * weights).sum(axis=1) / STEPS
    np.testing.assert_allclose(history.loss, means, rtol=1e-13)


def test_the_gradient_of_a_piece_goes_to_what_starts_the_first_one_alone():
    """Forward and backward by hand, with the state that was carried: the derivative of it is cut."""
    net, other = tank(), tank()
    nr.Trainer(net, {"y": "mse"}, nr.SGD(0.1)).fit(
        INPUTS, {"y": Y}, epochs=1, **WAY | {"batch_size": SAMPLES, "shuffle": False}
    )
    masks, state = np.random.default_rng(np.random.default_rng(0).integers(2**63)), {}
    for first in range(0, STEPS, 5):
        span = slice(first, first + 5)
        out, state, tape = other.forward(cut(INPUTS, span), state, seed=masks)
        g = other.backward(tape, {"y": nr.MSE()(out["y"], Y[span])[1]})
        assert g.params["start.weight"].any() == (first == 0)
        other.params.flat[:] -= 0.1 * g.params.flat
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["numbers", "table", "table and numbers", "learned"])
def test_updates_are_those_of_forward_and_backward_by_hand(kind):
    """Layers that start the first piece alone have no gradient in the others, whatever was computed before."""
    start = {
        "numbers": nr.Dense(4, "tanh"), "table": nr.Embedding(3, 4), "table and numbers": [nr.Embedding(3, 2), nr.Dense(4)],
    }.get(kind)  # fmt: skip
    nodes = {} if start is None else {"start": nr.Node(start, "place")}
    nodes |= {"h": nr.Node(nr.GRU(4, learned_state=start is None), "x", state=None if start is None else "start")}
    nodes |= {"y": nr.Node(nr.Dense(1), ["h", "x"])}
    inputs = {"x": 2} | ({} if start is None else {"place": nr.Input(3 if kind == "numbers" else None, steps=False)})
    given = {"x": X} | ({} if start is None else {"place": S if kind == "numbers" else np.array([2, 0, 2, 1])})
    net, other = (nr.Graph(inputs, nodes, ["y"], "float64", seed=0) for _ in range(2))
    net.fit(given, {"y": Y}, "mse", nr.SGD(0.1), epochs=2, shuffle=False, **(WAY | {"batch_size": 2}))
    for samples in (slice(0, 2), slice(2, 4)) * 2:
        state = None
        for first in range(0, STEPS, 5):
            span = slice(first, first + 5)
            y, state, tape = other.forward(cut(given, span, samples), state)
            difference = y["y"] - Y[span, samples]
            other.params.flat -= 0.1 * other.backward(tape, {"y": 2 * difference / difference.size}).params.flat
    assert np.abs(net.params.flat - other.params.flat).max() < 1e-14


def test_batches_with_lengths_that_are_all_the_steps_and_without_follow_each_other():
    inputs = {"x": 2}
    nodes = {"h": nr.Node(nr.GRU(4), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
    net, other = (nr.Graph(inputs, nodes, ["y"], "float64", seed=0) for _ in range(2))
    one, two = (nr.Trainer(each, "mse", nr.SGD(0.1)) for each in (net, other))
    for lengths in (None, np.full(SAMPLES, STEPS), None, None, np.full(SAMPLES, STEPS)):
        assert one.update({"x": X}, {"y": Y}, lengths) == pytest.approx(two.update({"x": X}, {"y": Y}), rel=1e-14)
    assert np.abs(net.params.flat - other.params.flat).max() < 1e-14


def test_lengths_and_ragged_inputs_are_cut_alike():
    lengths = {"level": LENGTHS, "rain": LENGTHS}
    padded = {name: each.copy() for name, each in INPUTS.items()}
    for name in lengths:
        padded[name][np.arange(STEPS)[:, None] >= LENGTHS] = np.nan
    ragged = {name: nr.Ragged.of([INPUTS[name][:length, n] for n, length in enumerate(LENGTHS)]) for name in lengths}
    of_y = nr.Ragged.of([Y[:length, n] for n, length in enumerate(LENGTHS)])
    of_class = nr.Ragged.of([LABELS[:length, n] for n, length in enumerate(LENGTHS)])
    one, two = tank(), tank()
    a = one.fit(padded, TARGETS, LOSS, lengths=lengths, epochs=2, **WAY)
    b = two.fit(INPUTS | ragged, {"y": of_y, "class": of_class}, LOSS, epochs=2, **WAY)
    assert np.array_equal(one.params.flat, two.params.flat) and a.loss == b.loss and np.isfinite(a.loss).all()


def test_a_training_that_was_stopped_goes_on(tmp_path):
    class Stop(nr.Callback):
        def batch(self, network, loss):
            self.left = getattr(self, "left", 4) - 1
            if not self.left:
                raise KeyboardInterrupt

    whole, stopped = (nr.Trainer(tank(), LOSS, nr.Adam(0.02), seed=2, epochs=3) for _ in range(2))
    history = whole.fit(INPUTS, TARGETS, **WAY)
    keep = nr.Checkpoint(tmp_path, 1, "update")
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(INPUTS, TARGETS, callbacks=[keep, Stop()], **WAY)
    resumed = nr.Trainer.load(tmp_path)
    assert resumed.fit(INPUTS, TARGETS, callbacks=[keep], **WAY).loss == history.loss
    assert np.array_equal(resumed.network.params.flat, whole.network.params.flat)


def test_the_last_steps_are_held_out():
    net, other = tank(), tank()
    way = {"epochs": 2, "batch_size": 3, "progress": False}
    net.fit(INPUTS, TARGETS, LOSS, validation_split=0.3, split_by="time", **way)
    first, rest = ((cut(INPUTS, span), cut(TARGETS, span)) for span in (slice(0, 16), slice(16, None)))
    other.fit(*first, LOSS, validation=rest, **way)
    assert np.array_equal(net.params.flat, other.params.flat) and net.history.validation == other.history.validation
    ends = nr.Graph({"x": 2}, {"y": nr.Node([nr.GRU(2), nr.Last(), nr.Dense(1)], "x")}, "y", "float64", seed=0)
    alone = nr.Graph({"x": 2}, {"y": nr.Node([nr.GRU(2), nr.Last(), nr.Dense(1)], "x")}, "y", "float64", seed=0)
    ends.fit({"x": X}, {"y": Y[0]}, validation_split=0.25, split_by="time", **way)
    alone.fit({"x": X[:, :3]}, {"y": Y[0, :3]}, validation=({"x": X[:, 3:]}, {"y": Y[0, 3:]}), **way)
    assert np.array_equal(ends.params.flat, alone.params.flat) and ends.history.validation == alone.history.validation


def test_a_long_sequence_is_measured_in_pieces_with_the_bits_of_the_whole(monkeypatch):
    net, rows, init = tank(), [], Passage.__init__
    inputs, targets = cut(INPUTS, slice(None), slice(0, 1)), cut(TARGETS, slice(None), slice(0, 1))
    whole = net.evaluate(inputs, targets, LOSS, {"class": ["accuracy"]})

    def counted(self, graph, parts, given, *more, **named):
        rows.append(given["level"].packing.rows)
        init(self, graph, parts, given, *more, **named)

    monkeypatch.setattr(nr.Graph, "_piece_rows", 6)
    monkeypatch.setattr(Passage, "__init__", counted)
    assert net.evaluate(inputs, targets, LOSS, {"class": ["accuracy"]}) == whole and rows == [6, 6, 6, 5]
    rows.clear()
    net = nr.Graph({"level": 2}, {"y": nr.Node([nr.GRU(2), nr.Last(), nr.Dense(1)], "level")}, "y", "float64")
    net.loss({"level": X[:, :1]}, {"y": Y[0, :1]})
    assert rows == [STEPS]


def decoder():
    nodes = {"a": nr.Node(nr.GRU(2), "x"), "b": nr.Node(nr.GRU(2), "z", state="a"), "y": nr.Node(nr.Dense(1), "b")}
    return nr.Graph({"x": 2, "z": 1}, nodes, ["y"], "float64")


def with_last():
    nodes = {"a": nr.Node(nr.GRU(2), "x"), "y": nr.Node(nr.Dense(1), "a"), "b": nr.Node([nr.Last(), nr.Dense(1)], "a")}
    return nr.Graph({"x": 2}, nodes, ["y", "b"], "float64")


def two_times():
    nodes = {"a": nr.Node(nr.GRU(2), "x"), "b": nr.Node(nr.GRU(2), "z"), "y": nr.Node(nr.Dense(1), "a")}
    return nr.Graph({"x": 2, "z": 1}, {**nodes, "w": nr.Node(nr.Dense(1), "b")}, ["y", "w"], "float64")


def static_output():
    nodes = {"a": nr.Node([nr.GRU(2), nr.Dense(1)], "x"), "b": nr.Node(nr.Dense(1), "s")}
    return nr.Graph({"x": 2, "s": nr.Input(3, steps=False)}, nodes, ["a", "b"], "float64")


def test_what_cannot_be_carried_is_named():
    both = nr.Graph({"x": 2}, {"y": nr.Node([nr.GRU(2, bidirectional=True), nr.Dense(1)], "x")}, "y", "float64")
    plain = nr.Graph({"x": 2}, {"y": nr.Node(nr.Dense(1), "x")}, "y", "float64")
    reset = {"reset": {"level": X[..., 0] > 0, "rain": X[..., 0] > 0}}
    unlike = {"x": X, "z": Z[:9]}, {"y": Y, "w": Y[:9]}
    time = {"validation_split": 0.3, "split_by": "time", "progress": False}
    state = {"h": np.full((1, SAMPLES, 4), np.nan)}
    for call, error, message in [
        (lambda: decoder().fit({"x": X, "z": Z}, {"y": Y}, **WAY), ValueError,
         "carry: expected False for node 'b', which starts from where 'a' has ended, got True"),
        (lambda: with_last().fit({"x": X}, {"y": Y, "b": Y[0]}, **WAY), ValueError,
         r"carry: expected False for a graph with Last\(\), which takes a whole sequence, got True"),
        (lambda: both.fit({"x": X}, {"y": Y}, **WAY), ValueError, r"carry: expected False for GRU\(.*at both ends"),
        (lambda: plain.fit({"x": X}, {"y": Y}, **WAY), ValueError, "carry: expected False for a graph without recurrent"),
        (lambda: two_times().fit(*unlike, **WAY), ValueError,
         "carry: expected False for inputs of different steps, 'x' and 'z', got True"),
        (lambda: two_times().fit(*unlike, **time), ValueError,
         "split_by: expected 'sample' for inputs of different steps, 'x' and 'z', got 'time'"),
        (lambda: static_output().fit({"x": X, "s": S}, {"a": Y, "b": Y[0]}, **WAY), ValueError,
         "carry: expected False for targets without steps for output 'b', got True"),
        (lambda: tank().fit(INPUTS, TARGETS, LOSS, **WAY, **reset), ValueError, "reset: expected None beside carry=True"),
        (lambda: tank().fit(INPUTS, TARGETS, LOSS, steps=3), ValueError, "steps: expected None without carry=True, got 3"),
        (lambda: nr.Trainer(tank(), LOSS).update(INPUTS, TARGETS, state=state), nr.NonFiniteError, r"state\['h'\]: "),
        (lambda: nr.Trainer(tank(), LOSS).update(INPUTS, TARGETS, state={"h": S}), nr.ShapeError, r"state\['h'\]: expected"),
    ]:  # fmt: skip
        with pytest.raises(error, match=f"^{message}"):
            call()
