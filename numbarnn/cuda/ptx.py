"""Instructions of the GPU that Numba has no word for; the simulator runs the Python functions."""

from numba import types

from ..errors import DeviceError
from .extending import COMPILED, intrinsic, overload

if COMPILED:
    from llvmlite import ir
    from numba.cuda import cgutils

FOUR = 4  # numbers that are loaded at once
NO_CLUSTERS = "Numba's simulator has no clusters of blocks"


def _pointer(context, builder, kind, args):
    """Where an element of an array lies, whose index does not count from the end."""
    view = context.make_array(kind)(context, builder, args[0])
    return cgutils.get_item_pointer(context, builder, kind, view, [args[1]], wraparound=False)


@intrinsic
def _load(typingctx, array, index):
    """The instruction of `load`."""

    def codegen(context, builder, signature, args):
        return builder.load(_pointer(context, builder, array, args), align=array.dtype.bitwidth // 8)

    return array.dtype(array, types.intp), codegen


def load(array, index):
    """``array[index]``, where no index counts from the end."""
    return array[index]


@overload(load)
def _load_compiled(array, index):
    """`load` in compiled code."""
    return lambda array, index: _load(array, index)


@intrinsic
def _load_four(typingctx, array, index):
    """The instruction of `load_four`."""
    result = types.UniTuple(array.dtype, FOUR)

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(context.get_value_type(array.dtype), FOUR)
        pointer = builder.bitcast(_pointer(context, builder, array, args), vector.as_pointer())
        loaded = builder.load(pointer, align=16)
        numbers = [builder.extract_element(loaded, ir.Constant(ir.IntType(32), i)) for i in range(FOUR)]
        return context.make_tuple(builder, result, numbers)

    return result(array, types.intp), codegen


def load_four(array, index):
    """Four numbers that follow each other, from an index that is a multiple of four in memory that begins at 16 bytes."""
    return array[index], array[index + 1], array[index + 2], array[index + 3]


@overload(load_four)
def _load_four_compiled(array, index):
    """`load_four` in compiled code."""
    return lambda array, index: _load_four(array, index)


@intrinsic
def _store(typingctx, array, index, value):
    """The instruction of `store`."""

    def codegen(context, builder, signature, args):
        builder.store(args[2], _pointer(context, builder, array, args), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), codegen


def store(array, index, value):
    """``array[index] = value``, where no index counts from the end."""
    array[index] = value


@overload(store)
def _store_compiled(array, index, value):
    """`store` in compiled code."""
    return lambda array, index, value: _store(array, index, value)


def _reading(instruction):
    """A function that reads an element of an array in global memory by an instruction of its own."""

    def element(array, index):
        return array[index]

    @intrinsic
    def assembly(typingctx, array, index):
        letter = "s" if isinstance(array.dtype, types.Integer) else "f"
        constraint = {types.int64: "l", types.float32: "f", types.float64: "d"}[array.dtype]
        text = f"{instruction}.{letter}{array.dtype.bitwidth} $0, [$1];"

        def codegen(context, builder, signature, args):
            address = builder.ptrtoint(_pointer(context, builder, array, args), ir.IntType(64))
            kind = ir.FunctionType(context.get_value_type(array.dtype), [address.type])
            return builder.asm(kind, text, f"={constraint},l,~{{memory}}", [address], True)

        return array.dtype(array, types.intp), codegen

    @overload(element)
    def compiled(array, index):
        return lambda array, index: assembly(array, index)

    return element


read = _reading("ld.global.cg")  # as other blocks have left it: from the second-level cache, which all share
peek = _reading("ld.relaxed.gpu.global")  # of what others add to; it says nothing of what else they have written
acquire = _reading("ld.acquire.gpu.global")  # before all that this thread reads after it; that empties its own cache


@intrinsic
def _count_up(typingctx, array, index):
    """The instruction of `count_up`."""

    def codegen(context, builder, signature, args):
        address = builder.ptrtoint(_pointer(context, builder, array, args), ir.IntType(64))
        text = "red.release.gpu.global.add.u64 [$0], 1;"
        builder.asm(ir.FunctionType(ir.VoidType(), [address.type]), text, "l,~{memory}", [address], True)
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


def count_up(array, index):
    """``array[index] += 1`` of an int64 that others add to, after all that this thread's block wrote before its barrier."""
    array[index] += 1


@overload(count_up)
def _count_up_compiled(array, index):
    """`count_up` in compiled code."""
    return lambda array, index: _count_up(array, index)


@intrinsic
def _store_to_block(typingctx, array, index, value, block):
    """The instructions of `store_to_block`: where the place is in the block's shared memory, and a store there."""
    suffix, constraint = {types.float32: ("f32", "f"), types.float64: ("f64", "d")}[array.dtype]

    def codegen(context, builder, signature, args):
        address = builder.ptrtoint(_pointer(context, builder, array, args), ir.IntType(64))
        rank = builder.trunc(args[3], ir.IntType(32))
        text = (
            "{ .reg .u64 %own; .reg .u32 %place; cvta.to.shared.u64 %own, $1; cvt.u32.u64 %place, %own; "
            "mapa.shared::cluster.u32 $0, %place, $2; }"
        )
        there = builder.asm(ir.FunctionType(rank.type, [address.type, rank.type]), text, "=r,l,r", [address, rank], True)
        told = ir.FunctionType(ir.VoidType(), [there.type, args[2].type])
        store = f"st.shared::cluster.{suffix} [$0], $1;"
        builder.asm(told, store, f"r,{constraint},~{{memory}}", [there, args[2]], True)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype, types.intp), codegen


def store_to_block(array, index, value, block):
    """``array[index] = value`` in the shared memory of a block of the cluster, by its number there."""
    raise DeviceError(NO_CLUSTERS)


@overload(store_to_block)
def _store_to_block_compiled(array, index, value, block):
    """`store_to_block` in compiled code."""
    return lambda array, index, value, block: _store_to_block(array, index, value, block)


def _instruction(text, refused):
    """A function without arguments that is one instruction; in the simulator it is an error."""

    def run():
        raise DeviceError(refused)

    @intrinsic
    def assembly(typingctx):
        def codegen(context, builder, signature, args):
            builder.asm(ir.FunctionType(ir.VoidType(), []), text, "~{memory}", [], True)
            return context.get_dummy_value()

        return types.void(), codegen

    @overload(run)
    def compiled():
        return lambda: assembly()

    return run


# All that this thread has written is seen by all of its cluster's that wait after; whoever has come waits for all others.
arrive_at_cluster = _instruction("barrier.cluster.arrive.release.aligned;", NO_CLUSTERS)
wait_for_cluster = _instruction("barrier.cluster.wait.acquire.aligned;", NO_CLUSTERS)

# End the kernel: whatever is asked of the GPU next in this process raises an error.
trap = _instruction("trap;", "a block of threads has waited in vain for the others of its team")
