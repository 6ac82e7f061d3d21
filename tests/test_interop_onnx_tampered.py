"""Models with a Scan that contradict the description of their network, and descriptions that are hostile, are refused."""

import base64
import tracemalloc

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_scans import description_of, nodes_of, small, with_description

import numbarnn as nr

interop = nr.interop.onnx
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
        return found, "parameters: expected the parameters of"
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
