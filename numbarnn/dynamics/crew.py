"""Threads of Python that share tasks of compiled code, beside one that only this thread can do."""

from concurrent.futures import ThreadPoolExecutor


class Crew:
    """This thread and some others.

    Parameters
    ----------
    count : int
        How many threads there are in all.
    """

    def __init__(self, count):
        self._others = ThreadPoolExecutor(count - 1) if count > 1 else None
        self._count = count

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        if self._others is not None:
            self._others.shutdown()

    def run(self, tasks, own=None):
        """Call each task once, the first ones first, while this thread calls `own`; returns what `own` does.

        Tasks release Python's lock for nearly all of their time, do not depend on each other, and return nothing.
        tasks : collections.deque (is emptied)
        """

        def work():
            while True:
                try:
                    task = tasks.popleft()
                except IndexError:
                    return
                task()

        helping = [self._others.submit(work) for _ in range(self._count - 1)] if tasks else []
        try:
            found = None if own is None else own()
            work()
        finally:
            tasks.clear()
            failed = [each.exception() for each in helping]
        for error in failed:
            if error is not None:
                raise error
        return found
