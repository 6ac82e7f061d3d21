"""The kernels' vector functions against NumPy's extended precision, in units in the last place."""

import os

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from numbarnn.cells import RNNCell
from numbarnn.cells.activations import activation
from numbarnn.cpu import simd

DTYPES = ("float32", "float64")
REFERENCE_ULP = 0.0 if np.finfo(np.longdouble).nmant > 52 else 1.0
LARGEST = {  # documented in docs/guide.rst
    "float32": {"tanh": 2.5, "sigmoid": 2.5, "relu": 0.0, "identity": 0.0},
    "float64": {"tanh": 3.0, "sigmoid": 2.5, "relu": 0.0, "identity": 0.0},
}
STRIDE = int(os.environ.get("NUMBARNN_ULP_STRIDE", "101"))  # 1: every float32; odd, so that the last bits vary
VALUES = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.where(x < 0, 0, x),
    "identity": lambda x: x,
}
SLOPES = {
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
    "relu": lambda y: (y > 0).astype(y.dtype),
    "identity": np.ones_like,
}


@numba.njit
def on_vectors(real, cell, slopes, address, vectors):
    """Overwrite `vectors` vectors at `address` with the cell's activation, or with its slopes there."""
    for i in range(vectors):
        place = address + i * simd.lanes(real) * simd.size_of(real)
        x = simd.load(real, place)
        simd.store(cell.activation.slope(x) if slopes else cell.activation.value(x), place)


def computed(name, x, slopes=False):
    """Values, or slopes, at the numbers of a 1-D array."""
    lanes = simd.lanes_of(x.dtype)
    padded = np.zeros(-(-len(x) // lanes) * lanes, x.dtype)
    padded[: len(x)] = x
    on_vectors(x.dtype.type(0), RNNCell(activation(name)), slopes, padded.ctypes.data, len(padded) // lanes)
    return padded[: len(x)]


def units_off(found, exact):
    """Largest error in units in the last place of the exact number's neighbourhood."""
    return (np.abs(found.astype(np.longdouble) - exact) / np.spacing(np.abs(exact.astype(found.dtype)))).max()


def sample(dtype):
    """Numbers of every size a gate meets, both signs."""
    small = np.geomspace(1e-30, 1, 20_001)
    middle = np.linspace(0, 25, 100_003)
    large = np.linspace(25, 85, 10_001)
    numbers = np.concatenate([small, middle, large]).astype(dtype)
    return np.concatenate([numbers, -numbers])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VALUES)
def test_accuracy(name, dtype):
    x = sample(dtype)
    exact = VALUES[name](x.astype(np.longdouble))
    assert units_off(computed(name, x), exact) <= LARGEST[dtype][name] + REFERENCE_ULP


def patterns(dtype):
    """Arrays of numbers in [0, 20] that are evenly spaced as bit patterns: of float32 every STRIDE-th."""
    integer = np.dtype(dtype.replace("float", "uint"))
    first, last = (int(np.array(x, dtype).view(integer)) for x in (0 if dtype == "float32" else 2.0**-30, 20))
    stride = STRIDE * (1 if dtype == "float32" else (last - first) >> 27 | 1)
    for start in range(first, last + 1, stride << 20):
        yield np.arange(start, min(start + (stride << 20), last + 1), stride, integer).view(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VALUES)
def test_largest_error(name, dtype):
    wide, reference_ulp = ("float64", 0) if dtype == "float32" else (np.longdouble, REFERENCE_ULP)
    largest = 0
    for size in patterns(dtype):
        for x in (size, -size):
            exact = VALUES[name](x.astype(wide))
            error = np.abs(computed(name, x).astype(wide) - exact)
            largest = max(largest, (error / np.spacing(np.abs(exact.astype(dtype)))).max())
    print(f"{name}, {dtype}: {largest:.4f} units in the last place")
    assert largest <= LARGEST[dtype][name] + reference_ulp


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VALUES)
def test_slope_from_the_output(name, dtype):
    y = VALUES[name](sample(dtype).astype(np.longdouble)).astype(dtype)
    np.testing.assert_array_equal(computed(name, y, slopes=True), SLOPES[name](y))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VALUES)
def test_nan_stays_nan_and_nothing_else_becomes_one(name, dtype):
    finite = [0, -0.0, np.finfo(dtype).max, np.finfo(dtype).min, 1]
    y = computed(name, np.array([np.nan, np.copysign(np.nan, -1), np.inf, -np.inf, *finite], dtype))
    assert np.isnan(y[:2]).all() and not np.isnan(y[2:]).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name, below, above",
    [("tanh", -1, 1), ("sigmoid", 0, 1), ("relu", 0, np.inf), ("identity", -np.inf, np.inf)],
)
def test_limits(name, below, above, dtype):
    y = computed(name, np.array([-np.inf, np.inf], dtype))
    assert y[1] == above
    assert y[0] == below or 0 < y[0] - below < 10 * np.finfo(dtype).tiny


def bits(x):
    """The array as unsigned integers: a comparison that tells zeros apart."""
    return x.view(x.dtype.str.replace("f", "u"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "relu", "identity"])
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


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-50, 50)))
def test_a_number_does_not_depend_on_its_lane(x):
    for name in VALUES:
        alone = np.concatenate([computed(name, x[[i]]) for i in range(len(x))])
        np.testing.assert_array_equal(computed(name, x), alone)


@pytest.mark.parametrize("name", VALUES)
def test_one_number_in_plain_python(name):
    scalar = activation(name)
    for x in (-30.0, -1.5, -1e-9, 0.0, 0.3, 40.0):
        assert scalar.value(x) == pytest.approx(VALUES[name](x), rel=1e-12, abs=1e-15)
        assert scalar.slope(scalar.value(x)) == pytest.approx(SLOPES[name](np.float64(scalar.value(x))), rel=1e-15)
    assert np.isnan(scalar.value(np.nan))
    assert not np.isnan([scalar.value(-np.inf), scalar.value(np.inf)]).any()
