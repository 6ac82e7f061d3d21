"""The program of notebooks/reservoir.ipynb: a chaotic network learns a pattern while its output is fed back to it."""

import numpy as np

import numbarnn as nr


def test_a_pattern_out_of_chaos():
    units, steps, periods = 500, 300, 16
    wild = nr.Connectivity(density=0.1, spectral_radius=1.5, input_scaling=1.0)
    layers = [nr.LeakyRNN(units, rate=0.1, form="inside", connectivity=wild), nr.Activation("tanh"), nr.Dense(1)]
    net = nr.Network(layers, channels=1, dtype="float64", seed=0)
    net.params["2.weight"][...] = 0
    t = 2 * np.pi * np.arange((periods + 4) * steps) / steps
    target = (1.3 * np.sin(t) + 0.65 * np.sin(2 * t) + 0.2 * np.sin(3 * t) + 0.4 * np.sin(4 * t))[:, None] / 1.5
    force = nr.RecursiveLeastSquares(net, penalty=1.0, every=2)
    z = force.feed_back(np.zeros(1), target[: periods * steps])
    stream = net.stream()
    stream.state = force.state
    free = stream.feed_back(z[-1:], 4 * steps)[:, 0]
    assert np.sqrt(((free - target[periods * steps :]) ** 2).mean()) < 0.1
    assert np.sqrt(((z - target[: periods * steps])[-steps:] ** 2).mean()) < 0.02
