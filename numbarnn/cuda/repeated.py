"""What is launched again and again with the same arguments: noted once, then put on the stream without working it out."""

from . import cublas
from .arrays import empty
from .launches import recorded

MOST_BYTES = 1 << 26  # of scratch that is held between two runs: where there is more, the GPU takes longer than the host


class Repeated:
    """Runs a function of scratch memory, which launches kernels and does nothing else to arrays.

    The first run is as any; the second is recorded, with scratch that is held from then on; the others repeat that one.

    Parameters
    ----------
    size : int
        Numbers of scratch.
    dtype : numpy.dtype
    """

    def __init__(self, size, dtype):
        self._size, self._dtype = max(size, 1), dtype
        self._runs, self._recording, self._scratch, self._choices = 0, None, None, None

    @property
    def nbytes(self):
        """Bytes that are held."""
        return 0 if self._scratch is None else self._scratch.nbytes

    def scratch(self):
        """Memory for one run."""
        return empty((self._size,), self._dtype)

    def run(self, function):
        """Run ``function(scratch)``, or repeat it."""
        if self._recording is not None and self._choices == cublas.choices():
            self._recording.run()
            return
        self._runs += 1
        if self._runs == 1 or self._size * self._dtype.itemsize > MOST_BYTES:
            function(self.scratch())
            return
        self._scratch, self._choices = self.scratch(), cublas.choices()
        with recorded() as recording:
            function(self._scratch)
        self._recording = recording
