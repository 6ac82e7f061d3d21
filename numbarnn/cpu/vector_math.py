"""Elementary functions of SIMD vectors, and what else the activation functions are written with."""

import operator

import numpy as np
from numba import types

from ..cells import elementary
from .extending import overload, register_jitable
from .simd import (
    Mask,
    Vector,
    absolute,
    copy_sign,
    fma,
    greater,
    negative,
    power_of_two,
    select,
    splat,
    square_root,
    times_power_of_two,
)

# exp(m x) on vectors, m being 1, -1 or -2: m x = k ln 2 + m s with |m s| <= ln 2 / 2, exp(m x) = 2^k exp(m s).  For t = m s,
# exp(t) = 1 + t + t^2 (c_2 + c_3 t + ...).  The c_n are minimax coefficients close to 1 / n!, the last one first below:
# with them exp(t) - 1 is off by 1.4e-8 |t| at most in float32, by 2.2e-17 |t| in float64, besides rounding.
#
# Largest errors measured with 64-byte vectors, in units in the last place; float32: every number in [-20, 20], float64:
# a sample of them.  tanh: 2.50 and 2.92, sigmoid: 2.44 and 1.97; docs/activations.rst has the others.
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


def exponential_constants(dtype, m):
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
    """The polynomial with these coefficients, the last one first, at x."""
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


@overload(elementary.tanh)
def _tanh(x):
    """As ``h / (1 - h)`` with ``h = (1 - exp(-2 |x|)) / 2``; k is small where it counts: one part of ln 2 is enough."""
    if isinstance(x, Vector):
        limit = 10.0 if x.dtype == types.float32 else 20.0  # tanh(limit) rounds to 1
        per_k, magic, high, low, coefficients = exponential_constants(x.dtype, -2)
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


@overload(elementary.sigmoid)
def _sigmoid(x):
    """As ``1 / (1 + 2^k - 2^k p)`` with ``p = 1 - exp(-s)``: 1 and 2^k are added without rounding where that counts."""
    if isinstance(x, Vector):
        limit = 87.0 if x.dtype == types.float32 else 708.0  # exp(limit) is finite
        per_k, magic, high, low, coefficients = exponential_constants(x.dtype, -1)
        tail = tuple(-c for c in coefficients[:-2])

        def on_vector(x):
            one, x = splat(x, 1), clamp(x, limit)
            biased = fma(x, splat(x, per_k), splat(x, magic))
            k = biased - magic
            s = fma(k, splat(x, -low), fma(k, splat(x, -high), x))
            scale = power_of_two(x, biased)
            p = fma(s * s, _horner(s, tail), s)
            return one / fma(negative(scale), p, scale + one)

        return on_vector


@overload(abs)
def _absolute(x):
    """``abs`` on vectors."""
    if isinstance(x, Vector):
        return lambda x: absolute(x)


@overload(operator.neg)
def _negative(x):
    """``-x`` on vectors."""
    if isinstance(x, Vector):
        return lambda x: negative(x)


@overload(operator.pos)
def _positive(x):
    """``+x`` on vectors."""
    if isinstance(x, Vector):
        return lambda x: x


@overload(elementary.sqrt)
def _sqrt(x):
    """`elementary.sqrt` on vectors."""
    if isinstance(x, Vector):
        return lambda x: square_root(x)


@overload(elementary.where)
def _where(condition, x, y):
    """`elementary.where` on vectors and numbers."""
    if isinstance(condition, Mask) and isinstance(condition.vector, Vector):
        if isinstance(x, Vector) and isinstance(y, Vector):
            return lambda condition, x, y: select(condition, x, y)
        if isinstance(x, Vector):
            return lambda condition, x, y: select(condition, x, splat(condition, y))
        if isinstance(y, Vector):
            return lambda condition, x, y: select(condition, splat(condition, x), y)
        return lambda condition, x, y: select(condition, splat(condition, x), splat(condition, y))


@overload(elementary.full_like)
def _full_like(x, number):
    """`elementary.full_like` on vectors."""
    if isinstance(x, Vector):
        return lambda x, number: splat(x, number)


@overload(elementary.exp)
def _exp(x):
    """With gradual underflow, and infinity where it overflows."""
    if isinstance(x, Vector):
        low, high = (-105.0, 90.0) if x.dtype == types.float32 else (-750.0, 711.0)

        def on_vector(x):
            return _exp_of_sum(elementary.clip(x, low, high), splat(x, 0))

        return on_vector


def _exp_of_sum(x, small):
    """``exp(x + small)``: `small` reaches the result as if x had more digits."""


@overload(_exp_of_sum)
def _exp_of_sum_on_vectors(x, small):
    """Like `_exp`, for x that is within the exponential's range."""
    per_k, magic, high, low, coefficients = exponential_constants(x.dtype, 1)

    def on_vectors(x, small):
        biased = fma(x, splat(x, per_k), splat(x, magic))
        k = biased - magic
        s = fma(k, splat(x, -low), fma(k, splat(x, -high), x)) + small
        return times_power_of_two(_horner(s, coefficients), biased)

    return on_vectors


@overload(elementary.expm1)
def _expm1(x):
    """Twice ``2^(k - 1) (exp(s) - 1) + 2^(k - 1) - 1 / 2``: half, so that the largest numbers do not overflow on the way."""
    if isinstance(x, Vector):
        low, high = (-20.0, 89.0) if x.dtype == types.float32 else (-40.0, 710.0)  # -1 and infinity, rounded
        tiny = 1e-10 if x.dtype == types.float32 else 1e-20  # expm1(tiny) rounds to tiny
        per_k, magic, ln2_high, ln2_low, coefficients = exponential_constants(x.dtype, 1)
        magic, tail = magic - 1, coefficients[:-2]

        def on_vector(x):
            inside = elementary.clip(x, low, high)
            biased = fma(inside, splat(x, per_k), splat(x, magic))
            k = biased - magic
            s = fma(k, splat(x, -ln2_low), fma(k, splat(x, -ln2_high), inside))
            p = fma(s * s, _horner(s, tail), s)
            scale = power_of_two(x, biased)
            h = fma(scale, p, scale - 0.5)
            return elementary.where(absolute(x) < tiny, x, h + h)

        return on_vector


# log(1 + u) for u in [0, 1] is log((1 + z) / (1 - z)) = 2 z + z^3 (l_0 + l_1 z^2 + ...) with z = u / (2 + u).  The l_n are
# minimax coefficients close to 2 / (2 n + 3), the last one first; with them the logarithm is off by 4.6e-9 of itself in
# float32, by 5e-17 in float64, besides rounding.

LOGARITHM = {
    types.float32: "0x1.1ef8b4p-2 0x1.1eb600p-2 0x1.99d27cp-2 0x1.555500p-1",
    types.float64: """
        0x1.6b7950687f242p-3 0x1.95750f5375c18p-4 0x1.1643b2b23fdcbp-3 0x1.3aa8aedbc669ap-3 0x1.746257bf156acp-3
        0x1.c71c4a22c03a1p-3 0x1.24924978f0ab4p-2 0x1.99999998e9dd8p-2 0x1.5555555555945p-1
    """,
}


@overload(elementary.softplus)
def _softplus(x):
    """As ``max(x, 0) + log(1 + exp(-|x|))``."""
    if isinstance(x, Vector):
        coefficients = numbers_of(LOGARITHM, x.dtype)

        def on_vector(x):
            u = elementary.exp(-absolute(x))
            z = u / (2 + u)
            squared = z * z
            logarithm = fma(z * squared, _horner(squared, coefficients), z + z)
            return elementary.where(x < 0, logarithm, x + logarithm)

        return on_vector


# P(X < -t) for t >= 0 and a standard normal X is exp(-t^2 / 2) N(t) / D(t).  N and D are polynomials without a negative
# coefficient, the last one first below; the quotient is off by 6.3e-9 of itself for t < 15 in float32, by 5.4e-17 for
# t < 40 in float64, besides rounding: past that the exponential is 0.

NORMAL_TAIL = {
    types.float32: (
        "0x1.102b46p-8 0x1.4ee270p-5 0x1.78c24ap-3 0x1.c1d1dep-2 0x1p-1",
        "0x1.551c12p-7 0x1.a3bd96p-4 0x1.e2b59ep-2 0x1.349d86p+0 0x1.ad2b20p+0 0x1p+0",
    ),
    types.float64: (
        """
        0x1.76e9ca1e2404ap-20 0x1.3a92c4b7fdab4p-15 0x1.0289d80e87b46p-11 0x1.0d38fb9495933p-8 0x1.84789f9a0fb29p-6
        0x1.915af2efee3dbp-4 0x1.28eec96fd64c3p-2 0x1.309c574d1a300p-1 0x1.8d0d525a6a015p-1 0x1p-1
        """,
        """
        0x1.d5e2520ac8b91p-19 0x1.8a4259be824b1p-14 0x1.44f298927262bp-10 0x1.5480290923b10p-7 0x1.f0f1ebfeff69ep-5
        0x1.05dd2e295389ap-2 0x1.915505094bf9cp-1 0x1.b79e4eab4c0a4p+0 0x1.48318b2bede66p+1 0x1.2ca7bdfc85d87p+1 0x1p+0
        """,
    ),
}


@overload(elementary.normal)
def _normal(x):
    """(P(X < x), density) of the normal distribution; t^2 is the exact square of t's first digits, and a rest."""
    if isinstance(x, Vector):
        single = x.dtype == types.float32
        largest = 15.0 if single else 40.0
        half_digits = 1.5 * 2.0 ** (16 if single else 32)  # adding it leaves 7 or 20 binary places
        numerator, denominator = (numbers_of(NORMAL_TAIL, x.dtype, n) for n in (0, 1))

        def on_vector(x):
            t = elementary.clip(absolute(x), 0, largest)
            rounded = (t + half_digits) - half_digits
            rest = (t - rounded) * (t + rounded)
            e = _exp_of_sum(rounded * rounded * -0.5, rest * -0.5)
            tail = e * _horner(t, numerator) / _horner(t, denominator)
            return elementary.where(x < 0, tail, 1 - tail), e * 0.3989422804014327

        return on_vector


def numbers_of(table, dtype, part=None):
    """Coefficients of a table, as numbers of a dtype."""
    text = table[dtype] if part is None else table[dtype][part]
    return tuple((np.float32 if dtype == types.float32 else np.float64)(float.fromhex(c)) for c in text.split())


register_jitable(elementary.clip)
