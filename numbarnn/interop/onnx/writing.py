"""A network or a graph as a graph of ONNX's operators."""

import math

import numpy as np

from ...cells.activations import FUNCTIONS
from ...graph import Graph
from ...layers.convolution import Conv2d
from ...layers.dense import Activation, Dense
from ...layers.dropout import Dropout
from ...layers.embedding import Embedding
from ...layers.images import Flatten, pair_of
from ...layers.last import Last, LastStep
from ...layers.over_time import Pool
from ...layers.pooling import AvgPool2d, MaxPool2d
from ...layers.recurrent import Recurrent
from ..carried import no_counterpart
from .operators import joined, recurrent
from .tracing import Traced, traced
from .writer import BATCH, NodeWriter

IR = 8
OPSETS = range(14, 23)  # of models that are written
ELEMENTWISE = {  # an operator of the same name, with alpha and beta as attributes
    "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "leaky_relu": "LeakyRelu", "hard_sigmoid": "HardSigmoid",
    "thresholded_relu": "ThresholdedRelu", "elu": "Elu", "softsign": "Softsign", "softplus": "Softplus",
}  # fmt: skip


def model_of(net, lengths, opset, params=None):
    """The ModelProto of a network or graph; params: Parameters in the place of its own, of any dtype."""
    from onnx import helper

    params = net.params if params is None else params
    writer = NodeWriter(params, params.dtype, opset)
    written = _written_graph if isinstance(net, Graph) else _written_network
    outputs = written(writer, net, lengths)
    finals, writer.outputs = writer.outputs, []
    for value, name, shape in outputs:
        writer.add_output(value, name, shape)
    writer.outputs += finals
    writer.leave_out_the_unused()
    graph = helper.make_graph(writer.nodes, "numbarnn", writer.inputs, writer.outputs, writer.initializers)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR, producer_name="numbarnn"
    )  # fmt: skip


def _written_network(writer, net, lengths):
    """Write a network: [(value, name, shape)] of its output."""
    letters = "nc" if net._stepwise else net.layout
    stepped = "nc" if net._stepwise else "tnc"
    _begin(writer, "x", None if net.takes_indices else net.channels, letters, stepped)
    if lengths:
        _add_lengths(writer, "lengths")
    for index, layer in _in_order(net.layers):
        writer.label = writer.owner = str(index)
        writer.where = f"layers[{index}]"
        _write(writer, layer)
    writer.label = writer.where = "output"
    _rows(writer)
    letters = "nc" if net._stepwise and not net.takes_indices else net.output_layout
    writer.arrange(letters)
    return [(writer.value, "y", _shape(letters, net.output_channels))]


def _written_graph(writer, net, lengths):
    """Write a graph: [(value, name, shape)] of its outputs."""
    values = {}
    for name, each in net.inputs.items():
        _begin(writer, name, each.channels, net._letters(name), "tnc" if each.steps else "nc", f"steps_of_{name}")
        if lengths and each.steps:
            _add_lengths(writer, f"{name}.lengths")
        values[name] = writer.value, writer.axes
    for name, row in net._rows.items():
        shared = net.nodes[name].layers
        owners = net._rows[shared].parts if isinstance(shared, str) else row.parts
        writer.label, writer.where = name, f"nodes[{name!r}]"
        axis = next((axis for axis in (net._axis(read, net._rows) for read in row.reads) if axis is not None), None)
        writer.lengths = f"{axis}.lengths" if lengths and axis is not None else ""
        writer.value, writer.axes = _beside(writer, [values[read] for read in row.reads])
        start = None if row.state is None else _start(writer, net, row, values)
        for at, layer in _in_order(row.layers):
            writer.label, writer.owner = row.parts[at].label, owners[at].label
            _write(writer, layer, start)
        _rows(writer)
        values[name] = writer.value, writer.axes
    found = []
    for name in net.outputs:
        writer.label = f"{name}.output"
        writer.value, writer.axes = values[name]
        letters = net._letters(name)
        writer.arrange(letters)
        found.append((writer.value, name, _shape(letters, net._channels(name), f"steps_of_{net._axis(name, net._rows)}")))
    return found


def _begin(writer, name, channels, letters, stepped, steps="steps"):
    """Add an input with its axes in the order of `letters`; the value becomes that input in the order of `stepped`.

    channels: None of indices; steps: what the model calls their number.
    """
    writer.label = writer.where = "input"
    if channels is None:
        letters = letters.replace("c", "")
        writer.add_input(name, np.int64, _shape(letters, None, steps))
    else:
        writer.add_input(name, writer.dtype, _shape(letters, channels, steps))
    writer.value, writer.axes, writer.shape = name, letters, None
    if channels is not None:
        writer.arrange(stepped)


def _add_lengths(writer, name):
    writer.lengths = name
    writer.add_input(name, np.int32, [BATCH])


def _shape(letters, channels, steps="steps"):
    return [{"c": channels, "t": steps, "n": BATCH}[letter] for letter in letters]


def _beside(writer, values):
    """(value, axes) of values side by side; those without steps are repeated at each step of the others."""
    if len(values) == 1:
        return values[0]
    stepped = next((value for value, axes in values if axes == "tnc"), None)
    names = [name for name, _ in values]
    if stepped is not None:
        lead = writer.node("Slice", writer.node("Shape", stepped), writer.integers(0), writer.integers(2))
        shape = writer.node("Concat", lead, writer.integers(1), axis=0)
        names = [name if axes == "tnc" else writer.node("Expand", name, shape) for name, axes in values]
    return writer.node("Concat", *names, axis=-1), "nc" if stepped is None else "tnc"


def _start(writer, net, row, values):
    """{letter: name} of what a node's recurrent layer starts from, (L * D, N, Y)."""
    if net._has_steps(row.state):
        return writer.finals[net._rows[row.state].recurrent[0].label]
    layer, (value, _), found, at = row.recurrent[0].layer, values[row.state], {}, 0
    rows = layer.layers * layer.directions
    for letter, width in zip("hc", layer.state_widths):
        part = writer.node("Slice", value, writer.integers(at), writer.integers(at + rows * width), writer.integers(1))
        at += rows * width
        apart = writer.node("Reshape", part, writer.integers(-1, rows, width))
        found[letter] = writer.node("Transpose", apart, perm=[1, 0, 2])
    return found


def _in_order(layers):
    """[(index, layer)] in the order of the nodes: `Last` stands right after the recurrent layer before it.

    What is between them, of each number by itself, is the same of the last step.
    """
    found = []
    for index, layer in enumerate(layers):
        at = len(found)
        if isinstance(layer, Last):
            while at and isinstance(found[at - 1][1], (Activation, Dropout)):
                at -= 1
            if not (at and isinstance(found[at - 1][1], Recurrent)):
                at = len(found)
        found.insert(at, (index, layer))
    return found


def _write(writer, layer, start=None):
    """Add the nodes of one layer; start: what it starts from, if it is recurrent."""
    kind = type(layer)
    if isinstance(layer, Recurrent):
        _rows(writer)
        recurrent(writer, layer, start)
    elif kind is Dense:
        _rows(writer)
        _dense(writer, layer)
    elif kind is Activation:
        _activation(writer, layer.name)
    elif kind is Embedding:
        table = writer.constant(f"{writer.owner}.weight", writer.parameter("weight"))
        writer.value, writer.axes = writer.node("Gather", table, writer.value), writer.axes + "c"
        writer.arrange("tnc" if "t" in writer.axes else "nc")
    elif kind is Dropout:
        if layer.rate:
            writer.then("Dropout", writer.constant(f"{writer.owner}.rate", np.array(layer.rate)))
    elif kind in (Last, LastStep):
        _last(writer, layer)
    elif kind is Pool:
        _rows(writer)
        _pool(writer, layer)
    elif kind is Flatten:
        _rows(writer)
    elif kind in (Conv2d, AvgPool2d, MaxPool2d):
        _images(writer, layer)
    else:
        raise no_counterpart(writer.where, layer, "ONNX")


def _rows(writer):
    """Make rows of numbers of images that have axes."""
    if writer.shape is None:
        return
    writer.shape = None
    if writer.axes == "nc":
        writer.then("Flatten", axis=1)
    else:
        writer.then("Reshape", writer.node("Concat", writer.lead, writer.integers(-1), axis=0))


def _dense(writer, layer):
    weight = writer.constant(f"{writer.owner}.weight", writer.parameter("weight").T)
    bias = writer.constant(f"{writer.owner}.bias", writer.parameter("bias"))
    if writer.axes == "nc":
        writer.then("Gemm", weight, bias)
    else:
        writer.then("MatMul", weight)
        writer.then("Add", bias)
    _activation(writer, layer.activation)


def _activation(writer, spec):
    name, *numbers = spec if isinstance(spec, tuple) else (spec,)
    function = FUNCTIONS[name](*numbers) if isinstance(name, str) else name
    x = writer.value
    if name in ("identity", "linear"):
        return
    if name in ELEMENTWISE:
        given = {letter: float(getattr(function, letter)) for letter in ("alpha", "beta") if hasattr(function, letter)}
        writer.then(ELEMENTWISE[name], **given)
    elif name == "silu":
        writer.value = writer.node("Mul", x, writer.node("Sigmoid", x))
    elif name == "gelu":
        erf = writer.node("Erf", writer.node("Div", x, writer.number(math.sqrt(2))))
        writer.value = writer.node("Mul", x, writer.node("Add", erf, writer.number(1.0)))
        writer.then("Mul", writer.number(0.5))
    elif name == "affine":
        writer.then("Mul", writer.number(function.alpha))
        writer.then("Add", writer.number(function.beta))
    elif name == "scaled_tanh":
        writer.then("Mul", writer.number(function.beta))
        writer.then("Tanh")
        writer.then("Mul", writer.number(function.alpha))
    else:
        writer.value = traced(writer, function, "value", Traced(writer, x)).name


def _last(writer, layer):
    """The last step of each sequence; of what runs backward the first one."""
    _rows(writer)
    if writer.axes == "nc":
        return
    source, h = writer.reached.get(writer.value, (None, ""))
    merge = getattr(layer, "merge", "concat")
    if source is not None and (type(layer) is Last or not source.bidirectional):
        writer.value = joined(writer, source, merge, h, [1, 0, 2], 0, [0, -1])
    elif getattr(layer, "directions", None) == 2:
        ends, halves = [], writer.node("Split", writer.value, outputs=2, axis=2)
        for first, half in enumerate(halves):
            writer.value = half
            ends.append(writer.end(first=bool(first)))
        both = writer.node("Concat", *ends, axis=1)
        writer.value = both if merge == "concat" else _merged(writer, ends, merge)
    else:
        writer.value = writer.end()
    writer.axes = "nc"


def _merged(writer, ends, merge):
    """Two values merged."""
    if merge == "product":
        return writer.node("Mul", *ends)
    total = writer.node("Add", *ends)
    return total if merge == "sum" else writer.node("Mul", total, writer.number(0.5))


def _pool(writer, layer):
    """The mean or the largest number of the steps of each sequence."""
    if not writer.lengths:
        writer.then("ReduceMean" if layer.kind == "mean" else "ReduceMax", axes=[0], keepdims=0)
    else:
        alive, none = writer.alive(), writer.number(0.0 if layer.kind == "mean" else -math.inf)
        there = writer.node("Where", alive, writer.value, none)
        lengths = writer.node("Unsqueeze", writer.lengths, writer.integers(1))
        some = writer.node("Cast", lengths, to=9)
        if layer.kind == "mean":
            kind = 1 if writer.dtype == np.float32 else 11  # what ONNX calls the dtype
            count = writer.node("Where", some, writer.node("Cast", lengths, to=kind), writer.number(1.0))
            writer.value = writer.node("Div", writer.node("ReduceSum", there, writer.integers(0), keepdims=0), count)
        else:
            most = writer.node("ReduceMax", there, axes=[0], keepdims=0)
            writer.value = writer.node("Where", some, most, writer.number(0.0))
    writer.axes = "nc"


def _images(writer, layer):
    """A layer of images, whose axes stay (N, channels, height, width) until rows are asked for."""
    if writer.shape is None and writer.axes == "tnc":
        whole = writer.node("Shape", writer.value)
        writer.lead = writer.node("Slice", whole, writer.integers(0), writer.integers(2))
    if writer.shape is None:
        writer.then("Reshape", writer.integers(-1, *layer.shape))
    writer.shape = layer.output_shape
    windows = layer.windows
    options = {"kernel_shape": [windows.rows, windows.columns], "pads": [windows.row_padding, windows.column_padding] * 2}
    options["strides"] = list(pair_of(layer._strides))
    if isinstance(layer, Conv2d):
        names = [writer.constant(f"{writer.owner}.{part}", writer.parameter(part)) for part in ("weight", "bias")]
        writer.then("Conv", *names, **options)
    elif isinstance(layer, AvgPool2d):
        writer.then("AveragePool", count_include_pad=1, **options)
    else:
        writer.then("MaxPool", **options)
