"""The type of a SIMD vector, how LLVM holds it, and what LLVM code of vectors is written with."""

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features, initialize_llvm
from numba.extending import models, register_model

INT32, INT64 = ir.IntType(32), ir.IntType(64)


def _widest_register(name, features):
    """Bytes of the register in which LLVM adds 16 floats, on the processor of that name with those features."""
    initialize_llvm()
    target = llvm.Target.from_default_triple()
    if target.name == "x86-64":
        features = f"+64bit,{features}".rstrip(",")  # else LLVM ends the process over a name it does not know
    floats = ir.VectorType(ir.FloatType(), 16)
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(floats, [floats, floats]), "add")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(builder.fadd(*function.args))
    text = target.create_target_machine(cpu=name, features=features).emit_assembly(llvm.parse_assembly(str(module)))
    return next((size for size, register in ((64, "%zmm"), (32, "%ymm")) if register in text), 16)


def _target(name=None, features=None):
    """(bytes in a vector register, number of vector registers) of the processor Numba compiles for.

    name, features: NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, None where not set.  A name alone leaves Numba the host's
    features, and is taken to ask for no wider vectors than both have.
    """
    host = get_host_cpu_features() if features is None else ""
    known = set(host.split(","))
    size = 64 if "+avx512f" in known else 32 if "+avx" in known else 16
    if name is not None or features is not None:
        asked = _widest_register(name or llvm.get_host_cpu_name(), features or "")
        size = asked if features is not None else min(asked, size)
    arm = llvm.get_default_triple().startswith(("aarch64", "arm64"))
    return size, 32 if size == 64 or arm else 16


VECTOR_BYTES, REGISTERS = _target(config.CPU_NAME, config.CPU_FEATURES)


def lanes_of(dtype):
    """How many numbers of `dtype` one vector register holds."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


class Vector(types.Type):
    """`lanes` values of one floating dtype, held in a register."""

    def __init__(self, dtype, lanes=None):
        self.dtype = self.number = dtype
        self.lanes = self.floats = VECTOR_BYTES * 8 // dtype.bitwidth if lanes is None else lanes
        super().__init__(name=f"Vector({dtype}, {self.lanes})")


class Dual(types.Type):
    """`lanes` dual numbers, see `duals`, held in a register: each value with its tangent behind it.

    Attributes
    ----------
    dtype : numba.types.Complex
        As which they lie in memory.
    number : numba.types.Float
        Of a value, and of a tangent.
    floats : int
        Twice the lanes.
    """

    def __init__(self, dtype):
        self.dtype, self.number = dtype, dtype.underlying_float
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        self.floats = 2 * self.lanes
        super().__init__(name=f"Dual({dtype}, {self.lanes})")


def vector_of(real):
    """The type of a vector of numbers of a Numba type; complex ones are where dual numbers lie."""
    return Dual(real) if isinstance(real, types.Complex) else Vector(real)


@register_model(Dual)
@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """How LLVM holds a `Vector` or a `Dual`: in a vector register."""

    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, llvm_vector(fe_type))


class Mask(types.Type):
    """What a comparison of vectors says, lane by lane."""

    def __init__(self, vector):
        self.vector = vector
        super().__init__(name=f"Mask({vector})")


@register_model(Mask)
class MaskModel(models.PrimitiveModel):
    """How LLVM holds a `Mask`: one bit a lane."""

    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, ir.VectorType(ir.IntType(1), fe_type.vector.lanes))


def llvm_scalar(vector):
    """The LLVM type of one element."""
    return ir.FloatType() if vector.number == types.float32 else ir.DoubleType()


def llvm_vector(vector):
    """The LLVM type of the whole vector."""
    return ir.VectorType(llvm_scalar(vector), vector.floats)


def llvm_integers(vector):
    """The LLVM vector of integers with as many bits an element as `vector`."""
    return ir.VectorType(ir.IntType(vector.number.bitwidth), vector.floats)


def llvm_suffix(vector):
    """How LLVM's intrinsics spell the type."""
    return f"v{vector.floats}f{vector.number.bitwidth}"


def llvm_alignment(vector):
    """Bytes of a float, to which vectors lie aligned at least."""
    return vector.number.bitwidth // 8


def llvm_splat(builder, vector, scalar):
    """A vector with `scalar` in every element."""
    undefined = ir.Constant(llvm_vector(vector), ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(INT32, vector.floats), [0] * vector.floats))


def llvm_tangents(builder, dual, tangents, values=None):
    """The tangents of a dual vector, and in the place of each value another's value, or 0."""
    values = ir.Constant(llvm_vector(dual), [0.0] * dual.floats) if values is None else values
    odd = ir.Constant(ir.VectorType(ir.IntType(1), dual.floats), [i % 2 for i in range(dual.floats)])
    return builder.select(odd, tangents, values)


def llvm_pairs(builder, dual, vector):
    """(each value of a dual vector twice; 0 and each tangent): factors of another's pairs, and of these swapped."""
    values, tangents = (
        builder.shuffle_vector(
            vector, vector, ir.Constant(ir.VectorType(INT32, dual.floats), [i // 2 * 2 + part for i in range(dual.floats)])
        )
        for part in (0, 1)
    )
    return values, llvm_tangents(builder, dual, tangents)


def llvm_floats_of(vector, lanes):
    """The places of some lanes' floats, one a lane or a pair of them, as an LLVM constant."""
    each = vector.floats // vector.lanes
    places = [each * lane + part for lane in lanes for part in range(each)]
    return ir.Constant(ir.VectorType(INT32, len(places)), places)


def llvm_values_of(dual):
    """For each float of a dual vector the place of its pair's value, as an LLVM constant."""
    return ir.Constant(ir.VectorType(INT32, dual.floats), [i // 2 * 2 for i in range(dual.floats)])


def llvm_swapped(builder, dual, vector):
    """A dual vector, each tangent before its value."""
    lanes = ir.Constant(ir.VectorType(INT32, dual.floats), [i ^ 1 for i in range(dual.floats)])
    return builder.shuffle_vector(vector, vector, lanes)


def llvm_call(builder, name, args):
    """The result of an LLVM function of `args` that returns the type of the first of them."""
    function_type = ir.FunctionType(args[0].type, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


def llvm_prefetch(builder, address):
    """Ask for the cache line at `address` in the second-level cache."""
    byte = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [byte, INT32, INT32, INT32]), "llvm.prefetch.p0"
    )
    into_l2 = [ir.Constant(INT32, n) for n in (0, 2, 1)]  # to read, second-level cache, data
    builder.call(function, [builder.inttoptr(address, byte), *into_l2])
