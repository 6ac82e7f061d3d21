"""Jobs in processes of their own: one that crashes or hangs, as an error on a GPU may, loses nothing but itself."""

import json
import queue
import subprocess
import sys
import tempfile
import threading
import time

MARK = "RESULT "  # what a line begins with that is not meant for people


def answer(**found):
    """Give the parent process a result, now."""
    print(MARK + json.dumps(found), flush=True)


def run(module, arguments, patience, deadline, on_answer):
    """Run ``python -m module arguments``; the reason why it did not end well, or None.

    Parameters
    ----------
    patience : float
        Seconds to wait for the next answer.
    deadline : float
        As of ``time.monotonic()``, for all of it.
    on_answer : callable
        Called with each answer, a dict.
    """
    with tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True)
        lines = queue.Queue()
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        reason = None
        while True:
            wait = min(patience, deadline - time.monotonic())
            try:
                line = lines.get(timeout=max(wait, 0.01))
            except queue.Empty:
                reason = "out of time" if wait < patience else f"no answer in {patience:.0f} s"
                break
            if line is None:
                break
            if line.startswith(MARK):
                on_answer(json.loads(line[len(MARK) :]))
        try:
            status = process.wait(10 if reason is None else 0)
        except subprocess.TimeoutExpired:
            status = None
            process.kill()
        if reason is None and status:
            errors.seek(0)
            said = errors.read().strip().splitlines()
            reason = f"exit status {status}: " + " | ".join(said[-3:])[-600:]
        return reason


def _read(stream, lines):
    for line in stream:
        lines.put(line)
    lines.put(None)
