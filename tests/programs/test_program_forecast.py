"""The main job's two forecasts, as the notebook makes them."""

import numpy as np
from checks import same_bits

import numbarnn as nr
from numbarnn.demo import counting, sunspots


def test_the_next_number_and_the_network_that_answers():
    x, y = counting.counting_windows()
    layers = [nr.GRU(24), nr.GRU(24, layers=2), nr.Last(), nr.Dense(24, "relu"), nr.Dense(1)]
    net = nr.Network(layers, channels=1, seed=0)
    net.fit(x, y, loss="quadratic", optimizer=nr.Adam(nr.cosine(0.01)), epochs=150, batch_size=32, progress=False)
    answering = nr.Network(layers, channels=1, seed=1).transfer(net)
    assert same_bits(answering.predict(x), net.predict(x))
    assert abs(counting.answer(answering, (37.4, 38.4, 39.4, 40.4, 41.4)) - 42.4) < 0.5


def test_sunspots():
    _, numbers = nr.datasets.sunspots()
    first, window = 250, 22
    roots = np.sqrt(numbers)
    mean, spread = roots[:first].mean(), roots[:first].std()
    scaled = ((roots - mean) / spread).astype(np.float32)
    net = nr.Network([nr.GRU(16), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    x, y = nr.windows(scaled[:first], window)
    way = dict(optimizer=nr.AdamW(nr.cosine(0.01), decay=0.1, decays="all"), epochs=40, batch_size=16, seed=0, clip=1.0)
    net.fit(x, y, progress=False, **way)
    for lead, least in ((1, 22.0), (11, 36.0)):
        known = np.stack([scaled[t - lead - window + 1 : t - lead + 1] for t in range(first, 309)], axis=1)
        ahead = np.maximum(nr.extrapolate(net, known[:, :, None], lead)[-1, :, 0] * spread + mean, 0) ** 2
        assert np.sqrt(np.mean((ahead - numbers[first:]) ** 2)) < least
        assert same_bits(ahead.astype(np.float32), sunspots.forecast().forecasts["network", lead].astype(np.float32))
