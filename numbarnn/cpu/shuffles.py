"""Lanes of vectors that change places."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .vectors import INT64, llvm_alignment, llvm_floats_of, llvm_vector, vector_of


def _of_two(lane_of):
    """An intrinsic that chooses lanes of two vectors, the second's lanes counted after the first's.

    lane_of: from the number of a lane and how many a vector has to the lane that is taken.
    """

    @intrinsic
    def chosen(typingctx, a, b):
        lanes = llvm_floats_of(a, [lane_of(lane, a.lanes) for lane in range(a.lanes)])
        return a(a, b), lambda context, builder, signature, args: builder.shuffle_vector(*args, lanes)

    return chosen


even_lanes = _of_two(lambda lane, lanes: 2 * lane)


first_pairs = _of_two(lambda lane, lanes: lane // 2 + lane % 2 * lanes)  # a0, b0, a1, b1, ...


last_pairs = _of_two(lambda lane, lanes: lanes // 2 + lane // 2 + lane % 2 * lanes)


@intrinsic
def transpose(typingctx, real, source, source_row, target, target_row):
    """Write the transpose of a square as wide as a vector, its rows `source_row` bytes apart, there `target_row`."""
    vector = vector_of(real)

    def codegen(context, builder, signature, args):
        _, source, source_row, target, target_row = args
        pointer, align = llvm_vector(vector).as_pointer(), llvm_alignment(vector)

        def place(base, stride, i):
            return builder.inttoptr(builder.add(base, builder.mul(stride, ir.Constant(INT64, i))), pointer)

        rows = [builder.load(place(source, source_row, i), align=align) for i in range(vector.lanes)]
        distance = 1
        while distance < vector.lanes:  # swap the off-diagonal halves of squares twice as large each time
            lanes = range(vector.lanes)
            low = [j if not j & distance else vector.lanes + j - distance for j in lanes]
            high = [j + distance if not j & distance else vector.lanes + j for j in lanes]
            masks = [llvm_floats_of(vector, mask) for mask in (low, high)]
            for i in lanes:
                if not i & distance:
                    pair = rows[i], rows[i + distance]
                    rows[i], rows[i + distance] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            distance *= 2
        for i, row in enumerate(rows):
            builder.store(row, place(target, target_row, i), align=align)
        return context.get_dummy_value()

    return types.void(real, *[types.intp] * 4), codegen
