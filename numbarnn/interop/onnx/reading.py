"""A graph of ONNX's operators as layers and what each of them reads: each node is read once, in order.

Every value of the graph is told what it is in the words of the network (`values`): so Transpose, Squeeze, Reshape and the
like need no patterns, and what does not fit is found at the node where it is.
"""

import math

import numpy as np

from ...errors import ConversionError, FileFormatError
from ...layers.embedding import Embedding
from .files import ORDINARY, array_of, onnx_library
from .indices import Indices, computed, table_of
from .layers import LAYERS
from .layers_read import LayersRead
from .moves import MOVES
from .nodes import Node, folded
from .recurrent import KINDS, recurrent
from .values import CHANNELS, Atom, Signal

SEVERAL = ("Add", "Concat", "Div", "Mul", "Sub", "Where")  # operators of which any input may be what a layer has given
PRIME = 10_007  # lengths that are not known are primes from here on: nothing else in a graph is a multiple of them


def primes():
    """Prime numbers from `PRIME` on."""
    number = PRIME
    while True:
        if all(number % divisor for divisor in range(3, math.isqrt(number) + 1, 2)):
            yield number
        number += 2


class Reader(LayersRead):
    """What has been read of a graph.

    Parameters
    ----------
    model : onnx.ModelProto
    where : str
        What errors call it.
    given : dict of str to numpy.ndarray, optional
        The inputs, where they are known: then weights, states and lengths among them are constants.
    output : str, optional
        The only value that is wanted; all outputs by default.
    """

    def __init__(self, model, where, given=None, output=None):
        super().__init__(where)
        self.model, self.given = model, given
        self._primes, self._free = primes(), {}
        self._states = set()  # the names of values that initial states are made of
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
        data = set() if self.given is None else self._data_inputs()
        for each in graph.input:
            if self.given is not None and each.name not in data and each.name in self.given:
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
            atoms[0].role = "n"
        return Signal(0, tuple((atom,) for atom in atoms), channels, source=info.name)

    def _data_inputs(self):
        """The names of the inputs that layers read: the first one, and those that are no weights, states and lengths."""
        graph = self.model.graph
        makes = {name: proto for proto in graph.node for name in proto.output if name}
        found, seen, todo = {each.name for each in graph.input[:1]}, set(), [each.name for each in graph.output]
        while todo:
            name = todo.pop()
            proto = makes.get(name)
            if proto is None or name in seen:
                array = self.given.get(name)
                if array is not None and 1 < array.ndim and not (name in self._states and array.ndim == 3):
                    found.add(name)
                continue
            seen |= set(proto.output)
            inputs = list(proto.input)
            if proto.op_type in KINDS:
                self._states |= set(inputs[5:7])
                todo += [inputs[0], *inputs[5:7]]
            elif proto.op_type == "Gather":
                todo += [inputs[1] if inputs[1] in self.given else inputs[0]]
            else:
                todo += inputs if proto.op_type in SEVERAL else inputs[:1]
                self._states |= set(inputs) if set(proto.output) & self._states else set()
        return found

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
        self.proto = proto
        missing = [name for name in proto.input if name and name not in self.values]
        name = proto.name or (list(proto.output) or ["?"])[0]
        if missing:
            raise FileFormatError(
                f"{self.where}: node {name!r} ({proto.op_type}): expected {missing[0]!r} from a node before it"
            )
        if any(each.type in (5, 10) for each in proto.attribute) or proto.domain not in ORDINARY:
            raise ConversionError(
                f"node {name!r} ({proto.op_type}): expected an operator of ONNX, and none with a graph inside, got"
                f" {proto.op_type} of domain {proto.domain!r}"
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
        indices = computed(self, node)
        if indices is not None:
            return [indices]
        if operator == "Cast":
            return [self._cast(node, node.input(0))]
        if operator == "Identity":
            return [node.input(0)]
        if operator == "Shape":
            value = node.input(0)
            shape = getattr(value, "base", value).shape
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
            if not self.is_of_integers(getattr(value, "source", "")):
                raise node.error(f"float or double, or integers of an input of integers, got type {node.attribute('to')}")
        return value

    def is_of_integers(self, name):
        """Whether an input holds integers."""
        types = onnx_library().TensorProto
        info = next((each for each in self.model.graph.input if each.name == name), None)
        floats = (types.FLOAT, types.DOUBLE, types.FLOAT16, types.BFLOAT16)
        return info is not None and info.type.tensor_type.elem_type not in floats

    def embedding(self, node, table, indices):
        """Append the Embedding that rows of a table by indices are."""
        if isinstance(indices, Indices):
            table, indices = table_of(node, table, indices), indices.base
        if table.ndim != 2 or node.axis(2) != 0 or not isinstance(indices, Signal) or table.dtype.kind != "f":
            raise node.error(f"rows of a matrix by indices that are an input, got a table of shape {table.shape}")
        signal = self.data(node, indices)
        if signal.at or signal.channels is not None:
            raise node.error("indices that are the input")
        size = Atom(CHANNELS, table.shape[1])
        at = self.append(Embedding(*table.shape), {"weight": table}, signal)
        return Signal(at, (*signal.axes, (size,)), (size,))
