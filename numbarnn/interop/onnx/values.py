"""What a value of a graph is: numbers, outputs of the layers so far, states that a layer has reached.

A value has axes.  An axis is a tuple of atoms, row by row: the steps, the batch, and one or several of channels, which a
Reshape may put together and take apart.  An axis without atoms has length 1.
"""

import math
from dataclasses import dataclass, replace

from ...errors import ConversionError

STEPS, BATCH, CHANNELS = "t", "n", "c"
ENDS = "ends"  # the step of a signal of two directions: of each the one where it ends


class Atom:
    """An axis that is not taken apart: what it runs over, t, n, c or None while that is not known, and its length."""

    def __init__(self, role, size, free=False):
        self._role, self.size, self.free = role, size, free  # free: of any length; `size` is one that nothing else has
        self._same = None

    @property
    def role(self):
        """What it runs over."""
        return self._root()._role

    @role.setter
    def role(self, role):
        self._root()._role = role

    def _root(self):
        """The atom that speaks for all that run over the same."""
        return self if self._same is None else self._same._root()

    def run_like(self, other):
        """Say that it runs over what another atom runs over, which need not be known yet (both are modified)."""
        first, second = self._root(), other._root()
        if first is not second:
            second._role = second._role or first._role
            first._same = second

    def __repr__(self):
        return f"{self.role or '?'}{self.size}"


def length(axis):
    """The length of an axis."""
    return math.prod(atom.size for atom in axis)


@dataclass(frozen=True, eq=False)
class Signal:
    """What the network has made so far of its input.

    Attributes
    ----------
    at : int
        Which layer has given it, counted from 1; 0 of an input.
    axes : tuple of tuple of Atom
    channels : tuple of Atom or None
        In the order that the network has them; of an input None, while it is not known which they are.
    half : int or None
        Which direction alone of a layer of two, whose atom is then in no axis.
    step : int, str or None
        Which step alone, 0 or -1, or `ENDS`.
    source : str
        The name of the input, where no layer has run.
    parts : tuple of Signal
        Of which it is made side by side along the channels, where it is.
    repeated : bool
        Whether the same numbers stand at each step.
    """

    at: int
    axes: tuple
    channels: tuple | None
    half: int | None = None
    step: int | str | None = None
    source: str = ""
    parts: tuple = ()
    repeated: bool = False

    @property
    def shape(self):
        """The lengths of the axes."""
        return tuple(map(length, self.axes))

    @property
    def sources(self):
        """What a layer that takes it reads: numbers of layers, as `at` counts them, and names of inputs."""
        if self.parts:
            return tuple(source for part in self.parts for source in part.sources)
        return (self.at or self.source,)


@dataclass(frozen=True, eq=False)
class Finals:
    """States that recurrent layers have reached, or an input with the states from which they start.

    Attributes
    ----------
    letter : str
        h or c.
    rows : tuple
        Of which layer and direction each row is, (index, direction); of an input its numbers.
    axes : tuple of tuple of Atom
    row : Atom
        Goes over the rows, where there are several.
    at : int
        Which layer has reached the last of them, counted from 1; 0 of an input.
    """

    letter: str
    rows: tuple
    axes: tuple
    row: Atom
    at: int

    @property
    def shape(self):
        """The lengths of the axes."""
        return tuple(map(length, self.axes))

    def of_rows(self, rows, axes=None):
        """The same of other rows; axes: where `row` stands for their axis."""
        row = Atom(None, len(rows))
        axes = [((row,) if len(rows) > 1 else ()) if axis == (self.row,) else axis for axis in axes or self.axes]
        at = max(index for index, _ in rows) + 1 if self.at else 0
        return replace(self, rows=tuple(rows), axes=tuple(axes), row=row, at=at)


@dataclass(frozen=True, eq=False)
class Scaled:
    """``alpha x + beta`` of a signal x, which becomes a layer where something else reads it."""

    base: Signal
    alpha: float
    beta: float = 0.0


@dataclass(frozen=True, eq=False)
class Erf:
    """``alpha erf(x / sqrt(2)) + beta`` of a signal x, a part of gelu."""

    base: Signal
    alpha: float = 1.0
    beta: float = 0.0


def with_steps(value, axis):
    """Let an axis run over the steps, if it is one of two before the channels of which it was not known (is modified)."""
    if value.half is None and len(value.axes) == 3 and axis < 2 and len(value.axes[axis]) == 1 and not value.repeated:
        (atom,) = value.axes[axis]
        atom.role = atom.role or STEPS


def transposed(value, order):
    """The axes in another order."""
    return replace(value, axes=tuple(value.axes[index] for index in order))


def reshaped(where, value, shape):
    """A value in another shape: axes put together, taken apart, and of length 1 added and left out.

    where: what errors call the node; shape: of integers, one of which may be -1, and 0 for the length that there is.
    """
    shape = [value.shape[index] if size == 0 else int(size) for index, size in enumerate(shape)]
    found = _with_shape(where, value, _without_unknown(value, shape))
    if found is None:
        found = _with_shape(where, value, _of_examples(value, shape))
    if found is None:
        raise ConversionError(f"{where}: expected a shape that puts axes together or takes channels apart, got {shape}")
    return found


def _without_unknown(value, shape):
    """The shape, with the length that -1 stands for."""
    whole, rest = math.prod(value.shape), math.prod(size for size in shape if size != -1)
    if shape.count(-1) == 1 and rest and whole % rest == 0:
        return [whole // rest if size == -1 else size for size in shape]
    return shape


def _of_examples(value, shape):
    """The shape for any length, where PyTorch's exporter may have left the lengths of an example."""
    several = [atom for axis in value.axes for atom in axis if atom.size != 1]
    wide = [size for size in shape if size != 1]
    if len(several) != len(wide) or any(size not in (-1, atom.size) and not atom.free for size, atom in zip(wide, several)):
        return shape
    sizes = iter([atom.size for atom in several])
    return [size if size == 1 else next(sizes) for size in shape]


def _with_shape(where, value, shape):
    """The value in a shape without -1; None if no axes can be put together or taken apart so."""
    axes, left, parts = [], [atom for axis in value.axes for atom in axis], {}
    for size in shape:
        axis = _next_axis(left, size, parts)
        if length(axis) != size:
            return None
        axes.append(tuple(axis))
    if any(atom.size != 1 for atom in left):
        return None
    value = replace(value, axes=tuple(axes))
    for atom, pieces in parts.items():
        if atom.role in (STEPS, BATCH) or isinstance(value, Finals):
            raise ConversionError(f"{where}: expected a shape that leaves steps and batch whole, got {shape}")
        value = _taken_apart(value, atom, pieces)
    return value


def _next_axis(left, size, parts):
    """The atoms of an axis of so many numbers, from the front of those that are left (modified).

    parts: {atom: (first, second)} of those that are taken apart (modified).
    """
    axis = []
    while length(axis) < size and left:
        atom, needed = left.pop(0), size // length(axis)
        if atom.size == 1:
            continue
        if atom.size > needed > 1 and atom.size % needed == 0:
            parts[atom] = first, second = Atom(atom.role, needed), Atom(atom.role, atom.size // needed)
            left.insert(0, second)
            atom = first
        axis.append(atom)
    return axis


def _taken_apart(value, atom, pieces):
    """The value with one atom of its channels replaced by two."""
    if value.channels is None:
        raise ConversionError(f"input: expected axes that stay whole before the first layer, got {atom} taken apart")
    channels = []
    for each in value.channels:
        channels += pieces if each is atom else [each]
    return replace(value, channels=tuple(channels))
