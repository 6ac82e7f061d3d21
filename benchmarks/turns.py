"""Libraries that take turns, a process each.

In one process the threads of one library, which spin for a while after their work, slow the other; in two, one sleeps while
the other works.
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
    bound : bool
        Whether it is: where other processes are at work, one that is bound cannot give way to them.

    Attributes
    ----------
    pid : int
        Of the process.
    """

    def __init__(self, make, threads, bound=True):
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_work, args=(make, threads, bound, theirs), daemon=True)
        self._process.start()
        self.pid = self._process.pid
        theirs.close()

    def __call__(self, *message):
        self.ask(*message)
        return self.answer()

    def ask(self, *message):
        """Begin a call; `answer` waits for its end."""
        self._pipe.send(message)

    def answer(self):
        """What the call returns that `ask` has begun."""
        answer, failure = self._pipe.recv()
        if failure:
            raise RuntimeError(failure)
        return answer

    def close(self):
        """End the process."""
        self._pipe.send(None)
        self._process.join()


def _work(make, threads, bound, pipe):
    if bound and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    answer = make(threads)
    while (message := pipe.recv()) is not None:
        try:
            pipe.send((answer(*message), None))
        except Exception:
            pipe.send((None, traceback.format_exc()))
