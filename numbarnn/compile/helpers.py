"""Processes that compile beside each other: each takes one piece of work after another, with a library of its own.

The module multiprocessing is not used: its processes would run the user's script again.
"""

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from pathlib import Path

from numba import config

from ..engine import cache_folders

PROGRAM = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from numbarnn.compile import helpers; helpers.serve()"
)


def serve():
    """Do what comes in, and answer with (compilations, None) or (None, what was wrong), until nothing comes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what code of the user prints is no answer
    while True:
        try:
            work = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        except Exception as error:
            answer = None, f"{type(error).__name__}: {error}"
        else:
            answer = _answer(work)
        answers.write(pickle.dumps(answer))
        answers.flush()


def _answer(work):
    try:
        return work.done(), None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def done(works, jobs):
    """The compilations of several `Work`, in their order, done by so many processes; RuntimeError for one that fails."""
    waiting, found, problems = queue.SimpleQueue(), [None] * len(works), []
    for place in enumerate(works):
        waiting.put(place)
    threads = [threading.Thread(target=_run, args=(waiting, found, problems)) for _ in range(min(jobs, len(works)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise RuntimeError(f"jobs: expected processes that compile, got one that failed: {problems[0]}")
    return found


def _run(waiting, found, problems):
    """Let one process work until nothing waits."""
    settings = dict(os.environ)
    if config.CACHE_DIR:
        settings["NUMBA_CACHE_DIR"] = str(Path(cache_folders.STARTED_IN, config.CACHE_DIR))
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _send(process, [str(cache_folders.PACKAGE.parent), *sys.path])
            while not problems:
                with contextlib.suppress(queue.Empty):
                    place, work = waiting.get_nowait()
                    _send(process, work)
                    found[place], problem = pickle.load(process.stdout)
                    problems += [problem] if problem else []
                    continue
                break
        except (OSError, EOFError, pickle.PickleError, AttributeError, TypeError) as error:
            problems.append(f"{type(error).__name__}: {error}")
        finally:
            process.stdin.close()


def _send(process, what):
    """Give a process its next piece."""
    process.stdin.write(pickle.dumps(what))
    process.stdin.flush()
