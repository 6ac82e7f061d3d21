"""ONNX models that are no row of layers, as graphs: onnxruntime computes what they do."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import NUMBERS, B, R, W, graph, node, run

import numbarnn as nr

interop = nr.interop.onnx
TOLERANCE = 1e-5
RANDOM = np.random.default_rng(0)
ARRAYS = NUMBERS | {
    "V": (RANDOM.standard_normal((3, 3)) / 2).astype(np.float32),
    "b": RANDOM.standard_normal(3).astype(np.float32),
    "V6": RANDOM.standard_normal((6, 2)).astype(np.float32),
    "W6": (RANDOM.standard_normal((1, 9, 6)) / 2).astype(np.float32),
    "W2": W[1:], "R2": R[1:], "B2": B[1:], "R4": (RANDOM.standard_normal((1, 12, 3)) / 2).astype(np.float32),
    "W4": (RANDOM.standard_normal((1, 12, 3)) / 2).astype(np.float32),
    "B4": RANDOM.standard_normal((1, 24)).astype(np.float32),
    "mean": RANDOM.standard_normal(3).astype(np.float32), "deviation": (1 + RANDOM.random(3)).astype(np.float32),
}  # fmt: skip


def gru(x, outputs, weights="W1 R1 B1", state="", kind="GRU"):
    made = node(kind, f"{x} {weights}", outputs, hidden_size=3)
    if state:
        made.input.extend(["", *state.split()])
    return made


def flat(name, to):
    return node("Squeeze", f"{name} one", to)


MORE = {"z": ("N", 3), "w": ("T2", "N", 3)}
GRAPHS = {  # inputs beside x (T, N, 3); the outputs; nodes; the layers of the nodes of the graph
    "a skip that is added": ("", "y", [gru("x", "Y"), flat("Y", "s"), node("Add", "s x", "y")], 2),
    "a difference": ("", "y", [gru("x", "Y"), flat("Y", "s"), node("Sub", "x s", "y")], 2),
    "a skip beside": (
        "", "y", [gru("x", "Y"), flat("Y", "s"), node("Concat", "s x", "c", axis=-1), node("MatMul", "c V6", "y")], 2
    ),
    "two layers side by side": (
        "", "y",
        [
            gru("x", "Y"), flat("Y", "s"), gru("x", "Y2", "W2 R2 B2"), flat("Y2", "s2"),
            node("Concat", "s s2", "c", axis=2), node("MatMul", "c V6", "y"),
        ],
        3,
    ),
    "two outputs": (
        "", "a b2",
        [
            gru("x", "Y Yh"), node("Squeeze", "Yh zero", "h"), node("Gemm", "h V b", "g"), node("Tanh", "g", "a"),
            node("MatMul", "h V", "b2"),
        ],
        3,
    ),
    "an input without steps": (
        "z", "y", [gru("x", "Y Yh"), node("Squeeze", "Yh zero", "h"), node("Concat", "h z", "c", axis=1),
                   node("Gemm", "c V6", "y")], 2
    ),
    "an input repeated at each step": (
        "z", "y",
        [
            node("Shape", "x", "t", end=1), node("Concat", "t one one", "tnc", axis=0), node("Unsqueeze", "z zero", "z1"),
            node("Expand", "z1 tnc", "zt"), node("Concat", "x zt", "c", axis=2), gru("c", "Y", "W6 R1 B1"), flat("Y", "y"),
        ],
        1,
    ),
    "an encoder's state starts a decoder": (
        "w", "y", [gru("x", "Y Yh"), gru("w", "Y2", "W2 R2 B2", "Yh"), flat("Y2", "s"), node("MatMul", "s V", "y")], 2
    ),
    "an LSTM's state starts another": (
        "w", "y",
        [gru("x", "Y Yh Yc", "W4 R4 B4", kind="LSTM"), gru("w", "Y2", "W4 R4 B4", "Yh Yc", kind="LSTM"), flat("Y2", "y")],
        2,
    ),
    "a state that is computed": (
        "z", "y",
        [
            node("Gemm", "z V b", "g"), node("Tanh", "g", "h"), node("Unsqueeze", "h zero", "h0"),
            gru("x", "Y", state="h0"), flat("Y", "y"),
        ],
        2,
    ),
    "h and c that are computed": (
        "z", "y",
        [
            node("Gemm", "z V b", "g"), node("Tanh", "g", "h"), node("Unsqueeze", "h zero", "h0"),
            node("Unsqueeze", "z zero", "c0"), gru("x", "Y", "W4 R4 B4", "h0 c0", kind="LSTM"), flat("Y", "y"),
        ],
        3,
    ),
    "one layer read twice, its state too": (
        "", "y k",
        [
            gru("x", "Y Yh"), flat("Y", "s"), node("MatMul", "s V", "y"), node("Squeeze", "Yh zero", "h"),
            node("MatMul", "h V", "k"),
        ],
        3,
    ),
}  # fmt: skip


def made(name, dtype=TensorProto.FLOAT):
    inputs, outputs, nodes, count = GRAPHS[name]
    more = [helper.make_tensor_value_info(each, dtype, MORE[each]) for each in inputs.split()]
    return graph(nodes, ("T", "N", 3), ARRAYS, more=more, outputs=outputs.split()), count


def feeds(model, steps=5):
    sizes = {"x": (steps, 2, 3), "z": (2, 3), "w": (4, 2, 3)}
    random = np.random.default_rng(1)
    return {each.name: random.standard_normal(sizes[each.name]).astype(np.float32) for each in model.graph.input}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph(name):
    model, count = made(name)
    net, given = interop.load(model), feeds(model)
    assert isinstance(net, nr.Graph) == (len(net.layers) > 1 or count > 1 or len(given) > 1)
    expected = run(model, given)
    found = net.predict(given)
    assert list(net.outputs) == list(expected) and len(net.nodes) == count
    for output, array in expected.items():
        np.testing.assert_allclose(found[output], array, rtol=0, atol=TOLERANCE)
    for array, other in zip(interop.Backend.run_model(model, given), expected.values(), strict=True):
        np.testing.assert_allclose(array, other, rtol=0, atol=TOLERANCE)


def test_layers_that_share_their_parameters():
    nodes = [
        gru("x", "Y Yh"), node("Squeeze", "Yh zero", "h"), gru("w", "Y2 Yh2"), node("Squeeze", "Yh2 zero", "h2"),
        node("Concat", "h h2", "c", axis=1), node("Gemm", "c V6", "y"),
    ]  # fmt: skip
    model = graph(nodes, ("T", "N", 3), ARRAYS, more=[helper.make_tensor_value_info("w", TensorProto.FLOAT, MORE["w"])])
    net = interop.load(model)
    assert [node.layers for node in net.nodes.values()][1] == next(iter(net.nodes))
    given = feeds(model)
    np.testing.assert_allclose(net.predict(given)["y"], run(model, given)["y"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("layers", [2, 3])
def test_a_residual_stack(layers):
    nodes, x = [], "x"
    for layer in range(layers):
        nodes += [gru(x, f"Y{layer}", "W1 R1 B1" if layer % 2 else "W2 R2 B2"), flat(f"Y{layer}", f"s{layer}")]
        if layer:
            nodes.append(node("Add", f"s{layer} {x}", f"r{layer}"))
        x = f"r{layer}" if layer else f"s{layer}"
    model = graph(nodes, ("T", "N", 3), ARRAYS, outputs=(x,))
    net, given = interop.load(model), feeds(model)
    assert net.layers == (nr.GRU(3, "before", layers=layers, residual=True),)
    np.testing.assert_allclose(net.predict(given["x"]), run(model, given)[x], rtol=0, atol=TOLERANCE)


BATCH = [node("BatchNormalization", "h b mean mean deviation", "y")]
SCALED = {
    "numbers of each channel": [node("Sub", "x mean", "d"), node("Div", "d deviation", "q"), node("MatMul", "q V", "y")],
    "numbers before and after": [node("Mul", "x deviation", "d"), node("Sub", "mean d", "q"), node("MatMul", "q V", "y")],
    "batch normalization": [gru("x", "Y Yh"), node("Squeeze", "Yh zero", "h"), *BATCH],
    "some channels": [node("Slice", "x one three two", "p"), node("Slice", "x zero one two", "q"),
                      node("Concat", "q p", "c", axis=-1), node("MatMul", "c V", "y")],
    "one direction": [node("GRU", "x W R B", "Y", hidden_size=3, direction="bidirectional"),
                      node("Gather", "Y start", "f", axis=1), node("MatMul", "f V", "y")],
    "the end of one direction": [node("GRU", "x W R B", "Y", hidden_size=3, direction="bidirectional"),
                                 node("Gather", "Y minus", "f", axis=1), node("Gather", "f start", "g", axis=0),
                                 node("MatMul", "g V", "y")],
    "directions that are added": [node("GRU", "x W R B", "Y", hidden_size=3, direction="bidirectional"),
                                  node("Gather", "Y minus", "b1", axis=1), node("Gather", "Y start", "f", axis=1),
                                  node("Add", "b1 f", "y")],
}  # fmt: skip


@pytest.mark.parametrize("name", SCALED)
def test_operators_that_become_a_dense(name):
    model = graph(SCALED[name], ("T", "N", 3), ARRAYS)
    net, given = interop.load(model), feeds(model)
    found = net.predict(given["x"]) if isinstance(net, nr.Network) else net.predict(given)["y"]
    expected = run(model, given)["y"]
    for array in (found, interop.Backend.run_model(model, given)[0]):
        np.testing.assert_allclose(array, expected, rtol=0, atol=TOLERANCE)


WRONG = {  # what the error says: inputs, nodes
    r"^node 'the_GRU': expected something that has steps beside what is repeated at each step, got it alone": (
        "z", [node("Shape", "x", "t", end=1), node("Concat", "t one one", "tnc", axis=0), node("Unsqueeze", "z zero", "z1"),
              node("Expand", "z1 tnc", "zt"), gru("zt", "Y")]
    ),
    r"node 'the_Add' \(Add\): expected values of as many channels": ("", [gru("x", "Y"), node("MatMul", "Y R2", "a"),
                                                                         node("Add", "a x", "Y2")]),
    r"node 'the_MatMul' \(MatMul\): expected a matrix of 3 rows": ("", [gru("x", "Y"), node("MatMul", "Y V6", "a")]),
    r"^node 'the_GRU_1' \(GRU\): expected an initial state": (
        "w", [gru("x", "Y Yh"), gru("w", "Y2", "W2 R2 B2", "Y")]
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_what_a_graph_does_not_have_is_named(message):
    inputs, nodes = WRONG[message]
    more = [helper.make_tensor_value_info(each, TensorProto.FLOAT, MORE[each]) for each in inputs.split()]
    arrays = ARRAYS | {"R2": R[0].T[:, :2].copy()} if "Add" in message else ARRAYS
    model = graph(nodes, ("T", "N", 3), arrays, more=more, outputs=(nodes[-1].output[0],))
    with pytest.raises(nr.ConversionError, match=message):
        interop.load(model)


INDICES = {  # how exporters count negative indices from the end; the rows of the table that are left
    "a sum of products": (
        [node("Add", "x count", "a"), node("Cast", "x", "xf", to=1), node("Less", "xf nothing", "l"), node("Not", "l", "n"),
         node("Cast", "n", "ni", to=6), node("Mul", "x ni", "p"), node("Cast", "l", "li", to=6), node("Mul", "li a", "q"),
         node("Add", "p q", "i")], range(9),
    ),
    "a choice": ([node("Add", "x count", "a"), node("Less", "x none", "l"), node("Where", "l a x", "i")], range(9)),
    "a shift": ([node("Add", "x two_more", "i")], range(2, 9)),
}  # fmt: skip


@pytest.mark.parametrize("name", INDICES)
def test_arithmetic_with_indices(name):
    nodes, rows = INDICES[name]
    integers = {"count": np.int32(9), "nothing": np.float32(0), "none": np.int32(0), "two_more": np.int32(2), "V": W[0]}
    model = graph([*nodes, node("Gather", "V i", "y")], ("N", "T"), ARRAYS | integers, kind=TensorProto.INT32)
    net, x = interop.load(model), np.array([[0, 3, 5], [6, 1, 2]], np.int32)
    assert net.layers == (nr.Embedding(len(rows), 3),)
    assert np.array_equal(net.params["0.weight"], W[0][list(rows)])
    assert np.array_equal(net.predict(x), run(model, {"x": x})["y"])
    assert np.array_equal(interop.Backend.run_model(model, [x])[0], run(model, {"x": x})["y"])


def test_arithmetic_that_leaves_no_index_is_named():
    model = graph([node("Sub", "x one_more", "i"), node("Gather", "V i", "y")], ("N", "T"),
                  {"one_more": np.int32(1), "V": W[0]}, kind=TensorProto.INT32)  # fmt: skip
    with pytest.raises(nr.ConversionError, match=r"^node 'the_Gather' \(Gather\): expected indices of which 0 is a row"):
        interop.load(model)


OUTPUTS = {  # what is no output of a node of its own: nodes, outputs, and what the graph calls them
    "values side by side": ([gru("x", "Y"), flat("Y", "s"), node("Concat", "s x", "y", axis=-1)], ["y"], ("y",)),
    "one value twice": ([gru("x", "Y"), flat("Y", "y"), node("Identity", "y", "z.1")], ["y", "z.1"], ("y", "z_1")),
    "an input": ([gru("x", "Y"), flat("Y", "y"), node("Identity", "x", "z")], ["y", "z"], ("y", "z")),
    "names that are alike": (
        [gru("x", "Y"), flat("Y", "a.b"), node("Tanh", "a.b", "a/b")], ["a.b", "a/b"], ("a_b", "a_b_2")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs(name):
    nodes, outputs, names = OUTPUTS[name]
    model = graph(nodes, ("T", "N", 3), ARRAYS, outputs=outputs)
    net, given = interop.load(model), feeds(model)
    assert net.outputs == names
    found = net.predict(given)
    for output, other in zip(names, outputs):
        np.testing.assert_allclose(found[output], run(model, given)[other], rtol=0, atol=TOLERANCE)
    for array, other in zip(interop.Backend.run_model(model, given), run(model, given).values(), strict=True):
        np.testing.assert_allclose(array, other, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("axis", [None, 0])
def test_weights_that_are_dequantized(axis):
    rows = 3 if axis == 0 else 1
    integers = RANDOM.integers(0, 255, (3, 3)).astype(np.uint8)
    scale, zero = (RANDOM.random(rows) / 100).astype(np.float32), RANDOM.integers(99, 140, rows).astype(np.uint8)
    arrays = {"q": integers, "scale": scale if axis == 0 else scale[0], "zero_point": zero if axis == 0 else zero[0]}
    options = {} if axis is None else {"axis": 0}
    model = graph([node("DequantizeLinear", "q scale zero_point", "w", **options), node("MatMul", "x w", "y")],
                  ("T", "N", 3), arrays)  # fmt: skip
    given = feeds(model)
    weight = (integers.astype(np.float32) - zero.reshape(-1, 1)) * scale.reshape(-1, 1)
    expected = given["x"] @ weight  # onnxruntime rounds x too, where there is one scale
    np.testing.assert_allclose(interop.load(model).predict(given["x"]), expected, rtol=0, atol=TOLERANCE)


def test_constants_have_the_dtype_of_the_model():
    arrays = ARRAYS | {"V2": RANDOM.standard_normal((2, 3))}
    nodes = [node("Slice", "x one three two", "p"), node("MatMul", "p V2", "y")]
    model = graph(nodes, ("T", "N", 3), arrays, kind=TensorProto.DOUBLE)
    x = RANDOM.standard_normal((5, 2, 3))
    net = interop.load(model)
    assert net.dtype == np.float64 and isinstance(net, nr.Network)
    np.testing.assert_allclose(net.predict(x), run(model, {"x": x})["y"], rtol=0, atol=1e-14)


def test_layers_that_no_graph_puts_together_are_named():
    nodes = [
        node("Gather", "V x", "e"), node("Cast", "x", "f", to=1), node("Unsqueeze", "f two", "u"),
        node("Concat", "e u", "y", axis=2),
    ]  # fmt: skip
    model = graph(nodes, ("N", "T"), ARRAYS | {"V": W[0]}, kind=TensorProto.INT64)
    with pytest.raises(nr.ConversionError, match="^model: expected layers that numbarnn can put together"):
        interop.load(model)


MUCH = {  # what an error says of models that ask for more than there is: channels of x, nodes
    r"^node 'the_Add' \(Add\): expected fewer channels": (1 << 30, [node("Add", "x x", "y")]),
    r"^node 'the_Slice' \(Slice\): expected fewer channels": (1 << 30, [node("Slice", "x one three two", "y")]),
    r"^node 'the_Concat_\d' \(Concat\): expected at most 4096 values side by side": (
        3, [node("Concat", "x " * 80, "a", axis=-1), node("Concat", "a " * 80, "y", axis=-1)]
    ),
    r"expected an array, got a shape of \[-1\]": (3, [node("Mul", "x negative", "y")]),
}  # fmt: skip


@pytest.mark.parametrize("message", MUCH)
def test_models_that_ask_for_much(message):
    channels, nodes = MUCH[message]
    model = graph(nodes, ("T", "N", channels), ARRAYS | {"negative": np.ones(3, np.float32)})
    for each in model.graph.initializer:
        if each.name == "negative":
            each.dims[:] = [-1]
    with pytest.raises((nr.ConversionError, nr.FileFormatError), match=message):
        interop.load(model)
