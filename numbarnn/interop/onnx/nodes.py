"""One node of a graph, as its readers see it: attributes by name, inputs by place, and errors that name it."""

import numpy as np

from ...errors import ConversionError
from .files import array_of, onnx_library

MOST = 1 << 27  # numbers of an array that is worked out here


class Node:
    """A node, and the values that it reads.

    Parameters
    ----------
    proto : onnx.NodeProto
    values : dict
        By name: of what nodes before gave.
    where : str
        What errors call the model.
    """

    def __init__(self, proto, values, where):
        self.operator, self.outputs = proto.op_type, list(proto.output)
        self.where = f"node {proto.name or (self.outputs or ['?'])[0]!r} ({proto.op_type})"
        self.names = list(proto.input)
        self.inputs = [values[name] if name else None for name in proto.input]
        helper = onnx_library().helper
        self.attributes = {each.name: helper.get_attribute_value(each) for each in proto.attribute}
        self.model = where

    def error(self, expected):
        """A ConversionError about the node; expected: the end of the sentence."""
        return ConversionError(f"{self.where}: expected {expected}")

    def input(self, place):
        """An input, None if it is not there."""
        return self.inputs[place] if place < len(self.inputs) else None

    def attribute(self, name, plain=None):
        """An attribute; text as str, a tensor as an array."""
        value = self.attributes.get(name, plain)
        if isinstance(value, bytes):
            return value.decode("utf8", "replace")
        if hasattr(value, "data_type"):
            return array_of(self.where, value)
        return value

    def constant(self, place, what):
        """An input that is an array of numbers; what: what it is, for the error."""
        value = self.input(place)
        if not isinstance(value, np.ndarray):
            raise self.error(f"{what} that is a constant, got {self.names[place] if place < len(self.names) else 'none'!r}")
        return value

    def numbers(self, name, place, plain=None):
        """Integers that are an attribute, or since some opset an input: a list, or `plain`."""
        value = self.attributes.get(name)
        if value is None and self.input(place) is not None:
            value = self.constant(place, name)
        if value is None:
            return plain
        return [int(number) for number in np.ravel(value)]

    def axis(self, rank, plain=0):
        """The attribute axis, from 0 to rank - 1."""
        return self.place(self.attribute("axis", plain), rank)

    def place(self, axis, rank):
        """An axis from 0 to rank - 1, of one that may count from the end."""
        if not -rank <= axis < rank:
            raise self.error(f"an axis of {rank}, got {axis}")
        return axis % rank


def slices(node, rank):
    """The slices of a Slice node for an array of so many axes: a list."""
    starts, ends = node.numbers("starts", 1), node.numbers("ends", 2)
    axes, steps = node.numbers("axes", 3, range(len(starts))), node.numbers("steps", 4, [1] * len(starts))
    found = [slice(None)] * rank
    for axis, start, end, step in zip(axes, starts, ends, steps):
        # A last index before the first one means that all are taken, backward.
        found[node.place(axis, rank)] = slice(start, None if step < 0 and end < -(1 << 31) else end, step)
    return found


def folded(node):
    """The outputs of a node whose inputs are all numbers, as a list of arrays; None for an operator that is not folded."""
    function = FOLDED.get(node.operator)
    if function is None:
        return None
    found = function(node, *node.inputs)
    found = found if isinstance(found, list) else [found]
    return [np.asarray(each) for each in found]


def _bounded(node, shape):
    """The shape as a tuple of integers, of an array that fits into memory as one number does."""
    shape = tuple(int(size) for size in np.ravel(shape))
    if len(shape) > 16 or any(not 0 <= size < 1 << 40 for size in shape):
        raise node.error(f"a shape that memory can hold, got {shape}")
    return shape


def _small(node, *arrays):
    """Raise unless an array of as many numbers as all of these can be made."""
    if sum(array.size for array in arrays) > MOST:
        raise node.error(f"arrays of at most {MOST:,} numbers, got {[array.shape for array in arrays]}")


def _expand(node, array, shape):
    return np.broadcast_to(array, np.broadcast_shapes(array.shape, _bounded(node, shape)))


def _constant_of_shape(node, shape):
    value = node.attribute("value", np.zeros(1, np.float32))
    return np.broadcast_to(value.reshape(()), _bounded(node, shape))


def _reshape(node, array, shape=None):
    _small(node, array)
    shape = [int(size) for size in np.ravel(node.attribute("shape") if shape is None else shape)]
    keep = not node.attribute("allowzero", 0)
    return array.reshape([array.shape[i] if size == 0 and keep else size for i, size in enumerate(shape)])


def _squeeze(node, array, *_):
    axes = node.numbers("axes", 1)
    return np.squeeze(array, None if axes is None else tuple(axes))


def _concat(node, *arrays):
    _small(node, *arrays)
    return np.concatenate(arrays, node.attribute("axis"))


def _gather(node, array, indices):
    if indices.size * array.size > MOST and indices.size > 1:
        _small(node, array, indices)
    return np.take(array, indices, node.axis(array.ndim))


def _split(node, array, *_):
    axis = node.axis(array.ndim)
    sizes = split_sizes(node, array.shape[axis])
    return np.split(array, np.cumsum(sizes)[:-1], axis)


def split_sizes(node, whole):
    """The lengths of the parts of a Split node."""
    sizes = node.numbers("split", 1)
    if sizes is None:
        count = node.attribute("num_outputs", len(node.outputs))
        each = -(-whole // count)
        sizes = [each] * (count - 1) + [whole - each * (count - 1)]
    if sum(sizes) != whole or min(sizes) < 0 or len(sizes) != len(node.outputs):
        raise node.error(f"parts of {whole} in all, {len(node.outputs)} of them, got {sizes}")
    return sizes


def _binary(function):
    def computed(node, a, b):
        _small(node, np.broadcast_to(0, np.broadcast_shapes(a.shape, b.shape)))
        return function(a, b)

    return computed


def _dequantized(node, array, scale, zero=None):
    """``(array - zero) scale``, with one number each or one for each place of an axis."""
    _small(node, array)
    if node.attribute("block_size", 0):
        raise node.error("scales of an axis, got blocks")
    if scale.ndim:
        shape = [1] * array.ndim
        shape[node.axis(array.ndim, 1)] = scale.size
        scale, zero = (None if each is None else each.reshape(shape) for each in (scale, zero))
    whole = array.astype(np.int64) - (0 if zero is None else zero.astype(np.int64))
    return whole.astype(scale.dtype) * scale


def _product(node, array, *_):
    axes = node.numbers("axes", 1)
    return array.prod(None if axes is None else tuple(axes), keepdims=bool(node.attribute("keepdims", 1)), dtype=array.dtype)


def _where(node, condition, a, b):
    _small(node, np.broadcast_to(0, np.broadcast_shapes(condition.shape, a.shape, b.shape)))
    return np.where(condition, a, b)


def _divided(a, b):
    if np.result_type(a, b).kind == "f":
        return a / b
    if not np.all(b):
        raise ConversionError("constants: expected divisors other than 0")
    return (a // b).astype(a.dtype)


def _cast(node, array):
    _small(node, array)
    return array.astype(onnx_library().helper.tensor_dtype_to_np_dtype(node.attribute("to")))


def _constant(node):
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in node.attributes:
            value = node.attribute(name)
            return value if isinstance(value, np.ndarray) else np.array(value, np.int64 if "int" in name else np.float32)
    raise node.error(f"a value, got {sorted(node.attributes)}")


def _shape(node, array):
    return np.array(array.shape, np.int64)[node.attribute("start", 0) : node.attribute("end")]


FOLDED = {
    "Add": _binary(np.add),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _binary(_divided),
    "DequantizeLinear": _dequantized,
    "Equal": _binary(np.equal),
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Not": lambda node, array: ~array,
    "ReduceProd": _product,
    "Expand": _expand,
    "Gather": _gather,
    "Identity": lambda node, array: array,
    "Max": _binary(np.maximum),
    "Min": _binary(np.minimum),
    "Mul": _binary(np.multiply),
    "Neg": lambda node, array: -array,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": lambda node, array, *_: array[tuple(slices(node, array.ndim))],
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _binary(np.subtract),
    "Transpose": lambda node, array: array.transpose(node.attribute("perm")),
    "Where": _where,
    "Unsqueeze": lambda node, array, *_: np.expand_dims(array, tuple(node.numbers("axes", 1))),
}
