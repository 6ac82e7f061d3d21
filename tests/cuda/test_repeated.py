"""What a training and a stream launch again and again: noted once, with the bits of what is worked out each time."""

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.cuda import asarray, launches, losses, repeated, zeros
from numbarnn.cuda.device import cuda, kernel
from numbarnn.training import workspace


@kernel
def add_to_all(number, x):
    """Add a number to all of x."""
    for i in range(cuda.grid(1), len(x), cuda.gridsize(1)):
        x[i] += number


@pytest.fixture
def repetitions(monkeypatch):
    """A list that grows by 1 with each recording that is run again."""
    found, run = [], launches.Recording.run
    monkeypatch.setattr(launches.Recording, "run", lambda self: (found.append(1), run(self)))
    return found


def test_launches_are_made_again_with_their_arguments():
    x, y = zeros((3,), "float64"), zeros((2,), "float64")
    with launches.recorded() as recording:
        launches.launch(add_to_all, (1, 2), np.float64(1), x)
        launches.launch(add_to_all, (1, 2), np.float64(10), y)
        launches.launch(add_to_all, (1, 2), np.float64(100), x)
        launches.add_to_recording(x.__iadd__, 1000)
    launches.launch(add_to_all, (1, 2), np.float64(5), x)  # behind it, by the same kernel: not in the recording
    assert x.get().tolist() == [106] * 3 and y.get().tolist() == [10] * 2
    recording.run()
    assert x.get().tolist() == [106 + 1101] * 3 and y.get().tolist() == [20] * 2


LAYERS = {
    "stacked": (nr.GRU(3, layers=2), nr.LSTM(2, bidirectional=True), nr.Last(), nr.Dense(3, "relu"), nr.Dense(1)),
    "projected": (nr.LSTM(4, projection=2), nr.Dense(1)),
    "gated": (nr.GRU(3, reset="before"), nr.Dropout(0.5), nr.Dense(1)),
    "learned": (nr.RNN(3, learned_state=True), nr.IndRNN(2), nr.Dense(1)),
}


def trained(layers, most, monkeypatch, last):
    monkeypatch.setattr(repeated, "MOST_BYTES", most)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((2, 4, 1)), random.standard_normal((4, 1) if last else (2, 4, 1))
    network = nr.Network(layers, channels=1, dtype="float64", device="cuda")
    history = network.fit(x, y, epochs=3, batch_size=2, progress=False)
    return np.array(history.loss), network.params.flat.get()


@pytest.mark.parametrize("name", LAYERS)
def test_a_training_that_repeats_its_launches_has_the_same_bits(name, monkeypatch, repetitions):
    expected = trained(LAYERS[name], 0, monkeypatch, name == "stacked")
    assert not repetitions
    found = trained(LAYERS[name], 1 << 26, monkeypatch, name == "stacked")
    assert len(repetitions) >= 8
    for a, b in zip(found, expected):
        assert a.tobytes() == b.tobytes()


def test_a_stream_that_repeats_its_launches_has_the_same_bits(repetitions):
    network = nr.Network([nr.LSTM(3), nr.GRU(2), nr.Dense(1)], channels=2, dtype="float64", device="cuda")
    x = np.random.default_rng(1).standard_normal((5, 2))
    stream = network.stream()
    found = [stream.step(asarray(x[t : t + 1])).get() for t in range(len(x))]
    assert len(repetitions) >= 9
    y, _ = network(asarray(x[:, None]))
    assert np.concatenate(found).tobytes() == y.get()[:, 0].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_squares_that_are_compared_in_place_have_the_bits_of_the_loss(dtype):
    prediction, target = (asarray(each.astype(dtype)) for each in np.random.default_rng(0).standard_normal((2, 3, 4)))
    for loss in (nr.MSE(), nr.HalfMSE()):
        dy = zeros((3, 4), dtype)
        squares = losses.Squares(prediction, target, dy, loss.factor)
        for _ in range(3):
            target += 1
            squares.fill()
            value, expected = loss(prediction, target)
            assert squares.mean() == value and dy.get().tobytes() == expected.get().tobytes()
        assert squares.is_of(target, loss.factor) and not squares.is_of(prediction, loss.factor)


def test_squares_that_float32_cannot_hold_are_taken_again(monkeypatch):
    x, y = np.zeros((4, 2, 1), np.float32), np.full((2, 1), 1e25, np.float32)
    found = []
    for _ in range(2):
        network = nr.Network([nr.RNN(2), nr.Last(), nr.Dense(1)], channels=1, device="cuda", seed=0)
        trainer = nr.Trainer(network, optimizer=nr.SGD(1e-26))
        found.append((trainer.fit(x, y, epochs=4, batch_size=1, progress=False).loss, network.params.flat.get().tobytes()))
        monkeypatch.setattr(workspace, "is_of_squares", lambda loss: False)
    assert found[0] == found[1] and found[0][0][-1] > 1e49


def test_a_loss_that_is_not_finite_is_said_where_all_is_taken_together():
    x, y = np.random.default_rng(0).standard_normal((2, 4, 2, 1))
    network = nr.Network([nr.RNN(2), nr.Dense(1)], channels=1, dtype="float64", device="cuda", seed=0)
    trainer = nr.Trainer(network, optimizer=nr.SGD(0.1))
    trainer.fit(x, y, epochs=3, batch_size=1, progress=False)
    with pytest.raises(nr.NonFiniteError, match=r"^loss: expected a finite number, got inf at epoch 4, batch 1"):
        trainer.fit(x, 1e200 * y, epochs=1, batch_size=1, progress=False)
    assert np.isfinite(network.params.flat.get()).all()
