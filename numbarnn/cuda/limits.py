"""What the current GPU has room for."""

import functools

from .device import SIMULATED, cuda


@functools.cache
def limits():
    """(multiprocessors, bytes of shared memory that a block may have) of the current device."""
    if SIMULATED:
        return 4, 1 << 16
    device = cuda.get_current_device()
    return device.MULTIPROCESSOR_COUNT, device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
