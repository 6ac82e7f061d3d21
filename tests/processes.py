"""Fresh interpreters with the library and the cache of this one."""

import os
import subprocess
import sys
from pathlib import Path

import numbarnn as nr


def environment(**variables):
    """This process's variables with others added; the library and the tests can be imported."""
    folders = [str(Path(nr.__file__).parents[1]), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))} | variables


def start(*arguments, **variables):
    """A running interpreter, its output piped."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process):
    """What a process prints; it must end well."""
    printed, errors = process.communicate()
    assert process.returncode == 0, printed + errors
    return printed


def run(*arguments, **variables):
    """What a fresh interpreter prints."""
    return output(start(*arguments, **variables))
