"""Networks as ONNX models and back: onnxruntime computes what the network does, and what is loaded has the same bits."""

import io
import unittest
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_layers
import onnxruntime
import oracles
import pytest
from checks import as_tuple
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import BOTH, NUMBERS, ONE, TURN, B, R, W, graph, node, run
from strategies import LAYOUTS

import numbarnn as nr

interop = nr.interop.onnx
TOLERANCE = 1e-5


def randomized(net, seed):
    """The network with parameters of which none is zero."""
    random = np.random.default_rng(seed)
    net.params.flat[...] = random.uniform(0.1, 0.6, len(net.params)) * random.choice([-1, 1], len(net.params))
    return net


def flat_of(net):
    return net.params.flat.tobytes()


PLAIN = {
    "rnn-tanh": partial(nr.RNN, activation="tanh"),
    "gru-after": nr.GRU,
    "gru-before": partial(nr.GRU, reset="before"),
    "lstm": nr.LSTM,
}


@st.composite
def networks(draw):
    """A network of layers whose kernels other tests have too."""
    channels = draw(st.integers(1, 4))
    layers = [nr.Embedding(7, channels)] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 2))):
        options = {"layers": draw(st.integers(1, 2)), "bidirectional": draw(st.booleans())}
        if options["layers"] > 1 and draw(st.booleans()):
            options["dropout"] = 0.25
        if options["bidirectional"]:
            options["merge"] = draw(st.sampled_from(["concat", "concat", "sum", "average", "product"]))
        options["learned_state"] = draw(st.booleans())
        layers.append(PLAIN[draw(st.sampled_from(sorted(PLAIN)))](draw(st.integers(1, 5)), **options))
    between = draw(st.sampled_from([[], [nr.Activation("tanh")], [nr.Dropout(0.5)]]))
    end = draw(st.sampled_from([[], [nr.Last()], [nr.LastStep()], [nr.Pool("mean")], [nr.Pool("max")]]))
    dense = draw(st.sampled_from([[], [nr.Dense(3, "relu")], [nr.Dense(2), nr.Activation("gelu")]]))
    if end == [nr.Last()] and layers[-1].merge != "concat":
        between = []
    layout = draw(st.sampled_from(LAYOUTS))
    net = nr.Network([*layers, *between, *end, *dense], channels if not net_takes_indices(layers) else None, layout=layout)
    return randomized(net, draw(st.integers(0, 2**16)))


def net_takes_indices(layers):
    return isinstance(layers[0], nr.Embedding)


def input_of(net, random, steps=4, batch=3):
    """An input of a network, in its layout."""
    sizes = {"t": steps, "n": batch, "c": net.channels}
    if net.takes_indices:
        letters = net.layout.replace("c", "")
        return random.integers(0, net.layers[0].vocabulary, [sizes[letter] for letter in letters])
    return random.standard_normal([sizes[letter] for letter in net.layout]).astype(net.dtype)


def states_of(net, random, batch):
    """An initial state for each recurrent layer, as a network takes them."""
    found = []
    for layer in net.layers:
        if isinstance(layer, nr.Recurrent):
            shape = layer.layers * layer.directions, batch, layer.hidden
            arrays = tuple(random.standard_normal(shape).astype(net.dtype) for _ in range(layer.cell.states))
            found.append(arrays if len(arrays) > 1 else arrays[0])
    return tuple(found)


@given(networks(), st.integers(1, 5), st.integers(1, 3), st.booleans(), st.integers(0, 2**16))
def test_a_network_in_onnxruntime_and_back(net, steps, batch, with_states, seed):
    model = interop.to_model(net)
    onnx.checker.check_model(model, full_check=True)
    random = np.random.default_rng(seed)
    x, feeds, state = input_of(net, random, steps, batch), {}, None
    if with_states:
        state = states_of(net, random, batch)
        recurrent = [k for k, layer in enumerate(net.layers) if isinstance(layer, nr.Recurrent)]
        for k, arrays in zip(recurrent, state):
            feeds |= {f"{k}.initial_{letter}": array for letter, array in zip("hc", as_tuple(arrays))}
    found = run(model, {"x": x, **feeds})
    y, final = net(x, state)
    scale = max(1, np.abs(y).max())
    assert found["y"].shape == y.shape and np.abs(found["y"] - y).max() <= TOLERANCE * scale
    arrays = [array for part in final for array in as_tuple(part)]
    for array, (name, other) in zip(arrays, list(found.items())[1:], strict=True):
        assert "final" in name and np.abs(array - other).max() <= TOLERANCE * max(1, np.abs(array).max())
    loaded = interop.load(model.SerializeToString())
    assert flat_of(loaded) == flat_of(net) and loaded.channels == net.channels
    assert loaded.output_layout == net.output_layout
    assert loaded.layout == net.layout or net.takes_indices  # whose c is in no axis of the input
    assert np.abs(loaded.predict(x) - net.predict(x)).max() <= TOLERANCE * scale
    again = run(interop.to_model(loaded), {"x": x})
    assert np.array_equal(again["y"], run(model, {"x": x})["y"])


@given(networks(), st.integers(0, 2**16))
def test_lengths_of_sequences(net, seed):
    random = np.random.default_rng(seed)
    x, lengths = input_of(net, random, 5, 4), np.array([5, 2, 1, 3], np.int32)
    places = [type(layer) for layer in net.layers]
    alone = not any(kind is nr.Pool for kind in places)
    last = next((k for k, kind in enumerate(places) if kind in (nr.Last, nr.LastStep)), None)
    before = None if last is None else [layer for layer in net.layers[:last] if isinstance(layer, nr.Recurrent)][-1]
    if last is not None and (places[last] is nr.LastStep and (before.bidirectional or net.layers[last - 1] is not before)):
        alone = False
    model = interop.to_model(net, lengths=True)
    found, y = run(model, {"x": x, "lengths": lengths})["y"], net.predict(x, lengths)
    if y.ndim == 3:  # past the end a Dense gives what it makes of zeros
        axes = [net.layout.index(letter) for letter in "tnc"]
        found, y = (array.transpose(axes)[np.arange(5)[:, None] < lengths] for array in (found, y))
    assert np.abs(found - y).max() <= TOLERANCE * max(1, np.abs(y).max())
    if not alone:
        with pytest.raises(nr.ConversionError, match=r"^node '.*': expected|^node '.*' \(.*\): expected"):
            interop.load(model)
        return
    loaded = interop.load(model)
    assert flat_of(loaded) == flat_of(net)
    if last is None or places[last] is nr.Last:
        assert np.allclose(loaded.predict(x, lengths), net.predict(x, lengths), atol=TOLERANCE)


@st.composite
def activations(draw):
    """A name, or a name with its numbers; ``silu`` and ``gelu`` are no functions of ONNX's recurrent operators."""
    name = draw(st.sampled_from(sorted(onnx_layers.NAMES)))
    numbers = draw(st.lists(st.floats(0.125, 1.5, width=16), max_size=len(oracles.ACTIVATIONS[name][1])))
    return (name, *numbers) if numbers else name


@pytest.mark.parametrize("kind", onnx_layers.ACTIVATED)
def test_every_option_survives(kind):
    """Without kernels: what onnxruntime and the slow layers compute, and what a model of the loaded network is."""
    flags = {
        "LSTM": {"peepholes": st.booleans(), "coupled": st.booleans()},
        "GRU": {"reset": st.sampled_from(["after", "before"])},
    }
    always = {"layers": st.integers(1, 2), "bidirectional": st.booleans(), **flags.get(kind, {})}
    some = {"clip": st.sampled_from([0.25, 1.0, 3.0])} | dict.fromkeys(onnx_layers.ACTIVATED[kind], activations())
    options = st.fixed_dictionaries(always, optional=some)

    @given(st.integers(1, 5), options, st.sampled_from(["float32", "float64"]), st.integers(0, 2**16))
    def check(hidden, options, dtype, seed):
        net = randomized(nr.Network([getattr(nr, kind)(hidden, **options)], channels=3, dtype=dtype), seed)
        net.params.flat[...] *= 0.5
        model = interop.to_model(net)
        loaded = interop.load(model)
        assert flat_of(loaded) == flat_of(net) and interop.to_model(loaded) == model
        if dtype == "float32":
            x = np.random.default_rng(seed).standard_normal((4, 3, 3)).astype(np.float32)
            layer = oracles.described(kind, hidden, **options)
            p = {name.removeprefix("0."): array for name, array in net.params.items()}
            expected, _ = oracles.run(layer, p, x)
            found = run(model, {"x": x})["y"]
            if "thresholded" not in str(options) and np.abs(expected).max() < 10:
                assert np.abs(found - expected).max() <= 10 * TOLERANCE * max(1, np.abs(expected).max())

    check()


@pytest.mark.parametrize(
    "name", ["silu", "gelu", "softplus", ("affine", 2.0, 0.5), ("scaled_tanh", 2.0, 0.5), ("elu", 0.5), "linear"]
)
def test_activation_functions_between_layers(name):
    net = randomized(nr.Network([nr.Dense(4, name), nr.Dense(3), nr.Activation(name), nr.Dense(2)], channels=3), 0)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    model = interop.to_model(net)
    np.testing.assert_allclose(run(model, {"x": x})["y"], net.predict(x), rtol=1e-5, atol=1e-5)
    loaded = interop.load(model)
    assert flat_of(loaded) == flat_of(net)
    np.testing.assert_allclose(loaded.predict(x), net.predict(x), rtol=1e-6, atol=1e-6)
    if name != "linear":
        assert nr.Activation(name) in loaded.layers


@pytest.mark.parametrize("recurrent", [False, True])
def test_images(recurrent):
    layers = [nr.Conv2d(3, (3, 2), stride=(1, 2), padding=1), nr.Activation("relu"), nr.MaxPool2d(2, 1), nr.Conv2d(4, 2)]
    layers += [nr.AvgPool2d(2, padding=1), nr.Flatten(), *([nr.GRU(3)] if recurrent else []), nr.Dense(2)]
    net = randomized(nr.Network(layers, channels=(2, 8, 8)), 0)
    x = np.random.default_rng(0).standard_normal((5, 3, 128) if recurrent else (5, 128)).astype(np.float32)
    model = interop.to_model(net)
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(run(model, {"x": x})["y"], net.predict(x), rtol=1e-5, atol=1e-5)
    loaded = interop.load(model)
    assert flat_of(loaded) == flat_of(net)
    assert np.array_equal(loaded.predict(x), net.predict(x))


def test_float64_and_files(tmp_path):
    net = randomized(nr.Network([nr.GRU(3, bidirectional=True), nr.Last(), nr.Dense(2)], channels=2, dtype="float64"), 0)
    interop.save(net, tmp_path / "net.onnx")
    loaded = interop.load(tmp_path / "net.onnx")
    x = np.random.default_rng(0).standard_normal((4, 3, 2))
    assert loaded.dtype == net.dtype and flat_of(loaded) == flat_of(net)
    (y, h) = interop.Backend.run_model(tmp_path / "net.onnx", [x])
    assert np.array_equal(y, net.predict(x)) and np.array_equal(h, net(x)[1][0])
    evaluated = onnx.load(tmp_path / "net.onnx")
    assert evaluated.graph.input[0].type.tensor_type.elem_type == TensorProto.DOUBLE


PATTERNS = {  # what exporters put around a recurrent node; the input is (N, T, C)
    "sequences": (
        [TURN, ONE, node("Squeeze", "Y one", "s"), node("Transpose", "s", "y", perm=[1, 0, 2])], [nr.GRU(3, "before")]
    ),
    "final state": ([TURN, ONE, node("Squeeze", "Yh zero", "y")], [nr.GRU(3, "before"), nr.Last()]),
    "last step": (
        [TURN, ONE, node("Slice", "Y last big zero", "s"), node("Squeeze", "s both", "y")], [nr.GRU(3, "before"), nr.Last()]
    ),
    "halves by slices, as tf2onnx has them": (
        [
            TURN, BOTH, node("Slice", "Y zero one one", "f"), node("Slice", "Y one two one", "b"),
            node("Squeeze", "f one", "fs"), node("Squeeze", "b one", "bs"), node("Concat", "fs bs", "c", axis=-1),
            node("Transpose", "c", "y", perm=[1, 0, 2]),
        ],
        [nr.GRU(3, "before", bidirectional=True)],
    ),
    "ends of both directions": (
        [
            TURN, BOTH, node("Split", "Yh", "f b", axis=0), node("Squeeze", "f zero", "fs"), node("Squeeze", "b zero", "bs"),
            node("Concat", "fs bs", "y", axis=1),
        ],
        [nr.GRU(3, "before", bidirectional=True), nr.Last()],
    ),
    "ends of both directions, from the outputs": (
        [
            TURN, BOTH, node("Transpose", "Y", "p", perm=[2, 0, 1, 3]), node("Reshape", "p rows", "r"),
            node("Slice", "r nil three two", "fa"), node("Slice", "r three six two", "ba"),
            node("Gather", "fa minus", "fs", axis=1), node("Gather", "ba start", "bs", axis=1),
            node("Concat", "fs bs", "y", axis=1),
        ],
        [nr.GRU(3, "before", bidirectional=True), nr.Last()],
    ),
    "the state as rows": (
        [TURN, BOTH, node("Transpose", "Yh", "p", perm=[1, 0, 2]), node("Reshape", "p two_axes", "y")],
        [nr.GRU(3, "before", bidirectional=True), nr.Last()],
    ),
    "a merge": (
        [TURN, BOTH, node("ReduceMean", "Y", "m", axes=[1], keepdims=0), node("Transpose", "m", "y", perm=[1, 0, 2])],
        [nr.GRU(3, "before", bidirectional=True, merge="average")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("shape", [("N", "T", 3), (2, 5, 3)])
def test_what_stands_around_a_recurrent_node(name, shape):
    nodes, layers = PATTERNS[name]
    model = graph(nodes, shape, NUMBERS)
    net = interop.load(model)
    assert net.layout == "ntc" and [*net.layers] == [*nr.Network(layers, 3).layers]
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    expected = run(model, {"x": x})["y"]
    np.testing.assert_allclose(net.predict(x), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(interop.Backend.run_model(model, [x])[0], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind, gates", [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
@pytest.mark.parametrize("outputs", ["y", "y h"])
def test_a_node_in_reverse(kind, gates, outputs):
    arrays = {"w": W[:1, :gates] * 1, "r": R[:1, : gates * 1, :1], "b": B[:1, : 2 * gates]}
    nodes = [node(kind, "x w r b", "Y y" if outputs == "y" else "y h", hidden_size=1, direction="reverse")]
    model = graph(nodes, ("T", "N", 3), arrays, outputs=outputs.split())
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    net, expected = interop.load(model), run(model, {"x": x})["y"]
    found = net.predict(x)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=TOLERANCE)
    assert net.layers[0].merge == "sum" and not net.params["0.weight_ih_l0"].any()
    found = interop.Backend.run_model(model, [x])
    for array, other in zip(found, run(model, {"x": x}).values(), strict=True):
        np.testing.assert_allclose(array, other, rtol=0, atol=TOLERANCE)


def test_layout_of_batches_first():
    arrays = {"h": np.zeros((2, 1, 3), np.float32)}
    model = graph([node("GRU", "x W1 R1 B1", "y Yh", hidden_size=3, layout=1)], (2, 5, 3), arrays)
    net = interop.load(model)
    assert net.layout == "ntc"
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    plain = graph([TURN, ONE, node("Squeeze", "Y one", "s"), node("Transpose", "s", "y", perm=[1, 0, 2])], arrays=NUMBERS)
    np.testing.assert_allclose(net.predict(x), run(plain, {"x": x})["y"], rtol=0, atol=TOLERANCE)
    assert interop.Backend.run_model(model, [x])[0].shape == (2, 5, 1, 3)


def test_a_dense_reads_channels_in_another_order():
    """As after images whose channels are the last axis."""
    arrays = {
        "w": np.arange(24, dtype=np.float32).reshape(12, 2) / 24,
        "K": np.ones((3, 1, 1, 1), np.float32),
        "rows": [0, -1],
    }
    arrays["K"][:, 0, 0, 0] = 1, 2, 3
    arrays["rows"] = np.array([0, -1], np.int64)
    nodes = [
        node("Conv", "x K", "c"), node("Transpose", "c", "t", perm=[0, 2, 3, 1]), node("Reshape", "t rows", "r"),
        node("MatMul", "r w", "y"),
    ]  # fmt: skip
    model = graph(nodes, ("N", 1, 2, 2), arrays)
    x = np.random.default_rng(0).standard_normal((5, 1, 2, 2)).astype(np.float32)
    net = interop.load(model)
    np.testing.assert_allclose(net.predict(x.reshape(5, 4)), run(model, {"x": x})["y"], rtol=1e-6, atol=1e-6)


def test_states_are_inputs_or_constants():
    more = [helper.make_tensor_value_info("h", TensorProto.FLOAT, (2, "N", 3))]
    nodes = [
        node("Slice", "h zero one zero", "h0"), node("Slice", "h one two zero", "h1"),
        node("GRU", "x W1 R1 B1  h0".replace("  ", " nothing "), "Y Yh", hidden_size=3),
        node("Squeeze", "Y one", "s"), node("GRU", "s W1 R1 B1 nothing h1", "Y2 Yh2", hidden_size=3),
        node("Squeeze", "Y2 one", "y"), node("Concat", "Yh Yh2", "final", axis=0),
    ]  # fmt: skip
    for each in nodes:
        for index, name in enumerate(each.input):
            if name == "nothing":
                each.input[index] = ""
    model = graph(nodes, ("T", "N", 3), NUMBERS, more=more, outputs=("y", "final"))
    random = np.random.default_rng(0)
    x, h = random.standard_normal((5, 2, 3)).astype(np.float32), random.standard_normal((2, 2, 3)).astype(np.float32)
    net = interop.load(model)
    assert net.layers == (nr.GRU(3, "before", layers=2),)
    expected = run(model, {"x": x, "h": h})
    y, (final,) = net(x, (h,))
    for found in ((y, final), interop.Backend.run_model(model, {"x": x, "h": h})):
        np.testing.assert_allclose(found[0], expected["y"], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(found[1], expected["final"], rtol=0, atol=TOLERANCE)
    only_last = graph([*nodes[:-2], node("Gather", "final2 minus", "y", axis=0)], ("T", "N", 3), NUMBERS, more=more)
    only_last.graph.node.insert(5, node("Concat", "Yh Yh2", "final2", axis=0))
    net = interop.load(only_last)
    assert net.layers == (nr.GRU(3, "before", layers=2), nr.Last())
    np.testing.assert_allclose(net.predict(x), run(only_last, {"x": x, "h": h * 0})["y"], rtol=0, atol=TOLERANCE)


WRONG = {  # what the error says: a graph
    r"^node 'the_Softmax' \(Softmax\): .*output='s' ends the network before it": [
        TURN, ONE, node("Squeeze", "Y one", "s"), node("Softmax", "s", "y")
    ],
    r"^node 'the_GRU' \(GRU\): expected activations|clip greater than 0": [
        TURN, node("GRU", "xt W1 R1 B1", "y", hidden_size=3, clip=0.0)
    ],
    r"^node 'the_GRU' \(GRU\): expected an activation function of ONNX, got 'Swish'": [
        TURN, node("GRU", "xt W1 R1 B1", "y", hidden_size=3, activations=["Swish", "Tanh"])
    ],
    r"^node 'the_GRU' \(GRU\): expected the same activations in both directions": [
        TURN, node("GRU", "xt W R B", "y", direction="bidirectional", activations=["Sigmoid", "Tanh", "Sigmoid", "Relu"])
    ],
    r"^node 'the_GRU' \(GRU\): expected in reverse, activation functions that are 0 at 0": [
        TURN, node("GRU", "xt W1 R1 B1", "y", direction="reverse", activations=["Sigmoid", "Sigmoid"])
    ],
    r"^node 'the_GRU' \(GRU\): expected W that is a constant, got 'xt'": [TURN, node("GRU", "xt xt R1", "y")],
    r"^node 'the_GRU' \(GRU\): expected hidden_size 3 as R has it, got 4": [
        TURN, node("GRU", "xt W1 R1", "y", hidden_size=4)
    ],
    r"^node 'the_GRU' \(GRU\): expected B of shape": [TURN, node("GRU", "xt W1 R1 W1", "y")],
    r"^node 'the_Mul' \(Mul\): expected a product with a number": [
        TURN, ONE, node("Tanh", "Y", "a"), node("Relu", "Y", "b"), node("Mul", "a b", "y")
    ],
    r"^node 'the_Gather' \(Gather\): expected the last step": [TURN, ONE, node("Gather", "Y six", "y", axis=2)],
    r"^output 'y': expected the last step of the outputs, got the first": [
        TURN, ONE, node("Slice", "Y zero one zero", "y")
    ],
    r"^model: expected an output with axes in the order of the input, ntc": [TURN, ONE, node("Squeeze", "Y one", "y")],
    r"^node 'the_GRU' \(GRU\): expected activation_alpha for Affine, got none left": [
        TURN, node("GRU", "xt W1 R1 B1", "y", activations=["Affine", "Tanh"])
    ],
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_what_is_not_understood_is_named(message):
    with pytest.raises(nr.ConversionError, match=message):
        interop.load(graph(WRONG[message], arrays=NUMBERS))


@pytest.mark.parametrize("value, sizes", [("Yh", [2, 6]), ("Y", [5, 2, 6])])
def test_directions_are_not_taken_for_a_batch_of_as_many(value, sizes):
    nodes, x = [TURN, BOTH, node("Reshape", f"{value} sizes", "y")], np.ones((2, 5, 3), np.float32)
    model = graph(nodes, x.shape, {"sizes": np.array(sizes)})
    with pytest.raises(nr.ConversionError, match="^model: expected an output without steps or batch between its channels"):
        interop.load(model)
    (found,), (expected,) = (
        interop.Backend.run_model(model, [x]),
        onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x}),
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_an_output_before_what_is_not_understood():
    nodes = WRONG[r"^node 'the_Softmax' \(Softmax\): .*output='s' ends the network before it"]
    net = interop.load(graph([*nodes[:2], node("Squeeze", "Yh zero", "s"), nodes[3]], arrays=NUMBERS), output="s")
    assert net.layers == (nr.GRU(3, "before"), nr.Last())
    with pytest.raises(nr.ConversionError, match="^output: expected a value of the graph, got 'none'"):
        interop.load(graph(nodes, arrays=NUMBERS), output="none")


def small():
    return interop.to_model(nr.Network([nr.GRU(2), nr.Last(), nr.Dense(1)], channels=1, seed=0)).SerializeToString()


@settings(max_examples=300)
@given(st.data())
def test_damaged_models(data):
    contents = bytearray(small())
    if data.draw(st.booleans()):
        del contents[data.draw(st.integers(0, len(contents) - 1)) :]
    for _ in range(data.draw(st.integers(0, 3))):
        if contents:
            contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    try:
        interop.load(bytes(contents))
    except (nr.FileFormatError, nr.ConversionError, nr.ShapeError) as error:
        assert str(error)


def test_what_is_no_model(tmp_path):
    path = tmp_path / "m.onnx"
    for contents in (b"", b"no model", small()[:-40], b"\x3a\xff\xff\xff\xff\x07" + b"x" * 100):
        path.write_bytes(contents)
        with pytest.raises((nr.FileFormatError, nr.ConversionError), match="m.onnx"):
            interop.load(path)
    with pytest.raises(FileNotFoundError):
        interop.load(tmp_path / "none.onnx")
    with pytest.raises(TypeError, match="model: expected a str or an os.PathLike, got 3"):
        interop.load(3)
    claims = onnx.ModelProto.FromString(small())
    next(each for each in claims.graph.initializer if each.name == "0.W_l0").dims[:] = [1, 6, 1 << 40]
    with pytest.raises(nr.FileFormatError, match="0.W_l0: expected an array, got a damaged one"):
        interop.load(claims)
    much = graph(
        [node("ConstantOfShape", "big", "c"), node("Concat", "c c", "w", axis=0), node("MatMul", "x w", "y")], arrays=NUMBERS
    )
    with pytest.raises(
        nr.ConversionError, match=r"node 'the_ConstantOfShape' \(ConstantOfShape\): expected a shape that memory"
    ):
        interop.load(much)
    with pytest.raises(nr.FileFormatError, match=r"node 'the_GRU' \(GRU\): expected 'xt' from a node before it"):
        interop.load(graph([ONE], outputs=("Y",)))
    old = graph([TURN], outputs=("xt",), opset=3)
    with pytest.raises(nr.ConversionError, match="expected a model of opset 7 to"):
        interop.load(old)


def test_an_older_opset_has_axes_as_attributes():
    nodes = [TURN, ONE, node("Squeeze", "Y", "s", axes=[1]), node("Transpose", "s", "y", perm=[1, 0, 2])]
    for opset in (7, 11):
        assert interop.load(graph(nodes, opset=opset)).layers == (nr.GRU(3, "before"),)
    for opset in (14, 18, 21, 22):
        nodes[2] = node("Squeeze", "Y one", "s")
        assert interop.load(graph(nodes, opset=opset, arrays=NUMBERS)).layers == (nr.GRU(3, "before"),)


def onnx_s_own_tests():
    """ONNX's tests of its nodes RNN, GRU and LSTM."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import onnx.backend.test

        tests = onnx.backend.test.BackendTest(interop.Backend, __name__)
    tests.include("test_(simple_rnn|rnn|gru|lstm)_.*_cpu$")
    return tests.test_cases["OnnxBackendNodeModelTest"]


def test_onnx_s_own_tests_pass():
    cases = onnx_s_own_tests()
    names = [name for name in dir(cases) if "_cpu" in name and name.split("_")[1] in ("simple", "rnn", "gru", "lstm")]
    suite = unittest.TestSuite(cases(name) for name in names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = unittest.TextTestRunner(stream=io.StringIO()).run(suite)
    assert result.wasSuccessful(), (result.failures + result.errors)[0][1]
    assert result.testsRun - len(result.skipped) >= 12, result.skipped[:3]


CHANGED = {
    r"output 'm': .*'the_Add' \(Add\) has made a part": ("m y", [node("MatMul", "x V", "m"), node("Add", "m b", "y")]),
    r"output 's': .*'the_Mul' \(Mul\) has made a part": (
        "s y", [node("MatMul", "x V", "m"), node("Sigmoid", "m", "s"), node("Mul", "m s", "y")]
    ),
    r"output 'Y': .*'the_ReduceSum' \(ReduceSum\) has made": (
        "Y y", [TURN, BOTH, node("ReduceSum", "Y one", "y", keepdims=0)]
    ),
    r"output 't': .*output 'y' has made a part": (
        "t y",
        [node("MatMul", "x V", "m"), node("Mul", "m two", "d"), node("Tanh", "d", "t"), node("Mul", "t two", "y")],
    ),
    r"node 'the_Mul' \(Mul\): .*'m', which node 'the_Add'": (
        "y", [node("MatMul", "x V", "m"), node("Add", "m b", "a"), node("Sigmoid", "a", "s"), node("Mul", "m s", "y")]
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", CHANGED)
def test_a_value_that_is_no_layer_s_output_any_more_is_named(message):
    outputs, nodes = CHANGED[message]
    arrays = {**NUMBERS, "V": W[0].T, "b": np.ones(9, np.float32), "two": np.float32(2)}
    model, x = graph(nodes, arrays=arrays, outputs=outputs.split()), np.ones((2, 5, 3), np.float32)
    with pytest.raises(nr.ConversionError, match=message):
        interop.Backend.run_model(model, [x])
    del model.graph.output[:-1]
    if outputs != "y":  # by itself the last one is a network
        (found,) = interop.Backend.run_model(model, [x])
        (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_casts_of_numbers_are_not_left_out():
    back = node("Cast", "i", "f", to=TensorProto.FLOAT)
    nodes = [node("Cast", "x", "i", to=TensorProto.INT32), back, node("MatMul", "f V", "y")]
    with pytest.raises(nr.ConversionError, match=r"node 'the_Cast' \(Cast\): expected float or double, or integers of an"):
        interop.load(graph(nodes, arrays={"V": W[0].T}))
    nodes = [node("Cast", "x", "i", to=TensorProto.INT64), node("Gather", "V i", "y")]
    net = interop.load(graph(nodes, ("N", "T"), {"V": W[0]}, kind=TensorProto.INT32))
    assert net.layers == (nr.Embedding(9, 3),)


def test_arrays_in_other_files(tmp_path, monkeypatch):
    def outside(name):
        tensor = numpy_helper.from_array(W[0], "V")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=name)
        return tensor

    folder = tmp_path / "model"
    folder.mkdir()
    for place in (tmp_path, folder):
        (2 * W[0]).tofile(place / "w.bin")
    monkeypatch.chdir(tmp_path)
    initializer = graph([node("MatMul", "x V", "y")], (2, 9), {"V": W[0]})
    attribute = graph([node("Constant", "", "V", value=outside("w.bin")), node("MatMul", "x V", "y")], (2, 9))
    attribute.graph.node[0].ClearField("input")
    for model, tensor in (
        (initializer, initializer.graph.initializer[0]),
        (attribute, attribute.graph.node[0].attribute[0].t),
    ):
        tensor.CopyFrom(outside("w.bin"))
        (folder / "m.onnx").write_bytes(model.SerializeToString())
        assert np.array_equal(interop.load(folder / "m.onnx").params["0.weight"], 2 * W[0].T)
        for source in (model, model.SerializeToString()):  # what is no path has no files beside it
            with pytest.raises(nr.FileFormatError, match="expected a path of a model with arrays in other files, got 'V'"):
                interop.load(source)
        tensor.CopyFrom(outside("../w.bin"))
        (folder / "m.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(nr.FileFormatError, match="m.onnx: expected the arrays of 'V' beside it"):
            interop.load(folder / "m.onnx")


def test_a_node_by_itself():
    x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    alone = node("GRU", "x w r b", "y h", hidden_size=3)
    y, h = interop.Backend.run_node(alone, [x, W[:1], R[:1], B[:1]])
    assert y.shape == (5, 1, 2, 3) and np.array_equal(y[-1], h)
    assert interop.Backend.supports_device("CPU") and not interop.Backend.supports_device("CUDA")
    with pytest.raises(ValueError, match="inputs: expected 4"):
        interop.Backend.run_node(alone, [x])
    with pytest.raises(nr.ConversionError, match="device: expected 'CPU', got 'TPU'"):
        interop.Backend.prepare(small(), "TPU")


EXPORTS = dict(np.load(Path(__file__).parent / "vectors" / "exports.npz"))


@pytest.mark.parametrize("name", [name for name in EXPORTS if name.count(".") == 1])
def test_what_pytorch_exports(name):
    given = {key.removeprefix(f"{name}."): array for key, array in EXPORTS.items() if key.startswith(f"{name}.")}
    contents = EXPORTS[name].tobytes()
    net = interop.load(contents)
    if "h" in given:
        y, (final,) = net(given["x"], (given["h"],))
        np.testing.assert_allclose(final, given["final"], rtol=0, atol=2e-6)
        outputs = interop.Backend.run_model(contents, [given["x"], given["h"]])
        np.testing.assert_allclose(outputs[1], given["final"], rtol=0, atol=2e-6)
    else:
        y, outputs = net.predict(given["x"]), interop.Backend.run_model(contents, [given["x"]])
    for found in (y, outputs[0]):
        np.testing.assert_allclose(found, given["y"], rtol=0, atol=2e-6)
    kinds = {"lstm": nr.LSTM, "gru": nr.GRU, "indices": nr.Embedding, "state": nr.GRU}
    assert type(net.layers[0]) is kinds[name.partition(".")[0]]
