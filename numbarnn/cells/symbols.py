"""What equations run on where no kernel runs them: values that do what a vector of units can, and say what they cannot."""

import operator

OWN = "the functions of numbarnn.elementary"
NUMPY_OPERATORS = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "less": operator.lt, "less_equal": operator.le, "greater": operator.gt, "greater_equal": operator.ge,
}  # fmt: skip
ELEMENTARY = {  # what stands for NumPy's and math's functions
    "exp": "exp", "expm1": "expm1", "tanh": "tanh", "sqrt": "sqrt", "clip": "clip", "where": "where",
    "logaddexp": "softplus", "full_like": "full_like", "maximum": "where", "minimum": "where",
    "ones_like": "full_like", "zeros_like": "full_like",
}  # fmt: skip


class RuleError(Exception):
    """Equations do what no kernel can do; the message is the rule."""


def _breaks(rule):
    """A method that raises RuleError with the rule, whatever it is called with."""

    def method(self, *args, **options):
        raise RuleError(rule)

    return method


CONDITION = (
    "a comparison holds for some units and not for others, so that if, while, and, or, not, min and max cannot decide by "
    "it; numbarnn.elementary.where(condition, a, b) takes one of two values for each unit"
)
ONE_NUMBER = f"float, int, round and the functions of math and cmath take one number and no vector of units; {OWN} take both"
NO_ENTRIES = "a value is one number of each unit, and has no entries"
PRINTED = "values are known only while a kernel runs, and cannot be printed or made into text"


class Operand:
    """What elementary functions are applied to by its own method ``applied(name)``."""

    __slots__ = ()


class _Opaque:
    """What symbols of values and of comparisons have in common."""

    __slots__ = ()
    __hash__ = object.__hash__
    __bool__ = _breaks(CONDITION)
    __float__ = __int__ = __index__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = _breaks(ONE_NUMBER)
    __len__ = __iter__ = __getitem__ = __setitem__ = __contains__ = _breaks(NO_ENTRIES)
    __str__ = __repr__ = __format__ = _breaks(PRINTED)
    __call__ = _breaks("a value is a number, and cannot be called")
    __array__ = _breaks(f"NumPy's functions take arrays and no vector of units; {OWN} take both")

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        raise RuleError(f"a value is a number, and has no attribute {name}")

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        found = NUMPY_OPERATORS.get(ufunc.__name__)
        if found is None or method != "__call__" or options:
            self.__array_function__(ufunc, None, None, None)
        for value in inputs:
            _checked(value)
        return found(*map(_plain, inputs))

    def __array_function__(self, function, kinds, args, options):
        name = function.__name__
        instead = f"numbarnn.elementary.{ELEMENTARY[name]} does" if name in ELEMENTARY else f"{OWN} do"
        raise RuleError(f"numpy.{name} takes no vector of units; {instead}")


def _plain(value):
    """A scalar of NumPy's as a Python number; anything else as it is."""
    return value.item() if not isinstance(value, _Opaque) and getattr(value, "shape", None) == () else value


def _unsupported(symbol, instead):
    """A method for an operator that values do not have; instead: what to write in its place."""
    return _breaks(f"there is no operator {symbol} of values; {instead}")


class Comparison(_Opaque):
    """What a comparison of values says, unit by unit."""

    __slots__ = ()

    def chooses(self, x, y):
        """The value that is `x` where the comparison holds, else `y`."""
        return Symbol()

    def _unsupported(self, *others):
        """Raise RuleError: a comparison only chooses between values."""
        raise RuleError(
            "a comparison is no number, and is not combined by operators; numbarnn.elementary.where(condition, a, b) makes "
            "numbers of it, and another where in the place of a or b makes a second condition"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _unsupported
    __neg__ = __abs__ = __eq__ = __ne__ = _unsupported
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __invert__ = _unsupported
    __lt__ = __le__ = __gt__ = __ge__ = __floordiv__ = __mod__ = __pow__ = _unsupported


def _checked(other):
    """Raise unless a value meets a value or a number."""
    kind = type(other).__name__
    if isinstance(other, Symbol) or (isinstance(other, (int, float)) and kind not in ("bool", "bool_")):
        return
    if isinstance(other, Comparison):
        other._unsupported()
    if hasattr(other, "dtype") and getattr(other, "shape", None) == () and other.dtype.kind in "iuf":  # NumPy's
        return
    raise RuleError(f"a value is added to, multiplied by and compared with values and numbers alone, and this is a {kind}")


def _binary(name):
    """A method for an operator of a value and a value or number."""

    def method(self, other):
        _checked(other)
        return self.combined(name, other)

    return method


def _unary(name):
    """A method for an operator of one value."""
    return lambda self: self.applied(name)


COMPARISONS = ("lt", "le", "gt", "ge")


class Symbol(_Opaque, Operand):
    """A value of each unit; a subclass may note what is made of it."""

    __slots__ = ()

    def applied(self, name):
        """The value that a function of one value makes of it: one of `elementary`, neg, abs or pos."""
        return Symbol()

    def filled(self, number):
        """The value that is a number in each unit."""
        return Symbol()

    def combined(self, name, other):
        """What an operator makes of it and of a value or number: a Comparison of lt, le, gt and ge, else a value."""
        return Comparison() if name in COMPARISONS else Symbol()

    __neg__, __abs__, __pos__ = map(_unary, ("neg", "abs", "pos"))
    __pow__ = __rpow__ = _unsupported("**", "x * x is a square, numbarnn.elementary.sqrt a root")
    __floordiv__ = __rfloordiv__ = _unsupported("//", "/ divides")
    __mod__ = __rmod__ = __divmod__ = __rdivmod__ = _unsupported("%", "+, -, * and / are there")
    __matmul__ = __rmatmul__ = _unsupported("@", "products with weights are made before the equations")
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __invert__ = _unsupported("&, |, ^ or ~", CONDITION)
    __lshift__ = __rshift__ = _unsupported("<< or >>", "* and / are there")
    __eq__ = __ne__ = _unsupported("== or !=", "<, <=, > and >= compare")


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", *COMPARISONS):
    setattr(Symbol, f"__{_name}__", _binary(_name))


def chosen(condition, x, y):
    """What `elementary.where` makes of symbols."""
    if not isinstance(condition, Comparison):
        raise RuleError("the condition of where is a comparison of values by <, <=, > or >=")
    for value in (x, y):
        _checked(value)
    return condition.chooses(x, y)


class Values(tuple):
    """A tuple of values, by its name: an index out of range says what there is."""

    def __new__(cls, name, count, of):
        found = super().__new__(cls, [Symbol() for _ in range(count)])
        found.name, found.of = name, of
        return found

    def __getitem__(self, index):
        try:
            return super().__getitem__(index)
        except IndexError:
            raise RuleError(f"{self.name}[{index}]: {self.name} has {len(self)} values, {self.of}") from None
        except TypeError:
            raise RuleError(f"{self.name}: expected an integer in the brackets, got a {type(index).__name__}") from None
