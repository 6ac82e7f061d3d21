"""The kernels' vector functions against NumPy's extended precision, in units in the last place."""

import os

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import ndtr

from numbarnn.cells import RNNCell, activation, elementary
from numbarnn.cells.activations import FUNCTIONS
from numbarnn.cpu import simd, types, vectors  # noqa: F401 (what kernels know of activation functions)

DTYPES = ("float32", "float64")
REFERENCE_ULP = 0.0 if np.finfo(np.longdouble).nmant > 52 else 1.0
STRIDE = int(os.environ.get("NUMBARNN_ULP_STRIDE", "101"))  # 1: every float32; odd, so that the last bits vary


def normal_below(x):
    """P(X < x) of a standard normal X, by Taylor series around 0 and by continued fraction in the tails."""
    if x.dtype == np.float64:
        return ndtr(x)
    t = np.minimum(np.abs(x), 60)
    half_digits = t.astype(np.float32).astype(x.dtype)  # its square is exact
    e = np.exp(-half_digits * half_digits / 2) * np.exp(-(t - half_digits) * (t + half_digits) / 2)
    density = e / np.sqrt(2 * np.arccos(x.dtype.type(-1)))
    near, term, total = np.minimum(t, 2), np.minimum(t, 2), np.minimum(t, 2)
    for n in range(3, 80, 2):
        term = term * near * near / n
        total = total + term
    fraction = np.maximum(t, 2)
    for n in range(200, 0, -1):
        fraction = np.maximum(t, 2) + n / fraction
    tail = np.where(t < 2, 0.5 - density * total, density / fraction)
    return np.where(x < 0, tail, 1 - tail)


def normal_density(x):
    """The density of a standard normal variable."""
    return np.exp(-x * x / 2) / np.sqrt(2 * np.arccos(x.dtype.type(-1)))


def logistic(x):
    """``1 / (1 + exp(-x))``."""
    return 1 / (1 + np.exp(-x))


def softplus(x):
    """``log(1 + exp(x))``."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


VALUES = {
    "relu": lambda x: np.where(x < 0, 0, x),
    "tanh": np.tanh,
    "sigmoid": logistic,
    "affine": lambda x: x,
    ("affine", -0.75): lambda x: x * -0.75,
    ("leaky_relu", 0.25): lambda x: np.where(x < 0, 0.25 * x, x),
    ("leaky_relu", -0.5): lambda x: np.where(x < 0, -0.5 * x, x),
    "thresholded_relu": lambda x: np.where(x > 1, x, 0),
    ("thresholded_relu", -2): lambda x: np.where(x > -2, x, 0),
    "scaled_tanh": np.tanh,
    ("scaled_tanh", -1.5, 0.5): lambda x: -1.5 * np.tanh(0.5 * x),
    ("scaled_tanh", 0): lambda x: 0 * x,
    "elu": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    ("elu", -0.75): lambda x: np.where(x < 0, -0.75 * np.expm1(np.minimum(x, 0)), x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": softplus,
    "identity": lambda x: x,
    "gelu": lambda x: x * normal_below(x),
    "silu": lambda x: x * logistic(x),
}
CANCELLING = {  # of sums: in units of the largest term
    "hard_sigmoid": lambda x: np.clip(x / 5 + 0.5, 0, 1),
    ("hard_sigmoid", 0.5, -0.25): lambda x: np.clip(0.5 * x - 0.25, 0, 1),
    ("affine", 0.75, -0.5): lambda x: 0.75 * x - 0.5,
}
ALL = VALUES | CANCELLING
LARGEST = {  # documented in docs/activations.rst
    "float32": {
        "tanh": 2.5, "scaled_tanh": 2.5, "sigmoid": 2.5, "elu": 1.2, "softsign": 1.5, "softplus": 3.0, "gelu": 10.0,
        "silu": 3.5,
    },
    "float64": {
        "tanh": 3.0, "scaled_tanh": 3.0, "sigmoid": 2.5, "elu": 2.0, "softsign": 1.5, "softplus": 3.0, "gelu": 11.0,
        "silu": 3.5,
    },
}  # fmt: skip
SLOPES = {  # as functions of the input
    "relu": lambda x: x > 0,
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
    "sigmoid": lambda x: logistic(x) * logistic(-x),
    "affine": np.ones_like,
    ("affine", -0.75): lambda x: np.full_like(x, -0.75),
    ("affine", 0.75, -0.5): lambda x: np.full_like(x, 0.75),
    ("leaky_relu", 0.25): lambda x: np.where(x > 0, 1, 0.25),
    ("leaky_relu", -0.5): lambda x: np.where(x > 0, 1, -0.5),
    "thresholded_relu": lambda x: x > 1,
    ("thresholded_relu", -2): lambda x: x > -2,
    "scaled_tanh": lambda x: 1 - np.tanh(x) ** 2,
    ("scaled_tanh", -1.5, 0.5): lambda x: -0.75 * (1 - np.tanh(0.5 * x) ** 2),
    ("scaled_tanh", 0): lambda x: 0 * x,
    "hard_sigmoid": lambda x: np.where(np.abs(x) < 2.5, 0.2, 0),
    ("hard_sigmoid", 0.5, -0.25): lambda x: np.where((x > 0.5) & (x < 2.5), 0.5, 0),
    "elu": lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))),
    ("elu", -0.75): lambda x: np.where(x > 0, 1, -0.75 * np.exp(np.minimum(x, 0))),
    "softsign": lambda x: 1 / (1 + np.abs(x)) ** 2,
    "softplus": logistic,
    "identity": np.ones_like,
    "gelu": lambda x: normal_below(x) + x * normal_density(x),
    "silu": lambda x: logistic(x) * (1 + x * logistic(-x)),
}
SLOPES_OF_OUTPUTS = {
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
    "relu": lambda y: (y > 0).astype(y.dtype),
    "identity": np.ones_like,
}
LIMITS = {
    "tanh": (-1, 1),
    "sigmoid": (0, 1),
    "relu": (0, np.inf),
    "identity": (-np.inf, np.inf),
    ("affine", 0, 2): (2, 2),
    ("affine", -1): (np.inf, -np.inf),
    "leaky_relu": (-np.inf, np.inf),
    ("leaky_relu", 0): (0, np.inf),
    "thresholded_relu": (0, np.inf),
    "scaled_tanh": (-1, 1),
    ("scaled_tanh", 2, 0): (0, 0),
    "hard_sigmoid": (0, 1),
    ("hard_sigmoid", 0): (0.5, 0.5),
    "elu": (-1, np.inf),
    ("elu", 0): (0, np.inf),
    "softsign": (-1, 1),
    "softplus": (0, np.inf),
    "gelu": (0, np.inf),
    "silu": (0, np.inf),
}


@numba.njit
def on_vectors(real, cell, slopes, address, vectors):
    """Overwrite `vectors` vectors at `address` with the cell's activation, or with its slopes there."""
    for i in range(vectors):
        place = address + i * simd.lanes(real) * simd.size_of(real)
        x = simd.load(real, place)
        simd.store(cell.activation.slope(x) if slopes else cell.activation.value(x), place)


def computed(spec, x, slopes=False):
    """Values, or slopes from what is kept, at the numbers of a 1-D array."""
    lanes = vectors.lanes_of(x.dtype)
    padded = np.zeros(-(-len(x) // lanes) * lanes, x.dtype)
    padded[: len(x)] = x
    on_vectors(x.dtype.type(0), RNNCell(activation(spec)), slopes, padded.ctypes.data, len(padded) // lanes)
    return padded[: len(x)]


def units_off(found, exact):
    """Largest error in units in the last place of the exact number's neighbourhood."""
    return (np.abs(found.astype(np.longdouble) - exact) / np.spacing(np.abs(exact.astype(found.dtype)))).max()


def kept(spec, x):
    """What the function keeps of x."""
    return computed(spec, x) if activation(spec).from_output else x


def sample(dtype):
    """Numbers of every size a gate meets, both signs."""
    small = np.geomspace(1e-30, 1, 20_001)
    middle = np.linspace(0, 25, 100_003)
    large = np.linspace(25, 85, 10_001)
    numbers = np.concatenate([small, middle, large]).astype(dtype)
    return np.concatenate([numbers, -numbers])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", VALUES, ids=str)
def test_accuracy(spec, dtype):
    x = sample(dtype)
    x = x[x > -20] if spec == "gelu" else x
    exact = VALUES[spec](x.astype(np.longdouble))
    assert units_off(computed(spec, x), exact) <= largest(spec, dtype) + REFERENCE_ULP


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", CANCELLING, ids=str)
def test_accuracy_of_sums(spec, dtype):
    x = sample(dtype)
    f = activation(spec)
    terms = np.abs(f.alpha * x) + abs(f.beta)
    error = np.abs(computed(spec, x) - CANCELLING[spec](x.astype(np.longdouble)))
    assert (error <= np.finfo(dtype).eps * terms).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec, tail", [("gelu", (-37, -10)), ("silu", (-700, -20)), ("softplus", (-700, -20))], ids=str)
def test_accuracy_in_the_tail(spec, tail, dtype):
    low, high = tail
    low = max(low, {"gelu": -12.5}.get(spec, -80)) if dtype == "float32" else low
    x = np.linspace(low, high, 10_001).astype(dtype)
    exact = VALUES[spec](x.astype(np.longdouble))
    assert units_off(computed(spec, x), exact) <= {"gelu": 20}.get(spec, largest(spec, dtype)) + REFERENCE_ULP


def largest(spec, dtype):
    """The largest error allowed, in units in the last place; a product, or a copy, is right to the last one."""
    name, scaled = (spec, False) if isinstance(spec, str) else (spec[0], True)
    return LARGEST[dtype][name] + scaled if name in LARGEST[dtype] else 0.5


def patterns(dtype):
    """Arrays of numbers in [0, 20] that are evenly spaced as bit patterns: of float32 every STRIDE-th."""
    integer = np.dtype(dtype.replace("float", "uint"))
    first, last = (int(np.array(x, dtype).view(integer)) for x in (0 if dtype == "float32" else 2.0**-30, 20))
    stride = STRIDE * (1 if dtype == "float32" else (last - first) >> 27 | 1)
    for start in range(first, last + 1, stride << 20):
        yield np.arange(start, min(start + (stride << 20), last + 1), stride, integer).view(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", ["tanh", "sigmoid", "elu", "softsign", "softplus", "gelu", "silu"])
def test_largest_error(spec, dtype):
    wide, reference_ulp = ("float64", 0) if dtype == "float32" else (np.longdouble, REFERENCE_ULP)
    worst = 0
    for size in patterns(dtype):
        for x in (size, -size):
            exact = VALUES[spec](x.astype(wide))
            error = np.abs(computed(spec, x).astype(wide) - exact)
            worst = max(worst, (error / np.spacing(np.abs(exact.astype(dtype)))).max())
    print(f"{spec}, {dtype}: {worst:.4f} units in the last place")
    assert worst <= largest(spec, dtype) + reference_ulp


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", SLOPES_OF_OUTPUTS)
def test_slope_from_the_output(spec, dtype):
    y = VALUES[spec](sample(dtype).astype(np.longdouble)).astype(dtype)
    np.testing.assert_array_equal(computed(spec, y, slopes=True), SLOPES_OF_OUTPUTS[spec](y))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", SLOPES, ids=str)
def test_slope(spec, dtype):
    """To some roundings of the largest slope, away from where a sum that rounds to 0 or 1 hides a kink."""
    x = sample(dtype)
    x = x[np.abs(np.abs(x) - 2.5) > 1e-6] if "hard_sigmoid" in str(spec) else x
    found = computed(spec, kept(spec, x), slopes=True)
    exact = np.asarray(SLOPES[spec](x.astype(np.longdouble)), np.longdouble)
    assert np.abs(found - exact).max() <= 4 * np.finfo(dtype).eps * np.abs(exact).max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_of_gelu_and_silu_in_the_tail(dtype):
    x = np.linspace(-12, -3, 10_001).astype(dtype)
    for spec in ("gelu", "silu"):
        exact = SLOPES[spec](x.astype(np.longdouble))
        np.testing.assert_allclose(computed(spec, x, slopes=True), exact, rtol=100 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", ALL | LIMITS, ids=str)
def test_nan_stays_nan_and_nothing_else_becomes_one(spec, dtype):
    finite = [0, -0.0, np.finfo(dtype).max, np.finfo(dtype).min, 1]
    x = np.array([np.nan, np.copysign(np.nan, -1), np.inf, -np.inf, *finite], dtype)
    y = computed(spec, x)
    assert np.isnan(y[:2]).all() and not np.isnan(y[2:]).any()
    assert not np.isnan(computed(spec, kept(spec, x[2:]), slopes=True)).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", LIMITS, ids=str)
def test_limits(spec, dtype):
    below, above = LIMITS[spec]
    y = computed(spec, np.array([-np.inf, np.inf], dtype))
    assert y[1] == above
    assert y[0] == below or 0 < y[0] - below < 10 * np.finfo(dtype).tiny


def bits(x):
    """The array as unsigned integers: a comparison that tells zeros apart."""
    return x.view(x.dtype.str.replace("f", "u"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "relu", "identity", "elu", "softsign"])
def test_zeros_and_denormals_stay(name, dtype):
    tiny = np.finfo(dtype).tiny * np.array([0, np.finfo(dtype).eps, 0.1, 0.999, 1, 1000], dtype)
    np.testing.assert_array_equal(bits(computed(name, tiny)), bits(tiny))
    negative = computed(name, -tiny)
    assert np.signbit(negative[0])
    np.testing.assert_array_equal(negative, 0 if name == "relu" else -tiny)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_of_next_to_nothing(dtype):
    tiny = np.finfo(dtype).tiny * np.array([0, np.finfo(dtype).eps, 0.1, 1], dtype)
    np.testing.assert_array_equal(computed("sigmoid", np.concatenate([tiny, -tiny])), 0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd(dtype):
    x = np.concatenate([sample(dtype), np.array([0, np.inf, np.finfo(dtype).tiny / 8], dtype)])
    np.testing.assert_array_equal(bits(computed("tanh", -x)), bits(-computed("tanh", x)))


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-50, 50)))
def test_range(x):
    tanh, sigmoid = computed("tanh", x), computed("sigmoid", x)
    assert (np.abs(tanh) <= 1).all() and (sigmoid > 0).all() and (sigmoid <= 1).all()


@given(st.sampled_from(list(ALL)), hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-50, 50)))
def test_a_number_does_not_depend_on_its_lane(spec, x):
    alone = np.concatenate([computed(spec, x[[i]]) for i in range(len(x))])
    np.testing.assert_array_equal(computed(spec, x), alone)


@pytest.mark.parametrize("spec", ALL, ids=str)
def test_one_number_in_plain_python(spec):
    f = activation(spec)
    for x in (-30.0, -1.5, -1e-9, 0.0, 0.3, 40.0):
        exact = np.longdouble(x)
        y = f.value(x)
        assert y == pytest.approx(float(ALL[spec](exact)), rel=1e-12, abs=1e-15)
        kept = f.keep(x, y)
        assert f.output(kept) == y
        assert f.slope(kept) == pytest.approx(float(SLOPES[spec](exact)), rel=1e-12, abs=1e-15)
    assert np.isnan(f.value(np.nan))
    for x in (-np.inf, np.inf, -1000.0, 1000.0):
        assert not np.isnan([f.value(x), f.slope(f.keep(x, f.value(x)))]).any()


def test_which_keep_the_input():
    specs = ["gelu", "silu", ("leaky_relu", -0.1), ("elu", 0), ("elu", -1), ("thresholded_relu", -1), ("scaled_tanh", 0)]
    assert not any(activation(spec).from_output for spec in specs)
    assert all(activation(spec).from_output for spec in FUNCTIONS if spec not in specs)


def by_torch(spec):
    """The same function of PyTorch."""
    functional = pytest.importorskip("torch").nn.functional
    return {
        "relu": functional.relu,
        "tanh": functional.tanh,
        "sigmoid": functional.sigmoid,
        ("leaky_relu", 0.25): lambda x: functional.leaky_relu(x, 0.25),
        "thresholded_relu": lambda x: functional.threshold(x, 1, 0),
        ("hard_sigmoid", 1 / 6, 0.5): lambda x: (x / 6 + 0.5).clamp(0, 1),  # hardsigmoid has 1 / 6 in float32
        ("elu", 0.75): lambda x: functional.elu(x, 0.75),
        "softsign": functional.softsign,
        "softplus": lambda x: functional.softplus(x, threshold=1000),
        "gelu": functional.gelu,
        "silu": functional.silu,
    }[spec]


@pytest.mark.parametrize(
    "spec",
    ["relu", "tanh", "sigmoid", ("leaky_relu", 0.25), "thresholded_relu", ("hard_sigmoid", 1 / 6, 0.5), ("elu", 0.75),
     "softsign", "softplus", "gelu", "silu"],
    ids=str,
)  # fmt: skip
def test_beside_torch(spec):
    function = by_torch(spec)
    x = np.concatenate([np.linspace(-30, 30, 9_998), [0.0, 1.0]])  # 0 and 1: at kinks, too
    import torch

    inputs = torch.tensor(x, requires_grad=True)
    outputs = function(inputs)
    outputs.sum().backward()
    np.testing.assert_allclose(computed(spec, x), outputs.detach().numpy(), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(computed(spec, kept(spec, x), slopes=True), inputs.grad.numpy(), rtol=0, atol=1e-14)


@numba.njit
def elementary_on_vectors(real, which, address, vectors):
    """Overwrite vectors at `address` with an elementary function of them."""
    for i in range(vectors):
        place = address + i * simd.lanes(real) * simd.size_of(real)
        x = simd.load(real, place)
        if which == 0:
            y = elementary.exp(x)
        elif which == 1:
            y = elementary.expm1(x)
        elif which == 2:
            y = elementary.sqrt(x)
        elif which == 3:
            y = elementary.normal(x)[0]
        elif which == 4:
            y = elementary.normal(x)[1]
        else:
            y = elementary.where(x >= 1, -x, elementary.where(x <= -1, abs(x), 0.5))
        simd.store(y, place)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "which, exact, ulp",
    [
        (0, np.exp, 2),
        (1, np.expm1, 2),
        (2, lambda x: np.sqrt(np.where(x < 0, np.nan, x)), 0.5),
        (3, normal_below, 8),
        (4, normal_density, 8),
        (5, lambda x: np.where(x >= 1, -x, np.where(x <= -1, np.abs(x), 0.5)), 0),
    ],
)
def test_elementary_functions(which, exact, ulp, dtype):
    lanes = vectors.lanes_of(dtype)
    x = np.linspace(-8, 80, 400 * lanes).astype(dtype)
    y = x.copy()
    elementary_on_vectors(y.dtype.type(0), which, y.ctypes.data, len(y) // lanes)
    expected = exact(x.astype(np.longdouble))
    assert np.array_equal(np.isnan(y), np.isnan(expected))
    assert units_off(y[~np.isnan(y)], expected[~np.isnan(y)]) <= ulp + REFERENCE_ULP
    ends = np.resize(np.array([np.nan, np.inf, -np.inf, 1e4, -1e4], dtype), 8 * lanes)
    y = ends.copy()
    elementary_on_vectors(y.dtype.type(0), which, y.ctypes.data, len(y) // lanes)
    scalar = [elementary.exp, elementary.expm1, elementary.sqrt, lambda x: elementary.normal(x)[0],
              lambda x: elementary.normal(x)[1]]  # fmt: skip
    if which < len(scalar):
        np.testing.assert_array_equal(y, [scalar[which](float(x)) for x in ends])
