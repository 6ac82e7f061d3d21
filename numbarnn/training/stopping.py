"""Stop in time: end a training that no longer improves, and keep the best parameters."""

import warnings

from ..arrays.devices import moved
from ..errors import flag, positive_integer
from .callbacks import Callback
from .monitor import Monitor
from .schedules import checked_rate


class EarlyStopping(Callback):
    """End a training whose loss, or another quantity, has not improved for some epochs, and restore the best parameters.

    It follows the validation loss, or without one the training loss.  A training loss is taken before each update, so it
    belongs to no one vector of parameters: the vector at the end of its epoch stands for it.  A value that is NaN improves
    nothing.

    Parameters
    ----------
    patience : int
        Epochs without a better value that end the training.
    min_delta : float
        A value is better if it is so by more than this.
    restore : bool
        At the end of the training, whatever ended it (all epochs, Ctrl-C, an error), write the parameters of the best epoch
        into the network; where no epoch had a value that is a number, there is none, and a warning says so.
    monitor : str, optional
        What it follows: "loss", "validation", the name of a metric, or of one on the validation data, such as
        "validation_accuracy".
    mode : {"min", "max"}, optional
        Whether smaller or larger values are better.  None for what is known of: "accuracy" is better where it is larger, all
        losses where they are smaller.

    Attributes
    ----------
    best : float
        The best value.
    epoch : int
        The epoch of the best value, counted from 1; 0 before any.

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

    def __init__(
        self,
        patience: int = 10,
        min_delta: float = 0.0,
        restore: bool = True,
        monitor: str | None = None,
        mode: str | None = None,
    ):
        self.patience, self.restore = positive_integer("patience", patience), flag("restore", restore)
        self._monitor = Monitor.of(monitor, mode, checked_rate("min_delta", min_delta))
        self._record, self._first = (self._monitor.worst, 0, None), 0

    @property
    def best(self) -> float:
        """The best value; before any infinity, or -infinity where larger ones are better."""
        return self._record[0]

    @property
    def epoch(self) -> int:
        """The epoch of the best value, counted from 1; 0 before any."""
        return self._record[1]

    def start(self, network):
        """Forget an earlier training."""
        self._record = self._monitor.worst, 0, None
        self._first = 0 if network.history is None else len(network.history.loss)

    def state(self):
        """The best value, its epoch and its parameters, and the epochs before this training."""
        return [*self._record, self._first]

    def set_state(self, state):
        """Go on from what `get_state` returned."""
        best, epoch, flat, self._first = state
        self._record = best, epoch, flat

    def __call__(self, network, history):
        """Whether to stop."""
        value, epoch = self._monitor.value(history), len(history.loss)
        if self._monitor.improves(value, self.best):
            self._record = value, epoch, network.params.flat.copy() if self.restore else None
        return epoch - max(self.epoch, self._first) >= self.patience

    def finish(self, network, history):
        """Write the best parameters into the network (is modified)."""
        best, epoch, flat = self._record
        if flat is not None:
            network.params.flat[:] = moved(flat, network.device)
            self._record = best, epoch, None
        elif self.restore and not epoch and len(history.loss) > self._first:
            what = "EarlyStopping: no epoch had a value that is a number; the parameters stay as the last one left them"
            warnings.warn(what, RuntimeWarning, stacklevel=2)
