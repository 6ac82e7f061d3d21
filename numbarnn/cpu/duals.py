"""Dual numbers in kernels: a value and its tangent, so that what computes numbers computes derivatives as well.

A dual number, see `cells.duals`, has the size of a complex number, and lies in memory like one, the tangent in the place of
the imaginary part.  A kernel whose dtype is complex128 computes with dual numbers: its loads and stores are in
`simd`, and here are the operators and functions that the equations are made of.  So a cell's forward and adjoint are
their own derivatives, and no equation is written twice.

Comparisons look at values alone: a kink has the slope of one of its sides.
"""

import operator

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..cells import elementary
from ..engine import dual_rules
from . import extending
from .extending import overload
from .simd import select, splat
from .vectors import INT32, Dual, Mask, Vector, llvm_pairs, llvm_swapped, llvm_tangents


def _every_second(builder, pairs, dual, part):
    """The values of dual numbers, or their tangents, for part 1."""
    lanes = ir.Constant(ir.VectorType(INT32, dual.lanes), list(range(part, dual.floats, 2)))
    return builder.shuffle_vector(pairs, pairs, lanes)


@intrinsic
def value_of(typingctx, a):
    """The values of a dual vector."""
    result = Vector(a.number, a.lanes)

    def codegen(context, builder, signature, args):
        return _every_second(builder, args[0], a, 0)

    return result(a), codegen


@intrinsic
def tangent_of(typingctx, a):
    """The tangents of a dual vector."""
    result = Vector(a.number, a.lanes)

    def codegen(context, builder, signature, args):
        return _every_second(builder, args[0], a, 1)

    return result(a), codegen


@intrinsic
def dual(typingctx, like, value, tangent):
    """The dual vector, of the type of `like`, of these values and tangents."""

    def codegen(context, builder, signature, args):
        lanes = [i // 2 + i % 2 * like.lanes for i in range(like.floats)]
        mask = ir.Constant(ir.VectorType(INT32, like.floats), lanes)
        return builder.shuffle_vector(args[1], args[2], mask)

    return like(like, value, tangent), codegen


def _operator(python_operators, emit):
    """Let Python's operators run `emit(builder, dual, a, b)` on dual vectors, or on one and a number."""

    @intrinsic
    def apply(typingctx, a, b):
        return a(a, b), lambda context, builder, signature, args: emit(builder, a, *args)

    for python_operator in python_operators:
        _on_duals(python_operator, apply)


def _on_duals(python_operator, apply):
    """Let an operator run an intrinsic on dual vectors."""

    @overload(python_operator)
    def on_duals(a, b):
        if isinstance(a, Dual) and isinstance(b, Dual):
            return lambda a, b: apply(a, b)
        if isinstance(a, Dual) and isinstance(b, types.Number):
            return lambda a, b: apply(a, splat(a, b))
        if isinstance(b, Dual) and isinstance(a, types.Number):
            return lambda a, b: apply(splat(b, a), b)


def _emit_product(builder, dual, a, b):
    """``a b``: the value ``a b``, the tangent ``a b' + a' b``."""
    values, tangents = llvm_pairs(builder, dual, a)
    return builder.fadd(builder.fmul(values, b), builder.fmul(tangents, llvm_swapped(builder, dual, b)))


def _emit_quotient(builder, dual, a, b):
    """``a / b``: the value ``q = a / b``, the tangent ``(a' - q b') / b``."""
    divisor, _ = llvm_pairs(builder, dual, b)
    quotient, _ = llvm_pairs(builder, dual, builder.fdiv(a, divisor))
    rest = builder.fdiv(builder.fsub(a, builder.fmul(quotient, b)), divisor)
    return llvm_tangents(builder, dual, rest, quotient)


def _comparison(python_operator, symbol):
    """Let a comparison look at values; a NaN compares false."""

    @intrinsic
    def apply(typingctx, a, b):
        def codegen(context, builder, signature, args):
            return builder.fcmp_ordered(symbol, *(_every_second(builder, arg, a, 0) for arg in args))

        return Mask(a)(a, b), codegen

    _on_duals(python_operator, apply)


_operator((operator.add, operator.iadd), lambda builder, dual, a, b: builder.fadd(a, b))
_operator((operator.sub, operator.isub), lambda builder, dual, a, b: builder.fsub(a, b))
_operator((operator.mul, operator.imul), _emit_product)
_operator((operator.truediv, operator.itruediv), _emit_quotient)
for _python_operator, _symbol in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
    _comparison(_python_operator, _symbol)


@intrinsic
def _opposite(typingctx, a):
    """`a` with the other sign, its tangent too."""
    return a(a), lambda context, builder, signature, args: builder.fneg(args[0])


@overload(operator.neg)
def _negative(x):
    """``-x``."""
    if isinstance(x, Dual):
        return lambda x: _opposite(x)


@overload(operator.pos)
def _positive(x):
    """``+x``."""
    if isinstance(x, Dual):
        return lambda x: x


@overload(elementary.where)
def _where(condition, x, y):
    """`elementary.where` with the mask of a comparison of dual vectors."""
    if isinstance(condition, Mask) and isinstance(condition.vector, Dual):
        if isinstance(x, Dual) and isinstance(y, Dual):
            return lambda condition, x, y: select(condition, x, y)
        if isinstance(x, Dual):
            return lambda condition, x, y: select(condition, x, splat(condition, y))
        if isinstance(y, Dual):
            return lambda condition, x, y: select(condition, splat(condition, x), y)
        return lambda condition, x, y: select(condition, splat(condition, x), splat(condition, y))


@overload(elementary.full_like)
def _full_like(x, number):
    """`elementary.full_like`: a constant's tangent is 0."""
    if isinstance(x, Dual):
        return lambda x, number: splat(x, number)


dual_rules.register(extending, Dual, value_of, tangent_of, dual)
