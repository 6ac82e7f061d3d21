"""What a training sends to the GPU: its samples once, their order once an epoch, and nothing with a batch."""

import gc

import numpy as np
import pytest

import numbarnn as nr
from numbarnn import cuda
from numbarnn.cuda import arrays
from numbarnn.cuda.device import cupy


@pytest.fixture
def sent(monkeypatch):
    """A list that grows by the shape and the kind of each array that is sent from here on."""
    found, send = [], cupy.asarray

    def noted(array, **options):
        found.append((array.shape, array.dtype.kind))
        return send(array, **options)

    monkeypatch.setattr(cupy, "asarray", noted)
    return found


def test_parts_of_an_array_that_is_kept_are_not_sent(sent):
    host = np.arange(12.0).reshape(3, 4).copy()
    arrays.keep(host)
    arrays.keep(host)
    assert sent == [((3, 4), "f")]
    for part in (host, host[1:], host[2], host[1:2, 1:3], host.reshape(-1)[3:8]):
        found = arrays.to_read(part)
        assert np.array_equal(found.get(), part) and type(found) is type(cuda.zeros((1,), "float64"))
    assert sent == [((3, 4), "f")]
    assert np.array_equal(arrays.to_read(host[:, 1]).get(), host[:, 1]) and len(sent) == 2  # does not lie in order
    assert np.array_equal(arrays.to_read(host[:2].view("int64")).get(), host[:2].view("int64")) and len(sent) == 3
    with cuda.stream():
        assert np.array_equal(arrays.to_read(host[1:]).get(), host[1:]) and len(sent) == 4  # which may not see it yet
    keys = {*arrays._sent}
    del host, part, found
    gc.collect()
    assert len({*arrays._sent} & keys) < len(keys)


LABELLED = {
    "classes": (nr.Dense(3), "cross_entropy", True),
    "ignored": (nr.Dense(3), nr.CrossEntropy(ignore_index=2), False),
    "two": (nr.Dense(1), "binary_cross_entropy", True),
}


@pytest.mark.parametrize("name", LABELLED)
def test_labels_are_sent_once_and_batches_send_nothing(name, sent):
    dense, loss, last = LABELLED[name]
    random = np.random.default_rng(0)
    x, y = random.standard_normal((3, 8, 2)), random.integers(0, dense.units, (8,) if last else (3, 8))
    y.reshape(-1)[:3] = 0, 1 % (dense.units + 1), 0
    layers = [nr.RNN(2), *([nr.Last()] if last else []), dense]
    both = [nr.Network(layers, channels=2, dtype="float64", device=device, seed=0) for device in ("cpu", "cuda")]
    settings = {"loss": loss, "batch_size": 3, "optimizer": nr.SGD(0.1), "progress": False}
    expected, history = (network.fit(x, y, epochs=2, **settings) for network in both)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-12)
    np.testing.assert_allclose(both[1].params.flat.get(), both[0].params.flat, rtol=0, atol=1e-12)
    sent.clear()
    both[1].fit(x, y, epochs=1, **settings)
    first = [*sent]
    sent.clear()
    both[1].fit(x, y, epochs=4, **settings)
    more = [sum(kind == each for _, each in sent) - sum(kind == each for _, each in first) for kind in "if"]
    assert more[0] == 3  # the order of three epochs more, and neither indices nor labels of nine batches more
    assert more[1] <= (9 if name == "ignored" else 0)  # for each number of labels that count, the share of one


def test_numbers_are_sent_once(sent):
    network = nr.Network([nr.RNN(2), nr.Dense(1)], channels=1, dtype="float64", device="cuda")
    x = np.random.default_rng(0).standard_normal((3, 8, 1))
    trainer = nr.Trainer(network)
    trainer.fit(x, x, epochs=1, batch_size=2, progress=False)
    sent.clear()
    trainer.fit(x, x, epochs=5, batch_size=2, progress=False)
    assert sent == [((3, 8, 1), "f")] * 2 + [((8,), "i")] * 5
