"""Say how far a training has come: lines to read, and a table in a file."""

import csv
import os
import sys
import time
from collections.abc import Callable

from .callbacks import Callback
from .schedules import checked_rate


class Printer(Callback):
    """Print a line with the losses after an epoch, at most one in so many seconds, and one at the end.

    Parameters
    ----------
    seconds : float
        From one line to the next, at least; 0 for a line after each epoch.
    show : callable, optional
        ``(network, history) -> str``: the line, in the place of epoch and losses; called only where a line is printed.
    file : text file, optional
        Where to print; standard output if None.
    clock : callable
        Returns the time in seconds.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> net = nr.Network([nr.RNN(1, "identity"), nr.Last()], channels=1, seed=0)
    >>> x, y = np.ones((2, 8, 1), np.float32), np.ones((8, 1), np.float32)
    >>> history = net.fit(x, y, epochs=2, callbacks=[nr.Printer(seconds=0)], progress=False)
    epoch 1  loss ...
    epoch 2  loss ...
    """

    def __init__(
        self,
        seconds: float = 1.0,
        show: Callable | None = None,
        file=None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.seconds, self.show, self.file, self.clock = checked_rate("seconds", seconds), show or line, file, clock
        self._last, self._epoch = None, 0

    def start(self, network):
        """The first epoch is printed."""
        self._last, self._epoch = None, 0

    def __call__(self, network, history):
        """Print, unless it is too early."""
        now = self.clock()
        if self._last is None or now - self._last >= self.seconds:
            self._last = now
            self._print(network, history)

    def finish(self, network, history):
        """Print the last epoch, unless it is printed already."""
        if history.loss and self._epoch != len(history.loss):
            self._print(network, history)

    def _print(self, network, history):
        """Print a line for the last epoch."""
        self._epoch = len(history.loss)
        print(self.show(network, history), file=self.file or sys.stdout, flush=True)


class CSVLogger(Callback):
    """Write a line into a table after each epoch: what `History.as_dict` has of it, as text with commas.

    The file is written anew when a training starts.  It begins with the epochs that the history has already: after a stop
    and a new start from a checkpoint it has each epoch once.

    Parameters
    ----------
    path : str or os.PathLike

    Examples
    --------
    >>> import numpy as np, numbarnn as nr, os, tempfile
    >>> net = nr.Network([nr.RNN(4), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    >>> x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32)), 5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "table.csv")
    ...     history = net.fit(x, y, epochs=2, callbacks=[nr.CSVLogger(path)], progress=False)
    ...     first, *rows = open(path).read().splitlines()
    >>> first, len(rows)
    ('epoch,loss,seconds,rate', 2)
    """

    def __init__(self, path: str | os.PathLike):
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path: expected a str or an os.PathLike, got {path!r} ({type(path).__name__})")
        self.path, self._columns = os.fspath(path), None

    def start(self, network):
        """Begin the file, with the epochs that there are."""
        self._columns = None
        self._write(network.history, "w")

    def __call__(self, network, history):
        """Add the last epoch."""
        self._write(history, "a")

    def _write(self, history, mode):
        """Write the epochs of a history; of one whose columns are in the file the last one."""
        table = history.as_dict()
        first = len(history.loss) - 1
        if mode == "w" or list(table) != self._columns:
            mode, first = "w", 0
        with open(self.path, mode, encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if mode == "w":
                writer.writerow(table)
            writer.writerows(list(zip(*table.values()))[first:])
        self._columns = list(table)


def line(network, history):
    """Epoch and losses, as text."""
    last = f"  validation {history.validation[-1]:.4g}" if history.validation else ""
    return f"epoch {len(history.loss)}  loss {history.loss[-1]:.4g}{last}"
