"""Matrix products by NVIDIA's cuBLAS, where it is installed: CuPy's calls of it, on the memory as it lies.

``cupy.matmul`` would copy a matrix whose rows do not follow each other.  cuBLAS takes matrices in the order of columns, each
number beside the next one of its column; a matrix in the order of rows is the transpose of one.  Its float32 products are
float32 throughout unless `allow_tf32` has been asked for.  https://docs.nvidia.com/cuda/cublas
"""

import functools

import numpy as np

from ..errors import DeviceError
from .device import SIMULATED, cupy

NOT_TRANSPOSED, TRANSPOSED = 0, 1
DEFAULT_MATH, TF32_MATH = 0, 3  # CUBLAS_DEFAULT_MATH, CUBLAS_TF32_TENSOR_OP_MATH
MOST = 2**31 - 1  # that a length or a stride may be


class _Choice:
    """What the user has chosen, for all Python threads."""

    cublas = None  # whether to use it; None where it is installed
    tf32 = False


def use_cublas(choice: bool | None = None) -> bool:
    """Choose what computes the products outside the loop over time: cuBLAS, or this package's kernel.

    cuBLAS is several times faster on large matrices.  It chooses its kernels, and so the order of the sums, by the sizes: a
    sequence's result then depends on the batch it is in, in its last bits.  This package's kernel has one order.

    Parameters
    ----------
    choice : bool, optional
        None, the default of the package, stands for cuBLAS where it is installed.

    Returns
    -------
    bool
        Whether cuBLAS is used from now on.

    Raises
    ------
    DeviceError
        If `choice` is True and there is no cuBLAS.
    """
    if choice not in (None, True, False):
        raise TypeError(f"choice: expected True, False or None, got {choice!r}")
    if choice and library() is None:
        raise DeviceError(
            'cuBLAS: expected an installed one, found none; pip install "numbarnn[cuda12]", or [cuda13], has it'
        )
    _Choice.cublas = choice
    return _Choice.cublas is not False and library() is not None


def allow_tf32(allow: bool = True) -> bool:
    """Let cuBLAS round the factors of float32 products to TF32, of 10 bits: much faster, with errors of about 1e-3.

    Only the products outside the loop over time are; float64 never is.  Off unless asked for.

    Returns
    -------
    bool
        What it was before.
    """
    if allow not in (True, False):
        raise TypeError(f"allow: expected True or False, got {allow!r}")
    before, _Choice.tf32 = _Choice.tf32, bool(allow)
    return before


def choices():
    """What `use_cublas` and `allow_tf32` were told last."""
    return _Choice.cublas, _Choice.tf32


@functools.cache
def library():
    """CuPy's functions of cuBLAS, or None where that is not installed."""
    if SIMULATED or cupy is None:
        return None
    try:
        return cupy.cuda.cublas
    except ImportError:
        return None


def _handle():
    """This Python thread's handle on the current device, as CuPy keeps it."""
    try:
        return cupy.cuda.get_cublas_handle()
    except library().CUBLASError:  # its workspace may be among the free blocks of the pool
        cupy.get_default_memory_pool().free_all_blocks()
        return cupy.cuda.get_cublas_handle()


def operand(rows, columns, row_stride, column_stride):
    """(transposed, leading dimension) of a matrix for cuBLAS; None if its numbers do not lie as cuBLAS wants them.

    A stride along an axis of one number is never taken, so whatever it is will do.
    """
    for transposed, beside, stride, length, count in (
        (NOT_TRANSPOSED, row_stride, column_stride, rows, columns), (TRANSPOSED, column_stride, row_stride, columns, rows)
    ):  # fmt: skip
        if length > 1 and beside != 1:
            continue
        if count == 1:
            return transposed, max(1, length)
        if length <= stride <= MOST:
            return transposed, stride
    return None


def arguments_of(call, itemsize, a, b, c):
    """What gemm takes for a `Product` of the memory at the addresses a, b and c; None for one that it cannot do.

    It is (transpose A, transpose B, m, n, k, A, lda, B, ldb, C, ldc), with A and B exchanged where C is in the order of
    rows: cuBLAS then computes the transpose of C.
    """
    if max(call.rows, call.columns, call.depth) > MOST:
        return None
    of_a = call.rows, call.depth, call.a_row, call.a_depth
    of_b = call.depth, call.columns, call.b_depth, call.b_column
    of_c = call.rows, call.columns, call.c_row, call.c_column
    a, b, c = a + call.a * itemsize, b + call.b * itemsize, c + call.c * itemsize
    found_c = operand(*of_c)
    if found_c is None:
        return None
    if found_c[0] == TRANSPOSED:
        (rows, depth, row, column), (_, columns, b_row, b_column) = of_a, of_b
        of_a, of_b, a, b = (columns, depth, b_column, b_row), (depth, rows, column, row), b, a
    found_a, found_b = operand(*of_a), operand(*of_b)
    if found_a is None or found_b is None:
        return None
    return found_a[0], found_b[0], of_a[0], of_b[1], of_a[1], a, found_a[1], b, found_b[1], c, found_c[1]


def multiply(real, call, a, b, c):
    """Put a `records.Product` on CuPy's stream; False if that is not for cuBLAS, and nothing has been done."""
    if _Choice.cublas is False or library() is None or real.dtype.kind == "c":
        return False
    dtype, cublas = real.dtype, library()
    arguments = arguments_of(call, dtype.itemsize, a.data.ptr, b.data.ptr, c.data.ptr)
    if arguments is None:
        return False
    transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc = arguments
    factors = np.array([1, 1 if call.add else 0], dtype)
    one = factors.ctypes.data
    gemm = cublas.sgemm if dtype.itemsize == 4 else cublas.dgemm
    try:
        handle = _handle()
        before = cublas.getMathMode(handle)
        cublas.setMathMode(handle, TF32_MATH if _Choice.tf32 and dtype.itemsize == 4 else DEFAULT_MATH)
        try:
            gemm(handle, transpose_a, transpose_b, m, n, k, one, a, lda, b, ldb, one + dtype.itemsize, c, ldc)
        finally:
            cublas.setMathMode(handle, before)  # all who use CuPy share the handle
    except cublas.CUBLASError as error:
        raise DeviceError(f"cuBLAS: {error}; numbarnn.cuda.use_cublas(False) does without it") from error
    return True
