"""From a sequence to one output: Last, LastStep."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from ..arrays.batch import Batch
from ..arrays.descriptor import TensorDescriptor, in_layout
from ..arrays.devices import backend_of, device_of
from ..arrays.ragged import Ragged
from ..arrays.rows import copy_ends, like
from ..descriptions.fields import one_of, optional
from ..errors import LayoutError, ShapeError, integer
from .base import Layer
from .chain import Chain
from .operations import MERGES, Merged, Operation, PassedOn
from .stateless import Stateless


class OneStep(Stateless):
    """The part of a layer that makes one output, (N, C), of the steps of a sequence, (T, N, C)."""

    takes_steps = True
    leaves_one = True

    def _checked_input(self, p, x, layout, lengths):
        if not isinstance(x, Ragged) and "t" not in TensorDescriptor.of(x, layout, "x").layout:
            raise LayoutError(f"layout: expected the letters of a sequence, t among them, got {layout!r}")
        return Batch.of(x, layout, lengths)

    def _given(self, batch, y):
        return in_layout(y.array, batch.layout.replace("t", ""))

    def _described(self, batch, dy, channels, dtype):
        dy = TensorDescriptor.of(dy, batch.layout.replace("t", ""), "dy")
        dy.expect("dy", 1, batch.sequences, channels, dtype)
        return dy


@dataclass(frozen=True, repr=False)
class LastStep(OneStep):
    """The last step of each sequence, whatever layer comes before.

    T steps, N batch, C channels.  For a sequence n of length T ::

        y[n] = x[T - 1, n]

    where x is (T, N, C) and y (N, C); no state, no parameters.  With `lengths` it is the step at each sequence's own end,
    and 0 for a sequence of length 0.  y is a view of x where all sequences have all steps.  `Last` does the same, except
    after a layer of two directions.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.LastStep()
    >>> layer(layer.init(channels=1), np.arange(6, dtype=np.float32).reshape(3, 2, 1))
    array([[4.],
           [5.]], dtype=float32)
    """

    def operation(self, p, x, keep):
        return PassedOn(x) if keep.weights else Ends(x, [slice(None)])  # a stream's step is the last one so far


def _one_or_two(argument, value):
    if integer(argument, value, "1, 2 or None") not in (1, 2):
        raise ValueError(f"{argument}: expected 1, 2 or None, got {value}")
    return int(value)


@dataclass(frozen=True, repr=False)
class Last(LastStep):
    """What each sequence ends with: the final output of a layer, of two directions both; Deep Diamond's ``abbreviate``.

    T steps, N batch, C channels, H hidden units of each direction.  For a sequence n of length T ::

        y[n] = x[T - 1, n]                           one direction
        y[n] = concat(x[T - 1, n, :H], x[0, n, H:])  two directions

    where x is (T, N, C) and y (N, C), with C = 2H for two directions; no state, no parameters.  The backward half ends at
    the first step, so that is where its final output is (as in Keras).  With `lengths` each sequence's T is its own; a
    sequence of length 0 gives 0.  Where `merge` is not "concat", y is (N, H).

    In a `Network` it knows the layer before it, with only `Activation` and `Dropout` in between; called by itself it is
    told of `directions`.

    Parameters
    ----------
    directions : {1, 2}, optional
        2: the first half of the channels runs forward, the second backward.  None: 1, or in a network as many as the layer
        before has.
    merge : {"concat", "sum", "average", "product"}
        What becomes of two final outputs; in a network as in the layer before, unless given.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> layer = nr.GRU(3, bidirectional=True)
    >>> p, x = layer.init(channels=2, seed=0), np.ones((5, 4, 2), np.float32)
    >>> y, h = layer(p, x)
    >>> last = nr.Last(directions=2)
    >>> np.array_equal(last(last.init(channels=6), y), np.concatenate(h, axis=1))
    True
    >>> nr.Network([layer, nr.Last(), nr.Dense(1)], channels=2).layers[1]
    Last(directions=2)
    """

    directions: int | None = None
    merge: str = "concat"

    accepts: ClassVar = {"directions": optional(_one_or_two), "merge": one_of(MERGES)}

    def __post_init__(self):
        super().__post_init__()
        if self.merge != "concat" and self.directions != 2:
            raise ValueError(f"merge: expected 'concat' without directions=2, got {self.merge!r}")

    def output_channels(self, channels):
        return channels if self.merge == "concat" else channels // 2

    def _checked_input(self, p, x, layout, lengths):
        batch, described = super()._checked_input(p, x, layout, lengths)
        if self.directions == 2 and described.channels % 2:
            raise ShapeError(f"x: expected two directions of as many channels, got {described.channels} channels in all")
        return batch, described

    def operation(self, p, x, keep):
        if self.directions != 2:
            return super().operation(p, x, keep)
        middle = x.channels // 2
        chain = Chain(x)
        chain.append(Ends(x, [slice(middle), slice(middle, x.channels)]))
        if self.merge != "concat":
            chain.append(Merged(chain.outputs, self.merge))
        return chain

    def after(self, source, between):
        """This layer as it is in a network, after the recurrent layer `source` and the layers `between`."""
        if source is None or source.directions == 1:
            if self.directions == 2:
                raise ValueError(f"directions: expected 1 or None without a bidirectional layer before, got {self!r}")
            return self
        plain = "LastStep takes the outputs of the last step"
        if self.directions == 1:
            raise ValueError(f"directions: expected 2 or None after {source!r}, got 1; {plain}")
        merges = source.merge != "concat"
        mixing = [layer for layer in between if merges or not layer.channelwise]
        if mixing:
            raise ValueError(
                f"layers: expected Last right after {source!r}, whose directions end at different steps, got {mixing[0]!r}"
                f" in between, which mixes them; {plain}"
            )
        if merges and source.residual:
            raise ValueError(
                f"layers: expected Last after a layer with merge='concat' or without residual, since both directions add the"
                f" same input at different steps, got {source!r}; {plain}"
            )
        if merges and self.merge not in ("concat", source.merge):
            raise ValueError(f"merge: expected {source.merge!r} like {source!r}, got {self.merge!r}")
        return replace(self, directions=2, merge=source.merge if merges else self.merge)


class Ends(Operation):
    """The last step of each sequence, (1, N, C); of what runs backward its first.

    Parameters
    ----------
    source : TensorDescriptor
    directions : sequence of slice
        The channels of each direction, forward first.
    """

    def __init__(self, source, directions):
        self.directions, self.view = directions, source.packing.uniform and len(directions) == 1
        if self.view:
            outputs = source.tnc[-1:]
        else:
            shape = 1, source.packing.sequences, source.channels
            outputs = backend_of(source.array).memory.empty(shape, source.dtype)
        super().__init__(source, TensorDescriptor.of_tnc(outputs))

    def forward(self):
        if self.view:
            return
        for first, channels in enumerate(self.directions):
            copy_ends(self.source.of_channels(channels), self.outputs.of_channels(channels), first)

    def backward(self, adjoint, dy, need_x):
        if not need_x:
            return None
        ends = EndsAdjoint(self, dy)
        adjoint.fills.append(ends.fill)
        return ends.dx

    def jvp(self, tangents, dx):
        return dx and [Ends(each, self.directions).outputs for each in dx]


class EndsAdjoint:
    """Backward of `Ends`: dL/d(source) is zero but for the steps that the outputs are."""

    def __init__(self, ends, dy):
        self._ends, self.directions, self.dy, self.dx = ends, ends.directions, dy, like(ends.source)
        self.dx.array.fill(0)
        self._copy = None
        if device_of(self.dx.array) != "cpu" and self._is_one_copy():
            self._copy = backend_of(self.dx.array).programs.Copy(dy.tnc, self.dx.tnc[-1])

    @property
    def recording(self):
        """On a GPU the launch that `fill` is, see `cuda.repeated.Joined`; else None."""
        return None if self._copy is None else self._copy.recording

    def _is_one_copy(self):
        """Whether it is one direction of sequences of equal length, whose numbers lie side by side."""
        return self._ends.view and self.dy.tnc.flags.c_contiguous and self.dx.tnc.flags.c_contiguous

    def fill(self):
        """Write dy to those steps."""
        if self._copy is not None:
            self._copy.fill()
            return
        for first, channels in enumerate(self.directions):
            _put_ends(self.dx, self._ends.source.packing, self.dy.tnc[0], channels, first)

    def add_to(self, program):
        """Add `fill` to a program, of one direction and sequences of equal length; False if a program cannot do it."""
        if not self._is_one_copy():
            return False
        dy, dx = self.dy.tnc, self.dx.tnc
        backend_of(dx).programs.add_copy(program, dy.ctypes.data, dx[-1].ctypes.data, dy.nbytes)
        return True


def _put_ends(dx, packing, values, channels, first=False):
    """Write (N, C) values to some channels of the last step of each sequence in dx (modified), or of its first step."""
    there, rows = packing.end_rows(first)
    dx.array.reshape(-1, dx.channels)[:, channels][rows] = values[:, channels][there]


def chained(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers of a network, in which each `Last` knows of the directions of the layer before it.

    Raises
    ------
    ValueError
        If a layer that needs the steps of a sequence comes after one that leaves one step, or a `Last` after directions that
        it cannot tell apart.
    """
    found, source, between, single = [], None, [], None
    for index, layer in enumerate(layers):
        if single is not None and layer.takes_steps:
            raise ValueError(
                f"layers: expected none that needs the steps of a sequence after {single!r}, which leaves one, got {layer!r}"
                f" at {index}"
            )
        if isinstance(layer, Last):
            layer = layer.after(source, between)
        if layer.leaves_one:
            single = layer
        between.append(layer)
        if hasattr(layer, "bidirectional"):
            source, between = layer, []
        found.append(layer)
    return tuple(found)


def unmerged(layers: tuple[Layer, ...]) -> frozenset[int]:
    """Which layers leave it to the `Last` after them to merge their directions: indices."""
    pairs = enumerate(zip(layers, layers[1:]))
    return frozenset(i for i, (a, b) in pairs if isinstance(b, Last) and getattr(a, "merge", "concat") != "concat")
