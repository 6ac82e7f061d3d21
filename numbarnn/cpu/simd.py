"""A SIMD vector as a Numba type: one LLVM vector per variable, ordinary Python operators on it.

Numba's own vectoriser leaves a gate loop scalar (6 ns per tanh on an AVX-512 core); the same loop on this type takes
0.6 ns.  Addresses are plain integers, in bytes.  No operation carries a fast-math flag: a result has the same bits in
every kernel, so a sum is fused only where `fma` says so.
"""

import operator

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features, initialize_llvm
from numba.extending import intrinsic, models, overload, register_jitable, register_model

from ..cells import activations

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

    def __init__(self, dtype):
        self.dtype, self.lanes = dtype, VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {self.lanes})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, llvm_vector(fe_type))


def llvm_scalar(vector):
    """The LLVM type of one element."""
    return ir.FloatType() if vector.dtype == types.float32 else ir.DoubleType()


def llvm_vector(vector):
    """The LLVM type of the whole vector."""
    return ir.VectorType(llvm_scalar(vector), vector.lanes)


def llvm_integers(vector):
    """The LLVM vector of integers with as many bits an element as `vector`."""
    return ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.lanes)


def llvm_suffix(vector):
    """How LLVM's intrinsics spell the type."""
    return f"v{vector.lanes}f{vector.dtype.bitwidth}"


def llvm_splat(builder, vector, scalar):
    """A vector with `scalar` in every lane."""
    undefined = ir.Constant(llvm_vector(vector), ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(INT32, vector.lanes), [0] * vector.lanes))


def llvm_call(builder, name, args):
    """The result of an LLVM function of `args` that returns the type of the first of them."""
    function_type = ir.FunctionType(args[0].type, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), args)


@intrinsic
def splat(typingctx, like, number):
    """A vector of the type of `like` (a vector, or a number of its dtype) with `number` in every lane."""
    vector = like if isinstance(like, Vector) else Vector(like)

    def codegen(context, builder, signature, args):
        scalar = context.cast(builder, args[1], signature.args[1], vector.dtype)
        return llvm_splat(builder, vector, scalar)

    return vector(like, number), codegen


def _operator(python_operator, instruction):
    @intrinsic
    def apply(typingctx, a, b):
        return a(a, b), lambda context, builder, signature, args: getattr(builder, instruction)(*args)

    @overload(python_operator)
    def on_vectors(a, b):
        if isinstance(a, Vector) and isinstance(b, Vector):
            return lambda a, b: apply(a, b)
        if isinstance(a, Vector) and isinstance(b, types.Number):
            return lambda a, b: apply(a, splat(a, b))
        if isinstance(b, Vector) and isinstance(a, types.Number):
            return lambda a, b: apply(splat(b, a), b)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


@intrinsic
def fma(typingctx, a, b, c):
    """``a * b + c``, in one rounding where the processor has the instruction."""

    def codegen(context, builder, signature, args):
        return llvm_call(builder, f"llvm.fmuladd.{llvm_suffix(a)}", args)

    return a(a, b, c), codegen


@intrinsic
def greater(typingctx, a, b, where_true, where_false):
    """Lane by lane: `where_true` if ``a > b``, else `where_false`; a NaN is greater than nothing."""

    def codegen(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])

    return a(a, b, where_true, where_false), codegen


@intrinsic
def absolute(typingctx, a):
    """`a` without its sign."""
    return a(a), lambda context, builder, signature, args: llvm_call(builder, f"llvm.fabs.{llvm_suffix(a)}", args)


@intrinsic
def copy_sign(typingctx, a, sign):
    """The size of `a` with the sign of `sign`."""

    def codegen(context, builder, signature, args):
        return llvm_call(builder, f"llvm.copysign.{llvm_suffix(a)}", args)

    return a(a, sign), codegen


@intrinsic
def power_of_two(typingctx, x, biased):
    """2**k for a vector that holds ``k`` in the low bits of its mantissa, exponent bias included."""
    mantissa = 23 if x.dtype == types.float32 else 52

    def codegen(context, builder, signature, args):
        integers = llvm_integers(x)
        shift = ir.Constant(integers, [mantissa] * x.lanes)
        return builder.bitcast(builder.shl(builder.bitcast(args[1], integers), shift), llvm_vector(x))

    return x(x, biased), codegen


@intrinsic
def load(typingctx, real, address):
    """The vector at `address`; only the type of `real` matters."""
    vector = Vector(real)

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[1], llvm_vector(vector).as_pointer())
        return builder.load(pointer, align=real.bitwidth // 8)

    return vector(real, types.intp), codegen


@intrinsic
def store(typingctx, value, address):
    """Write the vector `value` at `address`."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[1], llvm_vector(value).as_pointer())
        builder.store(args[0], pointer, align=value.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(value, types.intp), codegen


def llvm_prefetch(builder, address):
    """Ask for the cache line at `address` in the second-level cache."""
    byte = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [byte, INT32, INT32, INT32]), "llvm.prefetch.p0"
    )
    into_l2 = [ir.Constant(INT32, n) for n in (0, 2, 1)]  # to read, second-level cache, data
    builder.call(function, [builder.inttoptr(address, byte), *into_l2])


def _mask(builder, vector, count):
    lanes = ir.VectorType(INT32, vector.lanes)
    undefined = ir.Constant(lanes, ir.Undefined)
    one = builder.insert_element(undefined, builder.trunc(count, INT32), ir.Constant(INT32, 0))
    counts = builder.shuffle_vector(one, undefined, ir.Constant(lanes, [0] * vector.lanes))
    return builder.icmp_signed("<", ir.Constant(lanes, list(range(vector.lanes))), counts)


@intrinsic
def load_first(typingctx, real, address, count):
    """The first `count` lanes from `address`, 0 in the others; nothing past them is read."""
    vector = Vector(real)

    def codegen(context, builder, signature, args):
        v, mask_type = llvm_vector(vector), ir.VectorType(ir.IntType(1), vector.lanes)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(v, [v.as_pointer(), INT32, mask_type, v]),
            f"llvm.masked.load.{llvm_suffix(vector)}.p0",
        )
        pointer = builder.inttoptr(args[1], v.as_pointer())
        zeros = ir.Constant(v, [0.0] * vector.lanes)
        align = ir.Constant(INT32, real.bitwidth // 8)
        return builder.call(function, [pointer, align, _mask(builder, vector, args[2]), zeros])

    return vector(real, types.intp, types.intp), codegen


@intrinsic
def store_first(typingctx, value, address, count):
    """Write the first `count` lanes of `value` at `address`, and nothing past them."""

    def codegen(context, builder, signature, args):
        v, mask_type = llvm_vector(value), ir.VectorType(ir.IntType(1), value.lanes)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [v, v.as_pointer(), INT32, mask_type]),
            f"llvm.masked.store.{llvm_suffix(value)}.p0",
        )
        pointer = builder.inttoptr(args[1], v.as_pointer())
        align = ir.Constant(INT32, value.dtype.bitwidth // 8)
        builder.call(function, [args[0], pointer, align, _mask(builder, value, args[2])])
        return context.get_dummy_value()

    return types.void(value, types.intp, types.intp), codegen


@intrinsic
def transpose(typingctx, real, source, source_row, target, target_row):
    """Write the transpose of a square as wide as a vector, its rows `source_row` bytes apart, there `target_row`."""
    vector = Vector(real)

    def codegen(context, builder, signature, args):
        _, source, source_row, target, target_row = args
        pointer, align = llvm_vector(vector).as_pointer(), real.bitwidth // 8

        def place(base, stride, i):
            return builder.inttoptr(builder.add(base, builder.mul(stride, ir.Constant(INT64, i))), pointer)

        rows = [builder.load(place(source, source_row, i), align=align) for i in range(vector.lanes)]
        distance = 1
        while distance < vector.lanes:  # swap the off-diagonal halves of squares twice as large each time
            lanes = range(vector.lanes)
            low = [j if not j & distance else vector.lanes + j - distance for j in lanes]
            high = [j + distance if not j & distance else vector.lanes + j for j in lanes]
            masks = [ir.Constant(ir.VectorType(INT32, vector.lanes), mask) for mask in (low, high)]
            for i in lanes:
                if not i & distance:
                    pair = rows[i], rows[i + distance]
                    rows[i], rows[i + distance] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            distance *= 2
        for i, row in enumerate(rows):
            builder.store(row, place(target, target_row, i), align=align)
        return context.get_dummy_value()

    return types.void(real, *[types.intp] * 4), codegen


@intrinsic
def get(typingctx, real, address):
    """The single number at `address`."""

    def codegen(context, builder, signature, args):
        scalar = ir.FloatType() if real == types.float32 else ir.DoubleType()
        return builder.load(builder.inttoptr(args[1], scalar.as_pointer()), align=real.bitwidth // 8)

    return real(real, types.intp), codegen


@intrinsic
def put(typingctx, value, address):
    """Write the single number `value` at `address`."""

    def codegen(context, builder, signature, args):
        scalar = ir.FloatType() if value == types.float32 else ir.DoubleType()
        builder.store(
            args[0], builder.inttoptr(args[1], scalar.as_pointer()), align=value.bitwidth // 8
        )
        return context.get_dummy_value()

    return types.void(value, types.intp), codegen


@intrinsic
def size_of(typingctx, real):
    """Bytes of one number of the dtype of `real`."""
    size = real.bitwidth // 8
    return types.intp(real), lambda context, builder, signature, args: ir.Constant(INT64, size)


@intrinsic
def lanes(typingctx, real):
    """Numbers of the dtype of `real` in one vector."""
    count = Vector(real).lanes
    return types.intp(real), lambda context, builder, signature, args: ir.Constant(INT64, count)


# exp(m x) on vectors, m being -1 or -2: m x = k ln 2 + m s with |m s| <= ln 2 / 2, exp(m x) = 2^k exp(m s).  For t = m s,
# exp(t) = 1 + t + t^2 (c_2 + c_3 t + ...).  The c_n are minimax coefficients close to 1 / n!, the last one first below:
# with them exp(t) - 1 is off by 1.4e-8 |t| at most in float32, by 2.2e-17 |t| in float64, besides rounding.
#
# Largest errors measured with 64-byte vectors, in units in the last place; float32: every number in [-20, 20], float64:
# a sample of them.  tanh: 2.50 and 2.92, sigmoid: 2.48 and 2.42.
#
# The divisions stay: the divider works beside the other units, which are what limits a gate loop.  With a reciprocal
# estimate (vrcp14) and Newton's correction instead, an LSTM's gates took -4 to +3% more time in float32, +1 to +7% in
# float64, and a quotient off by its last bit need not be the one that vectors of 32 bytes get.

EXPONENTIAL = {
    types.float32: "0x1.6d9508p-10 0x1.1225b4p-7 0x1.55548cp-5 0x1.5554b4p-3 0x1p-1",
    types.float64: """
        0x1.af715f8708df4p-26 0x1.289d89aba7293p-22 0x1.71dded9731565p-19 0x1.a019ac7886966p-16 0x1.a01a01b420e73p-13
        0x1.6c16c17cd9fe2p-10 0x1.111111110ec50p-7 0x1.5555555552cb5p-5 0x1.555555555555bp-3 0x1p-1
    """,
}


def _exponential_constants(dtype, m):
    """(m / ln 2, number whose addition rounds to an integer, ln 2 / m in two parts, all c_n m^n)."""
    single = dtype == types.float32
    real = np.float32 if single else np.float64
    mantissa, bias = (23, 127) if single else (52, 1023)
    high = float.fromhex("0x1.62e4p-1") if single else float.fromhex("0x1.62e42fee00000p-1")
    low = 1.4286068203094172321e-6 if single else 1.90821492927058770002e-10
    c = [*(float.fromhex(text) for text in EXPONENTIAL[dtype].split()), 1, 1]
    coefficients = tuple(real(c_n * m**n) for n, c_n in enumerate(reversed(c)))[::-1]
    return real(m / np.log(2)), real(1.5 * 2.0**mantissa + bias), real(high / m), real(low / m), coefficients


@register_jitable
def _horner(x, coefficients):
    p = splat(x, coefficients[0])
    for c in coefficients[1:]:
        p = fma(p, x, splat(x, c))
    return p


@register_jitable
def clamp(x, limit):
    """`x` kept within ``[-limit, limit]``; NaN stays NaN."""
    low, high = splat(x, -limit), splat(x, limit)
    x = greater(low, x, low, x)
    return greater(x, high, high, x)


@overload(activations.tanh)
def _tanh(x):
    """As ``h / (1 - h)`` with ``h = (1 - exp(-2 |x|)) / 2``; k is small where it counts: one part of ln 2 is enough."""
    if isinstance(x, Vector):
        limit = 10.0 if x.dtype == types.float32 else 20.0  # tanh(limit) rounds to 1
        per_k, magic, high, low, coefficients = _exponential_constants(x.dtype, -2)
        step, tail = high + low, tuple(c / -2 for c in coefficients[:-2])

        def on_vector(x):
            size, largest = absolute(x), splat(x, limit)
            size = greater(size, largest, largest, size)
            biased = fma(size, splat(x, per_k), splat(x, magic))
            s = fma(biased - magic, splat(x, -step), size)
            p = fma(s * s, _horner(s, tail), s)
            scale = power_of_two(x, biased)
            h = fma(scale, p, fma(scale, splat(x, -0.5), splat(x, 0.5)))
            return copy_sign(h / (1 - h), x)

        return on_vector


@overload(activations.sigmoid)
def _sigmoid(x):
    """As ``1 / (1 + exp(-x))``."""
    if isinstance(x, Vector):
        limit = 87.0 if x.dtype == types.float32 else 708.0  # exp(limit) is finite
        per_k, magic, high, low, coefficients = _exponential_constants(x.dtype, -1)

        def on_vector(x):
            one, x = splat(x, 1), clamp(x, limit)
            biased = fma(x, splat(x, per_k), splat(x, magic))
            k = biased - magic
            s = fma(k, splat(x, -low), fma(k, splat(x, -high), x))
            return one / fma(power_of_two(x, biased), _horner(s, coefficients), one)

        return on_vector


@overload(activations.relu)
def _relu(x):
    if isinstance(x, Vector):

        def on_vector(x):
            zero = splat(x, 0)
            return greater(zero, x, zero, x)

        return on_vector


@overload(activations.relu_slope)
def _relu_slope(y):
    if isinstance(y, Vector):

        def on_vector(y):
            zero = splat(y, 0)
            return greater(y, zero, splat(y, 1), zero)

        return on_vector


for _function in (activations.identity, activations.identity_slope, activations.tanh_slope, activations.sigmoid_slope):
    register_jitable(_function)
