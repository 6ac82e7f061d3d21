"""What the current GPU has room for."""

import functools

from .arrays import taken
from .device import SIMULATED, cuda

FREE_SHARED = 48 << 10  # bytes of shared memory that any kernel may have
_allowed = {}  # (kernel, type of the cell, dtype): bytes of shared memory it may have


@functools.cache
def limits():
    """(multiprocessors, bytes of shared memory that a block may have) of the current device."""
    if SIMULATED:
        return 4, 1 << 16
    device = cuda.get_current_device()
    return device.MULTIPROCESSOR_COUNT, device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN


def allow_shared_memory(kernel, args, nbytes):
    """Let a kernel have so many bytes of dynamic shared memory when it is launched with such arguments."""
    if SIMULATED or nbytes <= FREE_SHARED:
        return
    from cuda.bindings import driver

    key = kernel, args[0]._numba_type_, args[1].dtype  # the cell and the dtype: what a kernel is compiled for
    if _allowed.get(key, 0) >= nbytes:
        return
    signature = tuple(kernel.typeof_pyval(arg) for arg in taken(args))
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    handle = driver.CUkernel(int(compiled._codelibrary.get_cufunc().handle))
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    (status,) = driver.cuKernelSetAttribute(attribute, nbytes, handle, driver.CUdevice(cuda.get_current_device().id))
    if int(status):
        raise RuntimeError(f"cuKernelSetAttribute: {nbytes} bytes of shared memory refused, status {status}")
    _allowed[key] = nbytes
