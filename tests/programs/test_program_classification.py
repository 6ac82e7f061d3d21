"""Nine speakers told apart by utterances of different lengths, as the notebook does it."""

import numpy as np
import pytest

import numbarnn as nr


def trained(data, units, epochs, seeds):
    """An ensemble trained on the training utterances, and the test utterances standardized like them."""
    standardizer = nr.Standardizer.of(data.train.x)
    layers = [nr.GRU(units, bidirectional=True), nr.Last(), nr.Dropout(0.5), nr.Dense(9)]
    net = nr.Network(layers, channels=12)
    way = dict(loss="cross_entropy", optimizer=nr.Adam(nr.cosine(0.005)), epochs=epochs, batch_size=16, progress=False)
    return nr.fit_many(net, standardizer(data.train.x), data.train.labels, seeds=seeds, **way), standardizer(data.test.x)


def test_nine_speakers():
    try:
        data = nr.datasets.japanese_vowels()
    except nr.DataNotFoundError as error:
        pytest.skip(str(error))
    ensemble, x = trained(data, 128, 40, range(5))
    accuracies = [member.evaluate(x, data.test.labels, "cross_entropy", ["accuracy"])["accuracy"] for member in ensemble]
    assert np.mean(accuracies) >= 0.98  # 0.9843; the tutorial of reservoirpy has 0.873 and 0.928
    together = np.mean([member.probabilities(x) for member in ensemble], axis=0)
    assert np.mean(together.argmax(axis=1) == data.test.labels) >= 0.98
    assert np.array_equal(ensemble[0].predict(x[100]), ensemble[0].predict(x)[100])
