"""Samples held out for validation: drawn at random, or the last steps."""

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.training.losses import loss
from numbarnn.training.samples import Samples
from numbarnn.training.splits import held_out, split_seed

RANDOM = np.random.default_rng(0)
X, Y = nr.windows(np.sin(np.arange(45.0) / 4), 5)


def last(layout="tnc"):
    return nr.Network([nr.RNN(3), nr.Last(), nr.Dense(1)], channels=1, seed=0, dtype="float64", layout=layout)


def stepwise(layout="tnc"):
    return nr.Network([nr.RNN(3), nr.Dense(1)], channels=1, seed=0, dtype="float64", layout=layout)


def test_samples_are_drawn_once_and_for_all():
    net, other = last(), last()
    order = np.random.default_rng(split_seed(np.random.default_rng(5))).permutation(40)
    train, held = np.sort(order[:30]), np.sort(order[30:])
    history = net.fit(X, Y, epochs=3, seed=5, validation_split=0.25, progress=False)
    other.fit(X[:, train], Y[train], epochs=3, seed=5, validation=(X[:, held], Y[held]), progress=False)
    assert np.array_equal(net.params.flat, other.params.flat) and history.validation == other.history.validation
    trainer = nr.Trainer(last(), seed=5)
    for _ in range(3):  # the same ones each time
        trainer.fit(X, Y, epochs=1, validation_split=0.25, progress=False)
    assert np.array_equal(net.params.flat, trainer.network.params.flat)


def test_the_seed_draws_the_samples(tmp_path):
    def held(seed, fit=lambda net, **more: net.fit(X, Y, epochs=1, validation_split=0.25, progress=False, **more)):
        net = last()
        value = fit(net, seed=seed).validation[0]
        order = np.random.default_rng(split_seed(np.random.default_rng(seed))).permutation(40)
        assert value == net.loss(X[:, np.sort(order[30:])], Y[np.sort(order[30:])])
        return tuple(sorted(order[30:]))

    assert held(0) != held(1) and held(1) == held(1)
    random = np.random.default_rng(7)
    first = split_seed(random)
    random.random(5)
    assert split_seed(random) == first == split_seed(np.random.default_rng(7)) != split_seed(random.spawn(1)[0])
    trainer = nr.Trainer(last(), seed=3)
    trainer.fit(X, Y, epochs=1, validation_split=0.25, progress=False)
    trainer.save(tmp_path / "training")
    other = nr.Trainer.load(tmp_path / "training")
    histories = [each.fit(X, Y, epochs=2, validation_split=0.25, progress=False) for each in (trainer, other)]
    assert histories[0].validation == histories[1].validation and histories[0].loss == histories[1].loss


def test_the_last_samples_where_each_has_one_target():
    net, other = last(), last()
    net.fit(X, Y, epochs=2, validation_split=0.25, split_by="time", progress=False)
    other.fit(X[:, :30], Y[:30], epochs=2, validation=(X[:, 30:], Y[30:]), progress=False)
    assert np.array_equal(net.params.flat, other.params.flat) and net.history.validation == other.history.validation


@pytest.mark.parametrize("layout", ["tnc", "ntc", "ctn"])
def test_the_last_steps(layout):
    axes = ["tnc".index(letter) for letter in layout]
    x, y = RANDOM.standard_normal((2, 10, 6, 1))
    net, other = stepwise(layout), stepwise()
    net.fit(x.transpose(axes), y.transpose(axes), epochs=2, validation_split=0.3, split_by="time", progress=False)
    other.fit(x[:7], y[:7], epochs=2, validation=(x[7:], y[7:]), progress=False)
    np.testing.assert_allclose(net.params.flat, other.params.flat, rtol=1e-12)
    np.testing.assert_allclose(net.history.validation, other.history.validation, rtol=1e-12)


def test_the_last_steps_of_each_sequence():
    lengths = np.array([10, 4, 0, 7, 1, 10])
    x, y = RANDOM.standard_normal((2, 10, 6, 1))
    net = stepwise()
    padded = Samples.of(net, x, y, lengths, loss("mse"))
    ragged = Samples.of(
        net, *(nr.Ragged.of([a[:n, i] for i, n in enumerate(lengths)]) for a in (x, y)), None, loss("mse")
    )  # fmt: skip
    cuts = lengths - np.round(0.3 * lengths).astype(int)
    for part, begin, end in zip(range(2), (np.zeros(6, int), cuts), (cuts, lengths)):
        one, two = held_out(padded, 0.3, "time", 0)[part], held_out(ragged, 0.3, "time", 0)[part]
        assert np.array_equal(one.lengths_of_x, end - begin) and np.array_equal(two.lengths_of_x, end - begin)
        for i in range(6):
            for name, array in (("x", x), ("y", y)):
                right = array[begin[i] : end[i], i]
                assert np.array_equal(getattr(one, name).array[: end[i] - begin[i], i], right)
                assert np.array_equal(getattr(two, name).array[i], right)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(validation_split="some"), TypeError, "validation_split: expected a finite number, got 'some'"),
        (dict(validation_split=1.0), ValueError, "validation_split: expected a number between 0 and 1, got 1.0"),
        (dict(validation_split=0.001), ValueError, "validation_split: expected a part of the 40 samples that leaves some"),
        (dict(validation_split=0.1, split_by="step"), nr.UnknownNameError, "split_by: unknown name 'step'"),
        (dict(split_by="step"), nr.UnknownNameError, "split_by: unknown name 'step'"),
        (dict(split_by="time"), ValueError, "split_by: expected 'sample' without validation_split, got 'time'"),
        (dict(validation_split=0.1, validation=(X, Y)), ValueError, "validation_split: expected None beside validation"),
    ],
)
def test_bad_input_is_named(options, error, message):
    net = last()
    before = net.params.flat.copy()
    with pytest.raises(error, match=f"^{message}"):
        net.fit(X, Y, progress=False, **options)
    assert np.array_equal(net.params.flat, before) and net.history is None


def test_batches_of_one_s_own_have_no_part_to_hold_out():
    with pytest.raises(ValueError, match="^validation_split: expected None beside batches of your own, got 0.1"):
        nr.Trainer(last()).fit([(X, Y)], validation_split=0.1, progress=False)
