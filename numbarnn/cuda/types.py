"""What kernels load and store of a cell: one number a thread, at a place that is an index of a 1-D array.

A function here is what the simulator runs, on a cell and Python's numbers.  The compiled kernel gets what the overload
beside it makes of it: numbers then are of the type `number.Number`.  Complex numbers in memory are dual numbers, see
`cells.duals`: of `DualNumber` in the simulator, of `number.Dual` in a compiled kernel.
"""

from numba import types

from ..cells.duals import DualNumber
from ..cells.normalized import SHRINK_DOUBLE, SHRINK_SINGLE
from ..engine import choices, equations
from ..engine.choices import sum_terms
from . import (
    extending,
    vector_math,  # noqa: F401 (the equations are made of what it overloads)
)
from .extending import COMPILED, intrinsic, overload, register_jitable
from .number import Number, alignment_of, as_number, is_number, llvm_number, number_of
from .number import plain as _plain_number

if COMPILED:
    from numba.cuda import cgutils

equations.register(extending)
choices.register(extending)


def number(real, x):
    """`x` as a number of the dtype of `real`."""
    return DualNumber(x, 0.0) if isinstance(real, complex) else type(real)(x)


@overload(number)
def _number(real, x):
    """`number` in compiled code."""
    if is_number(x):
        return lambda real, x: as_number(real, x)


def shrinking(real):
    """What numbers are multiplied with whose squares are too large for the dtype of `real`."""
    return type(real)(SHRINK_SINGLE if real.itemsize == 4 else SHRINK_DOUBLE)


@overload(shrinking)
def _shrinking(real):
    """`shrinking` in compiled code."""
    factor = SHRINK_SINGLE if real.bitwidth == 32 else SHRINK_DOUBLE
    return lambda real: as_number(real, factor)


def plain(x):
    """A number as the float that Numba knows, for its own functions and arrays."""
    return x


@overload(plain)
def _plain(x):
    """`plain` in compiled code."""
    if isinstance(x, Number):
        return lambda x: _plain_number(x)
    return lambda x: x


def dtype_of(real):
    """The dtype of a number, for an array made in a kernel."""
    return type(real)


@overload(dtype_of)
def _dtype_of(real):
    """`dtype_of` in compiled code."""
    dtype = getattr(real, "dtype", real)
    return lambda real: dtype


def get(array, index):
    """The number at a place."""
    found = array[index]
    return DualNumber(found.real, found.imag) if isinstance(found, complex) else found


def element_pointer(context, builder, kind, array, index):
    """A pointer to an element; no index counts from the end."""
    view = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, view, [index], wraparound=False)


def _is_array(array):
    """Whether a Numba type is of vectors of floats or of dual numbers."""
    return isinstance(array, types.Array) and array.ndim == 1 and isinstance(array.dtype, types.Float | types.Complex)


@intrinsic
def _get(typingctx, array, index):
    """The instruction of `get`."""
    if _is_array(array) and isinstance(index, types.Integer):

        def codegen(context, builder, signature, args):
            return builder.load(element_pointer(context, builder, array, *args), align=alignment_of(array.dtype))

        return number_of(array.dtype)(array, types.intp), codegen


@overload(get)
def _get_number(array, index):
    """`get` in compiled code."""
    return lambda array, index: _get(array, index)


def put(value, array, index):
    """Write a number at a place (the array is modified)."""
    array[index] = complex(value) if isinstance(value, DualNumber) else value


@intrinsic
def _put(typingctx, value, array, index):
    """The instruction of `put`."""
    if _is_array(array) and is_number(value) and isinstance(index, types.Integer):

        def codegen(context, builder, signature, args):
            converted = llvm_number(context, builder, args[0], value, number_of(array.dtype))
            builder.store(converted, element_pointer(context, builder, array, *args[1:]), align=alignment_of(array.dtype))
            return context.get_dummy_value()

        return types.void(value, array, types.intp), codegen


@overload(put)
def _put_number(value, array, index):
    """`put` in compiled code."""
    return lambda value, array, index: _put(value, array, index)


def _load_many(count):
    """A function that loads as many numbers as `count` says of a cell: a tuple; they are `stride` elements apart."""

    def load(cell, real, array, start, stride):
        return tuple(get(array, start + i * stride) for i in range(count(cell)))

    @intrinsic
    def load_tuple(typingctx, cell, array, start, stride):
        if _is_array(array):
            result = types.UniTuple(number_of(array.dtype), count(cell.cell))

            def codegen(context, builder, signature, args):
                _, elements, first, step = args
                values = []
                for i in range(result.count):
                    place = builder.add(first, builder.mul(step, step.type(i)))
                    pointer = element_pointer(context, builder, array, elements, place)
                    values.append(builder.load(pointer, align=alignment_of(array.dtype)))
                return context.make_tuple(builder, result, values)

            return result(cell, array, types.intp, types.intp), codegen

    @overload(load)
    def _load(cell, real, array, start, stride):
        return lambda cell, real, array, start, stride: load_tuple(cell, array, start, stride)

    return load


load_slots = _load_many(lambda cell: cell.slots)
load_saved = _load_many(lambda cell: cell.saved)
load_unit_values = _load_many(lambda cell: cell.unit_value_count)
load_drives = _load_many(lambda cell: cell.drive_count)
load_dpre = _load_many(lambda cell: cell.dpre_count)


def store_all(values, array, start, stride):
    """Write a tuple of numbers, `stride` elements apart from `start` on (the array is modified)."""
    for i, value in enumerate(values):
        put(value, array, start + i * stride)


@intrinsic
def _store_tuple(typingctx, values, array, start, stride):
    """The instructions of `store_all`."""
    if _is_array(array):

        def codegen(context, builder, signature, args):
            items, elements, first, step = args
            for i, kind in enumerate(values):
                item = llvm_number(context, builder, builder.extract_value(items, i), kind, number_of(array.dtype))
                place = builder.add(first, builder.mul(step, step.type(i)))
                builder.store(
                    item, element_pointer(context, builder, array, elements, place), align=alignment_of(array.dtype)
                )
            return context.get_dummy_value()

        return types.void(values, array, types.intp, types.intp), codegen


@overload(store_all)
def _store_all(values, array, start, stride):
    """`store_all` in compiled code."""
    return lambda values, array, start, stride: _store_tuple(values, array, start, stride)


@register_jitable
def _get_at(real, index, array):
    """`get` with the array last."""
    return get(array, index)


@register_jitable
def _put_at(value, index, array):
    """`put` with the array last."""
    put(value, array, index)


load_state, store_state, load_dstate, add_output, add_cells, by_projection = choices.choices(
    extending, _get_at, _put_at, _get_at, number
)


@register_jitable
def load_terms(cell, real, array, start, stride):
    """The pre-activations of the cell, from the slots that are their terms, `stride` elements apart."""
    return sum_terms(cell, load_slots(cell, real, array, start, stride))


def _look_up(values):
    """A function of a cell and an index that gives one of the integers `values` of the cell; 0 where it has none.

    A tuple that is indexed at run time would be kept in memory.
    """

    def find(cell, i):
        return values(cell)[i]

    @intrinsic
    def choose(typingctx, cell, i):
        constants = values(cell.cell)

        def codegen(context, builder, signature, args):
            found = context.get_constant(types.intp, constants[0] if constants else 0)
            for index, constant in enumerate(constants[1:], 1):
                here = builder.icmp_unsigned("==", args[1], args[1].type(index))
                found = builder.select(here, context.get_constant(types.intp, constant), found)
            return found

        return types.intp(cell, types.intp), codegen

    @overload(find)
    def _find(cell, i):
        return lambda cell, i: choose(cell, i)

    return find


input_gate = _look_up(lambda cell: cell.input_gates)
recurrent_gate = _look_up(lambda cell: cell.recurrent_gates)
gated_gate = _look_up(lambda cell: cell.gated_gates)


def _layer_norm_of_slots(cell):
    """Which of the cell's runs each slot belongs to."""
    return tuple(index for index, run in enumerate(cell.layer_norms) for _ in range(run.slots))


layer_norm_of = _look_up(_layer_norm_of_slots)  # which of its runs a slot of a cell that normalizes is in
