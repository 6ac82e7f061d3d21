"""Keras' models, files and weights to networks and back: outputs side by side, parameters to the bit, errors by layer."""

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.interop.keras_files import is_row

interop = nr.interop.keras


def numbers(tensor):
    """What a model of Keras returns as NumPy's array, whatever has computed it."""
    from keras import ops

    return ops.convert_to_numpy(tensor)


MODELS = {  # the layers of a model of inputs (N, T, 3), by a function of keras.layers
    "gru": lambda k: [k.GRU(4, return_sequences=True), k.Dense(2, activation="relu")],
    "gru before": lambda k: [k.GRU(4, reset_after=False), k.Dense(2)],
    "lstm": lambda k: [k.LSTM(4, return_sequences=True), k.Dropout(0.5), k.LSTM(2, use_bias=False), k.Activation("tanh")],
    "rnn": lambda k: [k.TimeDistributed(k.Dense(3)), k.SimpleRNN(4, return_sequences=True), k.GlobalMaxPooling1D()],
    "both": lambda k: [k.Bidirectional(k.LSTM(4, return_sequences=True)), k.Bidirectional(k.GRU(3)), k.Dense(2)],
    "sums": lambda k: [k.Bidirectional(k.GRU(4), merge_mode="sum"), k.Dense(2, activation="gelu")],
    "averages": lambda k: [k.Bidirectional(k.SimpleRNN(4), merge_mode="ave"), k.Dense(2, activation="hard_sigmoid")],
    "indices": lambda k: [k.Embedding(7, 3), k.GRU(4), k.Dense(2, use_bias=False, activation="silu")],
}


def made(keras, name, functional=False):
    """A model with random weights."""
    layers = MODELS[name](keras.layers)
    shape, dtype = ((None,), "int32") if name == "indices" else ((None, 3), "float32")
    source = keras.Input(shape, dtype=dtype)
    if functional:
        value = source
        for layer in layers:
            value = layer(value)
        model = keras.Model(source, value)
    else:
        model = keras.Sequential([source, *layers])
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(-0.7, 0.7, each.shape).astype(np.float32) for each in model.get_weights()])
    return model


def input_of(name):
    random = np.random.default_rng(1)
    return random.integers(0, 7, (2, 5)) if name == "indices" else random.standard_normal((2, 5, 3)).astype(np.float32)


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_there_and_back(keras, name, functional, tmp_path):
    model, x = made(keras, name, functional), input_of(name)
    expected = numbers(model(x))
    net = interop.from_model(model)
    np.testing.assert_allclose(net.predict(x), expected, rtol=0, atol=2e-6)
    for ending in ("keras", "h5"):
        model.save(tmp_path / f"m.{ending}")
        loaded = interop.load(tmp_path / f"m.{ending}")
        assert loaded.layers == net.layers and loaded.params.flat.tobytes() == net.params.flat.tobytes()
    back = interop.to_model(net)
    np.testing.assert_allclose(numbers(back(x)), expected, rtol=0, atol=2e-6)
    assert interop.from_model(back).params.flat.tobytes() == net.params.flat.tobytes()
    if "use_bias" not in str(MODELS[name].__code__.co_consts) and name not in ("indices", "lstm"):
        lists = interop.weights(net)
        assert all(np.array_equal(a, b) for a, b in zip(lists, model.get_weights(), strict=True))
    other = nr.Network(net.layers, net.channels if name != "indices" else None, layout="ntc", seed=3)
    assert interop.set_weights(other, interop.weights(net)).params.flat.tobytes() == net.params.flat.tobytes()


def test_stacked_layers(keras):
    net = nr.Network(
        [nr.LSTM(3, layers=2, bidirectional=True, dropout=0.1), nr.Last(), nr.Dense(2)], 3, layout="ntc", seed=0
    )
    x = input_of("lstm")
    model = interop.to_model(net)
    np.testing.assert_allclose(numbers(model(x)), net.predict(x), rtol=0, atol=2e-6)
    other = nr.Network(net.layers, 3, layout="ntc", seed=1)
    assert np.array_equal(interop.set_weights(other, model.get_weights()).params.flat, net.params.flat)
    with pytest.raises(nr.ShapeError, match="arrays: expected shapes"):
        interop.set_weights(other, model.get_weights()[:-1])
    assert np.array_equal(other.params.flat, net.params.flat)


WRONG = {
    "'a' .GRU.: expected go_backwards=False, got True": lambda k: [k.GRU(2, go_backwards=True, name="a")],
    "'b' .Softmax.: expected a layer that numbarnn has": lambda k: [k.Dense(2), k.Softmax(name="b")],
    "'c' .Dense.: expected a function of linear, .*got activation='softmax'": lambda k: [k.Dense(2, "softmax", name="c")],
    "'e' .GlobalMaxPooling1D.: expected data_format": lambda k: [
        k.Dense(2),
        k.GlobalMaxPooling1D("channels_first", name="e"),
    ],
    "'f' .GlobalAveragePooling1D.: expected .*keepdims=False": lambda k: [
        k.Dense(2),
        k.GlobalAveragePooling1D(keepdims=True, name="f"),
    ],
    "'g' .Dense.: expected a layer of Keras, got a class of its own": lambda k: [
        type("Dense", (k.Dense,), {"call": lambda self, x: 0 * x})(3, name="g")
    ],
    "'d' .Bidirectional.: expected merge_mode": lambda k: [k.Bidirectional(k.GRU(2), merge_mode=None, name="d")],
}


@pytest.mark.parametrize("message", WRONG)
def test_a_layer_without_counterpart_is_named(keras, message, tmp_path):
    try:
        model = keras.Sequential([keras.Input((None, 3)), *WRONG[message](keras.layers)])
    except ValueError:  # a Sequential takes no layer of two outputs
        source = keras.Input((None, 3))
        model = keras.Model(source, WRONG[message](keras.layers)[0](source))
    with pytest.raises(nr.ConversionError, match=f"^layer {message}"):
        interop.from_model(model)


def test_an_output_is_not_left_out(keras, tmp_path):
    source = keras.Input((None, 3))
    middle = keras.layers.GRU(4, return_sequences=True, name="middle")(source)
    model = keras.Model(source, [middle, keras.layers.Dense(2, name="last")(middle)])
    model.save(tmp_path / "m.keras")
    for load, source in ((interop.from_model, model), (interop.load, tmp_path / "m.keras")):
        assert load(source).outputs == ("middle", "last")


def test_a_graph_of_keras_2_is_named():
    """Its inbound_nodes are lists."""
    names = [["a", []], ["b", [[["a", 0, 0, {}]]]], ["c", [[["a", 0, 0, {}], ["b", 0, 0, {}]]]]]
    layers = [{"class_name": "Dense", "config": {"name": name}, "inbound_nodes": nodes} for name, nodes in names]
    config = {"class_name": "Functional", "config": {"layers": layers, "output_layers": [["c", 0, 0]]}}
    with pytest.raises(
        nr.ConversionError, match=r"^layer 'c' \(Dense\): expected 'b' as its input, .* of Keras 2 layers in a"
    ):
        is_row(config)
    del layers[2]
    config["config"]["output_layers"] = [["b", 0, 0]]
    assert is_row(config)


def test_hard_sigmoid_of_keras_2(keras, tmp_path):
    layers = [keras.layers.GRU(4, recurrent_activation="hard_sigmoid", return_sequences=True)]
    keras.Sequential([keras.Input((None, 3)), *layers]).save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            old.writestr(name, b'{"keras_version": "2.15.0"}' if name == "metadata.json" else new.read(name))
    assert interop.load(tmp_path / "new.keras").layers[0].gate_activation == ("hard_sigmoid", 1 / 6, 0.5)
    assert interop.load(tmp_path / "old.keras").layers[0].gate_activation == "hard_sigmoid"  # 0.2 x + 0.5


@pytest.mark.parametrize("kept", [False, True])
def test_a_connectivity_is_carried_as_the_weights_that_follow_from_it(keras, kept):
    options = {"mask": 1 - np.eye(3), "signs": [1, -1, 1]} if kept else {"spectral_radius": 0.9}
    layers = [nr.GRU(3, connectivity=nr.Connectivity(**options), layers=2), nr.Dense(2)]
    net = nr.Network(layers, channels=2, layout="ntc", seed=0)
    x, flat = np.random.default_rng(0).standard_normal((4, 6, 2)).astype(np.float32), net.params.flat.copy()
    np.testing.assert_allclose(numbers(interop.to_model(net)(x)), net.predict(x), rtol=0, atol=2e-6)
    plain = nr.Network([nr.GRU(3, layers=2), nr.Dense(2)], channels=2, layout="ntc")
    np.testing.assert_array_equal(interop.set_weights(plain, interop.weights(net)).predict(x), net.predict(x))
    if not kept:
        assert np.array_equal(interop.set_weights(net, interop.weights(net)).params.flat, flat)
    else:
        with pytest.raises(nr.ConversionError, match=r"layers\[0\]: expected a layer without mask.* into a network without"):
            interop.set_weights(net, interop.weights(net))
        assert np.array_equal(net.params.flat, flat)


NOT_IN_KERAS = [
    (nr.LSTM(2, peepholes=True), "peepholes False"),
    (nr.GRU(2, clip=1.0), "clip None"),
    (nr.LSTM(2, output_activation="relu"), "output_activation 'tanh'"),
    (nr.MGU(2), "a layer that Keras has, got MGU"),
    (nr.Activation(("leaky_relu", 0.5)), "an activation function that Keras has"),
]


@pytest.mark.parametrize("layer, message", NOT_IN_KERAS)
def test_a_layer_that_keras_does_not_have_is_named(layer, message):
    net = nr.Network([nr.Dropout(0.1), layer], channels=2, layout="ntc", seed=0)
    with pytest.raises(nr.ConversionError, match=rf"^layers\[1\]: expected .*{message}"):
        interop.weights(net)


@pytest.fixture(scope="module")
def saved(keras, tmp_path_factory):
    """The bytes of a model in files of both kinds."""
    folder = tmp_path_factory.mktemp("saved")
    for ending in ("keras", "h5"):
        made(keras, "gru").save(folder / f"m.{ending}")
    return {ending: (folder / f"m.{ending}").read_bytes() for ending in ("keras", "h5")}


@settings(max_examples=100)
@given(st.sampled_from(["keras", "h5"]), st.data())
def test_damaged_files(saved, tmp_path_factory, ending, data):
    contents = bytearray(saved[ending])
    if data.draw(st.booleans()):
        del contents[data.draw(st.integers(0, len(contents) - 1)) :]
    for _ in range(data.draw(st.integers(0, 3))):
        if contents:
            contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / f"m.{ending}"
    path.write_bytes(contents)
    try:
        interop.load(path)
    except (nr.FileFormatError, nr.ConversionError, nr.ShapeError) as error:
        assert str(error)


def test_links_out_of_a_file_are_not_followed(saved, tmp_path):
    import h5py

    path, secret = tmp_path / "m.h5", tmp_path / "secret.h5"
    path.write_bytes(saved["h5"])
    with h5py.File(secret, "w") as file:
        file["kernel"] = np.ones((3, 12), np.float32)
    with h5py.File(path, "r+") as file:
        group = next(iter(file["model_weights"].values()))
        name = group.attrs["weight_names"][0]
        del group[name]
        group[name] = h5py.ExternalLink("secret.h5", "kernel")
    with pytest.raises(nr.FileFormatError, match="is no part of the file"):
        interop.load(path)
    with pytest.raises(ValueError, match="path: expected a file that ends in .keras"):
        interop.load(secret.with_suffix(".bin"))


IMAGES = {  # the layers of a model of images (N, 8, 7, 2), by a function of keras.layers
    "same": lambda k: [k.Conv2D(3, 3, padding="same"), k.Activation("relu"), k.MaxPooling2D(), k.Flatten(), k.Dense(2)],
    "strides": lambda k: [k.Conv2D(3, (2, 3), strides=(2, 1), use_bias=False), k.AveragePooling2D((2, 1)), k.Flatten(),
                          k.Dropout(0.2), k.Dense(3, "tanh"), k.Dense(2)],
    "zeros": lambda k: [k.ZeroPadding2D((1, 2)), k.Conv2D(4, 3), k.MaxPooling2D((3, 3), (1, 1), "same"), k.Conv2D(3, 2),
                        k.GlobalMaxPooling2D(), k.Dense(2)],
    "means": lambda k: [k.ZeroPadding2D(1), k.AveragePooling2D(2), k.Conv2D(3, 2), k.GlobalAveragePooling2D(), k.Dense(2)],
    "activations": lambda k: [k.Conv2D(3, 3, activation="tanh"), k.MaxPooling2D(), k.Conv2D(3, 2, activation="relu"),
                              k.Flatten(), k.Dense(2)],
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_images_there_and_back(keras, name, tmp_path):
    model = keras.Sequential([keras.Input((8, 7, 2)), *IMAGES[name](keras.layers)])
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(-0.7, 0.7, each.shape).astype(np.float32) for each in model.get_weights()])
    x = random.standard_normal((3, 8, 7, 2)).astype(np.float32)
    rows, expected = x.transpose(0, 3, 1, 2).reshape(3, -1), numbers(model(x))
    net = interop.from_model(model)
    np.testing.assert_allclose(net.predict(rows), expected, rtol=0, atol=5e-6)
    for ending in ("keras", "h5"):
        model.save(tmp_path / f"m.{ending}")
        loaded = interop.load(tmp_path / f"m.{ending}")
        assert loaded.layers == net.layers and loaded.params.flat.tobytes() == net.params.flat.tobytes()
    if name == "zeros":  # a pooling that pads is none of Keras' without padding="same"
        with pytest.raises(nr.ConversionError, match=r"^layers\[1\]: expected a layer that Keras has, without padding"):
            interop.to_model(net)
        return
    back = interop.to_model(net)
    np.testing.assert_allclose(numbers(back(x)), expected, rtol=0, atol=5e-6)
    other = nr.Network(net.layers, (2, 8, 7), layout="ntc", seed=3)
    assert interop.set_weights(other, back.get_weights()).params.flat.tobytes() == net.params.flat.tobytes()


WRONG_IMAGES = {
    "'a' .Conv2D.: expected padding that is the same before and after": lambda k: [k.Conv2D(2, 2, padding="same", name="a")],
    "'b' .Conv2D.: expected dilation_rate": lambda k: [k.Conv2D(2, 2, dilation_rate=2, name="b")],
    "'c' .Conv2D.: expected groups=1, got 2": lambda k: [k.Conv2D(2, 2, groups=2, name="c")],
    "'d' .AveragePooling2D.: expected padding 'valid'": lambda k: [k.AveragePooling2D(3, 1, padding="same", name="d")],
    "'e' .Dense.: expected a Flatten before it, after images": lambda k: [k.Conv2D(2, 2), k.Dense(2, name="e")],
    "'f' .ZeroPadding2D.: expected the same padding": lambda k: [k.ZeroPadding2D(((1, 0), (0, 0)), name="f")],
    "'g' .MaxPooling2D.: expected no ZeroPadding2D": lambda k: [k.ZeroPadding2D(1), k.MaxPooling2D(name="g")],
    "'h' .Conv2D.: expected a function of linear": lambda k: [k.Conv2D(2, 2, activation="exponential", name="h")],
    "'i' .Flatten.: expected no ZeroPadding2D": lambda k: [k.ZeroPadding2D(1), k.Flatten(name="i"), k.Dense(2)],
    "'j' .Activation.: expected no ZeroPadding2D": lambda k: [k.ZeroPadding2D(1), k.Activation("sigmoid", name="j")],
}


@pytest.mark.parametrize("message", WRONG_IMAGES)
def test_images_without_counterpart_are_named(keras, message):
    model = keras.Sequential([keras.Input((8, 7, 2)), *WRONG_IMAGES[message](keras.layers)])
    with pytest.raises(nr.ConversionError, match=f"^layer {message}"):
        interop.from_model(model)


def test_images_end_in_a_dense(keras):
    model = keras.Sequential([keras.Input((8, 7, 2)), keras.layers.Conv2D(2, 2), keras.layers.Flatten()])
    with pytest.raises(nr.ConversionError, match="^model: expected a Dense after images"):
        interop.from_model(model)
    net = nr.Network([nr.Conv2d(2, 2), nr.Flatten()], (2, 8, 7), layout="ntc")
    with pytest.raises(nr.ConversionError, match=r"^layers\[1\]: expected a Dense after images"):
        interop.to_model(net)
    net = nr.Network([nr.Conv2d(2, 2), nr.Flatten(), nr.GRU(3)], (2, 8, 7), layout="ntc")
    with pytest.raises(nr.ConversionError, match=r"^layers\[0\]: expected a layer that Keras has, got Conv2d"):
        interop.to_model(net)


def seq2seq(k, kind, state_of_two=False):
    """An encoder whose state starts a decoder."""
    past, known = k.Input((None, 3), name="past"), k.Input((None, 2), name="known")
    _, *state = kind(return_state=True, name="encoder")(past)
    y = kind(return_sequences=True, name="decoder")(known, initial_state=state)
    return [past, known], k.Dense(1, name="y")(y)


def forked(k):
    """Two outputs, a static input, values that are added and joined, a layer that is called twice."""
    x, static = k.Input((None, 3), name="x"), k.Input((4,), name="static")
    shared, dense = k.GRU(3, return_sequences=True, name="shared"), k.Dense(2, name="dense")
    once = shared(x)
    twice = k.Add(name="add")([shared(once), x])
    differs = k.Subtract(name="differs")([once, twice])
    last = k.Bidirectional(k.LSTM(2), name="both")(differs)
    end = k.Concatenate(name="end")([last, static])
    return [x, static], [dense(twice), k.Dense(3, "tanh", name="class")(end), k.Average(name="mean")([x, once, twice])]


def repeated(k):
    """What has no steps beside what has some, and an initial state that is computed."""
    x, static = k.Input((5, 3), name="x"), k.Input((4,), name="static")
    both = k.Concatenate(name="beside")([x, k.RepeatVector(5)(k.Dense(2, name="made")(static))])
    start = [k.Dense(3, "tanh", name="h")(static), k.Dense(3, name="c")(static)]
    return [x, static], k.LSTM(3, name="y")(both, initial_state=start)


def ends(k):
    """A state that is read as a value, and indices."""
    x, z = k.Input((None,), dtype="int32", name="x"), k.Input((None, 2), name="z")
    _, h = k.GRU(3, return_state=True, name="encoder")(k.Embedding(7, 2, name="table")(x))
    y, *both = k.Bidirectional(k.GRU(2, return_sequences=True, return_state=True), name="b")(z)
    decoded = k.Bidirectional(k.GRU(2, return_sequences=True), name="d")(z, initial_state=both)
    return [x, z], [k.Dense(2, name="of_h")(h), k.Concatenate(name="joined")([y, decoded])]


FUNCTIONAL = {
    "LSTM": lambda k: seq2seq(k, lambda **options: k.LSTM(4, **options)),
    "GRU": lambda k: seq2seq(k, lambda **options: k.GRU(4, reset_after=False, **options)),
    "forked": forked,
    "repeated": repeated,
    "ends": ends,
}


class Layers:
    """keras.layers, and Input."""

    def __init__(self, keras):
        self.Input, self._layers = keras.Input, keras.layers

    def __getattr__(self, name):
        return getattr(self._layers, name)


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_a_functional_model_is_a_graph(keras, name, tmp_path):
    inputs, outputs = FUNCTIONAL[name](Layers(keras))
    model = keras.Model(inputs, outputs)
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(-0.7, 0.7, each.shape).astype(np.float32) for each in model.get_weights()])
    shapes = [[3, *(5 if size is None else size for size in each.shape[1:])] for each in model.inputs]
    arrays = [
        random.integers(0, 7, shape).astype("int32") if each.dtype == "int32" else random.standard_normal(shape).astype("f")
        for shape, each in zip(shapes, model.inputs)
    ]
    expected = model(arrays)
    expected = [numbers(array) for array in (expected if isinstance(expected, (list, tuple)) else [expected])]
    net = interop.from_model(model)
    assert list(net.inputs) == [each.name for each in model.inputs]
    found = net.predict(dict(zip(net.inputs, arrays)))
    for array, other in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=0, atol=2e-6)
    for ending in ("keras", "h5"):
        model.save(tmp_path / f"m.{ending}")
        loaded = interop.load(tmp_path / f"m.{ending}")
        assert repr(loaded) == repr(net) and loaded.params.flat.tobytes() == net.params.flat.tobytes()


def wrong_graph(k, name):
    x = k.Input((5, 3), name="x")
    if name == "repeat":
        return k.LSTM(2, name="decoder")(k.RepeatVector(5)(k.Concatenate()([k.GRU(2)(x), k.GRU(2)(x)])))
    if name == "multiply":
        return k.Multiply(name="product")([x, x])
    if name == "c":
        return k.Dense(2, name="dense")(k.LSTM(2, return_state=True)(x)[2])
    return k.GRU(2, name="decoder")(x, initial_state=k.LSTM(2, return_state=True)(x)[2])


@pytest.mark.parametrize(
    "name, message",
    [
        ("repeat", "'decoder' .LSTM.: expected something that has steps beside what is repeated"),
        ("multiply", "'product' .Multiply.: expected"),
        ("c", "'dense' .Dense.: expected h of one direction as a value"),
        ("state", "'decoder' .GRU.: expected an initial state that is all of the state of one layer"),
    ],
)
def test_what_a_graph_does_not_have_is_named(keras, name, message):
    layers = Layers(keras)
    output = wrong_graph(layers, name)
    source = [each for each in output._keras_history.operation._inbound_nodes[0].input_tensors]
    model = keras.Model(_inputs_of(source), output)
    with pytest.raises(nr.ConversionError, match=f"^layer {message}"):
        interop.from_model(model)


def _inputs_of(tensors):
    """The inputs from which tensors of Keras come."""
    found = []
    for tensor in tensors:
        operation = tensor._keras_history.operation
        before = operation._inbound_nodes[0].input_tensors
        found += _inputs_of(before) if before else [tensor]
    return list({each.name: each for each in found}.values())
