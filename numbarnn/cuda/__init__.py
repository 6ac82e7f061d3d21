"""The GPU: the same networks by CUDA kernels.  Importing this imports Numba's CUDA target and CuPy; no GPU is asked yet."""

from .arrays import asarray, empty, zeros
from .checks import synchronize
from .clusters import use_clusters
from .cublas import allow_tf32, use_cublas
from .device import current_stream, require, stream
from .graphs import use_graphs

__all__ = [
    "allow_tf32", "asarray", "current_stream", "empty", "require", "stream", "synchronize", "use_clusters", "use_cublas",
    "use_graphs", "zeros",
]  # fmt: skip


def __getattr__(name):
    if name == "DeviceArray":
        raise AttributeError("numbarnn.cuda.DeviceArray: arrays on a GPU are CuPy's; expected cupy.ndarray")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
