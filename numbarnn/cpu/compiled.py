"""How functions become machine code: parallel kernels at first call, shared routines at first use, both kept on disk.

Numba's cache looks at the file of the function alone.  A kernel here is put together from several files, so its cache
entry carries the stamp of all of them: after any edit it is compiled anew.
"""

import functools
from pathlib import Path

from numba import njit
from numba.core.ccallback import CFunc

PACKAGE = Path(__file__).resolve().parent.parent


@functools.cache
def sources_stamp():
    """Size and time of every file that a kernel may be made of."""
    files = [path for folder in ("cells", "cpu") for path in sorted((PACKAGE / folder).glob("*.py"))]
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


def _stamp(cache):
    cache._cache_file._source_stamp = sources_stamp()


def kernel(function):
    """`function` as a parallel kernel, compiled for each type of its arguments when first called with it."""
    dispatcher = njit(parallel=True, cache=True)(function)
    _stamp(dispatcher._cache)
    return dispatcher


def routine(function, signature):
    """`function` as a C function with an ``address``, compiled now unless the disk has it."""
    compiled = CFunc(function, (signature.args, signature.return_type), locals={}, options={})
    compiled.enable_caching()
    _stamp(compiled._cache)
    compiled.compile()
    return compiled
