"""What is public of a class, and docstrings that describe it: a class's own parameters first, its base classes' last."""

import inspect
import re

HEADER = re.compile(r"^Parameters\n-{3,}\n", re.M)
NEXT = re.compile(r"^\S.*\n-{3,}\n", re.M)
ENTRY = re.compile(r"^(?=\S)", re.M)


def parameters_of(text):
    """{names: entry} of a numpydoc section of parameters, and where the section ends; names as in ``a, b : int``."""
    header = HEADER.search(text)
    if not header:
        return {}, None
    following = NEXT.search(text, header.end())
    end = following.start() if following else len(text)
    entries = [entry.rstrip() for entry in ENTRY.split(text[header.end() : end]) if entry.strip()]
    return {tuple(re.split(r", ", entry.partition("\n")[0].partition(" :")[0].strip())): entry for entry in entries}, end


def inherit_parameters(cls):
    """Add to a class's docstring (is modified) the parameters that only its base classes describe.

    Classes without a docstring, as under ``python -OO``, or without a section of parameters are left as they are.
    """
    text = vars(cls).get("__doc__")
    own, end = parameters_of(inspect.cleandoc(text)) if text else ({}, None)
    if end is None:
        return
    text, known, added = inspect.cleandoc(text), {name for names in own for name in names}, []
    for base in cls.__mro__[1:]:
        entries, _ = parameters_of(inspect.cleandoc(vars(base).get("__doc__") or ""))
        for names, entry in entries.items():
            if known.isdisjoint(names):
                added.append(entry)
                known.update(names)
    if added:
        cls.__doc__ = "\n".join([text[:end].rstrip(), *added]) + "\n\n" + text[end:]


def is_public(name, member):
    """Whether something in a class's body is for users: a method or property whose signature has annotations."""
    if isinstance(member, (classmethod, staticmethod)):
        member = member.__func__
    elif isinstance(member, property):
        member = member.fget
    return not name.startswith("_") and inspect.isfunction(member) and bool(member.__annotations__)


def public_members(cls):
    """The names of a class's public methods and properties: those that it or a base class has annotated."""
    return {name for base in cls.__mro__ for name, member in vars(base).items() if is_public(name, member)}
