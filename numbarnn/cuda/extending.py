"""Numba's decorators that teach the CUDA target new types and functions; in the simulator, which runs plain Python, they do
nothing.

They are numba-cuda's own: what they register is the CUDA target's alone, and what Numba compiles for the CPU stays as it is.
"""

import functools
from importlib.util import find_spec

from .device import SIMULATED

COMPILED = not SIMULATED and find_spec("numba_cuda") is not None  # Numba's built-in target knows no such decorators

if COMPILED:
    from numba.cuda.datamodel import models
    from numba.cuda.extending import infer_getattr, intrinsic, lower_getattr_generic, register_model
    from numba.cuda.extending import overload as _overload
    from numba.cuda.extending import overload_method as _overload_method
    from numba.cuda.extending import register_jitable as _register_jitable
    from numba.cuda.typing.templates import AttributeTemplate

    # A function of some instructions is no call: its numbers stay in registers.
    overload = functools.partial(_overload, jit_options={"forceinline": True})
    overload_method = functools.partial(_overload_method, jit_options={"forceinline": True})
    register_jitable = _register_jitable(forceinline=True)
else:
    from numba.core.datamodel import models

    AttributeTemplate = object

    def _leave(function):
        return function

    def _leave_all(*args, **options):
        return _leave

    infer_getattr = intrinsic = register_jitable = _leave
    lower_getattr_generic = overload = overload_method = register_model = _leave_all

__all__ = [
    "COMPILED",
    "AttributeTemplate",
    "infer_getattr",
    "intrinsic",
    "lower_getattr_generic",
    "models",
    "overload",
    "overload_method",
    "register_jitable",
    "register_model",
]
