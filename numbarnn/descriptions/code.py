"""Whose a function, a class or a module is, what code looks up, and what Numba compiles in a function's place."""

import dis
import functools
import itertools
import os
import sys
import types

import numpy as np

LIBRARIES = ("llvmlite", "numba", "numbarnn", "numpy")
STANDARD = os.path.dirname(os.__file__)
HEAP_TYPE = 1 << 9  # the flag of a class that was made while Python runs
GLOBAL_LOADS = ("LOAD_GLOBAL", "LOAD_NAME")


def library_of(module_name):
    """The library that a module belongs to, and its version; None for a module of the user's."""
    top = module_name.partition(".")[0] if isinstance(module_name, str) else ""
    if top in LIBRARIES:
        return f"{top} {getattr(sys.modules.get(top), '__version__', '')}"
    if top in sys.stdlib_module_names and (module := sys.modules.get(module_name)):
        file = getattr(module, "__file__", None)
        if file is None or (file.startswith(STANDARD) and "site-packages" not in file):  # else a namesake
            return f"python {sys.version}"
    return None


def is_library_s(value):
    """Whether a function, a class or a module is found under its own name in a library."""
    if isinstance(value, types.ModuleType):
        return library_of(value.__name__) is not None
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if module is None and isinstance(value, np.ufunc):
        module, name = "numpy", value.__name__
    if not isinstance(name, str) or library_of(module) is None:
        return False
    try:
        return functools.reduce(getattr, name.split("."), sys.modules[module]) is value
    except (AttributeError, KeyError):
        return False


def codes_of(code):
    """A code object and those nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


def global_names(code):
    """The names that code and what is nested in it look up outside."""
    return {
        instruction.argval
        for part in codes_of(code)
        for instruction in dis.get_instructions(part)
        if instruction.opname in GLOBAL_LOADS
    }


def attribute_names(code):
    """The names that code may look up in objects: by a dot or, as a string, by getattr."""
    parts = list(codes_of(code))
    strings = (constant for part in parts for constant in part.co_consts if isinstance(constant, str))
    return frozenset(itertools.chain(strings, *(part.co_names for part in parts)))


def unwrapped(value):
    """The function that a descriptor of a class holds; anything else as it is."""
    if isinstance(value, (staticmethod, classmethod)):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    return value.func if isinstance(value, functools.cached_property) else value


def is_python_s(kind):
    """Whether a class is written in Python: its instances hide nothing."""
    written = any("__dict__" in vars(base) or "__slots__" in vars(base) for base in kind.__mro__[:-1])
    return written and bool(kind.__flags__ & HEAP_TYPE)


def is_compiled(value):
    """Whether a value is what Numba made of a function: a dispatcher."""
    return hasattr(value, "py_func") and hasattr(value, "targetoptions")


def implementations(function):
    """What `numba.extending.overload` was told to compile in the place of a function, but for the function itself."""
    if (numba := sys.modules.get("numba")) is None:
        return []
    context = numba.core.registry.cpu_target.typing_context
    context.refresh()
    try:
        found = context.resolve_value_type(function)
    except (ValueError, numba.core.errors.NumbaError):
        return []
    overloads = (getattr(template, "_overload_func", None) for template in getattr(found, "templates", ()))
    return [overload for overload in overloads if overload and library_of(overload.__module__) is None]
