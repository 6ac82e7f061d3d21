"""Activation functions inside kernels: an opaque Numba type each, whose methods are the Python equations."""

from numba import types

from ..cells import activations
from ..cells.constants import constant
from ..descriptions.frozen import Frozen
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


class Equations(types.Type):
    """The Numba type of an object with equations, told apart by its fingerprint; see `cpu.functions.Equations`."""

    def __init__(self, owner):
        self.owner, self.keepable = owner, owner.fingerprint.keepable
        self.frozen = Frozen(register_jitable, lambda dispatcher, function: register_jitable(function))
        super().__init__(name=f"Device{type(self).__name__}[{type(owner).__name__} {owner.fingerprint.digest}]")

    @property
    def key(self):
        return self.name

    @classmethod
    def of(cls, owner):
        """The type of an object."""
        found = cls(owner)
        found.owner = owner
        return found

    def __reduce__(self):
        # Compiled code on disk names its types; who reads it has the objects.
        reconstructor, (make, args, state) = super().__reduce__()
        return reconstructor, (make, args, {**state, "owner": None, "frozen": None})

    def method(self, name):
        """A method of the object as a function, self its first parameter."""
        own = vars(self.owner).get(name)  # an ActivationFunction's
        if own is None:
            return self.frozen(getattr(type(self.owner), name))
        own = self.frozen(own)
        return lambda self, x: own(x)


class FunctionType(Equations):
    """The Numba type of one activation function."""


register_model(FunctionType)(models.OpaqueModel)

for _helper in (activations.scaled, activations.logistic):
    register_jitable(_helper)


def constant_type(value):
    """The Numba type of a constant, for an integer a literal's; None for anything else."""
    value = constant(value)
    if isinstance(value, activations.Function):
        return FunctionType.of(value)
    if isinstance(value, bool):
        return types.boolean
    if isinstance(value, int):
        return types.literal(value)
    if isinstance(value, float):
        return types.float64
    if isinstance(value, tuple):
        return types.BaseTuple.from_types([types.unliteral(constant_type(item)) for item in value])
    return None


def llvm_constant(context, builder, kind, value):
    """The value of a constant of a type."""
    if isinstance(kind, types.BaseTuple):
        items = [llvm_constant(context, builder, part, item) for part, item in zip(kind, value)]
        return context.make_tuple(builder, kind, items)
    if isinstance(kind, Equations):
        return context.get_dummy_value()
    return context.get_constant(types.unliteral(kind), constant(value))


@infer_getattr
class FunctionAttributes(AttributeTemplate):
    """The fields of an activation function."""

    key = FunctionType

    def generic_resolve(self, function, name):
        return constant_type(getattr(function.owner, name, None))


@lower_getattr_generic(FunctionType)
def _attribute(context, builder, kind, value, name):
    value = getattr(kind.owner, name)
    return llvm_constant(context, builder, constant_type(value), value)


@overload_method(FunctionType, "value", strict=False)
def _value(self, x):
    return self.method("value")


@overload_method(FunctionType, "slope", strict=False)
def _slope(self, kept):
    return self.method("slope")


def _of_a_class(kind, name):
    """The method of an activation function whose class does not leave it to Function; None if it does."""
    left = getattr(type(kind.owner), name) is getattr(activations.Function, name)
    return None if left else kind.method(name)


@overload_method(FunctionType, "keep", strict=False)
def _keep(self, x, y):
    if own := _of_a_class(self, "keep"):
        return own
    return (lambda self, x, y: y) if self.owner.from_output else lambda self, x, y: x


@overload_method(FunctionType, "output", strict=False)
def _output(self, kept):
    if own := _of_a_class(self, "output"):
        return own
    return (lambda self, kept: kept) if self.owner.from_output else lambda self, kept: self.value(kept)


@overload_method(FunctionType, "keep_beside", strict=False)
def _keep_beside(self, x):
    if own := _of_a_class(self, "keep_beside"):
        return own
    return (lambda self, x: ()) if self.owner.from_output else lambda self, x: (x,)


@overload_method(FunctionType, "kept_beside", strict=False)
def _kept_beside(self, y, beside):
    if own := _of_a_class(self, "kept_beside"):
        return own
    return (lambda self, y, beside: y) if self.owner.from_output else lambda self, y, beside: beside[0]
