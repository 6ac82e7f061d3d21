"""The GPU: the same networks by CUDA kernels.  Importing this asks for Numba's CUDA target, but speaks to no GPU yet."""

from .array import DeviceArray, asarray, empty, zeros
from .cublas import allow_tf32, use_cublas
from .device import current_stream, require, stream, synchronize

__all__ = [
    "DeviceArray", "allow_tf32", "asarray", "current_stream", "empty", "require", "stream", "synchronize", "use_cublas",
    "zeros",
]  # fmt: skip
