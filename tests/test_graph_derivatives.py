"""Forward derivatives of graphs: the transposes of backward, on generated graphs, and what has none."""

import numpy as np
import pytest
from checks import flat_of
from graph_strategies import graph_cases
from hypothesis import given, settings
from tangent_checks import TRANSPOSE_ERROR, graph_transpose_error

import numbarnn as nr

T, N = 5, 3


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@settings(max_examples=30)
@given(graph_cases())
def test_forward_derivatives_and_backward_are_transposes(case):
    error = graph_transpose_error(case)
    assert error <= TRANSPOSE_ERROR, f"{case.net}: {error:.3g} of the terms"


def linked():
    """An encoder that starts a decoder, numbers without steps that start another layer, and a table."""
    nodes = {
        "words": nr.Node(nr.Embedding(6, 2), "source"),
        "encoder": nr.Node(nr.LSTM(3, layers=2), "words"),
        "decoder": nr.Node(nr.LSTM(3, layers=2), ["x", "place"], state="encoder"),
        "start": nr.Node(nr.Dense(2), "place"),
        "other": nr.Node(nr.GRU(2), "x", state="start"),
        "y": nr.Node(nr.Dense(1), ["decoder", "other"]),
        "end": nr.Node([nr.Last(), nr.Dense(2)], "encoder"),
    }
    inputs = {"source": None, "x": 1, "place": nr.Input(2, steps=False)}
    return nr.Graph(inputs, nodes, ["y", "end"], "float64", seed=0)


X = {"source": np.arange(T * N).reshape(T, N) % 6, "x": numbers(4, N, 1), "place": numbers(N, 2, seed=1)}


@pytest.mark.parametrize("way", ["dp", "x", "place"])
def test_slopes_of_what_moves_alone(way):
    """Against finite differences, and with nothing where nothing moves."""
    net, step = linked(), 1e-6
    flat, state = net.params.flat.copy(), {}
    _, _, tape = net.forward(X, state)
    direction = numbers(len(flat), seed=2) if way == "dp" else numbers(*X[way].shape, seed=2)
    dy, dstate = net.jvp(tape, **{"dp": direction} if way == "dp" else {"dx": {way: direction}})
    found = []
    for sign in (1, -1):
        net.params.flat[:] = flat + sign * step * direction if way == "dp" else flat
        found.append(net(X if way == "dp" else X | {way: X[way] + sign * step * direction}))
    net.params.flat[:] = flat
    for name in net.outputs:
        np.testing.assert_allclose((found[0][0][name] - found[1][0][name]) / (2 * step), dy[name], rtol=1e-6, atol=1e-8)
    for one, other, mine in zip(*(flat_of(each[1].values()) for each in found), flat_of(dstate.values()), strict=True):
        np.testing.assert_allclose((one - other) / (2 * step), mine, rtol=1e-6, atol=1e-8)
    if way != "dp":  # the encoder reads neither
        assert not dy["end"].any() and not any(part.any() for part in dstate["encoder"])
    several, states = net.jvp(tape, **{"dp": direction[None]} if way == "dp" else {"dx": {way: direction[None]}})
    assert np.array_equal(several["y"][0], dy["y"]) and np.array_equal(states["decoder"][1][0], dstate["decoder"][1])


def test_a_row_moves_as_the_network_does():
    rows = [nr.GRU(4, bidirectional=True), nr.LSTM(3), nr.Last(), nr.Dense(2, "tanh")]
    net, graph = (
        nr.Network(rows, 2, "float64", seed=1),
        nr.Graph({"x": 2}, {"a": nr.Node(rows, "x")}, "a", "float64", seed=1),
    )
    x, dp, dx = numbers(T, N, 2), numbers(2, len(net.params), seed=1), numbers(2, T, N, 2, seed=2)
    dstate = numbers(2, 2, N, 4, seed=3), None
    right, finals = net.jvp(net.forward(x)[2], dp, dx, dstate)
    found, last = graph.jvp(graph.forward({"x": x})[2], dp, {"x": dx}, {"a.0": dstate[0]})
    assert np.array_equal(found["a"], right) and np.array_equal(last["a.0"], finals[0])
    assert all(map(np.array_equal, last["a.1"], finals[1]))


def test_tangents_are_no_memory_of_those_given():
    net = nr.Graph({"x": 2}, {"same": nr.Node(nr.Activation("linear"), "x")}, "same", "float64")
    dx = numbers(T, N, 2)
    dy, dstate = net.jvp(net.forward({"x": np.ones((T, N, 2))})[2], dx={"x": dx})
    assert np.array_equal(dy["same"], dx) and not np.shares_memory(dy["same"], dx) and dstate == {}


def test_wrong_arguments_are_named():
    net = linked()
    tape = net.forward(X)[2]
    for call, error, message in [
        (lambda: net.jvp(3, np.ones(3)), TypeError, "tape: expected one that forward of this graph returned"),
        (lambda: net.jvp(linked().forward(X)[2], np.ones(3)), TypeError, "tape: expected one that forward of this graph"),
        (lambda: net.jvp(tape), ValueError, "dp: expected dp, dx or dstate, got None for all of them"),
        (lambda: net.jvp(tape, np.ones(3)), nr.ShapeError, "dp: expected shape"),
        (lambda: net.jvp(tape, dx=X["x"]), TypeError, "dx: expected tangents of inputs in a dict by name"),
        (lambda: net.jvp(tape, dx={"z": X["x"]}), nr.UnknownNameError, "dx: unknown name 'z'"),
        (lambda: net.jvp(tape, dx={"source": X["source"]}), ValueError, r"dx\['source'\]: expected None, since there is no"),
        (lambda: net.jvp(tape, dx={"x": X["x"][:2]}), nr.ShapeError, r"dx\['x'\]: expected 4 steps"),
        (lambda: net.jvp(tape, dx={"place": numbers(N, 3)}), nr.ShapeError, r"dx\['place'\]: expected 2 channels"),
        (
            lambda: net.jvp(tape, dx={"x": X["x"][None], "place": X["place"]}),
            nr.ShapeError,
            r"dx\['place'\]: expected an axis",
        ),
        (
            lambda: net.jvp(tape, dstate={"decoder": 3}),
            ValueError,
            r"dstate\['decoder'\]: expected None, since its node starts",
        ),
        (lambda: net.jvp(tape, dstate={"y": 3}), nr.UnknownNameError, "dstate: unknown name 'y'"),
        (lambda: net.jvp(tape, dstate={"encoder": numbers(4, N, 3)}), TypeError, r"dstate\['encoder'\]: expected the pair"),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            call()
    given = net.forward(X, {"decoder": (numbers(2, N, 3), numbers(2, N, 3, seed=1))})[2]
    dy, _ = net.jvp(given, dstate={"decoder": (np.ones((2, N, 3)), np.zeros((2, N, 3)))})
    assert dy["y"].any() and not dy["end"].any()
