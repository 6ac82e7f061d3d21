"""Work that keeps processors busy beside what is measured: ``python -m benchmarks.loads KIND``, until its input ends."""

import os
import subprocess
import sys
import threading

READY = "ready\n"


def plain():
    """Python that computes: one processor, always."""
    _say_ready()
    while True:
        pass


def products():
    """NumPy's matrix products, on as many threads as its BLAS takes."""
    import numpy as np

    a = np.ones((1024, 1024), np.float32)
    a @ a
    _say_ready()
    while True:
        a @ a


def training():
    """Another training by this library, on as many threads as it takes by itself."""
    import numpy as np

    import numbarnn as nr

    x = np.random.default_rng(0).standard_normal((100, 32, 8)).astype(np.float32)
    net = nr.Network([nr.GRU(64), nr.Last(), nr.Dense(1)], channels=8, seed=0)
    net.fit(x, x[-1, :, :1], epochs=2, progress=False)
    _say_ready()
    while True:
        net.fit(x, x[-1, :, :1], epochs=100, progress=False)


KINDS = {"plain": plain, "products": products, "training": training}


class Loads:
    """A context manager in which processes of these `KINDS` work, from its start to its end.

    Parameters
    ----------
    kinds : sequence of str
    """

    def __init__(self, kinds):
        self.kinds = kinds

    def __enter__(self):
        """Start them, and wait until each works; RuntimeError if one does not."""
        command = [sys.executable, "-m", "benchmarks.loads"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._processes = [subprocess.Popen([*command, kind], **pipes) for kind in self.kinds]
        for kind, process in zip(self.kinds, self._processes):
            if process.stdout.readline() != READY:
                self._end()
                raise RuntimeError(f"the load {kind!r} has ended before it began")
        return self

    def __exit__(self, kind, *exception):
        """End them; RuntimeError if one has not worked until now."""
        ended = [
            (name, process.returncode) for name, process in zip(self.kinds, self._processes) if process.poll() is not None
        ]
        self._end()
        if ended and kind is None:
            raise RuntimeError(f"loads that have ended too early, with their exit status: {ended}")

    def _end(self):
        for process in self._processes:
            process.stdin.close()
        for process in self._processes:
            process.wait()
            process.stdout.close()


def _say_ready():
    print(READY, end="", flush=True)


def _end_with_input():
    """End this process when the one that has started it closes its input, or is gone."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    KINDS[sys.argv[1]]()
