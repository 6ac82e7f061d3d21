"""Hidden states, predictions of many seeds and probabilities of a graph: against the same network, or by hand."""

import numpy as np
import pytest

import numbarnn as nr

T, N, C = 5, 3, 2
LENGTHS = np.array([5, 0, 3])


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def pair(rows, layout="tnc"):
    """(a network, the graph that it is)."""
    net = nr.Network(rows, C, "float64", layout, seed=1)
    nodes = {"a": nr.Node(rows[:2], "x"), "b": nr.Node(rows[2:], "a")}
    return net, nr.Graph({"x": C}, nodes, ["b"], "float64", layout, seed=1)


def translator():
    """An encoder whose final state starts a decoder, and two outputs of classes."""
    nodes = {
        "encoder": nr.Node(nr.LSTM(4, layers=2, bidirectional=True), ["past", "static"]),
        "decoder": nr.Node([nr.Dropout(0.3), nr.LSTM(4, layers=2, bidirectional=True)], "known", state="encoder"),
        "letter": nr.Node(nr.Dense(3), "decoder"),
        "any": nr.Node([nr.Last(), nr.Dense(1)], "encoder"),
    }
    inputs = {"past": 2, "static": nr.Input(1, steps=False), "known": 3}
    return nr.Graph(inputs, nodes, ["letter", "any"], "float64", seed=0)


INPUTS = {"past": numbers(T, N, 2), "static": numbers(N, 1, seed=1), "known": numbers(4, N, 3, seed=2)}


@pytest.mark.parametrize("layout", ["tnc", "cnt"])
@pytest.mark.parametrize("options", [{}, {"lengths": LENGTHS}, {"reset": numbers(T, N, seed=3) > 0}], ids=str)
def test_layers_in_a_row_say_what_a_network_says(options, layout):
    rows = [nr.LSTM(3, layers=2, dropout=0.3), nr.Dropout(0.2), nr.GRU(2, bidirectional=True), nr.Dense(3)]
    (net, graph), x = pair(rows, layout), numbers(T, N, C).transpose(["tnc".index(letter) for letter in layout])
    many, right = graph.predict_many({"x": x}, range(3), **options), net.predict_many(x, range(3), **options)
    assert [*many] == ["b"] and isinstance(many["b"], nr.Predictions)
    assert np.array_equal(many["b"].members, right.members) and np.array_equal(many["b"].spread, right.spread)
    for seed in range(3):
        assert np.array_equal(graph.predict({"x": x}, seed=seed, **options)["b"], many["b"].members[seed])
    for loss in ("cross_entropy", "binary_cross_entropy", nr.CrossEntropy(ignore_index=0)):
        p = graph.probabilities({"x": x}, loss=loss, seed=2, **options)["b"]
        assert np.array_equal(p, net.probabilities(x, loss=loss, seed=2, **options))
    state = {"a.0": (numbers(2, N, 3), numbers(2, N, 3, seed=1))}
    for layer, label, index in ((0, "a.0", 0), (0, "a.0", -1), (2, "b.0", 0), (None, None, -1)):
        given = state["a.0"], None
        found = graph.states({"x": x}, label, state, index=index, **options)
        assert np.array_equal(found, net.states(x, layer, given, index=index, **options))


def test_states_behind_links_and_joins():
    net = translator()
    _, final = net(INPUTS)
    encoded, decoded = net.states(INPUTS, "encoder"), net.states(INPUTS)
    assert encoded.shape == (T, N, 8) and decoded.shape == (4, N, 8)
    for h, label in ((encoded, "encoder"), (decoded, "decoder.1")):
        assert np.array_equal(h[-1, :, :4], final[label][0][2]) and np.array_equal(h[0, :, 4:], final[label][0][3])
    lengths = {"past": LENGTHS, "known": [4, 1, 0]}
    ragged = {
        name: nr.Ragged.of([INPUTS[name][:length, n] for n, length in enumerate(own)]) for name, own in lengths.items()
    }
    found = net.states(INPUTS | ragged, "decoder.1", index=0)
    assert isinstance(found, nr.Ragged)
    assert np.array_equal(found.padded(), net.states(INPUTS, "decoder.1", lengths=lengths, index=0))


def test_probabilities_of_outputs_by_name():
    net = translator()
    p, y = net.probabilities(INPUTS, loss={"letter": "cross_entropy"}), net.predict(INPUTS)
    assert [*p] == ["letter"] and np.allclose(p["letter"].sum(axis=2), 1)
    powers = np.exp(y["letter"])
    np.testing.assert_allclose(p["letter"], powers / powers.sum(axis=2, keepdims=True), rtol=1e-13)
    both = net.probabilities(INPUTS, loss={"letter": "cross_entropy", "any": "binary_cross_entropy"})
    np.testing.assert_allclose(both["any"], 1 / (1 + np.exp(-y["any"])), rtol=1e-13)
    lengths = {"known": [4, 0, 2]}
    p = net.probabilities(INPUTS, lengths, loss={"letter": "cross_entropy"})["letter"]
    powers = np.exp(net.predict(INPUTS, lengths)["letter"])
    assert not p[:, 1].any() and not p[2:, 2].any()
    np.testing.assert_allclose(p[:2, 2], (powers / powers.sum(axis=2, keepdims=True))[:2, 2], rtol=1e-13)


def test_a_decoder_starts_afresh_from_where_its_encoder_has_ended():
    net, at = translator(), 2
    reset = np.zeros((4, N), bool)
    reset[at] = True
    whole = net.predict(INPUTS, reset={"known": reset})["letter"]
    parts = [net.predict(INPUTS | {"known": INPUTS["known"][part]})["letter"] for part in (slice(at), slice(at, None))]
    assert np.array_equal(whole, np.concatenate(parts))


def test_wrong_arguments_are_named():
    net, rigid = translator(), nr.Graph({"x": 2}, {"y": nr.Node(nr.Dense(1, "sigmoid"), "x")}, ["y"])
    x = {"x": numbers(T, N, 2)}
    for call, error, message in [
        (lambda: net.predict_many(INPUTS, 3), TypeError, "seeds: expected"),
        (lambda: net.predict_many(INPUTS, []), ValueError, "seeds: expected"),
        (
            lambda: rigid.predict_many(x, [0]),
            ValueError,
            "seeds: expected a graph that draws dropout, zoneout or noise, got G",
        ),
        (lambda: net.probabilities(INPUTS), ValueError, r'loss\[\'any\'\]: expected "binary_cross_entropy" for 1 output'),
        (lambda: net.probabilities(INPUTS, loss="mse"), ValueError, r"loss\['letter'\]: expected \"cross_entropy\" or"),
        (lambda: net.probabilities(INPUTS, loss={"z": "mse"}), nr.UnknownNameError, "loss: unknown name 'z'"),
        (lambda: rigid.probabilities(x, loss="binary_cross_entropy"), ValueError, r"nodes\['y'\]: expected the last one to"),
        (lambda: rigid.states(x), TypeError, "layer: expected a graph with a recurrent layer, got Graph"),
        (
            lambda: net.states(INPUTS, "decoder"),
            nr.UnknownNameError,
            "layer: unknown name 'decoder', expected .*'decoder.1'",
        ),
        (lambda: net.states(INPUTS, index=2), nr.IndexRangeError, "index: expected an index of 2 stacked layers, got 2"),
        (lambda: net.states(INPUTS, reset={"past": [[3]]}), nr.DTypeError, r"reset\['past'\]: expected True and False"),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            call()
