"""The constructor turns fields and arguments into plain Python values, such as NumPy numbers into int and float."""

import copy
import dataclasses
import pickle
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

import numbarnn as nr
from numbarnn import errors
from numbarnn.descriptions.fields import Description, one_of, one_or_each, optional
from numbarnn.parameters import Weight

SMALL = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64)
HIDDEN = 5
PLAIN = {
    "RNN": lambda size, real, flag: nr.RNN(size(HIDDEN), ("elu", real(0.5)), size(2), flag(True), noise=real(0.25)),
    "GRU": lambda size, real, flag: nr.GRU(
        size(HIDDEN), layers=size(2), bidirectional=flag(True), dropout=real(0.5), zoneout=real(0.25), residual=flag(True),
    ),
    "GRU decayed": lambda size, real, flag: nr.GRU(size(HIDDEN), decay=flag(True), recurrent_dropout=real(0.5)),
    "GRU normalized": lambda size, real, flag: nr.GRU(size(HIDDEN), normalized=flag(True), input_dropout=real(0.5)),
    "LSTM": lambda size, real, flag: nr.LSTM(
        size(HIDDEN), peepholes=flag(True), coupled=flag(False), forget_bias=real(2), zoneout=(real(0.25), real(0)),
        learned_state=flag(True), clip=real(4),
    ),
    "LSTM projected": lambda size, real, flag: nr.LSTM(size(HIDDEN), projection=size(2), weight_drop=real(0)),
    "MGU": lambda size, real, flag: nr.MGU(size(HIDDEN), size(1), flag(False), recurrent_dropout=real(0)),
    "GRUD": lambda size, real, flag: nr.GRUD(size(HIDDEN), (real(0.5), real(2)), past=flag(True), zoneout=real(0.25)),
    "IndRNN": lambda size, real, flag: nr.IndRNN(size(HIDDEN), layers=size(3)),
    "LeakyRNN": lambda size, real, flag: nr.LeakyRNN(size(2), rate=(real(0.5), real(1)), learned=flag(True)),
    "LeakyRNN of one rate": lambda size, real, flag: nr.LeakyRNN(size(2), rate=real(1)),
    "Dense": lambda size, real, flag: nr.Dense(size(HIDDEN), ("affine", real(2), real(0))),
    "Activation": lambda size, real, flag: nr.Activation(("leaky_relu", real(0.5))),
    "Dropout": lambda size, real, flag: nr.Dropout(real(0.5)),
    "Conv2d": lambda size, real, flag: nr.Conv2d(
        size(2), (size(3), size(2)), stride=size(1), padding=(size(1), size(1)), shape=(size(1), size(4), size(5)),
    ),
    "AvgPool2d": lambda size, real, flag: nr.AvgPool2d(size(2), stride=(size(1), size(2))),
    "MaxPool2d": lambda size, real, flag: nr.MaxPool2d(size(2), padding=size(1)),
    "Embedding": lambda size, real, flag: nr.Embedding(size(9), size(3)),
    "CrossEntropy": lambda size, real, flag: nr.CrossEntropy(size(3), (real(0.5), real(2)), real(0.25)),
    "Huber": lambda size, real, flag: nr.Huber(real(0.5)),
    "Quantile": lambda size, real, flag: nr.Quantile((real(0.25), real(0.5))),
    "GaussianNLL": lambda size, real, flag: nr.GaussianNLL(real(0.5), flag(True)),
    "PoissonNLL": lambda size, real, flag: nr.PoissonNLL(flag(False)),
    "NashSutcliffe": lambda size, real, flag: nr.NashSutcliffe((real(0.5), real(2))),
    "BinaryCrossEntropy": lambda size, real, flag: nr.BinaryCrossEntropy(size(1)),
    "Weight": lambda size, real, flag: Weight("table", size(9), size(3), flag(True)),
}  # fmt: skip


def identity(value):
    return value


def plain(value):
    """Whether a value, and every part of a tuple, is Python's own."""
    return all(map(plain, value)) if isinstance(value, tuple) else type(value) in (int, float, bool, str, type(None))


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("size", SMALL)
def test_a_description_made_of_numpy_numbers_is_the_plain_one(kind, size):
    right = PLAIN[kind](identity, float, identity)
    for real in (np.float32, np.float64, np.float16, identity):
        made = PLAIN[kind](size, real, np.bool_)
        assert made == right and hash(made) == hash(right) and repr(made) == repr(right)
        for field in fields(made):
            value = getattr(made, field.name)
            assert plain(value) and type(value) is type(getattr(right, field.name)), field.name
        assert pickle.dumps(made) == pickle.dumps(right)
        if "hidden" in {field.name for field in fields(made)} and kind != "LeakyRNN":
            assert type(replace(made, hidden=size(7)).hidden) is int


@pytest.mark.parametrize("layer", [nr.IndRNN, nr.RNN, nr.GRU, nr.LSTM, nr.MGU, nr.LeakyRNN, nr.Dense])
@pytest.mark.parametrize("size", [np.uint8(162), np.uint8(255), np.int8(127), np.int16(200)])
def test_sizes_do_not_overflow_and_equal_layers_share_the_right_entry(layer, size):
    channels = type(size)(100)
    small, right = layer(size), layer(int(size))
    recurrent = isinstance(right, nr.Recurrent)
    fresh = right._weights.__wrapped__(right, 100, right.cell) if recurrent else right.weights.__wrapped__(right, 100)
    assert [(w.name, w.shape, w.size) for w in small.weights(channels)] == [(w.name, w.shape, w.size) for w in fresh]
    p = small.init(channels, seed=0, dtype="float64")
    assert len(p) == len(right.init(100, seed=0)) == sum(int(np.prod(w.shape, dtype=np.int64)) for w in p.weights)
    assert all(type(w.outputs) is int and type(w.inputs) in (int, type(None)) for w in p.weights)


def test_a_kernel_of_a_small_integer_is_the_kernel():
    layer, x = nr.GRU(np.uint8(130)), np.ones((2, 1, 3), np.float32)
    p = layer.init(np.uint8(3), seed=0)
    assert np.array_equal(layer(p, x)[0], nr.GRU(130)(nr.GRU(130).init(3, seed=0), x)[0])
    assert layer(p, x)[0].shape == (2, 1, 130)


def test_arguments_are_plain_too():
    byte = np.uint8
    net = nr.Network([nr.GRU(byte(4)), nr.Last(), nr.Dense(byte(1))], channels=byte(1), seed=byte(7))
    right = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=7)
    assert np.array_equal(net.params.flat, right.params.flat) and type(net.channels) is int and repr(net) == repr(right)
    assert type(net.output_channels) is int and net.summary() == right.summary()
    series = np.sin(np.arange(600, dtype=np.float32) / 9)
    x, y = nr.windows(series, byte(200))
    assert x.shape == (200, 400, 1) and y.shape == (400, 1)
    for one in (net, right):
        one.loss_of_training = one.fit(
            x[-4:], y, epochs=byte(2), batch_size=byte(200), seed=byte(3), checkpoints=byte(2), progress=np.False_
        ).loss
    assert net.loss_of_training == right.loss_of_training
    assert nr.extrapolate(net, series[:4, None], byte(200), np.True_).shape == (200, 1)
    stream = net.stream(batch=byte(2))
    assert stream.feed_back(np.zeros((2, 1), np.float32), byte(200)).shape == (200, 2, 1)
    layer = nr.GRU(4, zoneout=0.5)
    masks = layer.draw(byte(20), byte(20), byte(20), seed=byte(1))
    assert masks["zoneout_h_l0"].shape == (20, 20, 4)
    words = [f"w{n}" for n in range(300)]
    assert len(nr.Vocabulary.of([" ".join(words)], size=byte(255), least=byte(1))) == 255
    texts = nr.Ragged.of([np.arange(100), np.arange(200)])
    assert nr.padded(texts, byte(150), byte(7)).shape == (150, 2)


@pytest.mark.parametrize("dtype", SMALL)
def test_lengths_offsets_and_labels_of_small_integers_are_added_up_as_large_ones(dtype):
    lengths = np.array([100, 127, 0, 120], dtype)  # more than an int8 or a uint8 holds, together
    random = np.random.default_rng(0)
    layer = nr.GRU(3)
    p, x = layer.init(2, seed=0), random.standard_normal((127, 4, 2)).astype(np.float32)
    y, state = layer(p, x, lengths=lengths)
    right, right_state = layer(p, x, lengths=lengths.astype(np.int64))
    assert np.array_equal(y, right) and np.array_equal(state, right_state)
    ragged = nr.Ragged(np.zeros((100, 1)), np.array([0, 50, 100], dtype))
    assert ragged.offsets.dtype == np.int64 and ragged.lengths.tolist() == [50, 50]
    net = nr.Network([nr.GRU(3), nr.Dense(2)], channels=2, seed=0)
    target = random.standard_normal((127, 4, 2)).astype(np.float32)
    assert net.loss(x, target, lengths=lengths) == net.loss(x, target, lengths=lengths.astype(np.int64))
    labels = random.integers(0, 2, (127, 4))
    loss = nr.CrossEntropy(ignore_index=dtype(1))
    assert net.loss(x, labels.astype(dtype), loss, lengths) == net.loss(x, labels, nr.CrossEntropy(1), lengths.tolist())
    table = nr.Embedding(200, 2)
    index = random.integers(0, 127, (30, 20))
    q = table.init(seed=0)
    assert np.array_equal(table(q, index.astype(dtype)), table(q, index))


@pytest.mark.parametrize(
    "bad, error, message",
    [
        (lambda: nr.GRU(3.0), TypeError, "^hidden: expected a positive integer, got 3.0"),
        (lambda: nr.GRU(np.float32(3)), TypeError, "^hidden: "),
        (lambda: nr.GRU(True), TypeError, "^hidden: "),
        (lambda: nr.GRU(np.array([3])), TypeError, "^hidden: "),
        (lambda: nr.GRU(0), ValueError, "^hidden: expected a positive integer, got 0"),
        (lambda: nr.GRU(10**400), ValueError, "^hidden: expected a positive integer less than"),
        (lambda: nr.GRU(2**40).init(2**40), ValueError, "^channels: expected parameters that memory can hold"),
        (lambda: nr.GRU(3, layers=np.int8(-1)), ValueError, "^layers: "),
        (lambda: nr.GRU(3, bidirectional=1), TypeError, "^bidirectional: expected True or False, got 1"),
        (lambda: nr.GRU(3, normalized="no"), TypeError, "^normalized: expected True or False"),
        (lambda: nr.LSTM(3, peepholes=0.0), TypeError, "^peepholes: "),
        (lambda: nr.LSTM(3, forget_bias=np.nan), ValueError, "^forget_bias: "),
        (lambda: nr.LSTM(3, projection=np.float64(2)), TypeError, "^projection: "),
        (lambda: nr.GRU(3, clip=np.True_), TypeError, "^clip: "),
        (lambda: nr.GRU(3, zoneout=(0.1, True)), TypeError, "^zoneout: "),
        (lambda: nr.GRU(3, dropout=np.float32(1)), ValueError, "^dropout: "),
        (lambda: nr.GRU(3, merge=b"sum"), errors.UnknownNameError, "^merge: "),
        (lambda: nr.LeakyRNN(2, rate=(0.1, np.inf)), ValueError, "^rate: "),
        (lambda: nr.LeakyRNN(2, learned=1), TypeError, "^learned: "),
        (lambda: nr.Dense(np.bool_(True)), TypeError, "^units: "),
        (lambda: nr.Embedding(3, None), TypeError, "^size: "),
        (lambda: replace(nr.GRU(3), layers=2.0), TypeError, "^layers: "),
        (lambda: nr.CrossEntropy(ignore_index=np.float32(1)), TypeError, "^ignore_index: "),
        (lambda: nr.GRU(3).init(2, seed="x"), TypeError, "^seed: "),
        (lambda: nr.GRU(3).init(2, seed=-1), ValueError, "^seed: "),
        (lambda: nr.Network([nr.GRU(3)], 2, seed=1.5), TypeError, "^seed: "),
        (lambda: nr.GRU(3, zoneout=0.5).draw(1, 1, 1, seed=[1.0]), TypeError, "^seed: "),
    ],
)
def test_what_is_no_size_no_flag_and_no_number_is_named(bad, error, message):
    with pytest.raises(error, match=message):
        bad()


def test_minus_zero_is_zero():
    for made, right in ((nr.LeakyRNN(2, rate=-0.0), 0.0), (nr.GRU(2, dropout=-0.0), 0.0)):
        value = made.rate if isinstance(made, nr.LeakyRNN) else made.dropout
        assert value == right and not np.signbit(value)
    assert repr(nr.Dense(1, ("affine", -0.0))) == repr(nr.Dense(1, ("affine", 0)))


# -- the mechanism, for layers of one's own


@dataclass(frozen=True)
class Base(Description):
    size: int
    rate: float = 0.5
    on: "bool" = False
    form: str = "a"

    accepts = {"size": errors.positive_integer, "other": errors.positive_integer, "form": one_of("ab")}


@dataclass(frozen=True)
class More(Base):
    other: object = 1
    some: tuple = ()
    none: int | None = None

    accepts = {"some": one_or_each(errors.rate), "none": optional(errors.integer), "rate": errors.rate}


def test_a_class_says_what_its_fields_accept_and_a_subclass_adds_to_it():
    made = More(np.uint8(3), np.float32(0.25), np.True_, np.str_("b"), np.int8(2), (np.float64(0.5), 0), np.int16(4))
    assert made == More(3, 0.25, True, "b", 2, (0.5, 0.0), 4) and all(plain(v) for v in vars(made).values())
    assert all(type(number) is float for number in made.some)
    assert More(3) == More(3, 0.5) == copy.deepcopy(More(3))
    for arguments, message in (
        ({"size": 0}, "^size: expected a positive"),
        ({"rate": 1.5}, "^rate: expected a rate from 0"),
        ({"on": 1}, "^on: expected True or False"),
        ({"form": "c"}, "^form: unknown name"),
        ({"other": 0}, "^other: "),
        ({"some": (0.5, 2)}, "^some: "),
        ({"none": 1.5}, "^none: "),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            More(**{"size": 1} | arguments)
    assert Base(3, rate=1.5).rate == 1.5  # what a subclass adds is the subclass's


def test_what_is_worked_out_is_not_sent():
    made = More(3)
    object.__setattr__(made, "worked_out", lambda: None)
    assert vars(pickle.loads(pickle.dumps(made))) == vars(More(3))


@dataclass(frozen=True, repr=False)
class Marked(nr.Dense):
    marks: object = None
    note: object = dataclasses.field(default=None, compare=False)


@pytest.mark.parametrize("marks", [np.zeros(3), [1, 2], {"a": 1}, {1}])
def test_a_field_that_cannot_be_compared_is_named(marks):
    kind = type(marks).__name__
    with pytest.raises(TypeError, match=f"^marks: expected a value with a hash, .*, got {kind}; "):
        Marked(2, marks=marks)
    with pytest.raises(TypeError, match=f"^marks: .* got {kind}; "):
        Marked(2, marks=(1, (marks, 2)))
    layer = Marked(2, marks=(1, 2), note=marks)
    assert layer.note is marks and hash(layer) == hash(Marked(2, marks=(1, 2)))
    assert len(layer.init(channels=3)) == 8
