"""An output of a graph that is fed back as the next value of an input: the loop in Python, the network, exact gradients."""

import numpy as np
import pytest
from checks import check_graph, same_bits
from hypothesis import given
from hypothesis import strategies as st
from test_feedback import network, numbers, strengths
from test_feedback_lengths import drawn, packed

import numbarnn as nr
from numbarnn.graphs.feeding import FedReturn
from numbarnn.graphs.joining import Total
from numbarnn.layers.fed import FedAdjoint


def in_a_row():
    """The layers of ``network("gru")``."""
    net = nr.Graph({"x": 3}, {"h": nr.Node(nr.GRU(5), "x"), "y": nr.Node(nr.Dense(2), "h")}, "y", dtype="float64")
    net.params.flat[...] = network().params.flat
    return net


def of_many(seed=0):
    """A graph with nodes that run before, step after step, and afterwards, and values that are read several times."""
    nodes = {
        "e": nr.Node(nr.GRU(3, bidirectional=True), "known"),
        "start": nr.Node(nr.Dense(4, "tanh"), "s"),
        "h": nr.Node(nr.GRU(4), ["x", "e", "s"], state="start"),
        "y": nr.Node([nr.Dense(3, "tanh"), nr.Dense(2)], ["h", "x"]),
        "z": nr.Node([nr.LSTM(3), nr.Dense(1)], ["y", "h", "x"]),
        "last": nr.Node([nr.Last(), nr.Dense(1)], "h"),
    }
    inputs = {"x": 3, "known": 2, "s": nr.Input(2, steps=False)}
    net = nr.Graph(inputs, nodes, ["y", "z", "last"], dtype="float64", seed=seed)
    random = np.random.default_rng(seed)
    net.params.flat[...] += 0.1 * random.standard_normal(len(net.params))
    shapes = {"x": (6, 4, 3), "known": (6, 4, 2), "s": (4, 2)}
    return net, {name: random.standard_normal(shape) for name, shape in shapes.items()}


def encoder_and_decoder():
    """A decoder that feeds on its own output, from where the encoder has ended."""
    nodes = {
        "encoder": nr.Node(nr.LSTM(4), "past"),
        "decoder": nr.Node(nr.LSTM(4), ["x", "known"], state="encoder"),
        "y": nr.Node(nr.Dense(2), ["decoder", "known"]),
    }
    net = nr.Graph({"past": 2, "x": 2, "known": 1}, nodes, "y", dtype="float64", seed=0)
    return net, {"past": numbers((5, 3, 2)), "x": numbers((4, 3, 2), 1), "known": numbers((4, 3, 1), 2)}


def fed(forcing=0.0, name="x", output="y", **options):
    return {name: (output, nr.Feedback(forcing, **options))}


def in_a_loop(net, inputs, a):
    """The outputs, of ordinary passes over longer and longer inputs; a: strengths that broadcast to (T, N, 2)."""
    own = {name: array.copy() for name, array in inputs.items()}
    a = np.broadcast_to(a, (*own["x"].shape[:2], 2))
    for t in range(1, len(own["x"])):
        y = net({name: array[:t] if name in ("x", "known") else array for name, array in own.items()})[0]["y"]
        own["x"][t, :, :2] = a[t] * own["x"][t, :, :2] + (1 - a[t]) * y[t - 1]
    return net(own)


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
def test_it_is_the_loop_of_ordinary_passes(a):
    for net, inputs in (encoder_and_decoder(), causal()):
        found, state = net(inputs, feedback=fed(a))
        expected, final = in_a_loop(net, inputs, a)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-14)
        for label, each in final.items():
            np.testing.assert_allclose(state[label], each, rtol=1e-12, atol=1e-14)
        kept, last, _ = net.forward(inputs, feedback=fed(a))
        assert all(same_bits(found[name].copy(), kept[name].copy()) for name in found)
        assert all(map(np.array_equal, map(np.asarray, state.values()), map(np.asarray, last.values())))
        assert same_bits(net.predict(inputs, feedback=fed(a))["y"].copy(), found["y"].copy())


def causal():
    """`of_many` without what looks ahead: prefixes of it are passes of their own."""
    net, inputs = of_many()
    nodes = {
        "start": nr.Node(nr.Dense(4, "tanh"), "s"),
        "e": nr.Node(nr.GRU(3), "known"),
        "h": nr.Node(nr.GRU(4), ["x", "e", "s"], state="start"),
        "y": nr.Node([nr.Dense(3, "tanh"), nr.Dense(2)], ["h", "x"]),
        "z": nr.Node([nr.LSTM(3), nr.Dense(1)], ["y", "h", "x"]),
    }
    return nr.Graph({"x": 3, "known": 2, "s": nr.Input(2, steps=False)}, nodes, ["y", "z"], dtype="float64", seed=1), inputs


@pytest.mark.parametrize("way", ["equal", "padded", "reset", "ragged"])
def test_layers_in_a_row_have_the_bits_of_a_network(way):
    net, own, x = in_a_row(), network(), numbers((6, 4, 3))
    lengths, reset = drawn(1)
    feedback, options = nr.Feedback(strengths("each", (6, 4, 2)), every=3), {}
    if way == "ragged":
        x = packed(x, lengths)
    elif way != "equal":
        options = {"lengths": lengths, "reset": reset if way == "reset" else None}
    pair = {"x": ("y", feedback)}
    y, state, tape = net.forward({"x": x}, **options, feedback=pair)
    expected, final, kept = own.forward(x, **options, feedback=feedback)
    data = lambda array: array.data if way == "ragged" else array.copy()  # noqa: E731
    assert same_bits(data(y["y"]), data(expected)) and same_bits(state["h"].copy(), final[0].copy())
    dy = np.random.default_rng(0).standard_normal(data(expected).shape)
    dy = nr.Ragged(dy, expected.offsets) if way == "ragged" else dy
    g, h = net.backward(tape, {"y": dy}, {"h": np.ones_like(state["h"])}), own.backward(kept, dy, (np.ones_like(final[0]),))
    assert same_bits(g.params.flat, h.params.flat) and same_bits(data(g.x["x"]), data(h.x))
    assert same_bits(g.state["h"].copy(), h.state[0].copy())


@pytest.mark.parametrize("graph", [of_many, encoder_and_decoder])
def test_the_gradient_is_that_of_finite_differences(graph):
    @given(st.sampled_from(["number", "mask", "each"]), st.booleans(), st.integers(0, 99))
    def check(forcing, differ, seed):
        net, inputs = graph()
        shape = (*inputs["x"].shape[:2], 2)
        options = {"feedback": fed(strengths(forcing, shape, seed), every=seed % 4 or None)}
        if differ:
            lengths = np.random.default_rng(seed).integers(1, shape[0] + 1, shape[1])
            options["lengths"] = {"x": lengths, "known": lengths}
        check_graph(net, inputs, options, {}, seed)

    check()


def lost(self):
    """A mutant of `FedReturn.fill`: nothing by way of the next input."""
    self._steps.fed.ordinary = True
    FILL(self)


def first_part(self, steps):
    """A mutant of `Total.add_steps`: of what goes back to a value one part alone."""
    kept, self._parts = self._parts, self._parts[:1]
    ADD(self, steps)
    self._parts = kept


def whole(self):
    """A mutant of `FedAdjoint.given`: what is given matters as if all of it were."""
    self.fed.forcing = np.ones_like(self.fed.forcing)
    return GIVEN(self)


FILL, ADD, GIVEN = FedReturn.fill, Total.add_steps, FedAdjoint.given


@pytest.mark.parametrize("place, name, mutant", [
    (FedReturn, "fill", lost), (Total, "add_steps", first_part), (FedAdjoint, "given", whole),
])  # fmt: skip
def test_the_check_of_the_gradient_catches_mutants(place, name, mutant, monkeypatch):
    net, inputs = of_many()
    check_graph(net, inputs, {"feedback": fed(0.4)}, {})
    monkeypatch.setattr(place, name, mutant)
    with pytest.raises(AssertionError):
        check_graph(net, inputs, {"feedback": fed(0.4)}, {})


TARGETS = {"y": numbers((6, 4, 2), 5), "z": numbers((6, 4, 1), 6)}


def test_losses_and_trainings_are_those_of_its_outputs():
    net, inputs = of_many()
    pair, flat = fed(strengths("each", (6, 4, 2)), every=4), net.params.flat.copy()
    y = net.predict(inputs, feedback=pair)
    expected = sum(((y[name] - TARGETS[name]) ** 2).mean() for name in TARGETS)
    loss = dict.fromkeys(TARGETS, "mse")
    value, gradient = net.loss_and_gradient(flat, inputs, TARGETS, loss, feedback=pair)
    assert value == pytest.approx(expected, rel=1e-12) == net.loss(inputs, TARGETS, loss, feedback=pair)
    assert net.evaluate(inputs, TARGETS, loss, feedback=pair)["loss"] == pytest.approx(expected, rel=1e-12)
    _, _, tape = net.forward(inputs, feedback=pair)
    dy = {name: 2 * (y[name] - TARGETS[name]) / y[name].size for name in TARGETS}
    np.testing.assert_allclose(net.backward(tape, dy).params.flat, gradient, rtol=1e-10, atol=1e-13)
    losses, own = [], flat.copy()
    for _ in range(3):
        value, gradient = net.loss_and_gradient(own, inputs, TARGETS, loss, feedback=pair)
        losses.append(value)
        own -= 0.1 * gradient
    options = {"optimizer": nr.SGD(0.1), "epochs": 3, "progress": False, "batch_size": 4, "shuffle": False}
    found = net.fit(inputs, TARGETS, loss, **options, feedback=pair)
    np.testing.assert_allclose(found.loss, losses, rtol=1e-12)
    np.testing.assert_allclose(net.params.flat, own, rtol=1e-10, atol=1e-13)
    net.params.flat[...] = flat
    trainer = nr.Trainer(net, loss, optimizer=nr.SGD(0.1))
    assert trainer.update(inputs, TARGETS, feedback=pair) == found.loss[0]
    net.params.flat[...] = flat
    again = nr.Trainer(net, loss, optimizer=nr.SGD(0.1)).fit(
        inputs, TARGETS, epochs=3, batch_size=4, shuffle=False, feedback=pair, progress=False
    )
    assert again.loss == found.loss


@pytest.mark.parametrize("split_by", ["sample", "time"])
def test_a_training_is_that_of_the_network(split_by):
    """Batches of some samples, validation and all, to the bit."""
    net, own, x, y = in_a_row(), network(), numbers((8, 5, 3)), numbers((8, 5, 2), 1)
    x[2, 1, 0] = np.nan
    feedback = nr.Feedback(strengths("steps", (8, 5, 2)), every=3, missing=True)
    options = {"epochs": 3, "batch_size": 2, "progress": False, "validation_split": 0.4, "split_by": split_by, "seed": 1}
    one = net.fit({"x": x}, {"y": y}, **options, feedback={"x": ("y", feedback)})
    two = own.fit(x, y, **options, feedback=feedback)
    assert one.loss == two.loss and one.validation == two.validation and same_bits(net.params.flat, own.params.flat)


def test_wrong_arguments_are_named():
    net, inputs = of_many()
    for feedback, error, message in (
        (nr.Feedback(), TypeError, r"feedback: expected \{input: \(output, numbarnn.Feedback\(...\)\)\} of one input"),
        ({"x": nr.Feedback()}, TypeError, "feedback: expected .* of one input"),
        (fed(name="w"), nr.UnknownNameError, "feedback: unknown name 'w'"),
        (fed(output="h"), nr.UnknownNameError, "feedback: unknown name 'h'"),
        (fed(name="s"), ValueError, "feedback: expected an input of numbers with steps, got 's'"),
        (fed(output="last"), ValueError, "feedback: expected an output with steps that needs 'x', got 'last'"),
        (fed(name="known"), ValueError, r"feedback: expected nodes that take each step by itself, got GRU.* in 'e'"),
        (fed(np.zeros(3)), nr.ShapeError, r"feedback: expected forcing of shape \(6,\)"),
    ):
        with pytest.raises(error, match=message):
            net(inputs, feedback=feedback)
    with pytest.raises(ValueError, match="tape: expected 'all' beside feedback, got 'states'"):
        net.forward(inputs, feedback=fed(), tape="states")
    wide = nr.Graph({"x": 2}, {"h": nr.Node(nr.GRU(3), "x")}, "h", seed=0)
    with pytest.raises(nr.ShapeError, match="feedback: expected outputs of at most 2 channels.*got 3 of 'h'"):
        wide({"x": np.zeros((4, 1, 2), np.float32)}, feedback=fed(output="h"))
    shared = nr.Graph({"x": 2}, {"h": nr.Node(nr.Dense(2), "x"), "y": nr.Node("h", "h")}, "y", seed=0)
    with pytest.raises(ValueError, match="feedback: expected nodes with layers of their own, got 'h'"):
        shared({"x": np.zeros((4, 1, 2), np.float32)}, feedback=fed())


def test_other_layouts():
    """Channels that lie apart are copied."""
    net, inputs = of_many()
    other = nr.Graph(net._described_inputs, net._described_nodes, net._outputs, dtype="float64", layout="cnt")
    other.params.flat[...] = net.params.flat
    turned = {name: np.ascontiguousarray(array.transpose(range(array.ndim)[::-1])) for name, array in inputs.items()}
    one, two = net(inputs, feedback=fed(0.2))[0], other(turned, feedback=fed(0.2))[0]
    np.testing.assert_allclose(two["y"].transpose(2, 1, 0), one["y"], rtol=1e-13)
