"""Arithmetic with indices that an Embedding takes: TensorFlow's exporters count negative ones from the end by it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .files import onnx_library
from .values import Signal

ARITHMETIC = {"Add": np.add, "Mul": np.multiply, "Sub": np.subtract, "Max": np.maximum, "Min": np.minimum}
COMPARED = {
    "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less,
    "LessOrEqual": np.less_equal,
}  # fmt: skip
FUNCTIONS = {**ARITHMETIC, **COMPARED, "And": np.logical_and, "Not": np.logical_not, "Or": np.logical_or, "Where": np.where}


@dataclass(frozen=True, eq=False)
class Indices:
    """A function of each index of an input by itself.

    Attributes
    ----------
    base : Signal
    function : callable
        Of an array of indices.
    """

    base: Signal
    function: Callable


def computed(reader, node):
    """The Indices that a node gives, None if it computes with no indices."""
    given = [_as_indices(reader, value) for value in node.inputs]
    bases = [each.base for each in given if each is not None]
    if not bases or node.operator not in (*FUNCTIONS, "Cast"):
        return None
    rest = [value for value, each in zip(node.inputs, given) if each is None]
    plain = not any(isinstance(value, Indices) for value in node.inputs)
    if plain and (node.operator == "Cast" or node.operator in ARITHMETIC and any(_is_float(value) for value in rest)):
        return None  # numbers that a layer takes
    same = all(base.source == bases[0].source and base.axes == bases[0].axes for base in bases)
    if not same or not all(isinstance(value, np.ndarray) and value.size == 1 for value in rest):
        raise node.error(f"indices of one input, and numbers, got {', '.join(node.names)}")
    if node.operator == "Cast":
        dtype = onnx_library().helper.tensor_dtype_to_np_dtype(node.attribute("to"))
        return Indices(bases[0], lambda x: given[0].function(x).astype(dtype))
    parts = [value.reshape(()) if each is None else each.function for value, each in zip(node.inputs, given)]
    function = FUNCTIONS[node.operator]
    return Indices(bases[0], lambda x: function(*(part(x) if callable(part) else part for part in parts)))


def _as_indices(reader, value):
    """A value as Indices, None if it is none."""
    if isinstance(value, Indices):
        return value
    if isinstance(value, Signal) and value.source and reader.is_of_integers(value.source):
        return Indices(value, lambda x: x)
    return None


def _is_float(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def table_of(node, table, indices):
    """The rows of a table that the indices 0, 1, ... of the input stand for, up to the first one that is outside."""
    found = np.asarray(indices.function(np.arange(len(table))))
    if found.dtype.kind not in "iu":
        raise node.error(f"indices that are integers, got {found.dtype}")
    inside = (found >= 0) & (found < len(table))
    count = len(table) if inside.all() else int(np.argmin(inside))
    if not count:
        raise node.error(f"indices of which 0 is a row of the table, got {found[:1]}")
    return table if np.array_equal(found, np.arange(len(table))) else table[found[:count]]
