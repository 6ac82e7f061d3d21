"""How far a training has come: a bar in a terminal or a notebook, some lines elsewhere."""

import sys
import time
import warnings

from ..messages import BARS


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


class Tqdm(Silent):
    """A tqdm bar, in the terminal or the notebook."""

    def __init__(self, tqdm, epochs):
        self.bar = tqdm(total=epochs, unit="epoch")

    def __exit__(self, *exception):
        self.bar.close()

    def advance(self, history):
        self.bar.set_postfix_str(described(history), refresh=False)
        self.bar.update()


class Text(Silent):
    """A bar of characters that is drawn anew in a terminal."""

    WIDTH = 30

    def __init__(self, epochs, stream):
        self.epochs, self.stream, self.done = epochs, stream, 0
        self.start, self.drawn, self.line = time.perf_counter(), 0.0, ""

    def __enter__(self):
        BARS.append(self)
        return self

    def __exit__(self, *exception):
        BARS.remove(self)
        if self.done:
            self.stream.write("\n")

    def clear(self):
        """Make room on the line for something else."""
        self.stream.write(f"\r{' ' * len(self.line)}\r")

    def advance(self, history):
        self.done += 1
        now = time.perf_counter()
        if now - self.drawn < 0.1 and self.done < self.epochs:
            return
        self.drawn = now
        filled = self.WIDTH * self.done // self.epochs
        bar = "#" * filled + "." * (self.WIDTH - filled)
        self.line = f"[{bar}] epoch {self.done}/{self.epochs}  {now - self.start:.1f} s  {described(history)}"
        self.stream.write(f"\r{self.line}")
        self.stream.flush()


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
    notebook, terminal = in_notebook(), getattr(sys.stderr, "isatty", bool)()
    if notebook or terminal:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tqdm warns where a notebook has no widgets; its bar is then text
                from tqdm.auto import tqdm
            return Tqdm(tqdm, epochs)
        except ImportError:
            pass
    return Text(epochs, sys.stderr) if terminal else Lines(epochs, sys.stderr)
