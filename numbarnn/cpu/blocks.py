"""Memory in blocks of hidden units: where things lie, and how rows get there and back."""

from numba import types
from numba.extending import intrinsic

from ..engine.inlined import inlined
from .extending import register_jitable
from .product import MAX_VECTORS
from .shuffles import transpose
from .simd import differs, get, lanes, load, load_first, not_finite, put, size_of, splat, store, store_first
from .vectors import INT64, lanes_of

PACKED_ROWS = 8  # rows of a weight that are packed together


def block_vectors(slots):
    """Vectors of units in a block: as many as keep all its slots within one panel of the product, or one."""
    return max(1, MAX_VECTORS // slots)


def vectors_in(count, dtype):
    """Vectors that hold `count` numbers."""
    return -(-count // lanes_of(dtype))


def packed_size(rows, hidden, slots, dtype):
    """Numbers in a weight in blocks."""
    return rows * vectors_in(hidden, dtype) * lanes_of(dtype) * slots


def transposed_size(rows, hidden, slots, dtype):
    """Numbers in a transposed weight, its rows padded."""
    return packed_size(vectors_in(rows, dtype) * lanes_of(dtype), hidden, slots, dtype)


@intrinsic
def entry(typingctx, table, index):
    """Entry `index` of a table of 64-bit integers at address `table`."""

    def codegen(context, builder, signature, args):
        return builder.load(builder.gep(builder.inttoptr(args[0], INT64.as_pointer()), [args[1]]))

    return types.intp(types.intp, types.intp), codegen


@intrinsic
def set_entry(typingctx, table, index, value):
    """Write entry `index` of a table of 64-bit integers at address `table`."""

    def codegen(context, builder, signature, args):
        builder.store(args[2], builder.gep(builder.inttoptr(args[0], INT64.as_pointer()), [args[1]]))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@inlined
def share(total, parts, part):
    """(first, number) of the items of `total` that `part` of `parts` gets."""
    first = total * part // parts
    return first, total * (part + 1) // parts - first


@inlined
def vectors_for(real, count):
    """Vectors that hold `count` numbers."""
    return (count + lanes(real) - 1) // lanes(real)


@inlined
def vector_bytes(real):
    """Bytes of one vector."""
    return lanes(real) * size_of(real)


@register_jitable
def spread(vectors):
    """Vectors in a row of `vectors`: an odd number of them, so that rows spread over all sets of a cache."""
    return vectors | 1


@inlined
def spread_row(real, vectors):
    """Bytes of such a row."""
    return spread(vectors) * vector_bytes(real)


@inlined
def unit_place(real, unit_vector, unit_vectors, rows, row, slots, per_block):
    """(offset of the first slot, stride between slots), in bytes, of a vector of units of one row in blocks."""
    before = unit_vector // per_block * per_block
    vectors = min(per_block, unit_vectors - before)
    vector = vector_bytes(real)
    return ((before * rows + row * vectors) * slots + unit_vector - before) * vector, vectors * vector


@inlined
def copy_rows(
    real, source, step_table, step_stride, start_table, row_stride, stride, table, time, count, time_step, first, end,
    row_step, columns, target, target_row,
):  # fmt: skip
    """Write rows of `count` steps, from `time` on, one after the other, `target_row` bytes apart.

    source, step_table, step_stride, start_table, row_stride, stride: where the rows lie, as in `records.ROWS`; table: of
    blocks, or 0; time_step: 1, or -1 to go back in time; first, end, row_step: which rows of a step, if they are at work.
    """
    size, width = size_of(real), lanes(real)
    for _ in range(count):
        step = source + (entry(step_table, time) if step_table else time) * step_stride
        working = entry(table, time + 3) - entry(table, time + 2) if table else end
        for r in range(first, min(end, working), row_step):
            row = step + (entry(start_table, r) if start_table else r * row_stride)
            if stride == size:
                for i in range(0, columns, width):
                    store_first(load_first(real, row + i * size, columns - i), target + i * size, columns - i)
            else:
                for i in range(columns):
                    put(get(real, row + i * stride), target + i * size)
            target += target_row
        time += time_step


@inlined
def clear(real, target, vectors):
    """Write zeros over `vectors` whole vectors."""
    zero = splat(real, 0)
    for i in range(vectors):
        store(zero, target + i * vector_bytes(real))


@inlined
def pack(real, weight, rows, hidden, gates, gate_of_slot, slots, per_block, first, count, target):
    """Rows ``first : first + count`` of a weight ``(rows, gates, hidden)``, in blocks; returns 1 for a wrong number, or 0.

    weight, target: addresses; gate_of_slot: address of a table, the gate that feeds each slot.  `target` is modified where
    it has other bits: to read what is there costs half of what it takes to write it again.  A wrong number is one that is
    not finite, whether it is written or has been there.
    """
    size, width, wrong = size_of(real), lanes(real), 0
    unit_vectors = vectors_for(real, hidden)
    # Some rows at a time, so that neither what is read nor what is written goes from page to page.
    for begin in range(first, first + count, PACKED_ROWS):
        end = min(begin + PACKED_ROWS, first + count)
        for unit_vector in range(unit_vectors):
            first_place, slot_stride = unit_place(real, unit_vector, unit_vectors, rows, begin, slots, per_block)
            row_stride = unit_place(real, unit_vector, unit_vectors, rows, begin + 1, slots, per_block)[0] - first_place
            unit = unit_vector * width
            for row in range(begin, end):
                source, to = weight + (row * gates * hidden + unit) * size, target + first_place + (row - begin) * row_stride
                for slot in range(slots):
                    place = source + entry(gate_of_slot, slot) * hidden * size
                    value = load(real, place) if hidden - unit >= width else load_first(real, place, hidden - unit)
                    wrong |= not_finite(value)
                    if differs(value, load(real, to + slot * slot_stride)):
                        store(value, to + slot * slot_stride)
    return wrong


@inlined
def unpack(real, packed, hidden, gates, gate_of_slot, slots, before, vectors, rows, accumulate, weight):
    """Write, or with `accumulate` add, rows of one block of units to a weight ``(rows, gates, hidden)`` (modified).

    packed: address of ``(rows, (slot, unit))``; before, vectors: the block's first vector of units, and their number.
    """
    size, width, vector = size_of(real), lanes(real), vector_bytes(real)
    for row in range(rows):
        for slot in range(slots):
            for v in range(vectors):
                unit = (before + v) * width
                target = weight + ((row * gates + entry(gate_of_slot, slot)) * hidden + unit) * size
                value = load(real, packed + ((row * slots + slot) * vectors + v) * vector)
                if accumulate:
                    value = value + load_first(real, target, hidden - unit)
                store_first(value, target, hidden - unit)


@inlined
def pack_transposed(real, weight, rows, hidden, gates, gate_of_slot, slots, per_block, first, count, target):
    """A weight ``(rows, gates, hidden)`` as ``[panels over rows, (block, slot, unit), row]``.

    Each panel holds up to MAX_VECTORS vectors of rows; padded units and rows are zeros.  Only the vectors of rows
    ``first : first + count`` of `target` are written.
    """
    size, width = size_of(real), lanes(real)
    unit_vectors, row_vectors = vectors_for(real, hidden), vectors_for(real, rows)
    depth = unit_vectors * slots * width
    for row_vector in range(first, first + count):
        panel = row_vector // MAX_VECTORS * MAX_VECTORS
        stride = min(MAX_VECTORS, row_vectors - panel) * width * size
        column = target + (panel * depth + row_vector - panel) * width * size
        first_row = row_vector * width
        valid = min(width, rows - first_row)
        for unit_vector in range(unit_vectors):
            units = min(width, hidden - unit_vector * width)
            place, slot_stride = unit_place(real, unit_vector, unit_vectors, 1, 0, slots, per_block)
            for slot in range(slots):
                k = column + (place + slot * slot_stride) // size * stride
                gate = entry(gate_of_slot, slot)
                source = weight + ((first_row * gates + gate) * hidden + unit_vector * width) * size
                if units == width and valid == width:
                    transpose(real, source, gates * hidden * size, k, stride)
                    continue
                for lane in range(width):
                    store(splat(real, 0), k + lane * stride)
                for lane in range(units):
                    for i in range(valid):
                        put(get(real, source + (i * gates * hidden + lane) * size), k + lane * stride + i * size)
