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
from ..engine.numba_internals import KeptCFunction, kept_kernel
from ..engine.processors import usable
from .vectors import REGISTERS, VECTOR_BYTES

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

    def _key(self):
        """What it is compiled for; with the arguments of `at`."""

    def _signature(self):
        """Its types; likewise."""
        return types.void(*[types.int64] * self.function.__code__.co_argcount)

    def _made(self, *what):
        return KeptCFunction(self.function, self._signature(*what), SOURCES, WIDTH)

    def at(self, *what):
        """Where the one for `what` is; compiled or loaded now if it has not been."""
        key = self._key(*what)
        if key not in self.compiled:
            with _one_at_a_time:
                if key not in self.compiled:
                    made = self._made(*what)
                    made.compile()
                    self.compiled[key] = made
        return self.compiled[key].address

    def is_there(self, *what):
        """Whether it has been compiled or loaded."""
        return self._key(*what) in self.compiled

    def is_compiled_elsewhere(self, *what):
        """Whether another process compiles it now."""
        return self._made(*what).is_compiled_elsewhere()


class Function(CFunction):
    """A C function of integers."""

    @property
    def address(self):
        """Where it is."""
        return self.compiled[None].address if None in self.compiled else self.at()


class Routine(CFunction):
    """A C function of a number and integers, one for each dtype that the number may have."""

    def _key(self, dtype):
        return dtype

    def _signature(self, dtype):
        return types.void(from_dtype(dtype), *[types.int64] * (self.function.__code__.co_argcount - 1))

    def address(self, dtype):
        """Where the one for `dtype` is."""
        return self.at(dtype)


class Task(CFunction):
    """A C function ``task(cell, number, record, index)`` that does one part of the work that a record describes.

    It is compiled for each cell, or for none, and each dtype, of which `number` is the class.  Both are known by their types
    alone and nothing is passed for them, so that `pool.share` may call all of them alike.
    """

    def _key(self, cell, dtype):
        return types.none if cell is None else cell._numba_type_, dtype

    def _signature(self, cell, dtype):
        kind, _ = self._key(cell, dtype)
        return types.void(kind, types.NumberClass(from_dtype(dtype)), types.int64, types.int64)

    def at(self, cell, dtype):
        """Where the one for a cell, or None, and a dtype is; what is wrong with a cell is one sentence."""
        if cell is not None and not self.is_there(cell, dtype):
            cell.check_unchanged()
            check(cell)
        try:
            return super().at(cell, dtype)
        except NumbaError as error:
            if cell is None or is_library_s_alone(cell):
                raise
            raise explained(cell, str(error)) from None

    def address(self, cell, dtype):
        """Where the one for a cell, or None, and a dtype is."""
        key = self._key(cell, dtype)
        return self.compiled[key].address if key in self.compiled else self.at(cell, dtype)


def compile_together(*wanted):
    """Compile, or load from disk, each `CFunction` of several, with what it is wanted for, in the order that is soonest.

    Processes that start at once on an empty disk share the work: each compiles what no other does.  So do as many as there
    are processors; the others wait for them, as whoever begins has the functions inside to compile first.
    """
    left = [each for each in wanted if not each[0].is_there(*each[1:])]
    while left:
        each = next((each for each in left[: usable()] if not each[0].is_compiled_elsewhere(*each[1:])), left[0])
        left.remove(each)
        each[0].at(*each[1:])
