"""Readouts of graphs by ridge regression: as in networks, of joined values, and for several outputs at once."""

import numpy as np
import pytest
from checks import same_bits
from test_readout import closed_form

import numbarnn as nr
from numbarnn.graphs import readout

H, U = 6, 2
RESERVOIR = nr.LeakyRNN(H, 0.5, connectivity=nr.Connectivity(density=0.5, spectral_radius=0.9))


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def make(dtype="float64"):
    """A reservoir, an output that reads it beside its input and what has no steps, and one for each whole sequence."""
    nodes = {
        "h": nr.Node(RESERVOIR, "x"),
        "y": nr.Node(nr.Dense(U), ["h", "x", "level"]),
        "end": nr.Node([nr.Last(), nr.Dense(U)], "h"),
        "other": nr.Node(nr.Dense(1, "tanh"), "y"),
    }
    return nr.Graph({"x": 1, "level": nr.Input(1, steps=False)}, nodes, ["y", "end", "other"], dtype, seed=1)


@pytest.mark.parametrize("kind", ["uniform", "lengths", "ragged", "reset"])
@pytest.mark.parametrize("warmup, chunk", [(0, 4096), (3, 7)])
def test_as_the_network_in_a_row(kind, warmup, chunk):
    net = nr.Network([RESERVOIR, nr.Dense(U)], 1, "float64", seed=1)
    graph = nr.Graph({"x": 1}, {"h": nr.Node(RESERVOIR, "x"), "y": nr.Node(nr.Dense(U), "h")}, ["y"], "float64", seed=1)
    x, y, options, lengths = random(30, 3, 1), random(30, 3, U, seed=2), {}, [30, 0, 17]
    if kind == "lengths":
        options["lengths"] = lengths
    elif kind == "reset":
        options["reset"] = random(30, 3) > 1
    elif kind == "ragged":
        x, y = (nr.Ragged.of([array[:length, n] for n, length in enumerate(lengths)]) for array in (x, y))
    else:
        options["weights"] = np.abs(random(30, 3, seed=3))
    named = {name: {"y": value} if name == "weights" else {"x": value} for name, value in options.items()}
    expected = net.fit_readout(x, y, 0.1, warmup, chunk=chunk, **options)
    assert graph.fit_readout({"x": x}, {"y": y}, 0.1, warmup, chunk=chunk, **named) == {"y": expected}
    assert same_bits(net.params.flat, graph.params.flat)


def test_one_long_sequence_in_pieces():
    net = nr.Network([RESERVOIR, nr.Dense(U)], 1, "float64", seed=1)
    graph = nr.Graph({"x": 1}, {"h": nr.Node(RESERVOIR, "x"), "y": nr.Node(nr.Dense(U), "h")}, ["y"], "float64", seed=1)
    x, y = random(50, 1, 1), random(50, 1, U, seed=2)
    assert graph.fit_readout({"x": x}, {"y": y}, 0.1, 9, chunk=7)["y"] == net.fit_readout(x, y, 0.1, 9, chunk=7)
    assert same_bits(net.params.flat, graph.params.flat)


def check_joined(penalty=0.1, warmup=2):
    """Raise AssertionError unless both outputs are the closed form of what they read."""
    graph, x, level = make(), random(9, 30, 1), random(30, 1, seed=2)
    y, end = random(9, 30, U, seed=3), random(30, U, seed=4)
    inputs, before = {"x": x, "level": level}, graph.params.flat.copy()
    h = graph.states(inputs, "h")
    found = graph.fit_readout(inputs, {"y": y}, penalty, warmup)
    found |= graph.fit_readout(inputs, {"end": end}, penalty)
    joined = np.concatenate([h, x, np.broadcast_to(level, (9, 30, 1))], axis=2)[warmup:].reshape(-1, H + 2)
    for name, f, target in (("y", joined, y[warmup:].reshape(-1, U)), ("end.1", h[-1], end)):
        weight, bias = closed_form(f, target, penalty, np.ones(len(f)))
        np.testing.assert_allclose(graph.params[f"{name}.weight"], weight, rtol=0, atol=1e-10)
        np.testing.assert_allclose(graph.params[f"{name}.bias"], bias, rtol=0, atol=1e-10)
        error = ((target - f @ weight.T - bias) ** 2).mean()
        np.testing.assert_allclose(found[name.split(".")[0]][penalty], error, rtol=1e-9)
    for name in graph.params.names:
        if not name.startswith(("y.", "end.")):
            expected = nr.Parameters(before, graph.params.weights)[name]
            assert same_bits(graph.params[name].copy(), expected.copy())


def test_joined_values_and_outputs_without_steps():
    check_joined()


ROWS = readout.Readout._readout_rows


def test_the_check_catches_a_mutant(monkeypatch):
    monkeypatch.setattr(readout.Readout, "_readout_rows", lambda self, a, b, warmup, most: ROWS(self, a, b, 0, most))
    with pytest.raises(AssertionError):
        check_joined()


def test_several_outputs_choose_their_penalties():
    x, y, z = random(40, 3, 1), random(40, 3, U, seed=2), random(40, 3, 1, seed=3)
    nodes = {"h": nr.Node(RESERVOIR, "x"), "y": nr.Node(nr.Dense(U), "h"), "z": nr.Node(nr.Dense(1), ["h", "x"])}
    graph, alone = (nr.Graph({"x": 1}, nodes, ["y", "z"], "float64", seed=1) for _ in range(2))
    held_out = {"x": x + 0.1}, {"y": y, "z": z}
    errors = graph.fit_readout({"x": x}, {"y": y, "z": z}, [1e-3, 1e3], 5, validation=held_out)
    for output, target in {"y": y, "z": z}.items():
        penalty = min(errors[output], key=errors[output].get)
        alone.fit_readout({"x": x}, {output: target}, penalty, 5)
        found = alone.predict({"x": x + 0.1})[output]
        np.testing.assert_allclose(errors[output][penalty], ((found - target)[5:] ** 2).mean(), rtol=1e-10)
    np.testing.assert_allclose(graph.params.flat, alone.params.flat, rtol=0, atol=1e-12)


X = {"x": np.ones((5, 2, 1)), "level": np.ones((2, 1))}
Y, END = np.ones((5, 2, U)), np.ones((2, U))


@pytest.mark.parametrize(
    "arguments, error, fragments",
    [
        ({"targets": {}}, ValueError, ["targets", "at least one output"]),
        ({"targets": {"h": Y}}, nr.UnknownNameError, ["targets", "'h'"]),
        ({"targets": {"other": np.ones((5, 2, 1))}}, TypeError, ["targets['other']", "linear", "tanh"]),
        ({"penalty": [1, 2]}, ValueError, ["validation", "2 penalties"]),
        ({"warmup": 5}, ValueError, ["warmup", "fewer steps"]),
        ({"targets": {"end": END}, "warmup": 1}, ValueError, ["warmup", "one target"]),
        ({"targets": {"y": np.nan * Y}}, nr.NonFiniteError, ["targets['y']", "nan"]),
        ({"targets": {"y": Y[1:]}}, nr.ShapeError, ["targets['y']", "5 steps"]),
        ({"validation": (X, {"y": Y[1:]})}, nr.ShapeError, ["validation", "5 steps"]),
        ({"inputs": X | {"x": np.inf * X["x"]}}, nr.NonFiniteError, ["inputs['x']", "inf"]),
    ],
)  # fmt: skip
def test_named_error_and_nothing_changed(arguments, error, fragments):
    graph = make()
    before = graph.params.flat.copy()
    with pytest.raises(error) as raised:
        graph.fit_readout(**{"inputs": X, "targets": {"y": Y}} | arguments)
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value
    assert same_bits(before, graph.params.flat)


def test_outputs_that_share_or_read_each_other():
    nodes = {"y": nr.Node(nr.Dense(1), "x"), "z": nr.Node("y", "x"), "w": nr.Node(nr.Dense(1), "y")}
    graph, x = nr.Graph({"x": 1}, nodes, ["y", "z", "w"], "float64"), np.ones((5, 2, 1))
    with pytest.raises(ValueError, match=r"^targets\['y'\]: expected a last layer of its own, got one that 'z' shares"):
        graph.fit_readout({"x": x}, {"y": x})
    nodes = {"y": nr.Node(nr.Dense(1), "x"), "w": nr.Node(nr.Dense(1), "y")}
    graph = nr.Graph({"x": 1}, nodes, ["y", "w"], "float64")
    with pytest.raises(ValueError, match=r"^targets\['w'\]: expected outputs that do not read each other; call it for 'y'"):
        graph.fit_readout({"x": x}, {"y": x, "w": x})
