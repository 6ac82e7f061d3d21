"""What `fit` calls after each epoch: stop in time, and say how far it has come."""

import contextlib
import difflib
import inspect
import math
import re
import sys
import time
import warnings
from collections.abc import Callable

from ..errors import flag, positive_integer, takes
from .schedules import checked_rate

EVENTS = ("start", "finish")  # besides the call itself
WORDS = frozenset(  # what other libraries put the names of their events together from
    "on before after batch batches epoch epochs update updates step train training fit predict test valid validation begin"
    " end start started finish finished done".split()
)


class Callback:
    """A callback that also learns of the start and the end of a training; `fit` takes plain functions as well.

    `fit` calls these three methods and no others.  `finish` is called in the end, whatever it was: all epochs, a callback,
    Ctrl-C or any other exception, which goes on afterwards.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> class Norms(nr.Callback):
    ...     def start(self, network):
    ...         self.norms = []
    ...     def __call__(self, network, history):
    ...         self.norms.append(float(np.linalg.norm(network.params.flat)))
    >>> net, norms = nr.Network([nr.RNN(4), nr.Last(), nr.Dense(1)], channels=1, seed=0), Norms()
    >>> x, y = nr.windows(np.sin(np.arange(60, dtype=np.float32)), 5)
    >>> history = net.fit(x, y, epochs=3, callbacks=[norms], progress=False)
    >>> len(norms.norms)
    3
    """

    def start(self, network):
        """A training of `network` begins."""

    def __call__(self, network, history):
        """An epoch is over; True ends the training, False and None do not, and anything else is an error."""

    def finish(self, network, history):
        """The training is over, whatever has ended it; the last epoch may have remained unfinished."""


def checked_callbacks(callbacks):
    """The callbacks as a tuple, if `fit` can call each, and calls all that each wants to be called; else TypeError."""
    expected = "a sequence of functions of (network, history)"
    if callable(callbacks) or isinstance(callbacks, (str, bytes, dict)):
        hint = "; a single one goes in a list, callbacks=[...]" if callable(callbacks) else ""
        raise TypeError(f"callbacks: expected {expected}, got {type(callbacks).__name__}{hint}")
    try:
        callbacks = tuple(callbacks)
    except TypeError:
        raise TypeError(f"callbacks: expected {expected}, got {type(callbacks).__name__}") from None
    for index, callback in enumerate(callbacks):
        argument, kind = f"callbacks[{index}]", type(callback).__name__
        if isinstance(callback, type):
            name = callback.__name__
            raise TypeError(f"{argument}: expected something to call, got the class {name}; {name}() makes one")
        missed = _never_called(callback)
        if missed:
            raise TypeError(
                f"{argument}: expected a function of (network, history), or a numbarnn.Callback, of which fit calls the"
                f" methods start, __call__ and finish, got {kind} with {', '.join(missed)}, never called"
            )
        if not callable(callback):
            raise TypeError(f"{argument}: expected something to call, got {kind}")
        takes(argument, callback, "network, history")
        if isinstance(callback, Callback):
            takes(f"{argument}.start", callback.start, "network")
            takes(f"{argument}.finish", callback.finish, "network, history")
    return callbacks


def _never_called(callback):
    """The public methods of a callback that look like events and that neither `fit` nor another method calls."""
    called, methods, of_library = set(), [], isinstance(callback, Callback)
    for kind in type(callback).__mro__:
        for name, member in vars(kind).items() if kind not in (Callback, object) else ():
            function = getattr(member, "__func__", member)
            if inspect.isfunction(function):
                called |= _names_in(function.__code__)
                methods.append(name)
    known = {*called, *(EVENTS if of_library else ())}
    return [name for name in methods if name not in known and _looks_like_an_event(name)]


def _names_in(code):
    """The names that a function and those inside it use."""
    return set(code.co_names).union(*(_names_in(inner) for inner in code.co_consts if inspect.iscode(inner)))


def _looks_like_an_event(name):
    """Whether a name is made of the words of events, or is nearly the name of one: perhaps it is misspelt."""
    words = re.findall(r"[A-Z]?[a-z]+", name)
    return not name.startswith("_") and (
        bool(words) and all(word.lower() in WORDS for word in words)
        or bool(difflib.get_close_matches(name, EVENTS, cutoff=0.85))
    )  # fmt: skip


class Calls:
    """The calls of callbacks in a training; as a context manager it tells them of its end, whatever that is.

    Parameters
    ----------
    callbacks : tuple of callable
    network : Network
    history : History
    """

    def __init__(self, callbacks, network, history):
        self.callbacks, self._with, self._started = callbacks, (network, history), []

    def start(self):
        """A training begins."""
        for index, callback in enumerate(self.callbacks):
            if isinstance(callback, Callback):
                callback.start(self._with[0])
                self._started.append((index, callback))

    def epoch(self):
        """An epoch is over: whether any callback ends the training."""
        return any([_ends(index, callback(*self._with)) for index, callback in enumerate(self.callbacks)])

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        """Call each `finish`, also after another has failed; what ended the training goes on, else the first failure."""
        first = None
        for index, callback in self._started:
            try:
                callback.finish(*self._with)
            except BaseException as failure:
                if error is None and first is None:
                    first = failure
                    continue
                with contextlib.suppress(RuntimeWarning):  # an error, if so asked: the first one goes on
                    what = f"{failure!r}, after {error if first is None else first!r}"
                    warnings.warn(f"callbacks[{index}].finish: raised {what}", RuntimeWarning, stacklevel=4)
        if first is not None:
            raise first


def _ends(index, answer):
    """Whether a callback's answer ends the training."""
    return answer is not None and flag(f"callbacks[{index}]", answer, "True, which ends the training, False or None")


class EarlyStopping(Callback):
    """End a training whose loss has not improved for some epochs, and restore the best parameters.

    It follows the validation loss, or without one the training loss.  A training loss is taken before each update, so it
    belongs to no one vector of parameters: the vector at the end of its epoch stands for it.  A loss that is NaN improves
    nothing.

    Parameters
    ----------
    patience : int
        Epochs without a smaller loss that end the training.
    difference : float
        A loss is smaller if it is so by more than this.
    restore : bool
        At the end of the training, whatever ended it (all epochs, Ctrl-C, an error), write the parameters of the best epoch
        into the network; where no epoch had a loss that is a number, there is none, and a warning says so.

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
        self.restore = flag("restore", restore)
        self._record = math.inf, 0, None

    @property
    def best(self) -> float:
        """The smallest loss; infinity before any."""
        return self._record[0]

    @property
    def epoch(self) -> int:
        """That of the smallest loss, counted from 1; 0 before any."""
        return self._record[1]

    def start(self, network):
        """Forget an earlier training."""
        self._record = math.inf, 0, None

    def __call__(self, network, history):
        """Whether to stop."""
        value, epoch = (history.validation or history.loss)[-1], len(history.loss)
        if value < self.best - self.difference:
            self._record = value, epoch, network.params.flat.copy() if self.restore else None
        return epoch - self.epoch >= self.patience

    def finish(self, network, history):
        """Write the best parameters into the network (is modified)."""
        best, epoch, flat = self._record
        if flat is not None:
            network.params.flat[:] = flat
            self._record = best, epoch, None
        elif self.restore and not epoch and history.loss:
            what = "EarlyStopping: no epoch had a loss that is a number; the parameters stay those of the last one"
            warnings.warn(what, RuntimeWarning, stacklevel=2)


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


def line(network, history):
    """Epoch and losses, as text."""
    last = f"  validation {history.validation[-1]:.4g}" if history.validation else ""
    return f"epoch {len(history.loss)}  loss {history.loss[-1]:.4g}{last}"
