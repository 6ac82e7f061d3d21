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
        """One epoch is done, the last one of `history`."""


def described(history):
    """The losses of the last epoch, as text."""
    validation = f"  validation {history.validation[-1]:.3g}" if history.validation else ""
    return f"loss {history.loss[-1]:.3g}{validation}"


class Bar(Silent):
    """A bar of tqdm's, in the terminal or the notebook."""

    def __init__(self, epochs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tqdm warns where a notebook has no widgets; its bar is then text
            from tqdm.auto import tqdm
        self.bar = tqdm(total=epochs, unit="epoch")

    def __exit__(self, *exception):
        self.bar.close()

    def advance(self, history):
        self.bar.set_postfix_str(described(history), refresh=False)
        self.bar.update()


class Lines(Silent):
    """Lines for a file or a pipe: the first epoch, about every tenth of them, and the last, whichever ends the training."""

    MOST = 10

    def __init__(self, epochs, stream):
        self.epochs, self.stream, self.start = epochs, stream, time.perf_counter()
        self.every, self.waiting = -(-epochs // self.MOST), None

    def __exit__(self, kind, *exception):
        if self.waiting and kind is None:
            self._write()

    def advance(self, history):
        done = len(history.loss)
        seconds = time.perf_counter() - self.start
        self.waiting = f"epoch {done}/{self.epochs}  {seconds:.1f} s  {described(history)}\n"
        if done % self.every == 0 or done in (1, self.epochs):
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


def bar(epochs, show):
    """What to call once an epoch, as a context manager."""
    if not show or sys.stderr is None:  # there is none in a program without a console
        return Silent()
    terminal = getattr(sys.stderr, "isatty", bool)()
    return Bar(epochs) if terminal or in_notebook() else Lines(epochs, sys.stderr)
