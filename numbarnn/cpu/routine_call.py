"""How a task reads its record and the arrays it names, and calls a shared routine."""

from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..engine.inlined import inlined
from .failures import emit_call, emit_raise, integers_of


@intrinsic
def invoke(typingctx, address, real, arguments):
    """Call the C function at `address` with a number of its dtype and a tuple of integers; what it raises is raised here."""

    def codegen(context, builder, signature, args):
        values = [args[1], *integers_of(context, builder, arguments, args[2])]
        emit_raise(context, builder, emit_call(builder, args[0], values))
        return context.get_dummy_value()

    return types.void(types.intp, real, arguments), codegen


@intrinsic
def _pointer(typingctx, address):
    """An address as the pointer that carray takes."""
    byte = ir.IntType(8).as_pointer()
    return types.voidptr(address), lambda context, builder, signature, args: builder.inttoptr(args[0], byte)


@intrinsic
def copy_bytes(typingctx, source, target, count):
    """Copy so many bytes from one address to another."""

    def codegen(context, builder, signature, args):
        source, target = (builder.inttoptr(address, cgutils.voidptr_t) for address in args[:2])
        cgutils.raw_memmove(builder, target, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), codegen


@inlined
def record_at(address, dtype):
    """The record of type `dtype` at `address`, as an array of one."""
    return carray(_pointer(address), 1, dtype)


@inlined
def numbers_at(number, address, count):
    """`count` numbers at an address, of the dtype that `number` is the class of, as an array."""
    return carray(_pointer(address), count, number)
