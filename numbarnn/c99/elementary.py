"""The elementary functions in C: the approximations of `cpu.vector_math`, number by number.

They have no branches, no tables and no calls, so that a compiler makes vectors of loops over units that call them.  What
is a vector there is a `Value` here; each of them becomes a function of C, with those that it calls before it.  With fused
multiply-adds they gave the bits that vectors give there, on a Zen 4; without them tanh and sigmoid were off by 2.5 units in
the last place at most, as there.
"""

import numba

from ..cells.elementary import clip, where
from ..cpu.vector_math import LOGARITHM, NORMAL_TAIL, exponential_constants, numbers_of
from .expressions import Recording


def _fma(a, b, c):
    """``a b + c``, in one rounding where the processor has that."""
    return a.made("fma", a, b, c)


def _horner(x, coefficients):
    """The polynomial with these coefficients, the last one first, at x."""
    p = x.filled(coefficients[0])
    for c in coefficients[1:]:
        p = _fma(p, x, c)
    return p


def _tanh(x, kind):
    limit = 10.0 if kind == numba.float32 else 20.0
    per_k, magic, high, low, coefficients = exponential_constants(kind, -2)
    size = abs(x)
    size = where(size > limit, limit, size)
    biased = _fma(size, per_k, magic)
    s = _fma(biased - magic, -(high + low), size)
    p = _fma(s * s, _horner(s, tuple(c / -2 for c in coefficients[:-2])), s)
    scale = biased.made("power_of_two", biased)
    h = _fma(scale, p, _fma(scale, -0.5, 0.5))
    return x.made("copy_sign", h / (1 - h), x)


def _sigmoid(x, kind):
    limit = 87.0 if kind == numba.float32 else 708.0
    per_k, magic, high, low, coefficients = exponential_constants(kind, -1)
    x = clip(x, -limit, limit)
    biased = _fma(x, per_k, magic)
    k = biased - magic
    s = _fma(k, -low, _fma(k, -high, x))
    scale = biased.made("power_of_two", biased)
    p = _fma(s * s, _horner(s, tuple(-c for c in coefficients[:-2])), s)
    return 1 / _fma(-scale, p, scale + 1)


def _exp(x, kind):
    low, high = (-105.0, 90.0) if kind == numba.float32 else (-750.0, 711.0)
    return _exp_of_sum(clip(x, low, high), None, kind)


def _exp_of_sum(x, small, kind):
    """``exp(x + small)`` for x within the exponential's range; `small` reaches the result as if x had more digits."""
    per_k, magic, high, low, coefficients = exponential_constants(kind, 1)
    biased = _fma(x, per_k, magic)
    k = biased - magic
    s = _fma(k, -low, _fma(k, -high, x))
    s = s if small is None else s + small
    return x.made("times_power_of_two", _horner(s, coefficients), biased)


def _expm1(x, kind):
    low, high = (-20.0, 89.0) if kind == numba.float32 else (-40.0, 710.0)
    tiny = 1e-10 if kind == numba.float32 else 1e-20
    per_k, magic, ln2_high, ln2_low, coefficients = exponential_constants(kind, 1)
    magic = magic - 1
    inside = clip(x, low, high)
    biased = _fma(inside, per_k, magic)
    k = biased - magic
    s = _fma(k, -ln2_low, _fma(k, -ln2_high, inside))
    p = _fma(s * s, _horner(s, coefficients[:-2]), s)
    scale = biased.made("power_of_two", biased)
    h = _fma(scale, p, scale - 0.5)
    return where(abs(x) < tiny, x, h + h)


def _softplus(x, kind):
    u = (-abs(x)).applied("exp")
    z = u / (2 + u)
    squared = z * z
    logarithm = _fma(z * squared, _horner(squared, numbers_of(LOGARITHM, kind)), z + z)
    return where(x < 0, logarithm, x + logarithm)


def _normal_and_density(x, kind):
    single = kind == numba.float32
    half_digits = 1.5 * 2.0 ** (16 if single else 32)
    numerator, denominator = (numbers_of(NORMAL_TAIL, kind, n) for n in (0, 1))
    t = clip(abs(x), 0, 15.0 if single else 40.0)
    rounded = (t + half_digits) - half_digits
    rest = (t - rounded) * (t + rounded)
    e = _exp_of_sum(rounded * rounded * -0.5, rest * -0.5, kind)
    tail = e * _horner(t, numerator) / _horner(t, denominator)
    return where(x < 0, tail, 1 - tail), e * 0.3989422804014327


FUNCTIONS = {  # of a Value and Numba's type of its numbers, by which the coefficients are found
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "exp": _exp,
    "expm1": _expm1,
    "softplus": _softplus,
    "normal_distribution": lambda x, kind: _normal_and_density(x, kind)[0],
    "normal_density": lambda x, kind: _normal_and_density(x, kind)[1],
}

POWER_OF_TWO = """\
/* 2 to the power of the k in the low bits of a mantissa, the bias of exponents included. */
static inline {real} {name}_power_of_two({real} biased)
{{
    uint{bits}_t field;
    memcpy(&field, &biased, sizeof field);
    field <<= {mantissa};
    memcpy(&biased, &field, sizeof field);
    return biased;
}}
"""

TIMES_POWER_OF_TWO = """\
/* x times 2 to the power of k, which may be twice as large as an exponent can be: in two halves. */
static inline {real} {name}_times_power_of_two({real} x, {real} biased)
{{
    const {real} zero = {zero};
    uint{bits}_t k, half, field;
    {real} power;
    memcpy(&k, &biased, sizeof k);
    memcpy(&field, &zero, sizeof field);
    k -= field;
    half = ((k + {offset}u) >> 1) - {offset}u / 2u;
    field = (half + {bias}u) << {mantissa};
    memcpy(&power, &field, sizeof power);
    x *= power;
    field = (k - half + {bias}u) << {mantissa};
    memcpy(&power, &field, sizeof power);
    return x * power;
}}
"""


def definitions(names, real, prefix):
    """{name: C} of functions and of those that they call, in the order in which C reads them."""
    found = {}
    for name in names:
        if name not in found:
            _define(name, real, prefix, found)
    return found


def _define(name, real, prefix, found):
    """Add a function to `found` (is modified), after those that it calls."""
    if name in ("power_of_two", "times_power_of_two"):
        template = POWER_OF_TWO if name == "power_of_two" else TIMES_POWER_OF_TWO
        found[name] = template.format(
            real=real.name, name=prefix, bits=real.bits, mantissa=real.mantissa, bias=real.bias,
            offset=8 * (real.bias + 1), zero=real.literal(1.5 * 2.0**real.mantissa + real.bias),
        )  # fmt: skip
        return
    lines, result, called = _body(name, real, prefix)
    for other in called:
        if other not in found:
            _define(other, real, prefix, found)
    body = "\n".join(f"    {line}" for line in lines)
    found[name] = f"static inline {real.name} {prefix}_{name}({real.name} x)\n{{\n{body}\n    return {result};\n}}\n"


def _body(name, real, prefix):
    """(statements, result, functions called) of one function."""
    recording, kind = Recording(real, prefix), numba.from_dtype(real.dtype)
    lines, (result,) = recording.statements([FUNCTIONS[name](recording.argument("x"), kind)])
    return lines, result, recording.called
