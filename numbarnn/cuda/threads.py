"""What a launch waits for: nothing, since kernels of one stream follow each other."""

import contextlib


def launching():
    """A context in which kernels may be launched."""
    return contextlib.nullcontext()


def threads():
    """Threads of the host that share a kernel's work: one, whatever Numba is told."""
    return 1
