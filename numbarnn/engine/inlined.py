"""Functions that only compiled code calls: they become part of whoever calls them, and nothing of their own is made.

Numba makes each function that another one calls a whole: wrappers for Python and for C, optimised by itself, in machine
code.  Most of the time of a first call went there, for some eighty functions of which nobody needs more than LLVM's
text.  The pipeline of passes is Numba's, with another end; it is how Numba lets its compiler be changed.
"""

from numba import njit, types

from .numba_internals import CompilerBase, DefaultPassBuilder, JITCodeLibrary, NativeLowering, register_pass


class _Text(JITCodeLibrary):
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


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerToText(NativeLowering):
    """Numba's last pass, into a library that stays text."""

    _name = "lower_to_text"

    def run_pass(self, state):
        """Make the library, lower into it, and tell Numba that the function can be called."""
        state.library = library = _Text(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        entry = {}.__getitem__  # what Numba knows the function by must be one of C's; this one refuses to be called
        state.cr = state.cr._replace(cfunc=entry)
        state.targetctx.insert_user_function(entry, state.cr.fndesc, [library])
        state.reload_init.extend(library._reload_init)
        return True


class _Pipeline(CompilerBase):
    """Numba's passes for a function of types that are known, with another end."""

    def define_pipelines(self):
        """The passes, in order."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (_LowerToText, description) if kind is NativeLowering else (kind, description)
            for kind, description in passes.passes
        ]
        passes.finalize()
        return [passes]


OPTIONS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _Pipeline}


def inlined(function):
    """`function` for compiled code to call, and for it alone."""
    dispatcher = njit(**OPTIONS)(function)

    def refuse(*arguments, **keywords):
        raise TypeError(f"{function.__name__}: expected a call by compiled code, got one by Python")

    def add_overload(code):
        dispatcher.overloads[tuple(code.signature.args)] = code  # but not where calls by Python look

    def get_call_template(args, keywords, template=dispatcher.get_call_template):
        return template(tuple(map(types.unliteral, args)), keywords)  # not once more for each constant

    dispatcher._compile_for_args, dispatcher.add_overload = refuse, add_overload
    dispatcher.get_call_template = get_call_template
    return dispatcher
