"""Activation functions inside kernels: an opaque Numba type each, whose methods are the Python equations.

Cells are such types too; what equations may read of either is a constant in the kernel.
"""

import functools
from types import FunctionType as PythonFunction

from numba import jit, njit, types
from numba.core.imputils import lower_builtin, lower_getattr_generic
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_getattr
from numba.extending import models, register_jitable, register_model

from ..cells import activations
from ..cells.cell import Cell
from ..cells.constants import constant
from ..descriptions.frozen import Frozen
from . import vector_math  # noqa: F401 (the equations are made of what it overloads)


def like(dispatcher, function):
    """`function`, compiled with the options of a dispatcher."""
    return jit(**dispatcher.targetoptions)(function)


class Equations(types.Type):
    """The Numba type of an object with equations: told apart from others by its fingerprint.

    Attributes
    ----------
    owner : Function or Cell
        The one that was asked about last; those with one fingerprint are all the same.
    keepable : bool
        Whether what is compiled for it may be kept on disk.
    """

    def __init__(self, owner):
        self.owner, self.keepable = owner, owner.fingerprint.keepable
        self.frozen, self.compiled = Frozen(register_jitable, like), {}
        super().__init__(name=f"{type(self).__name__}[{type(owner).__name__} {owner.fingerprint.digest}]")

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
        return reconstructor, (make, args, {**state, "owner": None, "frozen": None, "compiled": None})

    def method(self, name):
        """A method of the object as a function, self its first parameter; None if there is none."""
        own = vars(self.owner).get(name)  # an ActivationFunction's
        if own is None:
            own = next((vars(base)[name] for base in type(self.owner).__mro__ if name in vars(base)), None)
            if isinstance(own, PythonFunction):
                return self.frozen(own)
            if not isinstance(own, staticmethod):
                return None
            own = own.__func__
        own = self.frozen(own)
        return (lambda self, x: own(x)) if name in ("value", "slope") else lambda self, *args: own(*args)

    def dispatcher(self, name):
        """What compiles a method for the types of its arguments; None if there is none."""
        if name not in self.compiled:
            method = self.method(name)
            self.compiled[name] = None if method is None else njit(method)
        return self.compiled[name]


class FunctionType(Equations):
    """The Numba type of one activation function."""

    def method(self, name):
        forms = BY_OUTPUT.get(name)
        if forms is None or getattr(type(self.owner), name) is not getattr(activations.Function, name):
            return super().method(name)
        return forms[0] if self.owner.from_output else forms[1]


BY_OUTPUT = {  # methods of Function, for a slope that follows from the output and for one that does not
    "keep": (lambda self, x, y: y, lambda self, x, y: x),
    "output": (lambda self, kept: kept, lambda self, kept: self.value(kept)),
    "keep_beside": (lambda self, x: (), lambda self, x: (x,)),
    "kept_beside": (lambda self, y, beside: y, lambda self, y, beside: beside[0]),
}

register_model(FunctionType)(models.OpaqueModel)

for _helper in (activations.scaled, activations.logistic):
    register_jitable(_helper)


def constant_type(value):
    """The Numba type of a constant; None for anything else."""
    value = constant(value)
    if isinstance(value, activations.Function):
        return FunctionType.of(value)
    if isinstance(value, Cell):
        return value._numba_type_
    if isinstance(value, bool):
        return types.boolean
    if isinstance(value, int):
        return types.intp
    if isinstance(value, float):
        return types.float64
    if isinstance(value, tuple):
        return types.BaseTuple.from_types([constant_type(item) for item in value])
    return None


def llvm_constant(context, builder, kind, value):
    """The value of a constant of a type."""
    if isinstance(kind, types.BaseTuple):
        items = [llvm_constant(context, builder, part, item) for part, item in zip(kind, value)]
        return context.make_tuple(builder, kind, items)
    if isinstance(kind, Equations):
        return context.get_dummy_value()
    return context.get_constant(kind, constant(value))


@infer_getattr
class Attributes(AttributeTemplate):
    """What equations may read of an object that has some, and call."""

    key = Equations

    def generic_resolve(self, kind, name):
        found = constant_type(getattr(kind.owner, name, None))
        if found is None and kind.dispatcher(name) is not None:
            return types.BoundFunction(_template(name), kind)
        return found


@lower_getattr_generic(Equations)
def _attribute(context, builder, kind, value, name):
    value = getattr(kind.owner, name)
    found = constant_type(value)
    return context.get_dummy_value() if found is None else llvm_constant(context, builder, found, value)


@functools.cache
def _template(name):
    """How Numba calls a method of that name."""

    class Method(AbstractTemplate):
        key = Equations, name

        def generic(self, args, kws):
            called = types.Dispatcher(self.this.dispatcher(name))
            return called.get_call_type(self.context, (self.this, *args), kws).as_method()

    @lower_builtin(Method.key, Equations, types.VarArg(types.Any))
    def call(context, builder, signature, args):
        called = context.get_function(types.Dispatcher(signature.args[0].dispatcher(name)), signature)
        context.add_linking_libs(getattr(called, "libs", ()))
        return called(builder, args)

    return Method
