"""Cells inside kernels: an opaque Numba type each, whose methods are the Python equations, on one number a thread.

A function here is what the simulator runs, on a cell and Python's numbers.  The compiled kernel gets what the overload
beside it makes of it: numbers then are of the type `number.Number`.  Places are a 1-D array and an index.
"""

import functools

from numba import types

from ..cells import Cell
from ..cells.normalized import SHRINK_DOUBLE, SHRINK_SINGLE
from .extending import (
    COMPILED,
    AttributeTemplate,
    infer_getattr,
    intrinsic,
    lower_getattr_generic,
    models,
    overload,
    overload_method,
    register_model,
)
from .functions import Equations, constant_type, llvm_constant
from .number import Number, as_number, is_number, llvm_number
from .number import plain as _plain_number

if COMPILED:
    from numba.cuda import cgutils


class CellType(Equations):
    """The Numba type of one cell."""

    @property
    def cell(self):
        """The cell itself."""
        return self.owner


register_model(CellType)(models.OpaqueModel)


class CellArgument:
    """What a compiled kernel is launched with in the place of a cell, which the CPU's kernels know by another type."""

    def __init__(self, cell):
        self._numba_type_ = CellType.of(cell)


def argument(cell):
    """What a kernel is launched with for a cell: the cell itself in the simulator."""
    if not COMPILED:
        return cell
    return cell._device_argument


Cell._device_argument = functools.cached_property(CellArgument)
Cell._device_argument.__set_name__(Cell, "_device_argument")


class CellArguments:
    """An extension for the launch of kernels (``extensions=`` of the decorator): a cell is passed as a null pointer."""

    @staticmethod
    def prepare_args(ty, val, stream, retr):
        """(type, value) of an argument as numba-cuda can pass it on."""
        return (types.uintp, 0) if isinstance(ty, CellType) else (ty, val)


@infer_getattr
class CellAttributes(AttributeTemplate):
    """What kernels may read of a cell: numbers, tuples of them, activation functions, a cell inside."""

    key = CellType

    def generic_resolve(self, cell, name):
        return _attribute_type(cell.cell, name)


def _attribute_type(cell, name):
    value = _attribute_value(cell, name)
    return CellType.of(value) if isinstance(value, Cell) else constant_type(value)


def _attribute_value(cell, name):
    value = getattr(cell, name, None)
    return int(value) if name == "normalizes_cell" else value


@lower_getattr_generic(CellType)
def _attribute(context, builder, kind, value, name):
    return llvm_constant(context, builder, _attribute_type(kind.cell, name), _attribute_value(kind.cell, name))


@overload_method(CellType, "forward", strict=False)
def _forward(self, pre, state, given):
    return self.method("forward")


@overload_method(CellType, "adjoint", strict=False)
def _adjoint(self, saved, state, new, dnew, given):
    return self.method("adjoint")


@overload_method(CellType, "gate", strict=False)
def _gate(self, pre, state, given):
    return self.method("gate")


@overload_method(CellType, "gate_adjoint", strict=False)
def _gate_adjoint(self, saved, state, doperand, dpre, dstate, given):
    return self.method("gate_adjoint")


@overload_method(CellType, "inverse_deviation", strict=False)
def _inverse_deviation(self, variance, factor):
    return self.method("inverse_deviation")


@overload_method(CellType, "normalized", strict=False)
def _normalized(self, a, mean, scale):
    return self.method("normalized")


@overload_method(CellType, "normalized_adjoint", strict=False)
def _normalized_adjoint(self, dy, y, scale, mean_dy, mean_dy_y):
    return self.method("normalized_adjoint")


# A kernel asks for these two where the cell `normalizes_cell`; for one that does not, it never comes there, but is typed.


@overload_method(CellType, "output", strict=False)
def _output(self, o, c):
    return self.method("output") if self.cell.normalizes_cell else lambda self, o, c: o


@overload_method(CellType, "output_adjoint", strict=False)
def _output_adjoint(self, saved, c, dh):
    return self.method("output_adjoint") if self.cell.normalizes_cell else lambda self, saved, c, dh: (dh, dh)


def number(real, x):
    """`x` as a number of the dtype of `real`."""
    return type(real)(x)


@overload(number)
def _number(real, x):
    if is_number(x):
        return lambda real, x: as_number(real, x)


def shrinking(real):
    """What numbers are multiplied with whose squares are too large for the dtype of `real`."""
    return type(real)(SHRINK_SINGLE if real.itemsize == 4 else SHRINK_DOUBLE)


@overload(shrinking)
def _shrinking(real):
    factor = SHRINK_SINGLE if real.bitwidth == 32 else SHRINK_DOUBLE
    return lambda real: as_number(real, factor)


def plain(x):
    """A number as the float that Numba knows, for its own functions and arrays."""
    return x


@overload(plain)
def _plain(x):
    if isinstance(x, Number):
        return lambda x: _plain_number(x)
    return lambda x: x


def dtype_of(real):
    """The dtype of a number, for an array made in a kernel."""
    return type(real)


@overload(dtype_of)
def _dtype_of(real):
    dtype = getattr(real, "dtype", real)
    return lambda real: dtype


def get(array, index):
    """The number at a place."""
    return array[index]


def element_pointer(context, builder, kind, array, index):
    """A pointer to an element; no index counts from the end."""
    view = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, view, [index], wraparound=False)


def _is_array(array):
    return isinstance(array, types.Array) and array.ndim == 1 and isinstance(array.dtype, types.Float)


@intrinsic
def _get(typingctx, array, index):
    if _is_array(array) and isinstance(index, types.Integer):

        def codegen(context, builder, signature, args):
            return builder.load(element_pointer(context, builder, array, *args), align=array.dtype.bitwidth // 8)

        return Number(array.dtype)(array, types.intp), codegen


@overload(get)
def _get_number(array, index):
    return lambda array, index: _get(array, index)


def put(value, array, index):
    """Write a number at a place (the array is modified)."""
    array[index] = value


@intrinsic
def _put(typingctx, value, array, index):
    if _is_array(array) and is_number(value) and isinstance(index, types.Integer):

        def codegen(context, builder, signature, args):
            converted = llvm_number(context, builder, args[0], value, Number(array.dtype))
            builder.store(converted, element_pointer(context, builder, array, *args[1:]), align=array.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(value, array, types.intp), codegen


@overload(put)
def _put_number(value, array, index):
    return lambda value, array, index: _put(value, array, index)


def _load_many(count):
    """A function that loads as many numbers as `count` says of a cell: a tuple; they are `stride` elements apart."""

    def load(cell, real, array, start, stride):
        return tuple(get(array, start + i * stride) for i in range(count(cell)))

    @intrinsic
    def load_tuple(typingctx, cell, array, start, stride):
        if _is_array(array):
            result = types.UniTuple(Number(array.dtype), count(cell.cell))

            def codegen(context, builder, signature, args):
                _, elements, first, step = args
                values = []
                for i in range(result.count):
                    place = builder.add(first, builder.mul(step, step.type(i)))
                    pointer = element_pointer(context, builder, array, elements, place)
                    values.append(builder.load(pointer, align=array.dtype.bitwidth // 8))
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
    if _is_array(array):

        def codegen(context, builder, signature, args):
            items, elements, first, step = args
            for i, kind in enumerate(values):
                item = llvm_number(context, builder, builder.extract_value(items, i), kind, Number(array.dtype))
                place = builder.add(first, builder.mul(step, step.type(i)))
                builder.store(
                    item, element_pointer(context, builder, array, elements, place), align=array.dtype.bitwidth // 8
                )
            return context.get_dummy_value()

        return types.void(values, array, types.intp, types.intp), codegen


@overload(store_all)
def _store_all(values, array, start, stride):
    return lambda values, array, start, stride: _store_tuple(values, array, start, stride)


def joined(values, others):
    """One tuple of two."""
    return values + others


@overload(joined)
def _joined(values, others):
    if len(others) == 0:
        return lambda values, others: values
    if len(values) == 0:
        return lambda values, others: others
    return lambda values, others: values + others


def load_state(cell, h, h_index, c, c_index):
    """The state tuple: what is in the arrays `h` and, where the cell has one, `c`; 0 for an h that is no unit's."""
    if cell.states == 1:
        return (get(h, h_index),)
    if cell.projected:
        return number(get(c, c_index), 0), get(c, c_index)
    return get(h, h_index), get(c, c_index)


@overload(load_state)
def _load_state(cell, h, h_index, c, c_index):
    if cell.cell.states == 1:
        return lambda cell, h, h_index, c, c_index: (get(h, h_index),)
    if cell.cell.projected:

        def cell_alone(cell, h, h_index, c, c_index):
            value = get(c, c_index)
            return number(value, 0), value

        return cell_alone
    return lambda cell, h, h_index, c, c_index: (get(h, h_index), get(c, c_index))


def store_state(cell, state, h, h_index, c, c_index):
    """Write the state tuple to the arrays `h` and, where the cell has one, `c` (are modified)."""
    put(state[0], h, h_index)
    if cell.states == 2:
        put(state[1], c, c_index)


@overload(store_state)
def _store_state(cell, state, h, h_index, c, c_index):
    if cell.cell.states == 1:
        return lambda cell, state, h, h_index, c, c_index: put(state[0], h, h_index)

    def both(cell, state, h, h_index, c, c_index):
        put(state[0], h, h_index)
        put(state[1], c, c_index)

    return both


def load_dstate(cell, dh, dh_index, dc, dc_index):
    """The derivatives of the state."""
    if cell.states == 1:
        return (get(dh, dh_index),)
    return get(dh, dh_index), get(dc, dc_index)


@overload(load_dstate)
def _load_dstate(cell, dh, dh_index, dc, dc_index):
    if cell.cell.states == 1:
        return lambda cell, dh, dh_index, dc, dc_index: (get(dh, dh_index),)
    return lambda cell, dh, dh_index, dc, dc_index: (get(dh, dh_index), get(dc, dc_index))


def add_output(cell, dstate, dy, index):
    """`dstate` with the output's derivative at a place added to that of h: the output of a step is its h.

    Where that is projected, it has been added before.
    """
    if cell.projected:
        return dstate
    return (dstate[0] + get(dy, index), *dstate[1:])


@overload(add_output)
def _add_output(cell, dstate, dy, index):
    if cell.cell.projected:
        return lambda cell, dstate, dy, index: dstate
    if cell.cell.states == 1:
        return lambda cell, dstate, dy, index: (dstate[0] + get(dy, index),)
    return lambda cell, dstate, dy, index: (dstate[0] + get(dy, index), dstate[1])


def add_cells(cell, dstate, dcells):
    """`dstate` with the derivative of a step's c added."""
    if cell.states == 1:
        return dstate
    return dstate[0], dstate[1] + dcells


@overload(add_cells)
def _add_cells(cell, dstate, dcells):
    if cell.cell.states == 1:
        return lambda cell, dstate, dcells: dstate
    return lambda cell, dstate, dcells: (dstate[0], dstate[1] + dcells)


def by_projection(cell, plain, projected):
    """`plain`, or for a cell whose h is projected the other; chosen when the kernel is compiled."""
    return projected if cell.projected else plain


@overload(by_projection)
def _by_projection(cell, plain, projected):
    if cell.cell.projected:
        return lambda cell, plain, projected: projected
    return lambda cell, plain, projected: plain


def runs(cell):
    """The cell's runs of slots that are normalized together, as tuples (first, slots, term)."""
    return tuple((run.first, run.slots, run.term) for run in cell.runs)


@overload(runs)
def _runs(cell):
    constant = runs(cell.cell)
    return lambda cell: constant


def _slots_of_terms(cell):
    """For each pre-activation of a cell that normalizes, the slots that are its terms."""
    slots = [[] for _ in range(cell.terms)]
    for run in cell.runs:
        for slot in range(run.slots):
            slots[run.term + slot].append(run.first + slot)
    return slots


def load_terms(cell, real, array, start, stride):
    """The pre-activations of the cell, from the slots that are their terms, `stride` elements apart."""
    values = load_slots(cell, real, array, start, stride)
    return tuple(functools.reduce(lambda a, b: a + b, (values[s] for s in slots)) for slots in _slots_of_terms(cell))


@intrinsic
def _sum_terms(typingctx, cell, values):
    terms = _slots_of_terms(cell.cell)
    result = types.UniTuple(values.dtype, len(terms))

    def codegen(context, builder, signature, args):
        sums = [functools.reduce(builder.fadd, (builder.extract_value(args[1], s) for s in slots)) for slots in terms]
        return context.make_tuple(builder, result, sums)

    return result(cell, values), codegen


@overload(load_terms)
def _load_terms(cell, real, array, start, stride):
    return lambda cell, real, array, start, stride: _sum_terms(cell, load_slots(cell, real, array, start, stride))


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


def _run_of_slots(cell):
    return tuple(index for index, run in enumerate(cell.runs) for _ in range(run.slots))


run_of = _look_up(_run_of_slots)  # which of its runs a slot of a cell that normalizes is in
