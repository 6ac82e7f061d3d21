"""Activation functions inside kernels: an opaque Numba type each, whose methods are the Python equations."""

import functools
from types import FunctionType as PythonFunction

from numba import types
from numba.extending import intrinsic, models, overload_attribute, overload_method, register_jitable, register_model

from ..cells import activations
from . import vector_math  # noqa: F401 (the equations are made of what it overloads)


class FunctionType(types.Type):
    """The Numba type of one activation function, told apart from others by its repr."""

    def __init__(self, function):
        self.function = function
        super().__init__(name=f"Function[{function!r}]")

    @property
    def key(self):
        return self.name


register_model(FunctionType)(models.OpaqueModel)

for _helper in (activations.scaled, activations.logistic):
    register_jitable(_helper)


@functools.cache
def _jitable(function):
    """A Python function as one that compiled code may call; one that Numba has compiled already is left as it is."""
    return register_jitable(function) if isinstance(function, PythonFunction) else function


@overload_method(FunctionType, "value")
def _value(self, x):
    own = vars(self.function).get("value")
    if own is None:
        return type(self.function).value
    own = _jitable(own)
    return lambda self, x: own(x)


@overload_method(FunctionType, "slope")
def _slope(self, kept):
    own = vars(self.function).get("slope")
    if own is None:
        return type(self.function).slope
    own = _jitable(own)
    return lambda self, kept: own(kept)


@overload_method(FunctionType, "keep")
def _keep(self, x, y):
    if self.function.from_output:
        return lambda self, x, y: y
    return lambda self, x, y: x


@overload_method(FunctionType, "output")
def _output(self, kept):
    if self.function.from_output:
        return lambda self, kept: kept
    return lambda self, kept: self.value(kept)


@overload_method(FunctionType, "keep_beside")
def _keep_beside(self, x):
    if self.function.from_output:
        return lambda self, x: ()
    return lambda self, x: (x,)


@overload_method(FunctionType, "kept_beside")
def _kept_beside(self, y, beside):
    if self.function.from_output:
        return lambda self, y, beside: y
    return lambda self, y, beside: beside[0]


def _constant(name):
    @overload_attribute(FunctionType, name)
    def resolve(self):
        constant = getattr(self.function, name)
        return lambda self: constant


for _name in ("alpha", "beta", "limit", "from_output"):
    _constant(_name)


@intrinsic
def _read_inner(typingctx, function):
    inner = FunctionType(function.function.inner)
    return inner(function), lambda context, builder, signature, args: context.get_dummy_value()


@overload_attribute(FunctionType, "inner")
def _inner(self):
    return lambda self: _read_inner(self)


@functools.cache
def function_attribute(cell_type, name):
    """Let equations read the field `name`, a Function, of cells of a Numba type that has them as `cell`."""

    @intrinsic
    def read(typingctx, cell):
        function = FunctionType(getattr(cell.cell, name))
        return function(cell), lambda context, builder, signature, args: context.get_dummy_value()

    @overload_attribute(cell_type, name)
    def resolve(self):
        if isinstance(getattr(self.cell, name, None), activations.Function):
            return lambda self: read(self)
