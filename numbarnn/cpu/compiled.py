"""How functions become machine code: parallel kernels at first call, shared routines at first use, both kept on disk.

Numba's cache looks at the file of the function alone.  A kernel here is put together from several files, so its cache
entry carries the stamp of all of them: after any edit it is compiled anew.  Numba's index, too, is shared: two processes
that add to it at once may each lose the other's entry, or find it under their own name.  Here each entry has its own file.
"""

import functools
import hashlib
import os
import pickle
import uuid
from pathlib import Path

import numba
from numba import njit
from numba.core.ccallback import CFunc
from numba.core.serialize import dumps

from .simd import REGISTERS, VECTOR_BYTES

PACKAGE = Path(__file__).resolve().parent.parent


@functools.cache
def sources_stamp():
    """Size and time of every file that a kernel may be made of."""
    files = [path for folder in ("cells", "cpu") for path in sorted((PACKAGE / folder).glob("*.py"))]
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


def _described(key):
    """Numba's key (types, processor, byte code) with what it leaves out: the width chosen for the same processor."""
    return repr((key, VECTOR_BYTES, REGISTERS))


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

    def path(self, key):
        """Where the entry of `key` is kept."""
        return self.folder / f"{self.name}.{hashlib.sha256(_described(key).encode()).hexdigest()[:20]}.nbc"

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
        return numba.__version__, sources_stamp(), _described(key)

    def save(self, key, data):
        """Keep `data` under `key`."""
        path = self.path(key)
        draft = path.with_name(f"{path.name}.tmp.{uuid.uuid4().hex[:16]}")
        try:
            draft.write_bytes(pickle.dumps(self._label(key)) + dumps(data))
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)

    def flush(self):
        """Forget every entry."""
        for path in self.folder.glob(f"{self.name}.*.nbc"):
            path.unlink(missing_ok=True)


def _own_files(cache):
    cache._cache_file = Entries(cache.cache_path, cache._impl.filename_base)


def kernel(function, parallel=True):
    """`function` as a kernel, compiled for each type of its arguments when first called with it."""
    dispatcher = njit(parallel=parallel, cache=True)(function)
    _own_files(dispatcher._cache)
    return dispatcher


def routine(function, signature):
    """`function` as a C function with an ``address``, compiled now unless the disk has it."""
    compiled = CFunc(function, (signature.args, signature.return_type), locals={}, options={})
    compiled.enable_caching()
    _own_files(compiled._cache)
    compiled.compile()
    return compiled
