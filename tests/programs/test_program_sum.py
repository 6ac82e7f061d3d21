"""One unit learns to add; with tanh it cannot."""

import numpy as np
import pytest

import numbarnn as nr


def data(count=200, seed=0):
    random = np.random.default_rng(seed)
    x = nr.Ragged.of([random.integers(1, 11, (random.integers(2, 8), 1)).astype(np.float32) for _ in range(count)])
    return x, np.array([sequence.sum(axis=0) for sequence in x])


def trained(activation, seed):
    net = nr.Network([nr.RNN(1, activation), nr.Last()], channels=1, seed=seed)
    x, y = data(seed=seed)
    way = dict(loss="mae", optimizer=nr.Adam(nr.cosine(0.01)), epochs=40, batch_size=1, seed=seed, progress=False)
    return net, net.fit(x, y, **way)


def test_error(net, seed):
    """Summed over the sequences, their numbers doubled."""
    x, y = data(seed=seed)
    return float(np.abs(net.predict(nr.Ragged(2 * x.data, x.offsets)) - 2 * y).sum())


test_error.__test__ = False


@pytest.mark.parametrize("seed", [0, 1])
def test_it_adds(seed):
    net, _ = trained("identity", seed)
    assert test_error(net, seed) < 44.4 * 200 / 1000  # Flux's program ends there, with 1,000 sequences
    for question, answer in (((1, 2, 3), 6.0), ((1, -2, 30), 29.0)):
        asked = np.array(question, np.float32)[:, None]
        assert abs(net.predict(asked)[0] - answer) < 0.05


def test_tanh_saturates():
    net, history = trained("tanh", 0)
    x, y = data()
    assert test_error(net, 0) == pytest.approx((2 * y - 1).sum(), rel=1e-3)  # all answers are 1
    assert history.loss[-1] == pytest.approx((y - 1).mean(), rel=1e-3)
    states, _ = net.layers[0](net.split(net.params.flat)[0], x[0])
    assert (states > 0.99).all()
    _, gradient = net.loss_and_gradient(net.params.flat, x, y, loss="mae")
    assert np.abs(gradient).max() < 1e-3
