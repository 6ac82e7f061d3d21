"""How functions become machine code: parallel kernels at first call, shared routines at first use, both kept on disk.

A kernel is put together from several files, so its entry on disk carries the stamp of all of them: after any edit it is
compiled anew.
"""

from numba.core.errors import NumbaError

from ..cells import Cell, check
from ..cells.dry_run import explained, is_library_s_alone
from ..engine.disk_cache import Sources
from ..engine.numba_internals import kept_c_function, kept_kernel
from .simd import REGISTERS, VECTOR_BYTES

SOURCES = Sources("cells", "engine", "cpu")  # every module that a kernel may be made of
WIDTH = VECTOR_BYTES, REGISTERS  # what was chosen for the processor: Numba's key leaves it out


def kernel(function, parallel=True):
    """`function` as a kernel, compiled for each type of its arguments when first called with it."""
    return kept_kernel(function, parallel, _compile, SOURCES, WIDTH)


def _compile(compile_for, *args):
    """Compile a kernel for its arguments, of which a cell must be what it was; what is wrong with it is one sentence."""
    if not isinstance(args[0], Cell):
        return compile_for(*args)
    args[0].check_unchanged()
    check(args[0])
    try:
        return compile_for(*args)
    except NumbaError as error:
        if is_library_s_alone(args[0]):
            raise
        raise explained(args[0], str(error)) from None


def routine(function, signature):
    """`function` as a C function with an ``address``, compiled now unless the disk has it."""
    return kept_c_function(function, signature, SOURCES, WIDTH)
