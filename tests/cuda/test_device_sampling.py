"""Language models on a GPU: the indices that they draw are those of the CPU."""

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
