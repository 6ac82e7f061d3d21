"""How many processors this process may use."""

import os


def usable():
    """The number of processors."""
    return len(os.sched_getaffinity(0))
