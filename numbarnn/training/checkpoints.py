"""Checkpoints: a training that is killed goes on from its last one as if nothing had happened."""

import os
import re
from pathlib import Path

from ..errors import DataNotFoundError, flag, known_name, positive_integer
from .callbacks import Callback
from .monitor import Monitor
from .saved import save

UNITS = ("epoch", "update")
NAME = re.compile(r"(\d{10,})\.safetensors")
BEST = "best.safetensors"


class Checkpoint(Callback):
    """Save the training into a folder, again and again; `Trainer.load` of the folder goes on from the last time.

    A training that is killed at any moment and goes on has the bits of one that ran through: parameters, what the optimizer
    remembers, orders, masks, losses, and the memory of callbacks such as `EarlyStopping`.  It goes on in the middle of an
    epoch, too.  Each file is written whole or not at all, and the first one before anything is trained.

    Parameters
    ----------
    path : str or os.PathLike
        The folder, which is made.  Files are called by the updates that were taken.
    every : int
        After so many epochs, or updates, a file is written; one that ends the training always is.
    unit : {"epoch", "update"}
        What `every` counts.
    keep_last : int
        How many files to keep, the last ones.
    keep_best : bool
        Keep the training after its best epoch as well, in ``best.safetensors``; `numbarnn.load` has its network.
    monitor, mode
        What is best: as in `EarlyStopping`.

    Raises
    ------
    FileExistsError
        When a training starts, if the folder has checkpoints of one that has gone further.
    TypeError
        When a training starts, if its loss, optimizer or a metric is such that no file can describe it, such as a lambda.
    OSError
        If a file cannot be written.  The ones before it are whole.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr, tempfile
    >>> x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32) / 4), 5)
    >>> def network():
    ...     return nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    >>> class Killed(nr.Callback):
    ...     def batch(self, network, loss):
    ...         if len(network.history.loss) == 3:
    ...             raise KeyboardInterrupt  # in the fourth epoch
    >>> whole, stopped = nr.Trainer(network(), epochs=6), nr.Trainer(network(), epochs=6)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keep = nr.Checkpoint(folder, every=1, unit="update")
    ...     try:
    ...         stopped.fit(x, y, callbacks=[keep, Killed()], progress=False)
    ...     except KeyboardInterrupt:
    ...         resumed = nr.Trainer.load(folder)
    ...     history = resumed.fit(x, y, callbacks=[keep], progress=False)
    >>> history.loss == whole.fit(x, y, progress=False).loss
    True
    >>> np.array_equal(resumed.network.params.flat, whole.network.params.flat)
    True
    """

    _keeps = True

    def __init__(
        self,
        path: str | os.PathLike,
        every: int = 1,
        unit: str = "epoch",
        keep_last: int = 1,
        keep_best: bool = False,
        monitor: str | None = None,
        mode: str | None = None,
    ):
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise TypeError(f"path: expected the name of a folder, got {path!r} ({type(path).__name__})")
        self.path, self.every = Path(path), positive_integer("every", every)
        self.unit, self.keep_last = str(known_name("unit", unit, UNITS)), positive_integer("keep_last", keep_last)
        self.keep_best, self._monitor = flag("keep_best", keep_best), Monitor.of(monitor, mode, 0.0)
        self._best = self._monitor.worst

    def start(self, network):
        """Forget the best value of an earlier training."""
        self._best = self._monitor.worst

    def state(self):
        """The best value, if it is needed."""
        return self._best if self.keep_best else None

    def set_state(self, state):
        """Go on with the best value."""
        self._best = float(state)

    def _begin(self, course):
        """A training begins, or goes on: there is a file of it from now on."""
        self.path.mkdir(parents=True, exist_ok=True)
        step, there = course.updates.step, _files(self.path)
        if there and there[-1][0] > step:
            expected = f"a folder without checkpoints of a training that has gone further than {step} updates"
            hint = "Trainer.load of it goes on there"
            raise FileExistsError(f"path: expected {expected}, got {there[-1][1].name!r} in {str(self.path)!r}; {hint}")
        if course.resumed is None:
            self._save(course)

    def _keep(self, course, whole, ends):
        """An update is taken, the last one of an epoch if that is `whole`; write what is due."""
        history = course.history
        if whole and self.keep_best and self._monitor.improves(value := self._monitor.value(history), self._best):
            self._best = value
            save(self.path / BEST, course)
        done = len(history.loss) if self.unit == "epoch" else course.updates.step
        if ends or (whole or self.unit == "update") and done % self.every == 0:
            self._save(course)

    def _save(self, course):
        """Write a file, and remove those that are too many."""
        save(self.path / f"{course.updates.step:010}.safetensors", course)
        for _, file in _files(self.path)[: -self.keep_last]:
            file.unlink(missing_ok=True)


def _files(folder):
    """[(updates, path)] of the checkpoints in a folder, in order."""
    found = [(NAME.fullmatch(entry.name), entry) for entry in folder.iterdir()]
    return sorted((int(match[1]), entry) for match, entry in found if match)


def newest(path):
    """The newest checkpoint in a folder; `path` itself if it is none.  DataNotFoundError if there is no checkpoint."""
    if not isinstance(path, (str, os.PathLike)) or not os.path.isdir(path):
        return path
    found = _files(Path(path))
    if not found:
        raise DataNotFoundError(f"path: expected a folder with checkpoints, got {os.fspath(path)!r} without any")
    return found[-1][1]
