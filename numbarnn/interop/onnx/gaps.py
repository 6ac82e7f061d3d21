"""Values that decay where they are missing, and spans of time, as nodes: what the cells of `GRUD` and of decays read."""

import numpy as np

from ...errors import ConversionError
from ...layers.gaps import CELL, mixed
from ...layers.grud import BLOCKS, GRUD
from ...layers.recurrent import Recurrent
from .tracing import Traced, traced

END = 2**31 - 1  # a step or channel past the last one


def prepare(writer, layer):
    """Let the value be what the cell of a layer reads."""
    if type(layer).prepare is Recurrent.prepare:
        if layer.decay and layer.bidirectional:
            writer.value = writer.node("Concat", writer.value, _spans_back(writer), axis=-1)
        return
    if type(layer).prepare is not GRUD.prepare:
        raise ConversionError(f"{writer.where}: expected a layer that has no method prepare of its own, got {layer!r}")
    value, mask, span = (Traced(writer, name) for name in writer.node("Split", writer.value, outputs=BLOCKS, axis=-1))
    arrays = {name: writer.parameter(name) for name in ("weight_dx_l0", "bias_dx_l0")}
    arrays["mean"] = layer.means(len(arrays["weight_dx_l0"]), writer.dtype)
    constants = [writer.constant(f"{writer.owner}.{name}", array) for name, array in arrays.items()]
    weight, bias, mean = (Traced(writer, name) for name in constants)
    left = traced(writer, CELL.activation, "value", weight * span + bias)
    filled = mixed(value, mask, left, mean)
    writer.value = writer.node("Concat", filled.name, mask.name, span.name, axis=-1)


def last_channels(writer, count):
    """The name of the last channels of the value."""
    bounds = writer.integers(-count), writer.integers(END), writer.integers(-1)
    return writer.node("Slice", writer.value, *bounds)


def _spans_back(writer):
    """The name of the spans of the reverse direction, see `layers.spans.SpansBack`."""
    one = writer.number(1)
    back = _later(writer, last_channels(writer, 1), one)
    if not writer.lengths:
        return back
    no = writer.constant("no", np.array(False))
    return writer.node("Where", _later(writer, writer.alive(), no), back, one)


def _later(writer, value, behind):
    """The name of what a value (T, N, 1) has at the step after each one; behind: what there is after the last."""
    first, last, end = writer.integers(1), writer.integers(-1), writer.integers(END)
    steps = writer.integers(0)
    shape = writer.node("Shape", writer.node("Slice", value, last, end, steps))
    return writer.node(
        "Concat", writer.node("Slice", value, first, end, steps), writer.node("Expand", behind, shape), axis=0
    )
