"""The activations of a layer's gates over time: what its cell has saved of a forward run for the adjoint."""

import numpy as np

from ..arrays.descriptor import TensorDescriptor, address_of
from ..arrays.devices import backend_of
from ..cells import DecayedCell, DenseCell
from ..engine.keep import ALL
from ..errors import IndexRangeError, integer

CANDIDATES = ("n", "g")  # what is no gate: the cell's other activation function makes it


def checked_place(index, layer):
    """`index` as a Python int, if a recurrent layer has so many stacked ones; else TypeError or IndexRangeError."""
    index = integer("index", index)
    if not -layer.layers <= index < layer.layers:
        raise IndexRangeError(f"index: expected an index of {layer.layers} stacked layers, got {index}")
    return index


def gates(layer, p, x, state=None, lengths=None, layout="tnc", index=-1):
    """See `Recurrent.gates`."""
    cell = layer.stepping_cell
    inner = cell.inner if isinstance(cell, DecayedCell) else cell
    places = dict(zip(inner.gates, range(inner.saved))) if 1 < len(inner.gates) <= inner.saved else {}
    if inner is not cell:
        places[cell.gates[-1]] = cell.saved - 1
    if not places:
        raise TypeError(f"layer: expected one with gates (GRU, LSTM, MGU), got {layer!r}")
    index = checked_place(index, layer)
    batch, described = layer._checked_input(p, x, layout, lengths)
    initial = layer.checked_state("state", state, batch.sequences, p.dtype, p.device)
    tape = layer.run(p, described, initial, ALL, batch)[1].stack[index]
    return {name: batch.give(_activations(tape, inner, g, name)) for name, g in places.items()}


def _activations(tape, cell, g, name):
    """A descriptor of one gate's activations, (T, N, D * H), from what its function has kept."""
    values = np.concatenate([kept[:, g] for kept in tape.saved], axis=1)
    function = (
        None if name not in cell.gates else getattr(cell, "activation" if name in CANDIDATES else "gate_activation", None)
    )
    if function is not None and not function.from_output:  # kept is what the function is of
        values = backend_of(values).elementwise.value(DenseCell(function), values)
    return TensorDescriptor.compact(values, address_of(values), tape.packing)
