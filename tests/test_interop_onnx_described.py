"""Models with a Scan come back as the network that was saved."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_strategies import graph_case
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import run
from onnx_scans import LAYERS, OwnCell, OwnLayer, has_scan, nodes_of, same, small
from strategies import LAYOUTS

import numbarnn as nr

interop = nr.interop.onnx
STACKED = ("MGU", "IndRNN", "normalized LSTM", "normalized GRU", "gelu", "projection, peepholes", "residual")


@st.composite
def recurrent_layers(draw):
    """A recurrent layer that is a Scan, or stands beside one."""
    name = draw(st.sampled_from([*LAYERS, "own", "connectivity", "zoneout"]))
    more = {"learned_state": True} if draw(st.booleans()) else {}
    if name == "own":
        return OwnLayer(draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.booleans()), **more)
    if name == "connectivity":
        random = np.random.default_rng(draw(st.integers(0, 100)))
        signs = draw(st.sampled_from([None, [1, -1, -1, 1]]))
        return nr.GRU(4, connectivity=nr.Connectivity(random.random((4, 4)) < 0.5, signs), **more)
    if name == "zoneout":
        return nr.LSTM(4, zoneout=(0.1, 0.2), bidirectional=draw(st.booleans()), **more)
    kind, options = LAYERS[name]
    if name in STACKED and draw(st.booleans()):
        options = options | {"layers": 2, "bidirectional": True, "residual": draw(st.booleans()), "dropout": 0.25}
        options["merge"] = draw(st.sampled_from(["concat", "sum", "average", "product"]))
        options["input_dropout"] = draw(st.sampled_from([0.0, 0.5]))
    return getattr(nr, kind)(4, **options, **more)


@st.composite
def networks(draw):
    """A network of such layers, with what may stand around them."""
    channels = draw(st.integers(1, 4))
    layers = [nr.Embedding(7, channels)] if draw(st.booleans()) else []
    indices = bool(layers)
    layers += draw(st.lists(recurrent_layers(), min_size=1, max_size=2))
    between = draw(st.sampled_from([[], [nr.Activation("tanh")], [nr.Dropout(0.5)], [nr.Dense(4)]]))
    merges = getattr(layers[-1], "residual", False) or between  # after which Last does not know the directions apart
    last = nr.LastStep() if merges else nr.Last()
    layers += between + draw(st.sampled_from([[], [last], [nr.Pool("mean")]]))
    layers += draw(st.sampled_from([[], [nr.Dense(3, "relu")], [nr.Dense(2), nr.Activation("gelu")]]))
    dtype = draw(st.sampled_from(["float32", "float32", "float64"]))
    net = nr.Network(layers, None if indices else channels, layout=draw(st.sampled_from(LAYOUTS)), dtype=dtype)
    net.params.flat[...] += np.random.default_rng(draw(st.integers(0, 99))).normal(0, 0.3, len(net.params))
    return net


@settings(max_examples=40)
@given(networks(), st.booleans(), st.sampled_from([14, 17, 18, 22]))
def test_a_network(net, lengths, opset):
    model = interop.to_model(net, lengths=lengths, opset=opset)
    onnx.checker.check_model(model)
    if not has_scan(model):
        return
    loaded = interop.load(model.SerializeToString(), trusted=[OwnLayer])
    assert same(loaded, net)
    again = interop.to_model(loaded, lengths=lengths, opset=opset)
    assert again.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)
    single = "RNN", "GRU", "LSTM", "Erf"  # onnxruntime has these in float32 alone
    if net.dtype == np.float32 or all(each.op_type not in single for each in nodes_of(model.graph)):
        sizes = {"t": 3, "n": 2, "c": net.channels}
        letters = net.layout.replace("c", "") if net.takes_indices else net.layout
        x = np.ones([sizes[letter] for letter in letters], np.int64 if net.takes_indices else net.dtype)
        feeds = {"x": x} | ({"lengths": np.array([3, 1], np.int32)} if lengths else {})
        found, other = run(model, feeds), run(again, feeds)
        assert all(np.isfinite(array).all() and np.array_equal(array, other[name]) for name, array in found.items())


def of_scans(net):
    """A graph whose recurrent layers ONNX has no operator for."""

    def changed(layer):
        options = {name: getattr(layer, name, None) for name in ("layers", "bidirectional", "learned_state")}
        return {
            nr.GRU: lambda: nr.MGU(layer.hidden, **options),
            nr.LSTM: lambda: nr.LSTM(layer.hidden, normalized=True, **options),
            nr.RNN: lambda: nr.IndRNN(layer.hidden, **options),
        }.get(type(layer), lambda: layer)()

    nodes = {
        name: nr.Node(each.layers if isinstance(each.layers, str) else [*map(changed, each.layers)], each.reads, each.state)
        for name, each in net.nodes.items()
    }
    return nr.Graph(net.inputs, nodes, net.outputs, "float32", net.layout, seed=3)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.booleans())
def test_a_graph(seed, lengths):
    case = graph_case(seed, "plain")
    net = of_scans(case.net)
    model = interop.to_model(net, lengths=lengths)
    if not has_scan(model):
        return
    loaded = interop.load(model.SerializeToString())
    assert same(loaded, net)
    feeds = {name: array.astype(np.float32) for name, array in case.inputs.items()}
    steps = {each.name for each in model.graph.input if each.name.endswith(".lengths")}
    feeds |= {name: np.array([2, 1, 2], np.int32) for name in steps}
    found, other = run(model, feeds), run(interop.to_model(loaded, lengths=lengths), feeds)
    assert all(np.array_equal(array, other[name]) for name, array in found.items())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_bits_of_parameters_survive(dtype):
    layers = [nr.RNN(4, connectivity=nr.Connectivity(np.eye(4), [1, 1, -1, 1]), learned_state=True), OwnLayer(3), nr.MGU(2)]
    net = nr.Network([*layers, nr.Dense(2)], channels=2, dtype=dtype)
    bits = np.random.default_rng(0).integers(0, 256, net.params.flat.nbytes, np.uint8)
    net.params.flat[...] = bits.view(dtype)
    net.params.flat[::7] = -0.0
    net.params.flat[::11] = np.nan
    with np.errstate(all="ignore"):
        model = interop.to_model(net)
        assert same(interop.load(model, trusted=[OwnLayer]), net)


def test_a_file_and_classes_of_one_s_own(tmp_path):
    net = nr.Network([OwnLayer(4), nr.Last()], channels=2, seed=0)
    interop.save(net, tmp_path / "m.onnx")
    with pytest.raises(nr.TrustError, match=r"m.onnx: network.layers.0: expected onnx_scans:OwnLayer among what is trusted"):
        interop.load(tmp_path / "m.onnx")
    assert same(interop.load(tmp_path / "m.onnx", trusted=[OwnLayer]), net)
    assert same(interop.load(str(tmp_path / "m.onnx"), trusted={"onnx_scans:OwnLayer": OwnLayer}), net)
    with pytest.raises(TypeError, match="^trusted: expected classes and functions in a list"):
        interop.load(tmp_path / "m.onnx", trusted=[3])


def test_equations_that_changed_since_are_refused(monkeypatch):
    model = interop.to_model(nr.Network([OwnLayer(4)], channels=2))

    class Changed(OwnCell):
        def gate(self, pre, state, per_unit):
            return pre, nr.elementary.tanh(pre[0]) * state[0]

    monkeypatch.setattr(OwnLayer, "cell", property(lambda self: Changed()))
    with pytest.raises(nr.ConversionError, match=r"node '0.Scan.\d+' \(Scan\): .* the description and the nodes differ$"):
        interop.load(model, trusted=[OwnLayer])


def test_a_network_that_no_file_describes_is_written_without_description():
    class Named(nr.Network):
        pass

    model = interop.to_model(Named([nr.MGU(2)], channels=2))
    assert has_scan(model) and not model.metadata_props
    with pytest.raises(nr.ConversionError, match=r"^node '0.Scan.\d+' \(Scan\): expected an operator of ONNX"):
        interop.load(model)


def test_models_without_a_scan_have_no_description():
    assert not interop.to_model(nr.Network([nr.GRU(2)], channels=2)).metadata_props


def test_an_output_by_name_is_read_without_the_description():
    net = nr.Network([nr.Dense(3), nr.MGU(2)], channels=2, seed=0)
    model = interop.to_model(net)
    scan = next(each for each in model.graph.node if each.op_type == "Scan")
    before = next(each for each in model.graph.node if each.op_type == "Add")
    assert interop.load(model, output=before.output[0]).layers == (nr.Dense(3),)
    with pytest.raises(nr.ConversionError, match=r"\(Scan\): expected an operator of ONNX"):
        interop.load(model, output=scan.output[-1])


def test_names_inside_may_differ():
    net, model = small()
    outside = {each.name for each in (*model.graph.input, *model.graph.output)}
    found = {}

    def renamed(name):
        return name if not name or name in outside else found.setdefault(name, f"a{len(found)}")

    def rename(graph):
        for each in graph.node:
            each.name = f"node of {each.op_type}"
            each.input[:] = map(renamed, each.input)
            each.output[:] = map(renamed, each.output)
            for attribute in each.attribute:
                if attribute.HasField("g"):
                    for info in (*attribute.g.input, *attribute.g.output):
                        info.name = renamed(info.name)
                    rename(attribute.g)

    rename(model.graph)
    for tensor in model.graph.initializer:
        tensor.name = renamed(tensor.name)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    assert len(found) > 30 and same(interop.load(model), net)


def test_the_numbers_are_those_of_the_model():
    net, model = small()
    tensor = next(each for each in model.graph.initializer if each.name == "0.input_weight_ih_l0")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    loaded = interop.load(model)
    assert np.array_equal(loaded.params["0.weight_ih_l0"], array.T) and loaded.layers == net.layers
    differ = net.params.flat != loaded.params.flat
    assert np.count_nonzero(differ) == 6


def test_the_folder_of_a_model_is_not_needed(tmp_path):
    """Numbers in a file beside the model are read as those in it."""
    net, model = small()
    path = str(Path(tmp_path) / "m.onnx")
    onnx.save_model(model, path, save_as_external_data=True, location="numbers", size_threshold=0)
    assert same(interop.load(path), net)
