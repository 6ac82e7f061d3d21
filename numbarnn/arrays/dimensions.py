"""The names of dimensions, as xarray has them, held against the letters of axes."""

import itertools

from ..errors import LayoutError

NAMES = {
    "t": ("t", "time", "times", "step", "steps"),
    "n": ("n", "batch", "sample", "samples", "sequence", "sequences"),
    "c": ("c", "channel", "channels", "feature", "features", "variable", "variables"),
}
_LETTERS = {name: letter for letter, names in NAMES.items() for name in names}


def check_dimensions(argument, array, axes):
    """Raise LayoutError unless the dimensions of an xarray DataArray, where their names are known, are those expected.

    Axes are told by their place, in every array: names that say something else would be passed over.  Names that are not
    among `NAMES`, and arrays without names, are not looked at.

    Parameters
    ----------
    argument : str
    array : object
    axes : sequence of str
        The letters of the axes, in each of the ways that they may be; the n may be missing.
    """
    names = getattr(array, "dims", None)
    if not axes or not isinstance(names, tuple):
        return
    found = [_LETTERS.get(str(name).lower()) for name in names]
    ways = [way for each in axes for way in (each, each.replace("n", "")) if len(way) == len(names)]
    if not ways or any(_agree(found, way) for way in ways):
        return
    fitting = (order for order in itertools.permutations(range(len(names))) if _agree([found[i] for i in order], ways[0]))
    order = next(fitting, None)
    hint = "" if order is None else f"; transpose{tuple(names[i] for i in order)} of it has that"
    expected = f"dimensions in the order {', '.join(ways[0])}"
    raise LayoutError(f"{argument}: expected {expected}, got a {type(array).__name__} of {names}{hint}")


def _agree(found, way):
    """Whether the letters that are known agree with the letters of a way."""
    return all(letter in (None, own) for letter, own in zip(found, way))
