"""How numba-cuda is taught new types and functions; `cpu.extending` has the same names for the processor's Numba.

In the simulator, which runs plain Python, the decorators do nothing.  They are numba-cuda's own: what they register is the
CUDA target's alone, and what Numba compiles for the CPU stays as it is.
"""

import functools
from importlib.util import find_spec

from numba import types

from .device import SIMULATED, function

TARGET = "cuda"  # as Numba names it
COMPILED = not SIMULATED and find_spec("numba_cuda") is not None  # Numba's built-in target knows no such decorators

if COMPILED:
    from numba.cuda.datamodel import models
    from numba.cuda.extending import infer_getattr, intrinsic, lower_builtin, lower_getattr_generic, register_model
    from numba.cuda.extending import overload as _overload
    from numba.cuda.extending import register_jitable as _register_jitable
    from numba.cuda.typing.templates import AbstractTemplate, AttributeTemplate

    # A function of some instructions is no call: its numbers stay in registers.
    overload = functools.partial(_overload, jit_options={"forceinline": True})
    register_jitable = _register_jitable(forceinline=True)
else:
    from numba.core.datamodel import models

    AbstractTemplate = AttributeTemplate = object

    def _leave(function):
        return function

    def _leave_all(*args, **options):
        return _leave

    infer_getattr = intrinsic = register_jitable = _leave
    lower_builtin = lower_getattr_generic = overload = register_model = _leave_all

compiled_method = functools.partial(function, forceinline=True)  # a function that compiled code calls


def compiled_like(dispatcher, function):
    """The function of a dispatcher of the user's, compiled for the GPU."""
    return register_jitable(function)


def integer(value):
    """The type of an integer that equations read of a cell: a literal's, since it may be the size of an array."""
    return types.literal(value)


__all__ = [
    "COMPILED",
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
