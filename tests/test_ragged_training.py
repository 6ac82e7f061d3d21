"""Training on batches whose lengths differ: memory that is made once gives the bits of memory that is made anew."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.layers.operations import NotInPrograms
from numbarnn.networks import objective
from numbarnn.training.workspace import Workspaces

CHANNELS, CLASSES = 3, 4


def trained(monkeypatch, make, samples, anew, **options):
    """(parameters, losses, how many workspaces followed) of a training, with memory that is made anew or not."""
    made, kind = [], objective.RaggedWorkspace

    def workspace(*arguments):
        if anew:
            raise NotInPrograms
        made.append(kind(*arguments))
        return made[-1]

    net = make()
    with monkeypatch.context() as patch:
        patch.setattr(objective, "RaggedWorkspace", workspace)
        history = net.fit(*samples, epochs=2, batch_size=4, seed=0, progress=False, **options)
    return net.params.flat.copy(), history.loss, len(made)


def check(monkeypatch, make, samples, sizes=2, **options):
    found, losses, made = trained(monkeypatch, make, samples, False, **options)
    expected, anew, _ = trained(monkeypatch, make, samples, True, **options)
    assert made == sizes  # one for whole batches, one for what is left
    assert np.array_equal(found, expected)
    assert losses == anew
    assert not np.array_equal(found, make().params.flat)


def sequences(random, lengths, make):
    return nr.Ragged.of([make(random, length) for length in lengths])


def numbers(channels, dtype):
    return lambda random, steps: random.standard_normal((steps, channels)).astype(dtype)


@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_bits(data):
    """Of cells of one state and of two, stacked, in two directions, after an embedding, with and without `Last`."""
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    lengths = 1 + random.permutation(12)[:10]  # no batch of equal lengths
    cell = data.draw(st.sampled_from([nr.GRU, nr.LSTM]))
    looked_up, last = data.draw(st.booleans()), data.draw(st.booleans())
    layers, bidirectional = data.draw(st.integers(1, 2)), data.draw(st.booleans())
    dtype = data.draw(st.sampled_from(["float32", "float64"]))

    def make():
        parts = [
            *([nr.Embedding(5, CHANNELS)] if looked_up else []),
            cell(5, layers=layers, bidirectional=bidirectional),
            *([nr.Last()] if last else []),
            nr.Dense(1),
        ]
        return nr.Network(parts, channels=1 if looked_up else CHANNELS, dtype=dtype, seed=1)

    indices = lambda random, steps: random.integers(0, 5, steps)  # noqa: E731
    x = sequences(random, lengths, indices if looked_up else numbers(CHANNELS, dtype))
    y = random.standard_normal((len(lengths), 1)).astype(dtype) if last else sequences(random, lengths, numbers(1, dtype))
    with pytest.MonkeyPatch.context() as patch:
        check(patch, make, (x, y))


LENGTHS = np.array([2, 5, 1, 3, 4, 6, 8, 7, 10, 9])


def classifier():
    return nr.Network([nr.GRU(5), nr.Last(), nr.Dense(CLASSES)], channels=CHANNELS, seed=0)


def test_labels_weights_and_padding(monkeypatch):
    """Also of padded samples, whose padding is not read, with labels, weights, and a limit of the gradient."""
    random = np.random.default_rng(0)
    x = random.standard_normal((10, len(LENGTHS), CHANNELS)).astype(np.float32)
    x[np.arange(10)[:, None] >= LENGTHS] = 1e30
    samples = x, random.integers(0, CLASSES, len(LENGTHS))
    options = {"lengths": LENGTHS, "weights": random.uniform(0.5, 2, len(LENGTHS)), "loss": "cross_entropy", "clip": 0.1}
    check(monkeypatch, classifier, samples, **options)


def test_own_loss(monkeypatch):
    random = np.random.default_rng(0)
    make = lambda: nr.Network([nr.RNN(5), nr.Dense(1)], channels=CHANNELS, seed=0)  # noqa: E731
    samples = [sequences(random, LENGTHS, numbers(channels, np.float32)) for channels in (CHANNELS, 1)]

    def loss(prediction, target):
        return float(np.abs(prediction - target).mean()), np.sign(prediction - target) / prediction.size

    check(monkeypatch, make, samples, loss=loss)


@pytest.mark.parametrize(
    "layers",
    [
        [nr.GRU(5, dropout=0.5, layers=2), nr.Last(), nr.Dense(1)],
        [nr.GRU(5), nr.Activation("tanh"), nr.Last(), nr.Dense(1)],
        [nr.GRU(5, learned_state=True), nr.Last(), nr.Dense(1)],
        [nr.GRU(5, bidirectional=True, merge="sum"), nr.Dense(1), nr.LastStep()],
    ],
    ids=["dropout", "activation", "learned state", "merged"],
)
def test_made_anew(monkeypatch, layers):
    """What cannot follow from batch to batch is trained all the same."""
    random = np.random.default_rng(0)
    x = sequences(random, LENGTHS, numbers(CHANNELS, np.float32))
    samples = x, random.standard_normal((len(LENGTHS), 1)).astype(np.float32)
    check(monkeypatch, lambda: nr.Network(layers, channels=CHANNELS, seed=0), samples, sizes=0)


def test_empty_sequence(monkeypatch):
    """A batch with a sequence of no step is made anew, the others follow."""
    random, lengths = np.random.default_rng(0), np.where(np.arange(8) == 2, 0, LENGTHS[:8])
    x = sequences(random, lengths, numbers(CHANNELS, np.float32))
    samples = x, random.integers(0, CLASSES, len(lengths))
    check(monkeypatch, classifier, samples, sizes=1, shuffle=False, loss="cross_entropy")


def test_batches_of_a_trainer(monkeypatch):
    """Batches that have longest sequences of their own share a room; what is met once is made anew."""
    random, made, kind, x, found = np.random.default_rng(0), [], objective.RaggedWorkspace, {}, []
    for longest in (9, 12, 10, 11, 30):
        lengths = [longest, 2, 3]
        x[longest] = sequences(random, lengths, numbers(CHANNELS, np.float32)), random.integers(0, CLASSES, 3)
    for anew in (False, True):
        with monkeypatch.context() as patch:
            if anew:
                patch.setattr(Workspaces, "_follower", lambda *arguments: None)
            else:
                patch.setattr(objective, "RaggedWorkspace", lambda *arguments: made.append(kind(*arguments)) or made[-1])
            trainer = nr.Trainer(classifier(), loss="cross_entropy")
            for longest in (9, 12, 30, 10, 11, 9):
                trainer.update(*x[longest])
            found.append(trainer.network.params.flat)
    assert len(made) == 1
    assert np.array_equal(*found)


def test_there_is_no_room_for_a_very_long_sequence_among_others():
    net = classifier()
    parts = net.split(net.params.flat)
    with pytest.raises(NotInPrograms, match="much to hold"):
        objective.RaggedWorkspace(net, parts, parts, None, 10**12, 4)


def test_threads(monkeypatch):
    random, found = np.random.default_rng(0), []
    x = sequences(random, LENGTHS, numbers(CHANNELS, np.float32))
    samples = x, random.integers(0, CLASSES, len(LENGTHS))
    for count in (1, numba.get_num_threads()):
        numba.set_num_threads(count)
        found.append(trained(monkeypatch, classifier, samples, False, loss="cross_entropy")[0])
    assert np.array_equal(*found)
