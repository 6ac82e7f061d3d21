"""The kernels' vector functions against NumPy's extended precision, in units in the last place."""

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
LARGEST = {"tanh": 3.0, "sigmoid": 2.5, "relu": 0.0, "identity": 0.0}
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
        simd.store(cell.slope(x) if slopes else cell.value(x), place)


def computed(name, x, slopes=False):
    """Values, or slopes, at the numbers of a 1-D array."""
    lanes = simd.lanes_of(x.dtype)
    padded = np.zeros(-(-len(x) // lanes) * lanes, x.dtype)
    padded[: len(x)] = x
    on_vectors(x.dtype.type(0), RNNCell(name), slopes, padded.ctypes.data, len(padded) // lanes)
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
    assert units_off(computed(name, x), exact) <= LARGEST[name] + REFERENCE_ULP


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VALUES)
def test_slope_from_the_output(name, dtype):
    y = VALUES[name](sample(dtype).astype(np.longdouble)).astype(dtype)
    np.testing.assert_array_equal(computed(name, y, slopes=True), SLOPES[name](y))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VALUES)
def test_nan_stays_nan_and_nothing_else_becomes_one(name, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, -0.0, np.finfo(dtype).max, np.finfo(dtype).min, 1], dtype)
    y = computed(name, x)
    assert np.isnan(y[0]) and not np.isnan(y[1:]).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name, below, above",
    [("tanh", -1, 1), ("sigmoid", 0, 1), ("relu", 0, np.inf), ("identity", -np.inf, np.inf)],
)
def test_limits(name, below, above, dtype):
    y = computed(name, np.array([-np.inf, np.inf], dtype))
    assert y[1] == above
    assert y[0] == below or 0 < y[0] - below < 10 * np.finfo(dtype).tiny


@pytest.mark.parametrize("name", ["tanh", "relu", "identity"])
def test_zero_stays_zero(name):
    assert computed(name, np.zeros(3)).tolist() == [0, 0, 0]


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
