"""Values that decay where they are missing, as nodes: what the cell of a `GRUD` reads."""

from ...errors import ConversionError
from ...layers.gaps import CELL, mixed
from ...layers.grud import BLOCKS, GRUD
from ...layers.recurrent import Recurrent
from .tracing import Traced, traced


def prepare(writer, layer):
    """Let the value be what the cell of a layer reads."""
    if type(layer).prepare is Recurrent.prepare:
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
