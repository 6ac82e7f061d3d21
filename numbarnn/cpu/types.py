"""Cells and activations as arguments of a kernel: an opaque Numba type each, whose methods are the Python equations.

The kernel is one module-level function, so Numba's disk cache finds it again; the type of its first argument picks the
equations when it is compiled.
"""

import functools

from numba import types
from numba.core import cgutils
from numba.extending import (
    NativeValue,
    intrinsic,
    models,
    overload,
    overload_attribute,
    overload_method,
    register_model,
    typeof_impl,
    unbox,
)

from ..cells import Cell
from ..cells.activations import Activation, activation
from .simd import Vector, load, load_first, llvm_vector, store_first


class EquationsType(types.Type):
    """The Numba type of one `Cell` or `Activation`, told apart from others by its repr."""

    def __init__(self, equations):
        self.equations = equations
        super().__init__(name=f"Equations[{equations!r}]")

    @property
    def key(self):
        return self.name


class CellType(EquationsType):
    """The Numba type of one cell."""


class ActivationType(EquationsType):
    """The Numba type of one activation."""


for _type in (CellType, ActivationType):
    register_model(_type)(models.OpaqueModel)

    @unbox(_type)
    def _unbox(typ, obj, context):
        return NativeValue(context.context.get_dummy_value())


@functools.cache
def _cell_type(cell):
    return CellType(cell)


@functools.cache
def _activation_type(name):
    return ActivationType(name)


@typeof_impl.register(Cell)
def _typeof_cell(cell, context):
    return _cell_type(cell)


@typeof_impl.register(Activation)
def _typeof_activation(function, context):
    return _activation_type(function.name)


@overload_method(CellType, "forward")
def _forward(self, pre, state):
    return type(self.equations).forward


@overload_method(CellType, "adjoint")
def _adjoint(self, saved, state, new, dnew):
    return type(self.equations).adjoint


@overload_method(CellType, "gate")
def _gate(self, pre, state):
    return type(self.equations).gate


@overload_method(CellType, "gate_adjoint")
def _gate_adjoint(self, saved, state, doperand, dpre, dstate):
    return type(self.equations).gate_adjoint


def _constant(name):
    @overload_attribute(CellType, name)
    def resolve(self):
        value = getattr(self.equations, name)
        constant = len(value) if name == "gates" else value
        return lambda self: constant


for _name in ("gates", "slots", "saved", "states", "input_span", "recurrent_span", "gated_span"):
    _constant(_name)


def _activation_method(owner, name, of):
    @overload_method(owner, name)
    def resolve(self, x):
        function = getattr(activation(of(self.equations)), name)
        return lambda self, x: function(x)


for _name in ("value", "slope"):
    _activation_method(CellType, _name, lambda cell: cell.activation)
    _activation_method(ActivationType, _name, lambda name: name)


def _load_many(counted):
    @intrinsic
    def load_tuple(typingctx, cell, real, address, stride):
        vector, count = Vector(real), getattr(cell.equations, counted)
        result = types.UniTuple(vector, count)

        def codegen(context, builder, signature, args):
            v = llvm_vector(vector)
            values = []
            for i in range(count):
                place = builder.add(args[2], builder.mul(args[3], args[3].type(i)))
                values.append(builder.load(builder.inttoptr(place, v.as_pointer()), align=real.bitwidth // 8))
            return context.make_tuple(builder, result, values)

        return result(cell, real, types.intp, types.intp), codegen

    return load_tuple


load_slots = _load_many("slots")
load_saved = _load_many("saved")


@intrinsic
def store_all(typingctx, values, address, stride):
    """Write a tuple of vectors, `stride` bytes apart from `address` on."""

    def codegen(context, builder, signature, args):
        for i, value in enumerate(cgutils.unpack_tuple(builder, args[0], len(values))):
            place = builder.add(args[1], builder.mul(args[2], args[2].type(i)))
            builder.store(
                value, builder.inttoptr(place, value.type.as_pointer()), align=values.dtype.dtype.bitwidth // 8
            )
        return context.get_dummy_value()

    return types.void(values, types.intp, types.intp), codegen


def load_state(cell, real, h, c, count):
    """The state tuple of `count` units at addresses `h` and, where the cell has one, `c`."""


@overload(load_state)
def _load_state(cell, real, h, c, count):
    if cell.equations.states == 1:
        return lambda cell, real, h, c, count: (load_first(real, h, count),)
    return lambda cell, real, h, c, count: (load_first(real, h, count), load_first(real, c, count))


def store_state(cell, state, h, c, count):
    """Write the state tuple of `count` units to addresses `h` and, where the cell has one, `c`."""


@overload(store_state)
def _store_state(cell, state, h, c, count):
    if cell.equations.states == 1:
        return lambda cell, state, h, c, count: store_first(state[0], h, count)

    def both(cell, state, h, c, count):
        store_first(state[0], h, count)
        store_first(state[1], c, count)

    return both


def load_dstate(cell, real, dh, dc):
    """The derivatives of the state, whole vectors from padded rows."""


@overload(load_dstate)
def _load_dstate(cell, real, dh, dc):
    if cell.equations.states == 1:
        return lambda cell, real, dh, dc: (load(real, dh),)
    return lambda cell, real, dh, dc: (load(real, dh), load(real, dc))


def add_output(cell, dstate, dy):
    """`dstate` with the output's derivative added to that of h: the output of a step is its h."""


@overload(add_output)
def _add_output(cell, dstate, dy):
    if cell.equations.states == 1:
        return lambda cell, dstate, dy: (dstate[0] + dy,)
    return lambda cell, dstate, dy: (dstate[0] + dy, dstate[1])
