"""A network as a graph of ONNX's operators."""

import math

import numpy as np

from ...cells.activations import FUNCTIONS
from ...errors import ConversionError
from ...layers.convolution import Conv2d
from ...layers.dense import Activation, Dense
from ...layers.dropout import Dropout
from ...layers.embedding import Embedding
from ...layers.gru import GRU
from ...layers.images import Flatten
from ...layers.last import Last, LastStep
from ...layers.lstm import LSTM
from ...layers.over_time import Pool
from ...layers.pooling import AvgPool2d, MaxPool2d
from ...layers.recurrent import Recurrent
from ...layers.rnn import RNN
from ..carried import expect_carried, no_counterpart
from .gates import FIELDS, PEEPHOLES_HERE, PEEPHOLES_THERE, THERE, function_to, gates_of, reordered

OPSET, IR = 17, 8
DRAWN = ("input_dropout", "recurrent_dropout", "weight_drop", "noise")  # of which a prediction takes the mean: nothing
MERGES = {"sum": "ReduceSum", "average": "ReduceMean", "product": "ReduceProd"}
ELEMENTWISE = {  # an operator of the same name, with alpha and beta as attributes
    "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "leaky_relu": "LeakyRelu", "hard_sigmoid": "HardSigmoid",
    "thresholded_relu": "ThresholdedRelu", "elu": "Elu", "softsign": "Softsign", "softplus": "Softplus",
}  # fmt: skip
NAMES = {"t": "steps", "n": "batch"}


class NodeWriter:
    """A graph that grows by nodes.

    Parameters
    ----------
    net : Network
    lengths : bool
        Whether sequences have lengths.
    """

    def __init__(self, net, lengths):
        self.net, self.nodes, self.initializers, self.inputs, self.outputs = net, [], [], [], []
        self.lengths = "lengths" if lengths else ""
        self.value, self.axes, self.shape = "x", "", None  # of what comes next; shape: of images, while they have axes
        self.where = ""

    def node(self, operator, *inputs, outputs=1, **attributes):
        """The name of a new node's output, or the names of several."""
        from onnx import helper

        name = f"{self.where}.{operator}.{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}.{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name, array):
        """The name of an array of the graph."""
        from onnx import numpy_helper

        if all(each.name != name for each in self.initializers):
            self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def integers(self, *numbers):
        """The name of a vector of integers."""
        return self.constant(f"integers.{'_'.join(map(str, numbers))}", np.array(numbers, np.int64))

    def then(self, operator, *inputs, **attributes):
        """Let a node read the value, and its output be the value."""
        self.value = self.node(operator, self.value, *inputs, **attributes)

    def number(self, value):
        """The name of a number of the network's dtype."""
        return self.constant(f"number.{value!r}", np.array(value, self.net.dtype))

    def add_input(self, name, dtype, shape):
        """Let the graph read an array; shape: numbers, and names of lengths that are not known."""
        from onnx import helper

        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))

    def add_output(self, value, name, shape):
        """Let the graph give a value under a name."""
        from onnx import helper

        kind = helper.np_dtype_to_tensor_dtype(self.net.dtype)
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}.Identity"))
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))


def model_of(net, lengths):
    """The ModelProto of a network."""
    from onnx import helper

    writing = NodeWriter(net, lengths)
    _begin(writing)
    layers = _in_order(net)
    for at, (index, layer) in enumerate(layers):
        writing.where = f"layers[{index}]"
        following = layers[at + 1][1] if at + 1 < len(layers) else None
        _write(writing, index, layer, following)
    writing.where = "output"
    _rows(writing)
    letters = "nc" if net._stepwise and not net.takes_indices else net.output_layout
    _transpose(writing, letters)
    shape = [net.output_channels if letter == "c" else NAMES[letter] for letter in letters]
    finals, writing.outputs = writing.outputs, []
    writing.add_output(writing.value, "y", shape)
    graph = helper.make_graph(
        writing.nodes, "numbarnn", writing.inputs, [*writing.outputs, *finals], writing.initializers
    )  # fmt: skip
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="numbarnn"
    )  # fmt: skip


def _begin(writing):
    """The inputs x and lengths, x in the order t, n, c."""
    net = writing.net
    if net.takes_indices:
        letters = net.layout.replace("c", "")
        writing.add_input("x", np.int64, [NAMES[letter] for letter in letters])
        writing.axes = letters
    else:
        letters = "nc" if net._stepwise else net.layout
        writing.add_input("x", net.dtype, [net.channels if letter == "c" else NAMES[letter] for letter in letters])
        writing.axes, writing.where = letters, "input"
        _transpose(writing, "nc" if net._stepwise else "tnc")
    if writing.lengths:
        writing.add_input("lengths", np.int32, [NAMES["n"]])


def _in_order(net):
    """(index, layer) of the layers in the order of the nodes: `Last` stands right after the recurrent layer before it.

    What is between them, of each number by itself, is the same of the last step.
    """
    found = []
    for index, layer in enumerate(net.layers):
        at = len(found)
        if isinstance(layer, Last):
            while at and isinstance(found[at - 1][1], (Activation, Dropout)):
                at -= 1
            if not (at and isinstance(found[at - 1][1], Recurrent)):
                at = len(found)
        found.insert(at, (index, layer))
    return found


def _write(writing, index, layer, following):
    """Add the nodes of one layer, which `following` comes after."""
    where, kind = writing.where, type(layer)
    if kind in (RNN, GRU, LSTM):
        _rows(writing)
        _recurrent(writing, index, layer, following)
    elif kind is Dense:
        _rows(writing)
        _dense(writing, index, layer)
    elif kind is Activation:
        _activation(writing, layer.name)
    elif kind is Embedding:
        table = writing.constant(f"{index}.weight", _params(writing)[f"{index}.weight"])
        writing.value, writing.axes = writing.node("Gather", table, writing.value), writing.axes + "c"
        _transpose(writing, "tnc")
    elif kind is Dropout:
        if layer.rate:
            writing.then("Dropout", writing.constant(f"{index}.rate", np.array(layer.rate)))
    elif kind in (Last, LastStep):
        _last(writing, layer)
    elif kind is Pool:
        _rows(writing)
        if writing.lengths:
            raise ConversionError(f"{where}: expected no lengths, which ONNX's reductions do not know, with {layer!r}")
        writing.then("ReduceMean" if layer.kind == "mean" else "ReduceMax", axes=[0], keepdims=0)
        writing.axes = "nc"
    elif kind is Flatten:
        _rows(writing)
    elif kind in (Conv2d, AvgPool2d, MaxPool2d):
        _images(writing, index, layer)
    else:
        raise no_counterpart(where, layer, "ONNX")


def _params(writing):
    return writing.net.params.to("cpu")


def _transpose(writing, letters):
    """Bring the axes into the order of `letters`."""
    if writing.axes != letters:
        writing.then("Transpose", perm=[writing.axes.index(letter) for letter in letters])
        writing.axes = letters


def _rows(writing):
    """Make rows of numbers of images that have axes."""
    if writing.shape is None:
        return
    writing.shape = None
    if writing.axes == "nc":
        writing.then("Flatten", axis=1)
    else:
        writing.then("Reshape", writing.node("Concat", writing.lead, writing.integers(-1), axis=0))


def _dense(writing, index, layer):
    params = _params(writing)
    weight = writing.constant(f"{index}.weight", params[f"{index}.weight"].T)
    bias = writing.constant(f"{index}.bias", params[f"{index}.bias"])
    if writing.axes == "nc":
        writing.then("Gemm", weight, bias)
    else:
        writing.then("MatMul", weight)
        writing.then("Add", bias)
    _activation(writing, layer.activation)


def _activation(writing, spec):
    name, *numbers = spec if isinstance(spec, tuple) else (spec,)
    function = FUNCTIONS[name](*numbers) if isinstance(name, str) else None
    x = writing.value
    if name in ("identity", "linear"):
        return
    if name in ELEMENTWISE:
        given = {letter: float(getattr(function, letter)) for letter in ("alpha", "beta") if hasattr(function, letter)}
        writing.then(ELEMENTWISE[name], **given)
    elif name == "silu":
        writing.value = writing.node("Mul", x, writing.node("Sigmoid", x))
    elif name == "gelu":
        erf = writing.node("Erf", writing.node("Div", x, writing.number(math.sqrt(2))))
        writing.value = writing.node("Mul", x, writing.node("Add", erf, writing.number(1.0)))
        writing.then("Mul", writing.number(0.5))
    elif name == "affine":
        writing.then("Mul", writing.number(function.alpha))
        writing.then("Add", writing.number(function.beta))
    elif name == "scaled_tanh":
        writing.then("Mul", writing.number(function.beta))
        writing.then("Tanh")
        writing.then("Mul", writing.number(function.alpha))
    else:
        raise ConversionError(f"{writing.where}: expected an activation function that ONNX has, got {spec!r}")


def _last(writing, layer):
    """The last step; that of a recurrent layer right before has been written with it."""
    _rows(writing)
    if writing.axes == "nc":
        return
    if writing.lengths:
        raise ConversionError(
            f"{writing.where}: expected Last right after a recurrent layer where sequences have lengths, got {layer!r}"
        )
    writing.then("Gather", writing.constant("minus_one", np.array(-1, np.int64)), axis=0)
    writing.axes = "nc"


def _images(writing, index, layer):
    """A layer of images, whose axes stay (N, channels, height, width) until rows are asked for."""
    if writing.shape is None and writing.axes == "tnc":
        whole = writing.node("Shape", writing.value)
        writing.lead = writing.node("Slice", whole, writing.integers(0), writing.integers(2))
    if writing.shape is None:
        writing.then("Reshape", writing.integers(-1, *layer.shape))
    writing.shape = layer.output_shape
    windows = layer.windows
    options = {"kernel_shape": [windows.rows, windows.columns], "pads": [windows.row_padding, windows.column_padding] * 2}
    options["strides"] = list(_both(layer._strides))
    if isinstance(layer, Conv2d):
        params = _params(writing)
        names = [writing.constant(f"{index}.{part}", params[f"{index}.{part}"]) for part in ("weight", "bias")]
        writing.then("Conv", *names, **options)
    elif isinstance(layer, AvgPool2d):
        writing.then("AveragePool", count_include_pad=1, **options)
    else:
        writing.then("MaxPool", **options)


def _both(value):
    return value if isinstance(value, tuple) else (value, value)


def _recurrent(writing, index, layer, following):
    """One node for each stacked layer; the initial states are inputs that may be left out, the final ones outputs."""
    where, kind = writing.where, type(layer).__name__
    names = ["hidden", "layers", "bidirectional", "clip", "learned_state", "dropout", "merge", *FIELDS[kind], *DRAWN]
    names += {"RNN": [], "GRU": ["reset"], "LSTM": ["peepholes", "coupled"]}[kind]
    expect_carried(where, layer, "ONNX", *names)
    attributes = _attributes(where, layer, kind)
    last = isinstance(following, (Last, LastStep)) and not (layer.bidirectional and type(following) is LastStep)
    states = {letter: _initial(writing, index, layer, letter) for letter in "hc"[: layer.cell.states]}
    finals = {letter: [] for letter in states}
    for stacked in range(layer.layers):
        first, rows = stacked * layer.directions, layer.directions
        given = [
            writing.node("Slice", state, writing.integers(first), writing.integers(first + rows), writing.integers(0))
            if layer.layers > 1 else state
            for state in states.values()
        ]  # fmt: skip
        weights = [
            writing.constant(f"{index}.{letter}_l{stacked}", array)
            for letter, array in _weights(writing, index, layer, kind, stacked).items()
        ]
        *weights, peepholes = weights if layer.cell.states > 1 and layer.peepholes else (*weights, "")
        inputs = [writing.value, *weights, writing.lengths, *given] + ([peepholes] if peepholes else [])
        y, *reached = writing.node(kind, *inputs, outputs=1 + len(states), **attributes)
        for letter, value in zip(states, reached):
            finals[letter].append(value)
        if last and stacked == layer.layers - 1:
            merge = getattr(following, "merge", "concat")
            writing.value, writing.axes = _joined(writing, layer, merge, reached[0], [1, 0, 2], 0, [0, -1]), "nc"
        else:
            writing.value = _joined(writing, layer, layer.merge, y, [0, 2, 1, 3], 1, [0, 0, -1])
        if layer.dropout and stacked < layer.layers - 1:
            writing.then("Dropout", writing.constant(f"{index}.rate", np.array(layer.dropout)))
    for letter, parts in finals.items():
        value = writing.node("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
        writing.add_output(value, f"{index}.final_{letter}", [layer.layers * layer.directions, NAMES["n"], layer.hidden])


def _attributes(where, layer, kind):
    repeats = layer.directions
    used = [function_to(where, getattr(layer, name)) for name in FIELDS[kind]] * repeats
    found = {"hidden_size": layer.hidden, "direction": "bidirectional" if repeats == 2 else "forward"}
    if [name for name, _, _ in used[: len(used) // repeats]] != [plain.capitalize() for plain in FIELDS[kind].values()]:
        found["activations"] = [name for name, _, _ in used]
        for index, letter in ((1, "alpha"), (2, "beta")):
            numbers = [float(entry[index]) for entry in used if entry[index] is not None]
            if numbers:
                found[f"activation_{letter}"] = numbers
    if layer.clip is not None:
        found["clip"] = float(layer.clip)
    if kind == "GRU":
        found["linear_before_reset"] = int(layer.reset == "after")
    if kind == "LSTM" and layer.coupled:
        found["input_forget"] = 1
    return found


def _weights(writing, index, layer, kind, stacked):
    """ONNX's W, R, B and P of one stacked layer."""
    params, ends = _params(writing), layer.suffixes(stacked)
    coupled = getattr(layer, "coupled", False)
    here, there = gates_of(kind, coupled), THERE[kind]

    def directions(*names, of=here, to=there):
        parts = [[reordered(params[f"{index}.{name}_{end}"], of, to) for name in names] for end in ends]
        return np.stack([np.concatenate(part) for part in parts])

    found = {"W": directions("weight_ih"), "R": directions("weight_hh"), "B": directions("bias_ih", "bias_hh")}
    if getattr(layer, "peepholes", False):
        of = PEEPHOLES_HERE.replace("f", "") if coupled else PEEPHOLES_HERE
        found["P"] = directions("peephole", of=of, to=PEEPHOLES_THERE)
    return found


def _initial(writing, index, layer, letter):
    """The name of the initial h or c: an input, whose value where it is left out is of one sequence, and holds for all."""
    name, rows = f"{index}.initial_{letter}", layer.layers * layer.directions
    plain = np.zeros((rows, 1, layer.hidden), writing.net.dtype)
    if layer.learned_state:
        ends = [end for stacked in range(layer.layers) for end in layer.suffixes(stacked)]
        plain[:, 0] = [_params(writing)[f"{index}.initial_{letter}_{end}"] for end in ends]
    writing.constant(name, plain)
    writing.add_input(name, writing.net.dtype, [rows, f"batch_or_1_of_{name}", layer.hidden])
    batch = writing.node("Slice", writing.node("Shape", writing.value), writing.integers(1), writing.integers(2))
    shape = writing.node("Concat", writing.integers(rows), batch, writing.integers(layer.hidden), axis=0)
    return writing.node("Expand", name, shape)


def _joined(writing, layer, merge, value, order, axis, shape):
    """Both directions of a value side by side, or merged; the axis of one direction left out."""
    if not layer.bidirectional:
        return writing.node("Squeeze", value, writing.integers(axis))
    if merge == "concat":
        return writing.node("Reshape", writing.node("Transpose", value, perm=order), writing.integers(*shape))
    if merge == "sum":
        return writing.node("ReduceSum", value, writing.integers(axis), keepdims=0)
    return writing.node(MERGES[merge], value, axes=[axis], keepdims=0)
