"""Products with Hessians: the slopes of gradients, of every kind of layer and loss, and dual numbers in kernels."""

from dataclasses import dataclass

import numba
import numpy as np
import pytest
from checks import same_bits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.cells import DenseCell, activation
from numbarnn.cpu import elementwise

el = nr.elementary
DALE = nr.Connectivity(mask=1 - np.eye(4), signs=[1, 1, -1, 1])
FUNCTIONS = [
    "tanh",
    "sigmoid",
    "softplus",
    "gelu",
    "silu",
    ("elu", 0.7),
    "softsign",
    ("hard_sigmoid", 0.3, 0.4),
    ("scaled_tanh", 1.3, 0.7),
    ("leaky_relu", 0.1),
]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def slope(function, at, way, step=1e-3):
    """A difference of fourth order."""
    near, far = (function(at + k * step * way) - function(at - k * step * way) for k in (1, 2))
    return (8 * near - far) / (12 * step)


def hvp_error(net, x, y, loss="mse", seed=0, step=1e-3, **options):
    """How far `hvp` is from the slope of the gradient along a way of length 1, and the slope's largest number."""
    flat, way = net.params.flat.copy(), numbers(len(net.params), seed=seed + 1)
    way = (way / np.linalg.norm(way)).astype(net.dtype)
    found = net.hvp(flat, x, y, way, loss, **options)
    expected = slope(lambda at: net.loss_and_gradient(at, x, y, loss, **options)[1], flat, way, step)
    return np.abs(found - expected).max(), max(1, np.abs(expected).max())


def check(net, x, y, *args, **options):
    error, size = hvp_error(net, x, y, *args, **options)
    assert error < 1e-9 * size, f"{net}: {error:.3g} of {size:.3g}"


def network(*layers, channels=2, dtype="float64", layout="tnc"):
    return nr.Network([*layers], channels, dtype=dtype, layout=layout, seed=1)


@pytest.mark.parametrize("name", FUNCTIONS, ids=str)
def test_functions_of_dual_numbers(name):
    cell, x, way = DenseCell(activation(name)), 2 * numbers(21), numbers(21, seed=1)
    found = elementwise.value(cell, x + 1j * way)
    assert np.array_equal(found.real, elementwise.value(cell, x))  # the value has the bits that it has without a tangent
    expected = slope(lambda at: elementwise.value(cell, at), x, way, 1e-4)
    np.testing.assert_allclose(found.imag, expected, rtol=0, atol=1e-9)
    kept = found if cell.activation.from_output else x + 1j * way
    second = np.empty(21, np.complex128)
    elementwise.times_slope(cell, kept, np.ones(21, np.complex128), second)

    def first(at):
        y, dx = elementwise.value(cell, at), np.empty(21)
        elementwise.times_slope(cell, y if cell.activation.from_output else at, np.ones(21), dx)
        return dx

    np.testing.assert_allclose(second.imag, slope(first, x, way, 1e-4), rtol=0, atol=1e-8)


@pytest.mark.parametrize("hidden", [1, 5, 11])
def test_dense_layers(hidden):
    net = network(nr.Dense(hidden, "tanh"), nr.Activation("softplus"), nr.Dense(2, "gelu"))
    check(net, numbers(5, 4, 2), numbers(5, 4, 2, seed=1))


@dataclass(frozen=True)
class OwnCell(nr.Cell):
    """``h' = c' sqrt(1 + u^2 h^2)``, ``c' = c / 2 + exp(-p^2) where p > 0 else 1 + p``: all that equations are made of."""

    gates = ("p",)
    states = 2
    slots, saved = 1, 1
    input_slots = input_gates = recurrent_slots = recurrent_gates = (0,)
    unit_values = ("u",)

    def forward(self, pre, state, per_unit):
        p = pre[0]
        c = state[1] / 2 + el.where(p > 0, el.exp(-p * p), 1 + p)
        return (c * el.sqrt(1 + per_unit[0] * per_unit[0] * state[0] * state[0]), c), (p,)

    def adjoint(self, saved, state, new, dnew, per_unit):
        p, u, h = saved[0], per_unit[0], state[0]
        root = el.sqrt(1 + u * u * h * h)
        dc = dnew[1] + dnew[0] * root
        droot = dnew[0] * new[1] / root
        dp = dc * el.where(p > 0, -2 * p * el.exp(-p * p), 1)
        return (dp, droot * u * h * h), (droot * u * u * h, dc / 2)


@dataclass(frozen=True, repr=False)
class Own(nr.Recurrent):
    """A layer of `OwnCell`, whose u are parameters."""

    hidden: int
    layers: int = 1
    bidirectional: bool = False
    cell = OwnCell()
    unit_parameter = "u"


LAYERS = [
    nr.RNN(4, layers=2, bidirectional=True, merge="product", residual=True),
    nr.GRU(9, learned_state=True),
    nr.GRU(4, "before", clip=0.9),
    nr.LSTM(5, projection=2, layers=2),
    nr.LSTM(3, peepholes=True, coupled=True, bidirectional=True),
    nr.IndRNN(4, "tanh"),
    nr.MGU(4),
    nr.LeakyRNN(4, 0.3, "inside", learned=True),
    nr.GRU(4, connectivity=DALE),
    nr.LSTM(5, normalized=True),
    nr.LSTM(4, zoneout=0.2),
    Own(5, layers=2),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: repr(layer)[:40])
def test_recurrent_layers(layer):
    """Of more steps and rows than a panel of the product has, and of different lengths."""
    net = network(layer, nr.Dense(1))
    x, y = numbers(6, 7, 2), numbers(6, 7, 1, seed=1)
    check(net, x, y)
    check(net, x, y, lengths=np.array([3, 6, 0, 5, 1, 6, 2]))


@pytest.mark.parametrize(
    "layer",
    [nr.GRU(9, decay=True), nr.LSTM(3, decay=True), nr.GRUD(3, (0.3, -0.2), past=True)],
    ids=lambda layer: repr(layer),
)
def test_layers_whose_state_decays(layer):
    """At spans and rates where something is lost: there are no kinks near by."""
    grud = isinstance(layer, nr.GRUD)
    net = network(layer, nr.Dense(1), channels=6 if grud else 2)
    net.params.flat[:] += np.abs(numbers(len(net.params), seed=3)) / 4
    x, y = numbers(5, 4, net.channels), numbers(5, 4, 1, seed=1)
    if grud:
        x[..., 2:4] = x[..., 2:4] > 0
    x[..., 4 if grud else 1 :] = 1.2 + np.abs(x[..., 4 if grud else 1 :])
    check(net, x, y)
    check(net, x, y, lengths=np.array([3, 5, 0, 1]))


@settings(max_examples=12)
@given(
    st.integers(1, 7), st.integers(1, 14), st.sampled_from([1, 4, 8, 9, 17]), st.sampled_from(["tnc", "ntc", "cnt"]),
    st.booleans(),
)  # fmt: skip
def test_sizes_and_layouts(steps, batch, hidden, layout, last):
    order = ["tnc".index(letter) for letter in layout]
    net = network(nr.GRU(hidden), *([nr.Last()] if last else []), nr.Dense(2), layout=layout)
    x = numbers(steps, batch, 2).transpose(order)
    check(net, x, numbers(*net.predict(x).shape, seed=1), weights=np.arange(1.0, batch + 1))


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_pools_dropout_and_activations_between(kind):
    net = network(nr.GRU(3), nr.Activation("sigmoid"), nr.Dropout(0.5), nr.Pool(kind), nr.Dense(1))
    check(net, numbers(5, 4, 2), numbers(4, 1, seed=1))


def least_lead(images, windows):
    """By how much the greatest number of a window is ahead of the others, in the worst of all windows of (N, C)."""
    size = windows.channels, windows.height, windows.width
    border = [(0, 0), (0, 0), (windows.row_padding,) * 2, (windows.column_padding,) * 2]
    padded = np.pad(images.reshape(-1, *size), border, constant_values=-np.inf)
    found = np.lib.stride_tricks.sliding_window_view(padded, (windows.rows, windows.columns), (2, 3))
    found = found[:, :, :: windows.row_stride, :: windows.column_stride].reshape(-1, windows.rows * windows.columns)
    return np.inf if found.shape[1] == 1 else np.diff(np.sort(found, axis=1)[:, -2:], axis=1).min()


@settings(max_examples=25)
@given(st.data())
def test_layers_of_images(data):
    """Convolutions and pools of all kinds of windows, in vectors and one number at a time; none near a kink of a maximum."""
    draw, pair = data.draw, st.tuples(st.integers(1, 3), st.integers(1, 3))
    height, width, channels, steps, batch = (draw(st.integers(1, most)) for most in (7, 12, 2, 2, 3))

    def windows(pads):
        kernel = draw(pair.map(lambda k: (min(k[0], height), min(k[1], width))))
        return kernel, {"stride": draw(pair), "padding": tuple(draw(st.integers(0, pads(k))) for k in kernel)}

    (kernel, options), first = windows(lambda k: k - 1), [nr.Activation("tanh")]
    first.insert(0, nr.Conv2d(draw(st.integers(1, 3)), kernel, **options, shape=(channels, height, width)))
    _, height, width = first[0].output_shape
    (kernel, options), size = windows(lambda k: k // 2), channels * first[0].windows.height * first[0].windows.width
    pool = draw(st.sampled_from([nr.AvgPool2d, nr.MaxPool2d]))(kernel, **options, shape=first[0].output_shape)
    net = network(*first, pool, nr.Conv2d(2, 1), nr.Flatten(), nr.Dense(2, "tanh"), channels=size)
    x, below = numbers(steps, batch, size, seed=draw(st.integers(0, 99))), network(*first, channels=size)
    below.params.flat[:] = net.params.flat[: len(below.params)]
    assume(
        isinstance(pool, nr.AvgPool2d)
        or least_lead(below.predict(x).reshape(-1, *first[0].output_shape), pool.windows) > 3e-3
    )
    check(net, x, numbers(steps, batch, 2, seed=1), step=1e-4)


def test_images_of_two_steps_before_a_recurrent_layer_of_different_lengths():
    net = network(nr.Conv2d(2, 3), nr.Activation("softplus"), nr.MaxPool2d(2), nr.Flatten(), nr.GRU(3), channels=(1, 6, 6))
    x, y = (nr.Ragged.of([numbers(length, c, seed=length) for length in (3, 1, 2)]) for c in (36, 3))
    check(net, x, y, step=1e-4)


@pytest.mark.parametrize("kind", [nr.AvgPool2d, nr.MaxPool2d])
def test_products_of_images_are_symmetric_and_of_every_thread(kind):
    net = network(nr.Conv2d(3, 3), nr.Activation("tanh"), kind(2), nr.Flatten(), nr.Dense(2), channels=(2, 9, 9))
    x, y, (v, w) = numbers(3, 7, 162), numbers(3, 7, 2, seed=1), numbers(2, len(net.params), seed=2)
    hv, hw = (net.hvp(net.params.flat, x, y, way) for way in (v, w))
    assert abs(hv @ w - hw @ v) < 1e-12 * (1 + abs(hv @ w))
    numba.set_num_threads(1)
    one = net.hvp(net.params.flat, x, y, v)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert same_bits(one, hv)


def test_indices_and_labels():
    net = network(nr.Embedding(6, 3), nr.GRU(4), nr.Dense(3), channels=1)
    x = np.random.default_rng(0).integers(0, 5, (4, 3))
    y = np.random.default_rng(1).integers(0, 3, (4, 3))
    check(net, x, y, "cross_entropy")
    check(net, x, y, nr.CrossEntropy(smoothing=0.1, ignore_index=2, class_weights=(1, 2, 1)))
    check(net, x, y, "cross_entropy", weights=numbers(4, 3) ** 2, lengths=np.array([4, 2, 1]))


def test_resets_and_ragged():
    net, reset = network(nr.GRU(9), nr.Dense(1)), np.zeros((5, 4), bool)
    reset[2, 1] = reset[3, 0] = True
    check(net, numbers(5, 4, 2), numbers(5, 4, 1, seed=1), reset=reset)
    x, y = (nr.Ragged.of([numbers(length, c, seed=length) for length in (5, 2, 3)]) for c in (2, 1))
    check(net, x, y, "huber")


@pytest.mark.parametrize("loss", ["poisson_nll", "nash_sutcliffe", "gaussian_nll", "binary_cross_entropy"])
def test_losses(loss):
    net = network(nr.GRU(9), nr.Dense(2))
    y = np.abs(numbers(5, 4, nr.loss(loss).target_channels(2), seed=1)).clip(0, 1)
    check(net, numbers(5, 4, 2), y, loss)


def test_a_linear_model_has_its_gauss_newton_matrix():
    net, x, y = network(nr.Dense(2)), numbers(5, 4, 2), numbers(5, 4, 2, seed=1)
    v = numbers(len(net.params), seed=2)
    expected = net.gauss_newton_product(net.params.flat, x, y, v)
    np.testing.assert_allclose(net.hvp(net.params.flat, x, y, v), expected, rtol=0, atol=1e-14)


def test_it_is_linear_and_symmetric_and_of_any_size():
    net, x, y = network(nr.GRU(9), nr.Last(), nr.Dense(1)), numbers(5, 4, 2), numbers(4, 1, seed=1)
    flat, (v, w) = net.params.flat, numbers(2, len(net.params), seed=2)
    hv, hw = net.hvp(flat, x, y, v), net.hvp(flat, x, y, w)
    assert abs(hv @ w - hw @ v) < 1e-13 * (1 + abs(hv @ w))
    for size in (1e-290, 1e290):
        np.testing.assert_allclose(net.hvp(flat, x, y, size * v) / size, hv, rtol=1e-12, atol=1e-14)
    assert not net.hvp(flat, x, y, 0 * v).any()
    assert not np.shares_memory(net.hvp(flat, x, y, 0 * v), v)


def test_of_float32_it_is_the_rounded_product():
    single, double = (network(nr.GRU(9), nr.Last(), nr.Dense(1), dtype=dtype) for dtype in ("float32", "float64"))
    double.params.flat[:] = single.params.flat
    x, y, v = (a.astype(np.float32) for a in (numbers(5, 4, 2), numbers(4, 1), numbers(len(single.params))))
    found = single.hvp(single.params.flat, x, y, v)
    assert found.dtype == np.float32
    expected = double.hvp(double.params.flat, *(a.astype(np.float64) for a in (x, y, v)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


def test_threads_give_the_same_bits():
    net, x, y = network(nr.GRU(9), nr.Dense(1)), numbers(9, 13, 2), numbers(9, 13, 1)
    v = numbers(len(net.params))
    several = net.hvp(net.params.flat, x, y, v)
    numba.set_num_threads(1)
    one = net.hvp(net.params.flat, x, y, v)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert same_bits(one, several)


def test_pytorch_has_the_same_product():
    torch = pytest.importorskip("torch")
    net, x, y = network(nr.GRU(9), nr.Last(), nr.Dense(1)), numbers(6, 4, 2), numbers(4, 1, seed=1)
    names, v = net.params.names, numbers(len(net.params), seed=2)
    values, ways = (
        tuple(torch.tensor(nr.Parameters(flat, net.params.weights)[name].copy()) for name in names)
        for flat in (net.params.flat, v)
    )

    def loss(w, r, b, d, last, bias):
        h = torch.zeros(4, 9, dtype=torch.float64)
        for x_t in torch.tensor(x):
            (a_r, a_z, a_n), (s_r, s_z, s_n) = (x_t @ w.T + b).chunk(3, -1), (h @ r.T + d).chunk(3, -1)
            update = torch.sigmoid(a_z + s_z)
            h = (1 - update) * torch.tanh(a_n + torch.sigmoid(a_r + s_r) * s_n) + update * h
        return ((h @ last.T + bias - torch.tensor(y)) ** 2).mean()

    _, product = torch.autograd.functional.hvp(loss, values, ways)
    found = nr.Parameters(net.hvp(net.params.flat, x, y, v), net.params.weights)
    for name, expected in zip(names, product, strict=True):
        np.testing.assert_allclose(found[name], expected.numpy(), rtol=0, atol=1e-13)


def test_newton_by_conjugate_gradients_takes_it():
    from scipy.optimize import minimize

    net = network(nr.RNN(3), nr.Last(), nr.Dense(1), channels=1)
    x, y = nr.windows(np.sin(np.arange(40) / 3), 4)
    start = net.params.flat.copy()
    found = minimize(
        net.loss_and_gradient, start, args=(x, y), jac=True, method="trust-ncg",
        hessp=lambda flat, v, x, y: net.hvp(flat, x, y, v), options={"maxiter": 60, "gtol": 1e-7},
    )  # fmt: skip
    assert found.fun < 1e-3 and np.array_equal(net.params.flat, start)


def test_a_loss_that_it_does_not_know():
    net, x, y = network(nr.GRU(9), nr.Dense(1)), numbers(5, 4, 2), numbers(5, 4, 1)
    with pytest.raises(TypeError, match="loss: expected a loss of the library, or one with a method hessian_product"):
        net.hvp(net.params.flat, x, y, net.params.flat, lambda prediction, target: (0.0, prediction))
