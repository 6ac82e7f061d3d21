"""The ranks of MPI, processes that work together: they agree, share what each has, and fail together."""

import contextlib
import signal
import sys
import threading

from ..descriptions.fingerprint import fingerprint
from ..errors import RankError, positive_integer


def own_part(count: int, comm) -> slice:
    """This rank's part of `count` samples: consecutive ones, as many as any other rank's or one less.

    A slice, so that only this part has to be read, of a memory map for example.  `Network.fit` with ``shards`` takes just
    these parts.

    Parameters
    ----------
    count : int
        Samples of all ranks.
    comm : mpi4py.MPI.Intracomm
        Such as ``MPI.COMM_WORLD``.

    Returns
    -------
    slice

    Raises
    ------
    TypeError, ValueError
        If `comm` is no communicator of mpi4py, or `count` no positive integer.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> from mpi4py import MPI
    >>> x = np.zeros((20, 100, 3))  # T, N, C
    >>> x[:, nr.own_part(100, MPI.COMM_SELF)].shape  # a single rank
    (20, 100, 3)
    """
    count = positive_integer("count", count)
    checked_comm(comm)
    return part(count, comm.rank, comm.size)


def part(count, index, parts):
    """Part `index` of `parts`, a slice.  Parts of parts are parts of the whole: 2 of 8 in a row are 1 of 4."""
    return slice(count * index // parts, count * (index + 1) // parts)


def checked_comm(comm):
    """`comm`, if it is a communicator of mpi4py; else TypeError or ValueError.  Nothing is imported."""
    mpi, expected = sys.modules.get("mpi4py.MPI"), "a communicator of mpi4py such as MPI.COMM_WORLD"
    if mpi is not None and isinstance(comm, mpi.Comm) and comm == mpi.COMM_NULL:
        raise ValueError(f"comm: expected {expected}, got MPI.COMM_NULL, to which no process belongs")
    if mpi is None or not isinstance(comm, mpi.Intracomm):
        kind = f"the class {comm.__name__}" if isinstance(comm, type) else type(comm).__name__
        raise TypeError(f"comm: expected {expected}, got {kind}")
    return comm


class Ranks:
    """The ranks of a communicator, while they do something together.

    A context manager around what every rank does.  All ranks meet at the same calls of `agree` in the same order.  One that
    an exception ends meets the others where they wait next, and tells them; there they raise RankError.  So all ranks come
    to the end, whichever of them has failed.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm or None
        None is a single rank.

    Attributes
    ----------
    rank, size : int
        The number of this one, from 0 on, and how many there are.
    comm : mpi4py.MPI.Intracomm or None
        A duplicate, whose messages no other meets.
    meet : callable or None
        How to meet the others where they wait next, if that is not `agree`, and to let them know that one has failed, so
        that they call `agree`.
    """

    def __init__(self, comm=None):
        self._given, self.comm, self.meet = comm, None, None
        self.rank, self.size = (0, 1) if comm is None else (comm.rank, comm.size)
        self._told = False  # whether all ranks know that one has failed
        self._vector = self._handler = self._interrupt = None
        self._together = False

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                self._handler = handler
                signal.signal(signal.SIGINT, self._interrupted)
        self._together = True  # Ctrl-C meanwhile is raised after the first meeting, when the end of the block follows
        self.comm = None if self._given is None else self._given.Dup()
        self._together = False
        return self

    def __exit__(self, kind, error, traceback):
        """Meet the others in the end, or tell them; then a vector that is shared is as on rank 0."""
        with self.uninterrupted():
            try:
                if error is None:
                    self.agree()
                elif not self._told:
                    self._tell(error)
            finally:
                self._give()
                if self._handler is not None:
                    signal.signal(signal.SIGINT, self._handler)
                if self.comm is not None:
                    self.comm.Free()

    def _interrupted(self, *signalled):
        """Ctrl-C: not between a message and the note that it has arrived, or the ranks would wait for each other."""
        if self._together:
            self._interrupt = signalled
        else:
            self._handler(*signalled)

    @contextlib.contextmanager
    def uninterrupted(self):
        """Ctrl-C waits until the end of this block, or of the one around it."""
        if self._together:
            yield
            return
        self._together = True
        try:
            yield
        finally:
            self._together, signalled, self._interrupt = False, self._interrupt, None
            if signalled is not None:
                self._handler(*signalled)

    def agree(self, own=None):
        """A list with what each rank has given, small and to be pickled; RankError where another one has failed."""
        return self._exchange(None, own)

    def _tell(self, error):
        """Meet the others where they wait, and tell them of this rank's error."""
        if self.meet is not None:
            self.meet()
        self._exchange(f"{type(error).__name__}: {error}", None)

    def _exchange(self, failure, own):
        with self.uninterrupted():
            answers = [(failure, own)] if self.comm is None else self.comm.allgather((failure, own))
            self.meet = None
            failed = [(what, rank) for rank, (what, _) in enumerate(answers) if what is not None]
            self._told = bool(failed)
        if failed and failure is None:
            what, rank = failed[0]
            more = f", and {len(failed) - 1} more" if failed[1:] else ""
            raise RankError(f"comm: expected every rank to go on, got {what} (rank {rank} of {self.size}{more})")
        return [own for _, own in answers]

    def same(self, values):
        """Raise ValueError, on every rank, unless each of the values, by name, is the same on all of them.

        What cannot be compared between processes, such as an object whose value cannot be seen, is not.
        """
        own = {}
        for name, value in values.items():
            digest, keepable = fingerprint(value)
            own[name] = digest if keepable else None, f"{value!r:.200}"
        every = self.agree(own)
        for name in values:
            digests = [answer[name][0] for answer in every]
            for rank, digest in enumerate(digests):
                if None not in (digests[0], digest) and digest != digests[0]:
                    found = f"{every[0][name][1]} on rank 0 and {every[rank][name][1]} on rank {rank}"
                    raise ValueError(f"{name}: expected the same on every rank, got {found}")

    def share(self, vector):
        """Write rank 0's numbers into a contiguous vector (is modified): now, after `follow`, and in the end."""
        with self.uninterrupted():
            self.agree()
            self._vector = vector
            self._give()

    def follow(self, answer):
        """Rank 0's answer, on every rank; the vector that is shared is then as on rank 0."""
        with self.uninterrupted():
            answer = self.agree(answer)[0]
            self._give()
        return answer

    def _give(self):
        if self._vector is not None and self.comm is not None:
            self.comm.Bcast(self._vector, root=0)

    def gathered(self, own):
        """A list with what each rank has given, large or small and to be pickled, on rank 0; None on the others.

        RankError where another rank has failed.
        """
        with self.uninterrupted():
            self.agree()
            return [own] if self.comm is None else self.comm.gather(own, root=0)

    def own(self, items):
        """This rank's part of a sequence that all have; see `joined`."""
        return items[part(len(items), self.rank, self.size)]

    def joined(self, results):
        """One list of the results that each rank has of its `own` part, in the order of the whole."""
        return [result for results in self.agree(list(results)) for result in results]


def in_place():
    """MPI.IN_PLACE: what is to be summed lies where the sum goes."""
    return sys.modules["mpi4py.MPI"].IN_PLACE
