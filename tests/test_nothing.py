"""Empty inputs, without steps, sequences or samples: an empty result, or an error that names the argument."""

import numpy as np
import pytest
from checks import as_tuple, like, same_bits

import numbarnn as nr

LAYERS = [nr.GRU(3), nr.LSTM(3, bidirectional=True)]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_no_steps(layer):
    p, x = layer.init(2, seed=0), np.zeros((0, 4, 2), np.float32)
    state = [np.full((layer.directions, 4, 3), n + 1, np.float32) for n in range(layer.cell.states)]
    y, final, tape = layer.forward(p, x, like(() if len(state) > 1 else None, state))
    assert y.shape == (0, 4, 3 * layer.directions) and same_bits(as_tuple(final), tuple(state))
    found = layer.backward(tape, y, final)
    assert same_bits(as_tuple(found.state), tuple(state)) and found.x.shape == x.shape and not found.params.flat.any()
    assert same_bits(layer(p, x, reset=np.zeros((0, 4), bool))[0].copy(), y.copy())


@pytest.mark.parametrize("layer", [nr.Dense(3), nr.Activation("tanh"), nr.Dropout(0.5), nr.Embedding(5, 3)], ids=repr)
def test_no_steps_without_memory(layer):
    p = layer.init(1 if layer.takes_indices else 3)
    x = np.zeros((0, 4), int) if layer.takes_indices else np.zeros((0, 4, 3), np.float32)
    y, tape = layer.forward(p, x)
    assert y.shape == (0, 4, 3) and not layer.backward(tape, y).params.flat.any()


def test_predictions_of_no_steps_and_of_no_samples():
    last = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(1)], channels=2, seed=0)
    steps = nr.Network([nr.GRU(3), nr.Dense(1)], channels=2, layout="ntc", seed=0)
    index = nr.Network([nr.Embedding(5, 2), nr.GRU(3), nr.Last()], seed=0)
    assert same_bits(last.predict(np.zeros((0, 3, 2), np.float32)), np.tile(last.params["2.bias"], (3, 1)))
    assert last.predict(np.zeros((4, 0, 2), np.float32)).shape == (0, 1)
    assert last.predict(np.zeros((4, 0, 2)), lengths=[]).shape == (0, 1)
    assert steps.predict(np.zeros((0, 4, 2), np.float32)).shape == (0, 4, 1)
    assert steps.predict(np.zeros((3, 0, 2), np.float32)).shape == (3, 0, 1)
    assert index.predict(np.zeros((4, 0), int)).shape == (0, 3)
    none = nr.Ragged(np.zeros((0, 2), np.float32), [0])
    assert repr(none) == "Ragged(0 sequences of 0 to 0 steps, 2 channels, float32)" and len(none) == 0
    assert last.predict(none).shape == (0, 1) and len(steps.predict(none)) == 0
    with pytest.raises(nr.ShapeError, match="x: expected 2 channels, got 3"):
        last.predict(np.zeros((4, 0, 3), np.float32))
    with pytest.raises(nr.ShapeError, match="lengths: expected shape"):
        last.predict(np.zeros((4, 0, 2), np.float32), lengths=[1])


def test_what_nothing_is_left_of():
    net, x = nr.Network([nr.GRU(3), nr.Last()], channels=2), np.zeros((4, 3, 2), np.float32)
    for call in (net.loss, net.fit):
        with pytest.raises(nr.ShapeError, match="x: expected at least one step"):
            call(x[:0], np.zeros((3, 3), np.float32))
        with pytest.raises(nr.ShapeError, match="x: expected at least one se"):
            call(x[:, :0], np.zeros((0, 3), np.float32))
    for layer in (*LAYERS, nr.Dense(3), nr.Last()):
        with pytest.raises(nr.ShapeError, match="x: expected at least one sequence, got none"):
            layer(layer.init(2), x[:, :0])
    with pytest.raises(nr.ShapeError, match="expected at least one of channels"):
        LAYERS[0](LAYERS[0].init(2), x[..., :0])


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
def test_states_and_probabilities_of_no_samples(layout):
    net = nr.Network([nr.GRU(3, layers=2), nr.LSTM(2, bidirectional=True), nr.Last(), nr.Dense(2)], 2, layout=layout, seed=0)
    x, steps = np.zeros((4, 0, 2) if layout == "tnc" else (0, 4, 2), np.float32), (4, 0) if layout == "tnc" else (0, 4)
    assert net.states(x).shape == (*steps, 4) and net.states(x, layer=0, index=0).shape == (*steps, 3)
    assert net.states(x, lengths=[], reset=np.zeros((4, 0), bool)).shape == (*steps, 4)
    state = np.zeros((2, 0, 3), np.float32), (np.zeros((2, 0, 2), np.float32),) * 2
    assert net.states(x, state=state).shape == (*steps, 4) and net.probabilities(x).shape == (0, 2)
    none = net.states(nr.Ragged(np.zeros((0, 2), np.float32), [0]))
    assert isinstance(none, nr.Ragged) and len(none) == 0 and none.channels == 4
    with pytest.raises(nr.ShapeError, match="lengths: expected shape"):
        net.states(x, lengths=[1])
    with pytest.raises(nr.ShapeError, match=r"state\[0\]: expected shape \(2, 0, 3\)"):
        net.states(x, state=(np.zeros((2, 1, 3), np.float32), None))
    index = nr.Network([nr.Embedding(5, 2), nr.Dropout(0.5), nr.GRU(3)], seed=0)
    assert index.states(np.zeros((4, 0), int)).shape == (4, 0, 3)
    assert index.predict_many(np.zeros((4, 0), int), [1, 2]).members.shape == (2, 4, 0, 3)


@pytest.mark.parametrize("layout", ["tnc", "ntc"])
def test_graphs_of_no_sequences(layout):
    nodes = {
        "e": nr.Node([nr.Embedding(5, 2), nr.Dropout(0.3)], "words"),
        "h": nr.Node(nr.GRU(3), ["e", "place"]),
        "ends": nr.Node([nr.Last(), nr.Dense(4)], "h"),
        "y": nr.Node(nr.LSTM(2), ["x", "place"], state="ends"),
    }
    inputs = {"words": None, "place": nr.Input(2, steps=False), "x": 1}
    net = nr.Graph(inputs, nodes, ["ends", "y"], layout=layout, seed=0)
    x = {
        "words": np.zeros((4, 0) if layout == "tnc" else (0, 4), int), "place": np.zeros((0, 2)),
        "x": np.zeros((5, 0, 1) if layout == "tnc" else (0, 5, 1)),
    }  # fmt: skip
    of_y, of_h = ((5, 0, 2), (4, 0, 3)) if layout == "tnc" else ((0, 5, 2), (0, 4, 3))
    found = net.predict(x)
    assert {name: each.shape for name, each in found.items()} == {"ends": (0, 4), "y": of_y}
    assert found["y"].dtype == np.float32 and net.predict(x, {"words": []}, seed=1)["y"].shape == of_y
    assert net.predict_many(x, [1, 2])["y"].members.shape == (2, *of_y)
    assert net.probabilities(x, loss={"ends": "cross_entropy"})["ends"].shape == (0, 4)
    assert net.states(x, "h").shape == of_h and net.states(x, "y", {"h": np.zeros((1, 0, 3), np.float32)}).shape == of_y
    ragged = {**x, "words": nr.Ragged(np.zeros(0, int), [0]), "x": nr.Ragged(np.zeros((0, 1), np.float32), [0])}
    found = net.predict(ragged)
    assert len(found["y"]) == 0 and found["y"].channels == 2 and len(net.states(ragged, "h")) == 0
    for call, error, message in [
        (lambda: net.predict(x, {"words": [1]}), nr.ShapeError, r"lengths\['words'\]: expected shape \(0,\)"),
        (
            lambda: net.predict({**x, "x": np.repeat(x["x"], 3, axis=2)}),
            nr.ShapeError,
            r"inputs\['x'\]: expected 1 channels",
        ),
        (
            lambda: net.predict({**x, "place": np.zeros((2, 2))}),
            nr.ShapeError,
            r"inputs\['(x|words)'\]: expected at least one",
        ),
        (lambda: net.states(x, "h", {"h": np.zeros((1, 1, 3), np.float32)}), nr.ShapeError, r"state\['h'\]: expected shape"),
        (lambda: net(x), nr.ShapeError, "expected at least one sequence, got none"),
    ]:
        with pytest.raises(error, match=message):
            call()
