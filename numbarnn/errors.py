"""Errors the library raises: each names the argument, what it was and what was expected."""

import contextlib
import difflib
import inspect
import math
import re
from numbers import Real

import numpy as np


class ShapeError(ValueError):
    """An array has the wrong number of axes or the wrong length along one."""


class LayoutError(ValueError):
    """A layout string, or an array's memory, that a TensorDescriptor cannot describe."""


class DTypeError(TypeError):
    """An array's dtype is not the float32 or float64 that was expected."""


class IndexRangeError(ValueError, IndexError):
    """An index or a label that is none of those there are: also an IndexError, as of a sequence."""


class DeviceError(RuntimeError):
    """A device that is not there, or does not hold the array it was given."""


class KernelError(RuntimeError):
    """A kernel cannot run in this process: Numba's compiler is off."""


class NonFiniteError(ArithmeticError):
    """A NaN or an infinity where only finite numbers make sense; training stops at the first one."""


class RankError(RuntimeError):
    """Another rank of MPI has failed, and with it what all of them did together."""


class UnknownNameError(ValueError):
    """A name (activation, loss, optimizer, ...) that is not in the library."""


class CellError(TypeError):
    """A cell or an activation function of one's own that no kernel can be made of."""


class ConversionError(ValueError):
    """A layer, an option, a module or a node that one library has, and the one it is to go to has not."""


class FileFormatError(ValueError):
    """A file that numbarnn has not saved, that was damaged, or that is of a newer version."""


class TrustError(ValueError):
    """A file that names a class or a function of one's own, which its reader was not given."""


class DataNotFoundError(FileNotFoundError):
    """A data file is neither in the folder of data nor to be downloaded."""


class ChecksumError(ValueError):
    """A data file is not the one that was expected."""


def nearest(argument, name, known):
    """An UnknownNameError for `argument`, with the known name that looks most like `name`."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return UnknownNameError(f"{argument}: unknown name {name!r}, expected one of {', '.join(map(repr, known))}{hint}")


def known_name(argument, value, names):
    """`value`, if it is one of the `names`; else UnknownNameError."""
    if not isinstance(value, str) or value not in names:
        raise nearest(argument, value, names)
    return value


def several(argument, values, expected):
    """`values` as a tuple, if it can be gone through and is no text; else TypeError."""
    if not isinstance(values, (str, bytes, np.ma.MaskedArray)):
        try:
            return tuple(values)
        except TypeError:  # the one of iter(), or of an array without axes
            pass
    raise TypeError(f"{argument}: expected {expected}, got {values!r} ({type(values).__name__})")


def real(argument, value, expected="a number"):
    """`value` as a float, if it is a real number, of NumPy's too; else TypeError."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{argument}: expected {expected}, got {value!r} ({type(value).__name__})")
    try:
        return float(value)
    except OverflowError:  # an integer that no float holds
        return math.inf


def finite_number(argument, value, above=-math.inf, error=ValueError):
    """`value` as a float, if it is a finite number greater than `above`; else TypeError or `error`."""
    expected = "a finite number" if above == -math.inf else f"a finite number > {above:g}"
    number = real(argument, value, expected)
    if not (math.isfinite(number) and number > above):
        raise error(f"{argument}: expected {expected}, got {value!r}")
    return number + 0.0  # -0.0 becomes 0.0, so that what is equal is the same


def finite_numbers(argument, values, expected, above=-math.inf):
    """A sequence as a tuple of floats, each of them a `finite_number`; errors name its place, ``argument[2]``."""
    numbers = enumerate(several(argument, values, expected))
    return tuple(finite_number(f"{argument}[{index}]", value, above) for index, value in numbers)


def rate(argument, value):
    """`value` as a float, if it is a number from 0 to less than 1; else TypeError or ValueError."""
    number = finite_number(argument, value)
    if not 0 <= number < 1:
        raise ValueError(f"{argument}: expected a rate from 0 to less than 1, got {value!r}")
    return number


def integer(argument, value, expected="an integer"):
    """`value` as a Python int, if it is a whole number, of NumPy's too; else TypeError."""
    if not isinstance(value, (bool, np.bool_)) and hasattr(value, "__index__"):
        try:
            return int(value.__index__())
        except TypeError:  # an array has the method too
            pass
    raise TypeError(f"{argument}: expected {expected}, got {value!r} ({type(value).__name__})")


def positive_integer(argument, value):
    """`value` as a Python int, if it is a whole number from 1 to 2^63 - 1; else TypeError or ValueError."""
    number = integer(argument, value, "a positive integer")
    if number <= 0:
        raise ValueError(f"{argument}: expected a positive integer, got {number}")
    if number.bit_length() > 63:  # no array is so long
        raise ValueError(f"{argument}: expected a positive integer less than 2^63, got one of {number.bit_length()} bits")
    return number


def plain(argument, array, expected="a numpy.ndarray"):
    """`array`, unless its class adds something to NumPy's array, a mask or a unit, that would be lost; else TypeError."""
    if isinstance(array, np.ndarray) and type(array) not in (np.ndarray, np.memmap):
        masked = isinstance(array, np.ma.MaskedArray)
        hint = "its method filled says what masked numbers are" if masked else "numpy.asarray makes one of it"
        raise TypeError(f"{argument}: expected {expected}, got {type(array).__name__}; {hint}")
    return array


def flag(argument, value, expected="True or False"):
    """`value` as a Python bool, if it is one, or one of NumPy's; else TypeError: "no" is not False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{argument}: expected {expected}, got {value!r} ({type(value).__name__})")
    return bool(value)


def generator(argument, seed):
    """The numpy.random.Generator that `seed` is or makes: an integer >= 0, or a Generator; else TypeError or ValueError.

    None makes one that no run repeats, as in NumPy.
    """
    if seed is None or isinstance(seed, (np.random.Generator, np.random.SeedSequence)):
        return np.random.default_rng(seed)  # a Generator itself
    expected = "an integer >= 0 or a numpy.random.Generator"
    if (number := integer(argument, seed, expected)) < 0:
        raise ValueError(f"{argument}: expected {expected}, got {number}")
    return np.random.default_rng(number)


def checked_seeds(seeds):
    """The seeds as Python ints; a typed error unless there is at least one and each is an integer >= 0."""
    expected = "an integer >= 0 for each member, in a sequence"
    hint = f"; range({seeds}) has as many" if isinstance(seeds, (int, np.integer)) and not isinstance(seeds, bool) else ""
    if hint or np.ndim(seeds) == 0 and isinstance(seeds, np.ndarray):
        raise TypeError(f"seeds: expected {expected}, got {seeds!r}{hint}")
    numbers = tuple(integer(f"seeds[{k}]", seed) for k, seed in enumerate(several("seeds", seeds, expected)))
    if not numbers:
        raise ValueError(f"seeds: expected {expected}, got none")
    for k, number in enumerate(numbers):
        if number < 0:
            raise ValueError(f"seeds[{k}]: expected an integer >= 0, got {number}")
    return numbers


def takes(argument, function, names):
    """Raise TypeError unless `function` can be called with as many arguments as `names`, separated by commas, has."""
    if not callable(function):
        raise TypeError(f"{argument}: expected a function of ({names}), got {function!r} ({type(function).__name__})")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function of C that does not tell
        return
    try:
        signature.bind(*names.split(","))
    except TypeError:
        called = getattr(function, "__qualname__", type(function).__qualname__)
        raise TypeError(f"{argument}: expected a function of ({names}), got {called}{signature}") from None


@contextlib.contextmanager
def arguments_of(owner):
    """Errors about x, y, lengths, weights and reset that are raised inside name `owner` too: "validation x: expected".

    So do those about the inputs and targets of a graph.
    """
    try:
        yield
    except (TypeError, ValueError, ArithmeticError, DeviceError) as error:
        if not re.match(r"(x|y|inputs|targets|lengths|weights|reset)\b", str(error)):
            raise
        raise type(error)(f"{owner} {error}") from None


@contextlib.contextmanager
def renamed(**names):
    """Errors that are raised inside about an argument x say what its caller calls it: ``renamed(x="inputs['past']")``."""
    try:
        yield
    except (TypeError, ValueError, ArithmeticError, DeviceError) as error:
        word = re.match(r"\w+", str(error))
        if word is None or word[0] not in names:
            raise
        raise type(error)(names[word[0]] + str(error)[word.end() :]) from None
