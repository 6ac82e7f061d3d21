"""Compiled code on disk, each entry in a file of its own, for as long as no source that it may be made of changes.

Numba's cache looks at the file of the function alone, its index is shared (two processes that add to it at once may each
lose the other's entry, or find it under their own name), it loads what it reads unseen, and it fails where no folder can be
written.  Here a file says what it holds, and carries a digest of it; whatever is wrong with a file or a folder, the code is
compiled, and the program goes on.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import pkgutil
import sys
from types import CodeType

import llvmlite
import numba
import numpy as np
from numba import config, types

from ..messages import say, warn
from . import cache_folders, locks
from .cache_folders import PACKAGE

LIBRARY = __package__.partition(".")[0]
MAGIC = b"numbarnn entry 1\n"
DIGEST = 32  # bytes
OPTIONS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")  # of Numba, that change the code


class Sources:
    """All modules in folders of the package, which compiled code may be made of."""

    def __init__(self, *folders):
        self.folders = folders
        self._seen = self._look()

    def _look(self):
        """Time and size of every file."""
        with contextlib.suppress(OSError):
            found = (entry for folder in self.folders for entry in os.scandir(PACKAGE / folder))
            files = [entry for entry in found if entry.name.endswith(".py")]
            return {entry.path: (entry.stat().st_mtime_ns, entry.stat().st_size) for entry in files}
        return {}  # in an archive, or in a frozen program

    @functools.cached_property
    def stamp(self):
        """A digest of their contents; None if there are none to be seen, or if they have changed since they were imported.

        Of the sources, and of the byte code that Python runs: the two part where Python has not noticed an edit.  In a
        frozen program there is byte code alone.  Where the files lie, and when they were written, does not count.
        """
        digest, count = hashlib.blake2b(digest_size=16), 0
        for folder in self.folders:
            for finder, name, _ in sorted(pkgutil.iter_modules([str(PACKAGE / folder)]), key=lambda module: module[1]):
                full = f"{LIBRARY}.{folder}.{name}"
                loader = finder.find_spec(full).loader
                digest.update(f"{full}\0{loader.get_source(full)}\0".encode())
                _take_code(loader.get_code(full), digest)
                count += 1
        return digest.hexdigest() if count and self._look() == self._seen else None


def _take_code(code, digest):
    """Add the byte code, names and constants of Python code, and of code inside it, to a digest."""
    digest.update(code.co_code)
    digest.update(f"{code.co_names}{code.co_varnames}{code.co_freevars}".encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _take_code(constant, digest)
        elif isinstance(constant, frozenset):  # in an order of its own in each process
            digest.update(repr(sorted(map(repr, constant))).encode())
        else:
            digest.update(repr(constant).encode())


@functools.cache
def _versions():
    """What code compiled by one installation needs of another, as far as Numba's key leaves it out."""
    return (
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        sys.implementation.cache_tag,
        getattr(sys, "abiflags", ""),
    )


class Entries:
    """Compiled code on disk, each entry in a file named after its key.

    A file says what it holds and appears whole, so it is read and written without a lock.  A lock only keeps processes that
    start at once from compiling the same: whatever is wrong with it, each compiles by itself.

    Parameters
    ----------
    name : str
        What every file's name starts with.
    sources : Sources
        With None for their stamp nothing is kept.
    dumps : callable
        From compiled code to the bytes to keep, a pickle.
    more : object, optional
        What the code depends on besides, with a repr that says it whole.
    """

    def __init__(self, name, sources, dumps=pickle.dumps, more=None):
        self.name, self.sources, self.dumps, self.more = name, sources, dumps, more

    def label(self, key):
        """All that the code of `key` (Numba's: types, processor, byte code) depends on, as text."""
        options = [getattr(config, name, None) for name in OPTIONS]
        return repr((self.name, self.sources.stamp, _versions(), options, self.more, key))

    def file_name(self, key):
        """The name of the file that holds the entry of `key`."""
        return f"{self.name}.{hashlib.sha256(self.label(key).encode()).hexdigest()[:20]}.nbc"

    def load(self, key):
        """What was saved under `key`; None if nothing was, or not all that is there is as it was written."""
        if self.sources.stamp is None:
            return None
        for folder in cache_folders.readable(self.sources.stamp):
            try:
                contents = (folder / self.file_name(key)).read_bytes()
                payload = unpacked(contents, self.label(key).encode())
                if payload is not None:
                    found = pickle.loads(payload)
                    cache_folders.used(folder)
                    return found
            except Exception:  # whatever is wrong with a folder or a file: the code is compiled
                continue
        return None

    def save(self, key, data):
        """Keep `data` under `key`, in the first folder that takes it; its file.  None and a warning, once, if none does."""
        if self.sources.stamp is None:
            return None
        try:
            contents = packed(self.label(key).encode(), self.dumps(data))
            return cache_folders.write(self.sources.stamp, self.file_name(key), contents)
        except Exception as error:
            _once("not kept", warn, f"compiled kernels are not kept, each process compiles them again: {error}")
            return None

    @contextlib.contextmanager
    def turn(self, key, wait=True):
        """A context in which to load or compile for `key`: while one process compiles, others wait at its beginning.

        They wait until the entry is there, until its compiler has ended without one, or too long.  Nothing is waited for
        with ``wait=False``, and inside the turn of another key.
        """
        path = self._lock_path(key)
        lock = path and locks.waited_for(
            path, lambda: self._is_there(key), locks.PATIENCE if wait else 0, _say_that_it_waits
        )
        try:
            yield
        finally:
            if lock:
                lock.release()

    def is_taken(self, key):
        """Whether it is another's turn to compile for `key` now."""
        with contextlib.suppress(OSError):
            if path := self._lock_path(key):
                lock = locks.Lock.taken(path)
                if lock is None:
                    return not self._is_there(key)
                lock.release()
        return False

    def _lock_path(self, key):
        """The file to lock while one compiles for `key`; None if there is nothing to wait for, or no place for it."""
        if self.sources.stamp is None or self._is_there(key):
            return None
        with contextlib.suppress(OSError):
            if folder := cache_folders.writable():
                (folder / self.sources.stamp).mkdir(exist_ok=True)
                return folder / self.sources.stamp / f"{self.file_name(key)}.lock"
        return None

    def _is_there(self, key):
        """Whether there is a file for `key`; whether it can be used is seen when it is loaded."""
        name = self.file_name(key)
        return any((folder / name).is_file() for folder in cache_folders.readable(self.sources.stamp))

    def flush(self):
        """Forget every entry."""
        for folder in cache_folders.readable(self.sources.stamp or "none"):
            for path in folder.glob(f"{self.name}.*.nbc"):
                path.unlink(missing_ok=True)


def packed(label, payload):
    """The contents of a file: a digest of all that follows it, the label and its length, the code."""
    body = len(label).to_bytes(8, "little") + label + payload
    return MAGIC + hashlib.blake2b(body, digest_size=DIGEST).digest() + body


def unpacked(contents, label):
    """The payload that was packed with `label`; None if the contents are not, to the bit, what `packed` gave."""
    start = len(MAGIC) + DIGEST
    magic, digest, body = contents[: len(MAGIC)], contents[len(MAGIC) : start], memoryview(contents)[start:]
    if magic != MAGIC or digest != hashlib.blake2b(body, digest_size=DIGEST).digest():
        return None
    length = int.from_bytes(body[:8], "little")
    return body[8 + length :] if body[8 : 8 + length] == label else None


_said = set()


def _once(what, how, text):
    """Say or warn, the first time in a process that it is about this."""
    if what not in _said:
        _said.add(what)
        how(text)


def _say_that_it_waits():
    """Say, the first time in a process, why nothing happens for seconds."""
    _once("waits", say, "waiting for another process that compiles the same kernels")


def say_that_it_compiles(kept):
    """Say, the first time in a process, that kernels are compiled, and where they are kept if they are."""
    folder = cache_folders.writable() if kept else None
    kept = (
        f"once; they are kept in {folder}" if folder else "anew in each process; NUMBA_CACHE_DIR may name a folder for them"
    )
    _once("compiles", say, f"compiling kernels ({kept})")


def keepable(signature):
    """Whether code for these types may be kept on disk: each says so by its attribute ``keepable``, or has none."""
    return all(getattr(part, "keepable", True) and keepable(getattr(part, "types", ())) for part in _types(signature))


def _types(signature):
    """The types of the arguments of a signature, which may be a tuple of them."""
    return getattr(signature, "args", signature)


def types_of(signature):
    """What code is compiled for, as text: cells and dtypes, without the addresses and sizes that every kernel takes."""
    found = (str(kind) for kind in _types(signature) if kind not in (types.int64, types.none))
    return ", ".join(dict.fromkeys(found))
