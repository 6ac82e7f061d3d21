"""Descriptions, whose fields are plain values from the start; attributes that stay; objects that cannot be sent."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import ClassVar

from ..errors import finite_number, flag, integer, known_name

KINDS = {int: integer, bool: flag, float: finite_number}
KINDS |= {kind.__name__: check for kind, check in KINDS.items()}  # of annotations that are kept as text


class Description:
    """A frozen dataclass whose fields are checked when it is made, and are plain Python values from then on.

    So two descriptions that are equal are the same in every respect: a size that was a ``numpy.uint8`` cannot overflow,
    and a cache with a description as its key cannot give one the entry of another.

    A field annotated ``int``, ``bool`` or ``float`` takes an integer, a truth value or a finite number.  What else there is
    to say, a class says in `accepts`, to which a subclass adds: by the name of a field, one of its own or of a subclass, a
    function of this name and the value, which returns the value to keep or raises.
    """

    accepts: ClassVar[Mapping[str, Callable]] = {}

    def __post_init__(self):
        make_plain(self)
        for field in fields(self):
            if field.compare and (kind := _kind_without_hash(getattr(self, field.name))):
                raise TypeError(
                    f"{field.name}: expected a value with a hash, by which {type(self).__name__} is told apart from others,"
                    f" such as a tuple of numbers, got {kind.__name__}; dataclasses.field(compare=False) leaves it out"
                )

    def __getstate__(self):
        """The fields alone: what is worked out from them belongs to one process."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _kind_without_hash(value):
    """The class of a value, or of one in a tuple, that has no hash; None if all have one."""
    if isinstance(value, tuple):
        return next(filter(None, map(_kind_without_hash, value)), None)
    return type(value) if type(value).__hash__ is None else None


def make_plain(description):
    """Check the fields of a frozen dataclass with an attribute `accepts`, see `Description`, and make them plain values."""
    for name, check in _checks(type(description)):
        object.__setattr__(description, name, check(name, getattr(description, name)))


@functools.cache
def _checks(cls):
    """((field, function), ...) of a class of descriptions."""
    types = {field.name: field.type for field in fields(cls)}
    found = {name: KINDS[kind] for name, kind in types.items() if isinstance(kind, (type, str)) and kind in KINDS}
    for base in reversed(cls.__mro__):
        found |= {name: check for name, check in vars(base).get("accepts", {}).items() if name in types}
    return tuple(found.items())


def optional(check):
    """The check of a field that may also be None."""
    return lambda argument, value: None if value is None else check(argument, value)


def one_or_each(check):
    """The check of a field that is one value, or a tuple of such values."""

    def checked(argument, value):
        return tuple(check(argument, part) for part in value) if isinstance(value, tuple) else check(argument, value)

    return checked


def one_of(names):
    """The check of a field that is one of some names."""
    return lambda argument, value: str(known_name(argument, value, names))


def instance_of(cls):
    """The check of a field that is an object of a class."""

    def checked(argument, value):
        if not isinstance(value, cls):
            raise TypeError(f"{argument}: expected a {cls.__name__}, got {type(value).__name__}")
        return value

    return checked


class Settled:
    """An object whose attributes of the names `settled` are set once, when it is made: sizes and addresses follow them."""

    settled: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name, value):
        if name in self.settled and name in self.__dict__:
            raise AttributeError(f"{name}: expected no assignment, since it is settled when a {type(self).__name__} is made")
        super().__setattr__(name, value)


class Unsendable:
    """An object that holds addresses of memory, which mean nothing in a copy or in another process."""

    instead: ClassVar[str]  # what to copy or send

    def __reduce_ex__(self, protocol):
        raise TypeError(
            f"{type(self).__name__}: it holds addresses of memory and cannot be copied or pickled; {self.instead}"
        )
