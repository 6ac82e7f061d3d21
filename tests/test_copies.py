"""Copies, pickles and assigned parameters: what comes out is one whole thing, with one set of parameters."""

import copy
import multiprocessing
import pickle
import pickletools
from dataclasses import dataclass, fields, is_dataclass, replace

import joblib
import numpy as np
import processes
import pytest

import numbarnn as nr
from numbarnn import errors

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)
WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": lambda thing, p=protocol: pickle.loads(pickle.dumps(thing, p)) for protocol in PROTOCOLS},
    "out of band": lambda thing: _out_of_band(thing),
    "twice": lambda thing: copy.copy(pickle.loads(pickle.dumps(copy.deepcopy(thing)))),
}


def _out_of_band(thing):
    buffers = []
    data = pickle.dumps(thing, 5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])  # read-only, as in shared memory


def series():
    return nr.windows(np.sin(np.arange(40, dtype=np.float32) / 4), 5)


def network(seed=0):
    return nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=seed)


def train(net, epochs=3):
    return net.fit(*series(), epochs=epochs, optimizer=nr.Adam(0.03), batch_size=8, progress=False)


class Named(nr.Network):
    """A subclass with an attribute of its own, and a state of its own making."""

    def __init__(self, *arguments, name, **options):
        super().__init__(*arguments, **options)
        self.name = name

    def __getstate__(self):
        return self.__dict__.copy()

    def __setstate__(self, state):
        self.__dict__.update(state)


@dataclass
class Study:
    """What a user keeps a network in."""

    networks: list
    best: dict


# -- networks


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_a_network_is_a_whole_network(way):
    net, (x, _) = network(), series()
    train(net, 1)
    made = WAYS[way](net)
    assert type(made) is nr.Network and made.layers == net.layers and made is not net
    assert np.array_equal(made.predict(x), net.predict(x))
    before, kept = net.params.flat.copy(), net.predict(x)
    right = train(network_like(net))
    assert train(made).loss == right.loss and right.loss[-1] < right.loss[0]
    assert np.array_equal(net.params.flat, before) and np.array_equal(net.predict(x), kept)
    made.params.flat[:] = 0
    assert not made.predict(x).any() and np.array_equal(net.predict(x), kept)
    made.params["2.bias"][...] = 2
    assert (made.predict(x) == 2).all()
    net.params.flat[:] = 0
    assert (made.predict(x) == 2).all()


def test_a_pickle_whose_buffers_are_still_the_network_s_makes_a_copy():
    net, (x, _), buffers = network(), series(), []
    data = pickle.dumps(net, 5, buffer_callback=buffers.append)
    kept = net.predict(x)
    for given in (buffers, [memoryview(buffer) for buffer in buffers]):
        made = pickle.loads(data, buffers=given)
        assert not np.shares_memory(made.params.flat, net.params.flat)
        made.params.flat[:] = 0
        assert np.array_equal(net.predict(x), kept)


def network_like(net):
    """A fresh network with the same numbers: no copy was made."""
    fresh = network(seed=9)
    fresh.params.flat[:] = net.params.flat
    return fresh


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_a_subclass_keeps_what_is_its_own(way):
    net, (x, _) = Named([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=0, name="first"), series()
    net.predict(x)
    made = WAYS[way](net)
    assert type(made) is Named and made.name == "first"
    made.params.flat[:] = 0
    assert not made.predict(x).any() and net.predict(x).any()


class Slotted(nr.Network):
    """A subclass with an attribute that is in no dict."""

    __slots__ = ("note", "unset")


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_has_what_slots_hold(way):
    net, (x, _) = Slotted([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=0), series()
    net.note = ["kept"]
    made = WAYS[way](net)
    assert type(made) is Slotted and made.note == ["kept"] and not hasattr(made, "unset")
    assert np.array_equal(made.predict(x), net.predict(x)) and not np.shares_memory(made.params.flat, net.params.flat)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "copy"])
def test_a_network_inside_of_other_objects_and_beside_its_parameters(way):
    net, (x, _) = network(), series()
    study = Study([net, net], {"net": net, "params": net.params, "flat": net.params.flat})
    made = WAYS[way](study) if way != "twice" else copy.deepcopy(copy.deepcopy(study))
    first = made.networks[0]
    assert first is made.networks[1] and first is made.best["net"] and first is not net
    assert made.best["params"] is first.params
    made.best["params"].flat[:] = 0
    assert not first.predict(x).any() and net.predict(x).any()
    if way != "out of band":  # read-only there, so that it was copied
        assert np.shares_memory(made.best["flat"], first.params.flat)
    params, other = WAYS["deepcopy"]((net.params, net))
    assert other.params is params


def test_a_pickle_holds_layers_and_parameters_and_no_more():
    net, (x, y) = network(), series()
    big = nr.Network([nr.LSTM(64, layers=2), nr.Dense(9)], channels=3, seed=0)
    assert len(pickle.dumps(big)) < 4 * len(big.params) + 2500
    before = len(pickle.dumps(net))
    assert before < 4 * len(net.params) + 1500
    train(net)
    net.predict(x), net.loss_and_gradient(net.params.flat, x, y), net.stream(), net.summary()
    assert len(pickle.dumps(net)) == before
    found = pickletools.genops(pickle.dumps(net, 2))
    named = {argument.split(" ")[0] for opcode, argument, _ in found if opcode.name == "GLOBAL"}
    assert "numbarnn.network" in named
    assert {name.split(".")[0] for name in named} <= {"copy_reg", "__builtin__", "numpy", "numbarnn", "_codecs"}


def test_a_copy_made_in_the_middle_of_a_training_stays_as_it_was():
    net, made, (x, _) = network(), [], series()

    def keep(net, history):
        made.append((copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net.predict(x)))

    net.fit(*series(), epochs=3, callbacks=[keep], progress=False)
    for deep, sent, prediction in made:
        assert np.array_equal(deep.predict(x), prediction) and np.array_equal(sent.predict(x), prediction)
    assert train(made[0][0]).loss == train(made[0][1]).loss


def test_a_network_with_an_embedding_and_one_that_draws_train_as_their_copies_do():
    index = np.array([[1, 2, 3, 1], [0, 4, 2, 2]])
    net = nr.Network([nr.Embedding(5, 3), nr.GRU(4), nr.Last(), nr.Dropout(0.3), nr.Dense(2)], seed=1)
    y = np.ones((4, 2), np.float32)
    net.fit(index, y, epochs=2, progress=False)
    made = pickle.loads(pickle.dumps(net))
    losses = [one.fit(index, y, epochs=3, batch_size=2, seed=3, progress=False).loss for one in (net, made)]
    assert losses[0] == losses[1] and np.array_equal(net.params.flat, made.params.flat)


def _trained(net):
    return train(net).loss, net.params.flat.copy()


def test_a_network_trains_in_another_process_as_here(tmp_path):
    loss, flat = _trained(copy.deepcopy(network()))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map(_trained, [network()])
    joblib.dump(network(), tmp_path / "net")
    found += [_trained(joblib.load(tmp_path / "net")), _trained(joblib.load(tmp_path / "net", mmap_mode="r"))]
    # as joblib hands large arrays to its processes: in read-only memory maps
    found += joblib.Parallel(n_jobs=2, max_nbytes=64)(joblib.delayed(_trained)(network()) for _ in range(2))
    for other_loss, other_flat in found:
        assert other_loss == loss and np.array_equal(other_flat, flat)


def test_a_pickle_is_read_by_a_process_that_has_compiled_nothing(tmp_path):
    net, (x, _) = network(), series()
    (tmp_path / "net").write_bytes(pickle.dumps((net, x, net.predict(x))))
    program = """
import pickle, sys, numpy as np
net, x, y = pickle.load(open(sys.argv[1], "rb"))
print("numba.cuda" in sys.modules, np.array_equal(net.predict(x), y))
"""
    assert processes.run("-c", program, str(tmp_path / "net")).split() == ["False", "True"]


def test_what_a_network_is_made_of_is_settled():
    net, (x, _) = network(), series()
    for name, value in {
        "layers": (nr.GRU(400),), "channels": 7, "dtype": "float64", "layout": "ntc", "device": "cuda", "output_channels": 3,
    }.items():  # fmt: skip
        with pytest.raises(AttributeError, match=rf"^{name}: expected no assignment"):
            setattr(net, name, value)
    net.note = "what else there is may be set"
    assert net.predict(x).shape == (35, 1)


# -- parameters


def test_assigned_parameters_are_copied_in():
    net, other, (x, _) = network(), network(seed=1), series()
    stream_of = net.predict(x)
    net.params = other.params
    assert net.params is not other.params and np.array_equal(net.predict(x), other.predict(x))
    other.params.flat[:] = 0
    assert net.predict(x).any() and not np.array_equal(net.predict(x), stream_of)
    net.params.flat = np.zeros(len(net.params), np.float32)
    assert not net.predict(x).any()
    net.params.flat += 1
    net.params.flat = np.repeat(net.params.flat, 2)[::-2]  # at any strides
    assert (net.params.flat == 1).all()
    net.params["2.bias"] = np.array([5], np.float32)
    net.params["2.weight"] *= 0
    assert (net.predict(x) == 5).all()


def test_numbers_that_overlap_are_copied_as_if_they_did_not():
    p = nr.GRU(4).init(channels=2, seed=0)
    right = p.flat[::-1].copy()
    p.flat = p.flat[::-1]
    assert np.array_equal(p.flat, right)


def bad_assignments():
    p, net = nr.GRU(4).init(channels=2, seed=0), network()
    size = len(p)
    return [
        (p, lambda: setattr(p, "flat", np.zeros(2 * size, np.float32)), errors.ShapeError, "flat: expected shape"),
        (p, lambda: setattr(p, "flat", np.zeros((1, size), np.float32)), errors.ShapeError, "flat: expected shape"),
        (p, lambda: setattr(p, "flat", np.zeros(size)), errors.DTypeError, "flat: expected float32 .* got float64"),
        (p, lambda: setattr(p, "flat", [0.0] * size), TypeError, "flat: expected a numpy.ndarray, got list"),
        (p, lambda: setattr(p, "flat", np.ma.zeros(size, np.float32)), TypeError, "flat: .* got MaskedArray"),
        (p, lambda: setattr(p, "flat", p), TypeError, "flat: expected a numpy.ndarray, got Parameters"),
        (p, lambda: p.__setitem__("bias_ih_l0", np.zeros(12)), errors.DTypeError, "'bias_ih_l0': expected float32"),
        (p, lambda: p.__setitem__("bias_ih_l0", np.float32(1)), TypeError, "'bias_ih_l0': expected a numpy.ndarray"),
        (p, lambda: p.__setitem__("bias_ih_l0", np.zeros(1, np.float32)), errors.ShapeError, "'bias_ih_l0': .*12"),
        (p, lambda: p.__setitem__("bias", np.zeros(12, np.float32)), errors.UnknownNameError, "bias_ih_l0"),
        (p, lambda: setattr(p, "weights", ()), AttributeError, "weights"),
        (p, lambda: setattr(p, "bias_ih_l0", np.zeros(12, np.float32)), AttributeError, "bias_ih_l0"),
        (p, lambda: p.flat.resize(3, refcheck=False), ValueError, "cannot resize"),
        (net.params, lambda: setattr(net, "params", net.params.flat), TypeError, "params: expected numbarnn.Parameters"),
        (net.params, lambda: setattr(net, "params", p), errors.ShapeError, r"params: expected 0.weight_ih_l0 .*\(12, 1\)"),
        (
            net.params,
            lambda: setattr(net, "params", nr.Network([nr.GRU(4), nr.Dense(1), nr.Dense(1)], 1).params),
            errors.ShapeError,
            r"params: expected 2.weight of shape \(1, 4\), got 1.weight",
        ),
        (
            net.params,
            lambda: setattr(net, "params", nr.Network(net.layers, 1, "float64").params),
            errors.DTypeError,
            "flat: expected float32",
        ),
    ]


@pytest.mark.parametrize("index", range(len(bad_assignments())))
def test_what_does_not_fit_is_refused_and_nothing_is_changed(index):
    p, assign, error, message = bad_assignments()[index]
    before = p.flat.copy()
    with pytest.raises(error, match=message):
        assign()
    assert np.array_equal(p.flat, before)


@pytest.mark.parametrize("name, value", [("shape", (1, -1)), ("dtype", np.int32), ("dtype", np.float16)])
def test_a_vector_that_was_changed_in_place_is_noticed(name, value):
    net, layer, (x, y) = network(), nr.GRU(4), series()
    p = layer.init(channels=7, seed=0)
    setattr(net.params.flat, name, value), setattr(p.flat, name, value)
    for call in (
        lambda: net.predict(x),
        lambda: train(net),
        lambda: net.loss(x, y),
        lambda: net.stream(),
        lambda: setattr(net.params, "flat", np.zeros(89, np.float32)),
        lambda: layer(p, np.zeros((3, 2, 7), np.float32)),
    ):
        with pytest.raises(errors.ShapeError, match="^flat: .*changed in place"):
            call()


@pytest.mark.parametrize("name", [0, np.int64(1), None, b"w", "", ("w",), True])
def test_a_part_has_a_name(name):
    with pytest.raises(TypeError, match="^name: expected text, got "):
        nr.parameters.Weight(name, 2, 3)


def test_no_two_parts_have_one_name():
    weights = [nr.parameters.Weight("w", 2, 3), nr.parameters.Weight(np.str_("b"), None, 3)]
    assert type(weights[1].name) is str
    p = nr.Parameters(np.zeros(9, np.float32), weights)
    assert [view.shape for _, view in p.items()] == [(3, 2), (3,)]
    with pytest.raises(ValueError, match=r"^weights\[2\]: expected a name of its own, got 'w' again$"):
        nr.Parameters(np.zeros(12, np.float32), [*weights, nr.parameters.Weight("w", None, 3)])


def test_update_changes_all_or_nothing():
    p = nr.Dense(2).init(channels=2, seed=0)
    before, one = p.flat.copy(), np.ones((2, 2), np.float32)
    for wrong in ({"weight": one, "bias": one}, {"weight": one, "bias": np.ones(2)}, {"weight": one, "bais": one}, [one]):
        with pytest.raises((TypeError, ValueError), match="'bias'|'bais'|^arrays: expected a dict"):
            p.update(wrong)
        assert np.array_equal(p.flat, before)
    p.update({"weight": p["weight"].T, "bias": np.full(2, 3, np.float32)})  # a view of what is written
    assert np.array_equal(p["weight"], before[:4].reshape(2, 2)) and (p["bias"] == 3).all()
    other = nr.Dense(2).init(channels=2, seed=1)
    p.update(other)
    assert np.array_equal(p.flat, other.flat)
    p.flat.flags.writeable = False
    with pytest.raises(ValueError, match="params: expected parameters that may be written"):
        p.update(other)


@pytest.mark.parametrize("flat", [np.zeros(100, np.float32), np.zeros(88, np.float32), np.zeros((89, 1), np.float32)])
def test_a_vector_of_another_length_is_not_split(flat):
    with pytest.raises(errors.ShapeError, match=r"^flat: expected shape \(89,\) like the parameters, got"):
        network().split(flat)


def test_parameters_are_what_numpy_takes_them_for():
    p = nr.GRU(4).init(channels=2, seed=0)
    assert np.shares_memory(np.asarray(p), p.flat) and np.asarray(p).shape == (len(p),)
    assert not np.shares_memory(np.array(p), p.flat) and np.array_equal(np.array(p), p.flat)
    assert np.asarray(p, np.float64).dtype == np.float64 and np.isfinite(p).all()
    assert p.__array__(np.dtype("float32"), copy=True) is not p.flat
    assert p.__array__(np.float32) is p.flat
    with pytest.raises(ValueError, match="^copy: expected True or None"):
        p.__array__(np.float64, copy=False)
    assert list(p) == list(p.names) and "bias_ih_l0" in p


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_a_part_of_a_vector_is_a_whole_of_its_own(way):
    net = nr.Network([nr.GRU(4), nr.Dense(300)], channels=1, seed=0)
    part = net.split(net.params.flat)[0]
    made = WAYS[way](part)
    assert made.weights == part.weights and np.array_equal(made.flat, part.flat)
    assert not np.shares_memory(made.flat, net.params.flat) and made.flat.flags.writeable
    assert len(pickle.dumps(part)) < 4 * len(part) + 700
    y, state, tape = net.layers[0].forward(made, series()[0])
    assert np.array_equal(y, net.layers[0](part, series()[0])[0])
    gradients = net.layers[0].backward(tape, np.ones_like(y))
    assert len(pickle.dumps(gradients)) < 4 * (len(part) + gradients.x.size + gradients.state.size) + 1500


# -- everything else that is public


def embedded():
    layer = nr.Embedding(10, 2)
    y, tape = layer.forward(layer.init(seed=0), np.array([[3, 8, 3]]))
    return layer, y, tape


def elu_of(x):
    return nr.elementary.where(x < 0, nr.elementary.expm1(x), x)


def elu_slope(x):
    return nr.elementary.where(x < 0, nr.elementary.exp(x), 1)


def values():
    """{name: something of every public kind}."""
    layer, y, tape = embedded()
    gru = nr.GRU(3)
    _, _, gru_tape = gru.forward(gru.init(2, seed=0), np.ones((4, 2, 2), np.float32))
    stopping = nr.EarlyStopping(patience=2)
    network().fit(*series(), epochs=2, callbacks=[stopping], progress=False)
    return {
        "GRU": nr.GRU(3, layers=2, bidirectional=True, zoneout=0.1),
        "LSTM": nr.LSTM(4, projection=2),
        "RNN": nr.RNN(3, ("elu", 0.5)),
        "MGU": nr.MGU(3),
        "IndRNN": nr.IndRNN(3),
        "GRUD": nr.GRUD(3, mean=(0.5, 1.0), past=True),
        "LeakyRNN": nr.LeakyRNN(2, rate=(0.1, 0.2)),
        "Dense": nr.Dense(3, "relu"),
        "Activation": nr.Activation(("elu", 2)),
        "Dropout": nr.Dropout(0.5),
        "Conv2d": nr.Conv2d(2, 3, shape=(1, 4, 4)),
        "AvgPool2d": nr.AvgPool2d(2),
        "MaxPool2d": nr.MaxPool2d(2),
        "Flatten": nr.Flatten(),
        "Embedding": layer,
        "Last": nr.Last(),
        "LastStep": nr.LastStep(),
        "Pool": nr.Pool("max"),
        "ActivationFunction": nr.RNN(3, nr.ActivationFunction("elu", elu_of, elu_slope)),
        "Connectivity": nr.GRU(2, connectivity=nr.Connectivity(mask=np.eye(2), signs=[1, -1])),
        "Feedback": nr.Feedback(np.array([0.0, 0.5]), every=3),
        "cell": nr.GRU(3).cell,
        "Parameters": nr.GRU(3).init(2, seed=0),
        "Gradients": gru.backward(gru_tape, np.ones((4, 2, 3), np.float32)),
        "RowGradient": layer.row_gradient(tape, np.ones_like(y)),
        "Ragged": nr.Ragged.of([np.ones((2, 3)), np.zeros((1, 3))]),
        "part of a Ragged": nr.Ragged(np.arange(100), [0, 50, 100])[1:],
        "TensorDescriptor": nr.TensorDescriptor.of(np.zeros((3, 2, 4)), "ntc"),
        "Standardizer": nr.Standardizer((1.0, 2.0), (0.5, 4.0)),
        "Vocabulary": nr.Vocabulary.of(["the cat", "the dog"]),
        "characters": nr.Vocabulary.of(["hello"], split="characters"),
        "History": nr.History([1.0, 0.5], [], [0.1, 0.1], [0.01, 0.01]),
        "Node": nr.Node([nr.Last(), nr.Dense(2)], ["past", "known"], state="encoder"),
        "Input": nr.Input(3, steps=False),
        "Ensemble": nr.fit_many(network(), *series(), seeds=[0, 1], epochs=1, progress=False),
        "Predictions": nr.Predictions(np.ones((2, 3))),
        "EarlyStopping": stopping,
        "Printer": nr.Printer(seconds=2),
        "Checkpoint": nr.Checkpoint("folder"),
        "CSVLogger": nr.CSVLogger("table.csv"),
        "SGD": nr.SGD(0.1, momentum=0.9, nesterov=True),
        "Adam": nr.Adam(nr.warmup(nr.cosine(0.1), 5)),
        "RAdam": nr.RAdam(),
        "Nadam": nr.Nadam(),
        "AdamW": nr.AdamW(nr.reduce_on_plateau(0.1)),
        "RMSProp": nr.RMSProp(nr.exponential(0.1, 0.01)),
        "constant": nr.constant(0.1),
        "mse": nr.loss("mse"),
        "huber": nr.loss("huber"),
        "HalfMSE": nr.HalfMSE(),
        "Quantile": nr.Quantile((0.1, 0.9)),
        "GaussianNLL": nr.GaussianNLL(least=0.1),
        "PoissonNLL": nr.PoissonNLL(full=True),
        "NashSutcliffe": nr.NashSutcliffe(spread=(1.0, 2.0)),
        "MAE": nr.MAE(missing="nan"),
        "CrossEntropy": nr.CrossEntropy(ignore_index=-1),
        "BinaryCrossEntropy": nr.BinaryCrossEntropy(),
        "error": errors.ShapeError("x: expected 3 axes"),
        "unknown name": errors.nearest("loss", "mze", ["mse"]),
        "LeastSquaresFit": nr.LeastSquaresFit((1.0, 0.5), "jacobian", 2, 0, 8),
        "Compiled": nr.compile(nr.Activation("tanh"), work="inference"),
        "functions": [nr.loss, nr.windows, nr.accuracy, nr.extrapolate, nr.padded, nr.compile, nr.fit_many, nr.load],
        "sample": nr.sample,
    }


def same(a, b):
    """Whether two objects hold the same, to the bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, nr.Parameters):
        return a.weights == b.weights and np.array_equal(a.flat, b.flat)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, nr.Ragged):
        return same(a.data, b.data) and same(a.offsets, b.offsets) and not b.offsets.flags.writeable
    if isinstance(a, Exception):
        return a.args == b.args
    if isinstance(a, nr.TensorDescriptor):
        return a == b and same(a.array, b.array) and b.address == b.array.ctypes.data
    if is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if hasattr(a, "__dict__") and not callable(a) and type(a).__module__.startswith("numbarnn"):
        return vars(a).keys() == vars(b).keys() and all(same(value, vars(b)[name]) for name, value in vars(a).items())
    if type(a).__eq__ is object.__eq__ and type(a).__module__.startswith("numbarnn"):
        return vars(a).keys() == vars(b).keys() and all(same(value, vars(b)[name]) for name, value in vars(a).items())
    return a == b


@pytest.fixture(scope="module")
def every():
    return values()


@pytest.mark.parametrize("way", WAYS)
def test_everything_public_goes_through(every, way):
    for name, value in every.items():
        made = WAYS[way](value)
        assert same(made, value), name
        if isinstance(value, (nr.Recurrent, nr.Dense)):
            assert hash(made) == hash(value) and repr(made) == repr(value), name


def test_what_has_worked_is_sent_like_what_has_not(every):
    fresh, used = nr.GRU(3), nr.GRU(3)
    used(used.init(2), np.ones((2, 1, 2), np.float32))
    assert pickle.dumps(used) == pickle.dumps(fresh) and pickle.dumps(used.cell) == pickle.dumps(fresh.cell)
    loaded = pickle.loads(pickle.dumps(every["ActivationFunction"]))
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 1, 2)
    p = loaded.init(2, seed=0)
    assert np.array_equal(loaded(p, x)[0], every["ActivationFunction"](p, x)[0])


def test_everything_that_is_public_is_in_this_list(every):
    seen = {type(value).__name__ for value in every.values()} | set(every)
    seen |= {"Network", "Graph", "GraphStream", "Stream", "CompiledStep", "Recurrent", "Cell", "Callback", "Trainer"}
    seen |= {"loss", "PerStep", "windows", "accuracy", "extrapolate", "padded", "compile", "fit_many", "load", "own_part"}
    seen |= {"observed", "strips", "RecursiveLeastSquares", "levenberg_marquardt"}
    modules = {"datasets", "dynamics", "elementary", "errors", "interop", "plot", "testing", "cuda"}
    raised = {name for name in nr.__all__ if name.endswith("Error")}
    schedules = {"cosine", "exponential", "reduce_on_plateau", "warmup"}
    assert set(nr.__all__) - seen - modules - raised - schedules <= {"Optimizer"}
    for name in raised:
        made = pickle.loads(pickle.dumps(getattr(nr, name)("x: expected")))
        assert type(made).__name__ == name and str(made) == "x: expected"


@pytest.mark.parametrize("way", WAYS)
def test_what_holds_addresses_refuses_with_a_sentence(way):
    net, (x, _) = network(), series()
    gru, dense = net.layers[0], net.layers[2]
    parts = net.split(net.params.flat)
    _, _, tape = gru.forward(parts[0], x)
    _, dense_tape = dense.forward(parts[2], np.ones((3, 4), np.float32))
    _, dropout_tape = nr.Dropout(0.5).forward(nr.Dropout(0.5).init(2), np.ones((3, 2), np.float32), seed=0)
    for thing in (net.stream(), net.compiled_step(), gru.stream(parts[0]), tape, dense_tape, dropout_tape, embedded()[2]):
        with pytest.raises(TypeError, match="holds addresses of memory and cannot be copied or pickled; copy"):
            WAYS[way](thing)


def test_a_tape_keeps_the_parameters_that_it_reads_again():
    layer, x = nr.GRU(4), series()[0]
    p = layer.init(1, seed=0)
    y, _, tape = layer.forward(p, x)
    kept = y.copy()
    del p
    import gc

    gc.collect()
    others = [np.full(84, np.nan, np.float32) for _ in range(50)]  # noqa: F841 (they take memory that is free)
    tape.fill()
    assert np.array_equal(y, kept)


def test_a_ragged_batch_cannot_be_made_to_point_elsewhere():
    x = nr.Ragged.of([np.ones((3, 2), np.float32), np.ones((1, 2), np.float32)])
    for name, value in {"data": x.data[:2], "offsets": np.array([0, 3, 9])}.items():
        with pytest.raises(AttributeError, match=f"^{name}: expected no assignment"):
            setattr(x, name, value)
    with pytest.raises(ValueError, match="read-only"):
        x.offsets[1] = 900
    x.data.shape = (2, 4)
    layer = nr.GRU(3)
    with pytest.raises(errors.ShapeError, match="^x: expected 4 rows .* changed in place"):
        layer(layer.init(2), x)


def test_a_connectivity_stays_what_layers_are_told_apart_by():
    dale = nr.Connectivity(mask=np.ones((2, 2)), signs=[1, -1])
    with pytest.raises(ValueError, match="read-only"):
        dale.mask[0, 0] = 0
    with pytest.raises(AttributeError, match="^signs: expected no assignment"):
        dale.signs = np.ones(2)
    assert replace(nr.GRU(2, connectivity=dale)) == nr.GRU(2, connectivity=copy.deepcopy(dale))
