"""Whether parameters were finite: asked on the GPU with a call, answered when results of calls come to the host.

To wait for the answer at once would take longer than to launch a small layer's kernels.  Each Python thread asks on its
streams, and hears of what it has asked there.
"""

import threading
import weakref

import numpy as np

from ..errors import NonFiniteError
from .arrays import zeros
from .device import blocks_for, cuda, cupy, kernel, require, stream_address
from .launches import launch

MOST = 64  # questions before somebody waits for the answers
MOST_STREAMS = 64  # of a thread that has unanswered questions


@kernel
def note_first(found, slot, count, flat):
    """How far from the end the first number is that is not finite, to ``found[slot]`` (is modified), if there is one."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        value = flat[i]
        if value - value != 0:  # NaN
            cuda.atomic.max(found, slot, count - i)


class _Own(threading.local):
    """This Python thread's questions, by the addresses of streams."""

    def __init__(self):
        self.checks = {}


_own = _Own()


class Checks:
    """What was asked on a stream and is not answered: [MOST] answers on the GPU, 0 for all that is finite."""

    def __init__(self):
        self._found, self._asked = zeros((MOST,), "int64"), []

    def ask(self, parameters):
        """Ask of Parameters, which are not held."""
        if len(self._asked) == MOST:
            self.hear()
        flat = parameters.flat
        launch(note_first, blocks_for(flat.size), self._found, len(self._asked), flat.size, flat)
        self._asked.append((weakref.ref(parameters), parameters.weights))

    def hear(self):
        """Wait for the answers, and raise what the first that finds anything says."""
        asked, self._asked = self._asked, []
        if not asked:
            return
        found = self._found.get()
        if found.any():
            self._found.fill(0)
            for question, before_end in zip(asked, found):
                if before_end:
                    _refuse(*question, int(before_end))


def _refuse(parameters, weights, before_end):
    """Raise NonFiniteError of Parameters, a weak reference, for a number so far from the end that was not finite."""
    there = parameters()
    if there is not None:
        there.check_finite()
    ends = np.cumsum([weight.size for weight in weights])
    name = weights[int(np.searchsorted(ends, ends[-1] - before_end, "right"))].name
    raise NonFiniteError(f"parameter {name!r}: expected finite numbers, got others when a call read them")


def ask(parameters):
    """Ask whether Parameters are finite as they are now on this Python thread's stream, and wait for nothing.

    Whoever calls `hear`, or asks for the 64th time after, gets the NonFiniteError.
    """
    if not len(parameters):
        return
    address = stream_address()
    if address not in _own.checks:
        if len(_own.checks) == MOST_STREAMS:  # streams come and go
            _own.checks.pop(next(iter(_own.checks))).hear()
        _own.checks[address] = Checks()
    _own.checks[address].ask(parameters)


def hear():
    """Raise what was found to be wrong on this Python thread's stream, if anything was; the GPU is waited for."""
    checks = _own.checks.get(stream_address()) if _own.checks else None
    if checks is not None:
        checks.hear()


def synchronize():
    """Wait until all that this Python thread asked for is done.

    Raises
    ------
    NonFiniteError
        If a call since the last time that any of its results came to the host has met parameters that are not finite.
    """
    require()
    cupy.cuda.get_current_stream().synchronize()
    hear()
