"""What cuBLAS is told: against functions like CuPy's of it, in host memory."""

import ctypes
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from numbarnn import cuda
from numbarnn.cuda import cublas, product
from numbarnn.cuda.device import SIMULATED
from numbarnn.cuda.records import Product
from numbarnn.errors import DeviceError

REALS = {np.dtype("float32"): ctypes.c_float, np.dtype("float64"): ctypes.c_double}
SIZES = [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 1, 5), (1, 1, 1), (4, 1, 1), (1, 6, 1)]


def matrix(address, rows, columns, leading, dtype):
    """A matrix in the order of columns, as cuBLAS reads it."""
    count = (columns - 1) * leading + rows
    numbers = np.frombuffer((REALS[dtype] * count).from_address(address), dtype)
    return np.lib.stride_tricks.as_strided(numbers, (rows, columns), (dtype.itemsize, leading * dtype.itemsize))


def gemm_of(dtype, calls):
    """cublasSgemm or cublasDgemm of the documentation, on host memory."""

    def gemm(handle, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        calls.append(("gemm", handle))
        shape_a, shape_b = ((m, k), (k, m))[transpose_a], ((k, n), (n, k))[transpose_b]
        if lda < max(1, shape_a[0]) or ldb < max(1, shape_b[0]) or ldc < max(1, m):
            raise Failure("CUBLAS_STATUS_INVALID_VALUE")
        scales = [REALS[dtype].from_address(address).value for address in (alpha, beta)]
        first, second = matrix(a, *shape_a, lda, dtype), matrix(b, *shape_b, ldb, dtype)
        found = scales[0] * (first.T if transpose_a else first) @ (second.T if transpose_b else second)
        target = matrix(c, m, n, ldc, dtype)
        target[...] = found + scales[1] * target if scales[1] else found

    return gemm


class Failure(Exception):
    """CuPy's CUBLASError."""


@pytest.fixture
def calls(monkeypatch):
    """What CuPy's cuBLAS is asked for; it is there, and computes in host memory."""
    noted = []
    found = SimpleNamespace(
        CUBLASError=Failure, sgemm=gemm_of(np.dtype("float32"), noted), dgemm=gemm_of(np.dtype("float64"), noted),
        getMathMode=lambda handle: 5, setMathMode=lambda handle, mode: noted.append(("math", mode)),
    )  # fmt: skip
    monkeypatch.setattr(cublas, "library", lambda: found)
    monkeypatch.setattr(cublas, "cupy", SimpleNamespace(cuda=SimpleNamespace(get_cublas_handle=lambda: 4711)))
    yield noted
    cuda.use_cublas(None)
    cuda.allow_tf32(False)


def multiplied(dtype, call, *arrays):
    """`cublas.multiply` on memory of the host."""
    device = [SimpleNamespace(data=SimpleNamespace(ptr=array.ctypes.data)) for array in arrays]
    return cublas.multiply(np.dtype(dtype).type(0), call, *device)


def laid_out(random, shape, order, gap, dtype):
    """(memory, start, row stride, column stride, view) of a matrix somewhere in a larger one."""
    rows, columns = shape
    outer = random.standard_normal((rows, columns + gap) if order == "rows" else (columns, rows + gap)).astype(dtype)
    memory = np.concatenate([random.standard_normal(7).astype(dtype), outer.ravel()])
    inner = memory[7:].reshape(outer.shape)
    view = inner[:, :columns] if order == "rows" else inner[:, :rows].T
    row, column = (stride // memory.itemsize for stride in view.strides)
    return memory, 7, row, column, view


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("orders", list(itertools.product(("rows", "columns"), repeat=3)), ids="-".join)
def test_products_in_every_order(calls, orders, dtype):
    random, dtype = np.random.default_rng(0), np.dtype(dtype)
    for (rows, columns, depth), gap, add in itertools.product(SIZES, (0, 2), (0, 1)):
        shapes = (rows, depth), (depth, columns), (rows, columns)
        (a, *at_a, A), (b, *at_b, B), (c, *at_c, C) = (
            laid_out(random, shape, order, gap, dtype) for shape, order in zip(shapes, orders)
        )
        expected, around = A @ B + add * C, c.copy()
        call = Product(rows, columns, depth, *at_a, *at_b, *at_c, add)
        assert multiplied(dtype, call, a, b, c)
        np.testing.assert_allclose(C, expected, rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-6)
        C[...] = 0
        np.lib.stride_tricks.as_strided(around[7:], C.shape, C.strides)[...] = 0
        np.testing.assert_array_equal(c, around)  # nothing beside C is written


def test_what_is_overwritten_may_be_anything(calls):
    ones, c = np.ones(4), np.full(4, np.nan)
    assert multiplied("float64", Product(2, 2, 2, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0), ones, ones, c)
    np.testing.assert_array_equal(c, 2)


@pytest.mark.parametrize(
    "strides",
    [
        dict(a_row=10, a_depth=2),  # no axis whose numbers lie side by side
        dict(a_row=3, a_depth=1),  # rows that overlap
        dict(a_row=-5, a_depth=1),  # reversed
        dict(a_row=0, a_depth=1),  # one row, repeated
        dict(b_depth=4, b_column=-1),
        dict(c_row=8, c_column=2),
        dict(a_row=1 << 31, a_depth=1),
        dict(rows=1 << 31),
    ],
    ids=str,
)
def test_what_cublas_cannot_do_is_left_to_the_kernel(calls, strides):
    call = Product(3, 4, 5, 0, 5, 1, 0, 4, 1, 0, 4, 1, 0)._replace(**strides)
    x = np.zeros(1)
    assert not multiplied("float64", call, x, x, x)
    assert not calls


def test_the_math_of_the_handle_is_put_back(calls):
    x, call = np.ones(1, np.float32), Product(1, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0)

    def run(x):
        calls.clear()
        assert multiplied(x.dtype, call, x, x, x.copy())
        return calls

    assert run(x) == [("math", cublas.DEFAULT_MATH), ("gemm", 4711), ("math", 5)]
    assert cuda.allow_tf32() is False
    assert run(x) == [("math", cublas.TF32_MATH), ("gemm", 4711), ("math", 5)]
    assert run(np.ones(1)) == [("math", cublas.DEFAULT_MATH), ("gemm", 4711), ("math", 5)]  # float64 never
    assert cuda.allow_tf32(False) is True
    assert run(x)[0] == ("math", cublas.DEFAULT_MATH)
    with pytest.raises(TypeError, match="allow: expected True or False"):
        cuda.allow_tf32("yes")


def test_the_choice(calls, monkeypatch):
    x, call = np.ones(1), Product(1, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0)
    assert cuda.use_cublas(True) and cuda.use_cublas(None)
    assert cuda.use_cublas(False) is False
    assert not multiplied("float64", call, x, x, x)
    assert not calls
    with pytest.raises(TypeError, match="choice: expected True, False or None"):
        cuda.use_cublas("never")
    monkeypatch.setattr(cublas, "library", lambda: None)
    assert cuda.use_cublas(None) is False
    with pytest.raises(DeviceError, match="cuBLAS: expected an installed one"):
        cuda.use_cublas(True)


def test_errors_are_named(calls, monkeypatch):
    x, call = np.ones(1), Product(1, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0)

    def fail(*arguments):
        raise Failure("CUBLAS_STATUS_EXECUTION_FAILED")

    monkeypatch.setattr(cublas.library(), "dgemm", fail)
    with pytest.raises(DeviceError, match=r"cuBLAS: CUBLAS_STATUS_EXECUTION_FAILED; .*use_cublas\(False\)"):
        multiplied("float64", call, x, x, x)
    assert calls[-1] == ("math", 5)


def test_free_blocks_are_given_back_for_the_workspace(calls, monkeypatch):
    asked = []

    def handle():
        asked.append("handle")
        if len(asked) < 3:
            raise Failure("CUBLAS_STATUS_ALLOC_FAILED")
        return 12

    pool = SimpleNamespace(free_all_blocks=lambda: asked.append("freed"))
    cupy = SimpleNamespace(cuda=SimpleNamespace(get_cublas_handle=handle), get_default_memory_pool=lambda: pool)
    monkeypatch.setattr(cublas, "cupy", cupy)
    x = np.ones(1)
    assert multiplied("float64", Product(1, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0), x, x, x.copy())
    assert asked == ["handle", "freed", "handle"] and ("gemm", 12) in calls


@pytest.mark.parametrize("choice", [False, None], ids=["kernel", "cublas"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_product_on_the_device(choice, dtype):
    if choice is None and not cublas.library():
        pytest.skip("no cuBLAS here" if not SIMULATED else "no cuBLAS in the simulator")
    random, dtype = np.random.default_rng(1), np.dtype(dtype)
    sizes = [(3, 4, 5), (1, 1, 3)] if SIMULATED else [(3, 4, 5), (1, 1, 3), (130, 70, 33), (1, 257, 128), (64, 1, 300)]
    cuda.use_cublas(choice)
    try:
        for (rows, columns, depth), orders in itertools.product(sizes, itertools.product(("rows", "columns"), repeat=3)):
            shapes = (rows, depth), (depth, columns), (rows, columns)
            (a, *at_a, A), (b, *at_b, B), (c, *at_c, C) = (
                laid_out(random, shape, order, 3, dtype) for shape, order in zip(shapes, orders)
            )
            on_device = [cuda.asarray(memory) for memory in (a, b, c)]
            call = Product(rows, columns, depth, *at_a, *at_b, *at_c, 1)
            product.multiply(dtype.type(0), call, *on_device)
            C += A @ B
            scale = np.abs(A) @ np.abs(B) + 1
            found = on_device[2].get()
            assert np.abs(found - c).max() <= 8 * np.finfo(dtype).eps * scale.max()
    finally:
        cuda.use_cublas(None)
