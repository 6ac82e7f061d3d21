"""A network as a function, its probabilities and pooling on the device: the CPU's numbers, and arrays where x lies."""

import numpy as np
import pytest
from device_layer import to_device, to_host

import numbarnn as nr
from numbarnn.arrays.descriptor import is_on_device

T, N, C = 3, 3, 2
LENGTHS = np.array([3, 0, 2])


def numbers(shape=(T, N, C), seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def pair(*layers):
    return [nr.Network(layers, C, "float64", device=device, seed=0) for device in ("cpu", "cuda")]


def close(found, expected):
    np.testing.assert_allclose(to_host(found) if is_on_device(found) else found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["mean", "max"])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_function(kind, lengths):
    cpu, cuda = pair(nr.RNN(2), nr.Pool(kind), nr.Dense(2))
    x, state, dstate = numbers(), (numbers((1, N, 2), 1),), (numbers((1, N, 2), 2),)
    y, final, tape = cpu.forward(x, state, lengths)
    dy = numbers(y.shape, 3)
    expected = cpu.backward(tape, dy, dstate)
    for on, there in ((np.asarray, False), (to_device, True)):
        found, last, tape = cuda.forward(on(x), tuple(map(on, state)), lengths)
        g = cuda.backward(tape, on(dy), tuple(map(on, dstate)))
        for array, known in ((found, y), (last[0], final[0]), (g.x, expected.x), (g.state[0], expected.state[0])):
            close(array, known)
            assert is_on_device(array) == there
        close(g.params.flat, expected.params.flat)


def test_predictions():
    cpu, cuda = pair(nr.RNN(2, recurrent_dropout=0.3), nr.Dropout(0.2), nr.Dense(3))
    x = numbers()
    close(cuda.predict(x, LENGTHS, seed=3), cpu.predict(x, LENGTHS, seed=3))
    close(cuda.predict_many(to_device(x), [1, 2]).mean, cpu.predict_many(x, [1, 2]).mean)
    close(cuda.states(x, lengths=LENGTHS), cpu.states(x, lengths=LENGTHS))
    for loss in ("cross_entropy", "binary_cross_entropy"):
        close(cuda.probabilities(x, LENGTHS, loss=loss), cpu.probabilities(x, LENGTHS, loss=loss))


def test_training_with_resets():
    cpu, cuda = pair(nr.RNN(2), nr.Dense(1))
    x, y, reset = numbers(), numbers((T, N, 1), 1), np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], bool)
    histories = [net.fit(x, y, reset=reset, epochs=1, batch_size=2, progress=False) for net in (cpu, cuda)]
    np.testing.assert_allclose(histories[1].loss, histories[0].loss, rtol=1e-10)
    close(cuda.params.flat, cpu.params.flat)
