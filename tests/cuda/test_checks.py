"""Parameters that are not finite: found on the device, said when results come to the host; of updates each time."""

import threading

import numpy as np
import pytest

import numbarnn as nr
from numbarnn import cuda
from numbarnn.cuda import checks, optimizers


@pytest.fixture
def layer():
    """(a layer, its parameters on the device with a NaN at (2, 1) of the recurrent weight, x there)."""
    layer = nr.RNN(3)
    p = layer.init(2, seed=0, dtype="float64", device="cuda")
    p["weight_hh_l0"][2, 1] = np.nan
    yield layer, p, cuda.asarray(np.ones((2, 1, 2)))
    checks._own.checks.clear()


SAID = r"parameter 'weight_hh_l0': expected finite numbers, got nan at \(2, 1\)"


def test_a_call_waits_for_nothing_and_synchronize_says_so(layer, monkeypatch):
    layer, p, x = layer
    monkeypatch.setattr(type(x), "get", lambda array: pytest.fail("the host waits"))
    layer(p, x)
    layer(layer.init(2, dtype="float64", device="cuda"), x)
    monkeypatch.undo()
    with pytest.raises(nr.NonFiniteError, match=SAID):
        cuda.synchronize()
    cuda.synchronize()  # it is said once
    layer(layer.init(2, dtype="float64", device="cuda"), x)
    cuda.synchronize()


def test_parameters_that_were_mended_or_are_gone_are_named(layer):
    layer, p, x = layer
    layer(p, x)
    p["weight_hh_l0"][2, 1] = 0
    said = "parameter 'weight_hh_l0': expected finite numbers, got others when a call read them"
    with pytest.raises(nr.NonFiniteError, match=said):
        cuda.synchronize()
    copied = p.copy()
    copied["weight_hh_l0"][2, 1] = np.inf
    layer(copied, x)
    del copied
    with pytest.raises(nr.NonFiniteError, match=said):
        cuda.synchronize()


def test_questions_are_few(layer):
    layer, p, x = layer
    for _ in range(checks.MOST):
        layer(p, x)
    with pytest.raises(nr.NonFiniteError, match=SAID):
        layer(p, x)


def test_each_thread_and_stream_hears_of_its_own(layer):
    layer, p, x = layer
    layer(p, x)
    other = threading.Thread(target=cuda.synchronize)
    other.start()
    other.join()
    with cuda.stream():
        cuda.synchronize()
    with pytest.raises(nr.NonFiniteError, match=SAID):
        cuda.synchronize()


def test_results_that_come_to_the_host_are_those_of_finite_parameters():
    network = nr.Network([nr.RNN(2), nr.Dense(1)], channels=1, dtype="float64", device="cuda")
    x = np.ones((2, 3, 1))
    assert np.isfinite(network(x)[0]).all() and np.isfinite(network.predict(x)).all()
    network.params.flat[3] = np.inf
    for call in (network, network.predict, lambda x: network.states(x, layer=0)):
        with pytest.raises(nr.NonFiniteError, match="expected finite numbers, got inf"):
            call(x)
    network.params.flat[3] = 0
    assert np.isfinite(network.predict(x)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_flag_of_updates_is_of_a_vector_and_begins_anew(dtype):
    bad, good, gradient = (cuda.asarray(np.ones(5, dtype)) for _ in range(3))
    previous, velocity = (cuda.zeros((5,), dtype) for _ in range(2))

    def step(flat, rate):
        return optimizers.sgd(flat, previous, gradient, velocity, *np.array([1, rate, 0, 0], dtype))

    found = step(bad, np.inf), step(good, 0.5)
    assert [bool(each) for each in found] == [False, True] == [bool(each) for each in found]
    bad.fill(1)
    again = step(bad, 0.5)
    again._vector = None  # nobody looks at the numbers
    assert bool(again)


def test_a_training_after_one_that_failed_is_the_first_one_again():
    x, y = np.random.default_rng(0).standard_normal((2, 4, 3, 1))

    def network():
        return nr.Network([nr.RNN(2), nr.Dense(1)], channels=1, dtype="float64", device="cuda", seed=0)

    settings = {"epochs": 2, "batch_size": 2, "optimizer": nr.Adam(0.01), "progress": False}
    mended, expected = network(), network()
    start = mended.params.flat.copy()
    with pytest.raises(nr.NonFiniteError, match="the network has the last finite parameters"):
        mended.fit(x, y, **{**settings, "optimizer": nr.SGD(1e308)})
    mended.params.flat[...] = start
    history = mended.fit(x, y, **settings)
    assert history.loss == expected.fit(x, y, **settings).loss
    assert mended.params.flat.get().tobytes() == expected.params.flat.get().tobytes()
    assert optimizers._found(mended.params.flat.data.ptr, cuda.device.stream_address()).get() == 0
