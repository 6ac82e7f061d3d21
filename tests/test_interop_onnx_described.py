"""Models with a Scan come back as the network that was saved, and what contradicts its description is refused."""

import base64
import json
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_strategies import graph_case
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import run
from onnx_scans import LAYERS, OwnLayer
from strategies import LAYOUTS

import numbarnn as nr

interop = nr.interop.onnx
STACKED = ("MGU", "IndRNN", "normalized LSTM", "normalized GRU", "gelu", "projection, peepholes", "residual")


def has_scan(model):
    return any(each.op_type == "Scan" for each in model.graph.node)


def same(net, other):
    """Whether two networks or graphs have the same structure, and the same parameters to the bit."""
    attributes = ["layers", "channels"] if isinstance(net, nr.Network) else ["inputs", "nodes", "outputs"]
    return (
        type(net) is type(other)
        and all(getattr(net, name) == getattr(other, name) for name in ["layout", "dtype", "device", *attributes])
        and net.params.weights == other.params.weights
        and net.params.flat.tobytes() == other.params.flat.tobytes()
    )


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
    last = nr.LastStep() if between else nr.Last()  # which stands right after two directions
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
    if net.dtype == np.float32 or all(each.op_type not in ("RNN", "GRU", "LSTM") for each in model.graph.node):
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
    monkeypatch.setattr(OwnLayer, "cell", property(lambda self: nr.MGU(4).cell))
    with pytest.raises(nr.ConversionError, match="the description and the nodes differ|expected layers"):
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


def small():
    """A model with two Scans, of a network with a connectivity."""
    connectivity = nr.Connectivity(np.tri(3))
    layers = [nr.LeakyRNN(3, rate=0.25, bidirectional=True), nr.Dropout(0.5), nr.GRU(3, connectivity=connectivity, clip=2.0)]
    net = nr.Network([*layers, nr.Last()], channels=2, seed=0)
    return net, interop.to_model(net)


def description_of(model):
    return json.loads(model.metadata_props[0].value)


def with_description(model, description):
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    changed.metadata_props[0].value = description if isinstance(description, str) else json.dumps(description)
    return changed


def nodes_of(graph):
    """All nodes, those inside others too."""
    for each in graph.node:
        yield each
        for attribute in each.attribute:
            if attribute.HasField("g"):
                yield from nodes_of(attribute.g)


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


DESCRIPTIONS = {  # what is changed in the description: the layer, and its option
    "another rate": (0, "rate", 0.5),
    "another form": (0, "form", "inside"),
    "another merge": (0, "merge", "sum"),
    "a learned rate": (0, "learned", True),
    "another function": (0, "activation", "relu"),
    "another rate of dropout": (1, "rate", 0.25),
    "another clip": (2, "clip", 3.0),
    "no clip": (2, "clip", None),
    "another reset": (2, "reset", "before"),
    "no connectivity": (2, "connectivity", None),
    "more units": (2, "hidden", 4),
    "more layers": (2, "layers", 2),
    "one direction": (0, "bidirectional", False),
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_that_was_changed_is_refused(name):
    _, model = small()
    place, option, value = DESCRIPTIONS[name]
    description = description_of(model)
    layer = description["network"]["layers"][place]
    assert option in layer and layer[option] != value
    layer[option] = value
    with pytest.raises((nr.ConversionError, nr.FileFormatError), match="differ$|^model: (parameters|network)"):
        interop.load(with_description(model, description))


def of_a_description(name):
    """A description of `small` that is hostile, and what the error says."""
    _, model = small()
    found, huge = description_of(model), 1 << 40
    if name == "no JSON":
        return "{", "expected a description in JSON"
    if name == "no object":
        return "[]", "expected a description with a version"
    if name == "deep":
        return '{"version":1,"network":' + "[" * 90_000 + "]" * 90_000 + "}", "model: "
    if name == "newer":
        found["version"] = 2
        return found, "got version 2"
    if name == "a module":
        found["network"]["layers"][0]["activation"] = {"is": "reference", "to": "os:system"}
        return found, "expected os:system among what is trusted"
    if name == "a class":
        found["network"]["layers"][0] = {"is": "subprocess:Popen", "args": "true"}
        return found, "expected subprocess:Popen among what is trusted"
    if name == "huge parameters":
        found["parameters"]["parts"][0][1] = huge
        return found, "parameters: expected at most the .* numbers that the model has"
    if name == "a huge layer":
        found["network"]["layers"][0]["hidden"] = huge
        return found, "parameters: expected those of"
    if name == "many layers":
        found["network"]["layers"][0]["layers"] = huge
        return found, "stacked layers with parameters in the file"
    if name == "a huge array":
        next(iter(found["arrays"].values()))["shape"] = [huge, huge]
        return found, "expected dtype, shape and data of an array"
    if name == "an array of objects":
        next(iter(found["arrays"].values()))["dtype"] = "O"
        return found, "expected dtype, shape and data of an array"
    if name == "no arrays":
        del found["arrays"]
        return found, "arrays: expected arrays by name"
    if name == "no base64":
        found["rest"]["data"] = "é"
        return found, "rest: expected dtype, shape and data of an array"
    if name in ("places outside", "places below"):
        count = found["positions"]["shape"][0]
        wrong = np.full(count, huge if name == "places outside" else -1, np.int64)
        found["positions"]["data"] = base64.b64encode(wrong.tobytes()).decode()
        return found, "positions: expected places among"
    if name == "fewer places":
        found["positions"] = {"dtype": "int64", "shape": [0], "data": ""}
        return found, "positions: expected int64, one for each"
    if name == "lengths":
        found["lengths"] = 1
        return found, "lengths: expected true or false, got 1"
    if name == "other lengths":
        found["lengths"] = True
        return found, "differ$"
    if name == "huge channels":
        graph = nr.Graph({"a": 3, "b": 3}, {"y": nr.Node(nr.Activation("tanh"), ["a", "b"])}, ["y"])
        found["graph"] = graph._written()[1]["graph"]
        for each in found["graph"]["inputs"].values():
            each["channels"] = 1 << 62  # both of them side by side are more than an axis of ONNX may have
        found["parameters"]["parts"] = []
        found["positions"]["shape"] = found["rest"]["shape"] = [0]
        found["positions"]["data"] = found["rest"]["data"] = ""
        return found, "expected a network that ONNX can say"
    if name == "float64":
        found["parameters"]["dtype"] = "float64"
        return found, "positions: expected int64, one for each"
    raise AssertionError(name)


HOSTILE = (
    "no JSON", "no object", "deep", "newer", "a module", "a class", "huge parameters", "a huge layer", "many layers",
    "a huge array", "an array of objects", "no arrays", "no base64", "places outside", "places below", "fewer places",
    "lengths", "other lengths", "huge channels", "float64",
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_description(name):
    _, model = small()
    description, message = of_a_description(name)
    contents = with_description(model, description).SerializeToString()
    tracemalloc.start()
    try:
        with pytest.raises((nr.ConversionError, nr.FileFormatError, nr.TrustError), match=message):
            interop.load(contents)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000  # what 180,000 brackets take in json is the most
    finally:
        tracemalloc.stop()


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_description(data):
    net, model = small()
    text = list(model.metadata_props[0].value)
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from(list('0159{}[]":,.-eatx')))
    try:
        loaded = interop.load(with_description(model, "".join(text)))
    except (nr.ConversionError, nr.FileFormatError, nr.TrustError) as error:
        assert str(error)
    else:  # a change of what only training has, or of no meaning
        again = interop.to_model(loaded)
        assert again.graph == model.graph and loaded.layout == net.layout


def node_of(model, operator):
    return next(each for each in nodes_of(model.graph) if each.op_type == operator)


def another_operator(model):
    node_of(model, "Tanh").op_type = "Sigmoid"


def another_domain(model):
    node_of(model, "Tanh").domain = "com.example"


def inputs_the_other_way(model):
    node = node_of(model, "Sub")
    node.input[:] = list(node.input)[::-1]


def another_direction(model):
    scan = node_of(model, "Scan")
    next(each for each in scan.attribute if each.name == "scan_input_directions").ints[:] = [1]


def another_constant(model):
    tensor = next(each for each in model.graph.initializer if each.name == "number.2.0")
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(1.5).reshape(()), tensor.name))


def a_weight_that_is_masked(model):
    tensor = next(each for each in model.graph.initializer if "weight_hh" in each.name and each.name.startswith("2."))
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[array == 0] = 1
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def a_constant_inside(model):
    scan = node_of(model, "Scan")
    body = next(each.g for each in scan.attribute if each.HasField("g"))
    body.initializer.append(onnx.numpy_helper.from_array(np.float32(1).reshape(()), "inside"))


def a_name_twice(model):
    scan = node_of(model, "Scan")
    body = next(each.g for each in scan.attribute if each.HasField("g"))
    body.node[-1].output[0] = "x"


def a_node_less(model):
    model.graph.node.pop()
    model.graph.output.pop()


def an_array_more(model):
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3), "more"))


def a_function(model):
    model.functions.append(onnx.helper.make_function("", "Tanh", ["x"], ["y"], [], []))


def another_shape(model):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 5


def another_opset(model):
    model.opset_import[0].version = 18


def an_old_opset(model):
    model.opset_import[0].version = 13


TAMPERED = (
    another_operator, another_domain, inputs_the_other_way, another_direction, another_constant, a_weight_that_is_masked,
    a_constant_inside, a_name_twice, a_node_less, an_array_more, a_function, another_shape, another_opset, an_old_opset,
)  # fmt: skip


@pytest.mark.parametrize("change", TAMPERED)
def test_nodes_that_were_changed_are_refused(change):
    _, model = small()
    interop.load(model)
    change(model)
    with pytest.raises(nr.ConversionError, match="differ$|expected one value called 'x', got two|expected an opset from 14"):
        interop.load(model.SerializeToString())


@given(st.data())
def test_each_attribute_and_each_edge_counts(data):
    """A change of any one input, output or attribute of any node, those in a Scan too."""
    _, model = small()
    nodes = list(nodes_of(model.graph))
    node = data.draw(st.sampled_from(nodes))
    names = sorted({name for each in nodes for name in (*each.input, *each.output) if name})
    what = data.draw(st.sampled_from(["input", "output", *(["attribute"] if node.attribute else [])]))
    if what == "attribute":
        del node.attribute[data.draw(st.integers(0, len(node.attribute) - 1))]
    else:
        field = getattr(node, what)
        place = data.draw(st.integers(0, len(field) - 1))
        field[place] = data.draw(st.sampled_from([name for name in names if name != field[place]]))
    with pytest.raises(nr.ConversionError, match="differ$|expected one value called"):
        interop.load(model)


def test_the_folder_of_a_model_is_not_needed(tmp_path):
    """Numbers in a file beside the model are read as those in it."""
    net, model = small()
    path = str(Path(tmp_path) / "m.onnx")
    onnx.save_model(model, path, save_as_external_data=True, location="numbers", size_threshold=0)
    assert same(interop.load(path), net)
