"""How Numba's CPU target is taught new types and functions; `cuda.extending` has the same names for the GPU's."""

from numba import jit, njit, types
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_builtin,
    lower_getattr_generic,
    models,
    overload,
    register_jitable,
    register_model,
)

from ..engine.numba_internals import AbstractTemplate, AttributeTemplate

compiled_method = njit  # a function that compiled code calls


def compiled_like(dispatcher, function):
    """`function`, compiled with the options of a dispatcher of the user's."""
    return jit(**dispatcher.targetoptions)(function)


def integer(value):
    """The type of an integer that equations read of a cell."""
    return types.intp


__all__ = [
    "AbstractTemplate",
    "AttributeTemplate",
    "compiled_method",
    "compiled_like",
    "infer_getattr",
    "integer",
    "intrinsic",
    "lower_builtin",
    "lower_getattr_generic",
    "models",
    "overload",
    "register_jitable",
    "register_model",
]
