"""Graphs as C: against their streams, and what is refused."""

import numpy as np
import pytest
from c_programs import Exported, compiler
from test_interop_audio import FILES, channels_of, written

import numbarnn as nr

needs_gcc = pytest.mark.skipif(compiler("gcc") is None, reason="gcc is not here")
SKIP = {"h": nr.Node([nr.LSTM(6), nr.Dense(1)], "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
SHARED = {
    "place": nr.Node(nr.Dense(2, "tanh"), "site"),
    "left": nr.Node(nr.GRU(5, layers=2), ["a", "place"]),
    "right": nr.Node("left", ["b", "site"]),
    "both": nr.Node([nr.Last(), nr.Dense(3, "relu")], ["left", "right"]),
}
GRAPHS = {
    "skip": ({"x": 1}, SKIP, ["y"]),
    "several inputs and outputs": ({"a": 3, "site": nr.Input(2, steps=False), "b": 3}, SHARED, ["both", "left"]),
    "indices": ({"x": None}, {"e": nr.Node([nr.Embedding(7, 3), nr.GRU(4)], "x")}, ["e"]),
    "x is an output": ({"x": 2}, {"same": nr.Node(nr.Dropout(0.1), "x"), "h": nr.Node(nr.RNN(2), "same")}, ["same", "h"]),
}


def made(inputs, nodes, outputs, dtype="float32"):
    """A graph whose parameters are none of them 0."""
    net = nr.Graph(inputs, nodes, outputs, dtype=dtype, seed=0)
    net.params.flat[:] += np.random.default_rng(1).standard_normal(len(net.params.flat)) * 0.1
    return net


@needs_gcc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_run_of_a_graph(tmp_path, name, dtype):
    net, random, steps = made(*GRAPHS[name], dtype), np.random.default_rng(0), 50
    given = {}
    for key, each in net.inputs.items():
        shape = (steps, 1) if each.steps else (1,)
        indices = each.channels is None
        given[key] = (
            random.integers(0, 7, shape) if indices else random.standard_normal((*shape, each.channels)).astype(dtype)
        )
    still = {key: given[key] for key, each in net.inputs.items() if not each.steps}
    stream = net.stream(still) if still else net.stream()
    found = stream.run({key: array for key, array in given.items() if key not in still})
    expected = np.concatenate([found[key][:, 0] for key in net.outputs], axis=1)
    if net.inputs["x" if "x" in given else "a"].channels is None:
        x = given["x"][:, 0].astype(np.int32)
    else:
        wide = [np.broadcast_to(array, (steps, 1, array.shape[-1])) for array in given.values()]
        x = np.concatenate(wide, axis=2)[:, 0]
    exported = Exported(net, tmp_path)
    exported.reset()
    scale = np.spacing(np.dtype(dtype).type(max(1, np.abs(expected).max())))
    assert np.abs(exported.run(x) - expected).max() <= 4 * scale


@needs_gcc
@pytest.mark.parametrize("what", ["AIDA-X", "GuitarML, a knob", "GuitarML, blocks", "NAM, stacked", "RTNeural, several"])
def test_a_model_of_an_amplifier(tmp_path, what):
    """From the file of another library to C: what NumPy makes of the file."""
    oracle, file = FILES[what]
    exported = Exported(nr.interop.audio.load(written(file, tmp_path), dtype="float64"), tmp_path)
    x = np.random.default_rng(0).standard_normal((60, 1, channels_of(file)))
    exported.reset()
    np.testing.assert_allclose(exported.run(x[:, 0]), oracle(file, x)[:, 0], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "inputs, nodes, said",
    [
        ({"x": 2}, {"h": nr.Node(nr.GRU(3, bidirectional=True), "x")}, r"nodes\['h'\]: expected a layer of one direction"),
        ({"x": 2}, {"h": nr.Node([nr.GRU(3), nr.Pool("max")], "x")}, r"nodes\['h'\]: expected a layer that takes one step"),
        ({"x": 2, "k": None}, {"h": nr.Node(nr.GRU(3), "x"), "e": nr.Node(nr.Embedding(4, 2), "k")}, "inputs: expected"),
        ({"x": 2, "s": nr.Input(3, steps=False)}, {"h": nr.Node(nr.GRU(3), "x", state="s")}, r"nodes\['h'\]: .*state='s'"),
        ({"x": 2}, {"h": nr.Node([nr.GRU(3), nr.Last()], "x"), "g": nr.Node(nr.RNN(3), ["x", "h"])}, "export_c: expected"),
        ({"s": nr.Input(3, steps=False)}, {"h": nr.Node(nr.Dense(3), "s")}, "export_c: expected a graph with an input"),
    ],
    ids=["directions", "pool", "indices", "state", "end", "no steps"],
)  # fmt: skip
def test_what_takes_no_steps_is_named(tmp_path, inputs, nodes, said):
    net = nr.Graph(inputs, nodes, [*nodes], seed=0)
    with pytest.raises(nr.ConversionError, match=said):
        net.export_c(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
