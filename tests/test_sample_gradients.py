"""Gradients of samples that go back together: vectors, tables and losses of one's own have the bits of each alone."""

import numpy as np
import pytest
from checks import same_bits

import numbarnn as nr
from numbarnn.layers.embedding import LookupRows
from numbarnn.layers.recurrence import RowVectors
from numbarnn.networks.seen import Seen
from numbarnn.training.workspace import Workspace

LENGTHS = np.array([5, 2, 6, 1, 4])


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def words(seed=0):
    return np.random.default_rng(seed).integers(0, 4, (6, 5))


def own_loss(prediction, target, weights=None):
    """A loss of one's own that is no mean: each number matters to the derivative of the others."""
    a = 1.0 if weights is None else weights
    error = a * (prediction - target)
    total = float((error**2).sum())
    return np.log1p(total), 2 * a * error / (1 + total)


LAYERS = {
    "learned": [nr.GRU(3, learned_state=True), nr.LSTM(2, learned_state=True, layers=2), nr.Dense(2)],
    "both ways": [nr.LSTM(3, bidirectional=True, learned_state=True), nr.Dense(2)],
    "peepholes": [nr.LSTM(3, peepholes=True, bidirectional=True), nr.GRU(3, learned_state=True), nr.Dense(2)],
    "rates": [nr.LeakyRNN(3, rate=0.5, learned=True), nr.IndRNN(9), nr.Dense(2)],
    "normalized": [nr.LSTM(3, normalized=True), nr.GRU(9, normalized=True), nr.Dense(2)],
    "table": [nr.Embedding(4, 3), nr.GRU(3, learned_state=True), nr.Dense(2)],
}


def net_of(kind, layout="tnc", last=False):
    layers = LAYERS[kind][:-1] + [nr.Last()] * last + LAYERS[kind][-1:]
    net = nr.Network(layers, 1 if kind == "table" else 2, dtype="float64", layout=layout, seed=1)
    net.params.flat[...] += 0.3 * numbers(len(net.params), seed=2)
    return net


def alone(net, x, y, loss, weights=None):
    """The gradient of one sample, given by itself."""
    return net.loss_and_gradient(net.params.flat, x, y, loss, weights=weights)[1]


def together_only(monkeypatch):
    """Let no sample go by itself."""

    def refuse(*arguments, **options):
        raise AssertionError("a sample went by itself")

    monkeypatch.setattr(Workspace, "gradient", refuse)


def found_of(monkeypatch, net, *arguments, **options):
    """`sample_gradients`, of which no sample has gone by itself."""
    with monkeypatch.context() as context:
        together_only(context)
        return net.sample_gradients(net.params.flat, *arguments, **options)


@pytest.mark.parametrize("loss", ["mse", "nash_sutcliffe", own_loss])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("way", ["equal", "last", "lengths", "ragged"])
def test_they_have_the_bits_of_each_sample(kind, loss, way, monkeypatch):
    net, x = net_of(kind, last=way == "last"), words() if kind == "table" else numbers(6, 5, 2)
    y = numbers(5, 2, seed=3) if way == "last" else numbers(6, 5, 2, seed=3)
    if loss == "nash_sutcliffe" and way != "equal":
        return  # of one number, or of one step, there is no spread
    if way == "ragged":
        ragged = (nr.Ragged.of([each[:length, n] for n, length in enumerate(LENGTHS)]) for each in (x, y))
        found = found_of(monkeypatch, net, *ragged, loss)
    else:
        found = found_of(monkeypatch, net, x, y, loss, lengths=LENGTHS if way == "lengths" else None)
    for n, length in enumerate(LENGTHS):
        span = slice(None) if way in ("equal", "last") else slice(length)
        expected = alone(net, x[span, n : n + 1], y[n : n + 1] if way == "last" else y[span, n : n + 1], loss)
        if way in ("equal", "last"):
            assert same_bits(found[n], expected)
        else:
            np.testing.assert_allclose(found[n], expected, rtol=1e-12, atol=1e-15)


def test_a_loss_of_ones_own_with_weights_and_other_layouts(monkeypatch):
    net, x, y, w = net_of("learned", "cnt"), numbers(2, 5, 6), numbers(2, 5, 6, seed=3), numbers(5, 6, seed=4) ** 2
    w[3] = 0
    found = found_of(monkeypatch, net, x, y, own_loss, weights=w)
    for n in range(5):
        some = (slice(None), slice(n, n + 1))
        expected = alone(net, x[some], y[some], own_loss, w[n : n + 1]) if n != 3 else 0
        np.testing.assert_allclose(found[n], expected, rtol=1e-13, atol=1e-16)


def test_several_pieces_and_a_graph(monkeypatch):
    """Of a table that one node reads, beside a learned state and two losses, one of them one's own."""
    nodes = {
        "e": nr.Node(nr.Embedding(4, 3), "words"),
        "h": nr.Node(nr.GRU(3, learned_state=True), ["e", "x"]),
        "y": nr.Node(nr.Dense(1), "h"),
        "z": nr.Node([nr.Last(), nr.Dense(2)], "h"),
    }
    net = nr.Graph({"words": None, "x": 1}, nodes, ["y", "z"], dtype="float64", seed=0)
    net.params.flat[...] += 0.3 * numbers(len(net.params), seed=2)
    x, y = {"words": words(), "x": numbers(6, 5, 1)}, {"y": numbers(6, 5, 1, seed=3), "z": numbers(5, 2, seed=4)}
    loss = {"y": (own_loss, 0.5), "z": "mse"}
    monkeypatch.setattr("numbarnn.networks.derived.ROWS", 13)  # pieces of two samples, and one by itself
    found = net.sample_gradients(net.params.flat, x, y, loss)
    for n in range(5):
        own = {k: v[:, n : n + 1] for k, v in x.items()}, {"y": y["y"][:, n : n + 1], "z": y["z"][n : n + 1]}
        assert same_bits(found[n], net.loss_and_gradient(net.params.flat, *own, loss)[1])


def no_rows(self):
    """A mutant of what writes the gradient of each sequence: nothing."""


def first_only(self):
    """A mutant of `Seen._rows_of_samples`: each sample's loss is that of the first."""
    return [ROWS(self)[0]] * self.samples.x.count


ROWS = Seen._rows_of_samples


@pytest.mark.parametrize("kind, place, name, mutant", [
    ("learned", RowVectors, "fill", no_rows), ("normalized", RowVectors, "fill", no_rows),
    ("table", LookupRows, "fill", no_rows),
    ("learned", Seen, "_rows_of_samples", first_only),
])  # fmt: skip
def test_mutants_are_caught(kind, place, name, mutant, monkeypatch):
    net, x, y = net_of(kind), words() if kind == "table" else numbers(6, 5, 2), numbers(6, 5, 2, seed=3)
    expected = alone(net, x[:, 1:2], y[:, 1:2], own_loss)
    assert same_bits(net.sample_gradients(net.params.flat, x, y, own_loss)[1], expected)
    monkeypatch.setattr(place, name, mutant)
    assert not np.allclose(net.sample_gradients(net.params.flat, x, y, own_loss)[1], expected, rtol=1e-6)
