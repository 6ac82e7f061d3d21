"""Activation functions inside kernels: an opaque Numba type each, whose methods are the Python equations."""

import functools
from types import FunctionType as PythonFunction

from numba import types

from ..cells import activations
from . import vector_math  # noqa: F401 (the equations are made of what it overloads)
from .extending import (
    AttributeTemplate,
    infer_getattr,
    lower_getattr_generic,
    models,
    overload_method,
    register_jitable,
    register_model,
)


class FunctionType(types.Type):
    """The Numba type of one activation function, told apart from others by its repr."""

    def __init__(self, function):
        self.function = function
        super().__init__(name=f"DeviceFunction[{function!r}]")

    @property
    def key(self):
        return self.name


register_model(FunctionType)(models.OpaqueModel)

for _helper in (activations.scaled, activations.logistic):
    register_jitable(_helper)


def constant_type(value):
    """The Numba type of an attribute that kernels may read: a literal's, where there is one."""
    if isinstance(value, bool):
        return types.boolean
    if isinstance(value, int):
        return types.literal(value)
    if isinstance(value, float):
        return types.float64
    if isinstance(value, tuple) and all(type(item) is int for item in value):
        return types.UniTuple(types.intp, len(value))
    if isinstance(value, activations.Function):
        return FunctionType(value)


def llvm_constant(context, builder, kind, value):
    """The value of such an attribute."""
    if isinstance(kind, types.Literal | types.Boolean | types.Float):
        return context.get_constant(types.unliteral(kind), value)
    if isinstance(kind, types.UniTuple):
        return context.make_tuple(builder, kind, [context.get_constant(types.intp, item) for item in value])
    return context.get_dummy_value()


@infer_getattr
class FunctionAttributes(AttributeTemplate):
    """The fields of an activation function."""

    key = FunctionType

    def generic_resolve(self, function, name):
        return constant_type(getattr(function.function, name, None))


@lower_getattr_generic(FunctionType)
def _attribute(context, builder, kind, value, name):
    value = getattr(kind.function, name)
    return llvm_constant(context, builder, constant_type(value), value)


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
