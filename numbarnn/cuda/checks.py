"""Whether parameters were finite: asked on the GPU with a call, answered when results of calls come to the host.

To wait for the answer at once would take longer than to launch a small layer's kernels.  Each Python thread asks on its
streams, and hears of what it has asked there.
"""

import threading

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

    def ask(self, flat, answer):
        """Ask of a vector; `answer` is called with the place of its first number that is not finite, if there is one."""
        if len(self._asked) == MOST:
            self.hear()
        launch(note_first, blocks_for(flat.size), self._found, len(self._asked), flat.size, flat)
        self._asked.append((flat.size, answer))

    def hear(self):
        """Wait for the answers; the first that finds anything is called, and raises."""
        asked, self._asked = self._asked, []
        if not asked:
            return
        found = self._found.get()
        if found.any():
            self._found.fill(0)
            for (size, answer), before_end in zip(asked, found):
                if before_end:
                    answer(size - int(before_end))


def ask(flat, answer):
    """Ask whether a contiguous vector is finite as it is now on this Python thread's stream, and wait for nothing.

    answer: a function that `hear`, or another question later, calls with the place of the first number that is not finite;
    it raises.
    """
    if not flat.size:
        return
    address = stream_address()
    if address not in _own.checks:
        if len(_own.checks) == MOST_STREAMS:  # streams come and go
            _own.checks.pop(next(iter(_own.checks))).hear()
        _own.checks[address] = Checks()
    _own.checks[address].ask(flat, answer)


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
