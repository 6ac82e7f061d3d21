"""The sum of a vector over all ranks, that says whether one of them has failed."""

import numpy as np

from .ranks import in_place


class Sum:
    """The sum of a vector over all ranks, in the order that MPI takes.

    Parameters
    ----------
    count : int
        How many ranks.
    size : int
    dtype : numpy.dtype
    ranks : Ranks, optional
        Those that sum; they may be set later, and others after them.

    Attributes
    ----------
    vector : numpy.ndarray
        (size,): what is to be summed, and its sum; it lasts as long as the Sum.
    """

    def __init__(self, count, size, dtype, ranks=None):
        self.ranks, self._buffer = ranks, np.zeros(self._length(size, count), dtype)
        self.vector, self._failed = self._buffer[:size], self._buffer[-1:]

    @staticmethod
    def _length(size, count):
        """Numbers that are sent: also one that says that a rank has failed."""
        return size + 1

    def take(self, failed=False, last=False):
        """Sum `vector` (is modified); RankError where another rank has failed.  last: the ranks meet at `agree` next."""
        ranks = self.ranks
        with ranks.uninterrupted():
            self._failed[0] = failed
            if ranks.comm is not None:
                self._sum(ranks.comm)
            ranks.meet = None if last else self._fail
            if self._failed[0] and not failed:
                ranks.agree()  # who has failed says why

    def meet_next(self):
        """The ranks meet at `take` next."""
        self.ranks.meet = self._fail

    def _fail(self):
        self.take(failed=True)

    def _sum(self, comm):
        comm.Allreduce(in_place(), self._buffer)


class TreeSum(Sum):
    """The sum over all ranks, by pairs: first with second and third with fourth rank, then the sums of these, and so on.

    Each rank sums one piece of the vector.  So no more bytes are sent than by a good `Sum`, in two messages instead of one.
    The ranks are a power of two.
    """

    def __init__(self, count, size, dtype, ranks=None):
        super().__init__(count, size, dtype, ranks)
        self._pieces = np.empty((count, len(self._buffer) // count), dtype)  # one from each rank

    @staticmethod
    def _length(size, count):
        return -(-(size + 1) // count) * count

    def _sum(self, comm):
        comm.Alltoall(self._buffer, self._pieces)
        comm.Allgather(sum_by_pairs(list(self._pieces)), self._buffer)


def sum_by_pairs(parts):
    """The sum of numbers or arrays, by pairs; an odd one out goes on by itself."""
    while len(parts) > 1:
        odd = parts[len(parts) // 2 * 2 :]
        parts = [one + other for one, other in zip(parts[::2], parts[1::2])] + odd
    return parts[0]
