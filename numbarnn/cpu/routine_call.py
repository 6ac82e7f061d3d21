"""How a kernel calls a shared routine."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import INT64


@intrinsic
def invoke(typingctx, address, arguments):
    """Call the C function at `address` with a tuple of integers."""

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1], len(arguments))
        values = [context.cast(builder, v, t, types.int64) for v, t in zip(values, arguments.types)]
        pointer = ir.FunctionType(ir.VoidType(), [INT64] * len(values)).as_pointer()
        builder.call(builder.inttoptr(args[0], pointer), values)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), codegen
