"""Elementary functions of Numbers and of Duals, and what else the activation functions are written with.

They are CUDA's own (libdevice), in the accurate versions.
"""

import math

from numba import types

from ..cells import elementary
from ..engine import dual_rules
from . import extending
from .extending import COMPILED, overload, register_jitable
from .number import KINDS, Condition, Dual, Number, as_number, dual, multiply_add, plain, select, tangent_of, value_of

if COMPILED:
    from numba.cuda import libdevice


@overload(elementary.where)
def _where(condition, x, y):
    """`elementary.where` on Numbers."""
    if isinstance(condition, Condition):
        return lambda condition, x, y: select(condition, x, y)


@overload(elementary.full_like)
def _full_like(x, number):
    """`elementary.full_like` on Numbers."""
    if isinstance(x, KINDS):
        return lambda x, number: as_number(x, number)


def _from_math(function, of_floats):
    """Let an elementary function of a Number be a function of the float."""

    @overload(function)
    def on_number(x):
        if isinstance(x, Number):
            return lambda x: as_number(x, of_floats(plain(x)))


_from_math(abs, math.fabs)
_from_math(elementary.sqrt, math.sqrt)
_from_math(elementary.exp, math.exp)
_from_math(elementary.expm1, math.expm1)
_from_math(elementary.tanh, math.tanh)


@overload(elementary.sigmoid)
def _sigmoid(x):
    """As ``1 / (1 + exp(-x))``: the exponential may be infinite."""
    if isinstance(x, Number):
        return lambda x: 1 / (1 + elementary.exp(-x))


@overload(elementary.softplus)
def _softplus(x):
    """As ``max(x, 0) + log(1 + exp(-|x|))``."""
    if isinstance(x, Number):

        def on_number(x):
            logarithm = as_number(x, math.log1p(plain(elementary.exp(-abs(x)))))
            return elementary.where(x < 0, logarithm, x + logarithm)

        return on_number


@overload(elementary.normal)
def _normal(x):
    """The density with what rounding took from the square of x: exp makes much of it."""
    if isinstance(x, Number):
        single = x.dtype == types.float32
        distribution = libdevice.normcdff if single else libdevice.normcdf
        limit = 15.0 if single else 40.0  # the density is 0 from there on

        def on_number(x):
            inside = elementary.clip(x, -limit, limit)
            squared = inside * inside
            rest = multiply_add(inside, inside, -squared)
            e = elementary.exp(squared * -0.5)
            return as_number(x, distribution(plain(x))), (e - e * (rest * 0.5)) * 0.3989422804014327

        return on_number


register_jitable(elementary.clip)


dual_rules.register(extending, Dual, value_of, tangent_of, dual)
