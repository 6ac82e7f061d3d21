"""What a training calls: after each batch and each epoch, at its start and at its end."""

import contextlib
import difflib
import inspect
import re
import warnings

from ..errors import flag, takes

EVENTS = ("start", "batch", "state", "set_state", "finish")  # besides the call itself
WORDS = frozenset(  # what other libraries put the names of their events together from
    "on before after batch batches epoch epochs update updates step train training fit predict test valid validation begin"
    " end start started finish finished done".split()
)


class Callback:
    """A callback that also learns of batches, and of a training's start and end; `fit` takes plain functions as well.

    `fit` calls these methods and no others.  `finish` is called in the end, whatever it was: all epochs, a callback,
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

    _keeps = False  # whether it saves the training, after all others were called

    def start(self, network):
        """A training of `network` begins, or goes on; ``network.history`` has the epochs that there are."""

    def batch(self, network, loss):
        """An update is taken; `loss` is the mean loss of its samples before it.  True ends the training at once.

        The epoch is then not whole, and not in the history.  Rows of an `Embedding` are up to date after whole epochs only.
        """

    def __call__(self, network, history):
        """An epoch is over; True ends the training, False and None do not, and anything else is an error."""

    def state(self):
        """What the callback remembers, for a `Checkpoint`: plain values, arrays, lists and dicts of these; or None."""

    def set_state(self, state):
        """After `start`, of a training that goes on from a checkpoint: what `state` has returned there."""

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
                f" methods start, batch, __call__ and finish, got {kind} with {', '.join(missed)}, never called"
            )
        if not callable(callback):
            raise TypeError(f"{argument}: expected something to call, got {kind}")
        takes(argument, callback, "network, history")
        if isinstance(callback, Callback):
            takes(f"{argument}.start", callback.start, "network")
            takes(f"{argument}.batch", callback.batch, "network, loss")
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
    course : Course, optional
        What a `Checkpoint` saves.
    """

    def __init__(self, callbacks, network, history, course=None):
        self.callbacks, self._with, self._started, self._course = callbacks, (network, history), [], course
        self._keepers = [each for each in callbacks if isinstance(each, Callback) and each._keeps]

    def start(self):
        """A training begins, or goes on."""
        known = self._course.resumed[1] if self._course is not None and self._course.resumed is not None else []
        for index, callback in enumerate(self.callbacks):
            if isinstance(callback, Callback):
                callback.start(self._with[0])
                self._started.append((index, callback))
                name = type(callback).__name__
                at = next((at for at, (kind, _) in enumerate(known) if kind == name), None)
                if at is not None:
                    callback.set_state(known.pop(at)[1])
        if known:
            names = ", ".join(name for name, _ in known)
            warnings.warn(
                f"callbacks: expected the callbacks of the checkpoint, got none like {names}", RuntimeWarning, stacklevel=4
            )
        for keeper in self._keepers:
            keeper._begin(self._course)

    def states(self):
        """[(class, state)] of the callbacks that remember anything, for `start` of a training that goes on."""
        found = [(type(each).__name__, each.state()) for each in self.callbacks if isinstance(each, Callback)]
        return [(name, state) for name, state in found if state is not None]

    @property
    def keep_updates(self):
        """Whether any of them saves updates."""
        return any(keeper.unit == "update" for keeper in self._keepers)

    def keep(self, whole, ends):
        """Let those save the training that do: after an update, and whether that has made an epoch whole, or is the last."""
        for keeper in self._keepers:
            keeper._keep(self._course, whole, ends)

    @property
    def of_batches(self):
        """(index, callback) of those that learn of batches."""
        return [(index, each) for index, each in enumerate(self.callbacks) if learns_of_batches(each)]

    def batch(self, loss):
        """An update is taken: whether any callback ends the training."""
        return any([_ends(index, callback.batch(self._with[0], loss)) for index, callback in self.of_batches])

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


def learns_of_batches(callback):
    """Whether a callback has a method `batch` of its own."""
    return isinstance(callback, Callback) and getattr(callback.batch, "__func__", None) is not Callback.batch


def follows_updates(callback):
    """Whether a callback is told of each update, or saves the training after updates."""
    return learns_of_batches(callback) or (isinstance(callback, Callback) and callback._keeps and callback.unit == "update")


def _ends(index, answer):
    """Whether a callback's answer ends the training."""
    return answer is not None and flag(f"callbacks[{index}]", answer, "True, which ends the training, False or None")
