"""What compiled code is made of, by value: a digest of functions, classes and objects and of all that they reach.

A name or an address says nothing of a function whose module was edited, or of a class that was defined again.  So code is
taken by its byte code and constants, and with it whatever its names lead to: globals, attributes of modules, closures,
defaults, class attributes, arrays to the last bit.  What Python, NumPy, Numba and this library own is taken by name and
version.
"""

import array
import enum
import functools
import hashlib
import inspect
import itertools
import struct
import types
import uuid
from typing import NamedTuple

import numpy as np

from .code import (
    attribute_names,
    global_names,
    implementations,
    is_compiled,
    is_library_s,
    is_python_s,
    library_of,
    unwrapped,
)

VALUES = (int, float, complex, str, bytes, tuple, list, dict, set, frozenset)
DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType)
CODE_PARTS = (
    "co_code", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_flags", "co_names", "co_varnames",
    "co_cellvars", "co_freevars",
)  # fmt: skip

_process = uuid.uuid4().hex
_numbers, _unseen = itertools.count(), {}  # id: (number, object), of objects whose value cannot be seen; kept alive


class Fingerprint(NamedTuple):
    """A digest, equal for what is equal by value.

    keepable : bool
        Whether another process may rely on it: False where some object's value cannot be seen, and the digest tells this
        very object apart from all others.
    """

    digest: str
    keepable: bool


class Fingerprinted:
    """What has a fingerprint of its own, taken when it is first asked for and the same from then on."""

    @functools.cached_property
    def fingerprint(self):
        """The Fingerprint of the object's class and of all that it holds."""
        return fingerprint(self)


def fingerprint(*values, fresh=False):
    """The Fingerprint of values of any kind.

    Parameters
    ----------
    fresh : bool
        Look again at what is inside a Fingerprinted that these values hold, whatever was found when it was first asked.
    """
    return _walked(values, fresh, ())


def _walked(values, fresh, around):
    """The Fingerprint of some values together; around: the objects with fingerprints that they are parts of."""
    around = (*around, *(value for value in values if isinstance(value, Fingerprinted)))
    walk = _Walk(fresh, around)
    try:
        for value in values:
            walk.take(value, own=True)
    except RecursionError:  # calls that are nested more deeply than Python can follow
        walk = _Walk(fresh, around)
        for value in values:
            walk.take_unseen(value)
    return Fingerprint(walk.digest.hexdigest()[:24], walk.keepable)


class _Walk:
    """One pass over values; what was met before is a number, so cycles end."""

    def __init__(self, fresh, around):
        self.fresh, self.around = fresh, around  # around: the Fingerprinted objects that this walk is inside of
        self.digest, self.met, self.open, self.keepable = hashlib.sha256(), {}, [], True

    def write(self, *parts):
        """Each part by its length and its bytes: no two lists of parts look alike."""
        for part in parts:
            part = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
            self.digest.update(len(part).to_bytes(8, "little") + part)

    def take(self, value, names=frozenset(), own=False):
        """Take in a value; names: which attributes of modules in it may be looked up; own: it is what this walk is about."""
        kind = type(value)
        if value is None or value is Ellipsis or kind is bool:
            self.write("constant", repr(value))
        elif kind is int:
            self.write("int", hex(value))
        elif kind is float:
            self.write("float", struct.pack("<d", value))
        elif kind is complex:
            self.write("complex", struct.pack("<dd", value.real, value.imag))
        elif kind in (str, bytes):
            self.write(kind.__name__, value)
        elif kind in (tuple, list):
            self._take_items(kind.__name__, value, names)
        elif kind is dict:
            self._take_dict(value, names)
        elif kind in (set, frozenset):
            self._take_set(value)
        elif kind is range:
            self.write("range", repr(value))
        elif kind is slice:
            self._take_items("slice", (value.start, value.stop, value.step), names)
        elif isinstance(value, np.dtype):
            self.write("dtype", repr(value.descr) if value.names else value.str)
        elif isinstance(value, np.generic):
            self.write("scalar", value.dtype.str, value.tobytes())
        elif isinstance(value, np.ndarray):
            self._take_array(value, names)
        elif isinstance(value, (array.array, bytearray, memoryview)):
            view = memoryview(value)
            self.write("buffer", view.format, view.shape, view.tobytes())
        elif kind is types.CodeType:
            self._take_code(value)
        elif isinstance(value, Fingerprinted) and not own:
            self._take_known(value)
        else:
            self._take_object(value, names)

    def _take_items(self, kind, items, names):
        """Add a tuple, a list or the like: its kind, its length and its items."""
        self.write(kind, len(items))
        if id(items) in self.open:
            self.write("inside", self.open.index(id(items)))
            return
        self.open.append(id(items))
        for item in items:
            self.take(item, names)
        self.open.pop()

    def _take_dict(self, value, names):
        """Add a dict: its keys and values in their order."""
        self.write("dict", len(value))
        if id(value) in self.open:
            self.write("inside", self.open.index(id(value)))
            return
        self.open.append(id(value))
        for item in value.items():
            self.take(item, names)
        self.open.pop()

    def _take_set(self, items):
        """Add a set: the digests of its items, sorted, since a set has no order."""
        found = [_walked((item,), self.fresh, self.around) for item in items]
        self.keepable &= all(part.keepable for part in found)
        self.write("set", len(found), *sorted(part.digest for part in found))

    def _take_array(self, value, names):
        """Add an array: dtype, shape, how it lies in memory, and its numbers."""
        flags = value.flags
        self.write("array", repr(value.dtype.descr) if value.dtype.names else value.dtype.str, value.shape)
        self.write(flags.c_contiguous, flags.f_contiguous, flags.writeable)
        if value.dtype.hasobject:
            self._take_items("objects", value.ravel().tolist(), names)
        else:
            self.write(value.tobytes())
        if type(value) is not np.ndarray:
            self.take(type(value))
            self.take(getattr(value, "__dict__", None), names)

    def _take_known(self, value):
        """What has a fingerprint of its own."""
        for depth, other in enumerate(self.around):
            if other is value:
                self.write("around", depth)
                return
        found = None if self.fresh else vars(value).get("fingerprint")
        found = found or _walked((value,), self.fresh, self.around)
        self.keepable &= found.keepable
        self.write("known", found.digest)

    def _take_object(self, value, names):
        """What is the same when it is met again."""
        key = id(value) if isinstance(value, types.FunctionType) else (id(value), names)
        if key in self.met:
            self.write("again", self.met[key][0])
            return
        self.met[key] = len(self.met), value  # held: else its id might become another's
        if is_library_s(value):
            name = getattr(value, "__qualname__", value.__name__)
            self.write("library", library_of(getattr(value, "__module__", value.__name__) or "numpy"), name)
        elif isinstance(value, types.ModuleType):
            self._take_module(value, names)
        elif isinstance(value, types.FunctionType):
            self._take_function(value)
        elif isinstance(value, type):
            self._take_class(value, names)
        elif isinstance(value, types.MethodType):
            self._take_items("method", (value.__self__, value.__func__), names)
        elif isinstance(value, functools.partial):
            self._take_items("partial", (value.func, value.args, value.keywords), names)
        elif isinstance(value, types.MappingProxyType):
            self._take_items("mapping", [dict(value)], names)
        elif isinstance(value, types.SimpleNamespace):
            self._take_items("namespace", [vars(value)], names)
        elif isinstance(value, (staticmethod, classmethod, property, functools.cached_property)):
            self._take_items(type(value).__name__, (unwrapped(value),), names)
        elif isinstance(value, DESCRIPTORS):
            self.write("descriptor", value.__name__)
        elif isinstance(value, enum.Enum):
            self._take_items("enum", (type(value).__qualname__, value.name, value.value), names)
        elif is_compiled(value):
            self._take_items("dispatcher", (value.py_func, value.targetoptions), names)
        elif type(value).__module__.startswith("numba.") and hasattr(value, "_defn"):  # an intrinsic
            self._take_items("intrinsic", (value._defn,), names)
        elif isinstance(wrapped := getattr(value, "__wrapped__", None), types.FunctionType) and hasattr(value, "cache_info"):
            self._take_items("cached", (wrapped,), names)
        elif isinstance(value, types.BuiltinFunctionType) and not isinstance(value.__self__, types.ModuleType | None):
            self._take_items("bound", (value.__name__, value.__self__), names)
        else:
            self._take_instance(value, names)

    def take_unseen(self, value):
        """An object whose value cannot be seen: itself, and no other."""
        number, _ = _unseen.setdefault(id(value), (next(_numbers), value))
        self.keepable = False
        self.write("unseen", _process, number)

    def _take_code(self, code):
        """Add the compiled Python code of a function, without the place where it was written."""
        self.write("code", *(getattr(code, part) for part in CODE_PARTS), getattr(code, "co_exceptiontable", b""))
        self._take_items("constants", code.co_consts, frozenset())

    def _take_function(self, function):
        """Add a function: its code, its defaults, and the globals and closures that it reads."""
        code = function.__code__
        names = attribute_names(code)
        self._take_code(code)
        self.take((function.__defaults__, function.__kwdefaults__), names)
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            try:
                contents = cell.cell_contents
            except ValueError:  # not yet bound
                self.write("empty", name)
            else:
                self.write("closure", name)
                self.take(contents, names)
        outside, builtins = function.__globals__, function.__builtins__
        for name in sorted(global_names(code)):
            if name in outside or name in builtins:
                self.write("global", name)
                self.take(outside[name] if name in outside else builtins[name], names)
            else:
                self.write("missing", name)
        self._take_items("implementations", implementations(function), names)

    def _take_module(self, module, names):
        """Add those attributes of a module that functions look up."""
        self.write("module")
        for name in sorted(names):
            value = vars(module).get(name, module)
            if value is module:
                try:
                    value = getattr(module, name)
                except Exception:  # what a module's own __getattr__ raises
                    continue
            self.write("attribute", name)
            self.take(value, names)

    def _take_class(self, kind, names):
        """Add a class: its name, its attributes and methods, and its base classes' own."""
        self.write("class", kind.__qualname__)
        own = [base for base in kind.__mro__ if not is_library_s(base)]
        names |= self._names_in(own)
        for base in kind.__mro__:
            if base not in own:
                self.take(base)
                continue
            if isinstance(kind, enum.EnumMeta):
                self._take_items("members", [part for member in kind for part in (member.name, member.value)], names)
            for name, value in sorted(vars(base).items()):
                hidden = name.startswith("__") and name.endswith("__") and name != "__call__"
                if hidden or name.startswith("_abc_") or (issubclass(base, (tuple, enum.Enum)) and name.startswith("_")):
                    continue
                if type(value).__name__ == "_tuplegetter" or isinstance(value, enum.Enum):
                    continue
                self.write("attribute", name)
                self.take(value, names)

    @staticmethod
    def _names_in(classes):
        """The names of attributes that the methods of some classes look up."""
        functions = (unwrapped(value) for kind in classes for value in vars(kind).values())
        found = (attribute_names(f.__code__) for f in functions if inspect.isfunction(f))
        return frozenset().union(*found)

    def _take_instance(self, value, names):
        """Add an object: its class, and what it holds; one whose contents cannot be seen is added as unseen."""
        kind = type(value)
        held = [base for base in kind.__mro__ if base in VALUES]
        if not all(is_python_s(base) for base in kind.__mro__ if base is not object and base not in held) or kind is object:
            self.take_unseen(value)
            return
        self.write("instance")
        self.take(kind, names)
        names |= self._names_in([base for base in kind.__mro__ if not is_library_s(base)])
        for base in held:
            self.take(base(value), names)
        cached = {n for base in kind.__mro__ for n, v in vars(base).items() if isinstance(v, functools.cached_property)}
        state = {name: part for name, part in getattr(value, "__dict__", {}).items() if name not in cached}
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                name = f"_{base.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    state[name] = getattr(value, name)
        for name, part in sorted(state.items()):
            self.write("attribute", name)
            self.take(part, names)
