"""Second derivatives, Jacobians and gradients of samples of graphs, against finite differences, on generated graphs."""

import numba
import numpy as np
import pytest
from checks import same_bits
from graph_strategies import BATCH, graph_case, graph_cases
from hypothesis import given, settings

import numbarnn as nr
from numbarnn.engine.keep import ALL
from numbarnn.graphs.passage import Passage

SLOPES = 1e-9  # of a difference of fourth order from the slope, per number of its size


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def slope(function, at, way, step=1e-3):
    """A difference of fourth order."""
    near, far = (function(at + k * step * way) - function(at - k * step * way) for k in (1, 2))
    return (8 * near - far) / (12 * step)


def asked(case):
    """(inputs, targets, loss, lengths, weights, reset) of a GraphCase: a loss with a weight for each output."""
    random, lengths, reset = np.random.default_rng(1), case.options.get("lengths"), case.options.get("reset")

    def like(each):
        if isinstance(each, nr.Ragged):
            return nr.Ragged(random.random(each.data.shape), each.offsets)
        return random.random(each.shape)

    # both smooth: no kink of a loss is near
    targets = {name: like(each) for name, each in case.net.predict(case.inputs, lengths, reset).items()}
    loss = {name: (("mse", "poisson_nll")[index % 2], 0.5 + index) for index, name in enumerate(targets)}
    return case.inputs, targets, loss, lengths, {name: random.random(BATCH) for name in targets}, reset


def way_of(net, seed=1):
    way = numbers(len(net.params), seed=seed)
    return way / np.linalg.norm(way)


def second_error(case):
    """How far `hvp` is from the slope of the gradient, per number of the slope's size."""
    (inputs, targets, *rest), net, way = asked(case), case.net, way_of(case.net)
    flat = net.params.flat.copy()
    found = net.hvp(flat, inputs, targets, way, *rest)
    expected = slope(lambda at: net.loss_and_gradient(at, inputs, targets, *rest)[1], flat, way, 2e-4)
    assert np.array_equal(net.params.flat, flat)
    return np.abs(found - expected).max() / max(1, np.abs(expected).max())


@settings(max_examples=25)
@given(graph_cases())
def test_products_with_the_hessian_are_slopes_of_the_gradient_and_symmetric(case):
    error = second_error(case)
    assert error <= 1e-8, f"{case.net}: {error:.3g}"
    (inputs, targets, *rest), net, (v, w) = asked(case), case.net, (way_of(case.net, seed) for seed in (1, 2))
    hv, hw = (net.hvp(net.params.flat, inputs, targets, way, *rest) for way in (v, w))
    assert abs(hv @ w - hw @ v) < 1e-12 * (1 + np.linalg.norm(hv))


@settings(max_examples=15)
@given(graph_cases())
def test_jacobians_are_slopes_of_every_output(case):
    net, flat, options = case.net, case.net.params.flat.copy(), {k: v for k, v in case.options.items() if k != "seed"}
    found, way = net.jacobian(flat, case.inputs, **options), way_of(net)

    def outputs(at):
        net.params.flat[:] = at
        y = net.predict(case.inputs, **options)
        net.params.flat[:] = flat
        return {name: each.data if isinstance(each, nr.Ragged) else each for name, each in y.items()}

    for name, jacobian in found.items():
        expected = slope(lambda at, name=name: outputs(at)[name], flat, way)
        np.testing.assert_allclose(jacobian @ way, expected, rtol=0, atol=SLOPES * max(1, np.abs(expected).max(initial=0)))


@settings(max_examples=15)
@given(graph_cases())
def test_gradients_of_samples_are_those_of_each_alone(case):
    check_sample_gradients(case)


def check_sample_gradients(case):
    inputs, targets, *rest = asked(case)
    net, (loss, lengths, weights, reset) = case.net, rest
    found = net.sample_gradients(net.params.flat, inputs, targets, *rest)
    samples = net._samples(inputs, targets, lengths, loss, weights, reset)
    for n in range(BATCH):
        alone = samples.take(np.array([n]))
        gradient = net.params.zeros()
        workspace = net._workspaces(net.split(gradient.flat), net._own, ("all", None))._make()
        workspace.gradient(alone, net._found_loss(loss))
        np.testing.assert_allclose(found[n], gradient.flat, rtol=0, atol=1e-13 * max(1, np.abs(gradient.flat).max()))


def forecast(dtype="float64"):
    """Two inputs of different steps, one without steps, a decoder that an encoder starts, two outputs."""
    nodes = {
        "encoder": nr.Node(nr.GRU(4), ["past", "static"]),
        "decoder": nr.Node(nr.GRU(4), "known", state="encoder"),
        "y": nr.Node(nr.Dense(1), ["decoder", "known"]),
        "class": nr.Node([nr.Last(), nr.Dense(3)], "encoder"),
    }
    return nr.Graph({"past": 2, "static": nr.Input(1, False), "known": 1}, nodes, ["y", "class"], seed=0, dtype=dtype)


X = {"past": numbers(7, 5, 2), "static": numbers(5, 1, seed=1), "known": numbers(4, 5, 1, seed=2)}
Y = {"y": numbers(4, 5, 1, seed=3), "class": np.arange(5) % 3}
LOSS = {"y": "mse", "class": ("cross_entropy", 0.25)}


@pytest.mark.parametrize("rows", [1, 60, 1 << 13])
def test_both_ways_to_a_jacobian_agree(rows, monkeypatch):
    """By backward, an output of a sequence at a time, some of them, and all; and by forward derivatives."""
    net, forward = forecast(), nr.Graph._jacobians_of_rows
    taken = []
    monkeypatch.setattr("numbarnn.graphs.jacobians.ROWS", rows)
    monkeypatch.setattr(nr.Graph, "_jacobians_of_rows", lambda *args: taken.append(forward(*args)) or taken[-1])
    found = net.jacobian(net.params.flat, X)
    assert found.keys() == taken[0].keys()
    monkeypatch.setattr(nr.Graph, "_jacobians_of_rows", lambda *args: None)
    for name, expected in net.jacobian(net.params.flat, X).items():
        assert found[name].shape == expected.shape and found[name].flags.c_contiguous
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def test_jacobians_go_forward_where_rows_cannot_be_told_apart_or_parameters_are_few():
    def way_back(net, inputs, **options):
        parts, read = net.split(net.params.flat), net._given(inputs, **options)
        return net._jacobians_of_rows(parts, Passage(net, parts, read.described, ALL))

    net = forecast()
    assert way_back(net, X) is not None
    assert way_back(net, X, lengths={"past": np.array([7, 6, 5, 4, 3])}) is None
    shared = nr.Graph({"x": 4}, {"a": nr.Node(nr.GRU(4), "x"), "b": nr.Node("a", "a")}, "b", "float64", seed=0)
    assert way_back(shared, {"x": numbers(2, 3, 4)}) is None
    small = nr.Graph({"x": 1}, {"a": nr.Node(nr.RNN(1), "x")}, "a", "float64", seed=0)
    assert way_back(small, {"x": numbers(9, 3, 1)}) is None
    words = nr.Graph({"x": None}, {"a": nr.Node([nr.Embedding(5, 3), nr.GRU(3)], "x")}, "a", "float64", seed=0)
    assert way_back(words, {"x": np.ones((3, 2), int)}) is None


def test_gauss_newton_products_have_the_jacobians_in_them():
    net, flat = forecast(), forecast().params.flat
    J, v = net.jacobian(flat, X), numbers(len(flat), seed=4)
    y = J["y"].reshape(20, -1)
    logits = net.predict(X)["class"]
    H = nr.loss("cross_entropy").curvature_of_labels(logits, Y["class"], J["class"] @ v)
    expected = 2 / 20 * y.T @ (y @ v) + 0.25 * np.einsum("ncp,nc->p", J["class"], H)
    np.testing.assert_allclose(net.gauss_newton_product(flat, X, Y, v, LOSS), expected, rtol=0, atol=1e-13)
    alone = net.gauss_newton_product(flat, X, {"y": Y["y"]}, v, {"y": "mse"})
    np.testing.assert_allclose(alone, 2 / 20 * y.T @ (y @ v), rtol=0, atol=1e-13)


def test_a_row_has_the_products_of_the_network_that_it_is():
    rows = [nr.GRU(4, bidirectional=True), nr.LSTM(3), nr.Last(), nr.Dense(2, "tanh")]
    net = nr.Network(rows, 2, "float64", seed=1)
    graph = nr.Graph({"x": 2}, {"a": nr.Node(rows, "x")}, "a", "float64", seed=1)
    x, y, v = numbers(5, 3, 2), numbers(3, 2, seed=1), numbers(len(net.params), seed=2)
    for name in ("hvp", "gauss_newton_product"):
        expected = getattr(net, name)(net.params.flat, x, y, v)
        assert same_bits(getattr(graph, name)(graph.params.flat, {"x": x}, {"a": y}, v), expected), name
    expected = net.sample_gradients(net.params.flat, x, y)
    assert same_bits(graph.sample_gradients(graph.params.flat, {"x": x}, {"a": y}), expected)


def test_images_in_a_node_have_second_derivatives():
    nodes = {
        "seen": nr.Node([nr.Conv2d(2, 3, shape=(1, 5, 5)), nr.Activation("tanh"), nr.AvgPool2d(2), nr.Flatten()], "picture"),
        "y": nr.Node([nr.GRU(3), nr.Dense(1)], ["seen", "x"]),
    }
    net = nr.Graph({"picture": 25, "x": 2}, nodes, "y", "float64", seed=0)
    x, y, way = {"picture": numbers(3, 4, 25), "x": numbers(3, 4, 2)}, {"y": numbers(3, 4, 1)}, way_of(net)
    expected = slope(lambda at: net.loss_and_gradient(at, x, y)[1], net.params.flat.copy(), way)
    np.testing.assert_allclose(net.hvp(net.params.flat, x, y, way), expected, rtol=0, atol=SLOPES)


def test_threads_give_the_same_bits_and_float32_is_rounded():
    net, single, v = forecast(), forecast("float32"), numbers(len(forecast().params), seed=4)
    several = net.hvp(net.params.flat, X, Y, v, LOSS)
    numba.set_num_threads(1)
    one = net.hvp(net.params.flat, X, Y, v, LOSS)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert same_bits(one, several)
    found = single.hvp(single.params.flat, X, Y, v.astype(np.float32), LOSS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, several, rtol=0, atol=1e-5 * np.abs(several).max())


def test_outputs_of_which_nothing_counts_have_no_part():
    net, v = forecast(), numbers(len(forecast().params), seed=4)
    loss = LOSS | {"class": (nr.CrossEntropy(ignore_index=-1), 0.25)}
    targets, alone = Y | {"class": np.full(5, -1)}, {"y": Y["y"]}
    for name in ("hvp", "gauss_newton_product"):
        product = getattr(net, name)
        assert same_bits(product(net.params.flat, X, targets, v, loss), product(net.params.flat, X, alone, v, {"y": "mse"}))
    together = net.sample_gradients(net.params.flat, X, targets, loss)
    assert np.array_equal(together, net.sample_gradients(net.params.flat, X, alone, {"y": "mse"}))


def test_wrong_arguments_are_named():
    net, v = forecast(), np.ones(len(forecast().params))
    own = {"y": lambda prediction, target: (0.0, prediction)}
    for call, error, message in [
        (lambda: net.hvp(v, X, Y, v[:2], LOSS), nr.ShapeError, "vector: expected shape"),
        (lambda: net.hvp(v, X, Y, v * np.nan, LOSS), nr.NonFiniteError, "vector: expected finite numbers"),
        (lambda: net.hvp(v, X, Y, v.astype(np.float32), LOSS), nr.DTypeError, "vector: expected float64 like the graph"),
        (lambda: net.hvp(v, X, {"y": Y["y"]}, v, own), TypeError, r"loss\['y'\]: expected a loss of the library, or one"),
        (lambda: net.gauss_newton_product(v, X, {"z": Y["y"]}, v, own), TypeError, r"loss\['y'\]: expected a loss"),
        (lambda: net.jacobian(v[:2], X), nr.ShapeError, "flat: expected a contiguous vector"),
        (lambda: net.jacobian(v, {"past": X["past"]}), ValueError, "inputs: expected"),
        (lambda: net.sample_gradients(v, X, {}, LOSS), ValueError, "targets: expected targets for each"),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            call()


@pytest.mark.parametrize("kind", ["plain", "lengths"])
def test_a_shared_layer_gathers_from_all_that_use_it(kind):
    """Of which no sample's gradient is to be had together."""
    case = next(
        case for case in (graph_case(seed, kind) for seed in range(99)) if len(case.net._rows) > len(case.net.layers)
    )
    assert second_error(case) <= 1e-8
