"""Activation functions of whole arrays: the numbers of the CPU."""

import numpy as np
import pytest

from numbarnn import cuda
from numbarnn.cells import DenseCell, activation
from numbarnn.cells.activations import Clipped
from numbarnn.cpu import elementwise as on_cpu
from numbarnn.cuda import elementwise

SPECS = ["tanh", "gelu", Clipped(activation("elu"), 1.5)]  # the others are tested with the cells


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_values_and_slopes_of_the_cpu(spec, dtype):
    cell = DenseCell(activation(spec))
    x = np.linspace(-4, 4, 42).astype(dtype).reshape(6, 7)
    close = {"rtol": 8 * np.finfo(dtype).eps, "atol": 8 * np.finfo(dtype).eps}
    y = elementwise.value(cell, cuda.asarray(x))
    expected = on_cpu.value(cell, x)
    np.testing.assert_allclose(y.get(), expected, **close)
    kept, dx, found = cell.activation.keep(x, expected), np.empty_like(x), cuda.empty(x.shape, dtype)
    on_cpu.times_slope(cell, kept, x, dx)
    elementwise.times_slope(cell, cuda.asarray(kept), cuda.asarray(x), found)
    np.testing.assert_allclose(found.get(), dx, **close)


def test_any_strides_in_and_a_given_array_out():
    cell = DenseCell(activation("tanh"))
    x = np.linspace(-4, 4, 42).reshape(6, 7)
    target = cuda.zeros((10, 3, 7), "float64")
    found = elementwise.value(cell, cuda.asarray(x)[::-2], target[4])
    assert found.data.ptr == target[4].data.ptr
    np.testing.assert_allclose(target[4].get(), np.tanh(x[::-2]), rtol=1e-15)
    assert not target[:4].get().any() and not target[5:].get().any()


def test_nothing_to_do():
    cell = DenseCell(activation("tanh"))
    assert elementwise.value(cell, cuda.empty((0, 3), "float32")).shape == (0, 3)
