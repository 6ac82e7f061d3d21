"""Cells and activation functions inside kernels: an opaque Numba type each, whose methods are the Python equations.

A kernel is one module-level function, so Numba's disk cache finds it again; the type of its first argument picks the
equations when it is compiled.  What these may read of a cell or of a function is a constant in the kernel.

A backend has a module ``extending`` with Numba's decorators for it, `register` teaches it the two types.
"""

import functools
from types import FunctionType as PythonFunction

from numba import types

from ..cells import Cell, activations
from ..cells.constants import constant
from ..descriptions.frozen import Frozen


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
        self.compiled = {}  # target: its copies of the user's functions, and {name: dispatcher} of methods
        super().__init__(name=f"{type(self).__name__}[{type(owner).__name__} {owner.fingerprint.digest}]")

    @property
    def key(self):
        """What Numba tells types apart by: the name, which has the fingerprint."""
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
        return reconstructor, (make, args, {**state, "owner": None, "compiled": None})

    def method(self, name, frozen):
        """A method of the object as a function, self its first parameter; None if there is none.

        frozen: copies functions of the user's, as they are now.
        """
        own = vars(self.owner).get(name)  # an ActivationFunction's
        if own is None:
            own = next((vars(base)[name] for base in type(self.owner).__mro__ if name in vars(base)), None)
            if isinstance(own, PythonFunction):
                return frozen(own)
            if not isinstance(own, staticmethod):
                return None
            own = own.__func__
        own = frozen(own)
        return (lambda self, x: own(x)) if name in ("value", "slope") else lambda self, *args: own(*args)

    def dispatcher(self, name, target):
        """What compiles a method for a backend and the types of its arguments; None if there is none."""
        if target not in self.compiled:
            self.compiled[target] = Frozen(target.register_jitable, target.compiled_like), {}
        frozen, methods = self.compiled[target]
        if name not in methods:
            method = self.method(name, frozen)
            methods[name] = None if method is None else target.compiled_method(method)
        return methods[name]


class CellType(Equations):
    """The Numba type of one cell."""

    @property
    def cell(self):
        """The cell itself."""
        return self.owner


class FunctionType(Equations):
    """The Numba type of one activation function."""

    def method(self, name, frozen):
        forms = BY_OUTPUT.get(name)
        if forms is None or getattr(type(self.owner), name) is not getattr(activations.Function, name):
            return super().method(name, frozen)
        return forms[0] if self.owner.from_output else forms[1]


BY_OUTPUT = {  # methods of Function, for a slope that follows from the output and for one that does not
    "keep": (lambda self, x, y: y, lambda self, x, y: x),
    "output": (lambda self, kept: kept, lambda self, kept: self.value(kept)),
    "keep_beside": (lambda self, x: (), lambda self, x: (x,)),
    "kept_beside": (lambda self, y, beside: y, lambda self, y, beside: beside[0]),
}

# The attribute that Numba's dispatch asks first; kept in the cell, it costs a tenth of typeof.
Cell._numba_type_ = functools.cached_property(CellType.of)
Cell._numba_type_.__set_name__(Cell, "_numba_type_")


def constant_type(value, target):
    """The Numba type of a constant in a backend's kernels; None for anything else."""
    value = constant(value)
    if isinstance(value, activations.Function):
        return FunctionType.of(value)
    if isinstance(value, Cell):
        return value._numba_type_
    if isinstance(value, bool):
        return types.boolean
    if isinstance(value, int):
        return target.integer(value)
    if isinstance(value, float):
        return types.float64
    if isinstance(value, tuple):
        return types.BaseTuple.from_types([types.unliteral(constant_type(item, target)) for item in value])
    return None


def llvm_constant(context, builder, kind, value):
    """The value of a constant of a type."""
    if isinstance(kind, types.BaseTuple):
        items = [llvm_constant(context, builder, part, item) for part, item in zip(kind, value)]
        return context.make_tuple(builder, kind, items)
    if isinstance(kind, Equations):
        return context.get_dummy_value()
    return context.get_constant(types.unliteral(kind), constant(value))


def register(target):
    """Teach a backend, by its module ``extending``, what equations may read of an object that has some, and call."""
    for kind in (CellType, FunctionType):
        target.register_model(kind)(target.models.OpaqueModel)
    for helper in (activations.scaled, activations.logistic):
        target.register_jitable(helper)

    @target.infer_getattr
    class Attributes(target.AttributeTemplate):
        key, metadata = Equations, {"target": target.TARGET}  # each backend's Numba looks at all that is registered

        def generic_resolve(self, kind, name):
            found = constant_type(getattr(kind.owner, name, None), target)
            if found is None and kind.dispatcher(name, target) is not None:
                return types.BoundFunction(_template(name, target), kind)
            return found

    @target.lower_getattr_generic(Equations)
    def attribute(context, builder, kind, value, name):
        value = getattr(kind.owner, name)
        found = constant_type(value, target)
        return context.get_dummy_value() if found is None else llvm_constant(context, builder, found, value)


@functools.cache
def _template(name, target):
    """How a backend's Numba calls a method of that name."""

    class Method(target.AbstractTemplate):
        key = Equations, target.TARGET, name

        def generic(self, args, kws):
            called = self.this.dispatcher(name, target)._numba_type_
            return called.get_call_type(self.context, (self.this, *args), kws).as_method()

    @target.lower_builtin(Method.key, Equations, types.VarArg(types.Any))
    def call(context, builder, signature, args):
        called = context.get_function(signature.args[0].dispatcher(name, target)._numba_type_, signature)
        context.add_linking_libs(getattr(called, "libs", ()))
        return called(builder, args)

    return Method
