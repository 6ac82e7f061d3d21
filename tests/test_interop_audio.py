"""Files of RTNeural, GuitarML and NAM: networks that compute what an own oracle makes of the same numbers."""

import copy
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import numbarnn as nr

audio = nr.interop.audio
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((30, 3, 1))


def numbers(*shape):
    """Weights as a file has them: lists of what float32 holds."""
    return (RANDOM.standard_normal(shape) / 2).astype(np.float32).tolist()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# The oracles: NumPy in float64, step by step, out of the file's own lists


def lstm(x, wx, wh, b, h=0.0, c=0.0):
    """(T, N, H) of gates i, f, g, o in the order of columns."""
    outputs, size = [], len(wh)
    for step in x:
        i, f, g, o = np.split(step @ wx + (h @ wh if np.ndim(h) else 0) + b, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    assert h.shape[-1] == size
    return np.array(outputs)


def gru(x, wx, wh, bx, bh, gates):
    """(T, N, H); gates: where the columns have r, z and n, reset after the product."""
    h, outputs = np.zeros((x.shape[1], len(wh))), []
    for step in x:
        a, b = (np.split(each, 3, axis=-1) for each in (step @ wx + bx, h @ wh + bh))
        r, z = (sigmoid(a[gates.index(gate)] + b[gates.index(gate)]) for gate in "rz")
        n = np.tanh(a[gates.index("n")] + r * b[gates.index("n")])
        h = z * h + (1 - z) * n
        outputs.append(h)
    return np.array(outputs)


ACTIVATIONS = {
    "": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


def of_rtneural(file, x):
    """What RTNeural computes: kernels (inputs, gates * units), GRU's gates z r h and LSTM's i f c o."""
    skipped = x[..., : file.get("in_skip", 0)]
    for layer in file["layers"]:
        weights = [np.array(each) for each in layer["weights"]]
        if layer["type"] == "gru":
            x = gru(x, weights[0], weights[1], *weights[2], gates="zrn")
        elif layer["type"] == "lstm":
            x = lstm(x, *weights)
        elif layer["type"] != "activation":
            x = x @ weights[0] + weights[1]
        if layer["type"] not in ("gru", "lstm"):
            x = ACTIVATIONS[layer["activation"]](x)
    return x + skipped if skipped.shape[-1] else x


def of_guitarml(file, x):
    """What CoreAudioML's networks compute: PyTorch's names and gates."""
    state = {name: np.array(value) for name, value in file["state_dict"].items()}
    described = file["model_data"]
    if described["model"] == "SimpleRNN":
        y = of_state(state, "", described["unit_type"], described["num_layers"], x)
        return y + x[..., : described["skip"]] if described["skip"] else y
    for index in range(len(file["blocks"])):
        block = file["blocks"][str(index)]
        y = of_state(state, f"layers.block_{index + 1}.", block["block_type"], block.get("num_layers", 1), x)
        x = y + x[..., : block["output_size"]] if block.get("skip", 1) else y
    return x


def of_state(state, prefix, kind, layers, x):
    """A recurrent layer and a linear one."""
    for k in range(layers):
        wx, wh = (state[f"{prefix}rec.weight_{name}_l{k}"].T for name in ("ih", "hh"))
        bx, bh = (state[f"{prefix}rec.bias_{name}_l{k}"] for name in ("ih", "hh"))
        if kind == "LSTM":
            x = lstm(x, wx, wh, bx + bh)
        elif kind == "GRU":
            x = gru(x, wx, wh, bx, bh, "rzn")
        else:
            h, outputs = np.zeros((x.shape[1], len(wh))), []
            for step in x:
                h = np.tanh(step @ wx + h @ wh + bx + bh)
                outputs.append(h)
            x = np.array(outputs)
    return x @ state[f"{prefix}lin.weight"].T + state.get(f"{prefix}lin.bias", 0.0)


def of_nam(file, x):
    """What NAM's LSTM computes: [weights of x and h, bias, first h, first c] of each layer, then the head."""
    config, rest = file["config"], list(file["weights"])

    def taken(*shape):
        count = int(np.prod(shape))
        found = np.array(rest[:count]).reshape(shape)
        del rest[:count]
        return found

    hidden = config["hidden_size"]
    for _ in range(config["num_layers"]):
        channels = x.shape[-1]
        both, bias, h, c = taken(4 * hidden, channels + hidden), taken(4 * hidden), taken(hidden), taken(hidden)
        h, c = (np.tile(state, (x.shape[1], 1)) for state in (h, c))
        x = lstm(x, both[:, :channels].T, both[:, channels:].T, bias, h, c)
    units = config.get("out_channels", 1)
    weight, bias = taken(units, hidden), taken(units)
    assert not rest
    return x @ weight.T + bias


# Files


def rtneural(*kinds, channels=1, **more):
    """A file of RTNeural with such layers: (type, units, activation)."""
    layers, width = [], channels
    for kind, units, activation in kinds:
        gates = {"gru": 3, "lstm": 4}.get(kind, 1)
        weights = [numbers(width, gates * units)]
        weights += [numbers(units, gates * units)] if gates > 1 else []
        weights += [numbers(2, 3 * units) if kind == "gru" else numbers(gates * units)]
        weights = [] if kind == "activation" else weights
        layers.append({"type": kind, "activation": activation, "shape": [None, None, units], "weights": weights})
        width = units
    return {"in_shape": [None, None, channels], "layers": layers, **more}


def state_of(prefix, kind, channels, hidden, units, layers=1, bias=True):
    """A state dict of a recurrent layer and a linear one."""
    gates, found = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], {}
    for k in range(layers):
        found |= {f"{prefix}rec.weight_ih_l{k}": numbers(gates * hidden, hidden if k else channels)}
        found |= {f"{prefix}rec.weight_hh_l{k}": numbers(gates * hidden, hidden)}
        found |= {f"{prefix}rec.bias_{name}_l{k}": numbers(gates * hidden) for name in ("ih", "hh")}
    found |= {f"{prefix}lin.weight": numbers(units, hidden)}
    return found | ({f"{prefix}lin.bias": numbers(units)} if bias else {})


def guitarml(kind="LSTM", channels=1, hidden=5, units=1, layers=1, skip=1, bias=True):
    """A file of GuitarML with a SimpleRNN."""
    described = {"model": "SimpleRNN", "input_size": channels, "skip": skip, "output_size": units, "unit_type": kind}
    described |= {"num_layers": layers, "hidden_size": hidden, "bias_fl": bias}
    return {"model_data": described, "state_dict": state_of("", kind, channels, hidden, units, layers, bias)}


def recnet(*blocks):
    """A file of GuitarML with a RecNet of blocks: (type, hidden, output size, what else it says)."""
    described, state, channels = {}, {}, 1
    for index, (kind, hidden, units, more) in enumerate(blocks):
        block = {"block_type": kind, "input_size": channels, "output_size": units, "hidden_size": hidden, **more}
        described[str(index)] = block
        state |= state_of(f"layers.block_{index + 1}.", kind, channels, hidden, units, bias=False)
        channels = units
    return {"model_data": {"model": "RecNet", "skip": 0}, "blocks": described, "state_dict": state}


def nam(hidden=4, layers=1, channels=1, **more):
    """A .nam file of LSTM."""
    count, units = 0, more.get("out_channels", 1)
    for k in range(layers):
        count += 4 * hidden * ((hidden if k else channels) + hidden + 1) + 2 * hidden
    config = {"input_size": channels, "hidden_size": hidden, "num_layers": layers, **more}
    weights = numbers(count + units * (hidden + 1))
    return {"version": "0.5.4", "architecture": "LSTM", "config": config, "weights": weights, "sample_rate": 48000}


FILES = {
    "RTNeural, gru": (of_rtneural, rtneural(("gru", 8, "tanh"), ("dense", 1, ""))),
    "RTNeural, lstm": (of_rtneural, rtneural(("lstm", 8, "tanh"), ("dense", 1, ""))),
    "RTNeural, lstm alone": (of_rtneural, rtneural(("lstm", 3, ""), channels=2)),
    "RTNeural, several": (
        of_rtneural,
        rtneural(
            ("time-distributed-dense", 4, "tanh"), ("gru", 5, "tanh"), ("lstm", 6, "tanh"), ("activation", 6, "elu"),
            ("dense", 3, "sigmoid"), ("dense", 2, "relu"), ("dense", 2, "elu"), channels=2,
        ),
    ),
    "AIDA-X": (of_rtneural, rtneural(("lstm", 8, ""), ("dense", 1, ""), in_skip=1, in_gain=0.0, samplerate=48000.0)),
    "AIDA-X, not linear": (of_rtneural, rtneural(("gru", 8, ""), ("dense", 1, "tanh"), in_skip=1)),
    "GuitarML, LSTM": (of_guitarml, guitarml()),
    "GuitarML, GRU": (of_guitarml, guitarml("GRU")),
    "GuitarML, RNN": (of_guitarml, guitarml("RNN", skip=0)),
    "GuitarML, a knob": (of_guitarml, guitarml(channels=2)),
    "GuitarML, stacked": (of_guitarml, guitarml(layers=2, skip=0, bias=False)),
    "GuitarML, two channels": (of_guitarml, guitarml("GRU", channels=3, units=2, skip=2)),
    "GuitarML, a block": (of_guitarml, recnet(("LSTM", 6, 1, {}))),
    "GuitarML, blocks": (of_guitarml, recnet(("GRU", 4, 1, {}), ("LSTM", 3, 2, {"skip": 0}), ("RNN", 3, 2, {"skip": 1}))),
    "NAM": (of_nam, nam()),
    "NAM, stacked": (of_nam, nam(hidden=3, layers=3)),
    "NAM, channels": (of_nam, nam(channels=2, in_channels=2, out_channels=3)),
}  # fmt: skip


def written(file, folder, name="file.json"):
    path = folder / name
    path.write_text(json.dumps(file))
    return path


def output(net, x):
    """What a network or a graph gives."""
    return net.predict(x) if isinstance(net, nr.Network) else net.predict({"x": x})["y"]


def channels_of(file):
    if "in_shape" in file:
        return file["in_shape"][-1]
    return file["config"]["input_size"] if "config" in file else file["model_data"].get("input_size", 1)


@pytest.mark.parametrize("what", FILES)
def test_outputs_are_those_of_the_oracle(what, tmp_path):
    oracle, file = FILES[what]
    x = RANDOM.standard_normal((40, 3, channels_of(file)))
    path, expected = written(file, tmp_path), oracle(file, x)
    single, double = output(audio.load(path), x.astype(np.float32)), output(audio.load(path, dtype="float64"), x)
    assert single.dtype == np.float32 and single.shape == expected.shape
    assert np.abs(single - expected).max() < 1e-6 * max(1, np.abs(expected).max())
    assert np.abs(double - expected).max() < 1e-13 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("what", FILES)
def test_a_stream_gives_the_same(what, tmp_path):
    oracle, file = FILES[what]
    net = audio.load(written(file, tmp_path))
    x = RANDOM.standard_normal((6, 1, channels_of(file))).astype(np.float32)
    stream = net.stream(batch=1)
    steps = [stream.step(value) if isinstance(net, nr.Network) else stream.step({"x": value})["y"] for value in x]
    assert np.abs(np.array(steps) - output(net, x)).max() < 1e-6


def test_what_else_a_file_says_is_given(tmp_path):
    net, extra = audio.load(written(nam() | {"metadata": {"name": "amp"}}, tmp_path), extra=True)
    assert isinstance(net, nr.Network) and net.layers == (nr.LSTM(4, learned_state=True), nr.Dense(1))
    assert extra == {"version": "0.5.4", "config": nam()["config"], "sample_rate": 48000, "metadata": {"name": "amp"}}
    graph, extra = audio.load(written(guitarml(), tmp_path), extra=True)
    assert isinstance(graph, nr.Graph) and extra.keys() == {"model_data"}
    assert graph.params["y.weight"][0, -1] == 1  # what is added


# Out again


@pytest.mark.parametrize(
    "layers",
    [
        [nr.GRU(5), nr.Dense(2)],
        [
            nr.Dense(3, "relu"),
            nr.GRU(4, layers=2, dropout=0.5),
            nr.Activation("sigmoid"),
            nr.Dropout(0.1),
            nr.Dense(1, "elu"),
        ],
        [nr.LSTM(4), nr.Dense(1, "tanh")],
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_saved_is_loaded(layers, dtype, tmp_path):
    net = nr.Network(layers, channels=2, dtype=dtype, seed=0)
    net.params.flat[:] = RANDOM.standard_normal(len(net.params)) / 2
    audio.save(net, tmp_path / "net.json")
    loaded, x = audio.load(tmp_path / "net.json", dtype), RANDOM.standard_normal((9, 2, 2)).astype(dtype)
    file = json.loads((tmp_path / "net.json").read_text())
    tolerance = 1e-6 if dtype == "float32" else 1e-14  # an LSTM's two biases are one there, their rounded sum
    assert np.abs(loaded.predict(x) - net.predict(x)).max() < tolerance
    assert np.abs(of_rtneural(file, x.astype(float)) - net.predict(x)).max() < max(tolerance, 1e-13)


@pytest.mark.parametrize(
    "layers, message",
    [
        ([nr.GRU(3), nr.Last(), nr.Dense(1)], "return_sequences=True, as RTNeural's GRU has, got False"),
        ([nr.GRU(3, reset="before")], "reset_after=True, as RTNeural's GRU has, got False"),
        ([nr.LSTM(3, activation="relu")], "output_activation"),
        ([nr.LSTM(3, activation="relu", output_activation="relu")], "activation='tanh', as RTNeural's LSTM has, got 'relu'"),
        ([nr.GRU(3, gate_activation=("hard_sigmoid", 1 / 6, 0.5))], "recurrent_activation='sigmoid'"),
        ([nr.GRU(3, bidirectional=True)], "a layer of .*, got one of Keras' Bidirectional"),
        ([nr.RNN(3)], "a layer of .*, got one of Keras' SimpleRNN"),
        ([nr.LSTM(3, learned_state=True)], "learned_state"),
        ([nr.Dense(3, "gelu")], "activation='gelu'"),
        ([nr.Dropout(0.5)], "net: expected a layer that the file has"),
        ([nr.Conv2d(1, 1), nr.Flatten(), nr.Dense(1)], "a layer of .*, got one of Keras' Conv2D"),
    ],
)
def test_what_rtneural_does_not_have_is_not_written(layers, message, tmp_path):
    net = nr.Network(layers, (1, 2, 2) if isinstance(layers[0], nr.Conv2d) else 2, seed=0)
    with pytest.raises(nr.ConversionError, match=message):
        audio.save(net, tmp_path / "net.json")
    assert not list(tmp_path.iterdir())


def test_what_json_does_not_have_is_not_written(tmp_path):
    net = nr.Network([nr.LSTM(3)], 1, seed=0)
    for value in (np.nan, 3e38):  # the file has the sum of the two biases
        net.params["0.bias_ih_l0"][0] = net.params["0.bias_hh_l0"][0] = value
        with pytest.raises(nr.NonFiniteError, match="^layer 0 of the file: expected finite parameters"):
            audio.save(net, tmp_path / "net.json")
        assert not list(tmp_path.iterdir())


# What is refused


def changed(file, change):
    """A copy of a file after a change."""
    file = copy.deepcopy(file)
    change(file)
    return file


OF_GRU = FILES["RTNeural, gru"][1]
REFUSED = {
    "WaveNet": (nam(), lambda f: f.update(architecture="WaveNet"), nr.ConversionError, "'LSTM', got 'WaveNet'"),
    "too few numbers": (nam(), lambda f: f["weights"].pop(), nr.FileFormatError, "weights: expected as many"),
    "too many units": (nam(), lambda f: f["config"].update(hidden_size=10**12), nr.FileFormatError, "as many numbers as 1"),
    "too many layers": (nam(), lambda f: f["config"].update(num_layers=10**12), nr.FileFormatError, "as many numbers as 1"),
    "no layers": (nam(), lambda f: f["config"].update(num_layers=0), nr.FileFormatError, "a positive integer, got 0"),
    "no size": (nam(), lambda f: f["config"].pop("hidden_size"), nr.FileFormatError, r"config\['hidden_size'\].*got none"),
    "a size that is text": (nam(), lambda f: f["config"].update(hidden_size="3"), nr.FileFormatError, "int, got '3'"),
    "a size that is true": (nam(), lambda f: f["config"].update(num_layers=True), nr.FileFormatError, "int, got True"),
    "text": (nam(), lambda f: f["weights"].__setitem__(3, "1.0"), nr.FileFormatError, "weights: expected numbers in lists"),
    "null": (nam(), lambda f: f["weights"].__setitem__(3, None), nr.FileFormatError, "weights: expected numbers in lists"),
    "NaN": (nam(), lambda f: f["weights"].__setitem__(3, float("nan")), nr.FileFormatError, "finite numbers that float32"),
    "too large": (nam(), lambda f: f["weights"].__setitem__(3, 1e300), nr.FileFormatError, "finite numbers that float32"),
    "huge": (nam(), lambda f: f["weights"].__setitem__(3, 10**400), nr.FileFormatError, "weights: expected"),
    "conv1d": (OF_GRU, lambda f: f["layers"][0].update(type="conv1d"), nr.ConversionError, r"layers\[0\]"),
    "softmax": (
        OF_GRU, lambda f: f["layers"][1].update(activation="softmax"), nr.ConversionError, "got 'softmax'",
    ),
    "a GRU of relu": (
        OF_GRU, lambda f: f["layers"][0].update(activation="relu"), nr.ConversionError, "'' or 'tanh'",
    ),
    "one bias of a GRU": (
        OF_GRU, lambda f: f["layers"][0]["weights"].__setitem__(2, [0.0] * 24), nr.FileFormatError, "2 axes",
    ),
    "a bias of another length": (
        OF_GRU, lambda f: f["layers"][0]["weights"][2][0].pop(), nr.FileFormatError, "of one length|have one",
    ),
    "weights of another layer": (
        OF_GRU, lambda f: f["layers"][0].update(type="lstm"), nr.FileFormatError, r"layers\[0\] weights",
    ),
    "another shape": (
        OF_GRU, lambda f: f["layers"][0].update(shape=[None, None, 9]), nr.FileFormatError, r"\[-1\]: expected 8, .* got 9",
    ),
    "layers that do not fit": (
        FILES["RTNeural, several"][1], lambda f: f["layers"].pop(1), nr.FileFormatError, "for 4 channels, got",
    ),
    "layers that are none": (OF_GRU, lambda f: f.update(layers=[]), nr.FileFormatError, "at least one"),
    "layers that are text": (OF_GRU, lambda f: f.update(layers=["gru"]), nr.FileFormatError, "an object"),
    "a gain": (FILES["AIDA-X"][1], lambda f: f.update(out_gain=3.0), nr.ConversionError, "out_gain: expected 0"),
    "another unit": (guitarml(), lambda f: f["model_data"].update(unit_type="GRU"), nr.FileFormatError, "'LSTM', .*'GRU'"),
    "another size": (guitarml(), lambda f: f["model_data"].update(hidden_size=6), nr.FileFormatError, "5, .* got 6"),
    "another model": (guitarml(), lambda f: f["model_data"].update(model="ConvNet"), nr.ConversionError, "got 'ConvNet'"),
    "no weights": (guitarml(), lambda f: f.update(state_dict={}), nr.FileFormatError, "a recurrent layer rec"),
    "no head": (guitarml(), lambda f: f["state_dict"].pop("lin.weight"), nr.FileFormatError, "rec and a linear one lin"),
    "a part besides": (
        guitarml(), lambda f: f["state_dict"].update(clip=[1.0]), nr.ConversionError, "got 'clip' as well",
    ),
    "weights that do not fit": (
        guitarml(), lambda f: f["state_dict"]["rec.bias_ih_l0"].pop(), nr.FileFormatError, "fit together|rec",
    ),
    "a skip of three to two": (
        guitarml(channels=3, units=2, skip=3), lambda f: None, nr.ConversionError, "skip: expected 1 or 2 channels",
    ),
    "blocks that are missing": (recnet(("GRU", 4, 1, {})), lambda f: f.update(blocks={}), nr.FileFormatError, "one block"),
    "a block that is not described": (
        recnet(("GRU", 4, 1, {}), ("GRU", 4, 1, {})), lambda f: f["blocks"].pop("1"), nr.ConversionError, "layers.block_2",
    ),
    "parts of blocks beside none": (
        guitarml(), lambda f: f["state_dict"].update({"layers.x": [1.0]}), nr.ConversionError, "got 'layers.x' as well",
    ),
    "more channels than any array has": (
        OF_GRU, lambda f: f.update(in_shape=[10**30]), nr.FileFormatError, r"in_shape\[-1\]: expected a positive integer",
    ),
    "no channels": (OF_GRU, lambda f: f.update(in_shape=[]), nr.FileFormatError, r"json: in_shape\[-1\]: .*, got None"),
    "a block of another name": (
        recnet(("GRU", 4, 1, {})), lambda f: f.update(blocks={"7": {}}), nr.FileFormatError, r"blocks\['0'\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_says_where(what, tmp_path):
    file, change, error, message = REFUSED[what]
    path = written(changed(file, change), tmp_path)
    with pytest.raises(error, match=message) as found:
        audio.load(path)
    assert str(path) in str(found.value)


@pytest.mark.parametrize(
    "contents, message",
    [
        (b"", "expected JSON"),
        (b"\x00\xff\xfe", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"[1, 2]", "expected an object with the keys in_shape"),
        (b"{}", r"expected the keys in_shape .* got \[\]"),
        (b'{"layers": 3}', r"got \['layers'\]"),
    ],
)
def test_other_files_are_refused(contents, message, tmp_path):
    (tmp_path / "file.json").write_bytes(contents)
    with pytest.raises(nr.FileFormatError, match=message):
        audio.load(tmp_path / "file.json")
    with pytest.raises(OSError):
        audio.load(tmp_path / "nothing.nam")


def places(value, path=()):
    """The paths of all parts of a JSON value."""
    yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*path, key))


SMALL = [
    rtneural(("gru", 1, "tanh"), ("dense", 1, ""), in_skip=0),
    nam(hidden=1),
    guitarml(hidden=1),
    recnet(("GRU", 1, 1, {})),
]
OTHERS = [None, True, -1, 0, 3, 10**30, 0.5, 1e39, "", "gru", [], [[]], [1.0], {}, {"a": 1}]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_a_network_of_finite_numbers(data, tmp_path):
    file = copy.deepcopy(data.draw(st.sampled_from(SMALL)))
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from([path for path in places(file) if path]))
        inside = file
        for key in way:
            inside = inside[key]
        if data.draw(st.booleans()):
            inside[last] = data.draw(st.sampled_from(OTHERS))
        else:
            del inside[last]
    text = json.dumps(file)
    if data.draw(st.booleans()):
        text = text[: data.draw(st.integers(0, len(text)))]
    path = tmp_path / "file.json"
    path.write_text(text)
    try:
        net = audio.load(path)
    except (nr.FileFormatError, nr.ConversionError):
        return
    assert np.isfinite(net.params.flat).all()


# The libraries themselves


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_keras_computes_the_same(keras, kind, tmp_path):
    """RTNeural's files have Keras' weights; its exporter writes `get_weights` of each layer."""
    layers = [getattr(keras.layers, kind)(6, return_sequences=True), keras.layers.Dense(2, activation="tanh")]
    model = keras.Sequential([keras.Input((None, 3)), *layers])
    model.set_weights([RANDOM.standard_normal(array.shape) / 2 for array in model.get_weights()])
    file = {"in_shape": [None, None, 3], "layers": []}
    for layer, units in zip(layers, (6, 2)):
        weights = [array.tolist() for array in layer.get_weights()]
        row = {"type": kind.lower() if units == 6 else "dense", "activation": "tanh", "shape": [None, None, units]}
        file["layers"].append(row | {"weights": weights})
    x = RANDOM.standard_normal((2, 20, 3)).astype(np.float32)
    found = audio.load(written(file, tmp_path)).predict(x.transpose(1, 0, 2)).transpose(1, 0, 2)
    assert np.abs(found - model.predict(x, verbose=0)).max() < 1e-6


@pytest.mark.parametrize("kind", ["GRU", "LSTM", "RNN"])
@pytest.mark.parametrize("skip", [0, 1])
def test_pytorch_computes_the_same(kind, skip, tmp_path):
    torch = pytest.importorskip("torch")
    rec, lin = getattr(torch.nn, kind)(1, 7), torch.nn.Linear(7, 1)
    state = {f"rec.{name}": value.tolist() for name, value in rec.state_dict().items()}
    state |= {f"lin.{name}": value.tolist() for name, value in lin.state_dict().items()}
    described = {"model": "SimpleRNN", "unit_type": kind, "hidden_size": 7, "input_size": 1, "output_size": 1, "skip": skip}
    x = torch.randn(25, 2, 1)
    with torch.no_grad():
        expected = (lin(rec(x)[0]) + skip * x).numpy()
    net = audio.load(written({"model_data": described, "state_dict": state}, tmp_path))
    assert np.abs(output(net, x.numpy()) - expected).max() < 1e-6
