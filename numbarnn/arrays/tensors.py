"""Tensors of other libraries in the host's memory, as NumPy's arrays over the same memory."""

import numpy as np

from ..errors import DeviceError, DTypeError

CPU, CUDA = 1, 2  # kDLCPU, kDLCUDA: https://dmlc.github.io/dlpack/latest/c_api.html
HOST = (CPU, 3, 11, 13)  # and what the processor reads as well: memory pinned for CUDA or ROCm, and CUDA's managed one

_FAILURES = TypeError, ValueError, RuntimeError, BufferError, AttributeError  # as libraries raise them in DLPack's methods


def dlpack_device(argument, value):
    """The kind of device on which a tensor of another library lies, as DLPack counts them; None if it is no tensor.

    Raises
    ------
    DeviceError
        If the tensor lies nowhere, as one of PyTorch's on "meta" or one that JAX traces.
    """
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__"):
        return None
    try:
        return int(value.__dlpack_device__()[0])
    except _FAILURES as error:
        expected = "an array, or a tensor whose numbers lie in memory"
        raise DeviceError(f"{argument}: expected {expected}, got {type(value).__name__}: {error}") from None


def host_array(argument, value):
    """NumPy's array over the memory of a tensor, not copied; anything else than a tensor, or one on a GPU, as it is.

    The array may be written if the library that the tensor comes from allows it: JAX does not.

    Raises
    ------
    DeviceError
        If the tensor lies on a device that is neither the host nor one of CUDA's.
    DTypeError
        If NumPy has no such numbers, as bfloat16.
    TypeError
        If the library does not hand on the memory, as PyTorch does not of a tensor that needs a gradient.
    """
    device = dlpack_device(argument, value)
    if device is None or device == CUDA:
        return value
    kind = type(value).__name__
    if device not in HOST:
        where = getattr(value, "device", f"DLPack's device {device}")
        raise DeviceError(f"{argument}: expected one in the memory of the host or of CUDA, got {kind} on {where}")
    if getattr(value, "is_neg", bool)():  # DLPack cannot say that PyTorch has yet to change the signs, and it is not asked
        hint = "resolve_neg() of it is one"
        raise TypeError(f"{argument}: expected a tensor whose numbers lie in memory, got {kind} with another sign; {hint}")
    try:
        return np.from_dlpack(value)
    except _FAILURES as error:
        if "dtype" in str(error):
            found = getattr(value, "dtype", error)
            expected = "numbers that NumPy has, float32 or float64 or what becomes these"
            raise DTypeError(f"{argument}: expected {expected}, got {kind} of {found}") from None
        raise TypeError(f"{argument}: expected a tensor whose memory can be read, got {kind}: {error}") from None
