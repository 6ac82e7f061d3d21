"""The equations of cells and activation functions as nodes: they are run once, on symbols that note what is made of them."""

import math

from ...cells.dry_run import equations
from ...cells.symbols import COMPARISONS, Comparison, RuleError, Symbol
from ...errors import ConversionError

OPERATORS = {"add": "Add", "sub": "Sub", "mul": "Mul", "truediv": "Div"}
COMPARED = dict(zip(COMPARISONS, ("Less", "LessOrEqual", "Greater", "GreaterOrEqual")))
FUNCTIONS = {
    "exp": "Exp", "tanh": "Tanh", "sigmoid": "Sigmoid", "sqrt": "Sqrt", "softplus": "Softplus", "abs": "Abs", "neg": "Neg",
    "pos": "Identity",
}  # fmt: skip


class Traced(Symbol):
    """A value of each unit that is the output of a node.

    Parameters
    ----------
    writer : NodeWriter
    name : str
        Of the value in its graph.
    """

    __slots__ = ("name", "writer")

    def __init__(self, writer, name):
        self.writer, self.name = writer, name

    def _made(self, operator, *inputs, **attributes):
        return Traced(self.writer, self.writer.node(operator, *inputs, **attributes))

    def _named(self, value):
        return value.name if isinstance(value, Traced) else self.writer.number(value)

    def applied(self, name):
        if name in FUNCTIONS:
            return self._made(FUNCTIONS[name], self.name)
        if name == "expm1":  # ONNX has none, and exp(x) - 1 loses the digits of a small x
            half = self._made("Tanh", (self * 0.5).name)
            return half * (self.applied("exp") + 1.0)
        if name == "normal_distribution":
            return 0.5 * (1.0 + self._made("Erf", (self * math.sqrt(0.5)).name))
        return (self * self * -0.5).applied("exp") * (1 / math.sqrt(2 * math.pi))

    def filled(self, number):
        return self._made("Expand", self.writer.number(number), self.writer.node("Shape", self.name))

    def combined(self, name, other):
        pair = self.name, self._named(other)
        if name in COMPARED:
            return TracedComparison(self.writer, self.writer.node(COMPARED[name], *pair))
        if name not in OPERATORS:
            name, pair = name[1:], pair[::-1]  # radd and the like: the other one comes first
        return self._made(OPERATORS[name], *pair)


class TracedComparison(Comparison):
    """What a comparison says, which is the output of a node."""

    __slots__ = ("name", "writer")

    def __init__(self, writer, name):
        self.writer, self.name = writer, name

    def chooses(self, x, y):
        names = [each.name if isinstance(each, Traced) else self.writer.number(each) for each in (x, y)]
        return Traced(self.writer, self.writer.node("Where", self.name, *names))


def traced(writer, owner, method, *args):
    """What a method of a cell or of an activation function gives, of Traced values."""
    try:
        return getattr(equations(owner), method)(*args)
    except (RuleError, TypeError, AttributeError, ValueError) as error:
        raise ConversionError(
            f"{writer.where}: expected equations that run on symbols, to become operators of ONNX, of {owner!r} ({error})"
        ) from error
