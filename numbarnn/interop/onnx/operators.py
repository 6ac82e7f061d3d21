"""Recurrent layers as nodes: ONNX's own RNN, GRU and LSTM where a layer is one of them, else a Scan."""

import numpy as np

from ...errors import ConversionError
from ...layers.gru import GRU
from ...layers.lstm import LSTM
from ...layers.rnn import RNN
from ..carried import expect_carried
from .gaps import last_channels, prepare
from .gates import FIELDS, PEEPHOLES_HERE, PEEPHOLES_THERE, THERE, function_to, gates_of, reordered
from .scans import scan
from .writer import BATCH

DRAWN = ("input_dropout", "recurrent_dropout", "weight_drop", "noise")  # of which a prediction takes the mean: nothing
MERGES = {"sum": "ReduceSum", "average": "ReduceMean", "product": "ReduceProd"}


def recurrent(writer, layer, start=None):
    """Add the nodes of a layer: its initial states are inputs that may be left out, its final ones outputs.

    start : dict of str to str, optional
        By h and c what it starts from instead, (L * D, N, Y).
    """
    attributes, letters = _attributes(writer.where, layer), "hc"[: layer.cell.states]
    states = [_initial(writer, layer, letter) if start is None else start[letter] for letter in letters]
    reached, finals = "", {letter: [] for letter in letters}
    prepare(writer, layer)
    spans = last_channels(writer, layer.directions) if layer.decay and layer.layers > 1 else ""
    for stacked in range(layer.layers):
        below, first = writer.value, stacked * layer.directions
        given = [_of_layer(writer, layer, state, first) for state in states]
        if attributes is None:
            y, *ends = scan(writer, layer, stacked, given)
        else:
            y, *ends = _operator(writer, layer, stacked, given, attributes)
        for letter, value in zip(letters, ends):
            finals[letter].append(value)
        reached = ends[0]
        writer.value = joined(writer, layer, layer.merge, y, [0, 2, 1, 3], 1, [0, 0, -1])
        if layer.residual and stacked:
            writer.then("Add", below)
            reached = ""
        if layer.dropout and stacked < layer.layers - 1:
            writer.then("Dropout", writer.constant(f"{writer.owner}.rate", np.array(layer.dropout)))
        if spans and stacked < layer.layers - 1:
            writer.value = writer.node("Concat", writer.value, spans, axis=-1)
    if reached:
        writer.reached[writer.value] = layer, reached
    writer.finals[writer.label] = {
        letter: writer.node("Concat", *parts, axis=0) if len(parts) > 1 else parts[0] for letter, parts in finals.items()
    }
    for (letter, value), width in zip(writer.finals[writer.label].items(), layer.state_widths):
        rows = layer.layers * layer.directions
        writer.add_output(value, f"{writer.label}.final_{letter}", [rows, BATCH, width])


def _of_layer(writer, layer, state, first):
    """The name of one stacked layer's rows of a state."""
    if layer.layers == 1:
        return state
    rows = writer.integers(first), writer.integers(first + layer.directions)
    return writer.node("Slice", state, *rows, writer.integers(0))


def _operator(writer, layer, stacked, states, attributes):
    """The names of what one node of ONNX's own gives."""
    kind = type(layer).__name__
    arrays = _weights(writer, layer, kind, stacked)
    names = [writer.constant(f"{writer.owner}.{letter}_l{stacked}", array) for letter, array in arrays.items()]
    peepholes = names[3:]
    return writer.node(
        kind, writer.value, *names[:3], writer.lengths, *states, *peepholes, outputs=1 + len(states), **attributes
    )


def _attributes(where, layer):
    """The attributes of ONNX's own operator, None for a layer that is none of its operators."""
    if type(layer) not in (RNN, GRU, LSTM):
        return None
    kind, repeats = type(layer).__name__, layer.directions
    names = ["hidden", "layers", "bidirectional", "clip", "learned_state", "dropout", "merge", "residual"]
    names += [*FIELDS[kind], *DRAWN, *{"RNN": [], "GRU": ["reset"], "LSTM": ["peepholes", "coupled"]}[kind]]
    try:
        expect_carried(where, layer, "ONNX", *names)
        return _found_attributes(where, layer, kind, repeats)
    except ConversionError:
        return None


def _found_attributes(where, layer, kind, repeats):
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


def _weights(writer, layer, kind, stacked):
    """ONNX's W, R, B and P of one stacked layer."""
    ends = layer.suffixes(stacked)
    coupled = getattr(layer, "coupled", False)
    here, there = gates_of(kind, coupled), THERE[kind]

    def directions(*names, of=here, to=there):
        parts = [[reordered(writer.parameter(f"{name}_{end}"), of, to) for name in names] for end in ends]
        return np.stack([np.concatenate(part) for part in parts])

    found = {"W": directions("weight_ih"), "R": directions("weight_hh"), "B": directions("bias_ih", "bias_hh")}
    if getattr(layer, "peepholes", False):
        of = PEEPHOLES_HERE.replace("f", "") if coupled else PEEPHOLES_HERE
        found["P"] = directions("peephole", of=of, to=PEEPHOLES_THERE)
    return found


def _initial(writer, layer, letter):
    """The name of the initial h or c: an input, whose value where it is left out is of one sequence, and holds for all."""
    name, rows = f"{writer.label}.initial_{letter}", layer.layers * layer.directions
    width = layer.state_widths["hc".index(letter)]
    plain = np.zeros((rows, 1, width), writer.dtype)
    if layer.learned_state:
        ends = [end for stacked in range(layer.layers) for end in layer.suffixes(stacked)]
        plain[:, 0] = [writer.parameter(f"initial_{letter}_{end}") for end in ends]
    writer.constant(name, plain)
    writer.add_input(name, writer.dtype, [rows, f"batch_or_1_of_{name}", width])
    batch = writer.node("Slice", writer.node("Shape", writer.value), writer.integers(1), writer.integers(2))
    shape = writer.node("Concat", writer.integers(rows), batch, writer.integers(width), axis=0)
    return writer.node("Expand", name, shape)


def joined(writer, layer, merge, value, order, axis, shape):
    """Both directions of a value side by side, or merged; the axis of one direction left out."""
    if not layer.bidirectional:
        return writer.node("Squeeze", value, writer.integers(axis))
    if merge == "concat":
        return writer.node("Reshape", writer.node("Transpose", value, perm=order), writer.integers(*shape))
    if merge == "sum":
        return writer.node("ReduceSum", value, writer.integers(axis), keepdims=0)
    return writer.node(MERGES[merge], value, axes=[axis], keepdims=0)
