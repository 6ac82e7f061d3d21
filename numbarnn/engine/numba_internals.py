"""What this package takes of Numba that Numba does not promise to keep: it is used here, in `pipelines` and in `inlined`.

`RELIED_ON` and `relied_on_for_cuda` name it; a test looks whether it is there, with these parameters.
"""

import contextlib
import functools
import os
import time

import numba
from numba import config, njit
from numba.core.caching import FunctionCache
from numba.core.callconv import CPUCallConv
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import _CompilerLock, global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.dispatcher import Dispatcher
from numba.core.imputils import Registry
from numba.core.lowering import Lower
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.core.typed_passes import NativeLowering
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate
from numba.np.ufunc import parallel

from ..errors import KernelError
from . import cache_folders
from .compilations import Compilation, note
from .disk_cache import Entries, keepable, say_that_it_compiles, types_of
from .pipelines import TO_WHOLE

RELIED_ON = {  # (class, name): the first parameters, None for what is no function
    (FunctionCache, "_index_key"): ("self", "sig", "codegen"),
    (FunctionCache, "load_overload"): ("self", "sig", "target_context"),
    (FunctionCache, "_load_overload"): ("self", "sig", "target_context"),
    (FunctionCache, "save_overload"): ("self", "sig", "data"),
    (FunctionCache, "_save_overload"): ("self", "sig", "data"),
    (FunctionCache, "flush"): ("self",),
    (FunctionCache, "cache_path"): None,
    (CompileResult, "_reduce"): ("self",),
    (CompileResult, "_rebuild"): ("target_context", "libdata", "fndesc"),
    (type(rtsys), "initialize"): ("self", "ctx"),
    (CFunc, "__init__"): ("self", "pyfunc", "sig", "locals", "options"),
    (CFunc, "compile"): ("self",),
    (CFunc, "address"): None,
    (CFunc, "_targetdescr"): None,
    (Dispatcher, "compile"): ("self", "sig"),
    (_CompilerLock, "is_locked"): ("self",),
    (Dispatcher, "_numba_type_"): None,
    (parallel, "_is_initialized"): None,
    (Dispatcher, "_compile_for_args"): ("self", "args", "kws"),
    (Dispatcher, "get_call_template"): ("self", "args", "kws"),
    (Dispatcher, "add_overload"): ("self", "cres"),
    (CPUContext, "insert_user_function"): ("self", "func", "fndesc", "libs"),
    (CPUContext, "add_dynamic_addr"): ("self", "builder", "intaddr", "info"),
    (CPUContext, "get_function"): ("self", "fn", "sig"),
    (Registry, "lower_constant"): ("self", "ty"),
    (JITCodeLibrary, "__init__"): ("self", "codegen", "name"),
    (JITCodeLibrary, "add_llvm_module"): ("self", "ll_module"),
    (JITCodeLibrary, "finalize"): ("self",),
    (JITCodeLibrary, "_finalize_dynamic_globals"): ("self",),
    (JITCodeLibrary, "_optimize_final_module"): ("self",),
    (JITCodeLibrary, "_get_module_for_linking"): ("self",),
    (NativeLowering, "run_pass"): ("self", "state"),
    (NativeLowering, "lowering_class"): None,
    (Lower, "create_cfunc_wrapper"): ("self",),
    (CPUCallConv, "call_function"): ("self", "builder", "callee", "resty", "argtys", "args"),
    (CPUCallConv, "_get_return_status"): ("self", "builder", "code", "excinfoptr"),
    (CPUCallConv, "return_status_propagate"): ("self", "builder", "status"),
    (AttributeTemplate, "resolve"): ("self", "value", "attr"),
    (AbstractTemplate, "apply"): ("self", "args", "kws"),
}


def relied_on_for_cuda():
    """The same of numba-cuda, which must be there and not its simulator."""
    from numba.cuda.dispatcher import CUDACache, CUDADispatcher, _Kernel

    return {
        (CUDACache, "_index_key"): ("self", "sig", "codegen"),
        (CUDACache, "load_overload"): ("self", "sig", "target_context"),
        (CUDACache, "_load_overload"): ("self", "sig", "target_context"),
        (CUDACache, "save_overload"): ("self", "sig", "data"),
        (CUDACache, "_save_overload"): ("self", "sig", "data"),
        (CUDACache, "is_launch_config_sensitive"): ("self",),
        (CUDACache, "mark_launch_config_sensitive"): ("self",),
        (_Kernel, "_reduce_states"): ("self",),
        (_Kernel, "_rebuild"): ("cooperative", "name", "signature", "codelibrary"),
        (CUDADispatcher, "_numba_type_"): None,
    }


class Kept:
    """Entries in the place of the index and the files of Numba's cache of one function; to be mixed into its class.

    Its __init__ looks for a folder that can be written, and raises if there is none: it is not called.

    Parameters
    ----------
    function : callable
        In Python.
    entries : Entries
    rebuild : callable
        ``rebuild(target_context, data)``: the code that was saved as this data.
    """

    def __init__(self, function, entries, rebuild):
        self._name, self._py_func, self._enabled = repr(function), function, True
        self._entries, self._rebuild = entries, rebuild
        self._begun = {}  # when the compilation for a signature began

    @property
    def cache_path(self):
        """The folder that is written into; None if there is none."""
        return cache_folders.writable()

    def flush(self):
        """Forget every entry."""
        self._entries.flush()

    def turn(self, signature, codegen):
        """A context in which to load or compile for a signature, while other processes do not compile for it.

        A thread that has Numba's lock waits for nobody: one that is waited for might need it.
        """
        if not (self._enabled and keepable(signature)):
            return contextlib.nullcontext()
        return self._entries.turn(self._index_key(signature, codegen), wait=not global_compiler_lock.is_locked())

    def is_taken(self, signature, codegen):
        """Whether another process compiles for a signature now."""
        return self._enabled and keepable(signature) and self._entries.is_taken(self._index_key(signature, codegen))

    def _load_overload(self, signature, target_context):
        """Numba compiles what this does not find."""
        if config.DISABLE_JIT:
            raise KernelError(
                "NUMBA_DISABLE_JIT: expected it not to be set: kernels work at addresses, on the processor's vectors, and "
                "cannot run as Python"
            )
        found = self._kept(signature, target_context)
        if found is not None:
            note(Compilation(self._entries.name, types_of(signature), 0.0, True, None))
        else:
            self._begun[signature] = time.perf_counter()
            say_that_it_compiles(keepable(signature) and self._entries.sources.stamp)
        return found

    def _kept(self, signature, target_context):
        """The compiled code on disk for a signature, or None if it is to be compiled."""
        if not (self._enabled and keepable(signature)):
            return None
        data = self._entries.load(self._index_key(signature, target_context.codegen()))
        try:
            return None if data is None else self._rebuild(target_context, data)
        except Exception:  # what it needs is not there: it is compiled
            return None

    def _save_overload(self, signature, code):
        """Keep what was compiled for a signature, if it may be kept."""
        seconds, file = time.perf_counter() - self._begun.pop(signature), None
        if self._enabled and keepable(signature) and self._can_be_kept(code):
            file = self._entries.save(self._index_key(signature, code.codegen), code)
        note(Compilation(self._entries.name, types_of(signature), seconds, False, file))

    def _can_be_kept(self, code):
        """Whether compiled code may be used in another process."""
        return True


class _Function(Kept, FunctionCache):
    """What is kept of one function for the processor."""

    def __init__(self, function, sources, more):
        entries = Entries(f"cpu.{_name(function)}", sources, lambda code: dumps(code._reduce()), more)
        super().__init__(function, entries, lambda target, data: CompileResult._rebuild(target, *data))

    def load_overload(self, signature, target_context):
        """What is kept for a signature, or None, with no more of Numba at work than machine code may call.

        Numba's own imports all that its compiler may need first, SciPy's linear algebra too: a third of a second.
        """
        from numba.cpython import hashing  # noqa: F401 (it tells LLVM of symbols)

        rtsys.initialize(target_context)
        return self._load_overload(signature, target_context)

    def _can_be_kept(self, code):
        """Whether compiled code may be used in another process: not if it holds addresses of this one."""
        return not (code.library.has_dynamic_globals or any(not loop.can_cache for loop in code.lifted))


def _name(function):
    """A function's name with its module's, as files of the cache have it."""
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


@contextlib.contextmanager
def compiler_on():
    """With NUMBA_DISABLE_JIT Numba would leave the function as it is; a kernel raises KernelError when it is called."""
    disabled, config.DISABLE_JIT = config.DISABLE_JIT, 0
    try:
        yield
    finally:
        config.DISABLE_JIT = disabled


def _in_turn(dispatcher):
    """Let a dispatcher with a `Kept` cache compile while other processes do not compile the same."""
    compile_now = dispatcher.compile

    def compile_in_turn(signature):
        if signature in dispatcher.overloads:
            return compile_now(signature)
        with dispatcher._cache.turn(signature, dispatcher.targetctx.codegen()):
            return compile_now(signature)

    dispatcher.compile = compile_in_turn


def kept_kernel(function, releases, sources, more):
    """`function` compiled for the processor, for each type of its arguments when first called with it, and kept on disk.

    Parameters
    ----------
    releases : bool
        Whether it lets other threads run Python meanwhile.
    sources, more
        Of `Entries`.
    """
    with compiler_on():
        dispatcher = njit(nogil=releases, pipeline_class=TO_WHOLE)(function)
    dispatcher._cache = _Function(function, sources, more)
    _in_turn(dispatcher)
    return dispatcher


class KeptCFunction(CFunc):
    """`function` as a C function with an ``address``, once `compile` has been called, which loads it if the disk has it."""

    def __init__(self, function, signature, sources, more):
        types = signature.args, signature.return_type
        super().__init__(function, types, locals={}, options={}, pipeline_class=TO_WHOLE)
        self._cache = _Function(function, sources, more)

    def compile(self):
        """Compile or load, while no other process compiles the same."""
        with self._cache.turn(self._sig, self._targetdescr.target_context.codegen()):
            super().compile()

    def is_compiled_elsewhere(self):
        """Whether another process compiles the same now."""
        return self._cache.is_taken(self._sig, self._targetdescr.target_context.codegen())


def numba_threads():
    """(threads that Numba is told to use, whether by NUMBA_NUM_THREADS); asking does not start any."""
    told = "NUMBA_NUM_THREADS" in os.environ
    return (numba.get_num_threads() if parallel._is_initialized else config.NUMBA_NUM_THREADS), told


@functools.cache
def _cuda_cache():
    """The class that keeps CUDA kernels, made where Numba's CUDA target is there."""
    from numba.cuda.dispatcher import CUDACache, _Kernel
    from numba.cuda.serialize import dumps

    class Kernel(Kept, CUDACache):
        """What is kept of one kernel; Numba's key has the types, the GPU's capability and the byte code."""

        _launch_config_key = None

        def __init__(self, python, sources):
            entries = Entries(f"cuda.{_name(python)}", sources, lambda kernel: dumps(kernel._reduce_states()))
            super().__init__(python, entries, lambda target, data: _Kernel._rebuild(**data))

        def is_launch_config_sensitive(self):
            """No kernel here is compiled for one size of its grid."""
            return False

        def mark_launch_config_sensitive(self):
            """One that were would not be kept."""
            return False

    return Kernel


def keep_cuda_kernel(dispatcher, python, sources):
    """Keep what numba-cuda compiles of a kernel on disk."""
    dispatcher._cache = _cuda_cache()(python, sources)
    _in_turn(dispatcher)


__all__ = [
    "RELIED_ON",
    "AbstractTemplate",
    "AttributeTemplate",
    "KeptCFunction",
    "compiler_on",
    "keep_cuda_kernel",
    "kept_kernel",
    "numba_threads",
    "relied_on_for_cuda",
]
