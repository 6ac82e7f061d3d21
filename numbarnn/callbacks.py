"""What `fit` calls after each epoch: stop in time, and say how far it has come."""

import math
import sys
import time
from collections.abc import Callable

from .errors import positive_integer
from .schedules import checked_rate


class Callback:
    """A callback that also learns of the start and the end of a training; `fit` takes plain functions as well."""

    def start(self, network):
        """A training of `network` begins."""

    def __call__(self, network, history):
        """An epoch is over; a true value ends the training."""

    def finish(self, network, history):
        """The training is over: all epochs are, or a callback has ended it."""


class EarlyStopping(Callback):
    """End a training whose loss has not improved for some epochs, and restore the best parameters.

    It follows the validation loss where there is one, else that of the training.  The loss of a training is taken before
    each update and belongs to no one vector of parameters; those at the end of its epoch are taken.

    Parameters
    ----------
    patience : int
        Epochs without a smaller loss that end the training.
    difference : float
        A loss is smaller if it is so by more than this.
    restore : bool
        At the end of the training, whatever ended it, write the parameters of the best epoch into the network.

    Attributes
    ----------
    best : float
        The smallest loss.
    epoch : int
        That of the smallest loss, counted from 1; 0 before any.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> net = nr.Network([nr.RNN(4), nr.Last(), nr.Dense(1)], channels=1, seed=0)
    >>> x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32)), 5)
    >>> stopping = nr.EarlyStopping(patience=3)
    >>> history = net.fit(
    ...     x[:, :40], y[:40], epochs=200, optimizer=nr.Adam(0.03), validation=(x[:, 40:], y[40:]),
    ...     callbacks=[stopping], progress=False,
    ... )
    >>> len(history.loss) == stopping.epoch + 3, min(history.validation) == stopping.best
    (True, True)
    >>> net.loss(x[:, 40:], y[40:]) == stopping.best
    True
    """

    def __init__(self, patience: int = 10, difference: float = 0.0, restore: bool = True):
        self.patience, self.difference = positive_integer("patience", patience), checked_rate("difference", difference)
        if not isinstance(restore, bool):
            raise TypeError(f"restore: expected True or False, got {restore!r}")
        self.restore = restore
        self.best, self.epoch, self._flat = math.inf, 0, None

    def start(self, network):
        """Forget an earlier training."""
        self.best, self.epoch, self._flat = math.inf, 0, None

    def __call__(self, network, history):
        """Whether to stop."""
        value, epoch = (history.validation or history.loss)[-1], len(history.loss)
        if value < self.best - self.difference:
            self.best, self.epoch = value, epoch
            if self.restore:
                self._flat = network.params.flat.copy()
        return epoch - self.epoch >= self.patience

    def finish(self, network, history):
        """Write the best parameters into the network (is modified)."""
        if self._flat is not None:
            network.params.flat[:] = self._flat
            self._flat = None


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
        self._epoch = len(history.loss)
        print(self.show(network, history), file=self.file or sys.stdout, flush=True)


def line(network, history):
    """Epoch and losses, as text."""
    last = f"  validation {history.validation[-1]:.4g}" if history.validation else ""
    return f"epoch {len(history.loss)}  loss {history.loss[-1]:.4g}{last}"
