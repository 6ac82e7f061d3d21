"""The folders that compiled code is kept in: which there are, which may be trusted, and what is swept out of them."""

import contextlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path

from numba import config

from ..files.drafts import DRAFT, draft_name, writer_is_gone

PACKAGE = Path(__file__).parents[1]
NEWEST = 8  # folders of sources that are kept, however old
UNUSED = 3600.0  # seconds without use after which any other may go
ABANDONED = 3600.0  # seconds after which a draft has no writer any more, whoever that was
STAMP = re.compile("[0-9a-f]{32}")  # what a folder of sources is called: nothing else is touched
try:
    STARTED_IN = os.getcwd()  # what a relative NUMBA_CACHE_DIR is relative to, wherever the program goes
except OSError:  # it has been removed
    STARTED_IN = ""


def candidates():
    """Where compiled code is looked for, in this order, and kept: in the first that can be written. (folder, private) each.

    With NUMBA_CACHE_DIR there is no other.  Else beside the package, in the user's folder of caches, in the temporary
    folder.  A private folder is used only if nobody else can write into it: what lies there is run.
    """
    if config.CACHE_DIR:
        return [(Path(STARTED_IN, config.CACHE_DIR, "numbarnn"), False)]
    found = []
    if PACKAGE.is_dir() and not getattr(sys, "frozen", False):
        found.append((PACKAGE / "__pycache__" / "kernels", False))
    if caches := user_caches():
        found.append((caches / "numbarnn" / "kernels", True))
    if temporary := _temporary():
        found.append((temporary / f"numbarnn-{os.getuid() if hasattr(os, 'getuid') else 'kernels'}", True))
    return found


def user_caches():
    """The user's folder of caches, by the rules of the system; None without a home."""
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        named = os.environ.get("LOCALAPPDATA", "")
    else:
        named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return Path(named)
    if not (home.is_absolute() and home.is_dir()):
        return None
    return home.joinpath(*{"darwin": ("Library", "Caches"), "win32": ("AppData", "Local")}.get(sys.platform, (".cache",)))


def _temporary():
    """The temporary folder; None if there is none but the working folder, which Python then names."""
    try:
        folder = Path(tempfile.gettempdir())
        return None if folder == Path.cwd() else folder
    except OSError:
        return None


def trusted(folder):
    """Whether nobody but this user and the system's owner can write into a folder, or put another in its place."""
    if not hasattr(os, "getuid"):  # Windows: the folders asked about are the user's by its lists of rights
        return True
    try:
        own = os.lstat(folder)
        if not stat.S_ISDIR(own.st_mode) or own.st_uid != os.getuid() or own.st_mode & 0o022:
            return False
        for parent in Path(os.path.realpath(folder)).parents:
            found = os.stat(parent)
            open_to_all = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
            if found.st_uid not in (0, os.getuid()) or open_to_all:
                return False
    except OSError:
        return False
    return True


def readable(stamp):
    """The folders that may hold entries of the sources with this stamp."""
    for folder, private in candidates():
        if not private or trusted(folder):
            yield folder / stamp


def writable():
    """The folder of `candidates` that an entry would be written into now; None if there is none."""
    for folder, private in candidates():
        with contextlib.suppress(OSError):
            prepare(folder, private)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    return None


def prepare(folder, private):
    """Make a folder of `candidates`; OSError if that cannot be or it is not to be trusted."""
    folder.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
    if private and not trusted(folder):
        raise PermissionError(f"others than this user can write into {folder}")


def write(stamp, name, contents):
    """Write a file whole, or not at all, into the first folder that takes it; its path.  The first OSError if none does."""
    problem = OSError("there is no folder for it: neither NUMBA_CACHE_DIR, nor a home, nor a temporary one")
    for number, (folder, private) in enumerate(candidates()):
        try:
            prepare(folder, private)
            (folder / stamp).mkdir(exist_ok=True)
            _replace(folder / stamp / name, contents)
            sweep(folder)
            return folder / stamp / name
        except OSError as error:
            problem = problem if number else error
    raise problem


def _replace(path, contents):
    """Write a file as a whole: first under another name, then in the place of the old one."""
    draft = path.with_name(draft_name(path.name))
    try:
        with open(draft, "xb") as file:
            file.write(contents)
        os.replace(draft, path)
    finally:  # an interruption by the keyboard, too
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def used(folder):
    """Note that entries of these sources are in use."""
    with contextlib.suppress(OSError):
        os.utime(folder)


_swept = set()


def sweep(folder):
    """Remove drafts without a writer and the entries of sources that are no longer used; once for each process."""
    if folder in _swept:
        return
    _swept.add(folder)
    with contextlib.suppress(OSError):
        _sweep(folder, time.time())


def _sweep(folder, now):
    """Remove folders of older sources that nobody has used for long, and drafts whose writer is gone."""
    ours = (entry for entry in os.scandir(folder) if STAMP.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False))
    found = sorted(((entry.stat().st_mtime, entry.path) for entry in ours), reverse=True)
    for number, (last, path) in enumerate(found):
        if number >= NEWEST and now - last > UNUSED:
            shutil.rmtree(path, ignore_errors=True)
            continue
        for draft in Path(path).glob(f"*{DRAFT}*"):
            with contextlib.suppress(OSError):
                if now - draft.stat().st_mtime > ABANDONED or writer_is_gone(draft.name):
                    draft.unlink()
