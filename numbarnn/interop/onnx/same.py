"""Whether two models are the same, the names of values inside them aside."""

from ...errors import ConversionError
from .files import array_of

GRAPH = 5  # the type of an attribute that is a graph


def expect_same(where, model, expected):
    """Raise unless a model computes by the same nodes and numbers as the one that its description stands for.

    Raises
    ------
    ConversionError
        It says where they differ.
    """
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise _different(where, "the model", "functions, a training or sparse arrays")
    found, other = Told(where, model.graph), Told("description", expected.graph)
    for what in ("inputs", "constants", "nodes", "outputs"):
        here, there = getattr(found, what), getattr(other, what)
        for (name, told), (_, wanted) in zip(here, there):
            if told != wanted:
                raise _different(where, name, "another one")
        if len(here) != len(there):
            raise _different(where, f"{len(there)} {what}", f"{len(here)}")


def _different(where, what, got):
    return ConversionError(
        f"{where}: {what}: expected what the description of the network in the model stands for, got {got}; the description"
        " and the nodes differ"
    )


class Told:
    """A graph as what can be compared: values by where they come from, and not by their names.

    Parameters
    ----------
    where : str
        What errors call the model.
    graph : onnx.GraphProto

    Attributes
    ----------
    inputs, constants, nodes, outputs : list
        Of each: what errors call it, and what it is.
    """

    def __init__(self, where, graph):
        self.where, self._values = where, {}
        self.inputs, self.constants, self.nodes, self.outputs = [], [], [], []
        for each in graph.input:
            self._define(each.name, each.name)
            self.inputs.append((f"input {each.name!r}", _info(each)))
        states = {each.name for each in graph.input}  # an initial state that is left out has a value of its own
        for tensor in graph.initializer:
            if tensor.name not in states:
                self._define(tensor.name)
            states.discard(tensor.name)
            array = array_of(where, tensor)
            told = self._values[tensor.name], array.dtype.str, array.shape, array.tobytes()
            self.constants.append((f"constant {tensor.name!r}", told))
        self.nodes = [(f"node {each.name!r} ({each.op_type})", self._node(each)) for each in graph.node]
        self.outputs = [(f"output {each.name!r}", (self._value(each.name), _info(each))) for each in graph.output]

    def _define(self, name, told=None):
        """Let a name stand for a value: one alone, so that nothing depends on where it is read."""
        if name in self._values:
            raise ConversionError(f"{self.where}: expected one value called {name!r}, got two")
        self._values[name] = len(self._values) if told is None else told

    def _value(self, name):
        return self._values.get(name, f"none called {name}") if name else ""

    def _node(self, node):
        """What a node is: its operator, what it reads and gives, and its attributes."""
        read = tuple(self._value(name) for name in node.input)
        attributes = []
        for each in sorted(node.attribute, key=lambda attribute: attribute.name):
            told = self._body(each.g) if each.type == GRAPH else each.SerializeToString(deterministic=True)
            attributes.append((each.name, each.type, each.ref_attr_name, told))
        for name in node.output:
            if name:
                self._define(name)
        given = tuple(self._value(name) for name in node.output)
        return node.op_type, node.domain, node.overload, read, tuple(attributes), given

    def _body(self, graph):
        """What a graph inside a node is; it has no numbers of its own."""
        if graph.initializer or graph.sparse_initializer:
            raise _different(self.where, f"the graph {graph.name!r}", "numbers inside it")
        for each in graph.input:
            self._define(each.name)
        inputs = [(self._value(each.name), each.type.SerializeToString(deterministic=True)) for each in graph.input]
        nodes = [self._node(each) for each in graph.node]
        return inputs, nodes, [self._value(each.name) for each in graph.output]


def _info(each):
    """The name and type of an input or output of a model."""
    return each.name, each.type.SerializeToString(deterministic=True)
