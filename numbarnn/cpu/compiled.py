"""How functions become machine code: parallel kernels at first call, shared routines at first use, both kept on disk.

A kernel is put together from several files, so its entry on disk carries the stamp of all of them: after any edit it is
compiled anew.
"""

import contextlib
import functools

from numba import config, njit
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.errors import NumbaError
from numba.core.serialize import dumps

from ..cells import Cell, check
from ..cells.dry_run import explained, is_library_s_alone
from ..engine.disk_cache import Entries, Kept, Sources
from .simd import REGISTERS, VECTOR_BYTES

SOURCES = Sources("cells", "cpu")  # every module that a kernel may be made of


class _Cache(Kept, FunctionCache):
    """What is kept of one function for the processor; Numba's key leaves out the width chosen for it."""

    def __init__(self, function):
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        entries = Entries(f"cpu.{name}", SOURCES, lambda code: dumps(code._reduce()), (VECTOR_BYTES, REGISTERS))
        super().__init__(function, entries, lambda target, data: CompileResult._rebuild(target, *data))

    def _can_be_kept(self, code):
        return not (code.library.has_dynamic_globals or any(not loop.can_cache for loop in code.lifted))


@contextlib.contextmanager
def _compiler_on():
    """With NUMBA_DISABLE_JIT Numba would leave the function as it is; a kernel raises KernelError when it is called."""
    disabled, config.DISABLE_JIT = config.DISABLE_JIT, 0
    try:
        yield
    finally:
        config.DISABLE_JIT = disabled


def kernel(function, parallel=True):
    """`function` as a kernel, compiled for each type of its arguments when first called with it."""
    with _compiler_on():
        dispatcher = njit(parallel=parallel)(function)
    dispatcher._cache = _Cache(function)
    dispatcher._compile_for_args = functools.partial(_compile, dispatcher._compile_for_args)
    return dispatcher


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
    compiled = CFunc(function, (signature.args, signature.return_type), locals={}, options={})
    compiled._cache = _Cache(function)
    compiled.compile()
    return compiled
