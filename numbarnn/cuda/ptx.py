"""What has no words in Numba: machine instructions (PTX), each beside what it means in the simulator.

In the simulator one thread writes at a time and all see it: reads are plain ones there.
"""

from llvmlite import ir
from numba import types

from .extending import intrinsic, overload
from .types import element_pointer

LETTERS = {types.float32: ("f", "f32"), types.float64: ("d", "f64"), types.int32: ("r", "s32"), types.int64: ("l", "s64")}


def read(array, index):
    """The number at a place, as other blocks have left it: from the GPU's common cache, not from the processor's own."""
    return array[index]


def acquire(array, index):
    """As `read`; what another block wrote before it released that number is seen by whatever this thread reads after."""
    return array[index]


def _load(instruction, clobbered):
    """An intrinsic that loads an element by a PTX instruction."""

    @intrinsic
    def load(typingctx, array, index):
        letter, suffix = LETTERS[array.dtype]

        def codegen(context, builder, signature, args):
            address = builder.ptrtoint(element_pointer(context, builder, array, *args), ir.IntType(64))
            kind = ir.FunctionType(context.get_data_type(array.dtype), [address.type])
            return builder.asm(kind, f"{instruction}.{suffix} $0, [$1];", f"={letter},l{clobbered}", [address], True)

        return array.dtype(array, types.intp), codegen

    return load


_relaxed, _acquire = _load("ld.relaxed.gpu", ""), _load("ld.acquire.gpu", ",~{memory}")


@overload(read)
def _read(array, index):
    return lambda array, index: _relaxed(array, index)


@overload(acquire)
def _acquired(array, index):
    return lambda array, index: _acquire(array, index)
