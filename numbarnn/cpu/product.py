"""The register-blocked product every kernel rests on: ``C[rows, columns] = S + A[rows, depth] @ B[depth, columns]``.

A panel keeps a tile of C in registers over the whole of `depth`: on AVX-512 6 rows by 4 vectors.  A may have any row
and depth stride, so a transposed operand needs no packing.  B is packed: `columns` contiguous numbers for each k.
The sum over k of one element has one order, whatever tile it falls in: a sample's result does not depend on its batch.
It is a sum of sums, each over a block of k that starts from zero: errors grow with the root of the block, not of `depth`.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..engine.inlined import inlined
from .vectors import (
    INT64,
    REGISTERS,
    VECTOR_BYTES,
    Dual,
    llvm_alignment,
    llvm_call,
    llvm_prefetch,
    llvm_scalar,
    llvm_splat,
    llvm_suffix,
    llvm_swapped,
    llvm_tangents,
    llvm_vector,
    vector_of,
)

MAX_VECTORS = 4  # widest panel, in vectors
LONGEST_BLOCK = 192  # numbers of a sum that are added one after the other; its error grows with the root of that
BLOCK_VECTORS = 576  # of B that stay in the L1 cache while the panels over A pass by: 36 KiB on AVX-512
PREFETCHING_ROWS = 4  # rows of a tile from which it has time to fetch what comes next: the following rows of B


def _tile_rows(vectors):
    """Rows of the tile: accumulators, one row of B and one broadcast value must fit in the registers."""
    return max(1, min(12, (REGISTERS - vectors - 1) // vectors))


B_ROW = 11  # place of b_row among the operands of a tile
STRIDES = (1, 3, 4, 6)  # places of c_row, s_row, s_vector and a_row
ROW_BLOCKS = (1, 8, 4, 4, 3)  # by vectors in a block: how many at most are summed side by side, on 16 registers as on 32
TILE_ROWS = (1,) + tuple(_tile_rows(v) for v in range(1, MAX_VECTORS + 1))
BLOCK_DEPTHS = (1,) + tuple(min(LONGEST_BLOCK, BLOCK_VECTORS // v) for v in range(1, MAX_VECTORS + 1))


def _emit_panel(
    builder, vector, rows, vectors, c, c_row, s, s_row, s_vector, a, a_row, a_depth, inner, a_jump, b, b_row, b_depth, depth,
    ahead,
):  # fmt: skip
    """LLVM code of one tile; addresses and strides in bytes, `depth` at least 1.

    s_vector: from one vector of a row of S to the next.  After `inner` numbers, A goes on `a_jump` bytes further instead of
    `a_depth`.  Either the rows share B, and `b_row` is None; or they share A, and have a B each.  ahead: what is read soon.
    """
    v, scalar, size = llvm_vector(vector), llvm_scalar(vector), llvm_alignment(vector)
    width = vector.floats * size

    def number(n):
        return ir.Constant(INT64, n)

    def vector_at(address):
        return builder.inttoptr(address, v.as_pointer())

    def offset(base, stride, count):
        return base if count == 0 else builder.add(base, builder.mul(stride, number(count)))

    fma = f"llvm.fmuladd.{llvm_suffix(vector)}"
    c_places, s_places = (
        [offset(offset(base, row, i), column, j) for i in range(rows) for j in range(vectors)]
        for base, row, column in ((c, c_row, number(width)), (s, s_row, s_vector))
    )
    zero = ir.Constant(v, [0.0] * vector.floats)
    before = builder.block
    loop = builder.append_basic_block("depth")
    after = builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    k, inside, a_k, b_k = (builder.phi(INT64) for _ in range(4))
    sums = [builder.phi(v) for _ in c_places]
    if b_row is None and rows >= PREFETCHING_ROWS:
        llvm_prefetch(builder, builder.add(ahead, builder.mul(k, number(width))))
    done = []
    for i in range(rows):
        if i == 0 or b_row is None:
            pointer = builder.inttoptr(offset(a_k, a_row, i), scalar.as_pointer())
            value = llvm_splat(builder, vector, builder.load(pointer, align=size))
            if isinstance(vector, Dual):
                tangent = llvm_splat(builder, vector, builder.load(builder.gep(pointer, [number(1)]), align=size))
                tangent = llvm_tangents(builder, vector, tangent)
        if i == 0 or b_row is not None:
            places = [builder.add(offset(b_k, b_row, i), number(j * width)) for j in range(vectors)]
            b_values = [builder.load(vector_at(place), align=size) for place in places]
        done += [llvm_call(builder, fma, [value, b_values[j], sums[i * vectors + j]]) for j in range(vectors)]
        if isinstance(vector, Dual):
            for j, b_value in enumerate(b_values):
                operands = tangent, llvm_swapped(builder, vector, b_value), done[i * vectors + j]
                done[i * vectors + j] = llvm_call(builder, fma, [*operands])
    k_next, inside_next, b_next = builder.add(k, number(1)), builder.add(inside, number(1)), builder.add(b_k, b_depth)
    jump = builder.icmp_signed("==", inside_next, inner)
    inside_next = builder.select(jump, number(0), inside_next)
    a_next = builder.add(a_k, builder.select(jump, a_jump, a_depth))
    starts, next_values = [number(0), number(0), a, b, *[zero] * len(sums)], [k_next, inside_next, a_next, b_next, *done]
    for phi, start, following in zip([k, inside, a_k, b_k, *sums], starts, next_values):
        phi.add_incoming(start, before)
        phi.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", k_next, depth), loop, after)
    builder.position_at_end(after)
    for place, start, value in zip(c_places, s_places, done):
        start = builder.load(vector_at(start), align=size)
        builder.store(builder.fadd(start, value), vector_at(place), align=size)


def _opaque(builder, value):
    """`value`, of which LLVM knows nothing before this place: what one tile makes of it is not made for all at each call."""
    kind = ir.FunctionType(value.type, [value.type])
    return builder.asm(kind, "", "=r,0", [value], side_effect=True)


@intrinsic
def _panel(
    typingctx, real, rows, vectors, c, c_row, s, s_row, s_vector, a, a_row, a_depth, inner, a_jump, b, b_depth, depth, ahead
):
    """One tile of `rows` by `vectors`: a switch over the tiles that exist."""
    vector = vector_of(real)

    def codegen(context, builder, signature, args):
        _, rows_, vectors_, *operands = args
        operands.insert(B_ROW, None)
        end = builder.append_basic_block("end")
        key = builder.add(builder.mul(vectors_, ir.Constant(INT64, 64)), rows_)
        switch = builder.switch(key, end)
        for count in range(1, MAX_VECTORS + 1):
            for height in range(1, TILE_ROWS[count] + 1):
                block = builder.append_basic_block(f"tile_{height}x{count}")
                switch.add_case(ir.Constant(INT64, 64 * count + height), block)
                builder.position_at_end(block)
                own = [_opaque(builder, operand) if i in STRIDES else operand for i, operand in enumerate(operands)]
                _emit_panel(builder, vector, height, count, *own)
                builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(real, *[types.intp] * 16), codegen


@intrinsic
def _quotient(typingctx, a, b):
    """``a // b`` of integers that are not negative and not 0: the processor's division, and nothing besides."""
    return types.intp(a, b), lambda context, builder, signature, args: builder.udiv(*args)


@inlined
def _equal_part(total, most):
    """How many of `total` things each of equal parts gets that hold `most` at most; the last part may get fewer."""
    if total <= most:
        return total
    parts = _quotient(total + most - 1, most)
    return _quotient(total + parts - 1, parts)


@inlined
def depth_block(depth, vectors):
    """Numbers in a block of a sum of one run, for a panel of so many vectors."""
    return _equal_part(depth, BLOCK_DEPTHS[vectors])


@inlined
def _depth_block(inner, depth, vectors, a_depth, a_outer):
    """(numbers in a block of a sum, bytes of A from one to the next): whole runs of `inner`, or equal parts of one run."""
    if inner >= depth:
        block = depth_block(depth, vectors)
        return block, block * a_depth
    runs = _equal_part(_quotient(depth + inner - 1, inner), max(1, _quotient(BLOCK_DEPTHS[vectors], inner)))
    return runs * inner, runs * a_outer


@inlined
def product(real, c, c_row, s, s_row, s_vector, a, a_row, a_depth, inner, a_outer, b, b_depth, depth, rows, vectors):
    """``C = S + A @ B``; S may be C itself, one row for all (`s_row` 0) or one vector (`s_vector` 0 too).

    c, s, a, b: addresses; c_row, s_row, s_vector, a_row, a_depth, b_depth: strides in bytes; depth: length of the sum;
    rows: of A and C; vectors: columns, counted in vectors.  The numbers of a row of A come in runs of `inner`, `a_depth`
    apart; runs start `a_outer` apart.
    """
    for first in range(0, vectors, MAX_VECTORS):
        place = first * VECTOR_BYTES
        _product(
            real, c + place, c_row, s + first * s_vector, s_row, s_vector, a, a_row, a_depth, inner, a_outer, b + place,
            b_depth, depth, rows, min(MAX_VECTORS, vectors - first),
        )  # fmt: skip


@inlined
def _product(real, c, c_row, s, s_row, s_vector, a, a_row, a_depth, inner, a_outer, b, b_depth, depth, rows, vectors):
    """`product` of no more columns than a panel has: 1 to MAX_VECTORS."""
    if rows == 0:
        return
    tile = TILE_ROWS[vectors]
    panels = _quotient(rows + tile - 1, tile)
    height = _quotient(rows, panels)
    taller = rows - height * panels  # so many panels, the first ones, have a row more
    block, a_block = _depth_block(inner, depth, vectors, a_depth, a_outer)
    fetched = _quotient(block, vectors) * b_depth  # of the next rows of B while one panel is at work, see `_emit_panel`
    start = 0
    while start < depth:
        ahead, done = b + block * b_depth, 0
        for panel in range(panels):
            mine = height + (1 if panel < taller else 0)
            _panel(
                real, mine, vectors, c + done * c_row, c_row, s + done * s_row, s_row, s_vector, a + done * a_row, a_row,
                a_depth, inner, a_outer - (inner - 1) * a_depth, b, b_depth, min(block, depth - start), ahead,
            )  # fmt: skip
            done += mine
            ahead += fetched if panel < vectors - 1 else 0
        s, s_row, s_vector = c, c_row, VECTOR_BYTES
        start, a, b = start + block, a + a_block, b + block * b_depth


@intrinsic
def _row_panel(
    typingctx, real, blocks, vectors, c, c_block, s, s_block, s_vector, a, a_depth, inner, a_jump, b, b_block, b_depth, depth
):
    """One row of A times some B, each of `vectors`: a switch over the numbers that exist."""
    vector = vector_of(real)

    def codegen(context, builder, signature, args):
        _, blocks_, vectors_, *operands, b, b_block, b_depth, depth = args
        *places, a, a_depth, inner, a_jump = operands
        end = builder.append_basic_block("end")
        switch = builder.switch(builder.add(builder.mul(vectors_, ir.Constant(INT64, 64)), blocks_), end)
        for count in range(1, MAX_VECTORS + 1):
            for together in range(1, ROW_BLOCKS[count] + 1):
                block = builder.append_basic_block(f"row_{together}x{count}")
                switch.add_case(ir.Constant(INT64, 64 * count + together), block)
                builder.position_at_end(block)
                _emit_panel(
                    builder, vector, together, count, *places, a, None, a_depth, inner, a_jump, b, b_block, b_depth, depth,
                    None,
                )  # fmt: skip
                builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(real, *[types.intp] * 15), codegen


@inlined
def row_product(
    real, c, c_block, s, s_block, s_vector, a, a_depth, inner, a_outer, b, b_block, b_depth, depth, vectors, blocks
):
    """``C[i] = S[i] + A @ B[i]`` for `blocks` operands B and one row of A; like `product` with as many calls, to the bit.

    One row alone waits for each sum before the next is added to it: several blocks are summed side by side.
    c_block, s_block, b_block: bytes from one block to the next; the rest as in `product`.
    """
    for first in range(0, vectors, MAX_VECTORS):
        place = first * VECTOR_BYTES
        _row_product(
            real, c + place, c_block, s + first * s_vector, s_block, s_vector, a, a_depth, inner, a_outer, b + place,
            b_block, b_depth, depth, min(MAX_VECTORS, vectors - first), blocks,
        )  # fmt: skip


@inlined
def _row_product(
    real, c, c_block, s, s_block, s_vector, a, a_depth, inner, a_outer, b, b_block, b_depth, depth, vectors, blocks
):
    """`row_product` of no more columns than a panel has."""
    if blocks == 0:
        return
    most = ROW_BLOCKS[vectors]
    turns = _quotient(blocks + most - 1, most)
    together = _quotient(blocks, turns)
    more = blocks - together * turns  # so many turns, the first ones, take a block more
    block, a_block = _depth_block(inner, depth, vectors, a_depth, a_outer)
    for turn in range(turns):
        mine = together + (1 if turn < more else 0)
        s_now, s_block_now, s_vector_now, a_now, b_now, start = s, s_block, s_vector, a, b, 0
        while start < depth:
            _row_panel(
                real, mine, vectors, c, c_block, s_now, s_block_now, s_vector_now, a_now, a_depth, inner,
                a_outer - (inner - 1) * a_depth, b_now, b_block, b_depth, min(block, depth - start),
            )  # fmt: skip
            s_now, s_block_now, s_vector_now = c, c_block, VECTOR_BYTES
            start, a_now, b_now = start + block, a_now + a_block, b_now + block * b_depth
        c, s, b = c + mine * c_block, s + mine * s_block, b + mine * b_block
