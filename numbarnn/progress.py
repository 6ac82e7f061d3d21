"""How far a training has come: tqdm's bar where it is installed, else lines of text."""

import sys
import time


class Silent:
    """Shows nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def advance(self, loss):
        """One epoch is done, with this loss."""


class Tqdm(Silent):
    """A tqdm bar, in the terminal or the notebook."""

    def __init__(self, tqdm, epochs):
        self.bar = tqdm(total=epochs, unit="epoch")

    def __exit__(self, *exception):
        self.bar.close()

    def advance(self, loss):
        self.bar.set_postfix_str(f"loss {loss:.3g}", refresh=False)
        self.bar.update()


class Text(Silent):
    """A bar of characters, drawn anew in a terminal, ten lines elsewhere."""

    WIDTH = 30

    def __init__(self, epochs, stream):
        self.epochs, self.stream, self.done = epochs, stream, 0
        self.terminal, self.start, self.drawn = stream.isatty(), time.perf_counter(), 0.0

    def __exit__(self, *exception):
        if self.terminal and self.done:
            self.stream.write("\n")

    def advance(self, loss):
        self.done += 1
        now = time.perf_counter()
        if self.terminal:
            if now - self.drawn < 0.1 and self.done < self.epochs:
                return
        elif self.done * 10 // self.epochs == (self.done - 1) * 10 // self.epochs:
            return
        self.drawn = now
        filled = self.WIDTH * self.done // self.epochs
        bar = "#" * filled + "." * (self.WIDTH - filled)
        line = f"[{bar}] epoch {self.done}/{self.epochs}  {now - self.start:.1f} s  loss {loss:.3g}"
        self.stream.write(f"\r{line}" if self.terminal else f"{line}\n")
        self.stream.flush()


def bar(epochs, show):
    """What to call once an epoch, as a context manager."""
    if not show:
        return Silent()
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return Text(epochs, sys.stderr)
    return Tqdm(tqdm, epochs)
