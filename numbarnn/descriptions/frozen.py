"""Functions of the user's as they are at this moment, for a kernel that is being compiled.

Numba keeps the code of a function that it has compiled, and with it the values that its globals had then.  A copy has never
been compiled: what it reads and calls is what is there now.
"""

import types

from numpy import ndarray

from .fingerprint import attribute_names, global_names, implementations, is_compiled, is_library_s


class Frozen:
    """Copies of functions and of what they reach: one of each, so that functions that call each other still do.

    Parameters
    ----------
    jitable : callable
        A target's decorator of Python functions that compiled code may call.
    jit : callable
        ``jit(dispatcher, function)``: the function, compiled by Numba like the one that the dispatcher has.
    """

    def __init__(self, jitable, jit):
        self._jitable, self._jit = jitable, jit
        self._copies = {}  # (id, names): (copy, original, which is held so that its id stays its own)

    def __call__(self, value, names=frozenset()):
        """A copy of a function, or what else it may reach; names: which attributes of modules it may look up.

        What a library owns, and what cannot change, is not copied.
        """
        kind = type(value)
        if kind is tuple:
            return tuple(self(item, names) for item in value)
        copies = {types.FunctionType: self._function, types.ModuleType: self._module, ndarray: self._array}
        make = self._dispatcher if is_compiled(value) else copies.get(kind)
        if make is None or is_library_s(value):
            return value
        key = id(value), names if kind is types.ModuleType else None
        if key not in self._copies:
            self._copies[key] = value, value  # until there is one
            make(key, value, names)
        return self._copies[key][0]

    def _function(self, key, function, names):
        """Copy a Python function."""
        if implementations(function):  # Numba compiles these in its place, and finds them by the function itself
            return
        copy, fill = self._copied(function)
        self._copies[key] = self._jitable(copy), function
        fill()

    def _dispatcher(self, key, dispatcher, names):
        """Copy a function that Numba has compiled, to be compiled anew."""
        copy, fill = self._copied(dispatcher.py_func)
        self._copies[key] = self._jit(dispatcher, copy), dispatcher
        fill()

    def _copied(self, function):
        """A copy of a function, and what fills in all that it reaches, once others may find the copy."""
        code = function.__code__
        names = attribute_names(code)
        outside = {"__builtins__": function.__builtins__, "__name__": function.__globals__.get("__name__")}
        cells = tuple(types.CellType() for _ in code.co_freevars)
        copy = types.FunctionType(code, outside, function.__name__, function.__defaults__, cells or None)
        copy.__kwdefaults__, copy.__qualname__ = function.__kwdefaults__, function.__qualname__
        copy.__module__ = function.__module__

        def fill():
            for name in global_names(code) & function.__globals__.keys():
                outside[name] = self(function.__globals__[name], names)
            for cell, original in zip(cells, function.__closure__ or ()):
                try:
                    cell.cell_contents = self(original.cell_contents, names)
                except ValueError:  # not yet bound
                    pass

        return copy, fill

    def _module(self, key, module, names):
        """Copy those attributes of a module that functions look up."""
        copy = types.ModuleType(module.__name__)
        self._copies[key] = copy, module
        for name in names:
            if hasattr(module, name):
                setattr(copy, name, self(getattr(module, name), names))

    def _array(self, key, array, names):
        """Copy an array, in the same order of memory; it stays read-only if it was."""
        copy = array.copy(order="K")
        copy.flags.writeable = array.flags.writeable
        self._copies[key] = copy, array
