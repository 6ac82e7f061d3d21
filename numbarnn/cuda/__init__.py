"""The GPU: the same networks by CUDA kernels.  Importing this asks for Numba's CUDA target, but speaks to no GPU yet."""

from .array import DeviceArray, asarray, empty, zeros
from .device import current_stream, require, stream, synchronize

__all__ = ["DeviceArray", "asarray", "current_stream", "empty", "require", "stream", "synchronize", "zeros"]
