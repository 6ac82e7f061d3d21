"""Forward derivatives on the device: the numbers of the CPU's, and the transposes of backward."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from checks import same_bits
from device_layer import DeviceLayer, to_device, to_host
from strategies import random_case
from tangent_checks import check_transpose, directions, jvp
from test_device_layers import ALL_KINDS, LENGTHS, OPTIONS

import numbarnn as nr
from numbarnn.cpu import tangent_launch
from numbarnn.cuda import tangents as tangents_of_device
from numbarnn.cuda.normalized_tangents import Rows as rows_of_device  # noqa: N813

RESET = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool)
TOLERANCE = 1e-12  # of the largest


def tangents(case, subject=None, count=2, which=(True, True, True), **way):
    """All that jvp returns, as NumPy arrays; which: of dp, dx and dstate, those that are given."""
    _, _, tape = case.forward(subject, **way)
    given = [each if there else None for each, there in zip(directions(case, count), which)]
    dy, dfinal = jvp(case, tape, *given, subject)
    return dy, *dfinal


def check_parity(case, **options):
    """Assert that device and CPU agree, on numbers of which none is 0 or NaN everywhere."""
    for on_cpu, on_device in zip(tangents(case, **options), tangents(case, DeviceLayer(case.layer), **options), strict=True):
        assert on_cpu.dtype == on_device.dtype and np.abs(on_cpu).max() > 0
        np.testing.assert_allclose(on_device, on_cpu, rtol=0, atol=TOLERANCE * np.abs(on_cpu).max())


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_device_and_cpu_agree(kind):
    check_parity(random_case(ALL_KINDS[kind](2), 2, 2, 2, seed=1))


CASES = {
    "stacked": (nr.LSTM(2, layers=2), {"lengths": LENGTHS}),
    "reset": (nr.GRU(2, bidirectional=True), {"reset": RESET, "lengths": [3, 2, 0, 1]}),
    "reset-before": (nr.GRU(3, reset="before", bidirectional=True), {"lengths": [3, 0, 1]}),
    "projection": (nr.LSTM(3, projection=2, bidirectional=True), {"lengths": [3, 0, 1]}),
    "normalized": (nr.LSTM(2, normalized=True, bidirectional=True), {"lengths": [3, 0, 1]}),
    "strided": (nr.RNN(3, bidirectional=True), {"layout": "ctn", "strides": "sliced"}),
}


@pytest.mark.parametrize("name", CASES)
def test_batches(name):
    layer, options = CASES[name]
    case = random_case(layer, 3, len(options.get("lengths", LENGTHS)), 2, **options)
    check_parity(case)
    check_transpose(case, DeviceLayer(case.layer), count=1)


@pytest.mark.parametrize("which", [(True, False, False), (False, True, False), (False, False, True)])
@pytest.mark.parametrize("kind", ["gru-before", "lstm"])
def test_each_direction_alone(kind, which):
    check_parity(random_case(ALL_KINDS[kind](2), 2, 2, 2), which=which)


@pytest.mark.parametrize(
    "option",
    ["zoneout-noise-ragged", "connectivity", "residual-average", "product", "learned-state", "decay", "decay-stacked"],
)
def test_options(option):
    layer, lengths = OPTIONS[option]
    case = random_case(layer, 2, 3, 2, lengths=lengths, with_state=not layer.learned_state)
    masks = layer.draw(2, 3, 2, seed=1, dtype="float64") if layer.random else None
    check_parity(replace(case, masks=masks))


def test_gaps():
    check_parity(random_case(nr.GRUD(2, mean=(0.5, -0.5), past=True), 2, 3, 6, lengths=LENGTHS))


def test_single_precision():
    case = random_case(nr.LSTM(2), 2, 2, 2, dtype="float32")
    for found, right in zip(tangents(case, DeviceLayer(case.layer)), tangents(case), strict=True):
        assert found.dtype == right.dtype == np.float32
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-5 * np.abs(right).max())


def test_several_ragged():
    layer, random = nr.GRU(2), np.random.default_rng(0)
    p, x = layer.init(2, dtype="float64", seed=0), nr.Ragged(random.standard_normal((4, 2)), [0, 1, 1, 4])
    right, last = layer.jvp(layer.forward(p, x)[2], dx=[x, 2 * x])
    there = to_device(x)
    found, final = layer.jvp(layer.forward(to_device(p), there)[2], dx=[there, to_device(2 * x)])
    assert isinstance(found, tuple) and len(found) == 2
    for one, other in zip(to_host(found), right, strict=True):
        assert one.offsets.tolist() == other.offsets.tolist()
        np.testing.assert_allclose(one.data, other.data, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(to_host(final), last, rtol=0, atol=TOLERANCE)


def test_a_tape_of_states_runs_forward_again():
    case = random_case(nr.LSTM(2), 2, 2, 2)
    for found, right in zip(tangents(case, DeviceLayer(case.layer), tape="states"), tangents(case), strict=True):
        np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())


def test_one_direction_alone_has_the_bits_that_it_has_among_others():
    case = random_case(nr.GRU(3, reset="before"), 2, 2, 2)
    _, _, tape = case.forward(subject := DeviceLayer(case.layer))
    dp, dx, (dh,) = directions(case, 2)
    dy, dfinal = subject.jvp(tape, dp, dx, dh)
    for k in range(2):
        assert same_bits(subject.jvp(tape, dp[k], dx[k], dh[k]), (dy[k].copy(), dfinal[k].copy()))


STEPS = np.random.default_rng(0).standard_normal((3, 3, 4))
IMAGES = np.random.default_rng(1).standard_normal((2, 1, 18))
LAYERS = [
    (nr.Dense(3, "tanh"), STEPS, {}),
    (nr.Activation("sigmoid"), STEPS, {}),
    (nr.Last(directions=2), STEPS, {}),
    (nr.LastStep(), STEPS, {}),
    (nr.Pool("mean"), STEPS, {}),
    (nr.Pool("max"), STEPS, {}),
    (nr.Flatten(), STEPS, {}),
    (nr.Dropout(0.4), STEPS, {"seed": 3}),
    (nr.Embedding(9, 3), np.random.default_rng(2).integers(0, 9, (3, 3)), {}),
    (nr.Conv2d(2, 2, shape=(2, 3, 3)), IMAGES, {}),
    (nr.AvgPool2d(2, stride=1, shape=(2, 3, 3)), IMAGES, {}),
    (nr.MaxPool2d(2, padding=1, shape=(2, 3, 3)), IMAGES, {}),
]


@pytest.mark.parametrize("layer, x, options", LAYERS, ids=[repr(layer) for layer, _, _ in LAYERS])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_layers_without_a_state(layer, x, options, lengths):
    if x is IMAGES and lengths is not None:
        lengths = np.array([2])
    p = layer.init(1 if layer.takes_indices else x.shape[-1], seed=0, dtype="float64", scheme="pytorch")
    random = np.random.default_rng(3)
    dp = random.standard_normal((2, len(p)))
    dx = None if layer.takes_indices else random.standard_normal((2, *x.shape))
    right = layer.jvp(layer.forward(p, x, lengths=lengths, **options)[1], dp, dx)
    _, tape = layer.forward(p.to("cuda"), to_device(x), lengths=lengths, **options)
    found = layer.jvp(tape, *map(to_device, (dp, dx)))
    np.testing.assert_allclose(to_host(found), right, rtol=0, atol=TOLERANCE * np.abs(right).max())
    if dx is not None:
        alone = layer.jvp(tape, dx=(there := to_device(dx)))
        before = to_host(alone)
        there[...] = 0
        assert same_bits(to_host(alone), before)


@pytest.mark.parametrize("ragged", [False, True])
def test_networks_take_arrays_of_the_host(ragged):
    nets = [
        nr.Network([nr.GRU(2), nr.LSTM(2), nr.Last(), nr.Dense(1)], 2, "float64", seed=0, device=device)
        for device in ("cpu", "cuda")
    ]
    random = np.random.default_rng(0)
    x = nr.Ragged(random.standard_normal((4, 2)), [0, 3, 4]) if ragged else random.standard_normal((2, 2, 2))
    dp, dx = random.standard_normal((2, len(nets[0].params))), [x, 2 * x] if ragged else np.stack([x, 2 * x])
    dstate = random.standard_normal((2, 1, 2, 2)), None
    found = []
    for net in nets:
        dy, (dh, pair) = net.jvp(net.forward(x)[2], dp, dx, dstate)
        found.append((dy, dh, *pair))
    for right, there in zip(*found, strict=True):
        assert isinstance(there, np.ndarray)
        np.testing.assert_allclose(there, right, rtol=0, atol=TOLERANCE * np.abs(right).max())


@pytest.mark.parametrize(
    "layer", [nr.GRU(2, reset="before"), nr.LSTM(3, layers=2, projection=2), nr.RNN(2, decay=True)], ids=repr
)
def test_jacobians_of_a_step(layer):
    case = random_case(layer, 1, 3, 2)
    there = to_device((case.parameters, case.x[0], case.state))
    right = nr.dynamics.step_jacobian(layer, case.parameters, case.x[0], case.state)
    found = nr.dynamics.step_jacobian(layer, *there)
    np.testing.assert_allclose(to_host(found), right, rtol=0, atol=TOLERANCE * np.abs(right).max())
    with pytest.raises(nr.DeviceError, match="x: expected an array on device 'cuda'"):
        nr.dynamics.step_jacobian(layer, there[0], case.x[0], there[2])


def test_fixed_points():
    layer = nr.RNN(2)
    case = random_case(layer, 1, 3, 2)
    case.parameters["weight_hh_l0"][...] = [[1.5, 0.2], [-0.3, 1.8]]
    p, h = case.parameters, case.state
    right = nr.dynamics.fixed_points(layer, p, case.x[0][0], h)
    found = nr.dynamics.fixed_points(layer, *to_device((p, case.x[0][0], h)))
    assert right.started == found.started == 3 and len(right.states) > 0 and isinstance(found.states, np.ndarray)
    for name in ("states", "inputs", "jacobians", "eigenvalues", "starts"):
        np.testing.assert_allclose(getattr(found, name), getattr(right, name), rtol=0, atol=1e-9, err_msg=name)
    with pytest.raises(nr.DeviceError, match="starts: expected an array on device 'cuda'"):
        nr.dynamics.fixed_points(layer, to_device(p), None, h)


@pytest.mark.parametrize("every, drive", [(1, True), (2, False)])
def test_lyapunov_exponents(every, drive):
    layer = nr.GRU(2)
    case = random_case(layer, 5, 2, 1)
    p, x, h = case.parameters, case.x, case.state
    right = nr.dynamics.lyapunov(layer, p, x if drive else 5, h, every=every, transient=1)
    there, driven, start = to_device((p, x, h))
    found = nr.dynamics.lyapunov(layer, there, driven if drive else 5, start, every=every, transient=1)
    np.testing.assert_allclose(found.exponents, right.exponents, rtol=1e-10)
    np.testing.assert_allclose(to_host(found.state), right.state, rtol=0, atol=TOLERANCE)
    with pytest.raises(nr.DeviceError, match="x: expected an array on device 'cuda'"):
        nr.dynamics.lyapunov(layer, there, x, start)


@pytest.mark.parametrize("kind", ["mse", "weights", "ragged", "classes"])
def test_jacobians_and_gauss_newton_products_of_networks(kind):
    random, loss, weights = np.random.default_rng(0), "mse", None
    layers = [nr.GRU(2), nr.Last(), nr.Dense(2, "tanh")]
    x, y = random.standard_normal((2, 3, 2)), random.standard_normal((3, 2))
    if kind == "weights":
        weights = np.array([1.0, 0.0, 2.0])
    if kind == "ragged":
        x, y = nr.Ragged(x.reshape(6, 2), [0, 3, 4, 6]), nr.Ragged(random.standard_normal((6, 2)), [0, 3, 4, 6])
        layers = [nr.GRU(2), nr.Dense(2)]
    if kind == "classes":
        loss, y = "cross_entropy", np.array([0, 1, 1])
    cpu, cuda = (nr.Network(layers, 2, "float64", seed=0, device=device) for device in ("cpu", "cuda"))
    flat = cpu.params.flat.copy()
    vector = random.standard_normal(flat.shape)
    right = cpu.gauss_newton_product(flat, x, y, vector, loss, weights=weights)
    found = cuda.gauss_newton_product(flat, x, y, vector, loss, weights=weights)
    there = cuda.gauss_newton_product(to_device(flat), x, y, to_device(vector), loss, weights=weights)
    assert isinstance(found, np.ndarray) and same_bits(to_host(there), found)
    np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())
    if kind in ("mse", "ragged"):
        right, found = cpu.jacobian(flat, x), cuda.jacobian(flat, x)
        np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())
    right, found = (net.hvp(flat, x, y, vector, loss, weights=weights) for net in (cpu, cuda))
    np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())
    there = cuda.hvp(*to_device((flat, x, y, vector)), loss, weights=weights)
    assert not isinstance(there, np.ndarray) and same_bits(to_host(there), found)
    right, found = (net.sample_gradients(flat, x, y, loss, weights=weights) for net in (cpu, cuda))
    there = cuda.sample_gradients(to_device(flat), x, y, loss, weights=weights)
    assert isinstance(found, np.ndarray) and same_bits(to_host(there), found)
    np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())
    vector[3] = np.nan
    with pytest.raises(nr.NonFiniteError, match=r"vector: expected finite numbers, got nan at \(3,\)"):
        cuda.gauss_newton_product(flat, x, y, to_device(vector), loss)


def test_second_derivatives_and_jacobians_of_graphs():
    nodes = {"h": nr.Node(nr.GRU(2), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
    cpu, cuda = (nr.Graph({"x": 2}, nodes, "y", "float64", seed=0, device=device) for device in ("cpu", "cuda"))
    random, flat = np.random.default_rng(0), cpu.params.flat.copy()
    x, y, vector = {"x": random.standard_normal((2, 2, 2))}, {"y": random.standard_normal((2, 2, 1))}, np.cos(flat * 9)
    for name, arguments in {
        "hvp": (x, y, vector),
        "gauss_newton_product": (x, y, vector),
        "sample_gradients": (x, y),
    }.items():
        right, found = (getattr(net, name)(flat, *arguments) for net in (cpu, cuda))
        there = getattr(cuda, name)(to_device(flat), *arguments)
        np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max(), err_msg=name)
        assert not isinstance(there, np.ndarray) and same_bits(to_host(there), found)
    right, found = (net.jacobian(flat, x)["y"] for net in (cpu, cuda))
    np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())


def test_what_there_is_not():
    layer, x = nr.RNN(2), to_device(np.ones((2, 1, 2)))
    tape = layer.forward(p := layer.init(2, dtype="float64").to("cuda"), x)[2]
    for name, given in {"dp": np.ones(len(p)), "dx": np.ones((2, 1, 2)), "dstate": np.ones((1, 1, 2))}.items():
        with pytest.raises(nr.DeviceError, match=f"{name}: expected (one|an array) on device 'cuda'"):
            layer.jvp(tape, **{name: given})


def lost(name):
    """What `tangents._add_product` is but for the product with one weight."""
    add = tangents_of_device._add_product
    return lambda size, which, *rest: None if which == name else add(size, which, *rest)


@pytest.mark.parametrize(
    "name, kind", [("input", "lstm"), ("recurrent", "lstm"), ("gated", "gru-before"), ("projection", "lstm-projected")]
)
def test_a_lost_product_is_seen(name, kind, monkeypatch):
    monkeypatch.setattr(tangents_of_device, "_add_product", lost(name))
    with pytest.raises(AssertionError):
        check_parity(random_case(ALL_KINDS[kind](2), 2, 2, 2, seed=1))


@pytest.mark.parametrize("kind, row", [("lstm-normalized", "h"), ("gru-normalized", "mean")])
def test_a_lost_part_of_a_normalization_is_seen(kind, row, monkeypatch):
    find = rows_of_device._normalized
    if row == "mean":  # each number by itself
        monkeypatch.setattr(rows_of_device, "_normalized", lambda self, sums, hats, scales: scales[:, None, None] * sums)
    else:  # what the output sees of c
        last = lambda self, sums, *rest: 0 * sums if sums.shape[2] == 1 else find(self, sums, *rest)  # noqa: E731
        monkeypatch.setattr(rows_of_device, "_normalized", last)
    with pytest.raises(AssertionError):
        check_parity(random_case(ALL_KINDS[kind](2), 2, 2, 2, seed=1))


def test_a_lost_row_of_the_jacobian_is_seen(monkeypatch):
    find = tangents_of_device.slopes
    for row, number in [(0, 0), (1, -1)]:

        def spoiled(tape, row=row, number=number):
            found = find(tape)
            found[row, number] = 0
            return found

        monkeypatch.setattr(tangents_of_device, "slopes", spoiled)
        with pytest.raises(AssertionError):
            check_parity(random_case(nr.LSTM(2), 2, 2, 2, seed=1))


def test_both_targets_take_the_same():
    cpu, cuda = (inspect.signature(module.Tangents) for module in (tangent_launch, tangents_of_device))
    assert cpu == cuda
