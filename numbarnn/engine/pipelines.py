"""How Numba's compiler ends: a function that only compiled code calls as text, one that is called as a whole of its own.

Numba makes each function that another one calls a whole: wrappers for Python and for C, optimised by itself, in machine
code.  Most of the time of a first call went there, for some eighty functions of which nobody needs more than LLVM's
text.  The pipelines of passes are Numba's, with another end; it is how Numba lets its compiler be changed.

Of Numba's passes before, those that look for array expressions and for functions inside functions are left out for functions
of this package, which have none; and what an operator returns for numbers is looked up once for each of their types.

What a whole takes in becomes its own, under names that nobody else sees.  Numba numbers functions as a process compiles
them, and leaves them to be shared by name: of two objects on disk, from two processes, one may hold another function under
a name than the other does, and whoever loads both calls the wrong one.
"""

import builtins
import functools
import operator

from llvmlite import ir
from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering, NopythonRewrites, NopythonTypeInference
from numba.core.untyped_passes import InlineClosureLikes

LIBRARY = __package__.partition(".")[0]
OPERATORS = {function for module in (operator, builtins) for function in vars(module).values() if callable(function)}


class Text(JITCodeLibrary):
    """A function as LLVM's text, with what it calls, for others to take in."""

    def add_llvm_module(self, module):
        """Take in the function as it was lowered, not optimised."""
        module.data_layout = self._codegen._data_layout
        self._final_module.link_in(module)

    def finalize(self):
        """Take in what the function calls; who takes in the function optimises all of it."""
        seen = set()
        for library in self._linking_libraries:
            if library not in seen:
                seen.add(library)
                self._reload_init.update(library._reload_init)
                self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True


class Whole(JITCodeLibrary):
    """A function with what it calls, as machine code."""

    add_llvm_module = Text.add_llvm_module

    def _optimize_final_module(self):
        """Keep what was taken in to itself, and optimise all of it.

        Private, not internal: LLVM's linker gives a shared function of the user's an internal one of the same name, which
        may have lost the arguments that it does not need.
        """
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage.name == "linkonce_odr":
                function.linkage = "private"
        super()._optimize_final_module()


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerToText(NativeLowering):
    """Numba's last pass, into a library that stays text."""

    _name = "lower_to_text"

    def run_pass(self, state):
        """Make the library, lower into it, and tell Numba that the function can be called."""
        state.library = library = Text(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        entry = {}.__getitem__  # what Numba knows the function by must be one of C's; this one refuses to be called
        state.cr = state.cr._replace(cfunc=entry)
        state.targetctx.insert_user_function(entry, state.cr.fndesc, [library])
        state.reload_init.extend(library._reload_init)
        return True


class _LowerWithErrors(Lower):
    """Numba's lowering, with another C function: one that returns what describes its exception, or 0.

    Numba's would take Python's lock to report it, which whoever waits for the function may have, and go on.
    """

    def create_cfunc_wrapper(self):
        """Make the C function of a function that returns nothing."""
        if self.fndesc.restype != types.none:
            super().create_cfunc_wrapper()
            return
        context, described, integer = self.context, self.fndesc, ir.IntType(64)
        module = context.create_module("c_function")
        kind = context.call_conv.get_function_type(described.restype, described.argtypes)
        callee = ir.Function(module, kind, described.llvm_func_name)
        kinds = [context.get_value_type(argument) for argument in described.argtypes]
        function = ir.Function(module, ir.FunctionType(integer, kinds), described.llvm_cfunc_wrapper_name)
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        status, _ = context.call_conv.call_function(
            builder, callee, described.restype, described.argtypes, function.args, attrs=("alwaysinline",)
        )
        with builder.if_then(status.is_error, likely=False):
            builder.ret(builder.ptrtoint(status.excinfoptr, integer))
        builder.ret(integer(0))
        self.library.add_ir_module(module)


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerToWhole(NativeLowering):
    """Numba's last pass, into a library that keeps to itself what it takes in."""

    _name = "lower_to_whole"
    lowering_class = _LowerWithErrors

    def run_pass(self, state):
        """Make the library, and lower into it."""
        state.library = Whole(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


class _ForOthers:
    """To be mixed into a pass that functions of this package do without."""

    def run_pass(self, state):
        """Do what the pass does for a function of the user's."""
        if (state.func_id.func.__module__ or "").partition(".")[0] == LIBRARY:
            return False
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Closures(_ForOthers, InlineClosureLikes):
    """Functions inside functions."""

    _name = "closures_of_others"


@register_pass(mutates_CFG=True, analysis_only=False)
class _Rewrites(_ForOthers, NopythonRewrites):
    """Array expressions and the like."""

    _name = "rewrites_of_others"


@register_pass(mutates_CFG=True, analysis_only=False)
class _TypeInference(NopythonTypeInference):
    """Numba's type inference, which remembers what operators return."""

    _name = "nopython_type_inference"

    def run_pass(self, state):
        """Infer types with a context that remembers."""
        state.typingctx, context = remembering(state.typingctx), state.typingctx
        try:
            return super().run_pass(state)
        finally:
            state.typingctx = context


@functools.cache
def remembering(context):
    """A typing context of Numba's as one that remembers what operators and functions of Python return for types.

    Numba asks each of a dozen templates every time.
    """

    class Remembering(type(context)):
        """The context itself, by another class."""

        def resolve_function_type(self, function, arguments, keywords):
            """The signature of a call."""
            if keywords or not isinstance(function, types.Function) or function.typing_key not in OPERATORS:
                return super().resolve_function_type(function, arguments, keywords)
            key = id(function), arguments
            if key in known:
                return known[key][1]
            found = super().resolve_function_type(function, arguments, keywords)
            if found is not None:
                known[key] = function, found
            return found

    known = {}  # the function too, so that nothing else gets its id
    remembers = Remembering.__new__(Remembering)
    remembers.__dict__ = vars(context)
    return remembers


REPLACED = {InlineClosureLikes: _Closures, NopythonRewrites: _Rewrites, NopythonTypeInference: _TypeInference}


def _ending(lower):
    """Numba's pipeline for a function whose types are known, with another last pass."""
    replaced = {**REPLACED, NativeLowering: lower}

    class Pipeline(CompilerBase):
        """Numba's passes, and the last one."""

        def define_pipelines(self):
            """The passes, in order."""
            passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
            passes.passes = [(replaced.get(kind, kind), description) for kind, description in passes.passes]
            passes.finalize()
            return [passes]

    return Pipeline


TO_TEXT, TO_WHOLE = _ending(_LowerToText), _ending(_LowerToWhole)
