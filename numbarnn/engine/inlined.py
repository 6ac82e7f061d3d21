"""Functions that only compiled code calls: they become part of whoever calls them."""

from numba import njit, types

from .numba_internals import compiler_on
from .pipelines import TO_TEXT

OPTIONS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": TO_TEXT}


def inlined(function):
    """`function` for compiled code to call, and for it alone."""
    with compiler_on():
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
