"""What kernels load and store of a cell: vectors of units, at addresses, with strides in bytes."""

from numba import types
from numba.core import cgutils
from numba.extending import NativeValue, intrinsic, unbox

from ..engine import choices, equations
from ..engine.inlined import inlined
from . import (
    duals,  # noqa: F401 (the equations are made of what these overload)
    extending,
    vector_math,  # noqa: F401
)
from .records import ROWS
from .routine_call import record_at
from .rows import row_address
from .simd import load, load_first, load_first_of, splat, store_first
from .vectors import llvm_alignment, llvm_vector, vector_of

equations.register(extending)
choices.register(extending)
by_cell = choices.by_cell(extending)


@unbox(equations.CellType)
def _unbox(typ, obj, context):
    """A cell inside a kernel is its type alone: no value is passed."""
    return NativeValue(context.context.get_dummy_value())


def _load_many(counted):
    """An intrinsic that loads as many vectors as the cell's attribute `counted` says, `stride` bytes apart."""

    @intrinsic
    def load_tuple(typingctx, cell, real, address, stride):
        vector, count = vector_of(real), getattr(cell.cell, counted)
        result = types.UniTuple(vector, count)

        def codegen(context, builder, signature, args):
            v = llvm_vector(vector)
            values = []
            for i in range(count):
                place = builder.add(args[2], builder.mul(args[3], args[3].type(i)))
                values.append(builder.load(builder.inttoptr(place, v.as_pointer()), align=llvm_alignment(vector)))
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
            builder.store(value, builder.inttoptr(place, value.type.as_pointer()), align=llvm_alignment(values.dtype))
        return context.get_dummy_value()

    return types.void(values, types.intp, types.intp), codegen


@by_cell
def drive_places(cell):
    """Where the values lie that a cell takes at a step of a row: a tuple of addresses."""
    return _first_places(cell.drive_count)


def _first_places(count):
    """`drive_places` of the first `count` drives."""
    if count == 0:
        return lambda cell, call, time, row: ()
    offset = (count - 1) * ROWS.itemsize
    if count == 1:
        return lambda cell, call, time, row: (row_address(record_at(call.drives, ROWS)[0], time, row),)
    before = inlined(_first_places(count - 1))

    def places(cell, call, time, row):
        return (*before(cell, call, time, row), row_address(record_at(call.drives + offset, ROWS)[0], time, row))

    return places


@intrinsic
def load_drives(typingctx, cell, real, places, offset, count):
    """The values of `count` units, `offset` bytes from each of the places: a tuple of vectors."""
    vector, number = vector_of(real), len(places)
    result = types.UniTuple(vector, number)

    def codegen(context, builder, signature, args):
        _, _, places_, offset_, count_ = args
        first = load_first_of(vector)
        values = [
            first(builder, builder.add(place, offset_), count_) for place in cgutils.unpack_tuple(builder, places_, number)
        ]
        return context.make_tuple(builder, result, values)

    return result(cell, real, places, types.intp, types.intp), codegen


@inlined
def _load_whole(real, place, count):
    """A whole vector of a padded row, however many of its units are some."""
    return load(real, place)


load_state, store_state, load_dstate, add_output, add_cells, by_projection = choices.choices(
    extending, load_first, store_first, _load_whole, splat
)
