"""Libraries that take turns, a process each.

In one process Numba's OpenMP settings make PyTorch ten times slower; in two, one library sleeps while the other works.
"""

import multiprocessing
import os
import traceback

CONTEXT = multiprocessing.get_context("spawn")


class Worker:
    """A process that answers calls: ``worker(*message)`` is what ``make(threads)(*message)`` returns there.

    Parameters
    ----------
    make : function
        Of a module; called in the process with the number of threads, and bound to as many processors.
    threads : int
    """

    def __init__(self, make, threads):
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_work, args=(make, threads, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, *message):
        self._pipe.send(message)
        answer, failure = self._pipe.recv()
        if failure:
            raise RuntimeError(failure)
        return answer

    def close(self):
        """End the process."""
        self._pipe.send(None)
        self._process.join()


def _work(make, threads, pipe):
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    answer = make(threads)
    while (message := pipe.recv()) is not None:
        try:
            pipe.send((answer(*message), None))
        except Exception:
            pipe.send((None, traceback.format_exc()))
