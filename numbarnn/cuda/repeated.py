"""What is launched again and again with the same arguments: noted once, then put on the stream without working it out."""

from . import cublas, graphs
from .arrays import empty
from .launches import Recording, recorded

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

    @property
    def recording(self):
        """The Recording that `run` repeats; None where it would not repeat any."""
        return self._recording if self._choices == cublas.choices() else None

    def scratch(self):
        """Memory for one run."""
        return empty((self._size,), self._dtype)

    def run(self, function):
        """Run ``function(scratch)``, or repeat it."""
        recording = self.recording
        if recording is not None:
            recording.run()
            return
        self._runs += 1
        if self._runs == 1 or self._size * self._dtype.itemsize > MOST_BYTES:
            function(self.scratch())
            return
        self._scratch, self._choices = self.scratch(), cublas.choices()
        with recorded() as recording:
            function(self._scratch)
        self._recording = recording


class Joined:
    """Steps that are taken again and again, in order; by `graphs.use_graphs` those that stand together are one graph.

    A step is part of a graph where it is the method of something whose attribute `recording` is a `launches.Recording`: its
    launches are then all that it does.

    Parameters
    ----------
    steps : sequence of callable
    """

    def __init__(self, steps):
        self._steps = [(step, getattr(step, "__self__", None)) for step in steps]
        self._noted, self._calls = None, None  # the recordings of the steps, and what takes all steps by these

    def run(self):
        """Take all steps."""
        if not graphs.wanted():
            for step, _ in self._steps:
                step()
            return
        noted = [getattr(owner, "recording", None) for _, owner in self._steps]
        if self._noted is None or any(one is not other for one, other in zip(noted, self._noted)):
            self._noted, self._calls = noted, self._joined(noted)
        for call in self._calls:
            call()

    def _joined(self, noted):
        calls, joined = [], None
        for (step, _), recording in zip(self._steps, noted):
            if recording is None:
                calls.append(step)
                joined = None
                continue
            if joined is None:
                joined = Recording()
                calls.append(joined.run)
            joined.extend(recording)
        return calls
