"""Clusters of thread blocks, which read and write each other's shared memory: whether layers' teams are such clusters.

https://docs.nvidia.com/cuda/cuda-c-programming-guide, "Thread Block Clusters" and "Distributed Shared Memory"
"""

from ..errors import DeviceError
from .device import cuda, require
from .switches import Switch

CLUSTER = 8  # blocks of a cluster: as many as any GPU that has clusters takes
LEAST_CAPABILITY = (9, 0)

_switch = Switch("use_clusters", "clusters")


def use_clusters(choice: bool = True) -> bool:
    """Choose whether blocks of threads that share a recurrent layer are clusters of eight.

    The state of a step then goes from block to block by their shared memory, not by a counter and memory of the GPU.
    It is so for layers whose R has room in the shared memory of eight blocks: of float32, a GRU up to 341 units, an LSTM
    up to 299, an RNN up to 640.  Cells with gated slots, projections and normalization are left out.  Sums have the order
    that they have otherwise, and results the same bits.

    Parameters
    ----------
    choice : bool
        Off unless asked for: no GPU has run clusters of this package yet.  It holds for what is called from then on.

    Returns
    -------
    bool
        What it was before.

    Raises
    ------
    DeviceError
        If `choice` is True in Numba's simulator or on a GPU before compute capability 9.0 (H100), which have no clusters.
    """
    return _switch.turn(choice, _check_capability)


def _check_capability():
    """Raise DeviceError unless there is a GPU that has clusters."""
    require()
    if (found := tuple(cuda.get_current_device().compute_capability)) < LEAST_CAPABILITY:
        words = [".".join(map(str, capability)) for capability in (LEAST_CAPABILITY, found)]
        raise DeviceError("use_clusters: expected a GPU of compute capability {} or newer, got {}".format(*words))


def wanted():
    """Whether `use_clusters` has asked for clusters."""
    return _switch.on
