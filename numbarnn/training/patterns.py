"""Parameters by name: which of them a user's names and patterns mean."""

import fnmatch

from ..errors import nearest, several


def matched(argument, patterns, names):
    """The names that patterns mean, as a set: ``*`` any characters, ``?`` one, ``[ab]`` one of these.

    Raises
    ------
    TypeError
        If they are no texts in a sequence.
    UnknownNameError
        For a pattern that no name matches.
    """
    expected = "names of parameters and patterns in a sequence"
    found = set()
    for pattern in several(argument, patterns, expected):
        if not isinstance(pattern, str):
            raise TypeError(f"{argument}: expected {expected}, got {pattern!r} ({type(pattern).__name__})")
        own = {name for name in names if fnmatch.fnmatchcase(name, pattern)}
        if not own:
            raise nearest(argument, pattern, names)
        found |= own
    return found
