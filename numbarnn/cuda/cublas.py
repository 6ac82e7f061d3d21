"""Matrix products by NVIDIA's cuBLAS, where it is installed: called by ctypes, on the memory as it lies.

cuBLAS takes matrices in the order of columns, each number beside the next one of its column; a matrix in the order of rows
is the transpose of one.  Its float32 products are float32 throughout unless `allow_tf32` has been asked for.
https://docs.nvidia.com/cuda/cublas
"""

import ctypes
import functools
import sys
import threading

import numpy as np

from ..errors import DeviceError
from . import memory
from .device import SIMULATED, cuda

NOT_TRANSPOSED, TRANSPOSED = 0, 1
DEFAULT_MATH, TF32_MATH = 0, 3  # CUBLAS_DEFAULT_MATH, CUBLAS_TF32_TENSOR_OP_MATH
ALLOC_FAILED = 3
STATUS = {
    1: "NOT_INITIALIZED", ALLOC_FAILED: "ALLOC_FAILED", 7: "INVALID_VALUE", 8: "ARCH_MISMATCH", 11: "MAPPING_ERROR",
    13: "EXECUTION_FAILED", 14: "INTERNAL_ERROR", 15: "NOT_SUPPORTED", 16: "LICENSE_ERROR",
}  # fmt: skip
MOST = 2**31 - 1  # that a length or a stride may be
OF_DTYPE = {
    np.dtype("float32"): ("cublasSgemm_v2", ctypes.c_float), np.dtype("float64"): ("cublasDgemm_v2", ctypes.c_double)
}  # fmt: skip
GEMM = (
    *(ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int),  # handle, ops, m, n, k
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),  # alpha, A, lda
    *(ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),  # B, ldb, beta, C, ldc
)
FUNCTIONS = {
    "cublasCreate_v2": (ctypes.POINTER(ctypes.c_void_p),),
    "cublasDestroy_v2": (ctypes.c_void_p,),
    "cublasGetVersion_v2": (ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)),
    "cublasSetStream_v2": (ctypes.c_void_p, ctypes.c_void_p),
    "cublasSetMathMode": (ctypes.c_void_p, ctypes.c_int),
    **{name: GEMM for name, _ in OF_DTYPE.values()},
}


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
            'cuBLAS: expected an installed one, found none; pip install "numbarnn[cuda13]", or [cuda12], has it'
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


@functools.cache
def library():
    """The library with its functions' types, or None where it is not installed."""
    if SIMULATED:
        return None
    try:
        from cuda import pathfinder

        path = pathfinder.load_nvidia_dynamic_lib("cublas").abs_path
        return None if path is None else typed(ctypes.CDLL(path))
    except (ImportError, OSError, RuntimeError):  # RuntimeError: pathfinder's DynamicLibNotFoundError
        return None


def typed(found):
    """A loaded library, told what its functions take."""
    for name, types in FUNCTIONS.items():
        function = getattr(found, name)
        function.argtypes, function.restype = types, ctypes.c_int
    return found


def checked(status, name):
    """Raise DeviceError unless a status is that of success."""
    if status:
        raise DeviceError(
            f"{name}: CUBLAS_STATUS_{STATUS.get(status, status)}; numbarnn.cuda.use_cublas(False) does without cuBLAS"
        )


class Handle:
    """cuBLAS for one Python thread on one device; two threads with one handle would share its workspace."""

    def __init__(self, library):
        self.library, self.handle = library, ctypes.c_void_p()
        status = library.cublasCreate_v2(ctypes.byref(self.handle))
        if status == ALLOC_FAILED:  # the memory may be among this package's free blocks
            memory.release()
            status = library.cublasCreate_v2(ctypes.byref(self.handle))
        checked(status, "cublasCreate")
        self.tf32 = False

    def __del__(self):
        if self.handle and not sys.is_finalizing():
            self.library.cublasDestroy_v2(self.handle)

    def version(self):
        """Such as 130000."""
        version = ctypes.c_int()
        checked(self.library.cublasGetVersion_v2(self.handle, ctypes.byref(version)), "cublasGetVersion")
        return version.value

    def gemm(self, dtype, arguments, add, stream, tf32=False):
        """Put a product on a stream; see `arguments_of`."""
        if self.tf32 != tf32:
            checked(self.library.cublasSetMathMode(self.handle, TF32_MATH if tf32 else DEFAULT_MATH), "cublasSetMathMode")
            self.tf32 = tf32
        checked(self.library.cublasSetStream_v2(self.handle, stream), "cublasSetStream")
        name, number = OF_DTYPE[dtype]
        transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc = arguments
        one, beta = number(1), number(1 if add else 0)
        status = getattr(self.library, name)(
            self.handle, transpose_a, transpose_b, m, n, k, ctypes.byref(one), a, lda, b, ldb, ctypes.byref(beta), c, ldc
        )
        checked(status, name)


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


def stream_address(stream):
    """What cuBLAS takes for a stream of Numba's, or for a number: None for CUDA's default one."""
    return int(stream) or None


def address_of(array):
    """The address of a device array of Numba's."""
    return array.device_ctypes_pointer.value or 0


_handles = threading.local()


def handle():
    """This Python thread's Handle on the current device; its context is current from then on."""
    device = cuda.current_context().device.id
    handles = _handles.__dict__
    if device not in handles:
        handles[device] = Handle(library())
    return handles[device]


def multiply(real, call, a, b, c, stream):
    """Put a `records.Product` on a stream; False if that is not for cuBLAS, and nothing has been done."""
    if _Choice.cublas is False or library() is None:
        return False
    dtype = real.dtype
    arguments = arguments_of(call, dtype.itemsize, address_of(a), address_of(b), address_of(c))
    if arguments is None:
        return False
    tf32 = _Choice.tf32 and dtype.itemsize == 4
    handle().gemm(dtype, arguments, call.add, stream_address(stream), tf32)
    return True
