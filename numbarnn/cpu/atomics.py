"""Integers in memory that several threads read and write: loads, stores and exchanges that all see in one order."""

import sys
import time

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .failures import integers_of
from .vectors import INT32, INT64

ORDER, ALIGNMENT = "seq_cst", 8
PAUSE = {  # what a thread that waits tells its core, by processor: (LLVM's function, its arguments)
    "x86": ("llvm.x86.sse2.pause", ()),
    "i386": ("llvm.x86.sse2.pause", ()),
    "aarch": ("llvm.aarch64.hint", (1,)),
    "arm64": ("llvm.aarch64.hint", (1,)),
}


@intrinsic
def atomic_load(typingctx, address):
    """The integer at an address."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], INT64.as_pointer()), ORDER, ALIGNMENT)

    return types.int64(types.intp), codegen


@intrinsic
def atomic_store(typingctx, address, value):
    """Write an integer to an address."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[1], builder.inttoptr(args[0], INT64.as_pointer()), ORDER, ALIGNMENT)
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), codegen


@intrinsic
def atomic_add(typingctx, address, value):
    """Add to the integer at an address; returns what it was before."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", builder.inttoptr(args[0], INT64.as_pointer()), args[1], ORDER)

    return types.int64(types.intp, types.int64), codegen


@intrinsic
def exchange_if(typingctx, address, expected, value):
    """Write an integer to an address if the one there is the expected one; returns whether it was."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], INT64.as_pointer())
        return builder.extract_value(builder.cmpxchg(pointer, args[1], args[2], ORDER, ORDER), 1)

    return types.boolean(types.intp, types.int64, types.int64), codegen


@intrinsic
def pause(typingctx):
    """Tell the core that its thread only waits."""

    def codegen(context, builder, signature, args):
        name, numbers = PAUSE.get(llvm.get_default_triple()[:5].split("_")[0], (None, ()))
        if name is not None:
            kind = ir.FunctionType(ir.VoidType(), [INT32] * len(numbers))
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [INT32(n) for n in numbers])
        return context.get_dummy_value()

    return types.void(), codegen


def _clock(name):
    """An intrinsic that reads a clock of the system by the address of its C function: clock_gettime, or on Windows
    QueryPerformanceCounter, which counts tenths of microseconds and knows one clock only.
    """

    @intrinsic
    def read(typingctx, function):
        def codegen(context, builder, signature, args):
            reading = cgutils.alloca_once(builder, ir.ArrayType(INT64, 2))
            windows = sys.platform == "win32"
            before = [] if windows else [INT32(getattr(time, name))]
            kind = ir.FunctionType(INT32, [value.type for value in before] + [reading.type])
            builder.call(builder.inttoptr(args[0], kind.as_pointer()), [*before, reading])
            first, second = (builder.load(cgutils.gep_inbounds(builder, reading, 0, i)) for i in range(2))
            if windows:
                return builder.mul(first, INT64(100))
            return builder.add(builder.mul(first, INT64(1_000_000_000)), second)

        return types.int64(types.intp), codegen

    return read


time_passed = _clock("CLOCK_MONOTONIC")  # in nanoseconds
time_on_core = _clock("CLOCK_THREAD_CPUTIME_ID")  # of this thread


@intrinsic
def times_preempted(typingctx, function):
    """How often the system has taken this thread's core away, by the address of Linux's getrusage."""

    def codegen(context, builder, signature, args):
        usage = cgutils.alloca_once(builder, ir.ArrayType(INT64, 18))
        kind = ir.FunctionType(INT32, [INT32, usage.type])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [INT32(1), usage])  # RUSAGE_THREAD
        return builder.load(cgutils.gep_inbounds(builder, usage, 0, 17))  # ru_nivcsw

    return types.int64(types.intp), codegen


@intrinsic
def call_function(typingctx, address, arguments):
    """Call the C function at an address, with a tuple of integers, for nothing."""

    def codegen(context, builder, signature, args):
        values = integers_of(context, builder, arguments, args[1])
        pointer = ir.FunctionType(ir.VoidType(), [INT64] * len(values)).as_pointer()
        builder.call(builder.inttoptr(args[0], pointer), values)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), codegen
