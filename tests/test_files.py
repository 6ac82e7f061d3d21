"""Networks, layers and parameters in files: what is loaded is what was saved, whatever becomes of the disk meanwhile."""

import dataclasses
import errno
import inspect
import json
import math
import os
import pickle
import re
import signal
import stat
import subprocess
import sys
import time
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import processes
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import numbarnn as nr
from numbarnn.files import written
from numbarnn.files.container import KEY, read_file, write_file
from numbarnn.files.drafts import DRAFT, draft_name
from numbarnn.files.written import Reading, Writing


def same_bits(a, b):
    """Whether two arrays have the same shape, dtype and bits."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def again(net, path, **options):
    """The network that a file holds of this one."""
    net.save(path)
    return nr.load(path, **options)


def small(seed=0, **options):
    return nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=seed, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


# -- what comes back


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_network_predicts_and_trains_as_the_first_one_does(path, dtype):
    net = small(dtype=dtype)
    x, y = nr.windows(np.sin(np.arange(40, dtype=dtype) / 4), 5)
    net.fit(x, y, epochs=1, progress=False)
    made = again(net, path)
    assert made.layers == net.layers and repr(made) == repr(net) and made.output_channels == net.output_channels
    assert same_bits(made.params.flat, net.params.flat) and made.params.weights == net.params.weights
    assert same_bits(made.predict(x), net.predict(x)) and made.history is None
    losses = [each.fit(x, y, epochs=3, batch_size=8, progress=False).loss for each in (made, net)]
    assert losses[0] == losses[1] and same_bits(made.params.flat, net.params.flat)
    assert same_bits(nr.load(path, into=net).params.flat, nr.load(path).params.flat)


@pytest.mark.parametrize("kind", strategies.KINDS)
def test_networks_of_every_kind_go_on_as_they_would_have(path, kind):
    layer = strategies.KINDS[kind](3, layers=2, bidirectional=True, dropout=0.25)
    net = nr.Network([layer, nr.Last(), nr.Dense(2)], channels=2, dtype="float64", layout="ntc", seed=0)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((9, 4, 2)), random.standard_normal((9, 2))
    net.fit(x, y, epochs=1, batch_size=4, progress=False)
    made = again(net, path)
    assert same_bits(made.predict(x), net.predict(x))
    losses = [each.fit(x, y, epochs=2, batch_size=4, progress=False).loss for each in (made, net)]
    assert losses[0] == losses[1] and same_bits(made.params.flat, net.params.flat)


def test_bits_that_are_no_numbers_come_back(path):
    p = nr.RNN(3).init(2)
    p.flat.view(np.uint32)[:4] = 0x7FA00001, 0xFFC00002, 0x80000000, 0x00000001
    p.save(path)
    assert same_bits(nr.load(path).flat, p.flat) and nr.load(path).weights == p.weights


def test_a_reader_of_safetensors_alone_finds_pytorch_s_names_and_shapes(path):
    net = nr.Network([nr.Embedding(7, 3), nr.LSTM(4, bidirectional=True, projection=2), nr.Dense(2)], seed=0)
    net.save(path)
    found = load_file(path)
    assert set(found) == set(net.params.names)
    assert all(same_bits(found[name], np.ascontiguousarray(view)) for name, view in net.params.items())
    assert found["1.weight_ih_l0"].shape == (16, 3) and found["0.weight"].shape == (7, 3)


def test_a_layer_and_its_parameters(path):
    layer = nr.LSTM(3, peepholes=True)
    p = layer.init(2, seed=3, dtype="float64")
    layer.save(path, p)
    made, q = nr.load(path)
    assert made == layer and same_bits(q.flat, p.flat) and q.weights == p.weights
    with pytest.raises(nr.ShapeError, match=r"^p: expected the parameters of LSTM\(hidden=3\)"):
        nr.LSTM(3).save(path, p)
    with pytest.raises(TypeError, match="^p: expected numbarnn.Parameters, got int"):
        layer.save(path, 3)
    assert nr.load(path)[0] == layer


@pytest.mark.parametrize(
    "layer",
    [nr.Embedding(8, 2), nr.Conv2d(2, 3, shape=(2, 4, 4)), nr.Dense(3), nr.IndRNN(2, bidirectional=True), nr.Flatten()],
    ids=repr,
)
def test_layers_of_other_kinds(path, layer):
    p = layer.init(1 if layer.takes_indices else 32)
    layer.save(path, p)
    made, q = nr.load(path)
    assert made == layer and same_bits(q.flat, p.flat) and q.weights == p.weights


def test_images_come_back(path):
    layers = [nr.Conv2d(2, 3, padding=1), nr.Activation("relu"), nr.MaxPool2d(2), nr.Flatten(), nr.Dense(3)]
    net = nr.Network(layers, channels=(1, 6, 6), seed=0)
    made, x = again(net, path), np.random.default_rng(0).random((2, 36), np.float32)
    assert made.layers == net.layers and same_bits(made.params.flat, net.params.flat)
    assert load_file(path)["0.weight"].shape == (2, 1, 3, 3) and same_bits(made.predict(x), net.predict(x))


# -- descriptions of every kind


FUNCTION_SPECS = ["tanh", ("leaky_relu", 0.25), ("affine", 0.5, -1.0), nr.cells.activation("gelu")]


@st.composite
def recurrent(draw):
    """A recurrent layer with any of its options that go together."""
    kind = draw(st.sampled_from(sorted(strategies.KINDS | strategies.OTHER_KINDS)))
    layer = draw(strategies.layers(kind, hidden=(1, 2, 3, 5)))
    changes = {"learned_state": draw(st.booleans()), "weight_drop": draw(st.sampled_from((0.0, 0.5)))}
    if kind == "indrnn":
        del changes["weight_drop"]
    if layer.layers > 1:
        changes |= {"dropout": draw(st.floats(0, 0.9)), "residual": draw(st.booleans())}
    if layer.bidirectional:
        changes["merge"] = draw(st.sampled_from(("concat", "sum", "average", "product")))
    if kind != "lstm-projected":
        changes["noise"] = draw(st.floats(0, 2))
        changes["zoneout"] = draw(st.floats(0, 0.9))
        if strategies.states_of(layer) == 2 and draw(st.booleans()):
            changes["zoneout"] = changes["zoneout"], draw(st.floats(0, 0.9))
        if kind != "indrnn" and draw(st.booleans()):
            mask = draw(st.sampled_from((None, np.tri(layer.hidden))))
            signs = [1, -1, 1, 1, -1][: layer.hidden] if mask is None or draw(st.booleans()) else None
            density = draw(st.sampled_from((None, 0.5))) if mask is None else None
            radius = draw(st.sampled_from((None, 0.9))) if kind != "indrnn" and mask is None and density is None else None
            changes["connectivity"] = nr.Connectivity(mask, signs, density=density, spectral_radius=radius)
    if kind.startswith("leaky") and draw(st.booleans()):
        rates = st.lists(st.floats(0.01, 1), min_size=layer.hidden, max_size=layer.hidden)
        changes["rate"] = tuple(draw(rates))
    changes["clip"] = draw(st.sampled_from((None, 0.1, 3.0)))
    changes["activation"] = draw(st.sampled_from(FUNCTION_SPECS))
    return replace(layer, **changes)


STATELESS = st.one_of(
    st.builds(nr.Dense, st.integers(1, 4), st.sampled_from(FUNCTION_SPECS)),
    st.builds(nr.Activation, st.sampled_from(FUNCTION_SPECS)),
    st.builds(nr.Dropout, st.floats(0, 0.9)),
)


@st.composite
def networks(draw):
    """A network of any layers."""
    first = [nr.Embedding(draw(st.integers(1, 9)), draw(st.integers(1, 4)))] if draw(st.booleans()) else []
    middle = draw(st.lists(st.one_of(recurrent(), STATELESS), min_size=1, max_size=3))
    last = draw(st.sampled_from(([], [nr.LastStep()], [nr.LastStep(), nr.Dense(2)])))
    return nr.Network(
        [*first, *middle, *last],
        channels=1 if first else draw(st.integers(1, 4)),
        dtype=draw(st.sampled_from(("float32", "float64"))),
        layout=draw(st.sampled_from(strategies.LAYOUTS)),
        seed=draw(st.integers(0, 99)),
    )


@given(networks())
@settings(deadline=None)
def test_any_network_comes_back(tmp_path_factory, net):
    """Layers equal by value make the same of the same numbers: their kernels are found by it."""
    made = again(net, tmp_path_factory.mktemp("any") / "net")
    assert made.layers == net.layers and repr(made) == repr(net)
    assert [hash(layer) for layer in made.layers] == [hash(layer) for layer in net.layers]
    assert (made.dtype, made.layout, made.channels, made._inputs) == (net.dtype, net.layout, net.channels, net._inputs)
    assert same_bits(made.params.flat, net.params.flat) and made.params.weights == net.params.weights
    for a, b in zip(made.layers, net.layers):
        connected = getattr(b, "connectivity", None)
        assert connected is None or (a.connectivity == connected and a.connectivity is not connected)


@pytest.mark.parametrize("normalized", [nr.GRU(3, normalized=True), nr.LSTM(3, layers=2, normalized=True)], ids=repr)
def test_normalized_layers_and_directions_come_back(path, normalized):
    both = replace(normalized, bidirectional=True, merge="sum")
    net = nr.Network([nr.Dropout(0.5), both, nr.Last(), nr.Dense(1)], channels=2, seed=0)
    made = again(net, path)
    assert made.layers == net.layers and made._unmerged == net._unmerged and same_bits(made.params.flat, net.params.flat)


def test_optimizers_schedules_losses_and_states_are_described_by_the_same_words(path):
    """What a training is made of, by the pair of functions that it is written with."""
    things = {
        "optimizer": nr.AdamW(nr.warmup(nr.cosine(0.1, 0.01), 5), decay=0.02, decays="all"),
        "others": (nr.SGD(0.1, 0.9, True), nr.RMSProp(nr.exponential(1.0, 0.1)), nr.Adam(nr.reduce_on_plateau(0.1))),
        "loss": nr.CrossEntropy(ignore_index=-100),
        "random": np.random.default_rng(3).bit_generator.state,
        "twister": np.random.Generator(np.random.MT19937(3)).bit_generator.state["state"],
        "numbers": [1, 2.5, -0.0, math.inf, -math.inf, 10**30, True, None, "\x00\ud800"],
        "mixed": {1: (), (2, "a"): [], "is": {"is": 3}},
        "array": np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1],
    }
    writing = Writing()
    described = writing("training", things)
    write_file(path, {"x": np.zeros((2, 0))} | writing.arrays, {"training": described})
    arrays, description = read_file(path)
    found = Reading(str(path), arrays)("training", description["training"])
    array = found.pop("array"), things.pop("array")
    keys = found["twister"].pop("key"), things["twister"].pop("key")
    assert found == things and repr(found) == repr(things)
    assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in (array, keys))
    assert arrays.keys() == {"x"} and arrays["x"].shape == (2, 0)
    assert math.isnan(Reading("f", {})("x", json.loads(json.dumps(Writing()("x", math.nan)))))


def test_a_vocabulary_is_as_large_as_it_likes(path):
    """It is no part of the header, whose size is limited."""
    net = nr.Network([nr.Dense(1)], 1)
    words = ["", "\x00", "\ud800", "ß", "漢字", *(f"a word that is long enough to be seen {n}" for n in range(40_000))]
    for count in (3, 1000, len(words)):
        vocabulary = nr.Vocabulary(words[:count], special=())
        net.save(path, extra={"vocabulary": vocabulary})
        found = nr.load(path, extra=True)[1]["vocabulary"]
        assert found == vocabulary and found.entries == tuple(words[:count]) and found[words[count - 1]] == count - 1
    assert path.stat().st_size > 1_600_000


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update({"x.ends": a["x.ends"][::-1].copy()}),
        lambda a: a.update({"x.ends": a["x.ends"] - 1}),
        lambda a: a.update({"x.ends": a["x.ends"].astype(np.int32)}),
        lambda a: a.update({"x.ends": a["x.ends"][:0]}),
        lambda a: a.update({"x.ends": np.array([2**63 - 1, -2, len(a["x"])])}),
        lambda a: a.update({"x": a["x"].reshape(1, -1)}),
        lambda a: a.update({"x": np.full_like(a["x"], 0xFF)}),
        lambda a: a.pop("x.ends"),
        lambda a: a.pop("x"),
    ],
)
def test_texts_that_were_damaged_are_named(change):
    writing = Writing()
    described = writing("x", tuple(map(str, range(2000))))
    assert Reading("f", dict(writing.arrays))("x", described) == tuple(map(str, range(2000)))
    change(writing.arrays)
    with pytest.raises(nr.FileFormatError, match="^f: x: expected "):
        Reading("f", writing.arrays)("x", described)


@pytest.mark.parametrize("name", [name for name in nr.__all__ if dataclasses.is_dataclass(getattr(nr, name))])
def test_every_public_description_is_known_by_its_name(name):
    """A new layer, loss or optimizer is: the constructor's arguments are its attributes."""
    kind = getattr(nr, name)
    if kind.__dataclass_params__.frozen and name not in nr.MADE:
        assert written._known[name] is kind
        assert set(inspect.signature(kind).parameters) <= {field.name for field in dataclasses.fields(kind)}


# -- what is one's own


def mish(x):
    return x * nr.elementary.tanh(nr.elementary.softplus(x))


@dataclass(frozen=True)
class OwnCell(nr.Cell):
    """A leaky unit with an activation function."""

    gates, slots, saved = ("h",), 1, 0
    input_slots = input_gates = recurrent_slots = recurrent_gates = (0,)
    leak: float

    def forward(self, pre, state, per_unit):
        return ((1 - self.leak) * state[0] + self.leak * nr.elementary.tanh(pre[0]),), ()


@dataclass(frozen=True, repr=False)
class OwnLayer(nr.Recurrent):
    """A layer with a cell among its fields."""

    hidden: int
    inner: OwnCell
    layers: int = 1
    bidirectional: bool = False

    @property
    def cell(self):
        return self.inner


class Lion(nr.Optimizer):
    """An optimizer that is no dataclass."""

    def __init__(self, rate, beta=0.9):
        self.rate, self.beta = rate, beta


def test_what_is_one_s_own_comes_back_only_if_it_is_trusted(path):
    net = nr.Network([OwnLayer(3, OwnCell(0.25)), nr.Activation(nr.ActivationFunction("mish", mish))], channels=2)
    net.save(path)
    for trusted, missed in (((), "OwnLayer"), ((OwnLayer,), "OwnCell"), ((OwnLayer, OwnCell), "mish")):
        with pytest.raises(nr.TrustError, match=rf"network.layers.[01].*expected {__name__}:{missed} among what is trusted"):
            nr.load(path, trusted=trusted)
    made = nr.load(path, trusted=[mish, OwnCell, OwnLayer])
    assert made.layers == net.layers and made.layers[0].inner.leak == 0.25 and made.layers[1].name.value is mish
    assert same_bits(made.params.flat, net.params.flat)
    other = nr.Network(net.layers, channels=2, seed=9)
    assert nr.load(path, into=other) is other and same_bits(other.params.flat, net.params.flat)


def test_what_has_been_renamed_is_named(path):
    layer = OwnLayer(2, OwnCell(0.5))
    layer.save(path, layer.init(1))
    with_description(path, lambda found: json.loads(json.dumps(found).replace(__name__, "older")))
    with pytest.raises(nr.TrustError, match="expected older:OwnLayer among what is trusted"):
        nr.load(path, trusted=[OwnLayer, OwnCell])
    assert nr.load(path, trusted={"older:OwnCell": OwnCell, "older:OwnLayer": OwnLayer})[0] == layer
    with_description(path, lambda found: json.loads(json.dumps(found).replace("older", "__main__")))
    assert nr.load(path, trusted=[OwnLayer, OwnCell])[0] == layer  # of a program, which another imports


def test_an_optimizer_that_is_no_dataclass():
    described = Writing()("optimizer", Lion(nr.cosine(0.1), beta=0.5))
    assert described == {"is": f"{__name__}:Lion", "rate": {"is": "cosine", "rate": 0.1, "final": 0.0}, "beta": 0.5}
    made = Reading("f", {}, [Lion])("optimizer", described)
    assert type(made) is Lion and vars(made) == vars(Lion(nr.cosine(0.1), beta=0.5))


def test_what_no_file_can_describe(path):
    net = nr.Network([nr.Activation(nr.ActivationFunction("twice", lambda x: 2 * x))], channels=1)
    with pytest.raises(TypeError, match=r"^layers.0.name.value: expected what a file can describe, .* got <function"):
        net.save(path)
    factory = [type("Same", (), {"__init__": lambda self: None}) for _ in range(2)]
    with pytest.raises(TypeError, match="^x.1: expected one thing called .*Same, got two"):
        Writing()("x", factory)
    for value in (1j, b"bytes", {1, 2}, np.float32(1), np.array(["a"]), object(), len):
        with pytest.raises(TypeError, match="^x: expected "):
            Writing()("x", value)

    class Hidden(nr.Optimizer):
        def __init__(self, rate):
            self.speed = rate

    with pytest.raises(
        TypeError, match="^x: expected a Hidden that keeps each argument of its constructor .* none called rate"
    ):
        Writing()("x", Hidden(1.0))

    class Sub(nr.Network):
        pass

    with pytest.raises(TypeError, match="^save: expected a Network and no subclass"):
        Sub([nr.Dense(1)], channels=1).save(path)
    assert not path.exists()


@pytest.mark.parametrize("trusted", [3, "abc", [3], [nr.GRU(2)], {"GRU": nr.GRU}, {"a:b": 3}, [mish, mish]])
def test_trusted_is_a_list_of_classes_and_functions(path, trusted):
    small().save(path)
    with pytest.raises(TypeError, match="^trusted: expected classes and functions in a list, or a dict of them"):
        nr.load(path, trusted=trusted)


# -- another structure


def test_loading_into_another_structure_says_what_differs(path):
    small().save(path)
    other = nr.Network([nr.GRU(5), nr.Last(), nr.Dense(1), nr.Dense(2)], channels=1, seed=1)
    before = other.params.flat.copy()
    with pytest.raises(nr.ShapeError) as error:
        nr.load(path, into=other)
    said = str(error.value)
    for part in ("0.weight_ih_l0: (12, 1) there, (15, 1) here", "2.weight: (1, 4) there, (1, 5) here"):
        assert part in said
    assert "3.bias (2,): here alone" in said and "2.bias" not in said and same_bits(other.params.flat, before)
    with pytest.raises(nr.DTypeError, match="^into: expected float32 like the file, got float64"):
        nr.load(path, into=small(dtype="float64"))
    with pytest.raises(TypeError, match="^into: expected a Network, a Graph, Parameters or None, got GRU"):
        nr.load(path, into=nr.GRU(4))
    frozen = small(seed=1).params
    frozen.flat.flags.writeable = False
    with pytest.raises(ValueError, match="^into: expected parameters that may be written"):
        nr.load(path, into=frozen)
    with pytest.raises(nr.DeviceError, match="^device: expected 'cpu' or 'cuda', got 'gpu'"):
        nr.load(path, device="gpu")


# -- files of others, and damaged ones


def header_of(path):
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def with_description(path, change):
    """Write the description anew, changed."""
    header, body = header_of(path)
    header["__metadata__"][KEY] = json.dumps(change(json.loads(header["__metadata__"][KEY])))
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def test_a_file_cut_short_anywhere(path):
    net = nr.Network([nr.RNN(1)], channels=1)
    net.save(path)
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(nr.FileFormatError, match=re.escape(f"{path}: expected a file that numbarnn has saved")):
            nr.load(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(nr.FileFormatError):
        nr.load(path)


def test_files_of_others(path, tmp_path):
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(nr.FileFormatError, match="got one of another program$"):
        nr.load(path)
    for contents in (b"", b"PK\x03\x04" + bytes(100), pickle.dumps(small()), b"text of some length"):
        path.write_bytes(contents)
        with pytest.raises(nr.FileFormatError, match="expected a file that numbarnn has saved"):
            nr.load(path)
    with pytest.raises(FileNotFoundError):
        nr.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        nr.load(tmp_path)
    with pytest.raises(TypeError, match="^path: expected a str or an os.PathLike, got 3"):
        nr.load(3)
    with pytest.raises(ValueError, match="^path: expected the name of a file, got ''"):
        small().save("")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_and_a_device_are_neither_read_nor_replaced(path):
    os.mkfifo(path)
    with pytest.raises(nr.FileFormatError, match="got a device or a pipe"):
        nr.load(path)
    with pytest.raises(FileExistsError, match="got a device or a pipe"):
        small().save(path)
    assert stat.S_ISFIFO(path.stat().st_mode)
    with pytest.raises(FileExistsError, match="got a device or a pipe"):
        small().save(os.devnull)


def test_a_newer_file_says_so(path):
    small().save(path)
    with_description(path, lambda found: found | {"version": 2})
    with pytest.raises(nr.FileFormatError, match="expected a file of version 1 or older, got version 2: a newer numbarnn"):
        nr.load(path)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda d: d["network"]["layers"][0].update(hidden=-1), "network.layers.0: expected what GRU is made of; hidden:"),
        (lambda d: d["network"]["layers"][0].update(units=3), "network.layers.0: expected what GRU is made of; units:"),
        (
            lambda d: d["network"]["layers"][0].update(hidden=5),
            r"parameters: expected the parameters of Network\(\[GRU\(hidden=5",
        ),
        (lambda d: d["network"]["layers"][0].update(layers=10**9), "expected stacked layers with parameters in the file"),
        (lambda d: d["network"]["layers"][0].update({"is": "GRUX"}), "network.layers.0: expected a class of numbarnn, got"),
        (lambda d: d["network"]["layers"].append(3), "network: expected what a Network is made of; layers:"),
        (lambda d: d["network"].pop("layout"), "network: expected its layers, channels and layout"),
        (lambda d: d["network"].update(channels=10**30), "network: expected what a Network is made of; channels:"),
        (lambda d: d["parameters"]["parts"].append(["x", 2**40, 2**40, False]), "x: expected an array, got none"),
        (lambda d: d["parameters"].update(dtype="int8"), "parameters: expected a dtype"),
        (lambda d: d.update(parameters={"is": "array", "name": "0.weight_ih_l0"}), "parameters: expected a dtype"),
        (lambda d: d["parameters"].update(dtype="f4,(print(1))"), "parameters: expected a dtype"),
        (lambda d: d["parameters"].update(dtype="float64"), "expected float64 of shape .*, got float32 of shape"),
        (lambda d: d["parameters"]["parts"].append(d["parameters"]["parts"][0]), "parameters: expected each part once"),
        (lambda d: d.update(network=None, version=None), "expected a description with a version"),
    ],
)
def test_what_a_description_has_wrong_is_named(path, change, said):
    small().save(path)

    def changed(found):
        change(found)
        return found

    with_description(path, changed)
    with pytest.raises(nr.FileFormatError, match=said):
        nr.load(path)


def test_one_array_cannot_stand_for_many(path):
    """A name is short, and what is made of it is not."""
    net = nr.Network([nr.RNN(2, connectivity=nr.Connectivity(np.eye(2)))] * 2, channels=2)
    net.save(path)

    def changed(found):
        first, second = found["network"]["layers"]
        second["connectivity"]["mask"]["name"] = first["connectivity"]["mask"]["name"]
        return found

    with_description(path, changed)
    with pytest.raises(nr.FileFormatError, match="expected an array of the file, which nothing else has"):
        nr.load(path)


def test_hostile_headers_are_errors_and_no_more(tmp_path):
    """10,000 files: nothing runs, nothing else is opened, and the process gets no memory for what they claim."""
    said = json.loads(processes.run(str(Path(__file__).parent / "file_fuzz.py"), str(tmp_path), "10000", "1"))
    assert said["events"] == [] and sum(said["outcomes"].values()) == 10000
    assert said["outcomes"]["FileFormatError"] > 8000 and said["outcomes"]["TrustError"] > 50
    assert set(said["outcomes"]) <= {"FileFormatError", "TrustError", "Network", "Parameters", "Trainer", "tuple"}


@pytest.mark.parametrize("count, error", [(9000, "another program"), (200_000, "with a header of at most")])
def test_a_header_takes_no_memory_beyond_its_measure(path, count, error):
    table = {str(i): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(count)}
    text = json.dumps(table).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    tracemalloc.start()
    try:
        with pytest.raises(nr.FileFormatError, match=error):
            nr.load(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_damaged_file_takes_no_more_memory_than_its_size(path):
    net = nr.Network([nr.GRU(256)], channels=256)
    net.save(path)
    size = path.stat().st_size
    with_description(path, lambda found: found | {"parameters": {"dtype": "float32", "parts": [["x", 3, 2**50, False]]}})
    tracemalloc.start()
    try:
        with pytest.raises(nr.FileFormatError, match="x: expected an array, got none"):
            nr.load(path)
        assert tracemalloc.get_traced_memory()[1] < size + (1 << 19)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype, shape", [("BF16", [2]), ("F32", [1] * 65), ("F64", [0, 2**62])])
def test_arrays_that_numpy_does_not_have(path, dtype, shape):
    size = {"BF16": 4, "F32": 4, "F64": 0}[dtype]
    text = json.dumps(
        {
            "__metadata__": {KEY: '{"version":1}'},
            "x": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]},
        }
    ).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    with pytest.raises(nr.FileFormatError, match="x: expected an array that NumPy has, got"):
        nr.load(path)


def test_a_description_that_is_too_long_is_refused_when_it_is_written(path):
    with pytest.raises(ValueError, match="^description: expected at most 1,048,576 bytes of text, got 2,0"):
        write_file(path, {}, {"x": "a" * 2_000_000})
    with pytest.raises(TypeError, match="^x: expected numbers that a file holds"):
        write_file(path, {"x": np.array(["a"])}, {})
    assert not path.exists()


def test_without_safetensors_the_error_names_the_extra(path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"pip install numbarnn\[files\]"):
        small().save(path)
    with pytest.raises(ImportError, match=r"pip install numbarnn\[files\]"):
        nr.load(path)


# -- the disk


def test_an_old_file_keeps_its_permissions_and_a_link_stays_one(tmp_path, path):
    small().save(path)
    made = tmp_path / "made"
    made.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(made.stat().st_mode)
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path.name)
    small(seed=1).save(link)
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert same_bits(nr.load(path).params.flat, small(seed=1).params.flat)
    assert sorted(os.listdir(tmp_path)) == ["link", "made", "net.safetensors"]
    with pytest.raises(FileNotFoundError):
        small().save(tmp_path / "none" / "net")
    with pytest.raises(IsADirectoryError):
        small().save(tmp_path)


def test_what_fails_leaves_the_old_file_and_no_draft(path, monkeypatch):
    small().save(path)
    before = path.read_bytes()

    def broken(*arguments):
        raise OSError(errno.EIO, "as asked for")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    for name, failure in (("fsync", broken), ("replace", broken), ("replace", interrupted)):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failure)
            with pytest.raises((OSError, KeyboardInterrupt)):
                small(seed=1).save(path)
        assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_leaves_the_old_file_and_no_draft(path):
    small().save(path)
    before = path.read_bytes()
    program = f"""
import resource, signal
import numbarnn as nr
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as on a full disk: the write fails in the middle
try:
    nr.Network([nr.GRU(40)], channels=1).save({str(path)!r})
except OSError as error:
    print(error.errno)
"""
    assert processes.run("-c", program) == f"{errno.EFBIG}\n"
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


SAVES = """
import sys
import numbarnn as nr
net = nr.Network([nr.LSTM(512)], channels=512, seed=1, scheme="pytorch")
for seed in range(2, 99):
    net.save(sys.argv[1])
    print("saved", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process is killed there as here")
def test_a_writer_that_is_killed_leaves_a_whole_file(path):
    """Killed while there is a draft, at moments that differ; the next writer removes what is left of it."""
    small().save(path)
    whole = [
        small().params.flat.tobytes(),
        nr.Network([nr.LSTM(512)], channels=512, seed=1, scheme="pytorch").params.flat.tobytes(),
    ]
    caught = 0
    for pause in (0.0, 0.003, 0.01):
        process = processes.start("-c", SAVES, str(path))
        while process.poll() is None and not any(DRAFT in name for name in os.listdir(path.parent)):
            pass
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert nr.load(path).params.flat.tobytes() in whole
        caught += len(os.listdir(path.parent)) > 1
    assert caught
    small().save(path)
    assert os.listdir(path.parent) == [path.name]


def test_drafts_of_writers_that_live_are_left_alone(path):
    living = path.with_name(draft_name(f".{path.name}"))
    living.touch()
    gone = path.with_name(draft_name(f".{path.name}").replace(f".{os.getpid()}.", f".{_ended()}."))
    gone.touch()
    small().save(path)
    assert living.exists() and not gone.exists()


def _ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
