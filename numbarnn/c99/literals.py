"""Numbers and arrays of numbers as C writes them, with all their digits."""

import math

import numpy as np

PER_LINE = 6  # numbers


class Real:
    """A floating-point type of C.

    Parameters
    ----------
    dtype : numpy.dtype
        float32 or float64.

    Attributes
    ----------
    name : str
        ``float`` or ``double``.
    suffix : str
        What its literals and the names of libm's functions end with.
    """

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)
        self.name, self.suffix = ("float", "f") if self.dtype == np.float32 else ("double", "")
        self.bits, self.mantissa, self.bias = (32, 23, 127) if self.suffix else (64, 52, 1023)

    def literal(self, number):
        """A number, rounded to the type: as a decimal fraction where that is short and exact, else in hexadecimal."""
        with np.errstate(over="ignore"):
            value = float(self.dtype.type(number))
        if not math.isfinite(value):
            return self._not_finite(value)
        short = abs(value) < 1e6 and (value * 1024).is_integer() and (value or math.copysign(1, value) > 0)
        return f"{value!r}{self.suffix}" if short else f"{_hexadecimal(value)}{self.suffix}"

    def _not_finite(self, value):
        """Infinity or NaN, which C has as float: a double of them without a conversion that a compiler may warn of."""
        if math.isnan(value):
            return f"({self.name})NAN"
        infinity = "INFINITY" if self.suffix else "HUGE_VAL"
        return infinity if value > 0 else f"-{infinity}"

    def array(self, name, numbers):
        """The definition of a static array with the numbers of an array, in C order."""
        literals = [f"{_hexadecimal(value)}{self.suffix}" for value in numbers.ravel().tolist()]
        lines = [", ".join(literals[at : at + PER_LINE]) for at in range(0, len(literals), PER_LINE)]
        body = ",\n    ".join(lines)
        return f"static const {self.name} {name}[{len(literals)}] = {{\n    {body}\n}};\n"


def _hexadecimal(value):
    """A finite number in hexadecimal, without zeros at its end."""
    digits, _, exponent = float(value).hex().partition("p")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return f"{digits}p{exponent}"


def comment(text):
    """A comment of one line, whatever the text."""
    text = text.encode("ascii", "backslashreplace").decode().replace("?", "\\x3f")  # trigraphs
    return f"/* {text.replace('*/', '* /').replace('/*', '/ *')} */"
