"""Libraries that take turns, a process each.

In one process the threads of one library, which spin for a while after their work, slow the other; in two, one sleeps while
the other works.  Before that its threads spin as well, PyTorch's for up to 8 milliseconds and onnxruntime's for 30, which
is as long as some turns.  So every turn begins with a pause, the same for every library, in which the threads of
the one before fall asleep, and `Library`'s with calls that are not timed, in which its own wake up.
"""

import multiprocessing
import os
import time
import traceback

CONTEXT = multiprocessing.get_context("spawn")
PAUSE, WARM = 0.05, 0.02  # seconds: of the pause, and of the calls that are not timed


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

    _last, _at_work = None, 0  # the worker that was last asked, and how many have not answered yet

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
        """Begin a call, after a pause if another worker had the turn; `answer` waits for its end."""
        if Worker._last is not self and not Worker._at_work:
            time.sleep(PAUSE)
        Worker._last = self
        Worker._at_work += 1
        self._pipe.send(message)

    def answer(self):
        """What the call returns that `ask` has begun."""
        answer, failure = self._pipe.recv()
        Worker._at_work -= 1
        if failure:
            raise RuntimeError(failure)
        return answer

    def close(self):
        """End the process."""
        self._pipe.send(None)
        self._process.join()


def warm(call):
    """Repeat a call that is not timed, until what a pause has put to sleep is awake."""
    end = time.perf_counter() + WARM
    while True:
        call()
        if time.perf_counter() >= end:
            return


def _work(make, threads, bound, pipe):
    if bound and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    answer = make(threads)
    while (message := pipe.recv()) is not None:
        try:
            pipe.send((answer(*message), None))
        except Exception:
            pipe.send((None, traceback.format_exc()))
