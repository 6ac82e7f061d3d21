"""Feeding back on a GPU: language models draw the same indices as on the CPU; outputs beside known channels."""

import numpy as np
import pytest

import numbarnn as nr


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_device_draws_the_same(one_hot):
    layers = [nr.GRU(4), nr.Dense(5)] if one_hot else [nr.Embedding(5, 3), nr.GRU(4), nr.Dense(5)]
    net = nr.Network(layers, channels=5 if one_hot else 1, dtype="float64", seed=0)
    prompt = np.array([[0, 4], [2, 1]])
    for how in ({"temperature": 0}, {}, {"top_k": 3, "top_p": 0.8}):
        found = nr.sample(net.to("cuda"), prompt, 5, seed=1, **how)
        assert type(found) is np.ndarray and np.array_equal(found, nr.sample(net, prompt, 5, seed=1, **how))
    v = nr.Vocabulary([*"abcde"], (), "characters")
    assert nr.sample(net.to("cuda"), ["ab", "c"], 4, vocabulary=v) == nr.sample(net, ["ab", "c"], 4, vocabulary=v)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_device_feeds_back_beside_what_is_known(where):
    net = nr.Network([nr.GRU(4), nr.Dense(1)], channels=3, seed=0)
    x, known = np.ones((2, 3), np.float32), np.arange(12, dtype=np.float32).reshape(3, 2, 2) / 9
    expected = net.stream(2).feed_back(x, 3, known)
    given = [array if where == "cpu" else nr.cuda.asarray(array) for array in (x, known)]
    stream = net.to("cuda").stream(2)
    found = stream.feed_back(given[0], 3, given[1])
    assert type(found) is type(given[0])
    assert np.allclose(found if where == "cpu" else found.get(), expected, rtol=1e-5, atol=1e-6)
