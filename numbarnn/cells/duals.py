"""Dual numbers: a value and its tangent, so that what computes numbers computes derivatives as well.

A dual number is ``a + e a'`` with ``e e = 0``.  `RULES` has what each elementary function makes of one: a backend computes
them on its own kind of numbers.  `DualNumber` is one of them in Python.

Comparisons look at values alone: a kink has the slope of one of its sides.
"""

from . import elementary
from .elementary import clip
from .symbols import Operand


def sqrt(x, tangent):
    """The slope is ``1 / (2 y)``."""
    y = elementary.sqrt(x)
    return y, tangent / (y + y)


def exp(x, tangent):
    """The slope is y."""
    y = elementary.exp(x)
    return y, tangent * y


def expm1(x, tangent):
    """The slope is ``exp(x)``; not y + 1, which has lost its digits where x is far below 0."""
    return elementary.expm1(x), tangent * elementary.exp(x)


def tanh(x, tangent):
    """The slope is ``1 - y^2``."""
    y = elementary.tanh(x)
    return y, tangent * (1 - y * y)


def sigmoid(x, tangent):
    """The slope is ``y (1 - y)``."""
    y = elementary.sigmoid(x)
    return y, tangent * (y * (1 - y))


def softplus(x, tangent):
    """The slope is the logistic function."""
    return elementary.softplus(x), tangent * elementary.sigmoid(x)


def normal(x, tangent):
    """The slope of the distribution function is the density, and the density's is ``-x`` times itself."""
    below, density = elementary.normal(x)
    slope = tangent * density
    far = clip(x, -1e18, 1e18)  # the density is 0 there: no infinity times 0
    return below, slope, density, -far * slope


RULES = {  # of functions of one number that give one: from a value and its tangent to those of the result
    elementary.sqrt: sqrt, elementary.exp: exp, elementary.expm1: expm1, elementary.tanh: tanh,
    elementary.sigmoid: sigmoid, elementary.softplus: softplus,
}  # fmt: skip
BY_NAME = {function.__name__: rule for function, rule in RULES.items()}


def parts(x):
    """(value, tangent) of a dual number or of any other one, whose tangent is 0."""
    return (x.value, x.tangent) if isinstance(x, DualNumber) else (x, 0.0)


class DualNumber(Operand):
    """A dual number in Python, which NumPy's arrays of complex numbers take.

    Parameters
    ----------
    value, tangent : float
    """

    __slots__ = ("tangent", "value")
    __array_ufunc__ = None  # a NumPy number beside it leaves the operator to it

    def __init__(self, value, tangent):
        self.value, self.tangent = value, tangent

    def __complex__(self):
        return complex(self.value, self.tangent)

    def __add__(self, other):
        b, db = parts(other)
        return DualNumber(self.value + b, self.tangent + db)

    __radd__ = __add__

    def __neg__(self):
        return DualNumber(-self.value, -self.tangent)

    def __pos__(self):
        return self

    def __abs__(self):
        return -self if self.value < 0 else self

    def __sub__(self, other):
        b, db = parts(other)
        return DualNumber(self.value - b, self.tangent - db)

    def __rsub__(self, other):
        return DualNumber(other - self.value, -self.tangent)

    def __mul__(self, other):
        b, db = parts(other)
        return DualNumber(self.value * b, self.value * db + self.tangent * b)

    __rmul__ = __mul__

    def __truediv__(self, other):
        b, db = parts(other)
        quotient = self.value / b
        return DualNumber(quotient, (self.tangent - quotient * db) / b)

    def __rtruediv__(self, other):
        return DualNumber(other, 0.0) / self

    __hash__ = None

    def __eq__(self, other):
        return self.value == parts(other)[0]

    def __lt__(self, other):
        return self.value < parts(other)[0]

    def __le__(self, other):
        return self.value <= parts(other)[0]

    def __gt__(self, other):
        return self.value > parts(other)[0]

    def __ge__(self, other):
        return self.value >= parts(other)[0]

    def applied(self, name):
        """What an elementary function makes of it, by the name of the function."""
        if name in BY_NAME:
            return DualNumber(*BY_NAME[name](self.value, self.tangent))
        below, slope, density, bend = normal(self.value, self.tangent)
        return DualNumber(below, slope) if name == "normal_distribution" else DualNumber(density, bend)
