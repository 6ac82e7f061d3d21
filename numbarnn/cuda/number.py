"""A number as a Numba type: a float32 or float64 that stays one, or a dual number.

In Numba ``1 - x`` of a float32 is a float64, which a GPU computes at half the speed or less.  Here a literal, or any other
number, beside a Number becomes one of its kind first.  No operation carries a fast-math flag.

A `Dual`, see `cells.duals`, lies in memory as a complex number, the tangent in the place of the imaginary part: a kernel
whose dtype is complex128 computes with them, so that a cell's forward and adjoint are their own derivatives.
"""

import operator

from llvmlite import ir
from numba import types

from .extending import intrinsic, models, overload, register_model


class Number(types.Type):
    """One value of a floating dtype."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Number({dtype})")


class Dual(types.Type):
    """A value and its tangent; dtype: the complex numbers as which they lie in memory."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Dual({dtype})")

    @property
    def value(self):
        """The type of its value, and of its tangent."""
        return Number(self.dtype.underlying_float)


KINDS = Number | Dual


def number_of(dtype):
    """The type of the numbers of a dtype in equations; complex ones are where dual numbers lie."""
    return Dual(dtype) if isinstance(dtype, types.Complex) else Number(dtype)


def alignment_of(dtype):
    """Bytes to which numbers of a dtype lie aligned."""
    return getattr(dtype, "underlying_float", dtype).bitwidth // 8


def llvm_scalar(dtype):
    """The LLVM type of a dtype's numbers."""
    if isinstance(dtype, types.Complex):
        return ir.LiteralStructType([llvm_scalar(dtype.underlying_float)] * 2)
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


@register_model(Dual)
@register_model(Number)
class NumberModel(models.PrimitiveModel):
    """How LLVM holds a `Number`: as a float; and a `Dual`: as two."""

    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, llvm_scalar(fe_type.dtype))


class Condition(types.Type):
    """What a comparison of Numbers says; it remembers of which, so that a choice between literals is one, too."""

    def __init__(self, number):
        self.number = number
        super().__init__(name=f"Condition({number})")


@register_model(Condition)
class ConditionModel(models.PrimitiveModel):
    """How LLVM holds a `Condition`: as one bit."""

    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, ir.IntType(1))


def number_like(like):
    """The type of number that such a number, a Condition or a plain number speaks of."""
    return like if isinstance(like, KINDS) else like.number if isinstance(like, Condition) else number_of(like)


def is_number(a):
    """Whether a type is a number's, of this kind or Numba's."""
    return isinstance(a, KINDS | types.Integer | types.Float)


def llvm_dual(builder, value, tangent):
    """The dual number of a value and a tangent."""
    pair = ir.Constant(ir.LiteralStructType([value.type] * 2), ir.Undefined)
    return builder.insert_value(builder.insert_value(pair, value, 0), tangent, 1)


def llvm_parts(builder, dual):
    """(value, tangent) of a dual number."""
    return builder.extract_value(dual, 0), builder.extract_value(dual, 1)


def llvm_number(context, builder, value, source, number):
    """A value of the type `source` as a number of the type `number`."""
    if source == number:
        return value
    if isinstance(number, Dual):
        value = llvm_number(context, builder, value, source, number.value)
        return llvm_dual(builder, value, ir.Constant(value.type, 0.0))
    source = types.unliteral(source)
    return context.cast(builder, value, source.dtype if isinstance(source, Number) else source, number.dtype)


@intrinsic
def as_number(typingctx, like, value):
    """`value` as a number of the dtype of `like`."""
    if is_number(value):
        number = number_like(like)

        def codegen(context, builder, signature, args):
            return llvm_number(context, builder, args[1], signature.args[1], number)

        return number(like, value), codegen


@intrinsic
def plain(typingctx, a):
    """A Number as the float that it is."""
    if isinstance(a, Number):
        return a.dtype(a), lambda context, builder, signature, args: args[0]


@intrinsic
def value_of(typingctx, a):
    """The value of a Dual."""
    if isinstance(a, Dual):
        return a.value(a), lambda context, builder, signature, args: builder.extract_value(args[0], 0)


@intrinsic
def tangent_of(typingctx, a):
    """The tangent of a Dual."""
    if isinstance(a, Dual):
        return a.value(a), lambda context, builder, signature, args: builder.extract_value(args[0], 1)


@intrinsic
def dual(typingctx, like, value, tangent):
    """The Dual, of the type of `like`, of a value and a tangent."""
    return like(like, value, tangent), lambda context, builder, signature, args: llvm_dual(builder, *args[1:])


def _operands(a, b):
    """The type of two operands, or None where they are none or of different dtypes."""
    kinds = [kind for kind in (a, b) if isinstance(kind, KINDS)]
    if kinds and is_number(a) and is_number(b) and all(kind == kinds[0] for kind in kinds):
        return kinds[0]


def _operator(python_operators, result, emit, emit_dual):
    """Let the operators run `emit` on two Numbers, or on one and any other number; result: makes the type from Number's.

    emit_dual: what the operators run on two Duals, ``emit_dual(builder, value, tangent, other_value, other_tangent)``.
    """

    @intrinsic
    def apply(typingctx, a, b):
        number = _operands(a, b)
        if number is not None:

            def codegen(context, builder, signature, args):
                both = [llvm_number(context, builder, arg, kind, number) for arg, kind in zip(args, signature.args)]
                if isinstance(number, Dual):
                    return emit_dual(builder, *(part for each in both for part in llvm_parts(builder, each)))
                return emit(builder, *both)

            return result(number)(a, b), codegen

    for python_operator in python_operators:

        @overload(python_operator)
        def on_numbers(a, b):
            if _operands(a, b) is not None:
                return lambda a, b: apply(a, b)


def _arithmetic(name, instruction, emit_dual):
    """Let a Python operator run an LLVM instruction on Numbers; emit_dual: see `_operator`."""
    _operator(
        (getattr(operator, name), getattr(operator, f"i{name}")),
        lambda number: number,
        lambda builder, a, b: getattr(builder, instruction)(a, b),
        emit_dual,
    )


def _each(instruction):
    """What runs an instruction on the values of dual numbers and on their tangents."""

    def emit(builder, a, da, b, db):
        run = getattr(builder, instruction)
        return llvm_dual(builder, run(a, b), run(da, db))

    return emit


def _product(builder, a, da, b, db):
    """``a b``, whose tangent is ``a b' + a' b``."""
    return llvm_dual(builder, builder.fmul(a, b), builder.fadd(builder.fmul(a, db), builder.fmul(da, b)))


def _quotient(builder, a, da, b, db):
    """``q = a / b``, whose tangent is ``(a' - q b') / b``."""
    quotient = builder.fdiv(a, b)
    return llvm_dual(builder, quotient, builder.fdiv(builder.fsub(da, builder.fmul(quotient, db)), b))


def _comparison(name, symbol):
    """Let a Python comparison of Numbers, or of the values of Duals, give a Condition; of NaN only ``!=`` holds."""
    compare = "fcmp_unordered" if symbol == "!=" else "fcmp_ordered"
    _operator(
        (getattr(operator, name),),
        Condition,
        lambda builder, a, b: getattr(builder, compare)(symbol, a, b),
        lambda builder, a, da, b, db: getattr(builder, compare)(symbol, a, b),
    )


_arithmetic("add", "fadd", _each("fadd"))
_arithmetic("sub", "fsub", _each("fsub"))
_arithmetic("mul", "fmul", _product)
_arithmetic("truediv", "fdiv", _quotient)
for _name, _symbol in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!=")):
    _comparison(_name, _symbol)


def _unary(python_function, emit):
    """Let a Python function of one argument run `emit` on a Number, or on the value and the tangent of a Dual."""

    @intrinsic
    def apply(typingctx, a):
        def codegen(context, builder, signature, args):
            if isinstance(a, Dual):
                return llvm_dual(builder, *(emit(builder, part) for part in llvm_parts(builder, args[0])))
            return emit(builder, args[0])

        return a(a), codegen

    @overload(python_function)
    def on_number(a):
        if isinstance(a, KINDS):
            return lambda a: apply(a)


# NVVM's dialect has no fneg; the sign of zeros and NaN is all that could tell them apart.
_unary(operator.neg, lambda builder, a: builder.fsub(ir.Constant(a.type, -0.0), a))
_unary(operator.pos, lambda builder, a: a)


@intrinsic
def _holds(typingctx, condition):
    """A Condition as a truth value."""
    return types.boolean(condition), lambda context, builder, signature, args: args[0]


@overload(bool)
def _bool(a):
    """``bool`` of a Condition."""
    if isinstance(a, Condition):
        return lambda a: _holds(a)


@intrinsic
def select(typingctx, condition, where_true, where_false):
    """One of two numbers, as a Number of the kind that was compared."""
    number = condition.number

    def codegen(context, builder, signature, args):
        _, *kinds = signature.args
        both = [llvm_number(context, builder, arg, kind, number) for arg, kind in zip(args[1:], kinds)]
        if isinstance(number, Dual):
            pairs = zip(*(llvm_parts(builder, each) for each in both))
            return llvm_dual(builder, *(builder.select(args[0], *pair) for pair in pairs))
        return builder.select(args[0], *both)

    return number(condition, where_true, where_false), codegen


@intrinsic
def multiply_add(typingctx, a, b, c):
    """``a * b + c`` of Numbers, in one rounding."""
    return a(a, b, c), lambda context, builder, signature, args: builder.fma(*args)
