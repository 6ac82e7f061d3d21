"""How functions become machine code: parallel kernels at first call, shared routines at first use, both kept on disk.

Numba's cache looks at the file of the function alone.  A kernel here is put together from several files, so its cache
entry carries the stamp of all of them: after any edit it is compiled anew.
"""

import functools

from numba import njit
from numba.core.ccallback import CFunc
from numba.core.serialize import dumps

from .. import entries
from .simd import REGISTERS, VECTOR_BYTES


@functools.cache
def sources_stamp():
    """Size and time of every file that a kernel may be made of."""
    return entries.stamp_of("cells", "cpu")


class Entries(entries.Entries):
    """Those of kernels for the processor, whose key leaves out the width chosen for it."""

    def described(self, key):
        return repr((key, VECTOR_BYTES, REGISTERS))

    def stamp(self):
        return sources_stamp()

    def dumps(self, data):
        return dumps(data)


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
