"""A curve, predicted and continued."""

import numpy as np
import pytest

import numbarnn as nr

STEPS = np.arange(260)
CURVES = {"sin x": np.sin(STEPS), "sin x cos x": np.sin(STEPS) * np.cos(STEPS)}


def trained(curve, rate, epochs):
    layers = [nr.RNN(32), nr.Dense(32), nr.RNN(32), nr.Last(), nr.Dense(8), nr.Dense(1)]
    net = nr.Network(layers, channels=1, seed=0)
    x, y = nr.windows(curve[:200], 50)
    way = dict(optimizer=nr.RMSProp(rate), epochs=epochs, batch_size=8, seed=0, progress=False)
    return net, net.fit(x[:, :50], y[:50], **way), x, y


@pytest.mark.parametrize("name", CURVES)
def test_after_ten_epochs(name):
    net, history, x, y = trained(CURVES[name].astype(np.float32), 0.0005, 10)
    assert 7 * history.loss[-1] < 0.0636  # the original program's, a sum over seven batches
    assert net.loss(x, y) < 0.0636 / 7  # of all 150 windows


def test_it_runs_freely():
    curve = CURVES["sin x"].astype(np.float32)
    net, *_ = trained(curve, nr.cosine(0.0005), 300)
    free = nr.extrapolate(net, curve[150:200, None], 60)[:, 0]
    assert np.abs(free - curve[200:]).max() < 0.05
