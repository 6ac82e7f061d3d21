"""A column of a matrix in the registers of a thread: COLUMN numbers, in PARTS parts of SHARE.

A part has `share` numbers of the matrix, then zeros: so that the sum of products has the order of `team.multiply`.  A
compiled column is that many values of the machine, which no index chooses from: an array would be memory unless the
compiler has unrolled all loops over it.
"""

from numba import types

from .device import SIMULATED, function
from .extending import COMPILED, intrinsic, overload
from .team import PARTS

if COMPILED:
    from llvmlite import ir
    from numba.cuda import cgutils

FOUR = 4  # numbers of shared memory that are loaded at once
SHARE = 4 if SIMULATED else 32
COLUMN = PARTS * SHARE
PIECE = SHARE // 4 if SHARE > FOUR else FOUR  # numbers of each part between two looks at where it ends


def _pointer(context, builder, kind, array, index):
    view = context.make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, view, [index], wraparound=False)


def column_of(source, start, stride, share, length):
    """A column of `length` numbers, `stride` apart in a source from `start` on."""
    there = [(part * share + i, i < share) for part in range(PARTS) for i in range(SHARE)]
    return tuple(source[start + k * stride] if own and k < length else type(source[0])(0) for k, own in there)


@intrinsic
def _column(typingctx, source, start, stride, share, length):
    """The instructions of `column_of`: all numbers are loaded, those behind a part's end are another one of the column."""
    result = types.UniTuple(source.dtype, COLUMN)

    def codegen(context, builder, signature, args):
        array, first, step, in_part, count = args
        zero = ir.Constant(context.get_value_type(source.dtype), 0)
        last, values = builder.sub(count, count.type(1)), []
        for index in range(COLUMN):
            part, i = divmod(index, SHARE)
            k = builder.add(builder.mul(in_part, in_part.type(part)), in_part.type(i))
            there = builder.and_(builder.icmp_signed(">", in_part, in_part.type(i)), builder.icmp_signed("<=", k, last))
            place = builder.add(first, builder.mul(builder.select(there, k, last), step))
            value = builder.load(_pointer(context, builder, source, array, place), align=source.dtype.bitwidth // 8)
            values.append(builder.select(there, value, zero))
        return context.make_tuple(builder, result, values)

    return result(source, *[types.intp] * 4), codegen


@overload(column_of)
def _column_compiled(source, start, stride, share, length):
    """`column_of` in compiled code."""
    return lambda source, start, stride, share, length: _column(source, start, stride, share, length)


def _piece(first):
    """A function that adds products of a column with a row of shared memory to the sums of the parts.

    It takes PIECE numbers of each part, the first of them at `first`.
    """

    def add(sums, column, shared, at):
        found = []
        for part, total in enumerate(sums):
            for i in range(part * SHARE + first, part * SHARE + first + PIECE):
                total += shared[at + i] * column[i]
            found.append(total)
        return tuple(found)

    @intrinsic
    def add_products(typingctx, sums, column, shared, at):
        def codegen(context, builder, signature, args):
            total, numbers, array, place = args
            vector = ir.VectorType(context.get_value_type(shared.dtype), FOUR)
            totals = [builder.extract_value(total, part) for part in range(PARTS)]
            for i in range(first, first + PIECE, FOUR):
                for part in range(PARTS):
                    begin = part * SHARE + i
                    pointer = _pointer(context, builder, shared, array, builder.add(place, place.type(begin)))
                    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()), align=16)
                    for j in range(FOUR):
                        one = builder.extract_element(loaded, ir.Constant(ir.IntType(32), j))
                        product = builder.fmul(one, builder.extract_value(numbers, begin + j))
                        totals[part] = builder.fadd(totals[part], product)
            return context.make_tuple(builder, sums, totals)

        return sums(sums, column, shared, types.intp), codegen

    @overload(add)
    def add_compiled(sums, column, shared, at):
        return lambda sums, column, shared, at: add_products(sums, column, shared, at)

    return add


_first, _second, _third, _fourth = (_piece(min(i * PIECE, SHARE - PIECE)) for i in range(4))


@function
def dot(real, column, shared, at, share):
    """The sum of products of a column with a row of shared memory from `at` on, which has zeros behind its parts."""
    sums = _first((real, real, real, real), column, shared, at)
    if share > PIECE:
        sums = _second(sums, column, shared, at)
    if share > 2 * PIECE:
        sums = _third(sums, column, shared, at)
    if share > 3 * PIECE:
        sums = _fourth(sums, column, shared, at)
    return sums[0] + sums[1] + sums[2] + sums[3]
