"""A row times a weight that is zero in most places, as of a reservoir: only where it is not zero, as lists.

Beside a weight in blocks lie lists of its numbers that are not zero, made of the block whenever that is packed: what is
zero is seen there, and nowhere assumed.  A list belongs to one vector of units and one block of a sum, see
`product.depth_block`: entry after entry each of its lanes has its next number, and the index of what that is multiplied
with.  A lane that has no more is filled with zeros.  Every lane adds in the order of `product`, which adds in between what
is zero times a finite number: the sums have its bits, but for the sign of a zero that is left of what underflows.
Where a number of the row is not finite, `product` itself does it all.

A block of units that is not zero in most places has no lists; a flag at its beginning says so.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..engine.inlined import inlined
from .blocks import block_vectors, entry, set_entry, share, vector_bytes, vectors_for, vectors_in
from .compiled import Task
from .extending import register_jitable
from .groups import PROJECTION, group_at
from .product import LONGEST_BLOCK, MAX_VECTORS, depth_block
from .records import FORWARD
from .routine_call import invoke, record_at
from .simd import fma, get, lanes, load, load_first, not_finite, put, size_of, splat, store
from .vectors import INT32, INT64, VECTOR_BYTES, lanes_of, llvm_alignment, llvm_scalar, llvm_vector, vector_of

LIST = 1.0  # cycles that a number in a list takes
CACHED, STREAMED = 1.0, 3.0  # cycles that a vector of a weight in blocks takes: in the second-level cache, or from behind it
CACHE_BYTES = 1 << 20  # of a weight that stays in that cache
SMALLEST = 1 << 17  # bytes of a weight from which lists are thought of
STEPS = 64  # of a call from which it pays to make them
SCATTERED = 2654435761  # whose multiples, modulo a size, are spread over it (Knuth 1998, The Art of Computer Programming 3)
SAMPLED, SAMPLES = 8, 251  # rows of a block, and numbers of a weight, that are looked at first
INDEX_BYTES, WORD, MOST_LANES = 2, 8, 16
SHORTEST_BLOCK = LONGEST_BLOCK // 4  # no block of a sum that has several is shorter
MOST_ROWS = 1 << 16  # indices have so many bits


def groups(size):
    """The groups of a `plans.Size` that may have lists: of weights that a state is multiplied with."""
    return [group for group in size.gate_groups[1:] if group.slots]


def entries(size, group):
    """How many entries the lists of a vector of units may have in all, so that they take less time than the whole."""
    nbytes = group.rows * group.columns * len(group.slots) * size.dtype.itemsize
    whole = CACHED if nbytes <= CACHE_BYTES else STREAMED * VECTOR_BYTES / 64
    return int(group.rows * whole / (LIST * lanes_of(size.dtype)))


def lists(size):
    """{field: numbers} of the lists."""
    lanes, item, found = lanes_of(size.dtype), size.dtype.itemsize, {}
    per_block = block_vectors(size.cell.slots)
    blocks = -(-vectors_in(size.hidden, size.dtype) // per_block)
    for group in groups(size):
        nbytes = lists_bytes(group.rows, per_block * len(group.slots), entries(size, group), lanes, item)
        found[f"{group.name}.lists"] = size.directions * blocks * nbytes // item
    return found


def pays(size, keep):
    """Whether lists may pay for one sequence: all of its steps read the same weights."""
    many = keep.what == "weights" or size.steps >= STEPS
    plain = size.dtype.kind == "f" and not size.cell.normalized_values
    return many and plain and size.packing.uniform and max(size.hidden, size.width) < MOST_ROWS


def looks_sparse(size, parameters):
    """Whether one of the weights seems to have few enough numbers that are not 0; kernels look at all of them.

    parameters: the vector from this layer's part on.
    """
    places, _ = size.parameters
    for group in groups(size):
        weight = parameters[places[group.weight] :][: group.rows * len(size.cell.gates) * size.hidden]
        seen = weight[np.arange(SAMPLES) * SCATTERED % weight.size] if weight.nbytes >= SMALLEST else None
        if seen is not None and int((seen != 0).sum()) <= SAMPLES * entries(size, group) / group.rows:
            return True
    return False


@register_jitable
def header_words(rows, vectors):
    """Words of the lists of a block before the numbers: whether there are any, their lengths, and how far lanes are."""
    return 1 + vectors * (1 + rows // SHORTEST_BLOCK) + MOST_LANES


@register_jitable
def lists_bytes(rows, vectors, most, width, size):
    """Bytes of the lists of a block of so many vectors, each of `most` entries; width, size: lanes and bytes of a number."""
    words = (header_words(rows, vectors) + 7) // 8 * 8
    numbers = vectors * most * width
    return words * WORD + (numbers * (size + INDEX_BYTES) + 63) // 64 * 64


@inlined
def places(real, rows, vectors, most):
    """(offset of the numbers, of the indices, bytes of all) in the lists of a block."""
    numbers = (header_words(rows, vectors) + 7) // 8 * 8 * WORD
    indices = numbers + vectors * most * vector_bytes(real)
    return numbers, indices, lists_bytes(rows, vectors, most, lanes(real), size_of(real))


@intrinsic
def put_index(typingctx, index, address):
    """Write an index at an address."""
    kind = ir.IntType(8 * INDEX_BYTES)

    def codegen(context, builder, signature, args):
        place = builder.inttoptr(args[1], kind.as_pointer())
        builder.store(builder.trunc(args[0], kind), place, align=INDEX_BYTES)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def gathered(typingctx, real, a, indices):
    """The numbers of a row at address `a` that a vector of indices names."""
    vector, kind = vector_of(real), ir.IntType(8 * INDEX_BYTES)

    def codegen(context, builder, signature, args):
        _, a, indices = args
        row, first = builder.inttoptr(a, llvm_scalar(vector).as_pointer()), builder.inttoptr(indices, kind.as_pointer())
        value = ir.Constant(llvm_vector(vector), ir.Undefined)
        for lane in range(vector.lanes):
            index = builder.load(builder.gep(first, [ir.Constant(INT64, lane)]), align=INDEX_BYTES)
            number = builder.load(builder.gep(row, [builder.zext(index, INT64)]), align=llvm_alignment(vector))
            value = builder.insert_element(value, number, ir.Constant(INT32, lane))
        return value

    return vector(real, types.intp, types.intp), codegen


@inlined
def mostly_zero(real, weight, rows, vectors):
    """Whether a block of a weight has zeros in most of the places of some rows that are far apart."""
    count, numbers = 0, vectors * lanes(real)
    for i in range(SAMPLED):
        row = weight + i * rows // SAMPLED * numbers * size_of(real)
        for j in range(numbers):
            if get(real, row + j * size_of(real)) != 0:
                count += 1
    return 2 * count < SAMPLED * numbers


@inlined
def make_lists(real, weight, rows, vectors, most, lists):
    """Write the lists of a block of a weight, `rows` rows of so many vectors, if they have room."""
    numbers, indices, _ = places(real, rows, vectors, most)
    width, size, vector = lanes(real), size_of(real), vector_bytes(real)
    count, lane_counts = lists + WORD, lists + (header_words(rows, vectors) - MOST_LANES) * WORD
    set_entry(lists, 0, 0)
    if not mostly_zero(real, weight, rows, vectors):
        return
    used = 0
    for v in range(vectors):
        block = depth_block(rows, min(MAX_VECTORS, vectors - v // MAX_VECTORS * MAX_VECTORS))
        for start in range(0, rows, block):
            for lane in range(width):
                set_entry(lane_counts, lane, 0)
            longest = 0
            for k in range(start, min(rows, start + block)):
                source = weight + (k * vectors + v) * vector
                for lane in range(width):
                    value = get(real, source + lane * size)
                    if value != 0:  # NaN is one of these
                        at = entry(lane_counts, lane)
                        if at == longest:
                            if used + longest == vectors * most:
                                return
                            store(splat(real, 0), lists + numbers + (used + longest) * vector)
                            for each in range(width):
                                put_index(0, lists + indices + ((used + longest) * width + each) * INDEX_BYTES)
                            longest += 1
                        put(value, lists + numbers + (used + at) * vector + lane * size)
                        put_index(k, lists + indices + ((used + at) * width + lane) * INDEX_BYTES)
                        set_entry(lane_counts, lane, at + 1)
            set_entry(count, 0, longest)
            count += WORD
            used += longest
    set_entry(lists, 0, 1)


@Task
def lists_task(cell, number, record, index):
    """The lists of some blocks of a direction's weights, which are packed."""
    real, call = number(0), record_at(record, FORWARD)[0]
    direction, part = index // call.parts, index % call.parts
    units = vectors_for(real, call.hidden)
    first, blocks = share((units + call.per_block - 1) // call.per_block, call.parts, part)
    for number_of_group in range(PROJECTION):
        group = group_at(call, number_of_group)
        if group.entries:
            row = group.slots * vector_bytes(real)
            weight = group.weight + direction * units * group.rows * row
            for block in range(first, first + blocks):
                before = block * call.per_block
                vectors = min(call.per_block, units - before) * group.slots
                lists, _ = lists_of(real, call, group, direction, block)
                make_lists(real, weight + before * group.rows * row, group.rows, vectors, group.entries, lists)


@inlined
def lists_of(real, call, group, direction, block):
    """(address of the lists of a block of a group's weight, bytes from one block's to the next)."""
    blocks = (vectors_for(real, call.hidden) + call.per_block - 1) // call.per_block
    one = lists_bytes(group.rows, call.per_block * group.slots, group.entries, lanes(real), size_of(real))
    return group.lists + (direction * blocks + block) * one, one


@inlined
def add_lists(real, lists, rows, vectors, most, a, target):
    """Add the product of a row and the numbers in the lists of a block to the vectors at `target`."""
    numbers, indices, _ = places(real, rows, vectors, most)
    count, value, index = lists + WORD, lists + numbers, lists + indices
    for v in range(vectors):
        place = target + v * vector_bytes(real)
        total = load(real, place)
        block = depth_block(rows, min(MAX_VECTORS, vectors - v // MAX_VECTORS * MAX_VECTORS))
        for _ in range(0, rows, block):
            part = splat(real, 0)
            for _ in range(entry(count, 0)):
                part = fma(gathered(real, a, index), load(real, value), part)
                value += vector_bytes(real)
                index += lanes(real) * INDEX_BYTES
            total = total + part
            count += WORD
        store(total, place)


@inlined
def is_finite(real, a, rows):
    """Whether all numbers of a row are finite."""
    wrong, whole = 0, rows // lanes(real) * lanes(real)
    for i in range(0, whole, lanes(real)):
        wrong |= not_finite(load(real, a + i * size_of(real)))
    return not wrong | not_finite(load_first(real, a + whole * size_of(real), rows - whole))


@inlined
def sparse_product(real, row_product, lists, one, most, a, rows, weight, vectors, target, target_block, blocks, descending):
    """Add the products of a row and some blocks of a weight to what is at `target`, by lists where there are some.

    lists, one: of the first block, and from one block's to the next; most: entries of a vector; a: the row, of `rows`
    numbers; weight: the first block, each of so many vectors; target_block: from one block's target to the next; descending:
    whether the last of those without lists comes first.
    """
    vector, some, dense = vector_bytes(real), 0, 0  # blocks with lists, and those without, right before this one
    for index in range(blocks):
        some |= entry(lists + index * one, 0)
    if some and not is_finite(real, a, rows):
        some = 0
    for index in range(blocks + 1):
        listed = index < blocks and some and entry(lists + index * one, 0)
        if dense and (listed or index == blocks):
            first, step, row = index - dense, target_block, vectors * vector
            b, b_block, place = weight + first * rows * row, rows * row, target + first * target_block
            if descending:
                b, b_block, place, step = b + (dense - 1) * b_block, -b_block, place + (dense - 1) * step, -step
            invoke(
                row_product,
                real,
                (
                    place, step, place, step, vector, a, size_of(real), rows, 0, b, b_block, row, rows, vectors,
                    dense,
                ),
            )  # fmt: skip
            dense = 0
        if listed:
            add_lists(real, lists + index * one, rows, vectors, most, a, target + index * target_block)
        else:
            dense += 1
