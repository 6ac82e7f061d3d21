"""`loss_and_gradient` called again and again: memory is kept, and every call has the bits of the first of a new network."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.training.gradient_calls import MOST_BYTES

RANDOM = np.random.default_rng(5)
X, Y = RANDOM.standard_normal((7, 6, 2)), RANDOM.standard_normal((7, 6, 3))
LABELS = RANDOM.integers(0, 3, (7, 6))


def network():
    return nr.Network([nr.GRU(4), nr.Dense(3)], channels=2, dtype="float64", seed=3)


def graph():
    nodes = {"h": nr.Node(nr.GRU(4), "x"), "y": nr.Node(nr.Dense(3), "h"), "z": nr.Node(nr.Dense(1), "h")}
    return nr.Graph({"x": 2}, nodes, ["y", "z"], dtype="float64", seed=3)


def same(found, expected):
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


def points(net, count=3):
    return [net.params.flat + 0.1 * step for step in range(count)]


@pytest.mark.parametrize(
    "calls",
    [
        [(X, Y, {})] * 3,
        [(X, Y, {}), (X[:3], Y[:3], {}), (X, Y, {}), (X[:, :2], Y[:, :2], {})],
        [(X, Y, {}), (X + 1, Y, {}), (X, Y - 1, {"loss": "mae"}), (X, LABELS, {"loss": "cross_entropy"})],
        [(X, Y, {}), (X, Y, {"weights": np.arange(6.0)}), (X, Y, {"weights": np.zeros(6)}), (X, Y, {})],
        [(X, Y, {}), (X, Y, {"lengths": [7, 3, 0, 7, 1, 2]}), (X, Y, {"lengths": [7] * 6}), (X, Y, {})],
        [(X, Y, {}), (X, Y, {"reset": RANDOM.random((7, 6)) < 0.3}), (X, Y, {})],
        [(X, Y, {}), (np.asfortranarray(X), Y, {}), (X[::-1], Y, {}), (X.astype("f8"), Y[::-1], {})],
    ],
)
def test_each_call_has_the_bits_of_a_new_network(calls):
    net = network()
    for flat in points(net):
        for x, y, options in calls:
            same(net.loss_and_gradient(flat, x, y, **options), copy.copy(net).loss_and_gradient(flat, x, y, **options))


def test_each_call_has_the_bits_of_a_new_graph():
    net, targets = graph(), {"y": Y, "z": Y[..., :1]}
    for flat in points(net):
        for weights in (None, {"y": np.zeros(6)}, {"z": np.arange(6.0)}):
            options = {"weights": weights, "loss": {"y": "mse", "z": "mae"}}
            found = net.loss_and_gradient(flat, {"x": X}, targets, **options)
            same(found, copy.copy(net).loss_and_gradient(flat, {"x": X}, targets, **options))


def test_what_a_call_returned_stays():
    net = network()
    flat = net.params.flat.copy()
    value, gradient = net.loss_and_gradient(flat, X, Y)
    kept = gradient.copy()
    flat += 1
    net.loss_and_gradient(flat, X, Y)
    np.testing.assert_array_equal(gradient, kept)
    gradient[:] = np.nan
    same(net.loss_and_gradient(flat - 1, X, Y), copy.copy(net).loss_and_gradient(flat - 1, X, Y))


def test_the_network_s_own_parameters_stay_and_do_not_count():
    net = network()
    flat, other = net.params.flat + 0.5, network()
    first = net.loss_and_gradient(flat, X, Y)
    net.fit(X, Y, epochs=1, progress=False)
    same(net.loss_and_gradient(flat, X, Y), first)
    same(other.loss_and_gradient(flat, X, Y), first)


def test_a_loss_that_fails_leaves_nothing_behind():
    net, flat = network(), network().params.flat
    expected = net.loss_and_gradient(flat, X, Y)

    def failing(prediction, target, weights=None):
        prediction[:] = np.nan
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        net.loss_and_gradient(flat, X, Y, failing)
    same(net.loss_and_gradient(flat, X, Y), expected)


def test_a_loss_may_ask_for_another_gradient():
    net, flat = network(), network().params.flat
    inner = []

    def asking(prediction, target, weights=None):
        inner.append(net.loss_and_gradient(flat, X, Y))
        difference = prediction - target
        return (difference**2).mean(), 2 * difference / difference.size

    expected = net.loss_and_gradient(flat, X, Y)
    found = [net.loss_and_gradient(flat, X, Y, asking) for _ in range(2)]
    for value, gradient in found:
        np.testing.assert_allclose(value, expected[0], rtol=1e-14)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-12, atol=1e-15)
    for each in inner:
        same(each, expected)


def test_threads_that_call_at_once():
    net = network()
    flats = points(net, 4)
    expected = [copy.copy(net).loss_and_gradient(flat, X, Y) for flat in flats]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            for found, right in zip(threads.map(lambda flat: net.loss_and_gradient(flat, X, Y), flats), expected):
                same(found, right)


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_keeps_nothing_of_it(make):
    net = network()
    size = len(pickle.dumps(net))
    expected = net.loss_and_gradient(net.params.flat, X, Y)
    assert len(pickle.dumps(net)) == size
    assert "_gradient_calls" in vars(net) and "_gradient_calls" not in vars(make(net))
    same(make(net).loss_and_gradient(net.params.flat, X, Y), expected)


def test_large_samples_are_read_where_they_lie_and_nothing_is_kept():
    net = nr.Network([nr.LastStep(), nr.Dense(1)], channels=2, dtype="float64", seed=3)
    x = np.zeros((6, 1 << 18, 2))
    assert x.nbytes > MOST_BYTES
    net.loss_and_gradient(net.params.flat, x, x[-1, :, :1])
    assert "_gradient_calls" not in vars(net)
