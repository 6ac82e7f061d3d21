"""Objects as JSON and back: descriptions by the arguments of their constructor, without running any code of a file.

An object is written as the name of its class and what its constructor takes, which it keeps as attributes of the same names.
The library's own classes have names without a colon, such as ``LSTM``; all others, and functions, are written by their
import path, such as ``mymodule:MyCell``, and found again only among those that the caller hands over.  Nothing is imported.
"""

import inspect
import math
from collections.abc import Mapping
from dataclasses import is_dataclass

import numpy as np

from ..errors import FileFormatError, TrustError, several
from .container import DTYPES

PLAIN = (type(None), bool, int, str)
KIND = "is"  # the key that tells an object from a dict
MAIN = "__main__"
FEW = 1000  # texts that a description holds itself

_known = {}  # name: class, of the library's


def know(namespace, names, others=()):
    """Let files name the public frozen dataclasses of a package by their names, and other classes too."""
    found = [namespace[name] for name in names]
    classes = [each for each in found if inspect.isclass(each) and is_dataclass(each) and each.__dataclass_params__.frozen]
    _known.update({each.__name__: each for each in (*classes, *others)})


def path_of(thing):
    """Where a class or a function is defined: ``module:qualified name``."""
    return f"{thing.__module__}:{thing.__qualname__}"


def _has_a_name(thing):
    """Whether it is a class or a function, compiled or not: what a file can name."""
    return inspect.isclass(thing) or inspect.isroutine(thing) or (callable(thing) and hasattr(thing, "__qualname__"))


class Writing:
    """Objects that are written into one file.

    Attributes
    ----------
    arrays : dict
        Those that objects hold, by the names that the JSON has for them.
    """

    def __init__(self):
        self.arrays, self._paths = {}, {}

    def __call__(self, where, value):
        """`value` as JSON; where: what it is called in errors, and its arrays in the file."""
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else {KIND: "float", "value": str(value)}
        if kind is tuple and len(value) > FEW and all(type(item) is str for item in value):
            return self._texts(where, value)
        if kind in (tuple, list):
            items = [self(f"{where}.{index}", item) for index, item in enumerate(value)]
            return items if kind is tuple else {KIND: "list", "items": items}
        if kind is dict:
            return self._dict(where, value)
        if kind is np.ndarray:
            return self._array(where, value)
        if _has_a_name(value):
            return {KIND: "reference", "to": self._path(where, value)}
        return self._object(where, value)

    def _dict(self, where, value):
        if all(type(key) is str for key in value) and KIND not in value:
            return {key: self(f"{where}.{key}", item) for key, item in value.items()}
        items = [[self(f"{where}.{key}", key), self(f"{where}.{key}", item)] for key, item in value.items()]
        return {KIND: "dict", "items": items}

    def _array(self, where, value):
        if value.dtype.name not in DTYPES.values():
            raise TypeError(f"{where}: expected numbers that a file holds, got an array of {value.dtype}")
        self.arrays[where] = value
        return {KIND: "array", "name": where}

    def _texts(self, where, value):
        """Many texts, one after the other, and where each of them ends: no part of the JSON, whose size is limited."""
        coded = [text.encode("utf-8", "surrogatepass") for text in value]
        self.arrays[where] = np.frombuffer(b"".join(coded), np.uint8)
        self.arrays[f"{where}.ends"] = np.cumsum([len(text) for text in coded], dtype=np.int64)
        return {KIND: "texts", "name": where}

    def _object(self, where, value):
        kind = type(value)
        name = kind.__name__ if _known.get(kind.__name__) is kind else self._path(where, kind)
        found = {KIND: name}
        for argument in _arguments(where, kind):
            # What only the class has is no argument that this object was made with.
            if argument not in getattr(value, "__dict__", ()) and not hasattr(getattr(kind, argument, None), "__set__"):
                raise TypeError(
                    f"{where}: expected a {kind.__name__} that keeps each argument of its constructor as an attribute of the"
                    f" same name, by which a file describes it, got none called {argument}"
                )
            found[argument] = self(f"{where}.{argument}", getattr(value, argument))
        return found

    def _path(self, where, thing):
        """The path of a class or function that a file may name."""
        module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
        if not module or not name or "<lambda>" in name or module == "builtins":
            raise TypeError(f"{where}: expected what a file can describe, or a class or function with a name, got {thing!r}")
        path = path_of(thing)
        if self._paths.setdefault(path, thing) is not thing:
            raise TypeError(f"{where}: expected one thing called {path}, got two, which no file could tell apart")
        return path


def _arguments(where, kind):
    """The names of what a class's constructor takes."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        parameters = None
    if parameters is None or any(p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        raise TypeError(f"{where}: expected an object whose constructor has named arguments, got a {kind.__name__}")
    return [parameter.name for parameter in parameters]


class Reading:
    """Objects that are read from one file.

    Parameters
    ----------
    path : str
        The file, for errors.
    arrays : dict
        The arrays of the file; what objects hold is taken out (is modified).
    trusted : sequence of class or function, or dict of str to those
        What else than the library's own the file may name.
    """

    def __init__(self, path, arrays, trusted=()):
        self.path, self.arrays, self._trusted, self._parts = path, arrays, checked_trusted(trusted), len(arrays)

    def __call__(self, where, value):
        """The object that JSON stands for; where: what it is called in errors."""
        try:
            return self._restored(where, value)
        except RecursionError:
            raise self.error(where, "objects in one another, not so deep") from None

    def error(self, where, expected):
        """A FileFormatError about a part of the file; expected: the end of the sentence."""
        return FileFormatError(f"{self.path}: {where}: expected {expected}")

    def _restored(self, where, value):
        if type(value) in PLAIN or type(value) is float:
            return value
        if isinstance(value, list):
            return tuple(self._restored(f"{where}.{index}", item) for index, item in enumerate(value))
        if KIND not in value:
            return {key: self._restored(f"{where}.{key}", item) for key, item in value.items()}
        value = dict(value)
        kind = value.pop(KIND)
        special = SPECIAL.get(kind) if isinstance(kind, str) else None
        if special is None:
            return self._object(where, kind, value)
        argument, make = special
        if list(value) != [argument]:
            raise self.error(where, f"a {kind} with {argument!r} alone, got {sorted(value)!r:.200}")
        return make(self, where, value[argument])

    def _list(self, where, items):
        if not isinstance(items, list):
            raise self.error(where, f"items, got {items!r:.200}")
        return list(self._restored(where, items))

    def _dict(self, where, items):
        if not isinstance(items, list) or not all(isinstance(item, list) and len(item) == 2 for item in items):
            raise self.error(where, f"pairs of key and value, got {items!r:.200}")
        pairs = self._restored(where, items)
        try:
            return dict(pairs)
        except TypeError:
            raise self.error(where, f"keys with a hash, got {items!r:.200}") from None

    def _float(self, where, value):
        if value not in ("nan", "inf", "-inf"):
            raise self.error(where, f"nan, inf or -inf, got {value!r:.200}")
        return float(value)

    def _array(self, where, name):
        """Each array is taken once: a name is short, and what is made of it is not."""
        if not isinstance(name, str) or name not in self.arrays:
            raise self.error(where, f"an array of the file, which nothing else has, got {name!r:.200}")
        return self.arrays.pop(name)

    def _texts(self, where, name):
        """Many texts out of two arrays: what is made of them takes some times as much as they do."""
        contents, ends = self._array(where, name), self._array(where, f"{name}.ends")
        right = (contents.dtype, contents.ndim, ends.dtype, ends.ndim) == (np.uint8, 1, np.int64, 1)
        bounds = [0, *ends.tolist()] if right else []
        if len(bounds) < 2 or sorted(bounds) != bounds or bounds[-1] != len(contents):
            raise self.error(where, "texts, and where each of them ends, in rising order, got other arrays")
        coded = contents.tobytes()
        try:
            return tuple(coded[begin:end].decode("utf-8", "surrogatepass") for begin, end in zip(bounds, bounds[1:]))
        except UnicodeDecodeError as error:
            raise self.error(where, f"texts in UTF-8; {error}") from None

    def _reference(self, where, path):
        return self._own(where, path)

    def _object(self, where, kind, values):
        """An object of a class of the library's, or of one that is trusted."""
        if not isinstance(kind, str):
            raise self.error(where, f"the name of a class, got {kind!r:.200}")
        made = self._own(where, kind) if ":" in kind else _known.get(kind)
        if made is None:
            raise self.error(where, f"a class of numbarnn, got {kind!r:.200}")
        if not inspect.isclass(made):
            raise self.error(where, f"a class, got {kind!r:.200}")
        arguments = {name: self._restored(f"{where}.{name}", value) for name, value in values.items()}
        stacked = arguments.get("layers")
        if type(stacked) is int and stacked > self._parts:  # each has arrays of its own, and a description takes none of
            raise self.error(
                where, f"stacked layers with parameters in the file, {self._parts} at most, got {stacked!r:.200}"
            )
        try:
            return made(**arguments)
        except MemoryError:
            raise
        except Exception as error:  # whatever a constructor says of what a file holds
            raise self.error(where, f"what {made.__name__} is made of; {error}") from error

    def _own(self, where, path):
        """A class or function of the caller's."""
        if not isinstance(path, str) or ":" not in path:
            raise self.error(where, f"the import path of a class or function, got {path!r:.200}")
        if path in self._trusted:
            return self._trusted[path]
        module, _, name = path.partition(":")
        for known, thing in self._trusted.items():  # a program's own module has another name where it is imported
            if known.partition(":")[2] == name and MAIN in (module, known.partition(":")[0]):
                return thing
        raise TrustError(
            f"{self.path}: {where}: expected {path} among what is trusted, since it is not numbarnn's:"
            f" trusted=[{name.rpartition('.')[2]}] hands it over"
        )


SPECIAL = {  # what is no object: its only key, and what is made of that
    "list": ("items", Reading._list),
    "dict": ("items", Reading._dict),
    "float": ("value", Reading._float),
    "array": ("name", Reading._array),
    "texts": ("name", Reading._texts),
    "reference": ("to", Reading._reference),
}


def checked_trusted(trusted):
    """{path: class or function} of what a caller hands over; else TypeError."""
    expected = "classes and functions in a list, or a dict of them by import path"
    if isinstance(trusted, Mapping):
        found = dict(trusted)
    else:
        things = several("trusted", trusted, expected)
        found = {path_of(thing): thing for thing in things if _has_a_name(thing)}
        if len(found) < len(things):
            wrong = [thing for thing in things if not _has_a_name(thing)]
            raise TypeError(f"trusted: expected {expected}, got {(wrong or things)[0]!r}{'' if wrong else ' twice'}")
    for path, thing in found.items():
        if not isinstance(path, str) or ":" not in path or not _has_a_name(thing):
            raise TypeError(f"trusted: expected {expected}, got {path!r}: {thing!r}")
    return found
