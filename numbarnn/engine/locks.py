"""Locks between processes: files that the operating system unlocks when their owner ends, however it ends.

Whoever holds one must wait for none: then each owner gets on, and no two processes wait for each other.
"""

import contextlib
import os
import threading
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
try:
    import msvcrt
except ImportError:  # everywhere else
    msvcrt = None

PAUSE = 0.02  # seconds between two looks at a lock that another holds; twice as long each time, up to
LONGEST_PAUSE = 0.2
PATIENCE = 120.0  # seconds after which one no longer waits for an owner that lives: it may be stopped, or its machine gone


class _Mine(threading.local):
    """The number of locks that a thread holds."""

    count = 0


_mine = _Mine()
_open = set()  # descriptors of the files that this process holds locked


class Lock:
    """A file that this process has locked."""

    def __init__(self, path, descriptor):
        self.path, self.descriptor = path, descriptor
        _mine.count += 1
        _open.add(descriptor)

    @classmethod
    def taken(cls, path):
        """The lock at `path`; None if another has it.  OSError where no file can be made or locked, as on some networks."""
        if not (fcntl or msvcrt):
            raise OSError("this system locks no files")
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        except PermissionError:
            if msvcrt and os.path.exists(path):  # Windows, in the moment in which its owner lets go of it
                return None
            raise
        try:
            if _lock(descriptor) and _is_at(descriptor, path):
                return cls(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def release(self):
        """Unlock the file and remove it."""
        _mine.count -= 1
        _open.discard(self.descriptor)
        with contextlib.suppress(OSError):
            if fcntl:  # Windows keeps the name of a file as long as anybody has it open
                os.unlink(self.path)
        with contextlib.suppress(OSError):
            if fcntl:  # a process that was forked meanwhile has the file open too
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)


def _lock(descriptor):
    """Lock an open file; False if another has locked it."""
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_at(descriptor, path):
    """Whether an open file is still the one at `path`: the owner before may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def waited_for(path, done, patience=PATIENCE, waiting=lambda: None):
    """The lock at `path`; None if one is to go on without it.

    That is once what it is held for is done; at once where files cannot be locked, or where this thread holds another
    lock; and when an owner has had it for too long.

    Parameters
    ----------
    done : callable
        Whether nothing is left to do.
    patience : float
        Seconds to wait for others at most.
    waiting : callable
        Called if another has the lock and one waits.
    """
    end, pause = time.monotonic() + (0 if _mine.count else patience), PAUSE
    while not done():
        try:
            lock = Lock.taken(path)
        except OSError:
            return None
        if lock is not None:
            if not done():
                return lock
            lock.release()  # it has been done since it was asked
            return None
        if time.monotonic() >= end:
            return None
        waiting()
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return None


def _after_fork():
    """In a forked process: it holds nothing, and keeps nothing locked when its parent ends."""
    for descriptor in _open:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _open.clear()
    _mine.count = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
