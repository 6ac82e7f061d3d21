"""A graph of ONNX's operators as layers in a row: each node is read once, in order.

Every value of the graph is told what it is in the words of the network (`values`): so Transpose, Squeeze, Reshape and the
like need no patterns, and what does not fit is found at the node where it is.
"""

import math
from dataclasses import replace

import numpy as np

from ...errors import ConversionError, FileFormatError
from ...layers.dense import Activation
from ...layers.embedding import Embedding
from ...layers.last import Last, LastStep
from ...layers.recurrent import Recurrent
from .files import ORDINARY, array_of, onnx_library
from .layers import LAYERS, Erf, Scaled
from .moves import MOVES
from .nodes import Node, folded
from .recurrent import KINDS, recurrent
from .values import BATCH, CHANNELS, STEPS, Atom, Finals, Signal

PRIME = 10_007  # lengths that are not known are primes from here on: nothing else in a graph is a multiple of them


def primes():
    """Prime numbers from `PRIME` on."""
    number = PRIME
    while True:
        if all(number % divisor for divisor in range(3, math.isqrt(number) + 1, 2)):
            yield number
        number += 2


class Reader:
    """What has been read of a graph.

    Parameters
    ----------
    model : onnx.ModelProto
    where : str
        What errors call it.
    given : dict of str to numpy.ndarray, optional
        The inputs, where they are known: then all but the first are constants.
    output : str, optional
        The value that the network ends with, the first output by default.

    Attributes
    ----------
    layers, arrays : list
        The layers so far, and of each {name: array}.
    states : dict
        By (index, letter): from where a recurrent layer has its initial state: (name of an input, rows), or where inputs are
        given (array, direction).
    lengths : list
        For each recurrent layer the name of the input that has the lengths, an array, or None.
    """

    def __init__(self, model, where, given=None, output=None):
        self.model, self.where, self.given = model, where, given
        self.layers, self.arrays, self.states, self.lengths = [], [], {}, []
        self.open_bias, self.activated = -2, (None, -1)
        self.source = None  # the name of the input that the layers read
        self.every_step = None  # a node that takes steps by their place, whatever the lengths of sequences
        self._changed = {}  # by name of a value: the node that has changed the layer which gave it
        self._primes, self._free = primes(), {}
        self.inputs, self.values = {}, {}
        self._begin()
        graph = model.graph
        self.outputs = [output] if output else [each.name for each in graph.output]
        for proto in self._needed(self.outputs):
            self._read(proto)

    def _begin(self):
        """The values of the initializers and inputs."""
        graph = self.model.graph
        if graph.sparse_initializer:
            raise ConversionError(f"{self.where}: expected dense arrays, got sparse initializers")
        for tensor in graph.initializer:
            self.values[tensor.name] = array_of(self.where, tensor)
        for place, each in enumerate(graph.input):
            if self.given is not None and place and each.name in self.given:
                self.values[each.name] = self.given[each.name]
            elif each.name not in self.values:
                self.values[each.name] = self.inputs[each.name] = self._signal(each)

    def _signal(self, info):
        """The Signal that an input is."""
        kind = info.type.tensor_type
        if self.given is not None:
            sizes = list(self.given[info.name].shape)
        elif not kind.HasField("shape"):
            raise ConversionError(f"input {info.name!r}: expected axes that are known, got an input without a shape")
        else:
            sizes = [each.dim_value if each.HasField("dim_value") else each.dim_param for each in kind.shape.dim]
        atoms = []
        for size in sizes:
            free = not isinstance(size, int) or size < 1 and self.given is None
            if free:
                size = self._free.setdefault(size or object(), None) or next(self._primes)
            atoms.append(Atom(None, size, free))
        for name, atom in zip([each for each in sizes], atoms):
            if isinstance(name, str) and name:
                self._free[name] = atom.size
        is_float = kind.elem_type in (onnx_library().TensorProto.FLOAT, onnx_library().TensorProto.DOUBLE)
        channels = None
        if is_float and len(atoms) == 4:
            channels = tuple(atoms[1:])
            for atom in channels:
                atom.role = CHANNELS
            atoms[0].role = BATCH
        elif is_float and len(atoms) == 2:
            channels, atoms[1].role = (atoms[1],), CHANNELS
        return Signal(0, tuple((atom,) for atom in atoms), channels, source=info.name)

    def _needed(self, outputs):
        """The nodes that the outputs need, in the order of the graph."""
        makes = {name: proto for proto in self.model.graph.node for name in proto.output if name}
        needed, todo = set(), list(outputs)
        for name in outputs:
            if name not in makes and name not in self.values:
                raise ConversionError(f"output: expected a value of the graph, got {name!r}")
        while todo:
            proto = makes.get(todo.pop())
            if proto is not None and id(proto) not in needed:
                needed.add(id(proto))
                todo += list(proto.input)
        return [proto for proto in self.model.graph.node if id(proto) in needed]

    def _read(self, proto):
        """Read one node."""
        missing = [name for name in proto.input if name and name not in self.values]
        name = proto.name or (list(proto.output) or ["?"])[0]
        if missing:
            raise FileFormatError(
                f"{self.where}: node {name!r} ({proto.op_type}): expected {missing[0]!r} from a node before it"
            )
        if any(each.type in (5, 10) for each in proto.attribute) or proto.domain not in ORDINARY:
            raise ConversionError(
                f"node {name!r} ({proto.op_type}): expected an operator of ONNX without graphs inside, got one of domain"
                f" {proto.domain!r}"
            )
        node = Node(proto, self.values, self.where)
        try:
            for each in proto.input if node.operator != "Shape" else ():
                self.check_unchanged(node, each)
            found = self._outputs(node)
        except (ConversionError, FileFormatError):
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{self.where}: {node.where}: expected what ONNX says of the operator ({error})"
            ) from error
        self.values |= {name: value for name, value in zip(node.outputs, found) if name}

    def _outputs(self, node):
        """The values that a node gives."""
        operator = node.operator
        if all(value is None or isinstance(value, np.ndarray) for value in node.inputs) and operator not in KINDS:
            found = folded(node)
            if found is not None:
                return found
            raise node.error("an operator that numbarnn works out of constants")
        if operator == "Cast":
            return [self._cast(node, node.input(0))]
        if operator == "Identity":
            return [node.input(0)]
        if operator == "Shape":
            value = node.input(0)
            shape = (value.base if isinstance(value, Scaled) else value).shape
            return [np.array(shape, np.int64)[node.attribute("start", 0) : node.attribute("end")]]
        if operator in KINDS:
            return recurrent(self, node)
        if operator in MOVES:
            node.inputs = [self.settled(node, value) for value in node.inputs]
            found = MOVES[operator](self, node)
        elif operator in LAYERS:
            found = LAYERS[operator](self, node)
        else:
            raise node.error(
                f"an operator that numbarnn has as a layer; output={node.names[0]!r} ends the network before it"
            )
        return found if isinstance(found, list) else [found]

    def _cast(self, node, value):
        """A value as numbers of another type: layers have one, and indices any of integers."""
        types = onnx_library().TensorProto
        if node.attribute("to") not in (types.FLOAT, types.DOUBLE):
            info = next((each for each in self.model.graph.input if each.name == getattr(value, "source", "")), None)
            if info is None or info.type.tensor_type.elem_type in (types.FLOAT, types.DOUBLE, types.FLOAT16, types.BFLOAT16):
                raise node.error(f"float or double, or integers of an input of integers, got type {node.attribute('to')}")
        return value

    def change(self, node):
        """Say that a node changes the last layer: what that has given before is no value of the network any more."""
        for name, value in self.values.items():
            signal = getattr(value, "base", value)
            if isinstance(signal, Signal) and signal.at == len(self.layers):
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

    def append(self, layer, arrays):
        """Add a layer and its parameters."""
        self.layers.append(layer)
        self.arrays.append(arrays)

    def data(self, node, value):
        """The Signal that a layer reads where a node reads a value; `Last` is added where it is one step."""
        if isinstance(value, Scaled):
            return self._scaled(node, value)
        if isinstance(value, Finals):
            return self._final_output(node, value)
        if not isinstance(value, Signal):
            raise node.error(f"an output of a layer before it, got {type(value).__name__}")
        if value.half is not None:
            raise node.error("both directions of a layer, got one")
        if value.at != len(self.layers):
            raise node.error(
                f"layers in a row, each with the output of the one before, got the output of layer {value.at} after layer"
                f" {len(self.layers)}"
            )
        if not value.at:
            if self.source not in (None, value.source):
                raise node.error(f"one input of the network, {self.source!r}, got also {value.source!r}")
            self.source = value.source
        if value.step is None:
            return value
        before = next((layer for layer in reversed(self.layers) if isinstance(layer, Recurrent)), None)
        two = before is not None and before.bidirectional
        reverse = two and before.merge == "sum"
        if value.step == 0 and not (reverse and before is self.layers[-1]):
            raise node.error("the last step of the outputs, got the first")
        self.append(LastStep() if value.step == -1 and two else Last(), {})
        self.every_step = self.every_step or node
        return replace(value, at=len(self.layers), step=None)

    def _scaled(self, node, value):
        """The Signal of ``alpha x + beta``, with the tanh before it one activation function."""
        signal, spec = self.data(node, value.base), ("affine", value.alpha, value.beta)
        last = self.layers[-1] if self.layers else None
        scaled = isinstance(last, Activation) and isinstance(last.name, tuple) and last.name[:2] == ("scaled_tanh", 1.0)
        if scaled and not value.beta:
            spec = ("scaled_tanh", value.alpha, last.name[2])
            self.change(node)
            del self.layers[-1], self.arrays[-1]
        self.append(Activation(spec), {})
        return replace(signal, at=len(self.layers))

    def _final_output(self, node, value):
        """The Signal of the final h of the layer before."""
        index = value.rows[0][0] if isinstance(value.rows[0], tuple) else None
        last = index is not None and value.at == len(self.layers) == index + 1 and value.letter == "h"
        if not last or value.rows != self._ways(index):
            raise node.error("the final h of the layer before it, all of its directions, forward first")
        self.append(Last(), {})
        return self._of_finals(value, self._with_rows(value))

    def _ways(self, index):
        """The rows of a layer's states that its node has."""
        layer = self.layers[index]
        if not layer.bidirectional:
            return ((index, 0),)
        return ((index, 1),) if layer.merge == "sum" and self._is_reverse(index) else ((index, 0), (index, 1))

    def _is_reverse(self, index):
        """Whether a layer of two directions stands for one in reverse."""
        return not any(array.any() for name, array in self.arrays[index].items() if name.endswith("_l0"))

    def _with_rows(self, value):
        return (value.row,) if len(value.rows) > 1 else ()

    def _of_finals(self, value, rows):
        """The Signal of states, whose channels are the rows and those of each."""
        value.row.role = CHANNELS
        own = tuple(atom for axis in value.axes for atom in axis if atom.role == CHANNELS and atom is not value.row)
        return Signal(len(self.layers), value.axes, (*rows, *own))

    def merged_finals(self, node, value, merge, axes):
        """The final h of two directions merged."""
        index = value.rows[0][0]
        if value.at != len(self.layers) or value.rows != ((index, 0), (index, 1)) or index != len(self.layers) - 1:
            raise node.error("the final h of both directions of the layer before")
        self.change(node)
        self.layers[index] = replace(self.layers[index], merge=merge)
        self.append(Last(), {})
        return self._of_finals(replace(value, axes=axes), ())

    def is_plain(self, signal):
        """Whether a signal is all of what the last layer gives, of two directions."""
        layer = self.layers[-1] if self.layers else None
        whole = signal.at == len(self.layers) and signal.half is None and signal.step is None
        return whole and getattr(layer, "bidirectional", False) and layer.merge == "concat"

    def bound(self, value, node=None):
        """A Signal whose channels are known: those of its last axis."""
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
        """A signal whose channels are those of an image, height and width: one axis each."""
        if len(signal.axes) != 4 or signal.channels is None:
            raise node.error(f"images of four axes, got shape {signal.shape}")
        there = [atom for axis in signal.axes[1:] for atom in axis if atom.size != 1]
        if there != [atom for atom in signal.channels if atom.size != 1]:
            raise node.error(f"the axes batch, channels, height and width, got shape {signal.shape}")
        atoms = tuple(
            axis[0] if len(axis) == 1 else Atom(CHANNELS, math.prod(a.size for a in axis)) for axis in signal.axes[1:]
        )
        return replace(signal, axes=(signal.axes[0], *((atom,) for atom in atoms)), channels=atoms)

    def embedding(self, node, table, indices):
        """Append the Embedding that rows of a table by indices are."""
        if table.ndim != 2 or node.axis(2) != 0 or not isinstance(indices, Signal) or table.dtype.kind != "f":
            raise node.error(f"rows of a matrix by indices that are an input, got a table of shape {table.shape}")
        signal = self.data(node, indices)
        if signal.at or signal.channels is not None:
            raise node.error("indices that are the input")
        self.append(Embedding(*table.shape), {"weight": table})
        size = Atom(CHANNELS, table.shape[1])
        return Signal(1, (*signal.axes, (size,)), (size,))

    def states_given(self, signal):
        """An input as states, of which some rows are chosen."""
        row = signal.axes[0][0]
        return Finals(signal.source, tuple(range(row.size)) if not row.free else (0,), signal.axes, row, 0)

    def take_state(self, node, index, letter, value, order, direction):
        """Note from which input a layer has its initial state."""
        if isinstance(value, Signal) and not value.at and value.source != self.source and len(value.axes) == 3:
            value = self.states_given(replace(value, axes=tuple(value.axes[axis] for axis in order)))
        if not isinstance(value, Finals) or value.letter not in self.inputs:
            raise node.error(f"an initial_{letter} that is zero, constant, or an input")
        self.states[index, letter] = value.letter, value.rows

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
