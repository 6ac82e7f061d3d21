"""Files of RTNeural, GuitarML and NAM, as layers in a row that may add what they read.  Nothing in them is executed."""

import json
import os
from dataclasses import dataclass

import numpy as np

from ..errors import ConversionError, FileFormatError, positive_integer
from ..files.container import checked_path, open_file
from ..layers.base import Layer
from ..layers.dense import Dense
from ..layers.lstm import LSTM
from . import torch
from .keras_layers import Described, layers_from

MOST_BYTES = 1 << 30  # a file of these formats has a few thousand numbers
RTNEURAL = {  # its types, and the class of Keras that each stands for; all but an activation have weights
    "dense": "Dense", "time-distributed-dense": "Dense", "gru": "GRU", "lstm": "LSTM", "activation": "Activation",
}  # fmt: skip
ACTIVATIONS = ("tanh", "relu", "sigmoid", "elu")  # that RTNeural and this library have
GAINS = ("in_gain", "out_gain")  # of AIDA-X, in decibel


@dataclass(frozen=True)
class Part:
    """Layers in a row.

    Attributes
    ----------
    layers : list of (Layer, dict of str to numpy.ndarray)
        With their parameters by name.
    skip : int
        How many channels of what the first one reads are added to what the last one gives.
    """

    layers: list[tuple[Layer, dict]]
    skip: int = 0

    def width(self, channels):
        """How many channels the last layer gives where the first one reads so many."""
        for layer, _ in self.layers:
            channels = layer.output_channels(channels)
        return channels


def read_parts(path, dtype):
    """(list of Part, how many channels the first reads, what else the file says) of a file.

    Raises
    ------
    FileFormatError
        If it is no such file, or was damaged.
    ConversionError
        If it is of layers that have no counterpart.
    """
    path = checked_path(path)
    with open(path, "rb", opener=open_file) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise FileFormatError(f"{path}: expected at most {MOST_BYTES} bytes, got {size}")
        contents = file.read()
    try:
        found = json.loads(contents)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: expected JSON, got a damaged or another file ({error!s:.200})") from None
    reader = _Reader(path, dtype)
    for keys, read in (
        (("in_shape", "layers"), _rtneural),
        (("architecture", "weights"), _nam),
        (("state_dict",), _guitarml),
    ):
        if isinstance(found, dict) and all(key in found for key in keys):
            parts, channels = read(reader, found)
            reader.check_joined(parts, channels)
            return parts, channels, {key: value for key, value in found.items() if key not in (*keys, "layers")}
    expected = "the keys in_shape and layers of RTNeural, architecture and weights of NAM, or state_dict of GuitarML"
    raise FileFormatError(f"{path}: expected {expected}, got {sorted(found)!r:.200}" if isinstance(found, dict) else
                          f"{path}: expected an object with {expected}, got {type(found).__name__}")  # fmt: skip


def _place(where, key):
    """What a value of a dict is called in errors; where: the dict itself, empty for the whole file."""
    return f"{where}[{key!r}]" if where else key


class _Reader:
    """What is read out of a file's values, with its name in every error."""

    def __init__(self, path, dtype):
        self.path, self.dtype = path, dtype

    def damaged(self, where, expected):
        """A FileFormatError about a place in the file."""
        return FileFormatError(f"{self.path}: {where}: expected {expected}")

    def unknown(self, where, expected):
        """A ConversionError about a place in the file."""
        return ConversionError(f"{self.path}: {where}: expected {expected}")

    def value(self, where, values, key, kind, default=None):
        """A value of a dict, if it is of a kind."""
        if not isinstance(values, dict):
            raise self.damaged(where, f"an object, got {type(values).__name__}")
        found = values.get(key, default)
        if not isinstance(found, kind) or isinstance(found, bool) and kind is not bool:
            wanted = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
            got = f"{found!r:.60}" if key in values else "none"
            raise self.damaged(_place(where, key), f"{wanted}, got {got}")
        return found

    def size(self, where, values, key, default=None):
        """A positive integer of a dict."""
        found = self.value(where, values, key, int, default)
        try:
            return positive_integer(_place(where, key), found)
        except ValueError as error:
            raise FileFormatError(f"{self.path}: {error}") from None

    def array(self, where, value, *axes):
        """Numbers in lists as an array with as many axes as one of these says."""
        try:
            found = np.asarray(value)
        except (ValueError, OverflowError, RecursionError):
            raise self.damaged(where, "lists of numbers that have one length") from None
        if found.dtype.kind not in "iuf" or found.ndim not in axes or not found.size:
            expected = f"numbers in lists of {' or '.join(map(str, axes))} axes"
            raise self.damaged(where, f"{expected}, got {found.dtype} of shape {found.shape}")
        with np.errstate(over="ignore"):
            found = found.astype(self.dtype)
        if not np.isfinite(found).all():
            raise self.damaged(where, f"finite numbers that {self.dtype} holds")
        return found

    def expect(self, where, found, expected):
        """Raise FileFormatError unless what a file says is as expected; None says nothing."""
        if found is not None and found != expected:
            raise self.damaged(where, f"{expected!r}, as the file's other parts have it, got {found!r:.60}")

    def check_joined(self, parts, channels):
        """Raise an error unless each layer's parameters fit what the one before gives, and what is added the sum."""
        for part in parts:
            units = part.width(channels)
            for layer, arrays in part.layers:
                wanted = {weight.name: weight.shape for weight in layer.weights(channels)}
                found = {name: array.shape for name, array in arrays.items()}
                if wanted != found:
                    raise self.damaged(f"{layer!r}", f"parameters {wanted} for {channels} channels, got {found}")
                channels = layer.output_channels(channels)
            if part.skip not in (0, 1, units):
                raise self.unknown("skip", f"1 or {units} channels that are added to {units}, got {part.skip}")


def _rtneural(reader, found):
    """The parts of RTNeural's JSON, whose weights are arranged as in Keras."""
    shape = reader.value("", found, "in_shape", list)
    channels = reader.size("", {"in_shape[-1]": shape[-1] if shape else None}, "in_shape[-1]")
    layers = []
    for index, each in enumerate(reader.value("", found, "layers", list)):
        where = f"layers[{index}]"
        layers += _of_rtneural(reader, where, each)
    if not layers:
        raise reader.damaged("layers", "at least one layer, got none")
    for key in GAINS:
        if reader.value("", found, key, (int, float), 0.0):
            raise reader.unknown(key, f"0, since a network has no gain besides its weights, got {found[key]!r}")
    return [Part(layers, min(reader.value("", found, "in_skip", int, 0), channels))], channels


def _of_rtneural(reader, where, each):
    """[(Layer, {name: array})] of one layer of RTNeural, and of its activation function."""
    kind = reader.value(where, each, "type", str)
    if kind not in RTNEURAL:
        raise reader.unknown(where, f"a layer of type {', '.join(RTNEURAL)}, got {kind!r}")
    keras, activation = RTNEURAL[kind], reader.value(where, each, "activation", str, "")
    recurrent = keras in ("GRU", "LSTM")
    if activation not in (("", "tanh") if recurrent else ("", *ACTIVATIONS)):  # RTNeural's GRU and LSTM have tanh anyway
        known = "'' or 'tanh'" if recurrent else f"'' or one of {', '.join(ACTIVATIONS)}"
        raise reader.unknown(where, f"an activation {known}, got {activation!r}")
    if keras == "Activation":
        return layers_from(Described(keras, {"name": where, "activation": activation or "linear"}, []), False)
    weights = reader.value(where, each, "weights", list)
    axes = {"Dense": ((2,), (1,)), "GRU": ((2,), (2,), (2,)), "LSTM": ((2,), (2,), (1,))}[keras]
    if len(weights) != len(axes):
        raise reader.damaged(where, f"{len(axes)} lists of weights, got {len(weights)}")
    arrays = [reader.array(f"{where} weights[{k}]", part, *count) for k, (part, count) in enumerate(zip(weights, axes))]
    units = arrays[0].shape[1] if keras == "Dense" else arrays[1].shape[0]
    shape = reader.value(where, each, "shape", list)
    reader.expect(f"{where}['shape'][-1]", shape[-1] if shape else None, units)
    gates = {"Dense": 1, "GRU": 3, "LSTM": 4}[keras]
    biases = (2, gates * units) if keras == "GRU" else (gates * units,)
    for k, wanted in ((0, (len(arrays[0]), gates * units)), (len(arrays) - 1, biases)):
        if arrays[k].shape != wanted:
            raise reader.damaged(f"{where} weights[{k}]", f"shape {wanted}, got {arrays[k].shape}")
    if recurrent and arrays[1].shape != (units, gates * units):
        raise reader.damaged(f"{where} weights[1]", f"shape {(units, gates * units)}, got {arrays[1].shape}")
    config = {"name": where, "units": units, "return_sequences": True}
    if keras == "Dense":
        config["activation"] = activation or "linear"
    return layers_from(Described(keras, config, arrays), False)


def _nam(reader, found):
    """The parts of a ``.nam`` file: all numbers are in one list."""
    architecture = reader.value("", found, "architecture", str)
    if architecture != "LSTM":
        raise reader.unknown("architecture", f"'LSTM', got {architecture!r}")
    config = reader.value("", found, "config", dict)
    hidden, layers = (reader.size("config", config, key) for key in ("hidden_size", "num_layers"))
    channels = reader.size("config", config, "input_size")
    units = reader.size("config", config, "out_channels", 1)
    reader.expect("config['in_channels']", reader.size("config", config, "in_channels", channels), channels)
    weights = reader.array("weights", found["weights"], 1)
    read = [channels, *[hidden] * (layers - 1)] if layers <= len(weights) else []
    wanted = sum(4 * hidden * (count + hidden + 1) + 2 * hidden for count in read) + units * (hidden + 1)
    if len(weights) != wanted or not read:
        expected = f"as many numbers as {layers} layers of {hidden} units on {channels} channels have"
        raise reader.damaged("weights", f"{expected}, got {len(weights)}")
    at = 0

    def taken(*shape):
        nonlocal at
        at += int(np.prod(shape))
        return weights[at - int(np.prod(shape)) : at].reshape(shape)

    arrays = {}
    for index, count in enumerate(read):
        both, bias = taken(4 * hidden, count + hidden), taken(4 * hidden)
        own = {"weight_ih": both[:, :count], "weight_hh": both[:, count:], "bias_ih": bias, "bias_hh": np.zeros_like(bias)}
        own |= {"initial_h": taken(hidden), "initial_c": taken(hidden)}
        arrays |= {f"{name}_l{index}": array for name, array in own.items()}
    head = {"weight": taken(units, hidden), "bias": taken(units)}
    return [Part([(LSTM(hidden, layers=layers, learned_state=True), arrays), (Dense(units), head)])], channels


def _guitarml(reader, found):
    """The parts of a state dict of PyTorch beside a description: of a SimpleRNN, or of the blocks of a RecNet."""
    state = reader.value("", found, "state_dict", dict)
    arrays = {name: reader.array(f"state_dict[{name!r}]", value, 1, 2) for name, value in state.items()}
    described = reader.value("", found, "model_data", dict)
    model = reader.value("model_data", described, "model", str, "SimpleRNN")
    if model == "SimpleRNN":
        part, channels = _rec_and_lin(reader, arrays, "", "model_data", described, "unit_type")
        count = reader.value("model_data", described, "skip", int, 1)
        _check_all_read(reader, arrays, [""])
        return [Part(part, min(count, channels))], channels
    if model != "RecNet":
        raise reader.unknown("model_data['model']", f"'SimpleRNN' or 'RecNet', got {model!r}")
    blocks, parts, first = reader.value("", found, "blocks", dict), [], None
    if reader.value("model_data", described, "skip", int, 0):
        raise reader.unknown("model_data['skip']", f"0, since blocks have their own, got {described['skip']}")
    prefixes = [f"layers.block_{index + 1}." for index in range(len(blocks))]
    for index, prefix in enumerate(prefixes):
        where = f"blocks['{index}']"
        block = reader.value("blocks", blocks, str(index), dict)
        part, channels = _rec_and_lin(reader, arrays, prefix, where, block, "block_type")
        units = part[-1][0].units
        skip = reader.value(where, block, "skip", int, 1)
        parts.append(Part(part, min(units, channels) if skip else 0))
        first = channels if first is None else first
    if not parts:
        raise reader.damaged("blocks", "at least one block, got none")
    _check_all_read(reader, arrays, prefixes)
    return parts, first


def _check_all_read(reader, arrays, prefixes):
    """Raise ConversionError if a state dict has a part in none of the blocks, whose names begin with one of `prefixes`."""
    read = tuple(f"{prefix}{name}." for prefix in prefixes for name in ("rec", "lin"))
    left = [name for name in arrays if not name.startswith(read)]
    if left:
        raise reader.unknown("state_dict", f"parts of rec and lin, got {left[0]!r} as well")


def _rec_and_lin(reader, arrays, prefix, where, described, kind):
    """([the recurrent layer, the Dense], channels) of the parts of a state dict that begin so."""
    found = []
    for name in ("rec", "lin"):
        own = {key: array for key, array in arrays.items() if key.startswith(f"{prefix}{name}.")}
        try:
            layer, p = torch.layer_of(own, f"{prefix}{name}")
        except ConversionError as error:
            raise reader.damaged(
                "state_dict", f"the parts of a recurrent layer rec and a linear one lin ({error})"
            ) from None
        except (ValueError, TypeError) as error:
            raise reader.damaged(f"state_dict {prefix}{name}", f"parts that fit together ({error})") from None
        found.append((layer, dict(p.items())))
    (layer, own), (head, _) = found
    channels = own["weight_ih_l0"].shape[1]
    if isinstance(layer, Dense) or not isinstance(head, Dense):
        raise reader.damaged("state_dict", f"a recurrent layer rec and a linear one lin, got {layer!r} and {head!r}")
    sizes = {"hidden_size": layer.hidden, "input_size": channels, "output_size": head.units, "num_layers": layer.layers}
    for key, size in {kind: type(layer).__name__, **sizes}.items():
        reader.expect(_place(where, key), described.get(key), size)
    return found, channels
