"""A number as a Numba type: a float32 or float64 that stays one.

In Numba ``1 - x`` of a float32 is a float64, which a GPU computes at half the speed or less.  Here a literal, or any other
number, beside a Number becomes one of its kind first.  No operation carries a fast-math flag.
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


def llvm_scalar(dtype):
    """The LLVM type of a dtype's numbers."""
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


@register_model(Number)
class NumberModel(models.PrimitiveModel):
    """How LLVM holds a `Number`: as a float."""

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
    """The Number type that a Number, a Condition or a plain float speaks of."""
    return like if isinstance(like, Number) else like.number if isinstance(like, Condition) else Number(like)


def is_number(a):
    """Whether a type is a number's, of this kind or Numba's."""
    return isinstance(a, Number | types.Integer | types.Float)


def llvm_number(context, builder, value, source, number):
    """A value of the type `source` as the Number `number`."""
    if source == number:
        return value
    source = types.unliteral(source)
    return context.cast(builder, value, source.dtype if isinstance(source, Number) else source, number.dtype)


@intrinsic
def as_number(typingctx, like, value):
    """`value` as a Number of the dtype of `like`."""
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


def _operands(a, b):
    """The Number type of two operands, or None where they are none or of different dtypes."""
    kinds = [kind for kind in (a, b) if isinstance(kind, Number)]
    if kinds and is_number(a) and is_number(b) and all(kind == kinds[0] for kind in kinds):
        return kinds[0]


def _operator(python_operators, result, emit):
    """Let the operators run `emit` on two Numbers, or on one and any other number; result: makes the type from Number's."""

    @intrinsic
    def apply(typingctx, a, b):
        number = _operands(a, b)
        if number is not None:

            def codegen(context, builder, signature, args):
                return emit(
                    builder,
                    *(llvm_number(context, builder, arg, kind, number) for arg, kind in zip(args, signature.args)),
                )

            return result(number)(a, b), codegen

    for python_operator in python_operators:

        @overload(python_operator)
        def on_numbers(a, b):
            if _operands(a, b) is not None:
                return lambda a, b: apply(a, b)


def _arithmetic(name, instruction):
    """Let a Python operator run an LLVM instruction on Numbers."""
    _operator(
        (getattr(operator, name), getattr(operator, f"i{name}")),
        lambda number: number,
        lambda builder, a, b: getattr(builder, instruction)(a, b),
    )


def _comparison(name, symbol):
    """Let a Python comparison of Numbers give a Condition; of NaN only ``!=`` holds."""
    compare = "fcmp_unordered" if symbol == "!=" else "fcmp_ordered"
    _operator((getattr(operator, name),), Condition, lambda builder, a, b: getattr(builder, compare)(symbol, a, b))


for _name, _instruction in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    _arithmetic(_name, _instruction)
for _name, _symbol in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!=")):
    _comparison(_name, _symbol)


def _unary(python_function, emit):
    """Let a Python function of one argument run `emit` on a Number."""

    @intrinsic
    def apply(typingctx, a):
        return a(a), lambda context, builder, signature, args: emit(builder, args[0])

    @overload(python_function)
    def on_number(a):
        if isinstance(a, Number):
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
        _, kind_true, kind_false = signature.args
        return builder.select(
            args[0],
            llvm_number(context, builder, args[1], kind_true, number),
            llvm_number(context, builder, args[2], kind_false, number),
        )

    return number(condition, where_true, where_false), codegen


@intrinsic
def multiply_add(typingctx, a, b, c):
    """``a * b + c`` of Numbers, in one rounding."""
    return a(a, b, c), lambda context, builder, signature, args: builder.fma(*args)
