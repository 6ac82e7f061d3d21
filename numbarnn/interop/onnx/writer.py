"""A graph of ONNX's operators that grows by nodes."""

from dataclasses import replace

import numpy as np

from ...parameters import Parameters

AXES_AS_INPUT = 18  # the first opset in which they are no attribute, and Split is told how many parts there are
BATCH = "batch"  # what a model calls the number of sequences


class NodeWriter:
    """A graph that grows by nodes.

    Parameters
    ----------
    params : Parameters
        Of the network or graph that is written.
    dtype : numpy.dtype
    opset : int
        For which nodes are written.

    Attributes
    ----------
    value, axes : str
        What the next layer reads, and the letters of its axes.
    shape, lead : tuple or None, str
        Of images, while they have axes, and the lengths of the axes before them.
    lengths : str
        The name of the lengths of sequences, empty if there are none.
    label, owner, where : str
        What is written now: what its states are called, what its parameters are, and what errors call it.
    reached : dict
        By the name of a value that is all outputs of a recurrent layer: the layer, and the name of its final h.
    finals : dict
        {label: {letter: name}} of the states that recurrent layers reach.
    """

    def __init__(self, params, dtype, opset):
        self._params, self.dtype, self._opset = params.to("cpu"), dtype, opset
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.value, self.axes, self.shape, self.lead, self.lengths = "", "", None, "", ""
        self.label = self.owner = self.where = ""
        self.reached, self.finals, self._count, self._constants = {}, {}, 0, set()

    def node(self, operator, *inputs, outputs=1, **attributes):
        """The name of a new node's output, or the names of several."""
        from onnx import helper

        name, self._count = f"{self.label}.{operator}.{self._count}", self._count + 1
        names = [name] if outputs == 1 else [f"{name}.{index}" for index in range(outputs)]
        if self._opset >= AXES_AS_INPUT and operator in ("ReduceMean", "ReduceMax", "ReduceProd"):
            inputs = *inputs, self.integers(*attributes.pop("axes"))
        if self._opset >= AXES_AS_INPUT and operator == "Split":
            attributes["num_outputs"] = outputs
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name, array):
        """The name of an array of the graph."""
        from onnx import numpy_helper

        if name not in self._constants:
            self._constants.add(name)
            self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def parameter(self, name):
        """An array of the parameters of the layer that is written."""
        return self._params[f"{self.owner}.{name}"]

    def parameters(self):
        """The Parameters of the layer that is written, copied."""
        start = f"{self.owner}."
        weights = [weight for weight in self._params.weights if weight.name.startswith(start)]
        weights = tuple(replace(weight, name=weight.name[len(start) :]) for weight in weights)
        found = Parameters(np.empty(sum(weight.size for weight in weights), self._params.dtype), weights)
        for name in found.names:
            found[name][...] = self._params[start + name]
        return found

    def integers(self, *numbers):
        """The name of a vector of integers."""
        return self.constant(f"integers.{'_'.join(map(str, numbers))}", np.array(numbers, np.int64))

    def integer(self, number):
        """The name of an integer without axes."""
        return self.constant(f"integer.{number}", np.array(number, np.int64))

    def number(self, value):
        """The name of a number of the graph's dtype."""
        return self.constant(f"number.{float(value)!r}", np.array(value, self.dtype))

    def then(self, operator, *inputs, **attributes):
        """Let a node read the value, and its output be the value."""
        self.value = self.node(operator, self.value, *inputs, **attributes)

    def arrange(self, letters):
        """Bring the axes of the value into the order of `letters`."""
        if self.axes != letters:
            self.then("Transpose", perm=[self.axes.index(letter) for letter in letters])
            self.axes = letters

    def alive(self):
        """The name of (T, N, 1), True at the steps that a sequence has."""
        return self._of_steps("Less", self.node("Cast", self.lengths, to=7))

    def _of_steps(self, operator, numbers):
        """The name of (T, N, 1): what an operator says of the number of a step and of one number for each sequence."""
        count = self.node("Gather", self.node("Shape", self.value), self.integer(0))
        steps = self.node("Range", self.integer(0), count, self.integer(1))
        compared = self.node(operator, self.node("Unsqueeze", steps, self.integers(1)), numbers)
        return self.node("Unsqueeze", compared, self.integers(2))

    def end(self, first=False):
        """The name of the last step of the value (T, N, C), or of its first; 0 where a sequence has no step."""
        if not self.lengths:
            return self.node("Gather", self.value, self.integer(0 if first else -1), axis=0)
        lengths = self.node("Cast", self.lengths, to=7)
        there = self.alive()
        if first:
            there = self.node("And", there, self._of_steps("Equal", self.integer(0)))
        else:
            there = self._of_steps("Equal", self.node("Sub", lengths, self.integer(1)))
        return self.node("ReduceSum", self.node("Where", there, self.value, self.number(0)), self.integers(0), keepdims=0)

    def add_input(self, name, dtype, shape):
        """Let the graph read an array; shape: numbers, and names of lengths that are not known."""
        self.inputs.append(self.info(name, shape, dtype))

    def add_output(self, value, name, shape):
        """Let the graph give a value under a name."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}.Identity"))
        self.outputs.append(self.info(name, shape, self.dtype))

    def info(self, name, shape, dtype):
        """The ValueInfoProto of an array."""
        from onnx import helper

        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    def leave_out_the_unused(self):
        """Take away the nodes and arrays that no output needs."""
        needed, kept = {each.name for each in self.outputs}, []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed |= _reads(node)
        self.nodes = kept[::-1]
        given = {each.name for each in self.inputs}
        self.initializers = [each for each in self.initializers if each.name in needed | given]


def _reads(node):
    """The names of what a node reads, the graphs inside it too."""
    inside = [each.g for each in node.attribute if each.HasField("g")]
    return {*node.input, *(name for graph in inside for each in graph.node for name in _reads(each))}
