"""CUDA graphs of launches that are made again and again: forward or backward is one launch of the host's then.

A graph is captured: the launches are made on a stream that only notes them, with their parameters.  Off unless asked for, as
no GPU has run it yet.  https://docs.nvidia.com/cuda/cuda-driver-api, group CUDA_GRAPH
"""

import weakref

from ..errors import DeviceError
from .device import cupy
from .switches import Switch

try:
    from cuda.bindings import driver
except ImportError:  # numba-cuda brings it, and `require` says that it is missing
    driver = None

_switch = Switch("use_graphs", "graphs")


def use_graphs(choice: bool = True) -> bool:
    """Choose whether what a training or a stream launches again and again becomes CUDA graphs.

    The forward of a training's layers that stand together, or their backward, is then one launch of the host's.  The kernels
    are the same, with the same arguments, and so are the results.

    Parameters
    ----------
    choice : bool
        Off unless asked for: no GPU has run graphs of this package yet.

    Returns
    -------
    bool
        What it was before.

    Raises
    ------
    DeviceError
        If `choice` is True in Numba's simulator, which has no graphs.
    """
    return _switch.turn(choice)


def wanted():
    """Whether `use_graphs` has asked for graphs."""
    return _switch.on


def _checked(what, found):
    """What a function of the driver returns besides its status."""
    status, *rest = found
    if status:
        _, name = driver.cuGetErrorName(status)
        raise DeviceError(f"CUDA graph, {what}: the driver says {name.decode()}")
    return rest[0] if rest else None


class Graph:
    """A CUDA graph of launches.

    Parameters
    ----------
    calls : list of callable
        Each puts something on CuPy's current stream, with arguments that are kept by whoever keeps the graph.

    Raises
    ------
    DeviceError
        If the driver refuses.
    """

    def __init__(self, calls):
        stream, mode = cupy.cuda.Stream(non_blocking=True), driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        address = driver.CUstream(stream.ptr)
        with stream:
            _checked("begin", driver.cuStreamBeginCapture(address, mode))
            try:
                for call in calls:
                    call()
            except BaseException:
                status, graph = driver.cuStreamEndCapture(address)
                if not status and graph is not None:
                    driver.cuGraphDestroy(graph)
                raise
            graph = _checked("end", driver.cuStreamEndCapture(address))
        try:
            self._executable = _checked("instantiate", driver.cuGraphInstantiate(graph, 0))
        finally:
            driver.cuGraphDestroy(graph)
        weakref.finalize(self, driver.cuGraphExecDestroy, self._executable).atexit = False

    def launch(self):
        """Put all launches on CuPy's current stream."""
        stream = driver.CUstream(cupy.cuda.get_current_stream().ptr)
        _checked("launch", driver.cuGraphLaunch(self._executable, stream))
