"""Models of guitar amplifiers and effects: the JSON files of RTNeural, GuitarML and NAM, LSTM and GRU, as networks."""

import json
import os

import numpy as np

from ..arrays.descriptor import checked_dtype
from ..arrays.devices import expect_finite
from ..descriptions import keywords
from ..errors import ConversionError, flag
from ..files.container import checked_path
from ..files.drafts import write_whole
from ..graph import Graph
from ..graphs.description import Node
from ..layers.dense import Dense
from ..layers.dropout import Dropout
from ..network import Network
from .audio_files import ACTIVATIONS, RTNEURAL, read_parts
from .keras_layers import described_of


def load(path: str | os.PathLike, dtype: str = "float32", extra: bool = False) -> Network | Graph:
    """The network that a file of RTNeural, GuitarML or NAM holds, with its parameters; what it is of is seen from the file.

    One value of the signal is one step: x is (T, N, C), N signals of T values side by side, or (T, C), a single one; C is 1,
    and more where a model has knobs.  RTNeural's layers are dense, gru, lstm and activation.  GuitarML's are a recurrent
    layer and a linear one, also of the blocks of a RecNet.  NAM's are stacked LSTM, with the state they start from, and a
    linear head.

    Parameters
    ----------
    path : str or os.PathLike
        ``.json``, or ``.nam``.
    dtype : {"float32", "float64"}
        Of the parameters; the files have decimal numbers.
    extra : bool
        Return what else the file says as well: a sample rate, who made it, how it was trained.

    Returns
    -------
    Network or Graph
        A Graph where the model adds its input to its output, GuitarML's ``skip``: with the input ``"x"`` and the output
        ``"y"``.  The 1 by which it multiplies is a parameter, see `Graph` on frozen ones.
    dict
        With ``extra``.

    Raises
    ------
    ConversionError
        For a layer or an option that has no counterpart, such as NAM's WaveNet; it names the place.
    FileFormatError
        If it is no such file, was truncated or damaged; nothing in it is executed.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr, os, tempfile
    >>> net = nr.Network([nr.GRU(8), nr.Dense(1)], channels=1, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nr.interop.audio.save(net, os.path.join(folder, "amplifier.json"))
    ...     loaded = nr.interop.audio.load(os.path.join(folder, "amplifier.json"))
    >>> loaded.layers == net.layers, np.array_equal(loaded.params.flat, net.params.flat)
    (True, True)
    """
    dtype, extra = checked_dtype("dtype", dtype), flag("extra", extra)
    parts, channels, besides = read_parts(path, dtype)
    make = _graph if any(part.skip for part in parts) else _network
    net = make(parts, channels, dtype.name)
    return (net, besides) if extra else net


def _network(parts, channels, dtype):
    """The Network of parts that add nothing."""
    layers, arrays = zip(*(each for part in parts for each in part.layers))
    net = Network(layers, channels, dtype)
    net.params.update({f"{k}.{name}": array for k, own in enumerate(arrays) for name, array in own.items()})
    return net


def _graph(parts, channels, dtype):
    """The Graph of parts that add what they read: a Dense that reads both does it, with weights of 1."""
    nodes, update, reads, first = {}, {}, "x", channels
    for index, part in enumerate(parts):
        name, layers, units = "y" if index == len(parts) - 1 else f"sum{index}", part.layers, part.width(channels)
        if part.skip:
            layers, head = _before_the_sum(layers, units, dtype)
            added = np.zeros((units, channels), dtype)
            added[range(units), range(units) if part.skip == units else 0] = 1
            weight = np.concatenate([head["weight"], added], axis=1)
            nodes[f"part{index}"] = Node([layer for layer, _ in layers], reads)
            nodes[name] = Node(Dense(units), [f"part{index}", reads])
            update |= _named(f"part{index}", layers) | {f"{name}.weight": weight, f"{name}.bias": head["bias"]}
        else:
            nodes[name] = Node([layer for layer, _ in layers], reads)
            update |= _named(name, layers)
        reads, channels = name, units
    graph = Graph({"x": first}, nodes, ["y"], dtype=dtype)
    graph.params.update(update)
    return graph


def _before_the_sum(layers, units, dtype):
    """(layers, {name: array} of the linear Dense that comes after them): the last one, or one that changes nothing."""
    last, arrays = layers[-1]
    if isinstance(last, Dense) and last.activation == "linear" and len(layers) > 1:
        return layers[:-1], arrays
    return layers, {"weight": np.eye(units, dtype=dtype), "bias": np.zeros(units, dtype)}


def _named(node, layers):
    """{name in a graph: array} of the parameters of a node's layers."""
    if len(layers) == 1:
        return {f"{node}.{name}": array for name, array in layers[0][1].items()}
    return {f"{node}.{k}.{name}": array for k, (_, own) in enumerate(layers) for name, array in own.items()}


def save(net: Network, path: str | os.PathLike) -> None:
    """Write a network into a JSON file that RTNeural reads.

    Parameters
    ----------
    net : Network
        Of `GRU` and `LSTM` in one direction with tanh and sigmoid, `Dense` and `Activation`; a `Dropout`, which changes no
        prediction, is left out.  Where an LSTM has two biases the file has their sum, rounded.
    path : str or os.PathLike
        Written whole or not at all; an old file is replaced.

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that RTNeural does not have, it names the layer; if there is no layer.
    NonFiniteError
        For a NaN or an infinity, which JSON does not have.
    OSError
        If the file cannot be written; an old one is then as it was.
    """
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a Network, got {type(net).__name__}")
    with np.errstate(over="ignore"):  # of sums of biases, which are looked at
        described = described_of(net)
    rows = [
        _to_rtneural(f"layer {k} of the file", each) for k, each in enumerate(described) if each.kind != Dropout.__name__
    ]
    if not rows:
        raise ConversionError(f"net: expected a layer that the file has, got {net!r}")
    shape = [None, None]
    width, layers = net.channels, []
    for kind, activation, units, weights in rows:
        width = width if units is None else units
        layers.append({"type": kind, "activation": activation, "shape": [*shape, width], "weights": weights})
    contents = json.dumps({"in_shape": [*shape, net.channels], "layers": layers}, indent=1)
    write_whole(checked_path(path), contents.encode())


def _to_rtneural(where, each):
    """(type, activation, units or None, lists of weights) of a layer in Keras' words."""
    config = each.config
    types = {keras: kind for kind, keras in reversed(RTNEURAL.items())}
    activation = config.get("activation", "").replace("linear", "")
    if each.kind not in types:
        raise ConversionError(f"{where}: expected a layer of {', '.join(types)}, got one of Keras' {each.kind}")
    fixed = {"return_sequences": True, "reset_after": True, "recurrent_activation": "sigmoid"}
    recurrent = each.kind in ("GRU", "LSTM")
    fixed |= {"activation": "tanh", "recurrent_dropout": 0} if recurrent else {}
    for key, value in fixed.items():
        if config.get(key, value) != value:
            raise ConversionError(f"{where}: expected {key}={value!r}, as RTNeural's {each.kind} has, got {config[key]!r}")
    if activation not in ("", *ACTIVATIONS):
        raise ConversionError(f"{where}: expected one of {', '.join(ACTIVATIONS)}, got activation={activation!r}")
    for array in each.weights:
        expect_finite(where, array, "finite parameters and sums of biases")
    return types[each.kind], activation, config.get("units"), [array.astype(np.float64).tolist() for array in each.weights]


keywords.guard(globals(), ("load", "save"))
