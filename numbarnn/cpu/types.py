"""Cells as arguments of a kernel: an opaque Numba type each, whose methods are the Python equations.

The kernel is one module-level function, so Numba's disk cache finds it again; the type of its first argument picks the
equations when it is compiled.
"""

import functools

from numba import njit, types
from numba.core import cgutils
from numba.extending import NativeValue, intrinsic, models, overload, register_model, unbox

from ..cells import Cell
from .functions import Equations
from .records import ROWS
from .routine_call import record_at
from .rows import row_address
from .simd import Vector, llvm_vector, load, load_first, load_first_of, splat, store_first


class CellType(Equations):
    """The Numba type of one cell."""

    @property
    def cell(self):
        """The cell itself."""
        return self.owner


register_model(CellType)(models.OpaqueModel)


@unbox(CellType)
def _unbox(typ, obj, context):
    return NativeValue(context.context.get_dummy_value())


# The attribute that Numba's dispatch asks first; kept in the cell, it costs a tenth of typeof.
Cell._numba_type_ = functools.cached_property(CellType.of)
Cell._numba_type_.__set_name__(Cell, "_numba_type_")


def _load_many(counted):
    @intrinsic
    def load_tuple(typingctx, cell, real, address, stride):
        vector, count = Vector(real), getattr(cell.cell, counted)
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
load_unit_values = _load_many("unit_value_count")
load_dpre = _load_many("dpre_count")


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


def drive_places(cell, call, time, row):
    """Where the values lie that a cell takes at a step of a row: a tuple of addresses."""


@overload(drive_places)
def _drive_places(cell, call, time, row):
    return _first_places(cell.cell.drive_count)


def _first_places(count):
    """`drive_places` of the first `count` drives."""
    if count == 0:
        return lambda cell, call, time, row: ()
    offset = (count - 1) * ROWS.itemsize
    if count == 1:
        return lambda cell, call, time, row: (row_address(record_at(call.drives, ROWS)[0], time, row),)
    before = njit(_first_places(count - 1))

    def places(cell, call, time, row):
        return (*before(cell, call, time, row), row_address(record_at(call.drives + offset, ROWS)[0], time, row))

    return places


@intrinsic
def load_drives(typingctx, cell, real, places, offset, count):
    """The values of `count` units, `offset` bytes from each of the places: a tuple of vectors."""
    vector, number = Vector(real), len(places)
    result = types.UniTuple(vector, number)

    def codegen(context, builder, signature, args):
        _, _, places_, offset_, count_ = args
        first = load_first_of(vector)
        values = [
            first(builder, builder.add(place, offset_), count_) for place in cgutils.unpack_tuple(builder, places_, number)
        ]
        return context.make_tuple(builder, result, values)

    return result(cell, real, places, types.intp, types.intp), codegen


def joined(values, others):
    """One tuple of two."""


@overload(joined)
def _joined(values, others):
    if len(others) == 0:
        return lambda values, others: values
    if len(values) == 0:
        return lambda values, others: others
    return lambda values, others: values + others


def load_state(cell, real, h, c, count):
    """The state tuple of `count` units at addresses `h` and, where the cell has one, `c`; 0 for an h that is no unit's."""


@overload(load_state)
def _load_state(cell, real, h, c, count):
    if cell.cell.states == 1:
        return lambda cell, real, h, c, count: (load_first(real, h, count),)
    if cell.cell.projected:
        return lambda cell, real, h, c, count: (splat(real, 0), load_first(real, c, count))
    return lambda cell, real, h, c, count: (load_first(real, h, count), load_first(real, c, count))


def store_state(cell, state, h, c, count):
    """Write the state tuple of `count` units to addresses `h` and, where the cell has one, `c`."""


@overload(store_state)
def _store_state(cell, state, h, c, count):
    if cell.cell.states == 1:
        return lambda cell, state, h, c, count: store_first(state[0], h, count)

    def both(cell, state, h, c, count):
        store_first(state[0], h, count)
        store_first(state[1], c, count)

    return both


def load_dstate(cell, real, dh, dc):
    """The derivatives of the state, whole vectors from padded rows."""


@overload(load_dstate)
def _load_dstate(cell, real, dh, dc):
    if cell.cell.states == 1:
        return lambda cell, real, dh, dc: (load(real, dh),)
    return lambda cell, real, dh, dc: (load(real, dh), load(real, dc))


def add_output(cell, real, dstate, dy, count):
    """`dstate` with the output's derivative at address `dy` added to that of h: the output of a step is its h.

    Where that is projected, `projection.unproject` has added it before.
    """


@overload(add_output)
def _add_output(cell, real, dstate, dy, count):
    if cell.cell.projected:
        return lambda cell, real, dstate, dy, count: dstate
    if cell.cell.states == 1:
        return lambda cell, real, dstate, dy, count: (dstate[0] + load_first(real, dy, count),)
    return lambda cell, real, dstate, dy, count: (dstate[0] + load_first(real, dy, count), dstate[1])


def add_cells(cell, dstate, dcells):
    """`dstate` with the derivative of a step's c added."""


@overload(add_cells)
def _add_cells(cell, dstate, dcells):
    if cell.cell.states == 1:
        return lambda cell, dstate, dcells: dstate
    return lambda cell, dstate, dcells: (dstate[0], dstate[1] + dcells)
