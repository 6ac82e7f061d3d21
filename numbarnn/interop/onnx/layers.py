"""Nodes that compute: as layers of a network.  Each function appends a layer and gives what the node gives."""

import math
from dataclasses import replace

import numpy as np

from ...layers.convolution import Conv2d
from ...layers.dense import Activation, Dense
from ...layers.dropout import Dropout
from ...layers.over_time import Pool
from ...layers.pooling import AvgPool2d, MaxPool2d
from .joining import JOINS, scaled_by_channel, summed
from .values import STEPS, Atom, Erf, Scaled, Signal, with_steps

ELEMENTWISE = {  # the activation function of each operator; its alpha and beta where they are not as here
    "Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "LeakyRelu": "leaky_relu", "HardSigmoid": "hard_sigmoid",
    "ThresholdedRelu": "thresholded_relu", "Elu": "elu", "Softsign": "softsign", "Softplus": "softplus",
}  # fmt: skip
PLAIN = {"LeakyRelu": (0.01,), "HardSigmoid": (0.2, 0.5), "ThresholdedRelu": (1.0,), "Elu": (1.0,)}
MERGES = {"ReduceSum": "sum", "ReduceMean": "average", "ReduceProd": "product"}
POOLS = {"ReduceMean": "mean", "ReduceMax": "max"}


def dense(reader, node):
    """MatMul with a matrix."""
    matrix = node.constant(1, "a matrix")
    if matrix.ndim != 2:
        raise node.error(f"a matrix, got shape {matrix.shape}")
    found = _dense(reader, node, matrix, np.zeros(matrix.shape[1], matrix.dtype))
    reader.open_biases.add(found.at)  # an Add may follow
    return found


def gemm(reader, node):
    """``alpha x W + beta b``."""
    if node.attribute("transA", 0):
        raise node.error("transA 0, got 1")
    matrix = node.constant(1, "a matrix")
    if matrix.ndim != 2:
        raise node.error(f"a matrix, got shape {matrix.shape}")
    matrix = matrix.T if node.attribute("transB", 0) else matrix
    bias = np.zeros(1, matrix.dtype) if node.input(2) is None else node.constant(2, "a bias")
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    matrix = matrix if alpha == 1 else (matrix * alpha).astype(matrix.dtype)
    bias = bias if beta == 1 else (bias * beta).astype(bias.dtype)
    return _dense(reader, node, matrix, _bias(node, bias, matrix.shape[1]))


def _bias(node, bias, units):
    """A bias as a vector, if it is one number for each unit or one for all."""
    if bias.ndim and (bias.shape[-1] not in (1, units) or bias.size != bias.shape[-1]):
        raise node.error(f"a bias for {units} units, got shape {bias.shape}")
    return np.broadcast_to(bias.reshape(-1), units).copy()


def _dense(reader, node, matrix, bias):
    """A Dense with a matrix (inputs, units)."""
    signal = reader.bound(reader.data(node, node.input(0)), node)
    if reader.width(signal) != len(matrix):
        raise node.error(f"a matrix of {reader.width(signal)} rows, got shape {matrix.shape}")
    matrix = reader.in_order(signal, matrix)
    units = Atom("c", matrix.shape[1])
    at = reader.append(Dense(units.size), {"weight": matrix.T, "bias": bias}, signal)
    return Signal(at, (*signal.axes[:-1], (units,)), (units,), repeated=signal.repeated)


def elementwise(reader, node):
    """An activation function of its own name."""
    name, plain = ELEMENTWISE[node.operator], PLAIN.get(node.operator, ())
    numbers = [float(node.attribute(letter, default)) for letter, default in zip(("alpha", "beta"), plain)]
    return activate(reader, node, (name, *numbers) if tuple(numbers) != plain else name, node.input(0))


def activate(reader, node, spec, value):
    """Append an activation function of a value."""
    if isinstance(value, Scaled) and spec == "tanh" and value.beta == 0:
        signal = reader.data(node, value.base)
        spec = ("scaled_tanh", 1.0, value.alpha)
    else:
        signal = reader.data(node, value)
    found = reader.given_by(reader.append(Activation(spec), {}, signal), signal)
    reader.activated[found.at] = value
    return found


def gelu_or_silu(reader, node):
    """Gelu and Swish, since they are operators."""
    if node.operator == "Gelu" and node.attribute("approximate", "none") != "none":
        raise node.error(f"approximate 'none', got {node.attribute('approximate')!r}")
    if node.operator == "Swish" and node.attribute("alpha", 1.0) != 1:
        raise node.error(f"alpha 1, got {node.attribute('alpha')}")
    return activate(reader, node, "gelu" if node.operator == "Gelu" else "silu", node.input(0))


def erf(reader, node):
    """A part of gelu."""
    value = node.input(0)
    if isinstance(value, Scaled) and value.beta == 0 and math.isclose(value.alpha, math.sqrt(0.5), rel_tol=1e-6):
        return Erf(value.base)
    raise node.error("x divided by the square root of 2, as gelu has it")


def _parts(node):
    """(value, number or array) of a node one of whose two inputs is a constant; (value, None) of another one."""
    first, second = node.inputs
    if isinstance(first, np.ndarray):
        return second, first
    return first, second if isinstance(second, np.ndarray) else None


def add(reader, node):
    """A bias, or a number."""
    value, array = _parts(node)
    if array is not None:
        if isinstance(value, Signal) and value.at in reader.open_biases and not value.parts:
            if not any(value.at in sources for sources in reader.reads):
                reader.change(node, value.at)
                reader.arrays[value.at - 1]["bias"] = _bias(node, array, reader.layers[value.at - 1].units)
                reader.open_biases.discard(value.at)
                return value
        return _scaled_by(reader, node, value, 1.0, array)
    return _both_directions(reader, node, "sum") or summed(reader, node, node.inputs, (1, 1))


def _both_directions(reader, node, merge):
    """The merge of the two directions of a layer, if they are what a node reads."""
    first, second = sorted(node.inputs, key=lambda value: getattr(value, "half", None) or 0)
    if not (isinstance(first, Signal) and isinstance(second, Signal) and (first.half, second.half) == (0, 1)):
        return None
    whole = replace(first, half=None)
    if first.at != second.at or first.axes != second.axes or not reader.is_plain(whole):
        return None
    reader.change(node, first.at)
    reader.layers[first.at - 1] = replace(reader.layers[first.at - 1], merge=merge)
    return replace(whole, channels=first.channels[1:])


def subtract(reader, node):
    """A difference: with a number, numbers for each channel, or another value."""
    value, array = _parts(node)
    if array is None:
        return summed(reader, node, node.inputs, (1, -1))
    if isinstance(node.input(0), np.ndarray):
        return _scaled_by(reader, node, value, -1.0, array)
    return _scaled_by(reader, node, value, 1.0, -array)


def divide(reader, node):
    """A quotient by a number, or by numbers for each channel."""
    if isinstance(node.input(1), np.ndarray) and node.input(1).all():
        return _scaled_by(reader, node, node.input(0), 1 / np.asarray(node.input(1)), 0.0)
    raise node.error(f"a number to divide by, got {node.names[1]!r}")


def _scaled_by(reader, node, value, alpha, beta):
    """``alpha value + beta`` with numbers, or arrays of numbers for each channel."""
    alpha, beta = np.asarray(alpha), np.asarray(beta)
    if alpha.size == beta.size == 1:
        return _scaled(node, value, float(alpha.reshape(())), float(beta.reshape(())))
    return scaled_by_channel(reader, node, value, alpha, beta)


def multiply(reader, node):
    """A product with a number; or the products that silu and gelu are."""
    value, array = _parts(node)
    if array is not None:
        return _scaled_by(reader, node, value, array, 0.0)
    for x, other in (node.inputs, node.inputs[::-1]):
        if isinstance(other, Erf) and other.alpha == other.beta:
            base, factor = (x.base, x.alpha) if isinstance(x, Scaled) and x.beta == 0 else (x, 1.0)
            if base is other.base:
                return _scaled(node, activate(reader, node, "gelu", base), 2 * factor * other.alpha, 0.0)
        if isinstance(other, Signal) and other.at and reader.activated.get(other.at) is x and not other.parts:
            if reader.layers[other.at - 1] == Activation("sigmoid"):
                reader.change(node, other.at)
                reader.layers[other.at - 1] = Activation("silu")
                return other
    merged = _both_directions(reader, node, "product")
    if merged is not None:
        return merged
    raise node.error(f"a product with a number, or silu or gelu, got {', '.join(node.names)}")


def _scaled(node, value, alpha, beta):
    """``alpha value + beta``."""
    if isinstance(value, Erf):
        return replace(value, alpha=alpha * value.alpha, beta=alpha * value.beta + beta)
    if isinstance(value, Scaled):
        value, alpha, beta = value.base, alpha * value.alpha, alpha * value.beta + beta
    if not isinstance(value, Signal) and not hasattr(value, "rows"):
        raise node.error(f"an output of a layer, got {type(value).__name__}")
    return value if (alpha, beta) == (1.0, 0.0) else Scaled(value, alpha, beta)


def reduce(reader, node):
    """Over two directions a merge, over steps a Pool."""
    value = node.input(0)
    rank = len(value.axes)
    axes = [node.place(axis, rank) for axis in node.numbers("axes", 1, range(rank))]
    atoms = value.axes[axes[0]] if len(axes) == 1 else ()
    rest = () if not axes else (*value.axes[: axes[0]], *([()] * node.attribute("keepdims", 1)), *value.axes[axes[0] + 1 :])
    operator = node.operator
    if hasattr(value, "rows") and atoms == (value.row,) and operator in MERGES and value.letter == "h":
        return reader.merged_finals(node, value, MERGES[operator], rest)
    if isinstance(value, Signal) and len(atoms) == 1:
        both = value.channels is not None and len(value.channels) == 2 and atoms[0] is value.channels[0]
        if both and operator in MERGES and atoms[0].size == 2 and reader.is_plain(value):
            reader.change(node, value.at)
            reader.layers[value.at - 1] = replace(reader.layers[value.at - 1], merge=MERGES[operator])
            return replace(value, axes=rest, channels=value.channels[1:])
        if operator in POOLS:
            with_steps(value, axes[0])
        if atoms[0].role == STEPS and operator in POOLS:
            signal = reader.data(node, value)
            at = reader.append(Pool(POOLS[operator]), {}, signal)
            reader.forget_lengths(node)
            return replace(reader.given_by(at, signal), axes=rest)
    raise node.error("a mean or maximum over the steps, or a merge of two directions")


def dropout(reader, node):
    """Dropout, which does nothing to predictions."""
    value = node.input(0)
    rate = node.attribute("ratio", 0.5) if node.input(1) is None else float(node.constant(1, "ratio").reshape(()))
    if not 0 < rate < 1:
        return value
    signal = reader.data(node, value)
    return reader.given_by(reader.append(Dropout(float(rate)), {}, signal), signal)


def images(reader, node):
    """Conv, MaxPool and AveragePool of images."""
    signal = reader.image(node, reader.data(node, node.input(0)))
    channels, height, width = (atom.size for atom in signal.channels)
    operator = node.operator
    if operator.startswith("Global"):
        kernel, options = (height, width), {}
    else:
        kernel, options = _windows(node)
    shape = (channels, height, width)
    if operator == "Conv":
        weight = node.constant(1, "W")
        if node.attribute("group", 1) != 1 or weight.ndim != 4 or weight.shape[1] != channels:
            raise node.error(f"W (filters, {channels}, rows, columns) and group 1, got {weight.shape}")
        if kernel is not None and tuple(kernel) != weight.shape[2:]:
            raise node.error(f"kernel_shape {weight.shape[2:]}, got {kernel}")
        bias = np.zeros(len(weight), weight.dtype) if node.input(2) is None else node.constant(2, "B")
        layer = Conv2d(len(weight), weight.shape[2:], shape=shape, **options)
        arrays = {"weight": weight, "bias": bias}
    else:
        if operator == "AveragePool" and any(np.ravel(options["padding"])) and not node.attribute("count_include_pad", 0):
            raise node.error("count_include_pad 1 where there is padding, got 0")
        if operator.endswith("MaxPool"):
            layer = MaxPool2d(tuple(kernel), shape=shape, **options)
        else:
            layer = AvgPool2d(tuple(kernel), shape=shape, **options)
        arrays = {}
    at = reader.append(layer, arrays, signal)
    atoms = tuple(Atom("c", size) for size in layer.output_shape)
    return Signal(at, (signal.axes[0], *((atom,) for atom in atoms)), atoms)


def _windows(node):
    """(kernel or None, options) of windows."""
    if node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise node.error(f"auto_pad NOTSET, got {node.attribute('auto_pad')!r}")
    strides, pads = node.attribute("strides", [1, 1]), node.attribute("pads", [0, 0, 0, 0])
    if (
        node.attribute("ceil_mode", 0)
        or set(node.attribute("dilations", [1, 1])) != {1}
        or node.attribute("storage_order", 0)
    ):
        raise node.error("ceil_mode 0, storage_order 0 and dilations 1")
    if len(strides) != 2 or len(pads) != 4 or pads[:2] != pads[2:]:
        raise node.error(f"two strides, and pads that are the same before and after, got {strides} and {pads}")
    return node.attribute("kernel_shape"), {"stride": tuple(strides), "padding": tuple(pads[:2])}


LAYERS = {
    **JOINS,
    "Add": add,
    "Div": divide,
    "Dropout": dropout,
    "Erf": erf,
    "Gelu": gelu_or_silu,
    "Gemm": gemm,
    "MatMul": dense,
    "Mul": multiply,
    "Sub": subtract,
    "Swish": gelu_or_silu,
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceProd", "ReduceSum"), reduce),
    **dict.fromkeys(("AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), images),
}
