"""How far a training has come: a bar in a terminal or a notebook, some lines elsewhere."""

import sys
import time
import warnings


class Silent:
    """Shows nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def advance(self, history):
        """One more is done: an epoch, the last one of `history`, or a whole training with it."""


def described(history):
    """The losses of the last epoch, as text; none of a training that numbers that are not finite have ended in its first."""
    if not history.loss:
        return "no epoch"
    validation = f"  validation {history.validation[-1]:.3g}" if history.validation else ""
    return f"loss {history.loss[-1]:.3g}{validation}"


class Bar(Silent):
    """A bar of tqdm's, in the terminal or the notebook."""

    def __init__(self, total, unit):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tqdm warns where a notebook has no widgets; its bar is then text
            from tqdm.auto import tqdm
        self.bar = tqdm(total=total, unit=unit)

    def __exit__(self, *exception):
        self.bar.close()

    def advance(self, history):
        self.bar.set_postfix_str(described(history), refresh=False)
        self.bar.update()


class Lines(Silent):
    """Lines for a file or a pipe: the first epoch, about every tenth of them, and the last, whichever ends the training.

    Or the trainings of so many members of an ensemble, likewise.
    """

    MOST = 10

    def __init__(self, total, unit, stream):
        self.total, self.unit, self.stream, self.start = total, unit, stream, time.perf_counter()
        self.every, self.done, self.waiting = -(-total // self.MOST), 0, None

    def __exit__(self, kind, *exception):
        if self.waiting and kind is None:
            self._write()

    def advance(self, history):
        self.done += 1
        seconds = time.perf_counter() - self.start
        self.waiting = f"{self.unit} {self.done}/{self.total}  {seconds:.1f} s  {described(history)}\n"
        if self.done % self.every == 0 or self.done in (1, self.total):
            self._write()

    def _write(self):
        """Write the line that is waiting."""
        self.stream.write(self.waiting)
        self.stream.flush()
        self.waiting = None


def in_notebook():
    """Whether a notebook's kernel runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def bar(total, show, unit="epoch"):
    """What to call once an epoch, or whatever else the unit is, as a context manager."""
    if not show or sys.stderr is None:  # there is none in a program without a console
        return Silent()
    terminal = getattr(sys.stderr, "isatty", bool)()
    return Bar(total, unit) if terminal or in_notebook() else Lines(total, unit, sys.stderr)
