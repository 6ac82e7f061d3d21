"""Compiled code on disk, each entry in a file of its own, until a source that it may be made of changes.

Numba's cache looks at the file of the function alone, and its index is shared: two processes that add to it at once may each
lose the other's entry, or find it under their own name.
"""

import hashlib
import os
import pickle
import uuid
from pathlib import Path

import numba

PACKAGE = Path(__file__).resolve().parent


def stamp_of(*folders):
    """Size and time of every source file in folders of the package."""
    files = [path for folder in folders for path in sorted((PACKAGE / folder).glob("*.py"))]
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


class Entries:
    """Compiled code on disk, each entry in a file named after its key; in the place of Numba's IndexDataCacheFile.

    A file says what it holds and appears whole, so processes that start at once read and write it without a lock.

    Parameters
    ----------
    folder : path-like
    name : str
        What every file's name starts with.
    """

    def __init__(self, folder, name):
        self.folder, self.name = Path(folder), name

    def described(self, key):
        """Numba's key (types, processor, byte code) as text, with what it leaves out."""
        return repr(key)

    def stamp(self):
        """Of the sources."""
        raise NotImplementedError

    def dumps(self, data):
        """The bytes to keep of compiled code."""
        raise NotImplementedError

    def path(self, key):
        """Where the entry of `key` is kept."""
        return self.folder / f"{self.name}.{hashlib.sha256(self.described(key).encode()).hexdigest()[:20]}.nbc"

    def load(self, key):
        """What was saved under `key`; None if nothing was, or by other sources."""
        try:
            with open(self.path(key), "rb") as file:
                if pickle.load(file) == self._label(key):
                    return pickle.load(file)
        except (FileNotFoundError, EOFError, pickle.UnpicklingError):  # no file, or one cut short
            pass
        return None

    def _label(self, key):
        return numba.__version__, self.stamp(), self.described(key)

    def save(self, key, data):
        """Keep `data` under `key`."""
        path = self.path(key)
        draft = path.with_name(f"{path.name}.tmp.{uuid.uuid4().hex[:16]}")
        try:
            draft.write_bytes(pickle.dumps(self._label(key)) + self.dumps(data))
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)

    def flush(self):
        """Forget every entry."""
        for path in self.folder.glob(f"{self.name}.*.nbc"):
            path.unlink(missing_ok=True)
