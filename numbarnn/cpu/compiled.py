"""How functions become machine code, at first use, and kept on disk: kernels that Python calls, and C functions by address.

They are put together from several files, so an entry on disk carries the stamp of all of them: after any edit it is
compiled anew.  A C function that merely called an @njit function of another file would compile it again; so what several
share is called by address, which is one more integer in the record that they all read.
"""

import threading

from numba import from_dtype, types
from numba.core.errors import NumbaError

from ..cells import check
from ..cells.dry_run import explained, is_library_s_alone
from ..engine.disk_cache import Sources
from ..engine.numba_internals import kept_c_function, kept_kernel
from .simd import REGISTERS, VECTOR_BYTES

SOURCES = Sources("cells", "engine", "cpu")  # every module that a kernel may be made of
WIDTH = VECTOR_BYTES, REGISTERS  # what was chosen for the processor: Numba's key leaves it out

_one_at_a_time = threading.RLock()  # two Python threads that start at once compile each function once


def kernel(function, releases=False):
    """`function` for Python to call, compiled for its arguments; `releases`: it lets other threads run Python meanwhile."""
    return kept_kernel(function, releases, SOURCES, WIDTH)


class CFunction:
    """A function as a C function, compiled when its address is asked for unless the disk has it.

    Parameters
    ----------
    function : callable
        In Python.

    Attributes
    ----------
    compiled : dict
        What has been compiled, or loaded from disk, by what it was compiled for.
    """

    def __init__(self, function):
        self.function, self.__doc__, self.compiled = function, function.__doc__, {}
        self.__name__ = function.__name__

    def _address(self, key, *kinds):
        """Where the one for a key is, which takes arguments of these Numba types."""
        with _one_at_a_time:
            if key not in self.compiled:
                self.compiled[key] = kept_c_function(self.function, types.void(*kinds), SOURCES, WIDTH)
        return self.compiled[key].address


class Function(CFunction):
    """A C function of integers."""

    @property
    def address(self):
        """Where it is."""
        if None in self.compiled:  # small calls wait for it
            return self.compiled[None].address
        return self._address(None, *[types.int64] * self.function.__code__.co_argcount)


class Routine(CFunction):
    """A C function of a number and integers, one for each dtype that the number may have."""

    def address(self, dtype):
        """Where the one for `dtype` is."""
        return self._address(dtype, from_dtype(dtype), *[types.int64] * (self.function.__code__.co_argcount - 1))


class Task(CFunction):
    """A C function ``task(cell, number, record, index)`` that does one part of the work that a record describes.

    It is compiled for each cell, or for none, and each dtype, of which `number` is the class.  Both are known by their types
    alone and nothing is passed for them, so that `pool.share` may call all of them alike.
    """

    def address(self, cell, dtype):
        """Where the one for a cell, or None, and a dtype is; what is wrong with a cell is one sentence."""
        kind = types.none if cell is None else cell._numba_type_
        key = kind, dtype
        if key in self.compiled:
            return self.compiled[key].address
        if cell is not None:
            cell.check_unchanged()
            check(cell)
        try:
            return self._address(key, kind, types.NumberClass(from_dtype(dtype)), types.int64, types.int64)
        except NumbaError as error:
            if cell is None or is_library_s_alone(cell):
                raise
            raise explained(cell, str(error)) from None
