"""Products with Hessians on the device: the numbers of the CPU's, of every kind of layer, and dual numbers in kernels."""

import numpy as np
import pytest
from checks import same_bits
from device_layer import to_device, to_host
from test_hvp import FUNCTIONS, Own

import numbarnn as nr
from numbarnn.cells import DenseCell, activation, duals
from numbarnn.cpu import elementwise as elementwise_of_cpu
from numbarnn.cuda import asarray, dual_steps, elementwise, empty
from numbarnn.cuda.device import SIMULATED
from numbarnn.networks import derived

TOLERANCE = 1e-12  # of the largest number of a product
LENGTHS = np.array([2, 3, 0])
LAYERS = {
    "rnn": nr.RNN(3, layers=2, bidirectional=True, merge="product", residual=True),
    "gru": nr.GRU(3, learned_state=True),
    "gru-before": nr.GRU(2, "before", clip=0.9, bidirectional=True),
    "lstm": nr.LSTM(2, layers=2, bidirectional=True),
    "lstm-projected": nr.LSTM(3, projection=2, layers=2),
    "lstm-peepholes": nr.LSTM(2, peepholes=True, coupled=True, bidirectional=True),
    "indrnn": nr.IndRNN(3, "tanh"),
    "mgu": nr.MGU(3),
    "leaky": nr.LeakyRNN(3, 0.3, "inside", learned=True),
    "connectivity": nr.GRU(2, connectivity=nr.Connectivity(mask=np.array([[0.0, 1.0], [1.0, 1.0]]), signs=[1, -1])),
    "zoneout": nr.LSTM(2, zoneout=0.2),
    "decay": nr.GRU(2, decay=True),
}


@pytest.fixture
def no_host(monkeypatch):
    """Nothing but what is read of the loss comes to the host: the network is not computed there."""

    def refuse(*args):
        raise AssertionError("the network was copied to the host")

    monkeypatch.setattr(nr.Network, "to", refuse)
    monkeypatch.setattr(nr.Graph, "to", refuse)
    monkeypatch.setattr(derived, "on_host", refuse)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def pair(layers, channels=2, dtype="float64", layout="tnc"):
    """A network on the CPU, and one on the device with the same parameters."""
    return [nr.Network(layers, channels, dtype=dtype, layout=layout, seed=1, device=device) for device in ("cpu", "cuda")]


def check(layers, x, y=None, loss="mse", channels=2, again=False, **options):
    """Assert that device and CPU have the same product, that is not 0; again: and the device the same bits again."""
    cpu, cuda = pair(layers, channels)
    flat, way = cpu.params.flat, numbers(len(cpu.params), seed=2)
    y = numbers(*cpu.predict(x).shape, seed=1) if y is None else y
    right, found = (net.hvp(flat, x, y, way, loss, **options) for net in (cpu, cuda))
    assert np.abs(right).max() > 0
    np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())
    if again:
        assert same_bits(cuda.hvp(flat, x, y, way, loss, **options), found)


@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_layers(name, no_host):
    x = numbers(3, 3, 2)
    if name == "decay":
        x[..., 1] = 1.2 + np.abs(x[..., 1])
    check([LAYERS[name], nr.Dense(1)], x, lengths=LENGTHS)
    check([LAYERS[name], nr.LastStep(), nr.Dense(1)], x[:2])


def test_own_cells(no_host):
    check([Own(2), nr.Dense(1)], numbers(3, 2, 2), lengths=np.array([3, 1]))


def test_resets_and_ragged(no_host):
    reset = np.zeros((3, 3), bool)
    reset[1, 1] = reset[2, 0] = True
    check([nr.GRU(2), nr.Dense(1)], numbers(3, 3, 2), reset=reset, again=True)
    x, y = (nr.Ragged.of([numbers(length, c, seed=length) for length in (3, 1, 2)]) for c in (2, 1))
    check([nr.LSTM(2), nr.Dense(1)], x, y, "huber")


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_layers_between(kind, no_host):
    layers = [nr.GRU(2), nr.Activation("sigmoid"), nr.Dropout(0.5), nr.Dense(2, "gelu"), nr.Pool(kind), nr.Dense(1)]
    check(layers, numbers(3, 2, 2), lengths=np.array([3, 1]))


@pytest.mark.parametrize("kind", [nr.AvgPool2d, nr.MaxPool2d])
def test_images(kind, no_host):
    layers = [nr.Conv2d(2, 2), nr.Activation("tanh"), kind(2), nr.Flatten(), nr.Dense(1)]
    check(layers, numbers(2, 2, 25), channels=(1, 5, 5))


def test_indices_and_gaps(no_host):
    x, y = (np.random.default_rng(seed).integers(0, 3, (3, 2)) for seed in (0, 1))
    check([nr.Embedding(4, 2), nr.RNN(2), nr.Dense(3)], x, y, "cross_entropy", channels=1)
    x = numbers(3, 2, 6)
    x[..., 2:4], x[..., 4:] = x[..., 2:4] > 0, 1.2 + np.abs(x[..., 4:])
    check([nr.GRUD(2, (0.3, -0.2), past=True), nr.Dense(1)], x, channels=6)


@pytest.mark.parametrize("loss", ["poisson_nll", "nash_sutcliffe", "gaussian_nll", "binary_cross_entropy"])
def test_losses(loss, no_host):
    y = np.abs(numbers(3, 2, nr.loss(loss).target_channels(2), seed=1)).clip(0, 1)
    check([nr.RNN(2), nr.Dense(2)], numbers(3, 2, 2), y, loss, weights=np.array([1.0, 0.5]))


def test_graphs(no_host):
    nodes = {"h": nr.Node(nr.GRU(2), "x"), "y": nr.Node(nr.Dense(1), ["h", "x"])}
    cpu, cuda = (nr.Graph({"x": 2}, nodes, "y", "float64", seed=0, device=device) for device in ("cpu", "cuda"))
    x, y, way = {"x": numbers(2, 2, 2)}, {"y": numbers(2, 2, 1)}, numbers(len(cpu.params))
    right, found = (net.hvp(cpu.params.flat, x, y, way) for net in (cpu, cuda))
    np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())


def test_layouts_sizes_of_the_vector_and_where_it_lies(no_host):
    cpu, cuda = pair([nr.RNN(2), nr.Dense(1)], layout="ntc")
    flat, x, y, way = cpu.params.flat, numbers(2, 3, 2), numbers(2, 3, 1), numbers(len(cpu.params))
    right, found = (net.hvp(flat, x, y, way) for net in (cpu, cuda))
    np.testing.assert_allclose(found, right, rtol=0, atol=TOLERANCE * np.abs(right).max())
    there = cuda.hvp(*to_device((flat, x, y, way)))
    assert not isinstance(there, np.ndarray) and same_bits(to_host(there), found)
    for size in (1e-290, 1e290):
        np.testing.assert_allclose(cuda.hvp(flat, x, y, size * way) / size, found, rtol=1e-12, atol=1e-14)
    assert not cuda.hvp(flat, x, y, 0 * way).any()


def test_of_float32_it_is_computed_in_float64(no_host):
    cpu, cuda = pair([nr.GRU(2), nr.Dense(1)], dtype="float32")
    x, y, way = (a.astype(np.float32) for a in (numbers(3, 2, 2), numbers(3, 2, 1), numbers(len(cpu.params))))
    right, found = (net.hvp(cpu.params.flat, x, y, way) for net in (cpu, cuda))
    assert found.dtype == np.float32
    # The outputs, from which the loss's derivatives are computed in float32, may be rounded otherwise.
    np.testing.assert_allclose(found, right, rtol=0, atol=4 * np.finfo(np.float32).eps * np.abs(right).max())


def test_normalized_layers_are_computed_on_the_host():
    cpu, cuda = pair([nr.LSTM(2, normalized=True), nr.Dense(1)])
    flat, x, y, way = cpu.params.flat, numbers(2, 2, 2), numbers(2, 2, 1), numbers(len(cpu.params))
    assert same_bits(cuda.hvp(flat, x, y, way), cpu.hvp(flat, x, y, way))


@pytest.mark.parametrize("name", [*FUNCTIONS, "relu", ("thresholded_relu", 0.5)], ids=str)
def test_functions_of_dual_numbers(name):
    """Also at kinks and far out: the CPU's slopes, of the function and of its derivative."""
    cell = DenseCell(activation(name))
    x = np.array([-800.0, -40.0, -2.5, -1.0, -0.3, 0.0, 0.3, 0.5, 1.0, 2.5, 40.0, 800.0]) + 1j * numbers(12)
    right, found = elementwise_of_cpu.value(cell, x), elementwise.value(cell, asarray(x)).get()
    kept, dy, expected = (
        right if cell.activation.from_output else x,
        numbers(12) + 1j * numbers(12, seed=1),
        np.empty_like(x),
    )
    elementwise_of_cpu.times_slope(cell, kept, dy, expected)
    slopes = empty(x.shape, x.dtype)
    elementwise.times_slope(cell, asarray(kept), asarray(dy), slopes)
    for a, b in ((found, right), (slopes.get(), expected)):
        # The simulator has the logistic function from tanh: right to the spacing of numbers at 1.
        np.testing.assert_allclose(a.real, b.real, rtol=1e-13, atol=np.finfo(float).eps)
        np.testing.assert_allclose(a.imag, b.imag, rtol=1e-12, atol=1e-14)


def test_operators_of_dual_numbers():
    """Those of a value and a tangent, beside each other, Python's numbers and NumPy's."""
    a, b, step = duals.DualNumber(1.5, 0.7), duals.DualNumber(-0.4, 2.0), 1e-6
    for name, operation in {
        "sum": lambda a, b: a + b + 1 + np.float64(2),
        "difference": lambda a, b: 1 - (a - b - 2),
        "product": lambda a, b: np.float64(3) * a * b * 2,
        "quotient": lambda a, b: a / b / 2 + 1 / b,
        "signs": lambda a, b: -a + abs(b) + +a * abs(a),
        "root": lambda a, b: nr.elementary.sqrt(a * a + b * b),
        "small": lambda a, b: nr.elementary.expm1(b) + nr.elementary.full_like(a, 2) * a,
    }.items():
        found = operation(a, b)
        ahead, behind = (operation(1.5 + s * 0.7, -0.4 + s * 2.0) for s in (step, -step))
        assert found.value == pytest.approx(operation(1.5, -0.4), rel=1e-15), name
        assert found.tangent == pytest.approx((ahead - behind) / (2 * step), rel=1e-8), name
    assert complex(a) == 1.5 + 0.7j and b < a and a > 1 and a >= 1.5 and b <= -0.4 and a == 1.5 and a != b


def still(number):
    """A dual number that does not move."""
    return duals.DualNumber(number.value, 0.0) if isinstance(number, duals.DualNumber) else number


def mutants():
    """[(description, place, name, mutant)] of dual numbers on the device."""
    dot, back, adjoint, rule = dual_steps.dot, dual_steps.go_on_back, dual_steps.adjoint_step, duals.BY_NAME["sigmoid"]
    multiply = duals.DualNumber.__mul__

    def other_weights(real, source, start, weights, first, stride, depth):
        return dot(real, source, start, weights, first, stride, max(depth - 1, 0))

    return [
        ("products that do not move", dual_steps, "dot", lambda *given: still(dot(*given))),
        ("a number less in each sum", dual_steps, "dot", other_weights),
        ("no way back through R", dual_steps, "go_on_back", lambda *given: None),
        ("twice", dual_steps, "go_on_back", lambda *given: (back(*given), back(*given))),
        ("the last adjoint", dual_steps, "adjoint_step", lambda *given: adjoint(*given) if given[8] else None),
        ("a slope of the first order", duals.BY_NAME, "sigmoid", lambda x, tangent: (rule(x, tangent)[0], tangent / 4)),
        ("half of the rule for products", duals.DualNumber, "__mul__", lambda a, b: multiply(still(a), b)),
    ]


@pytest.mark.skipif(not SIMULATED, reason="a compiled kernel has the functions that it was compiled with")
@pytest.mark.parametrize("place, name, mutant", [pytest.param(*rest, id=what) for what, *rest in mutants()])
def test_mutants_are_seen(place, name, mutant, monkeypatch):
    if isinstance(place, dict):
        monkeypatch.setitem(place, name, mutant)
    else:
        monkeypatch.setattr(place, name, mutant)
    with pytest.raises(AssertionError):
        check([nr.GRU(2, "before"), nr.LSTM(1), nr.Dense(1)], numbers(2, 2, 2))
