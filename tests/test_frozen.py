"""Frozen parameters keep their bits, and the others are trained as if these were constants."""

import numpy as np
import pytest

import numbarnn as nr

RANDOM = np.random.default_rng(0)
X, Y = nr.windows(np.sin(np.arange(45.0) / 4), 5)
WORDS, LABELS = RANDOM.integers(0, 9, (4, 23)), RANDOM.integers(0, 3, 23)


def plain(dtype="float64"):
    net = nr.Network([nr.GRU(3), nr.Last(), nr.Dense(4, "tanh"), nr.Dense(1)], channels=1, seed=0, dtype=dtype)
    net.params.flat[:4] = [-0.0, 1e-40, 0.0, -1e-320]
    return net


def reader():
    return nr.Network([nr.Embedding(9, 2), nr.RNN(3), nr.Last(), nr.Dense(3)], dtype="float64", seed=0)


class Own(nr.Optimizer):
    """Moves all parameters, whatever their gradient."""

    rate = 0.01

    def update(self, flat, previous, gradient, memory, step, rate, scale=1.0):
        flat -= rate * (gradient + 1)


OPTIMIZERS = [
    nr.SGD(0.1, 0.9, True), nr.RMSProp(), nr.Adam(0.05), nr.AdamW(0.05, decay=2.0, decays="all"), nr.RAdam(0.05),
    nr.Nadam(0.05), Own(),
]  # fmt: skip


def bits(net, patterns):
    return {name: view.tobytes() for name, view in net.params.items() if name.startswith(patterns)}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_frozen_parameters_keep_their_bits(optimizer, accumulate):
    for make, data, loss in ((plain, (X, Y), "mse"), (reader, (WORDS, LABELS), "cross_entropy")):
        net = make()
        before, last = bits(net, ("0.", "2.weight")), net.params[net.params.names[-1]].copy()
        trainer = nr.Trainer(
            net, loss, optimizer, clip=0.5, accumulate=accumulate, frozen=["0.*", *(["2.weight"] if make is plain else [])]
        )
        trainer.fit(*data, epochs=3, batch_size=5, progress=False)
        trainer.update(*data)
        after = bits(net, ("0.", "2.weight"))
        assert after == before
        assert not np.array_equal(net.params[net.params.names[-1]], last)


def test_frozen_parameters_are_constants():
    """Training the last layer alone is training it on what the others put out; the norm is its own."""
    net = plain()
    features = nr.Network(net.layers[:3], channels=1, dtype="float64")
    features.params.flat[:] = net.params.flat[: len(features.params)]
    head = nr.Network(net.layers[3:], channels=4, dtype="float64", seed=0)
    head.params.flat[:] = net.params.flat[len(features.params) :]
    way = dict(optimizer=nr.Adam(0.05), clip=0.1, epochs=5, seed=2, progress=False)
    history = net.fit(X, Y, frozen=["0.*", "2.*"], **way)
    expected = head.fit(features.predict(X), Y, **way)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-12)
    np.testing.assert_allclose(net.params.flat[len(features.params) :], head.params.flat, rtol=1e-10)


def test_a_part_that_is_trained_later():
    net = plain()
    net.fit(X, Y, frozen=["0.*"], epochs=2, progress=False)
    before = net.params["0.weight_hh_l0"].copy()
    net.fit(X, Y, epochs=1, progress=False)
    assert not np.array_equal(net.params["0.weight_hh_l0"], before)


@pytest.mark.parametrize(
    "frozen, error, message",
    [
        (["9.*"], nr.UnknownNameError, r"frozen: unknown name '9\.\*', expected one of"),
        (["0.weigth_hh_l0"], nr.UnknownNameError, "frozen: .*did you mean '0.weight_hh_l0'"),
        ("0.*", TypeError, "frozen: expected names of parameters and patterns in a sequence"),
        (3, TypeError, "frozen: expected names of parameters and patterns in a sequence"),
        ([3], TypeError, "frozen: expected names of parameters and patterns in a sequence, got 3"),
        (["*"], ValueError, "frozen: expected parameters to be left that are trained, got all 8 frozen"),
    ],
)
def test_bad_input_is_named(frozen, error, message):
    net = plain()
    before = net.params.flat.tobytes()
    with pytest.raises(error, match=f"^{message}"):
        net.fit(X, Y, frozen=frozen, progress=False)
    with pytest.raises(error, match=f"^{message}"):
        nr.Trainer(net, frozen=frozen)
    assert net.params.flat.tobytes() == before and net.history is None


@pytest.mark.parametrize("optimizer", [nr.AdamW(0.05, decay=1.0), nr.SGD(0.05, 0.9)], ids=lambda o: type(o).__name__)
def test_a_saved_training_goes_on_frozen(optimizer, tmp_path):
    one = nr.Trainer(reader(), "cross_entropy", optimizer, frozen=["0.*", "1.bias*"], seed=2)
    before = bits(one.network, ("0.", "1.bias"))
    one.fit(WORDS, LABELS, epochs=2, batch_size=4, progress=False)
    one.save(tmp_path / "training")
    two = nr.Trainer.load(tmp_path / "training")
    for each in (one, two):
        each.fit(WORDS, LABELS, epochs=2, batch_size=4, progress=False)
    assert np.array_equal(one.network.params.flat, two.network.params.flat)
    assert bits(two.network, ("0.", "1.bias")) == before
