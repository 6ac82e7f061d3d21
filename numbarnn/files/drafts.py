"""Files that appear whole or not at all: written under another name first, then put in the place of the old one."""

import contextlib
import errno
import os
import platform
import stat
import sys
import uuid
from pathlib import Path

DRAFT = ".tmp."  # in the name of a file that is still written
BINARY = getattr(os, "O_BINARY", 0)  # Windows


def draft_name(name):
    """A name that no other writer has, for the draft of a file called `name`: it says which process writes it."""
    return f"{name}{DRAFT}{host()}.{os.getpid()}.{uuid.uuid4().hex[:12]}"


def host():
    """The name of this machine, as drafts of files have it."""
    return "".join(c for c in platform.node() if c.isalnum())[:24] or "host"


def writer_is_gone(name):
    """Whether the process that began a draft has ended; False if that cannot be told from here."""
    where, _, process = name.rpartition(DRAFT)[2].partition(".")
    process = process.partition(".")[0]
    if where != host() or not process.isdigit() or sys.platform == "win32":  # there, signal 0 is Ctrl-C
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def write_whole(path, contents):
    """Write a file to the disk, bytes, so that whenever the machine stops there is the old file or the new one.

    It is made in the same folder, and written to the disk before it takes the old one's place.  A link stays one: what it
    leads to is replaced, and the permissions of an old file are kept.  Drafts of writers that were killed are removed.

    Raises
    ------
    OSError
        If that cannot be, as on a full disk; the old file is then as it was, and no draft is left.
    """
    target = Path(os.path.realpath(path))
    mode = _mode_to_keep(target, path)
    hidden = f".{target.name[:120]}"  # with what a draft's name adds no longer than names may be
    draft = target.with_name(draft_name(hidden))
    _sweep(target.parent, hidden)
    try:
        with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | BINARY, 0o666), "wb") as file:
            if mode is not None:
                os.chmod(draft, mode)
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:  # an interruption by the keyboard, too
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    _fsync_folder(target.parent)


def _mode_to_keep(target, path):
    """The permissions of a file that is replaced, None without one; OSError unless it may be written and is a file."""
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise FileExistsError(errno.EEXIST, "expected a file to replace, got a device or a pipe", os.fspath(path))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    return stat.S_IMODE(found.st_mode)


def _sweep(folder, name):
    """Remove the drafts of a file whose writers are gone."""
    with contextlib.suppress(OSError):
        found = [entry for entry in os.scandir(folder) if entry.name.startswith(f"{name}{DRAFT}")]
        for entry in found:
            if writer_is_gone(entry.name):
                os.unlink(entry.path)


def _fsync_folder(folder):
    """Write a folder to the disk, where the system does that: then the new file's name is there for good."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):  # of file systems that do not know it
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
