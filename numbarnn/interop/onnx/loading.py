"""The network or graph that a graph of ONNX's operators is."""

import numpy as np

from ...errors import ConversionError
from ...graph import Graph
from ...graphs.description import Input, Node
from ...layers.dense import Activation
from ...layers.embedding import Embedding
from ...network import Network
from .files import onnx_library
from .reading import Reader
from .rows import Rows
from .values import BATCH, CHANNELS, STEPS, Finals


def load_model(model, where, output=None):
    """The Network or Graph of a ModelProto."""
    reader = Reader(model, where, output=output)
    finals = _finals(reader)
    reader.check_lengths()
    if not reader.layers:
        raise ConversionError(f"{where}: expected at least one node that is a layer, got none")
    outputs = {}
    for name, value in finals.items():
        value = finals[name] = reader.bound(value)
        _check_channels(reader, value)
        if value.repeated:
            raise ConversionError(f"output {name!r}: expected an output of a layer, got one that is repeated at each step")
        at = value.at
        if value.parts or not at or at in outputs:  # what is no output of a node of its own
            at = reader.append(Activation("linear"), {}, value)
        outputs[at] = name
    rows = Rows(reader, outputs)
    layout = layout_of(reader, rows, list(finals.values()))
    if len(rows.rows) == 1 and len(rows.rows[0].items[0].reads) == 1 and rows.rows[0].start is None:
        return network_of(reader, rows, layout)
    return graph_of(reader, rows, layout)


def network_of(reader, rows, layout):
    """The Network of layers in a row."""
    (row,) = rows.rows
    (source,) = rows.inputs
    channels = None if isinstance(row.layers[0], Embedding) else channels_of(reader, source)
    dtype, arrays = dtype_of(reader, rows), {}
    net = _made(reader, Network, row.layers, channels, dtype, layout)
    for place, item in enumerate(row.items):
        arrays |= {f"{place}.{name}": array.astype(dtype, copy=False) for name, array in item.arrays.items()}
    net.params.update(arrays)
    return net


def _made(reader, kind, *arguments):
    """A Network or Graph; ConversionError for what it cannot be."""
    try:
        return kind(*arguments)
    except ConversionError:
        raise
    except (TypeError, ValueError) as error:
        raise ConversionError(f"{reader.where}: expected layers that numbarnn can put together ({error})") from error


def graph_of(reader, rows, layout):
    """The Graph of rows."""
    inputs, nodes, arrays, shared = {}, {}, {}, []
    for name in rows.inputs:
        atoms = [atom for axis in reader.inputs[name].axes for atom in axis]
        channels = None if _takes_indices(reader, name) else channels_of(reader, name)
        inputs[rows.name_of(name)] = Input(channels, any(atom.role == STEPS for atom in atoms))
    dtype = dtype_of(reader, rows)
    for row in rows.rows:
        stands_for_an_operator = {*row.items[0].indices} <= reader.constants
        owner = None if stands_for_an_operator else next((other for other in shared if row.equals(other)), None)
        reads = [rows.name_of(source) for source in row.items[0].reads]
        nodes[row.name] = Node(row.layers if owner is None else owner.name, reads, _start(rows, row))
        if owner is not None:
            continue
        shared.append(row)
        for place, item in enumerate(row.items):
            label = row.name if len(row.items) == 1 else f"{row.name}.{place}"
            arrays |= {f"{label}.{name}": array.astype(dtype, copy=False) for name, array in item.arrays.items()}
    outputs = [rows.name_of(at) for at in rows.outputs]
    net = _made(reader, Graph, inputs, nodes, outputs, dtype, layout)
    net.params.update(arrays)
    return net


def _start(rows, row):
    """The name of what a row's recurrent layer starts from, None for zeros or a learned state."""
    if row.start is None:
        return None
    what, source = row.start
    return rows.row_of(source)[0].name if what == "layer" else rows.name_of(source)


def _takes_indices(reader, name):
    """Whether an input is of indices."""
    return any(isinstance(layer, Embedding) and name in reads for layer, reads in zip(reader.layers, reader.reads))


def _finals(reader):
    """{name: Signal} of the outputs that are no states, or of the first state if there are no others."""
    values = {name: reader.values[name] for name in reader.outputs}
    signals = {name: value for name, value in values.items() if not isinstance(value, (Finals, np.ndarray))}
    states = [(name, value) for name, value in values.items() if isinstance(value, Finals)]
    chosen = signals or dict(states[:1])
    if not chosen:
        raise ConversionError(f"{reader.where}: expected an output of a layer, got {reader.outputs}")
    found = {}
    for name, value in chosen.items():
        reader.check_unchanged(Output(name), name)
        found[name] = reader.data(Output(name), value)
    for name in chosen:
        reader.check_unchanged(Output(name), name)
    return found


class Output:
    """What an output is to `Reader.data`: something with errors that name it."""

    def __init__(self, name):
        self.where = f"output {name!r}"

    def error(self, expected):
        """A ConversionError about the output."""
        return ConversionError(f"{self.where}: expected {expected}")


def layout_of(reader, rows, outputs=()):
    """The layout in which the axes of the inputs and of the outputs stand; outputs: Signals."""
    for name in rows.inputs:
        name_the_rest(reader, name)
    given = [_letters(reader.inputs[name]) for name in rows.inputs]
    left = [_letters(signal) for signal in outputs]
    # Where an input has no steps, the first that fits has t on the same side of c as n: a Network reads rows by it, too.
    for layout in ("tnc", "ntc", "ctn", "cnt", "tcn", "nct"):
        if all("".join(letter for letter in layout if letter in each) == each for each in (*given, *left)):
            return layout
    given, left = ", ".join(given), ", ".join(left)
    raise ConversionError(f"{reader.where}: expected an output with axes in the order of the input, {given}, got {left}")


def _letters(signal):
    """The letters of a signal's atoms, in the order in which each stands last."""
    atoms = [atom for axis in signal.axes for atom in axis]
    return "".join(dict.fromkeys(atom.role for atom in reversed(atoms)))[::-1]


def name_the_rest(reader, name):
    """Say what the atoms of an input run over that no layer has named (are modified)."""
    atoms = [atom for axis in reader.inputs[name].axes for atom in axis]
    others = [[atom for axis in signal.axes for atom in axis] for each, signal in reader.inputs.items() if each != name]
    for atom in atoms:  # what several inputs have in common is the batch
        if atom.role is None and atom.free and others and all(any(atom.size == a.size for a in rest) for rest in others):
            atom.role = BATCH
    known = {atom.role for atom in atoms}
    unknown = [atom for atom in atoms if atom.role is None]
    if unknown and CHANNELS not in known and not _takes_indices(reader, name):
        unknown.pop().role = CHANNELS
    roles = [role for role in (STEPS, BATCH) if role not in known]
    for atom, role in zip(unknown, roles[-len(unknown) :] if unknown else ()):  # of one axis it is the batch
        atom.role = role


def _check_channels(reader, signal):
    """Raise unless the channels of the output stand in the order that the network gives them."""
    axes = [[atom for atom in axis if atom.size != 1] for axis in signal.axes]
    atoms = [atom for axis in axes for atom in axis]
    places = [place for place, atom in enumerate(atoms) if atom.role == CHANNELS]
    if [atoms[place] for place in places] != [atom for atom in signal.channels or () if atom.size != 1]:
        raise ConversionError(f"{reader.where}: expected channels of the output in the order of the last layer")
    mixed = any(len({atom.role == CHANNELS for atom in axis}) > 1 for axis in axes)
    if mixed and places[-1] - places[0] >= len(places):
        raise ConversionError(
            f"{reader.where}: expected an output without steps or batch between its channels, got {signal.axes}; a Transpose"
            " before the Reshape puts directions beside their channels"
        )


def channels_of(reader, name):
    """The channels of an input."""
    channels, free = 1, False
    for axis in reader.inputs[name].axes:
        for atom in axis:
            if atom.role == CHANNELS:
                channels, free = channels * atom.size, free or atom.free
    if free:
        raise ConversionError(f"input {name!r}: expected a number of channels that is known, got one of any length")
    return channels


def dtype_of(reader, rows):
    """The dtype that the parameters have in common."""
    items = [item for row in rows.rows for item in row.items if item.indices[0] not in reader.constants]
    found = {array.dtype.name for item in items for array in item.arrays.values()}
    if not found:
        info = next(each for each in reader.model.graph.input if each.name == rows.inputs[0])
        found = {onnx_library().helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type).name}
    if len(found) > 1 or not found <= {"float32", "float64"}:
        raise ConversionError(
            f"{reader.where}: expected parameters that are all float32 or all float64, got {sorted(found)}"
        )
    return found.pop()
