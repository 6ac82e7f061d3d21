"""The layers of a network in C, one after the other, and what cannot take a step."""

import numpy as np

from ..errors import ConversionError
from ..layers.dense import Activation, Dense
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding
from ..layers.images import Flatten
from ..layers.last import Last, LastStep
from ..layers.recurrent import Recurrent
from .products import add_product
from .recurrent import add_recurrent
from .steps import equations, loop

HAVE = "a recurrent layer, Dense, Activation, Embedding, Dropout, Flatten or Last"


def add_network(source, net, own):
    """Add all layers of a network to a step; own: the Parameters of each.

    Returns (what the network is in a line, numbers of x at a step, the vocabulary of its indices or None).
    """
    source.channels = net.channels
    for index, (layer, p) in enumerate(zip(net.layers, own)):
        add_layer(source, index, layer, p, f"layers[{index}]")
    about = f"{', '.join(map(repr, net.layers))}; {source.real.name}"
    return about, net.channels, net.layers[0].vocabulary if net.takes_indices else None


def add_layer(source, index, layer, p, where):
    """Add a layer to a step.

    Parameters
    ----------
    source : Source
    index : int
        Its number, which the names of its arrays and functions have.
    layer : Layer
    p : Parameters
        Its own, of the source's dtype.
    where : str
        What errors call it.
    """
    source.where = where
    if isinstance(layer, Recurrent):
        add_recurrent(source, index, layer, p)
    elif type(layer) is Dense:
        _add_dense(source, index, layer, p)
    elif type(layer) is Activation:
        _add_function(source, index, layer.cell)
    elif type(layer) is Embedding:
        table = source.array(f"layer{index}_weight", p["weight"])
        row = f"row_{index}"
        source.step.append(f"const {source.real.name} *{row} = {table} + (size_t)*x * {layer.size};")
        source.output, source.channels = row, layer.size
    elif type(layer) not in (Dropout, Flatten, Last, LastStep):  # these pass a step on as it is
        raise ConversionError(f"{source.where}: expected a layer that takes one step after the other, {HAVE}, got {layer!r}")


def _add_dense(source, index, layer, p):
    bias = source.array(f"layer{index}_bias", p["bias"])
    product = add_product(source, f"layer{index}_weight", np.asarray(p["weight"]))
    output = source.local(f"dense_{index}", layer.units)
    source.step += [f"memcpy({output}, {bias}, sizeof {output});", f"{product}({source.output}, {output});"]
    source.output, source.channels = output, layer.units
    _add_function(source, index, layer.cell, output)


def _add_function(source, index, cell, target=None):
    """Add the activation function of a `DenseCell`, of every number: into `target`, or a new array."""
    recording = source.recording()
    x = recording.read(f"{source.output}[j]")
    y = equations(source, cell.activation, "value", x)
    if y is x:
        return
    target = source.local(f"activation_{index}", source.channels) if target is None else target
    source.step += loop(source, recording, {f"{target}[j]": y}, source.channels)
    source.output = target
