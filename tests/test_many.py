"""Many networks of one structure: each is, to the bit, what `Network` and `fit` give with its seed."""

import copy
import dataclasses
import io
import pickle
import re
import sys
import warnings

import numba
import numpy as np
import pytest

import numbarnn as nr
from numbarnn import many

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((5, 13, 2)).astype(np.float32)  # T, N, C
Y = np.tanh(X.sum((0, 2)))[:, None]
STEPS = np.tanh(X.sum(2, keepdims=True))
LENGTHS = RANDOM.integers(0, 6, 13)
WORDS, LABELS = RANDOM.integers(9, size=(5, 13)), RANDOM.integers(3, size=13)
SEEDS = (3, 0, 3, 2**70)
OPTIONS = dict(epochs=3, batch_size=4)


def network(*layers, channels=2, **options):
    return nr.Network(layers or [nr.GRU(4), nr.Last(), nr.Dense(1)], channels=channels, **options)


def alone(net, x, y, seed, callbacks=(), scheme="glorot", **options):
    """(network, history) of one training by itself."""
    own = nr.Network(net.layers, net.channels, net.dtype, net.layout, seed=seed, scheme=scheme)
    return own, own.fit(x, y, seed=seed, callbacks=callbacks, progress=False, **options)


def told(history):
    """All of a history but the clock's."""
    return history.loss, history.validation, history.rate, len(history.seconds)


def assert_member(ensemble, k, own, history):
    """A member is, to the bit, a network that was trained by itself."""
    assert ensemble.params[k].tobytes() == own.params.flat.tobytes()
    assert told(ensemble.histories[k]) == told(history)


CASES = {
    "one batch": (network(), (X, Y), dict(batch_size=13)),
    "clip": (network(), (X, Y), dict(clip=0.1)),
    "in order": (network(), (X, Y), dict(shuffle=False, optimizer=nr.SGD(0.1, momentum=0.9))),
    "schedule": (network(), (X, Y), dict(optimizer=nr.AdamW(nr.cosine(0.02)))),
    "plateau": (network(), (X, Y), dict(optimizer=nr.RMSProp(nr.reduce_on_plateau(0.02, patience=1)))),
    "own loss": (network(), (X, Y), dict(loss=lambda prediction, y: (float(((prediction - y) ** 2).sum()), prediction - y))),
    "steps": (network(nr.GRU(4), nr.Dense(1)), (X, STEPS), dict(loss="huber")),
    "dropout": (network(nr.GRU(4), nr.Dropout(0.3), nr.Last(), nr.Dense(1)), (X, Y), {}),
    "lengths": (network(nr.GRU(4), nr.Dense(1)), (X, STEPS), dict(lengths=LENGTHS)),
    "words": (
        network(nr.Embedding(9, 3), nr.GRU(4), nr.Last(), nr.Dense(3), channels=None), (WORDS, LABELS),
        dict(loss="cross_entropy"),
    ),
    "layout": (network(layout="ntc"), (np.ascontiguousarray(X.transpose(1, 0, 2)), Y), dict(scheme="pytorch")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_member_is_what_fit_alone_gives(name):
    net, (x, y), options = CASES[name]
    before, options = net.params.flat.copy(), OPTIONS | options
    ensemble = nr.fit_many(net, x, y, seeds=SEEDS, progress=False, **options)
    assert np.array_equal(net.params.flat, before) and net.history is None
    assert ensemble.params.shape == (4, len(before)) and ensemble.params.dtype == net.dtype
    assert ensemble.finished.all() and ensemble.errors == (None,) * 4
    for k, seed in enumerate(SEEDS):
        assert_member(ensemble, k, *alone(net, x, y, seed, **options))
    assert np.array_equal(ensemble.params[0], ensemble.params[2]) and not np.array_equal(*ensemble.params[:2])


# In compiled code, where all parts are the library's

TOGETHER = {
    "one size of batch": (network(), (X, Y), dict(batch_size=13)),
    "two sizes": (network(), (X, Y), dict(optimizer=nr.AdamW(nr.cosine(0.02)))),
    "clip": (network(), (X, Y), dict(clip=0.1, optimizer=nr.AdamW(0.02, decays="all"))),
    "sgd": (network(), (X, Y), dict(shuffle=False, optimizer=nr.SGD(0.1, momentum=0.9, nesterov=True), loss="mae")),
    "rmsprop": (network(), (X, Y), dict(optimizer=nr.RMSProp(nr.reduce_on_plateau(0.02, patience=1)), loss="half_mse")),
    "steps": (network(nr.GRU(4), nr.Dense(1)), (X, STEPS), dict(loss="huber", clip=0.5)),
    "stacked": (network(nr.GRU(4, layers=2), nr.GRU(3), nr.Last()), (X, RANDOM.standard_normal((13, 3))), {}),
    "both directions": (network(nr.GRU(4, bidirectional=True), nr.GRU(4), nr.Dense(2, "tanh")), (X, X), {}),
    "lstm": (network(nr.LSTM(4), nr.Last(), nr.Dense(1)), (X, Y), {}),
    "layout": (network(nr.GRU(4), nr.Dense(1), layout="ntc"), (X.transpose(1, 0, 2), STEPS.transpose(1, 0, 2)), {}),
    "float64": (network(dtype="float64"), (X, Y), dict(clip=0.1)),
    "dense": (network(nr.Dense(5, "tanh"), nr.Dense(1)), (X[0], Y), {}),
    "validation": (network(), (X, Y), dict(validation=(X[:, 3:], Y[3:]))),
    "labels": (network(nr.GRU(4), nr.Last(), nr.Dense(3)), (X, LABELS), dict(loss="cross_entropy", clip=0.1)),
    "labels of steps": (
        network(nr.GRU(4), nr.Dense(9), layout="ntc", dtype="float64"), (X.transpose(1, 0, 2), WORDS.T.astype(np.uint8)),
        dict(loss=nr.CrossEntropy(), validation=(X.transpose(1, 0, 2), WORDS.T)),
    ),
    "dropout": (
        network(nr.GRU(4, layers=2, dropout=0.5), nr.Dropout(0.3), nr.Last(), nr.Dense(1)), (X, Y), dict(clip=0.5),
    ),
    "masks of steps": (
        network(nr.LSTM(4, input_dropout=0.2, recurrent_dropout=0.3, zoneout=0.1, noise=0.1), nr.Dense(1), nr.Dropout(0.5)),
        (X, STEPS), {},
    ),
    "huber of its own": (network(nr.GRU(4), nr.Dense(1)), (X, 2 * STEPS), dict(loss=nr.Huber(delta=0.3))),
    "two labels": (network(), (X, LABELS % 2), dict(loss="binary_cross_entropy", clip=0.1)),
    "two labels of steps": (
        network(nr.GRU(4), nr.Dense(1), layout="ntc"), (X.transpose(1, 0, 2), WORDS.T % 2),
        dict(loss="binary_cross_entropy", validation=(X.transpose(1, 0, 2), WORDS.T % 2)),
    ),
    "probabilities": (
        network(nr.GRU(4), nr.Dense(2), layout="tcn"), (X.transpose(0, 2, 1), np.abs(X.transpose(0, 2, 1)) % 1),
        dict(loss="binary_cross_entropy"),
    ),
    "counts": (network(nr.GRU(4), nr.Dense(1)), (X, np.floor(2 + STEPS)), dict(loss=nr.PoissonNLL(full=True))),
    "quantiles": (network(nr.GRU(4), nr.Dense(6)), (X, X), dict(loss="quantile")),
    "gaussian": (
        network(nr.GRU(4), nr.Dense(2), layout="ntc", dtype="float64"), (X.transpose(1, 0, 2), STEPS.transpose(1, 0, 2)),
        dict(loss=nr.GaussianNLL(full=True)),
    ),
    "smoothed labels": (
        network(nr.GRU(4), nr.Last(), nr.Dense(3)), (X, LABELS), dict(loss=nr.CrossEntropy(smoothing=0.1), clip=0.1),
    ),
    "clip of many parameters": (network(nr.GRU(128), nr.Last(), nr.Dense(1)), (X, Y), dict(clip=0.1, epochs=2)),
}  # fmt: skip


GAPS = np.where(RANDOM.random(STEPS.shape) < 0.3, np.nan, STEPS)
TIMES = RANDOM.random((len(X), 13)).astype(np.float32)
TIMES[RANDOM.random(TIMES.shape) < 0.3] = 0
RARE = nr.CrossEntropy(ignore_index=2, class_weights=[0.3, 1.7, 1.0, 0.0, 2.0, 1.0, 0.1, 1.0, 1.0])
ROWS = nr.Ragged.of([X[:n, k] for k, n in enumerate(1 + LENGTHS % 5)])
OF_ROWS = nr.Ragged.of([STEPS[:n, k] for k, n in enumerate(1 + LENGTHS % 5)])
BEHIND = np.where(np.arange(5)[:, None] < LENGTHS, WORDS, 88)  # labels that are none
LAYERS = nr.GRU(4), nr.Dense(1)
RAGGED = {
    "steps": (network(*LAYERS), (X, STEPS), dict(lengths=LENGTHS, loss="huber")),
    "one batch": (network(*LAYERS), (X, STEPS), dict(lengths=LENGTHS, batch_size=13, optimizer=nr.SGD(0.1, momentum=0.9))),
    "last": (network(), (X, Y), dict(lengths=1 + LENGTHS % 5, clip=0.1)),
    "two directions": (network(nr.GRU(4, layers=2, bidirectional=True), nr.Dense(1)), (X, STEPS), dict(lengths=LENGTHS)),
    "last of two directions": (
        network(nr.LSTM(4, bidirectional=True), nr.Last(), nr.Dense(1)), (X, Y), dict(lengths=1 + LENGTHS % 5),
    ),
    "last of three, labels": (
        network(nr.LSTM(5, layers=2), nr.GRU(3), nr.Last(), nr.Dense(6, "tanh"), nr.Dense(3), dtype="float64"),
        (ROWS, LABELS), dict(loss=nr.CrossEntropy(smoothing=0.1), weights=RANDOM.random(13)),
    ),
    "ragged": (network(*LAYERS), (ROWS, OF_ROWS), dict(validation=(X, STEPS, LENGTHS))),
    "ragged quantiles": (network(nr.GRU(4), nr.Dense(3)), (ROWS, OF_ROWS), dict(loss="quantile")),
    "gaps": (
        network(nr.GRU(4), nr.Dense(1), layout="ntc"), (X.transpose(1, 0, 2), GAPS.transpose(1, 0, 2)),
        dict(lengths=LENGTHS, loss=nr.MSE(missing="nan")),
    ),
    "labels of steps": (network(nr.GRU(4), nr.Dense(9)), (X, BEHIND), dict(lengths=LENGTHS, loss=RARE, weights=TIMES)),
    "two labels": (network(nr.MGU(4), nr.Dense(1)), (X, BEHIND % 2), dict(lengths=LENGTHS, loss="binary_cross_entropy")),
}  # fmt: skip
WEIGHED = {
    "a weight for each sample": (network(), (X, Y), dict(clip=0.1, weights=RANDOM.random(13))),
    "samples of no weight": (network(), (X, Y), dict(weights=np.arange(13) % 3, loss="mae")),
    "a weight for each step": (
        network(nr.GRU(4), nr.Dropout(0.3), nr.Dense(1)), (X, STEPS), dict(weights=TIMES, loss="huber"),
    ),
    "weights in another layout": (
        network(nr.GRU(4), nr.Dense(1), layout="ntc", dtype="float64"), (X.transpose(1, 0, 2), STEPS.transpose(1, 0, 2)),
        dict(weights=TIMES.T, validation=(X.transpose(1, 0, 2), STEPS.transpose(1, 0, 2), None, TIMES.T)),
    ),
    "gaps": (network(nr.GRU(4), nr.Dense(1)), (X, GAPS), dict(loss=nr.MSE(missing="nan"), epochs=3)),
    "gaps of several channels": (
        network(nr.GRU(4), nr.Dense(2)), (X, np.concatenate([GAPS, STEPS], axis=2)),
        dict(loss=nr.HalfMSE(missing="nan"), weights=TIMES),
    ),
    "weights of labels": (
        network(nr.GRU(4), nr.Last(), nr.Dense(3)), (X, LABELS), dict(loss="cross_entropy", weights=RANDOM.random(13)),
    ),
    "ignored labels of steps": (
        network(nr.GRU(4), nr.Dense(9), dtype="float64"), (X, WORDS), dict(loss=nr.CrossEntropy(ignore_index=2)),
    ),
    "probabilities of weight": (
        network(nr.GRU(4), nr.Dense(1), layout="ntc", dtype="float64"), (X.transpose(1, 0, 2), STEPS.swapaxes(0, 1) ** 2),
        dict(weights=TIMES.T, loss="binary_cross_entropy"),
    ),
    "two labels, some ignored": (
        network(nr.GRU(4), nr.Dense(1)), (X, WORDS % 3), dict(weights=TIMES, loss=nr.BinaryCrossEntropy(ignore_index=2)),
    ),
    "gaps of quantiles": (
        network(nr.GRU(4), nr.Dense(4)), (X, np.concatenate([GAPS, STEPS], axis=2)),
        dict(loss=nr.Quantile(levels=(0.2, 0.7), missing="nan"), weights=TIMES),
    ),
    "gaps of a density": (network(nr.GRU(4), nr.Dense(2)), (X, GAPS), dict(loss=nr.GaussianNLL(missing="nan"))),
    "smoothed labels of weight": (
        network(nr.GRU(4), nr.Dense(9)), (X, WORDS), dict(loss=dataclasses.replace(RARE, smoothing=0.2), weights=TIMES),
    ),
    "all of it": (network(nr.LSTM(4), nr.Dropout(0.2), nr.Dense(9)), (X, WORDS), dict(loss=RARE, weights=TIMES)),
}  # fmt: skip
UNEQUAL = "samples of no weight", "all of it", "smoothed labels of weight"  # members draw more or fewer samples that count


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("name", WEIGHED)
def test_in_compiled_code_targets_may_count_more_or_less(monkeypatch, name, bootstrap):
    net, (x, y), options = WEIGHED[name]
    options, axis = OPTIONS | options, net.layout.index("n")
    if not (bootstrap and name in UNEQUAL):
        monkeypatch.setattr(many, "fit", None)  # nobody is trained by it
    ensemble = nr.fit_many(net, x, y, seeds=range(5), bootstrap=bootstrap, progress=False, **options)
    monkeypatch.undo()
    weights = options.pop("weights", None)
    for k in range(5):
        drawn = np.random.default_rng((k, 1)).integers(13, size=13) if bootstrap else np.arange(13)
        own = {} if weights is None else {"weights": weights.take(drawn, weights.shape.index(13))}
        assert_member(ensemble, k, *alone(net, x.take(drawn, axis), y.take(drawn, y.shape.index(13)), k, **options, **own))


def taken(array, drawn):
    """Some of the samples, wherever the axis of the thirteen is."""
    return array[drawn] if isinstance(array, nr.Ragged) else array.take(drawn, array.shape.index(13))


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("name", RAGGED)
def test_in_compiled_code_sequences_may_differ_in_length(monkeypatch, name, bootstrap):
    net, (x, y), options = RAGGED[name]
    options = OPTIONS | options
    if not bootstrap:  # else each member may have another number of samples that count
        monkeypatch.setattr(many, "fit", None)  # nobody is trained by it
    ensemble = nr.fit_many(net, x, y, seeds=range(4), bootstrap=bootstrap, progress=False, **options)
    monkeypatch.undo()
    for k in range(4):
        drawn = np.random.default_rng((k, 1)).integers(13, size=13) if bootstrap else np.arange(13)
        own = {key: taken(options[key], drawn) for key in ("lengths", "weights") if key in options}
        assert_member(ensemble, k, *alone(net, taken(x, drawn), taken(y, drawn), k, **options | own))


@pytest.mark.parametrize("name", ["alike", "short but one", "two kinds", "any"])
def test_in_compiled_code_lengths_may_be_any(monkeypatch, name):
    """The weight gradients are summed over chunks of steps, which depend on the lengths in a batch."""
    monkeypatch.setattr("numbarnn.cpu.sizes.BACKWARD_ROWS", 24)
    lengths = {
        "alike": np.full(12, 20), "short but one": np.array([20, *[1] * 11]), "two kinds": np.array([20, 2] * 6),
        "any": np.random.default_rng(3).integers(1, 21, 12),
    }[name]  # fmt: skip
    x = np.random.default_rng(1).standard_normal((20, 12, 2)).astype(np.float32)
    y, options = np.tanh(x.sum(2, keepdims=True)), dict(lengths=lengths, epochs=2, batch_size=6)
    monkeypatch.setattr(many, "fit", None)
    ensemble = nr.fit_many(network(*LAYERS), x, y, seeds=range(2), progress=False, **options)
    for k in range(2):
        assert_member(ensemble, k, *alone(network(*LAYERS), x, y, k, **options))


@pytest.mark.parametrize("layers", [
    [nr.GRU(4), nr.Dropout(0.2), nr.Dense(1)], [nr.GRU(4), nr.Dense(1, "gelu")],
])  # fmt: skip
def test_other_layers_train_sequences_that_differ_in_length_one_by_one(layers):
    net, options = network(*layers), OPTIONS | {"lengths": LENGTHS}
    ensemble = nr.fit_many(net, X, STEPS, seeds=[0, 1], progress=False, **options)
    for k in range(2):
        assert_member(ensemble, k, *alone(net, X, STEPS, k, **options))


def test_members_may_have_weights_or_none():
    own = [(X, Y), (X, Y, None, np.arange(13) % 2 + 0.5), (X, Y, None, np.ones(13))]
    ensemble = nr.fit_many(network(), seeds=(3, 3, 3), samples=own, progress=False, **OPTIONS)
    for k, (x, y, *rest) in enumerate(own):
        more = {"weights": rest[1]} if rest else {}
        assert_member(ensemble, k, *alone(network(), x, y, 3, **OPTIONS, **more))
    assert np.array_equal(ensemble.params[0], ensemble.params[2]) and not np.array_equal(*ensemble.params[:2])


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("name", TOGETHER)
def test_in_compiled_code_each_member_is_what_fit_alone_gives(monkeypatch, name, bootstrap):
    net, (x, y), options = TOGETHER[name]
    options, axis = OPTIONS | options, net.layout.index("n") if x.ndim == 3 else 0
    monkeypatch.setattr(many, "fit", None)  # nobody is trained by it
    ensemble = nr.fit_many(net, x, y, seeds=range(5), bootstrap=bootstrap, progress=False, **options)
    for k in range(5):
        drawn = np.random.default_rng((k, 1)).integers(13, size=13) if bootstrap else np.arange(13)
        assert_member(ensemble, k, *alone(net, x.take(drawn, axis), y.take(drawn, y.shape.index(13)), k, **options))


@pytest.mark.parametrize("what", ["threads", "pieces"])
def test_members_do_not_depend_on_who_trains_them(monkeypatch, what):
    """Nor on how many epochs are taken between two returns to Python."""
    whole = nr.fit_many(network(), X, Y, seeds=range(5), progress=False, **OPTIONS)
    if what == "threads":
        numba.set_num_threads(1)
    else:
        monkeypatch.setattr("numbarnn.training.members.MOST_WORK", 1)
    other = nr.fit_many(network(), X, Y, seeds=range(5), progress=False, **OPTIONS)
    assert np.array_equal(whole.params, other.params)
    assert [*map(told, whole.histories)] == [*map(told, other.histories)]


@pytest.mark.parametrize("name", ["steps", "clip", "lstm"])
def test_both_ways_give_the_same(monkeypatch, name):
    net, (x, y), options = TOGETHER[name]
    together = nr.fit_many(net, x, y, seeds=range(3), progress=False, **OPTIONS | options)
    monkeypatch.setattr(many, "can_be_trained", lambda *arguments: False)
    one_by_one = nr.fit_many(net, x, y, seeds=range(3), progress=False, **OPTIONS | options)
    assert np.array_equal(together.params, one_by_one.params)
    assert [*map(told, together.histories)] == [*map(told, one_by_one.histories)]


def test_a_loss_that_float32_cannot_hold_is_what_fit_says_it_is():
    """Its square overflows, and is summed again in float64."""
    y, options = Y * np.float32(1e25), dict(optimizer=nr.SGD(1e-30), **OPTIONS)
    ensemble = nr.fit_many(network(), X, y, seeds=[0, 1], progress=False, **options)
    for k in range(2):
        assert_member(ensemble, k, *alone(network(), X, y, k, **options))
    assert ensemble.finished.all() and 1e48 < ensemble.histories[0].loss[0] < 1e52


# What each may have of its own


def test_ragged_samples():
    net, x = network(), nr.Ragged.of([X[: 1 + n % 5, n] for n in range(13)])
    ensemble = nr.fit_many(net, x, Y, seeds=[0, 1], bootstrap=True, progress=False, **OPTIONS)
    for k in range(2):
        drawn = np.random.default_rng((k, 1)).integers(13, size=13)
        assert_member(ensemble, k, *alone(net, x[drawn], Y[drawn], k, **OPTIONS))


def test_rates_and_decays_of_each():
    rates, decays = [0.01, nr.cosine(0.03), 0.02], [0.0, 0.5, 3]
    options = OPTIONS | {"progress": False}
    ensemble = nr.fit_many(network(), X, Y, seeds=[1, 1, 1], optimizer=nr.AdamW(), rates=rates, decays=decays, **options)
    for k in range(3):
        assert_member(ensemble, k, *alone(network(), X, Y, 1, optimizer=nr.AdamW(rates[k], decay=decays[k]), **OPTIONS))
    assert len({row.tobytes() for row in ensemble.params}) == 3
    ensemble = nr.fit_many(network(), X, Y, seeds=[1, 2], rates=[0.1, 0.2], **options)
    assert_member(ensemble, 1, *alone(network(), X, Y, 2, optimizer=nr.Adam(0.2), **OPTIONS))


class Descent(nr.Optimizer):
    """One's own, not a dataclass."""

    def __init__(self, rate):
        self.rate = rate

    def update(self, flat, previous, gradient, memory, step, rate, scale=1.0):
        flat -= flat.dtype.type(rate) * gradient


def test_an_optimizer_of_one_s_own_stays_as_it_is():
    optimizer, options = Descent(0.5), OPTIONS | {"progress": False}
    ensemble = nr.fit_many(network(), X, Y, seeds=[0, 1], optimizer=optimizer, rates=[0.1, 0.2], **options)
    assert optimizer.rate == 0.5
    for k in range(2):
        assert_member(ensemble, k, *alone(network(), X, Y, k, optimizer=Descent([0.1, 0.2][k]), **OPTIONS))


def test_samples_and_validation_of_each():
    samples = [(X, Y), (X[:, :6], Y[:6]), (X[:, 3:], Y[3:], LENGTHS[3:])]
    held = [(X[:, :4], Y[:4]), (X, Y, LENGTHS), (X[:, 9:], Y[9:])]
    options = OPTIONS | {"progress": False}
    ensemble = nr.fit_many(network(), seeds=range(3), samples=samples, validations=held, **options)
    for k, (x, y, *lengths) in enumerate(samples):
        more = {"lengths": lengths[0]} if lengths else {}
        assert_member(ensemble, k, *alone(network(), x, y, k, validation=held[k], **more, **OPTIONS))


FED = network(nr.GRU(4), nr.Dense(2))
FORCING = RANDOM.random((5, 13))  # (T, N)
FEEDBACKS = {
    "sparse": (nr.Feedback(every=2), {}),
    "a strength for each step": (nr.Feedback(FORCING), dict(weights=TIMES, optimizer=nr.AdamW(nr.cosine(0.02)), clip=0.1)),
    "lengths": (nr.Feedback(0.3), dict(lengths=1 + LENGTHS % 5, loss="huber")),
    "gaps": (nr.Feedback(1.0, missing=True), {}),
}


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("name", FEEDBACKS)
def test_members_with_feedback(name, bootstrap):
    """A sample that is drawn brings its strengths of forcing."""
    feedback, options = FEEDBACKS[name]
    options, x = OPTIONS | options, X.copy()
    if feedback.missing:
        x[2, ::3, 1] = np.nan
    ensemble = nr.fit_many(FED, x, X, seeds=range(3), feedback=feedback, bootstrap=bootstrap, progress=False, **options)
    for k in range(3):
        drawn = np.random.default_rng((k, 1)).integers(13, size=13) if bootstrap else np.arange(13)
        own = {key: taken(options[key], drawn) for key in ("lengths", "weights") if key in options}
        fed = nr.Feedback(FORCING[:, drawn]) if feedback.forcing.ndim else feedback
        assert_member(ensemble, k, *alone(FED, x[:, drawn], X[:, drawn], k, feedback=fed, **options | own))
    without = nr.fit_many(FED, X, X, seeds=[0], progress=False, **options)
    assert not np.array_equal(without.params[0], ensemble.params[0])


def test_members_with_feedback_stop_for_themselves():
    """By validation data that are fed likewise; samples and validation data may be each member's own."""
    sparse, options = nr.Feedback(every=3), dict(epochs=30, batch_size=4, optimizer=nr.Adam(0.1))
    held, stopping = (X[:, 8:], -X[:, 8:]), nr.EarlyStopping(patience=2)
    common = dict(seeds=range(3), stopping=stopping, feedback=sparse, progress=False, **options)
    ensemble = nr.fit_many(FED, X[:, :8], X[:, :8], validation=held, **common)
    own = nr.fit_many(FED, samples=[(X[:, :8], X[:, :8])] * 3, validations=[held] * 3, **common)
    for k in range(3):
        trained = alone(
            FED, X[:, :8], X[:, :8], k, [nr.EarlyStopping(patience=2)], validation=held, feedback=sparse, **options
        )
        assert_member(ensemble, k, *trained)
        assert_member(own, k, *trained)
        best = ensemble[k].loss(*held, feedback=sparse)
        assert min(ensemble.histories[k].validation) == best != ensemble[k].loss(*held)
    assert min(len(history.loss) for history in ensemble.histories) < 30


@pytest.mark.parametrize("feedback, net, message", [
    (0.5, FED, "feedback: expected numbarnn.Feedback or None, got float"),
    (nr.Feedback(FORCING[:, :5]), FED, r"feedback: expected forcing of shape \(5, 13\)"),
    (nr.Feedback(), network(nr.GRU(4), nr.Last(), nr.Dense(2)), "feedback: expected"),
])  # fmt: skip
def test_feedback_that_does_not_fit_members(feedback, net, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        nr.fit_many(net, X, X, seeds=[0, 1], feedback=feedback, progress=False)


def test_each_stops_for_itself():
    stopping, options = nr.EarlyStopping(patience=2), dict(epochs=40, batch_size=4, optimizer=nr.Adam(0.05))
    options |= dict(validation=(X[:, 8:], Y[8:]))
    x, y = X[:, :8], Y[:8]
    ensemble = nr.fit_many(network(), x, y, seeds=range(4), bootstrap=True, stopping=stopping, progress=False, **options)
    assert stopping.epoch == 0  # copies of it have learned
    for k in range(4):
        drawn = np.random.default_rng((k, 1)).integers(8, size=8)
        assert_member(ensemble, k, *alone(network(), x[:, drawn], y[drawn], k, [nr.EarlyStopping(2)], **options))
    ended = [len(history.loss) for history in ensemble.histories]
    assert len(set(ended)) > 1 and min(ended) < 40


# What is returned


def trained(**options):
    return nr.fit_many(network(), X, Y, seeds=[5, 6, 7], progress=False, **OPTIONS | options)


def test_a_member_is_a_network_of_its_own():
    ensemble = trained()
    member = ensemble[-1]
    assert member.history is ensemble.histories[2] and len(ensemble) == 3 and ensemble.seeds == (5, 6, 7)
    assert np.array_equal(member.predict(X), ensemble.predict_many(X).members[2])
    member.fit(X, Y, epochs=1, progress=False)
    assert not np.array_equal(member.params.flat, ensemble.params[2]) and len(list(ensemble)) == 3
    with pytest.raises(nr.IndexRangeError, match="member: expected an index from 0 to 2, got 3"):
        ensemble[3]
    with pytest.raises(TypeError, match="members: expected an integer, a slice, an array of integers or a mask, got 'a'"):
        ensemble["a"]


@pytest.mark.parametrize("which, expected", [
    (slice(1, None), [1, 2]), ([2, 0], [2, 0]), (np.array([True, False, True]), [0, 2]), (slice(None, None, -2), [2, 0]),
])  # fmt: skip
def test_some_members(which, expected):
    ensemble = trained()
    some = ensemble[which]
    assert some.seeds == tuple(ensemble.seeds[k] for k in expected)
    assert np.array_equal(some.params, ensemble.params[expected]) and some.errors == (None,) * 2
    assert all(one is ensemble.histories[k] for one, k in zip(some.histories, expected))


@pytest.mark.parametrize("way", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_it_goes_through_a_pickle(way):
    ensemble = trained()
    other = way(ensemble)
    assert repr(other) == repr(ensemble) == "Ensemble(3 members of 101 parameters, seeds 5, 6, 7)"
    assert np.array_equal(other.predict_many(X).members, ensemble.predict_many(X).members)


def test_mean_spread_and_quantiles():
    ensemble = trained()
    found = ensemble.predict_many(X)
    each = np.stack([member.predict(X) for member in ensemble])
    assert found.members.dtype == np.float32 and np.array_equal(found.members, each) and len(found) == 3
    wide = each.astype(float)
    np.testing.assert_allclose(found.mean, wide.sum(0) / 3, rtol=1e-6)
    np.testing.assert_allclose(found.spread, np.sqrt(((wide - wide.mean(0)) ** 2).sum(0) / 2), rtol=1e-5)
    assert np.array_equal(found.quantile(0), each.min(0)) and np.array_equal(found.quantile(0.5), np.sort(each, 0)[1])
    assert found.mean.dtype == found.spread.dtype == found.quantile(0.1).dtype == np.float32
    with pytest.raises(ValueError, match="members: expected at least two for a spread, got 1"):
        ensemble[:1].predict_many(X).spread  # noqa: B018
    for q, error in ((1.5, ValueError), ("0.5", TypeError)):
        with pytest.raises(error, match="^q: expected a"):
            found.quantile(q)


def test_predictions_of_ragged_sequences():
    net = network(nr.GRU(4), nr.Dense(1))
    ensemble = nr.fit_many(net, X, STEPS, seeds=[0, 1], progress=False, **OPTIONS)
    x = nr.Ragged.of([X[:3, 0], X[:5, 1]])
    found = ensemble.predict_many(x)
    assert np.array_equal(found.members[1][1], ensemble[1].predict(X[:5, 1]))
    assert np.array_equal(found.mean.lengths, [3, 5])
    np.testing.assert_allclose(found.mean[0], ensemble.predict_many(X[:3, 0]).mean, rtol=1e-6)
    padded = ensemble.predict_many(X, LENGTHS)
    assert padded.spread.shape == (5, 13, 1) and not padded.spread[-1, LENGTHS < 5].any()


# A member that ends early


def test_a_member_that_diverges_does_not_lose_the_others():
    rates, options = [0.01, 1e30, 0.01], dict(optimizer=nr.SGD(), **OPTIONS)
    with pytest.warns(RuntimeWarning, match=r"fit_many: 1 of 3 members ended early \(1\); member 1: .*at epoch 1, batch"):
        ensemble = nr.fit_many(network(), X, Y, seeds=[0, 1, 2], rates=rates, progress=False, **options)
    assert ensemble.finished.tolist() == [True, False, True] and np.isfinite(ensemble.params).all()
    assert "ended early" in repr(ensemble) and len(ensemble[ensemble.finished]) == 2
    own = network(seed=1)
    with pytest.raises(nr.NonFiniteError, match=re.escape(ensemble.errors[1])):
        own.fit(X, Y, seed=1, progress=False, **options | {"optimizer": nr.SGD(1e30)})
    assert_member(ensemble, 1, own, own.history)
    for k in (0, 2):
        assert_member(ensemble, k, *alone(network(), X, Y, k, **options | {"optimizer": nr.SGD(0.01)}))


def test_nothing_is_warned_of_where_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained()


def test_what_is_not_finite_is_said_before_anything_is_trained():
    bad = X.copy()
    bad[1, 2, 0] = np.nan
    with pytest.raises(nr.NonFiniteError, match=r"^x: expected finite numbers, got nan at \(1, 2, 0\)"):
        nr.fit_many(network(), bad, Y, seeds=[0])
    with pytest.raises(nr.NonFiniteError, match=r"^samples\[1\] x: expected finite"):
        nr.fit_many(network(), seeds=[0, 1], samples=[(X, Y), (bad, Y)])
    with pytest.raises(nr.NonFiniteError, match="^validation x: expected finite"):
        nr.fit_many(network(), X, Y, seeds=[0], validation=(bad, Y))
    with pytest.raises(nr.NonFiniteError, match=r"^validations\[0\] x: expected finite"):
        nr.fit_many(network(), X, Y, seeds=[0], validations=[(bad, Y)])


@pytest.mark.parametrize("options, error, message", [
    (dict(seeds=4), TypeError, r"seeds: expected an integer >= 0 for each member, in a sequence, got 4; range\(4\)"),
    (dict(seeds=[]), ValueError, "seeds: expected an integer >= 0 for each member, in a sequence, got none"),
    (dict(seeds=[0, -1]), ValueError, r"seeds\[1\]: expected an integer >= 0, got -1"),
    (dict(seeds=[0.5]), TypeError, r"seeds\[0\]: expected an integer, got 0.5"),
    (dict(seeds=None), TypeError, "seeds: expected an integer"),
    (dict(seeds=np.array(3)), TypeError, "seeds: expected an integer"),
    (dict(rates=[0.1]), nr.ShapeError, "rates: expected one for each of the 2 seeds, got 1"),
    (dict(rates=0.1), TypeError, "rates: expected one for each of the 2 seeds, in a sequence, got 0.1"),
    (dict(rates=[0.1, -1]), ValueError, r"rates\[1\]: expected a number >= 0, got -1"),
    (dict(decays=[0.1, 0.1]), TypeError, "decays: expected None, or an optimizer with weight decay.* beside Adam"),
    (dict(decays=[0.1, np.nan], optimizer="adamw"), ArithmeticError, r"decays\[1\]: expected a finite number, got nan"),
    (dict(stopping=3), TypeError, "stopping: expected a numbarnn.EarlyStopping or None, got int"),
    (dict(samples=[(X, Y)] * 2), TypeError, "x: expected None beside samples, which has each member's own, got ndarray"),
    (dict(x=None), TypeError, "x: expected it, or samples= of each member's own, got None"),
    (dict(validation=(X, Y), validations=[(X, Y)] * 2), TypeError, "validation: expected None beside validations"),
    (dict(x=None, y=None, samples=[(X, Y)]), nr.ShapeError, "samples: expected one for each of the 2 seeds, got 1"),
    (dict(x=None, y=None, samples=[(X, Y), X]), TypeError, r"samples\[1\]: expected the pair \(x, y\) or .* got ndarray"),
    (dict(epochs=0), ValueError, "epochs: expected a positive integer, got 0"),
    (dict(bootstrap=1), TypeError, "bootstrap: expected True or False, got 1"),
    (dict(bootstrap=True, weights=np.eye(13)[0], seeds=[4, 5]), ValueError, r"seeds\[1\]: expected one whose draws"),
    (dict(scheme="he"), nr.UnknownNameError, "scheme: unknown name 'he'"),
    (dict(network=nr.GRU(3)), TypeError, "network: expected a Network, got GRU"),
    (dict(optimizer="adm"), nr.UnknownNameError, "optimizer: unknown name 'adm'"),
    (dict(comm=3), TypeError, "comm: expected a communicator of mpi4py"),
    (dict(patience=3), TypeError, r"patience: unknown argument of fit_many, .*did you mean stopping=nr.Early"),
])  # fmt: skip
def test_bad_input_is_named(options, error, message):
    options = {"network": network(), "x": X, "y": Y, "seeds": [0, 1], "progress": False} | options
    with pytest.raises(error, match=f"^{message}"):
        nr.fit_many(**options)


def test_progress_counts_members(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    nr.fit_many(network(), X, Y, seeds=range(3), **OPTIONS)
    assert [line.split()[:2] for line in sys.stderr.getvalue().splitlines()] == [["member", f"{k}/3"] for k in (1, 2, 3)]
