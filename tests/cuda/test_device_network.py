"""Networks on the device: trained to the CPU's numbers, from NumPy arrays or from arrays of their own."""

import numpy as np
import pytest
from device_layer import to_device, to_host

import numbarnn as nr
from numbarnn.arrays.descriptor import is_on_device

LENGTHS = np.array([1, 2, 3, 0, 3, 2])


def samples(steps=3, batch=6, channels=1, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((steps, batch, channels)), random.standard_normal((batch, 1))


def pair(*layers, channels=1, **options):
    """The same network on both devices."""
    options = {"channels": channels, "seed": 0, "dtype": "float64"} | options
    return [nr.Network(layers, device=device, **options) for device in ("cpu", "cuda")]


def assert_same_training(cpu, cuda, x, y, **options):
    options = {"epochs": 2, "batch_size": 4, "progress": False} | options
    histories = [network.fit(x, y, **options) for network in (cpu, cuda)]
    np.testing.assert_allclose(histories[1].loss, histories[0].loss, rtol=1e-10)
    np.testing.assert_allclose(histories[1].validation, histories[0].validation, rtol=1e-10)
    np.testing.assert_allclose(to_host(cuda.params).flat, cpu.params.flat, rtol=0, atol=1e-10)


@pytest.mark.parametrize("optimizer", [nr.Adam(0.01), nr.AdamW(0.01), nr.SGD(0.01, 0.9), nr.RMSProp(0.01)], ids=repr)
def test_training(optimizer):
    x, y = samples()
    cpu, cuda = pair(nr.GRU(3), nr.Last(), nr.Dense(2, "relu"), nr.Dense(1))
    assert_same_training(cpu, cuda, x, y, optimizer=optimizer, clip=1.0, validation=(x, y))
    assert is_on_device(cuda.params.flat)
    assert isinstance(cuda.predict(x), np.ndarray) and is_on_device(cuda.predict(to_device(x)))
    np.testing.assert_allclose(cuda.predict(x), cpu.predict(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["mse", "half_mse", "mae", "huber", "binary_cross_entropy"])
def test_losses(loss):
    x, y = samples()
    y = np.abs(np.sin(y))
    cpu, cuda = pair(nr.RNN(2), nr.Last(), nr.Dense(1))
    assert cuda.loss(x, y, loss) == pytest.approx(cpu.loss(x, y, loss), rel=1e-12)
    value, gradient = cpu.loss_and_gradient(cpu.params.flat, x, y, loss)
    found, of_device = cuda.loss_and_gradient(cpu.params.flat, x, y, loss)
    assert found == pytest.approx(value, rel=1e-12) and isinstance(of_device, np.ndarray)
    np.testing.assert_allclose(of_device, gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        nr.Quantile((0.2, 0.7), missing="nan"), nr.GaussianNLL(full=True, missing="nan"), nr.MSE(missing="nan"),
        nr.PoissonNLL(full=True, missing="nan"), nr.NashSutcliffe(missing="nan"), nr.NashSutcliffe(2.0, missing="nan"),
    ],
    ids=repr,
)  # fmt: skip
def test_weights_and_gaps(loss):
    x, _ = samples()
    y = np.abs(np.cos(2 * x))
    y[1, 2:4] = np.nan
    weights = np.array([[1.0, 0, 2, 1, 1, 3], [1, 1, 1, 1, 0, 1], [2, 1, 1, 1, 1, 1]])
    channels = 2 if isinstance(loss, (nr.Quantile, nr.GaussianNLL)) else 1
    cpu, cuda = pair(nr.RNN(2), nr.Dense(channels))
    for lengths in (None, LENGTHS):
        value, gradient = cpu.loss_and_gradient(cpu.params.flat, x, y, loss, lengths, weights)
        found, of_device = cuda.loss_and_gradient(cpu.params.flat, x, y, loss, lengths, weights)
        assert found == pytest.approx(value, rel=1e-12) == cuda.loss(x, y, loss, lengths, weights)
        np.testing.assert_allclose(of_device, gradient, rtol=0, atol=1e-12)
    assert_same_training(cpu, cuda, x, y, loss=loss, weights=weights, batch_size=6, epochs=1)


def test_weights_of_classes_and_smoothed_labels():
    x, _ = samples()
    y = np.random.default_rng(1).integers(0, 3, (3, 6))
    loss = nr.CrossEntropy(ignore_index=7, class_weights=(1, 0, 2.5), smoothing=0.2)
    y[0, 0], weights = 7, np.array([1, 2, 0, 1, 1, 0.5])
    cpu, cuda = pair(nr.RNN(2), nr.Dense(3))
    assert_same_training(cpu, cuda, x, y, loss=loss, weights=weights, lengths=LENGTHS, epochs=1)
    rows = np.array([[-np.inf, 1, 1], [np.inf, 0, 3], [np.inf, np.inf, -np.inf], [0.5, -np.inf, 2]])
    for row, label in zip(rows, [1, 0, 1, 2]):
        row, label = np.stack([row, np.zeros(3)]), np.array([label, 0])
        value, gradient = loss(row, label)
        found, of_device = loss(to_device(row), label)
        assert found == pytest.approx(value, rel=1e-12, nan_ok=True)
        if np.isfinite(value):
            np.testing.assert_allclose(to_host(of_device), gradient, rtol=0, atol=1e-12)


def test_ragged_samples_and_dropout():
    x, _ = samples()
    cpu, cuda = pair(nr.GRU(3, dropout=0.3, layers=2), nr.Dropout(0.5), nr.Dense(1))
    assert_same_training(cpu, cuda, x, np.cos(x), lengths=LENGTHS)
    ragged = nr.Ragged.of([x[:length, n] for n, length in enumerate(LENGTHS)])
    assert_same_training(cpu, cuda, ragged, nr.Ragged(np.cos(ragged.data), ragged.offsets), epochs=1)
    np.testing.assert_allclose(cuda.predict(ragged).data, cpu.predict(ragged).data, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"tape": "states"}, {"lengths": [5, 2]}], ids=str)
def test_states_that_are_carried(options, tmp_path):
    """From piece to piece, through the file of a checkpoint, and in updates of one's own."""
    x, _ = samples(5, 2)
    layers = nr.LSTM(2, learned_state=True), nr.GRU(2), nr.Dense(1)
    way = {"epochs": 1, "batch_size": 2, "carry": True, "steps": 2, **options}
    cpu, cuda = pair(*layers)
    assert_same_training(cpu, cuda, x, np.cos(x), **way)
    if "lengths" in options:
        check_updates_that_carry(pair(*layers), x)
    if "tape" in options:
        check_carried_states_in_a_file(pair(*layers)[1], cpu.params.flat, x, way, tmp_path / "training")


def check_updates_that_carry(networks, x):
    """Updates of one's own carry the same states on both devices."""
    trainers, states = [nr.Trainer(network) for network in networks], [None, None]
    for first in (0, 2):
        for index, trainer in enumerate(trainers):
            piece = x[first : first + 2]
            _, states[index] = trainer.update(piece, np.cos(piece), state=states[index])
    for mine, theirs in zip((*states[0][0], states[0][1]), (*states[1][0], states[1][1])):
        assert isinstance(theirs, np.ndarray)
        np.testing.assert_allclose(theirs, mine, rtol=0, atol=1e-10)


def check_carried_states_in_a_file(network, expected, x, way, file):
    """Training that is stopped while it carries states goes on with the states of its checkpoint."""
    seen, tape = [], way.pop("tape")

    class Stop(nr.Callback):
        def batch(self, network, loss):
            seen.append(loss)
            if len(seen) == 2:
                raise KeyboardInterrupt

    trainer = nr.Trainer(network, tape=tape)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(x, np.cos(x), **way, callbacks=[Stop(), nr.Checkpoint(file, 1, "update")], progress=False)
    resumed = nr.Trainer.load(file, device="cuda")
    resumed.fit(x, np.cos(x), **way, progress=False)
    np.testing.assert_allclose(to_host(resumed.network.params).flat, expected, rtol=0, atol=1e-10)


def test_infinite_logits():
    inf = np.inf
    rows = np.array([[-inf, 1, 1], [inf, 0, 3], [inf, 0, 3], [inf, inf, -inf], [-inf, 0, 1], [np.nan, inf, 0], [inf, 0, 0]])
    labels = np.array([1, 0, 1, 1, 0, 1, 7])
    for row, label in zip(rows, labels):
        row, label = np.stack([row, np.zeros(3)]), np.array([label, 0])
        value, gradient = nr.CrossEntropy(ignore_index=7)(row, label)
        found, of_device = nr.CrossEntropy(ignore_index=7)(to_device(row), label)
        assert found == pytest.approx(value, rel=1e-12, nan_ok=True)
        if np.isfinite(value):
            np.testing.assert_allclose(to_host(of_device), gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_indices_and_labels(lengths):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 5, (3, 6)), random.integers(0, 3, 6)
    cpu, cuda = pair(nr.Embedding(5, 2), nr.GRU(3), nr.Last(), nr.Dense(3), channels=None)
    assert_same_training(cpu, cuda, x, y, loss="cross_entropy", lengths=lengths, optimizer=nr.SGD(0.1))
    labels = nr.CrossEntropy(ignore_index=2)
    assert cuda.loss(x, y, labels) == pytest.approx(cpu.loss(x, y, labels), rel=1e-12)


@pytest.mark.parametrize("merge", ["concat", "average", "product"])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_final_outputs_of_two_directions(lengths, merge):
    x, y = samples()
    cpu, cuda = pair(nr.GRU(2, bidirectional=True, merge=merge), nr.Last(), nr.Dense(1))
    np.testing.assert_allclose(cuda.predict(x, lengths), cpu.predict(x, lengths), rtol=0, atol=1e-12)
    value, gradient = cpu.loss_and_gradient(cpu.params.flat, x, y, lengths=lengths)
    found, of_device = cuda.loss_and_gradient(cpu.params.flat, x, y, lengths=lengths)
    assert found == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(of_device, gradient, rtol=0, atol=1e-12)


def test_there_and_back():
    x, _ = samples()
    cpu, _ = pair(nr.LSTM(2), nr.Last())
    cuda = cpu.to("cuda")
    assert cuda.device == "cuda" and cpu.device == "cpu" and cpu.to("cpu") is cpu
    back = cuda.to("cpu")
    assert np.array_equal(back.params.flat, cpu.params.flat) and back.params.flat is not cpu.params.flat
    assert np.array_equal(cuda.transfer(cpu).predict(x), cuda.predict(x))


def test_streams():
    x, _ = samples()
    cpu, cuda = pair(nr.LSTM(2, layers=2), nr.GRU(2, learned_state=True), nr.Last(), nr.Dense(1))
    for network in (cpu, cuda):
        network.params["1.initial_h_l0"][...] = 0.5
    streams = [network.stream(batch=6) for network in (cpu, cuda)]
    for x_t in x:
        steps = [stream.step(x_t) for stream in streams]
        np.testing.assert_allclose(steps[1], steps[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(steps[1], cuda.predict(x), rtol=0, atol=1e-12)
    for stream in streams:
        stream.reset([True, False] * 3)
    np.testing.assert_allclose(streams[1].step(x[0]), streams[0].step(x[0]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(streams[1].step(x[1])[::2], cuda.predict(x[:2])[::2], rtol=0, atol=1e-12)


def test_a_stream_on_the_device_reads_no_parameter_late():
    layer = nr.LSTM(2, learned_state=True, peepholes=True)
    p, (x, _) = layer.init(1, seed=0, dtype="float64"), samples()
    p.flat[:] = np.random.default_rng(1).standard_normal(len(p))
    expected, p = layer(p, x)[0], p.to("cuda")
    stream = layer.stream(p, 6)
    p.flat[:] = np.nan
    np.testing.assert_allclose(to_host(stream.run(to_device(x))), expected, rtol=0, atol=1e-12)
    stream.reset()
    np.testing.assert_allclose(to_host(stream.step(to_device(x[0]))), expected[0], rtol=0, atol=1e-12)


def test_the_wrong_device_is_named_and_nothing_changes():
    x, y = samples()
    cpu, cuda = pair(nr.GRU(2), nr.Last(), nr.Dense(1))
    before = to_host(cuda.params).flat.copy()
    layer, p = nr.GRU(2), nr.GRU(2).init(1, dtype="float64")
    for call, message in (
        (lambda: cpu.predict(to_device(x)), "x: expected an array on device 'cpu'"),
        (lambda: layer(p.to("cuda"), x), "x: expected an array on device 'cuda'"),
        (lambda: layer(p, to_device(x)), "x: expected an array on device 'cpu'"),
        (lambda: layer(p.to("cuda"), to_device(x), np.zeros((1, 6, 2))), "state: expected an array on device 'cuda'"),
        (lambda: layer.init(1, device="tpu"), "device: expected 'cpu' or 'cuda', got 'tpu'"),
    ):
        with pytest.raises(nr.DeviceError, match=message):
            call()
    with pytest.raises(NotImplementedError, match="checkpoints: expected None on device 'cuda'"):
        cuda.fit(x, y, checkpoints=2, progress=False)
    with pytest.raises(NotImplementedError, match="checkpoints: expected None on device 'cuda'"):
        layer.forward(p.to("cuda"), to_device(x), checkpoints="sqrt")
    assert np.array_equal(to_host(cuda.params).flat, before)


def test_a_loss_that_is_not_finite_leaves_the_last_finite_parameters():
    x, y = samples()
    _, cuda = pair(nr.RNN(2, "relu"), nr.Last(), nr.Dense(1))
    with pytest.raises(nr.NonFiniteError, match="the network has the last finite parameters"):
        cuda.fit(x * 1e150, y, epochs=3, optimizer=nr.SGD(1e200), progress=False)
    assert np.isfinite(to_host(cuda.params).flat).all()


@pytest.mark.parametrize("shards", [1, None])
def test_a_training_that_is_shared_is_not_loaded_onto_a_device(shards, tmp_path):
    trainer = nr.Trainer(nr.Network([nr.RNN(2), nr.Dense(1)], channels=1, seed=0), shards=1)
    trainer._course.shards = shards  # None as of several ranks that let MPI sum
    trainer.save(tmp_path / "shared")
    with pytest.raises(nr.DeviceError, match="^device: expected 'cpu' for a training that ranks or shards share"):
        nr.Trainer.load(tmp_path / "shared", device="cuda")
