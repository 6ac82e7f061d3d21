"""Equations as C: values that keep what is done to them, and the statements that compute them.

A `Value` is a `Symbol`, so the equations of a cell run on it as they run on a vector of units.  Each operation becomes one
statement, and none is computed twice.
"""

from ..cells.symbols import COMPARISONS, Comparison, Symbol

OPERATORS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
LIBM = {"abs": "fabs", "sqrt": "sqrt", "copy_sign": "copysign"}  # functions of libm that compilers have instructions for


class Value(Symbol):
    """A number of C: its `text`, a name or a literal, or the operation that makes it."""

    __slots__ = ("_recording", "_text", "_operation", "_operands")

    def __init__(self, recording, text=None, operation=None, operands=()):
        self._recording, self._text, self._operation, self._operands = recording, text, operation, operands

    def made(self, operation, *operands):
        """What an operation of C makes of values and numbers."""
        return self._recording.computed(operation, operands)

    def applied(self, name):
        return self.made(name, self)

    def filled(self, number):
        return self._recording.value(number)

    def combined(self, name, other):
        if name in COMPARISONS:
            return Condition(self._recording, name, (self, self._recording.value(other)))
        return self.made(name, self, other) if name in OPERATORS else self.made(name[1:], other, self)  # radd, rsub, ...


class Condition(Comparison):
    """A comparison of two of them."""

    __slots__ = ("_recording", "_operation", "_operands")

    def __init__(self, recording, operation, operands):
        self._recording, self._operation, self._operands = recording, operation, operands

    def chooses(self, x, y):
        return self._recording.computed(("where", self._operation), (*self._operands, x, y))


class Recording:
    """What equations do, from the values that they are given to those that they return.

    Parameters
    ----------
    real : Real
    prefix : str
        What the names of functions begin with.

    Attributes
    ----------
    called : list of str
        The functions of `elementary` that statements call, each once.
    """

    def __init__(self, real, prefix):
        self.real, self.prefix, self.called = real, prefix, []
        self._found, self._literals = {}, {}

    def read(self, text):
        """The value of an expression of C that has no effect, such as an entry of an array."""
        return self.computed("read", (), text)

    def argument(self, name):
        """The value of an argument of a function, or of a variable."""
        return Value(self, name)

    def value(self, operand):
        """A value or a number as a Value."""
        if isinstance(operand, Value):
            return operand
        literal = self.real.literal(operand)
        if literal not in self._literals:
            self._literals[literal] = Value(self, literal)
        return self._literals[literal]

    def computed(self, operation, operands, text=None):
        """The Value that an operation makes of values and numbers: the same one for the same operation."""
        operands = tuple(map(self.value, operands))
        if operation == "pos":
            return operands[0]
        key = operation, text, tuple(map(id, operands))
        if key not in self._found:
            self._found[key] = Value(self, text, operation, operands)
        return self._found[key]

    def statements(self, outputs):
        """(statements of C, the texts of the outputs): all that these need, each operation once, and no more."""
        names, lines = {}, []

        def text_of(value):
            if value._operation is None:
                return value._text
            if id(value) not in names:
                operands = [text_of(operand) for operand in value._operands]
                expression = self._expression(value, operands)
                names[id(value)] = f"v{len(names)}"
                lines.append(f"const {self.real.name} {names[id(value)]} = {expression};")
            return names[id(value)]

        texts = [text_of(output) for output in outputs]
        return lines, texts

    def _expression(self, value, operands):
        """The expression of one operation, from the texts of its operands."""
        operation = value._operation
        if operation == "read":
            return value._text
        if isinstance(operation, tuple):
            left, right, x, y = operands
            return f"{left} {OPERATORS[operation[1]]} {right} ? {x} : {y}"
        if operation in OPERATORS:
            return f"{operands[0]} {OPERATORS[operation]} {_in_brackets(operands[1])}"
        if operation == "neg":
            return f"-{_in_brackets(operands[0])}"
        if operation in LIBM:
            return f"{LIBM[operation]}{self.real.suffix}({', '.join(operands)})"
        if operation == "fma":
            return f"{self.prefix.upper()}_FMA({', '.join(operands)})"
        if operation not in self.called:
            self.called.append(operation)
        return f"{self.prefix}_{operation}({', '.join(operands)})"


def _in_brackets(text):
    """A literal with a sign in brackets, which an operator may stand before."""
    return f"({text})" if text.startswith("-") else text
