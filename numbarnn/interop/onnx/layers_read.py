"""The layers that have been read so far, and what they make of the values of a graph."""

import math
from dataclasses import replace

import numpy as np

from ...errors import ConversionError
from ...layers.dense import Activation
from ...layers.last import Last, LastStep
from ...layers.recurrent import Recurrent
from .joining import some_channels
from .values import CHANNELS, ENDS, STEPS, Atom, Erf, Finals, Scaled, Signal


class LayersRead:
    """The layers that have been read so far.

    Parameters
    ----------
    where : str
        What errors call the model.

    Attributes
    ----------
    layers, arrays, reads, names : list
        The layers so far; of each {name: array}, what it reads, as `Signal.sources` says it, and its node's name.
    sums : dict
        By a layer that is a sum of what it reads: the sign of each.
    constants : set
        Layers whose parameters are ones and zeros that stand for an operator, and no numbers of the model.
    starts : dict
        By a recurrent layer: what its initial state comes from, ("layer", index) or ("value", source).
    states : dict
        By (index, letter): from where a recurrent layer has its initial state: (name of an input, rows), or where inputs are
        given (array, direction).
    lengths : list
        For each recurrent layer the name of the input that has the lengths, an array, or None.
    inputs, values : dict
        By name: the Signals of the inputs, and all values so far.
    """

    def __init__(self, where):
        self.where = where
        self.layers, self.arrays, self.reads, self.names = [], [], [], []
        self.sums, self.constants, self.starts, self.states, self.lengths = {}, set(), {}, {}, []
        self.open_biases, self.activated = set(), {}
        self.inputs, self.values = {}, {}
        self.given = None  # the inputs, where they are known
        self.proto = None  # the node that is read now
        self.every_step = None  # a node that takes steps by their place, whatever the lengths of sequences
        self._changed = {}  # by name of a value: the node that has changed the layer which gave it

    def change(self, node, at):
        """Say that a node changes a layer: what that has given before is no value of the network any more."""
        if any(at in sources for sources in self.reads):
            raise node.error(f"a value that it alone reads, got the value of {self.names[at - 1]!r}, which other nodes read")
        for name, value in self.values.items():
            signal = getattr(value, "base", value)
            if isinstance(signal, Signal) and signal.at == at and not signal.parts:
                self._changed[name] = node

    def check_unchanged(self, node, name):
        """Raise if a value that a node reads is none of the network any more."""
        if name in self._changed:
            raise node.error(f"layers in a row, got {name!r}, which {self._changed[name].where} has made a part of a layer")

    def settled(self, node, value):
        """A value that has axes."""
        if isinstance(value, Scaled):
            return self.data(node, value)
        if isinstance(value, Erf):
            raise node.error("gelu as a whole, got a part of it")
        return value

    def append(self, layer, arrays, signal):
        """Add a layer that reads a signal, and its parameters; its number."""
        name = (self.proto.name or self.proto.output[0]) if self.proto is not None else ""
        if signal.repeated and layer.takes_steps:
            raise ConversionError(
                f"node {name!r}: expected something that has steps beside what is repeated at each step, got it alone"
            )
        self.layers.append(layer)
        self.arrays.append(arrays)
        self.reads.append(signal.sources)
        self.names.append(name)
        return len(self.layers)

    def data(self, node, value):
        """The Signal that a layer reads where a node reads a value; `Last` is added where it is one step."""
        if isinstance(value, Scaled):
            return self._scaled(node, value)
        if isinstance(value, Finals):
            return self._final_output(node, value)
        if not isinstance(value, Signal):
            raise node.error(f"an output of a layer before it, got {type(value).__name__}")
        if value.half is not None:
            return self._direction(node, value)
        if value.step is None:
            return value
        before = self.recurrent_before(value)
        two = before is not None and self.layers[before].bidirectional
        several = two or self._is_behind_joined(value)
        reverse = two and self.layers[before].merge == "sum" and self.is_reverse(before)
        if value.step == 0 and not (reverse and before == value.at - 1):
            raise node.error("the last step of the outputs, got the first")
        at = self.append(LastStep() if value.step == -1 and several else Last(), {}, value)
        self.every_step = self.every_step or node
        return replace(value, at=at, step=None, parts=(), source="")

    def _direction(self, node, value):
        """The Signal of one of the two directions of a layer: a Dense that takes a half of the channels."""
        ends = value.step == 0 and value.half == 1
        whole = self.data(node, replace(value, half=None, step=ENDS if ends else value.step))
        units = math.prod(atom.size for atom in value.channels[1:])
        found = some_channels(self, node, whole, 2 * units, range(value.half * units, (value.half + 1) * units))
        return replace(value, at=found.at, half=None, step=None, channels=value.channels[1:])

    def _before(self, signal):
        """What the row of layers that gives a signal reads, or the recurrent layer in it: sources, as `Signal.sources`."""
        sources = signal.sources
        while len(sources) == 1 and not isinstance(sources[0], str):
            if isinstance(self.layers[sources[0] - 1], Recurrent):
                break
            sources = self.reads[sources[0] - 1]
        return sources

    def recurrent_before(self, signal):
        """The index of the recurrent layer that a signal comes from, through layers in a row; None if there is none."""
        sources = self._before(signal)
        return None if len(sources) > 1 or isinstance(sources[0], str) else sources[0] - 1

    def _is_behind_joined(self, signal):
        """Whether a signal comes from values side by side, through layers in a row."""
        return len(self._before(signal)) > 1

    def _scaled(self, node, value):
        """The Signal of ``alpha x + beta``, with the tanh before it one activation function."""
        signal, spec = self.data(node, value.base), ("affine", value.alpha, value.beta)
        last = self.layers[signal.at - 1] if signal.at and not signal.parts else None
        scaled = isinstance(last, Activation) and isinstance(last.name, tuple) and last.name[:2] == ("scaled_tanh", 1.0)
        if scaled and not value.beta and not any(signal.at in sources for sources in self.reads):
            self.change(node, signal.at)
            self.layers[signal.at - 1] = Activation(("scaled_tanh", value.alpha, last.name[2]))
            return replace(signal)
        return self.given_by(self.append(Activation(spec), {}, signal), signal)

    def given_by(self, at, signal):
        """The Signal of a layer that gives the axes of the one that it reads."""
        return replace(signal, at=at, parts=(), source="")

    def _final_output(self, node, value):
        """The Signal of the final h of a layer."""
        index = value.rows[0][0] if isinstance(value.rows[0], tuple) else None
        if index is None or value.letter != "h" or value.rows != self.ways(index):
            raise node.error("the final h of the layer before it, all of its directions, forward first")
        self._append_last(index)
        return self._of_finals(value, self._with_rows(value))

    def _append_last(self, index):
        """Add the `Last` that reads a recurrent layer."""
        self.append(Last(), {}, Signal(index + 1, (), None))

    def ways(self, index):
        """The rows of a layer's states that its node has."""
        layer = self.layers[index]
        if not layer.bidirectional:
            return ((index, 0),)
        return ((index, 1),) if layer.merge == "sum" and self.is_reverse(index) else ((index, 0), (index, 1))

    def is_reverse(self, index):
        """Whether a layer of two directions stands for one in reverse."""
        return not any(array.any() for name, array in self.arrays[index].items() if name.endswith("_l0"))

    def _with_rows(self, value):
        return (value.row,) if len(value.rows) > 1 else ()

    def _of_finals(self, value, rows):
        """The Signal of states: its channels are the rows, and within each row the channels of the state."""
        value.row.role = CHANNELS
        own = tuple(atom for axis in value.axes for atom in axis if atom.role == CHANNELS and atom is not value.row)
        return Signal(len(self.layers), value.axes, (*rows, *own))

    def merged_finals(self, node, value, merge, axes):
        """The final h of two directions merged."""
        index = value.rows[0][0]
        if value.rows != ((index, 0), (index, 1)) or self.layers[index].merge != "concat":
            raise node.error("the final h of both directions of the layer before")
        self.change(node, index + 1)
        self.layers[index] = replace(self.layers[index], merge=merge)
        self._append_last(index)
        return self._of_finals(replace(value, axes=axes), ())

    def is_plain(self, signal):
        """Whether a signal is all of what the last layer gives, of two directions."""
        layer = self.layers[signal.at - 1] if signal.at and not signal.parts else None
        whole = signal.half is None and signal.step is None
        return whole and getattr(layer, "bidirectional", False) and layer.merge == "concat"

    def bound(self, value, node=None):
        """A Signal whose channels are known: they are the channels of its last axis."""
        if not isinstance(value, Signal) or value.channels is not None:
            return value
        for atom in value.axes[-1] if value.axes else ():
            if atom.role not in (None, CHANNELS):
                raise ConversionError(f"{node.where if node else 'input'}: expected channels in the last axis, got {atom}")
            atom.role = CHANNELS
        return replace(value, channels=value.axes[-1])

    def give_role(self, node, axis, role):
        """Say what an axis runs over."""
        wrong = len(axis) > 1 or any(atom.role not in (None, role) for atom in axis)
        if wrong:
            raise node.error(f"an axis of {'steps' if role == STEPS else 'the batch'}, got {axis}")
        for atom in axis:
            atom.role = role

    def width(self, signal):
        """The channels of a signal, all of which are in its last axis."""
        wide = {atom for atom in signal.channels if atom.size != 1}
        if not signal.axes or {atom for atom in signal.axes[-1] if atom.size != 1} != wide:
            raise ConversionError(f"expected all channels in the last axis, got shape {signal.shape}")
        return math.prod(atom.size for atom in signal.channels)

    def in_order(self, signal, matrix):
        """A matrix with a row for each number of a signal's last axis, the rows in the order of its channels."""
        there = [atom for atom in signal.axes[-1] if atom.size != 1]
        here = [atom for atom in signal.channels if atom.size != 1]
        if there == here:
            return matrix
        parts = matrix.reshape(*(atom.size for atom in there), -1)
        return parts.transpose(*(there.index(atom) for atom in here), len(there)).reshape(matrix.shape)

    def image(self, node, signal):
        """A signal of images: the channels, height and width of an image are one axis each."""
        if len(signal.axes) != 4 or signal.channels is None:
            raise node.error(f"images of four axes, got shape {signal.shape}")
        there = [atom for axis in signal.axes[1:] for atom in axis if atom.size != 1]
        if there != [atom for atom in signal.channels if atom.size != 1]:
            raise node.error(f"the axes batch, channels, height and width, got shape {signal.shape}")
        atoms = tuple(
            axis[0] if len(axis) == 1 else Atom(CHANNELS, math.prod(a.size for a in axis)) for axis in signal.axes[1:]
        )
        return replace(signal, axes=(signal.axes[0], *((atom,) for atom in atoms)), channels=atoms)

    def take_lengths(self, node, value, batch, steps):
        """Note from where a layer has the lengths of sequences."""
        if isinstance(value, np.ndarray) and self.given is None:
            if (value != math.prod(atom.size for atom in steps)).any():
                raise node.error("sequence_lens that are an input, or all steps, got other constants")
            value = None
        elif isinstance(value, Signal):
            if value.at or len(value.axes) != 1:
                raise node.error("sequence_lens that are an input")
            value = value.source
        self.lengths.append(value)

    def forget_lengths(self, node):
        """Note a node that takes all steps, whatever the lengths of sequences."""
        self.every_step = self.every_step or node

    def check_lengths(self):
        """Raise if lengths reach some layers alone."""
        some = [value for value in self.lengths if value is not None]
        names = {value if isinstance(value, str) else "" for value in some}
        if some and (len(some) < len(self.lengths) or len(names) > 1):
            raise ConversionError(f"{self.where}: expected the same sequence_lens for all recurrent layers, got several")
        if some and self.every_step is not None:
            raise self.every_step.error("no steps by their place where sequences have lengths; Y_h has the last ones")
