"""Layers that ONNX has no operator for, and graphs, as ONNX models: onnxruntime computes what an oracle and they do."""

import numpy as np
import onnx
import oracles
import pytest
from checks import as_tuple
from graph_strategies import graph_cases
from hypothesis import given, settings
from onnx_models import run
from onnx_scans import LAYERS, OwnLayer

import numbarnn as nr

interop = nr.interop.onnx
TOLERANCE = 1e-5
LENGTHS = np.array([5, 0, 3], np.int32)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name):
    kind, options = LAYERS[name]
    random = np.random.default_rng(0)
    net = nr.Network([getattr(nr, kind)(4, **options)], channels=3)
    layer = oracles.described(kind, 4, **options)
    net.params.flat[...] = random.uniform(0.1, 0.7, len(net.params)) * random.choice([-1, 1], len(net.params))
    p = {key.removeprefix("0."): array for key, array in net.params.items()}
    x, state = random.standard_normal((5, 3, 3)).astype(np.float32), oracles.random_state(layer, 3, random)
    feeds = {f"0.initial_{letter}": array for letter, array in zip("hc", as_tuple(state))}
    for lengths in (None, LENGTHS):
        model = interop.to_model(net, lengths=lengths is not None)
        onnx.checker.check_model(model, full_check=True)
        found = run(model, {"x": x, **feeds} | ({} if lengths is None else {"lengths": lengths}))
        y, final = oracles.run(layer, p, x, state, lengths=lengths)
        expected = [y, *as_tuple(final)]
        for at, (array, other) in enumerate(zip(found.values(), expected, strict=True)):
            if at and lengths is not None and "Scan" not in [each.op_type for each in model.graph.node]:
                array, other = array[:, LENGTHS > 0], other[:, LENGTHS > 0]  # onnxruntime has 0 there, of its own operators
            assert np.abs(array - other).max() <= TOLERANCE * max(1, np.abs(other).max())


@pytest.mark.parametrize("opset", [14, 17, 18, 22])
def test_opsets(opset):
    layers = [nr.GRU(4, bidirectional=True, merge="average"), nr.MGU(3), nr.LSTM(3, normalized=True), nr.Pool("mean")]
    net = nr.Network([*layers, nr.Dense(2)], channels=2, seed=0)
    plain = nr.Network([layers[0], nr.Pool("max"), nr.Dense(2)], channels=2, seed=0)
    model = interop.to_model(net, lengths=True, opset=opset)
    assert model.opset_import[0].version == opset
    onnx.checker.check_model(model, full_check=True)
    x, lengths = np.random.default_rng(0).standard_normal((5, 3, 2)).astype(np.float32), np.array([5, 2, 4], np.int32)
    expected = run(interop.to_model(net, lengths=True), {"x": x, "lengths": lengths})["y"]
    assert np.abs(run(model, {"x": x, "lengths": lengths})["y"] - expected).max() <= 1e-6
    loaded = interop.load(interop.to_model(plain, opset=opset))
    assert loaded.layers == plain.layers and np.array_equal(loaded.params.flat, plain.params.flat)


@pytest.mark.parametrize("opset", [13, 23])
def test_an_opset_that_is_not_written_is_refused(opset):
    with pytest.raises(nr.ConversionError, match=f"^opset: expected one of ONNX's from 14 to 22, got {opset}"):
        interop.to_model(nr.Network([nr.Dense(2)], channels=2), opset=opset)


def test_a_scan_is_in_double_precision_too():
    """onnxruntime has its own RNN, GRU and LSTM in float32 alone."""
    net = nr.Network([nr.LeakyRNN(4, rate=0.3)], channels=2, dtype="float64", seed=0)
    x = np.random.default_rng(0).standard_normal((5, 3, 2))
    p = {key.removeprefix("0."): array for key, array in net.params.items()}
    expected, _ = oracles.run(oracles.described("LeakyRNN", 4, rate=0.3), p, x)
    assert np.abs(run(interop.to_model(net), {"x": x})["y"] - expected).max() <= 1e-14


def test_zoneout_connectivity_and_learned_states():
    random = np.random.default_rng(0)
    connectivity = nr.Connectivity(random.random((4, 4)) < 0.5, [1, 1, -1, 1])
    layers = [nr.GRU(4, zoneout=0.3, learned_state=True), nr.RNN(4, connectivity=connectivity)]
    net = nr.Network([*layers, nr.LSTM(3, zoneout=(0.1, 0.2))], channels=2, seed=0)
    net.params.flat[...] += 0.1 * random.standard_normal(len(net.params))
    x = random.standard_normal((5, 3, 2)).astype(np.float32)
    found = run(interop.to_model(net), {"x": x})["y"]
    assert np.abs(found - net.predict(x)).max() <= TOLERANCE


DECAYS = [
    nr.GRUD(4, 0.5, past=True, learned_state=True),
    nr.GRUD(4, (0.2, -0.3), zoneout=0.2),
    nr.GRU(4, decay=True, clip=2.0),
    nr.LSTM(3, decay=True, learned_state=True, zoneout=(0.1, 0.2)),
    nr.LeakyRNN(4, rate=0.3, decay=True),
    nr.LSTM(3, decay=True, layers=2, dropout=0.5),
    nr.GRU(3, decay=True, layers=2, bidirectional=True, merge="sum"),
]


@pytest.mark.parametrize("opset", [14, 18])
@pytest.mark.parametrize("layer", DECAYS, ids=repr)
def test_values_and_states_that_decay(layer, opset):
    """With spans that are missing values, and those in which nothing decays; models are read back."""
    random = np.random.default_rng(0)
    net = nr.Network([layer, nr.Dense(2)], channels=6, seed=0)
    net.params.flat[...] += 0.2 * random.standard_normal(len(net.params))
    x = random.uniform(-1, 2, (5, 3, 6)).astype(np.float32)
    x[..., 2:4] = x[..., 2:4] > 0.5
    for lengths in (None, LENGTHS):
        model = interop.to_model(net, lengths=lengths is not None, opset=opset)
        onnx.checker.check_model(model, full_check=True)
        found = run(model, {"x": x} | ({} if lengths is None else {"lengths": lengths}))
        there = np.arange(5)[:, None] < (np.full(3, 5) if lengths is None else lengths)
        expected, state = net(x, lengths=lengths)
        assert np.abs(found["y"] - expected)[there].max() <= TOLERANCE
        finals = [found[f"0.final_{letter}"] for letter in "hc"[: layer.cell.states]]
        for final, other in zip(finals, as_tuple(state[0]), strict=True):
            assert np.abs(final - other).max() <= TOLERANCE
        loaded = interop.load(model)
        assert loaded.layers == net.layers and loaded.params.flat.tobytes() == net.params.flat.tobytes()


def test_a_layer_that_prepares_its_input_by_itself_is_refused():
    class Preparing(nr.GRUD):
        def prepare(self, chain, p, keep):
            return super().prepare(chain, p, keep)

    with pytest.raises(nr.ConversionError, match=r"^layers\[0\]: expected a layer that has no method prepare of its own"):
        interop.to_model(nr.Network([Preparing(3)], channels=3))


def test_a_cell_of_one_s_own():
    net = nr.Network([OwnLayer(4)], channels=2, seed=0)
    x = np.random.default_rng(0).standard_normal((6, 3, 2)).astype(np.float32)
    found = run(interop.to_model(net), {"x": x})["y"]
    p = {name.removeprefix("0."): array for name, array in net.params.items()}
    h = np.zeros((3, 4))
    for t in range(6):
        sums = x[t] @ p["weight_ih_l0"].T + p["bias_ih_l0"] + p["bias_hh_l0"]
        z = 1 / (1 + np.exp(-sums[:, :4]))
        a = sums[:, 4:] + (z * h) @ p["weight_hh_l0"][4:].T
        h = np.where(np.abs(a) < 0.3, h / 2, (1 - z) * h + z * np.tanh(a))
        assert np.abs(found[t] - h).max() <= TOLERANCE


def in_single_precision(net):
    """The graph with float32."""
    found = nr.Graph(net.inputs, net.nodes, net.outputs, "float32", net.layout)
    found.params.flat[...] = net.params.flat
    return found


@settings(max_examples=40)
@given(graph_cases())
def test_a_graph_in_onnxruntime_and_back(case):
    if "reset" in case.options or any(isinstance(array, nr.Ragged) for array in case.inputs.values()):
        return
    net, lengths = case.net, case.options.get("lengths")
    model = interop.to_model(in_single_precision(net), lengths=lengths is not None)
    onnx.checker.check_model(model, full_check=True)
    state = {label: arrays for label, arrays in case.state.items() if label not in net._linked}
    feeds = {name: array.astype(np.float32) for name, array in case.inputs.items()}
    expected, final = net(case.inputs, state, lengths)
    names = {each.name for each in model.graph.input}
    for label, arrays in state.items():
        feeds |= {f"{label}.initial_{letter}": array.astype(np.float32) for letter, array in zip("hc", as_tuple(arrays))}
    feeds |= {f"{name}.lengths": array.astype(np.int32) for name, array in (lengths or {}).items()}
    found = run(model, {name: array for name, array in feeds.items() if name in names})
    for name, y in expected.items():
        there = found[name]
        if lengths and net._has_steps(name):  # past the end a Dense gives what it makes of zeros
            axis = net._axis(name, net._rows)
            axes = [net.layout.index(letter) for letter in "tnc"]
            alive = np.arange(max(lengths[axis]))[:, None] < lengths[axis]
            y, there = (array.transpose(axes)[: len(alive)][alive] for array in (y, there))
        assert np.abs(there - y).max(initial=0) <= 2 * TOLERANCE * max(1, np.abs(y).max(initial=0))
    for label, arrays in final.items():
        for letter, array in zip("hc", as_tuple(arrays)):
            assert np.abs(found[f"{label}.final_{letter}"] - array).max() <= 2 * TOLERANCE * max(1, np.abs(array).max())
    if lengths is None:
        loaded = interop.load(model)
        given_again = {name: feeds[name] for name in net.inputs}
        if isinstance(loaded, nr.Network):
            again = {net.outputs[0]: loaded.predict(given_again[next(iter(net.inputs))])}
        else:
            again = loaded.predict(given_again)
        if not state:
            for name, y in expected.items():
                assert np.abs(again[name].reshape(y.shape) - y).max() <= 2 * TOLERANCE * max(1, np.abs(y).max())


@pytest.mark.parametrize("layout", ["tnc", "ntc", "tcn", "nct", "ctn", "cnt"])
def test_inputs_without_steps_keep_the_order_of_their_axes(layout):
    net = nr.Graph({"s": nr.Input(3, steps=False)}, {"n": nr.Node(nr.Dense(2, "tanh"), "s")}, "n", layout=layout, seed=0)
    x = np.arange(9, dtype=np.float32).reshape(3, 3) / 9
    loaded = interop.load(interop.to_model(net))
    assert np.abs(loaded.predict(x) - net.predict({"s": x})["n"]).max() <= TOLERANCE
