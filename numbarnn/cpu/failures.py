"""How what a C function raises gets to whoever called it, without Python: a helper must not wait for Python's lock.

A C function returns the address of what describes its exception, or 0; `engine.pipelines` makes it so.  Numba describes an
exception by constants of the function's own machine code, which stay as long as the process.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.callconv import RETCODE_USEREXC, excinfo_ptr_t
from numba.extending import intrinsic

from .vectors import INT64


def emit_call(builder, address, values):
    """Emit the call of the C function at an address; gives what it returns."""
    pointer = ir.FunctionType(INT64, [value.type for value in values]).as_pointer()
    return builder.call(builder.inttoptr(address, pointer), values)


def emit_raise(context, builder, error):
    """Emit that the function raises what is described at an address, unless that is 0."""
    with builder.if_then(builder.icmp_unsigned("!=", error, INT64(0)), likely=False):
        described = builder.inttoptr(error, excinfo_ptr_t)
        status = context.call_conv._get_return_status(builder, RETCODE_USEREXC, described)
        context.call_conv.return_status_propagate(builder, status)


def integers_of(context, builder, arguments, values):
    """The values of a tuple of integers, 64 bits each."""
    values = cgutils.unpack_tuple(builder, values, len(arguments))
    return [context.cast(builder, v, t, types.int64) for v, t in zip(values, arguments.types)]


@intrinsic
def error_of_call(typingctx, address, arguments):
    """Call the C function at an address, with a tuple of integers; what describes its exception, or 0."""

    def codegen(context, builder, signature, args):
        return emit_call(builder, args[0], integers_of(context, builder, arguments, args[1]))

    return types.int64(types.intp, arguments), codegen


@intrinsic
def call_or_raise(typingctx, address, arguments):
    """Call the C function at an address, with a tuple of integers; what it raises is raised here."""

    def codegen(context, builder, signature, args):
        emit_raise(context, builder, emit_call(builder, args[0], integers_of(context, builder, arguments, args[1])))
        return context.get_dummy_value()

    return types.void(types.intp, arguments), codegen


@intrinsic
def raise_error(typingctx, error):
    """Raise what `error_of_call` has returned, unless that is 0."""

    def codegen(context, builder, signature, args):
        emit_raise(context, builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
