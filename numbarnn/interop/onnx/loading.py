"""The network that a graph is."""

from dataclasses import replace

import numpy as np

from ...errors import ConversionError
from ...layers.embedding import Embedding
from ...layers.recurrent import Recurrent
from ...network import Network
from .files import onnx_library
from .reading import Reader
from .values import BATCH, CHANNELS, STEPS, Finals


def network_of(reader):
    """The Network of a graph that has been read: its first output that is no state is what it predicts."""
    final = _final(reader)
    reader.check_lengths()
    if not reader.layers:
        raise ConversionError(f"{reader.where}: expected at least one node that is a layer, got none")
    _check_channels(reader, final)
    layout = layout_of(reader, [atom for axis in final.axes for atom in axis])
    layers, arrays = _stacked(reader.layers, reader.arrays)
    return made(reader, layers, arrays, layout)


def made(reader, layers, arrays, layout):
    """The Network of layers and arrays."""
    net = Network(layers, channels_of(reader), dtype_of(reader), layout)
    net.params.update({f"{index}.{name}": array for index, own in enumerate(arrays) for name, array in own.items()})
    return net


def _final(reader):
    """The Signal that is the output."""
    values = [(name, reader.values[name]) for name in reader.outputs]
    signals = [(name, value) for name, value in values if not isinstance(value, (Finals, np.ndarray))]
    if len(signals) > 1:
        raise ConversionError(f"output {signals[1][0]!r}: expected one output beside states, got also {signals[0][0]!r}")
    chosen = signals or [(name, value) for name, value in values if isinstance(value, Finals)]
    if not chosen:
        raise ConversionError(f"{reader.where}: expected an output of a layer, got {reader.outputs}")
    name, value = chosen[0]
    reader.check_unchanged(Output(name), name)
    return reader.data(Output(name), value)


class Output:
    """What an output is to `Reader.data`: something with errors that name it."""

    def __init__(self, name):
        self.where = f"output {name!r}"

    def error(self, expected):
        """A ConversionError about the output."""
        return ConversionError(f"{self.where}: expected {expected}")


def layout_of(reader, outputs=()):
    """The layout of the network, in which the axes of the input stand, and those of the output.

    outputs: the atoms of the output, in order.
    """
    signal = reader.inputs[reader.source]
    atoms = [atom for axis in signal.axes for atom in axis]
    _name_the_rest(reader, atoms)
    given, left = _letters(atoms), _letters(outputs)
    for layout in ("tnc", "ntc", "tcn", "nct", "ctn", "cnt"):
        if all("".join(letter for letter in layout if letter in each) == each for each in (given, left)):
            return layout
    raise ConversionError(f"{reader.where}: expected an output with axes in the order of the input, {given}, got {left}")


def _letters(atoms):
    """The letters of some atoms, in the order in which each stands last."""
    return "".join(dict.fromkeys(atom.role for atom in reversed(atoms)))[::-1]


def _name_the_rest(reader, atoms):
    """Say what the atoms of the input run over that no layer has named (are modified)."""
    known = {atom.role for atom in atoms}
    unknown = [atom for atom in atoms if atom.role is None]
    if unknown and CHANNELS not in known and not isinstance(reader.layers[0], Embedding):
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


def channels_of(reader):
    """The channels of the input."""
    signal = reader.inputs[reader.source]
    if isinstance(reader.layers[0], Embedding):
        return None
    channels, free = 1, False
    for axis in signal.axes:
        for atom in axis:
            if atom.role == CHANNELS:
                channels, free = channels * atom.size, free or atom.free
    if free:
        raise ConversionError(f"input {reader.source!r}: expected a number of channels that is known, got one of any length")
    return channels


def dtype_of(reader):
    """The dtype that the parameters have in common."""
    found = {array.dtype.name for own in reader.arrays for array in own.values()}
    if not found:
        info = next(each for each in reader.model.graph.input if each.name == reader.source)
        found = {onnx_library().helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type).name}
    if len(found) > 1 or not found <= {"float32", "float64"}:
        raise ConversionError(
            f"{reader.where}: expected parameters that are all float32 or all float64, got {sorted(found)}"
        )
    return found.pop()


def _stacked(layers, arrays):
    """Equal recurrent layers one after the other as one of stacked layers, which has the same vector of parameters."""
    found, parts = [], []
    for layer, own in zip(layers, arrays):
        before = found[-1] if found else None
        if isinstance(layer, Recurrent) and isinstance(before, Recurrent) and replace(before, layers=1) == layer:
            found[-1] = replace(before, layers=before.layers + 1)
            parts[-1] = parts[-1] | {name.replace("_l0", f"_l{before.layers}"): array for name, array in own.items()}
        else:
            found.append(layer)
            parts.append(dict(own))
    return found, parts


def load_model(model, where, output=None):
    """The Network of a ModelProto."""
    return network_of(Reader(model, where, output=output))
