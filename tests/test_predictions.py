"""Besides one prediction, a network gives hidden states, predictions of many seeds, and probabilities."""

import numpy as np
import pytest

import numbarnn as nr

T, N, C = 5, 3, 2
LENGTHS = np.array([5, 0, 3])
THERE = np.arange(T)[:, None] < LENGTHS


def numbers(shape=(T, N, C), seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_hidden_states_are_the_outputs_of_the_layers():
    layers = [nr.GRU(3, bidirectional=True, merge="sum"), nr.LSTM(2, layers=2), nr.Last(), nr.Dense(1)]
    net, x = nr.Network(layers, C, "float64", seed=0), numbers()
    parts = net.split(net.params.flat)
    first = nr.GRU(3, bidirectional=True)(parts[0], x, lengths=LENGTHS)[0]
    assert np.array_equal(net.states(x, 0, lengths=LENGTHS), first)
    second = net.layers[1](parts[1], first[..., :3] + first[..., 3:], lengths=LENGTHS)[0]
    assert np.array_equal(net.states(x, lengths=LENGTHS), second)
    _, final = net(x)
    for index in (0, 1, -1):
        assert np.array_equal(net.states(x, 1, index=index)[-1], final[1][0][index])
    goes_on = net.states(x, 1, state=final)
    assert np.array_equal(goes_on[-1], net(x, final)[1][1][0][1]) and not np.array_equal(goes_on, net.states(x, 1))
    ragged = nr.Ragged(np.concatenate([x[:length, n] for n, length in enumerate(LENGTHS)]), [0, 5, 5, 8])
    assert np.array_equal(net.states(ragged).data[5:], second[:3, 2])
    assert net.states(x[:, 0]).shape == (T, 2)
    for layer, error in ((2, TypeError), (4, nr.IndexRangeError), (1.0, TypeError)):
        with pytest.raises(error, match="layer: expected"):
            net.states(x, layer)
    with pytest.raises(nr.IndexRangeError, match="index: expected an index of 2"):
        net.states(x, 1, index=2)
    with pytest.raises(TypeError, match="layer: expected a network with a recurrent layer"):
        nr.Network([nr.Dense(1)], C).states(x)


@pytest.mark.parametrize("kind", ["sequences", "one", "ntc", "indices", "last", "both ways"])
def test_a_long_sequence_is_predicted_in_pieces_with_the_bits_of_the_whole(kind, monkeypatch):
    rows = [nr.LSTM(3, layers=2), nr.GRU(2, bidirectional=kind == "both ways"), nr.Dense(2)]
    rows = [nr.Embedding(5, 2), *rows] if kind == "indices" else [*rows[:2], nr.Last(), rows[2]] if kind == "last" else rows
    net = nr.Network(rows, None if kind == "indices" else C, "float64", "ntc" if kind == "ntc" else "tnc", seed=0)
    x = np.random.default_rng(1).integers(0, 5, (17, N)) if kind == "indices" else numbers((17, N, C))
    x = x[:, 0] if kind == "one" else x.swapaxes(0, 1) if kind == "ntc" else x
    whole, seen, run = net.predict(x), [], nr.Network._forward
    p = net.probabilities(x)

    def counted(self, parts, described, *given, **more):
        seen.append(described.packing.rows)
        return run(self, parts, described, *given, **more)

    monkeypatch.setattr(nr.Network, "_piece_rows", 4)
    monkeypatch.setattr(nr.Network, "_forward", counted)
    assert np.array_equal(net.predict(x), whole)
    assert sum(seen) == x.size // (1 if kind == "indices" else C) and max(seen) == (
        17 if kind in ("last", "both ways") else 4
    )
    assert np.array_equal(net.probabilities(x), p)


def test_predictions_of_many_seeds(monkeypatch):
    net = nr.Network([nr.GRU(3, input_dropout=0.3), nr.Dropout(0.2), nr.Dense(1)], C, "float64", seed=0)
    x = numbers()
    found = net.predict_many(x, range(4), lengths=LENGTHS)
    assert isinstance(found, nr.Predictions) and len(found) == 4
    for seed, member in enumerate(found.members):
        assert np.array_equal(member, net.predict(x, LENGTHS, seed=seed)) and not member[~THERE].any()
    assert found.spread[THERE].all() and not found.spread[~THERE].any()
    assert np.array_equal(found.mean, found.members.mean(axis=0))
    monkeypatch.setattr(nr.Network, "_piece_rows", 2)  # what is drawn does not depend on how much is predicted at once
    assert np.array_equal(net.predict(x, LENGTHS, seed=3), found.members[3])
    ragged = nr.Ragged(numbers((8, C)), [0, 5, 5, 8])
    assert isinstance(net.predict_many(ragged, [0, 1]).mean, nr.Ragged)
    with pytest.raises(ValueError, match="seeds: expected a network that draws"):
        nr.Network([nr.GRU(3), nr.Dense(1)], C).predict_many(x, [0])
    for seeds, error in ((3, TypeError), ([], ValueError), ([-1], ValueError), (["a"], TypeError)):
        with pytest.raises(error, match="seeds"):
            net.predict_many(x, seeds)


@pytest.mark.parametrize("layout", ["tnc", "cnt"])
def test_probabilities(layout):
    net = nr.Network([nr.GRU(3), nr.Dense(4)], C, "float64", layout, seed=0)
    net.params.flat[...] *= 30
    x = numbers().transpose(["tnc".index(letter) for letter in layout])
    channels = layout.index("c")
    z = np.moveaxis(net.predict(x, LENGTHS), channels, -1)
    rest = THERE if layout == "tnc" else THERE.T
    p = np.moveaxis(net.probabilities(x, LENGTHS), channels, -1)
    powers = np.exp(z)
    np.testing.assert_allclose(p[rest], (powers / powers.sum(-1, keepdims=True))[rest], rtol=1e-13)
    assert not p[~rest].any()
    q = np.moveaxis(net.probabilities(x, LENGTHS, loss=nr.BinaryCrossEntropy()), channels, -1)
    np.testing.assert_allclose(q[rest], 1 / (1 + np.exp(-z[rest])), rtol=1e-13)
    assert not q[~rest].any()


def test_probabilities_of_large_logits_of_none_and_of_what_has_some_already():
    net = nr.Network([nr.Dense(2)], 2, "float64", seed=0)
    net.params["0.weight"][...] = np.eye(2)
    net.params["0.bias"][...] = 0
    assert net.probabilities(np.array([[1e4, -1e4]])).tolist() == [[1, 0]]
    tiny = net.probabilities(np.array([[-700.0, 800.0]]), loss="binary_cross_entropy")
    assert tiny[0, 0] == np.exp(-700) and tiny[0, 1] == 1
    assert np.isnan(net.probabilities(np.array([[np.nan, 1.0]]))).all()
    assert nr.Network([nr.GRU(2), nr.Last(), nr.Dense(3)], 1).probabilities(np.zeros((4, 0, 1), "f4")).shape == (0, 3)
    for last in (nr.Dense(1, "sigmoid"), nr.Activation("hard_sigmoid"), nr.Activation(("hard_sigmoid", 0.3))):
        with pytest.raises(ValueError, match="layers: expected the last one to give logits"):
            nr.Network([last], 2).probabilities(numbers((3, 2)), loss="binary_cross_entropy")
    with pytest.raises(ValueError, match="binary_cross_entropy.* for 1 output channel"):
        nr.Network([nr.Dense(1)], 2).probabilities(numbers((3, 2)))
    with pytest.raises(ValueError, match="loss: expected"):
        net.probabilities(numbers((3, 2)), loss="mse")
