"""What the library says by itself: a line on stderr, never inside of a bar that is drawn there."""

import contextlib
import sys
import warnings


def say(text):
    """Write a line on stderr as it is now; nothing where there is none, as in a program without a console."""
    stream = sys.stderr
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "ascii"
    line = f"numbarnn: {text}\n".encode(encoding, "backslashreplace").decode(encoding)
    with contextlib.suppress(OSError, ValueError), _above_bars(stream):  # one that is closed, or a pipe that nobody reads
        stream.write(line)
        stream.flush()


def _above_bars(stream):
    """A context in which lines are written above the bars of tqdm, not into them."""
    tqdm = sys.modules.get("tqdm")
    return tqdm.tqdm.external_write_mode(file=stream) if tqdm else contextlib.nullcontext()


def warn(text):
    """A RuntimeWarning about something that the numbers do not depend on; where warnings are errors, a line on stderr."""
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    except RuntimeWarning:
        say(text)
