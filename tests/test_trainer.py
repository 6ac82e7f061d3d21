"""Trainer: training in several calls equals training in one, to the bit, by samples, batches and single updates."""

import copy
import pickle

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.cpu.ledger import RESTS
from numbarnn.cpu.pool import pool
from numbarnn.cpu.pool_memory import REST
from numbarnn.training import workspace

RANDOM = np.random.default_rng(0)
X, Y = nr.windows(np.sin(np.arange(45.0) / 4), 5)
WORDS, LABELS = RANDOM.integers(0, 9, (4, 23)), RANDOM.integers(0, 3, 23)
LENGTHS = RANDOM.integers(0, 6, 40)


def plain(dtype="float64"):
    return nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, seed=0, dtype=dtype)


def dropping():
    return nr.Network([nr.RNN(3), nr.Dropout(0.3), nr.Dense(1)], channels=1, seed=0, dtype="float64")


def reader():
    return nr.Network([nr.Embedding(9, 2), nr.RNN(3), nr.Last(), nr.Dense(3)], dtype="float64", seed=0)


TRAININGS = {  # what makes the network, the samples, and how a training goes
    "cosine": (plain, (X, Y), dict(optimizer=nr.Adam(nr.cosine(0.05)), clip=0.5)),
    "momentum": (plain, (X, Y), dict(optimizer=nr.SGD(0.05, 0.9, True))),
    "plateau": (plain, (X, Y), dict(optimizer=nr.RMSProp(nr.reduce_on_plateau(0.1, 0.5, 1)))),
    "masks and lengths": (dropping, (X, np.tile(X, 1), LENGTHS), dict(optimizer=nr.AdamW(nr.warmup(nr.cosine(0.05), 7)))),
    "rows": (reader, (WORDS, LABELS), dict(loss="cross_entropy", optimizer=nr.Adam(nr.exponential(0.05, 0.01)))),
}


def same(one, other):
    """Whether two trained networks have the same bits, and their histories the same losses and rates."""
    assert one.history.loss == other.history.loss and one.history.rate == other.history.rate
    assert one.history.validation == other.history.validation
    return np.array_equal(one.params.flat, other.params.flat)


def lengths_of(data):
    return dict(zip(("x", "y", "lengths"), data))


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training_in_pieces_is_one(kind):
    make, data, options = TRAININGS[kind]
    net, other = make(), make()
    way = dict(batch_size=7, progress=False)
    net.fit(**lengths_of(data), **options, **way, epochs=4, seed=3, validation=data)
    trainer = nr.Trainer(other, **options, seed=3, epochs=4)
    for epochs in (1, 2, None):
        trainer.fit(**lengths_of(data), **way, epochs=epochs, validation=data)
    assert same(net, other) and trainer.step == 4 * -(-len(trainer._course.order) // 7)
    assert trainer.history is other.history and trainer.network is other
    before = other.params.flat.copy()
    assert trainer.fit(**lengths_of(data), **way) is trainer.history  # no epoch is left
    assert np.array_equal(other.params.flat, before)
    with pytest.raises(ValueError, match="^epochs: expected at most 0, those left of the 4 of this trainer, got 1"):
        trainer.fit(**lengths_of(data), **way, epochs=1)


def test_a_schedule_is_told_the_updates_in_all():
    told = []

    def rate(update, updates):
        told.append((update, updates))
        return 0.01

    way = dict(batch_size=20, progress=False)  # two updates an epoch
    trainer = nr.Trainer(plain(), optimizer=nr.SGD(rate))
    for _ in range(2):  # each until its own end
        trainer.fit(X, Y, epochs=2, **way)
    assert told == [*((u, 4) for u in range(4)), *((u, 8) for u in range(4, 8))]
    told.clear()
    trainer = nr.Trainer(plain(), optimizer=nr.SGD(rate), updates=3)
    trainer.fit(X, Y, epochs=2, **way)
    trainer.update(X, Y)
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3), (3, 3)]


def batches(epoch=None):
    """X and Y in pieces of 7, in order."""
    return [(X[:, i : i + 7], Y[i : i + 7]) for i in range(0, 40, 7)]


@pytest.mark.parametrize("given", ["list", "function", "generators"])
def test_batches_of_one_s_own(given):
    net, other = plain(), plain()
    options = dict(optimizer=nr.Adam(nr.cosine(0.05)), clip=0.5)
    net.fit(X, Y, **options, epochs=2, batch_size=7, shuffle=False, progress=False)
    trainer = nr.Trainer(other, **options, updates=12)
    if given == "generators":
        for _ in range(2):
            trainer.fit((batch for batch in batches()), epochs=1, progress=False)
    else:
        trainer.fit(batches() if given == "list" else batches, epochs=2, progress=False)
    assert same(net, other)


@pytest.mark.parametrize("kind", ["cosine", "momentum", "masks and lengths"])
def test_updates_in_a_loop_of_one_s_own(kind):
    make, (x, y, *rest), options = TRAININGS[kind]
    net, other = make(), make()
    history = net.fit(
        x, y, **options, lengths=rest[0] if rest else None, epochs=2, batch_size=40, shuffle=False, progress=False
    )
    trainer = nr.Trainer(other, **options, updates=2)
    losses = [trainer.update(x, y, *rest) for _ in range(2)]
    assert losses == history.loss and trainer.step == 2 and not trainer.history.loss
    assert np.array_equal(net.params.flat, other.params.flat)


def kinds_of_batches():
    """Batches of one network that differ in what a workspace depends on: samples, steps, forms and dtypes."""
    x, y = RANDOM.standard_normal((2, 6, 4, 1))
    lengths = np.array([6, 2, 0, 4])
    rows = [slice(0, 3), slice(3, 6)]
    return [
        (x, y), (x[:3], y[:3]), (x[:, :2], y[:, :2]), (x, y, lengths), (x[:, 0], y[:, 0]), (x, y),
        tuple(nr.Ragged.of([part[rows[i], i] for i in range(2)]) for part in (x, y)),
        (x, y, None, lengths), (x.astype(np.float32), y), (x, y, [6, 6, 6, 6]), (x[:3, :2], y[:3, :2]),
    ]  # fmt: skip


def test_memory_is_made_once_for_batches_of_a_size(monkeypatch):
    """And what it is made for is no other's: each batch has the bits that it has in memory of its own."""
    made, init, found, counts = [], workspace.Workspace.__init__, [], []
    kind = workspace.Workspace
    monkeypatch.setattr(workspace, "threads", lambda: 1)  # whatever else runs
    monkeypatch.setattr(kind, "__init__", lambda self, *given, **more: (made.append(self), init(self, *given, **more))[0])
    batches = kinds_of_batches()
    for most in (workspace.KEPT_BYTES, 0):
        monkeypatch.setattr(workspace, "KEPT_BYTES", most)
        trainer = nr.Trainer(nr.Network([nr.LSTM(3), nr.Dense(1)], channels=1, seed=0, dtype="float64"))
        found.append(([trainer.update(*batch) for batch in batches * 3], trainer.network.params.flat))
        counts.append(len(made))
    assert found[0][0] == found[1][0] and np.array_equal(found[0][1], found[1][1])
    assert counts == [9, 9 + 31]  # one of each is for batches whose samples differ in length


@pytest.fixture
def rest_of_users():
    """The pool rests as it does outside of the tests."""
    of_tests = pool._rest
    pool.set_rest(RESTS)
    yield
    pool.set_rest(of_tests)


def test_what_several_threads_share_is_made_while_they_do(monkeypatch, rest_of_users):
    """A loss of time in the first run of new memory does not have one thread go alone, and the rest be made for one."""
    seen, x = [], RANDOM.standard_normal((6, 4, 1))

    def loss(prediction, target):
        seen.append(int(pool._block[REST // 8]))
        return 0.0, np.zeros_like(prediction)

    for count, expected in ((2, [0, RESTS]), (1, [RESTS, RESTS])):
        monkeypatch.setattr(workspace, "threads", lambda: count)  # noqa: B023 (called in this turn)
        seen.clear()
        trainer = nr.Trainer(nr.Network([nr.RNN(3), nr.Dense(1)], channels=1, seed=0, dtype="float64"), loss)
        for _ in expected:
            trainer.update(x, x)
        assert seen == expected


def test_rows_are_up_to_date_after_each_update():
    net, other = reader(), reader()
    options = dict(loss="cross_entropy", optimizer=nr.Adam(0.05))
    trainer = nr.Trainer(other, **options)
    for epoch in range(6):
        chosen = slice(epoch, epoch + 2)  # few of the words
        trainer.update(WORDS[:, chosen], LABELS[chosen])
        state = other.params.flat.copy()
        assert np.array_equal(other.params.flat, state)
    own = nr.Trainer(net, **options)
    own.fit([(WORDS[:, e : e + 2], LABELS[e : e + 2]) for e in range(6)], epochs=1, progress=False)
    np.testing.assert_allclose(other.params.flat, net.params.flat, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["cosine", "masks and lengths", "rows"])
def test_accumulated_batches_are_a_large_one(kind):
    make, data, options = TRAININGS[kind]
    if kind == "masks and lengths":
        make = lambda: nr.Network([nr.RNN(3), nr.Dense(1)], channels=1, seed=0, dtype="float64")  # noqa: E731
    net, other = make(), make()
    way = dict(epochs=2, shuffle=False, progress=False)
    net.fit(**lengths_of(data), **options, batch_size=12, **way)
    trainer = nr.Trainer(other, **options, accumulate=3)
    there = np.flatnonzero(data[2]) if len(data) > 2 else range(data[0].shape[1])
    trainer.fit(**lengths_of(data), batch_size=4, **way)
    assert trainer.step == 2 * -(-len(there) // 12)
    np.testing.assert_allclose(other.params.flat, net.params.flat, rtol=0, atol=1e-9)
    np.testing.assert_allclose(other.history.loss, net.history.loss, rtol=1e-9)
    assert other.history.rate == net.history.rate


def test_other_samples_may_follow():
    trainer = nr.Trainer(plain(), optimizer="sgd")
    trainer.fit(X, Y, epochs=1, progress=False)
    trainer.fit(X[:, :9], Y[:9], epochs=1, progress=False, validation=(X, Y))
    assert len(trainer.history.loss) == 2


def test_samples_are_taken_in_their_order_after_a_shuffled_epoch():
    trainer, by_hand = (nr.Trainer(plain(), optimizer=nr.SGD(0.05)) for _ in range(2))
    for each in (trainer, by_hand):
        each.fit(X, Y, epochs=1, batch_size=7, progress=False)
    trainer.fit(X, Y, epochs=2, batch_size=7, shuffle=False, progress=False)
    for _ in range(2):
        for first in range(0, X.shape[1], 7):
            by_hand.update(X[:, first : first + 7], Y[first : first + 7])
    assert np.array_equal(trainer.network.params.flat, by_hand.network.params.flat)


def test_a_trainer_whose_memory_is_spoilt_says_so():
    def steep(prediction, target):
        return 1.0, np.full_like(prediction, 1e200)

    net = plain()
    trainer = nr.Trainer(net, steep)
    with pytest.raises(nr.NonFiniteError, match="at update 1; the network has the last finite"):
        trainer.update(X, Y)
    before = net.params.flat.copy()
    for call in (lambda: trainer.update(X, Y), lambda: trainer.fit(X, Y, progress=False)):
        with pytest.raises(RuntimeError, match="^trainer: expected an optimizer whose memory is finite"):
            call()
    assert np.array_equal(net.params.flat, before) and np.isfinite(before).all()
    nr.Trainer(net).update(X, Y)


def test_a_trainer_is_not_copied():
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="^Trainer: it holds addresses of memory and cannot be copied or pickled"):
            call(nr.Trainer(plain()))


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda t: nr.Trainer(nr.GRU(3)), TypeError, "network: expected a Network or a Graph, got GRU"),
        (lambda t: nr.Trainer(plain(), epochs=0), ValueError, "epochs: expected a positive integer, got 0"),
        (lambda t: nr.Trainer(plain(), updates=1.5), TypeError, "updates: expected a positive integer, got 1.5"),
        (lambda t: nr.Trainer(plain(), accumulate=0), ValueError, "accumulate: expected a positive integer, got 0"),
        (lambda t: nr.Trainer(plain(), clip=0), ValueError, "clip: expected a number > 0 or None, got 0"),
        (lambda t: nr.Trainer(plain(), tape="some"), nr.UnknownNameError, "tape: unknown name 'some'"),
        (lambda t: t.fit(X), TypeError, "y: expected targets, or batches of"),
        (lambda t: t.fit(3), TypeError, "y: expected targets, or batches of"),
        (lambda t: t.fit(batches, lengths=LENGTHS), TypeError, "lengths: expected None beside batches"),
        (lambda t: t.fit([(X, Y), X], progress=False), TypeError, r"batches\[1\]: expected the pair \(x, y\)"),
        (lambda t: t.fit([(X, Y[:3])], progress=False), nr.ShapeError, r"batches\[0\] y: expected 40 samples"),
        (lambda t: t.fit([], progress=False), ValueError, "batches: expected batches for epoch 1, got none"),
        (lambda t: t.fit((b for b in batches()), progress=False), ValueError, "batches: expected batches for epoch 2"),
        (lambda t: t.fit(lambda epoch: 3, progress=False), TypeError, r"batches\(1\): expected an iterable"),
        (lambda t: t.fit(X, Y, epochs=0), ValueError, "epochs: expected a positive integer, got 0"),
        (lambda t: t.update(X, Y[:3]), nr.ShapeError, "y: expected 40 samples"),
        (
            lambda t: nr.Trainer(plain(), optimizer=nr.SGD(nr.cosine(0.1))).update(X, Y),
            ValueError, "updates: expected how many updates there will be in all",
        ),
        (
            lambda t: nr.Trainer(plain(), optimizer=nr.SGD(nr.warmup(nr.cosine(0.1), 3))).fit(batches, progress=False),
            ValueError, "updates: expected how many updates there will be in all",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make(nr.Trainer(plain()))


def test_a_rate_that_does_not_ask_needs_no_total():
    trainer = nr.Trainer(plain(), optimizer=nr.SGD(nr.warmup(nr.reduce_on_plateau(0.1), 3)))
    trainer.fit(batches, epochs=1, progress=False)
    trainer.update(X, Y)
    assert trainer.step == 7
