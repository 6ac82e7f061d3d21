"""How Numba's CPU target is taught new types and functions; `cuda.extending` has the same names for the GPU's.

numba-cuda takes over what others teach Numba: what is the processor's alone says so, by `TARGET`.
"""

import functools

from numba import jit, types
from numba.extending import infer_getattr, intrinsic, lower_builtin, lower_getattr_generic, models, register_model
from numba.extending import overload as _overload

from ..engine.inlined import OPTIONS, inlined
from ..engine.numba_internals import AbstractTemplate, AttributeTemplate

TARGET = "cpu"  # as Numba names it
overload = functools.partial(_overload, target=TARGET, jit_options=OPTIONS)
compiled_method = inlined  # a function that compiled code calls


def register_jitable(function):
    """`function`, compiled where compiled code calls it."""
    overload(function, strict=False)(lambda *args, **kwargs: function)
    return function


def compiled_like(dispatcher, function):
    """`function`, compiled with the options of a dispatcher of the user's."""
    return jit(**dispatcher.targetoptions)(function)


def integer(value):
    """The type of an integer that equations read of a cell."""
    return types.intp


__all__ = [
    "TARGET",
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
