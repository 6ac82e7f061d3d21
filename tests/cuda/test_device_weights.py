"""Copies of weights in one launch, sums over rows, and where gradients go: against NumPy."""

import numpy as np
import pytest

from numbarnn.arrays.descriptor import TensorDescriptor
from numbarnn.cuda import asarray, zeros
from numbarnn.cuda.gradients import BLOCK, DX, GRADIENT, SCRATCH, STATES, X, _runs, sum_together
from numbarnn.cuda.product import multiply, multiply_each
from numbarnn.cuda.records import Bias, Each, Gates, Product, Sums
from numbarnn.cuda.rows import lying_as_rows
from numbarnn.cuda.weights import MOST_ROWS, PIECE, copy


def test_copies_biases_and_zeros_are_one_launch():
    rows, units = 3, 4
    weights = np.random.default_rng(0).standard_normal((rows, 3, units))  # three gates
    biases = np.random.default_rng(1).standard_normal((3, units))
    source, target, other = (
        asarray(np.concatenate([weights.ravel(), biases.ravel()])),
        zeros((60,), "float64"),
        zeros((9,), "float64"),
    )
    target.fill(7)
    other.fill(7)
    bias = weights.size
    copies = [
        Gates(rows, 2, units, 0, 3 * units, units, 1, (2, 0), 0, 2 * units, units),
        Gates(0, 2, units, 0, 3 * units, units, 1, (2, 0), 0, 2 * units, units),  # nothing
        Gates(units, 1, rows, units, 1, units, 3 * units, (0,), 24, rows, 0),  # the second gate, transposed
        Bias(units, (), 36), Bias(units, (bias + units,), 40), Bias(units, (bias, bias + 2 * units, bias + units), 44),
    ]  # fmt: skip
    copy(np.float64(0), copies, source, target, other, 2, 5)
    found = target.get()
    assert np.array_equal(found[:24].reshape(rows, 2, units), weights[:, [2, 0]])
    assert np.array_equal(found[24:36].reshape(units, rows), weights[:, 1].T)
    assert np.array_equal(found[36:48].reshape(3, units), [np.zeros(units), biases[1], biases[0] + biases[2] + biases[1]])
    assert (found[48:] == 7).all()
    assert other.get().tolist() == [7, 7, 0, 0, 0, 0, 0, 7, 7]


@pytest.mark.parametrize("add", [0, 1])
@pytest.mark.parametrize("rows", [1, PIECE, MOST_ROWS, MOST_ROWS + 1])
def test_sums_of_rows_go_to_all_biases(rows, add):
    units, columns = 2, 4
    numbers = np.random.default_rng(rows).standard_normal((rows, columns))
    pieces = -(-rows // PIECE)
    scratch = asarray(np.concatenate([numbers.ravel(), np.full(columns * (1 + pieces), np.nan)]))
    gradient, none = asarray(np.full(9, 0.5)), zeros((1,), "float64")
    call = Sums(rows, columns, 0, columns, numbers.size, numbers.size + columns, units, add)
    sum_together(np.float64(0), call, (5, 0, -1, 7, -1, -1), (), (none, none, none, scratch, gradient, none))
    parts = [sum(list(numbers[i : i + PIECE])) for i in range(0, rows, PIECE)]
    expected = sum(parts)
    assert np.array_equal(scratch.get()[numbers.size : numbers.size + columns], expected)
    start = 0.5 if add else 0.0
    found = gradient.get()
    for place, of in ((5, 0), (0, 0), (7, 1)):
        assert np.array_equal(found[place : place + units], start + expected[of * units : (of + 1) * units])
    assert (found[[2, 3, 4]] == 0.5).all()


def test_products_beside_sums_have_the_bits_of_products_alone():
    random, rows = np.random.default_rng(0), 9
    shapes = [(rows, 3), (rows, 5), (5, 3), (rows, 5), (40,), (rows, 3)]  # x, h, weights, dpre, gradient, dx
    numbers = [random.standard_normal(shape).ravel() for shape in shapes]
    products = [
        (Product(3, 5, rows, 0, 1, 3, 0, 5, 1, 6, 5, 1, 0), X, SCRATCH, GRADIENT),
        (Product(0, 5, rows, 0, 1, 3, 0, 5, 1, 6, 5, 1, 0), X, SCRATCH, GRADIENT),  # nothing
        (Product(5, 2, rows, 0, 1, 5, 2, 5, 1, 21, 2, 1, 1), STATES, SCRATCH, GRADIENT),
        (Product(2, 4, rows, 1, 1, 5, 0, 5, 1, 31, 4, 1, 0), BLOCK, SCRATCH, GRADIENT),
        (Product(rows, 3, 5, 0, 5, 1, 0, 3, 1, 0, 3, 1, 1), SCRATCH, BLOCK, DX),
    ]
    numbers[BLOCK] = np.concatenate([numbers[BLOCK], random.standard_normal(5 * rows + 1)])
    alone, together = ([asarray(array) for array in numbers] for _ in range(2))
    for product, a, b, c in products:
        multiply(np.float64(0), product, alone[a], alone[b], alone[c])
    call = Sums(rows, 5, 0, 5, 0, 0, 5, 0)
    # The sums would be written over what the products read: they go where nothing is read.
    together[SCRATCH] = asarray(np.concatenate([numbers[SCRATCH], np.zeros(5)]))
    sum_together(np.float64(0), call._replace(target=5 * rows), (0, -1, -1), products, tuple(together))
    found, expected = together[GRADIENT].get(), alone[GRADIENT].get()
    assert np.array_equal(found[5:], expected[5:]) and np.array_equal(together[DX].get(), alone[DX].get())
    biases = numbers[SCRATCH].reshape(rows, 5)
    assert np.array_equal(found[:5], sum(list(biases))) and not np.array_equal(found[6:], numbers[GRADIENT][6:])
    weights = numbers[0].reshape(rows, 3).T @ biases
    np.testing.assert_allclose(found[6:21], weights.ravel(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("add", [0, 1])
def test_products_of_each_have_the_bits_of_products_alone(add):
    """Matrices of three samples, whose rows lie between each other, in one launch and one by one."""
    count, rows, columns, depth = 3, 5, 6, 9
    random = np.random.default_rng(0)
    a, b, c = (random.standard_normal(size) for size in (1 + depth * count * rows, depth * count * columns, 2 + count * 40))
    call = Product(rows, columns, depth, 1, 1, count * rows, 0, count * columns, 1, 2, columns, 1, add)
    a, b, together, alone = map(asarray, (a, b, c, c))
    multiply_each(np.float64(0), call, Each(count, rows, columns, 40), a, b, together)
    for n in range(count):
        own = call._replace(a=call.a + n * rows, b=call.b + n * columns, c=call.c + n * 40)
        multiply(np.float64(0), own, a, b, alone)
    assert np.array_equal(together.get(), alone.get()) and (together.get() != c).sum() == count * rows * columns


def test_gates_that_follow_each_other():
    assert _runs((2, 0, 1)) == [(0, 1), (1, 2)] and _runs((0, 1, 2, 3)) == [(0, 4)] and _runs((3, 1)) == [(0, 1), (1, 1)]


def test_rows_that_lie_as_they_should_are_not_copied():
    x = asarray(np.arange(24.0).reshape(2, 3, 4))
    numbers, start = lying_as_rows(TensorDescriptor.of(x, "tnc"))
    assert start == 0 and np.array_equal(numbers.get(), np.arange(24.0)) and numbers.data.ptr == x.data.ptr
    assert lying_as_rows(TensorDescriptor.of(x, "ntc")) is None
    assert lying_as_rows(TensorDescriptor.of(x[:, 1:], "tnc")) is None
