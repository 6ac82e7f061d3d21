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
from numba.extending import intrinsic, models, overload, register_model

from ..engine.inlined import OPTIONS

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
    """The tangents of a dual vector, and in the place of each value that of another, or 0."""
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
    """The places of some lanes' floats, one a lane or those of a pair, as an LLVM constant."""
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


@intrinsic
def splat(typingctx, like, number):
    """A vector of the type of `like` (a vector, its mask, or a number of its dtype) with `number` in every lane."""
    vector = like.vector if isinstance(like, Mask) else like if isinstance(like, (Vector, Dual)) else vector_of(like)

    def codegen(context, builder, signature, args):
        if isinstance(number, types.Complex):  # a dual number
            parts = (llvm_splat(builder, vector, builder.extract_value(args[1], i)) for i in (1, 0))
            return llvm_tangents(builder, vector, *parts)
        value = llvm_splat(builder, vector, context.cast(builder, args[1], signature.args[1], vector.number))
        if isinstance(vector, Dual):
            return llvm_tangents(builder, vector, ir.Constant(value.type, [0.0] * vector.floats), value)
        return value

    return vector(like, number), codegen


def _on_vectors(python_operator, apply):
    """Let the operator run the intrinsic `apply` on two vectors, or on a vector and a number."""

    @overload(python_operator, jit_options=OPTIONS)
    def on_vectors(a, b):
        if isinstance(a, Vector) and isinstance(b, Vector):
            return lambda a, b: apply(a, b)
        if isinstance(a, Vector) and isinstance(b, types.Number):
            return lambda a, b: apply(a, splat(a, b))
        if isinstance(b, Vector) and isinstance(a, types.Number):
            return lambda a, b: apply(splat(b, a), b)


def _operator(python_operators, instruction):
    """Let Python's operators run an LLVM instruction on vectors."""

    @intrinsic
    def apply(typingctx, a, b):
        return a(a, b), lambda context, builder, signature, args: getattr(builder, instruction)(*args)

    for python_operator in python_operators:
        _on_vectors(python_operator, apply)


def _comparison(python_operator, symbol):
    """Let Python's comparison give a `Mask` of vectors; a NaN compares false."""

    @intrinsic
    def apply(typingctx, a, b):
        return Mask(a)(a, b), lambda context, builder, signature, args: builder.fcmp_ordered(symbol, *args)

    _on_vectors(python_operator, apply)


for _name, _instruction in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    _operator((getattr(operator, _name), getattr(operator, f"i{_name}")), _instruction)
_comparison(operator.lt, "<")
_comparison(operator.le, "<=")
_comparison(operator.gt, ">")
_comparison(operator.ge, ">=")


@intrinsic
def negative(typingctx, a):
    """`a` with the other sign."""
    return a(a), lambda context, builder, signature, args: builder.fneg(args[0])


@intrinsic
def select(typingctx, mask, where_true, where_false):
    """Lane by lane one of two vectors; a comparison with NaN holds for none."""

    def codegen(context, builder, signature, args):
        chosen, *values = args
        if isinstance(where_true, Dual):
            lanes = ir.Constant(ir.VectorType(INT32, where_true.floats), [i // 2 for i in range(where_true.floats)])
            chosen = builder.shuffle_vector(chosen, chosen, lanes)
        return builder.select(chosen, *values)

    return where_true(mask, where_true, where_false), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """``a * b + c``, in one rounding where the processor has the instruction."""

    def codegen(context, builder, signature, args):
        name = f"llvm.fmuladd.{llvm_suffix(a)}"
        if isinstance(a, Dual):
            values, tangents = llvm_pairs(builder, a, args[0])
            swapped = llvm_swapped(builder, a, args[1])
            return llvm_call(builder, name, [tangents, swapped, llvm_call(builder, name, [values, *args[1:]])])
        return llvm_call(builder, name, args)

    return a(a, b, c), codegen


@intrinsic
def greater(typingctx, a, b, where_true, where_false):
    """Lane by lane: `where_true` if ``a > b``, else `where_false`; a NaN is greater than nothing."""

    def codegen(context, builder, signature, args):
        larger = builder.fcmp_ordered(">", args[0], args[1])
        if isinstance(a, Dual):  # the values say it
            larger = builder.shuffle_vector(larger, larger, llvm_values_of(a))
        return builder.select(larger, args[2], args[3])

    return a(a, b, where_true, where_false), codegen


@intrinsic
def absolute(typingctx, a):
    """`a` without its sign."""
    return a(a), lambda context, builder, signature, args: llvm_call(builder, f"llvm.fabs.{llvm_suffix(a)}", args)


@intrinsic
def square_root(typingctx, a):
    """The square root, correctly rounded."""
    return a(a), lambda context, builder, signature, args: llvm_call(builder, f"llvm.sqrt.{llvm_suffix(a)}", args)


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
def times_power_of_two(typingctx, x, biased):
    """``x * 2**k``, `biased` as for `power_of_two`; k may be twice as large as an exponent can be."""
    bits, mantissa, bias = (32, 23, 127) if x.dtype == types.float32 else (64, 52, 1023)

    def codegen(context, builder, signature, args):
        integers = llvm_integers(x)

        def constant(number):
            return ir.Constant(integers, [number] * x.lanes)

        def power(k):
            return builder.bitcast(builder.shl(builder.add(k, constant(bias)), constant(mantissa)), llvm_vector(x))

        low = builder.shl(builder.bitcast(args[1], integers), constant(bits - mantissa + 1))
        k = builder.sub(builder.ashr(low, constant(bits - mantissa + 1)), constant(bias))
        half = builder.ashr(k, constant(1))
        return builder.fmul(builder.fmul(args[0], power(half)), power(builder.sub(k, half)))

    return x(x, biased), codegen


@intrinsic
def load(typingctx, real, address):
    """The vector at `address`; only the type of `real` matters."""
    vector = vector_of(real)

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[1], llvm_vector(vector).as_pointer())
        return builder.load(pointer, align=llvm_alignment(vector))

    return vector(real, types.intp), codegen


@intrinsic
def store(typingctx, value, address):
    """Write the vector `value` at `address`."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[1], llvm_vector(value).as_pointer())
        builder.store(args[0], pointer, align=llvm_alignment(value))
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
    """An LLVM mask whose first `count` lanes hold."""
    lanes = ir.VectorType(INT32, vector.floats)
    undefined = ir.Constant(lanes, ir.Undefined)
    one = builder.insert_element(undefined, builder.trunc(count, INT32), ir.Constant(INT32, 0))
    counts = builder.shuffle_vector(one, undefined, ir.Constant(lanes, [0] * vector.floats))
    lane_of = [i * vector.lanes // vector.floats for i in range(vector.floats)]
    return builder.icmp_signed("<", ir.Constant(lanes, lane_of), counts)


def load_first_of(vector):
    """A function of (builder, address, count) that emits the load of a vector's first `count` lanes, 0 in the others."""

    return lambda builder, address, count: _load_masked(builder, vector, address, _mask(builder, vector, count))


def _load_masked(builder, vector, address, mask):
    """The lanes of a mask from an address, 0 in the others."""
    v, mask_type = llvm_vector(vector), ir.VectorType(ir.IntType(1), vector.floats)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(v, [v.as_pointer(), INT32, mask_type, v]),
        f"llvm.masked.load.{llvm_suffix(vector)}.p0",
    )
    pointer, zeros = builder.inttoptr(address, v.as_pointer()), ir.Constant(v, [0.0] * vector.floats)
    return builder.call(function, [pointer, ir.Constant(INT32, llvm_alignment(vector)), mask, zeros])


@intrinsic
def load_first(typingctx, real, address, count):
    """The first `count` lanes from `address`, 0 in the others; nothing past them is read."""
    vector = vector_of(real)
    emit = load_first_of(vector)

    def codegen(context, builder, signature, args):
        return emit(builder, args[1], args[2])

    return vector(real, types.intp, types.intp), codegen


@intrinsic
def load_between(typingctx, real, address, first, end):
    """The vector at `address`, 0 in the lanes before `first` and from `end` on; nothing is read there."""
    vector = vector_of(real)

    def codegen(context, builder, signature, args):
        before, until = (_mask(builder, vector, count) for count in args[2:])
        return _load_masked(builder, vector, args[1], builder.and_(until, builder.not_(before)))

    return vector(real, types.intp, types.intp, types.intp), codegen


@intrinsic
def store_first(typingctx, value, address, count):
    """Write the first `count` lanes of `value` at `address`, and nothing past them."""

    def codegen(context, builder, signature, args):
        v, mask_type = llvm_vector(value), ir.VectorType(ir.IntType(1), value.floats)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [v, v.as_pointer(), INT32, mask_type]),
            f"llvm.masked.store.{llvm_suffix(value)}.p0",
        )
        pointer = builder.inttoptr(args[1], v.as_pointer())
        align = ir.Constant(INT32, llvm_alignment(value))
        builder.call(function, [args[0], pointer, align, _mask(builder, value, args[2])])
        return context.get_dummy_value()

    return types.void(value, types.intp, types.intp), codegen


def _any(builder, mask):
    """1 where any lane of an LLVM mask holds, else 0, as an integer."""
    bits = ir.IntType(mask.type.count)
    return builder.zext(builder.icmp_unsigned("!=", builder.bitcast(mask, bits), ir.Constant(bits, 0)), INT64)


@intrinsic
def differs(typingctx, a, b):
    """1 where any lanes of two vectors differ in any bit, else 0."""

    def codegen(context, builder, signature, args):
        integers = llvm_integers(a)
        return _any(builder, builder.icmp_unsigned("!=", *(builder.bitcast(arg, integers) for arg in args)))

    return types.intp(a, b), codegen


@intrinsic
def not_finite(typingctx, a):
    """1 where any lane of a vector is NaN or infinite, else 0."""

    def codegen(context, builder, signature, args):
        difference = builder.fsub(args[0], args[0])
        return _any(builder, builder.fcmp_unordered("uno", difference, difference))

    return types.intp(a), codegen


@intrinsic
def keep_first(typingctx, value, count):
    """The first `count` lanes of `value`, 0 in the others."""

    def codegen(context, builder, signature, args):
        zeros = ir.Constant(llvm_vector(value), [0.0] * value.floats)
        return builder.select(_mask(builder, value, args[1]), args[0], zeros)

    return value(value, types.intp), codegen


def _of_two(lane_of):
    """An intrinsic that chooses lanes of two vectors, those of the second counted after the first's.

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
def first_lane(typingctx, a):
    """The number in the first lane."""

    def codegen(context, builder, signature, args):
        numbers = [builder.extract_element(args[0], ir.Constant(INT32, i)) for i in range(a.floats // a.lanes)]
        return numbers[0] if len(numbers) == 1 else cgutils.pack_struct(builder, numbers)

    return a.dtype(a), codegen


@intrinsic
def lane_sum(typingctx, a):
    """The sum of all lanes, in every lane: of the two halves, of the halves of that, and so on."""

    def codegen(context, builder, signature, args):
        value, distance, each = args[0], a.floats // 2, a.floats // a.lanes
        while distance >= each:  # the numbers of a pair stay apart
            mask = ir.Constant(ir.VectorType(INT32, a.floats), [i ^ distance for i in range(a.floats)])
            value = builder.fadd(value, builder.shuffle_vector(value, value, mask))
            distance //= 2
        return value

    return a(a), codegen


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


@intrinsic
def get(typingctx, real, address):
    """The single number at `address`."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[1], context.get_value_type(real).as_pointer())
        return builder.load(pointer, align=llvm_alignment(vector_of(real)))

    return real(real, types.intp), codegen


@intrinsic
def put(typingctx, value, address):
    """Write the single number `value` at `address`."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[1], context.get_value_type(value).as_pointer())
        builder.store(args[0], pointer, align=llvm_alignment(vector_of(value)))
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
    count = vector_of(real).lanes
    return types.intp(real), lambda context, builder, signature, args: ir.Constant(INT64, count)
