"""Keras' layers, by their class, configuration and weights, as layers; and layers as these.

Keras' LSTM has its gates i, f, c, o in this library's order; its GRU z, r, h, where this one has r, z, n.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import ConversionError
from ..layers.base import Layer
from ..layers.dense import Activation, Dense
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding
from ..layers.gru import GRU
from ..layers.images import Flatten, OfImages
from ..layers.last import Last
from ..layers.lstm import LSTM
from ..layers.over_time import Pool
from ..layers.recurrent import Recurrent
from ..layers.rnn import RNN
from .carried import carried_parameters, expect_carried, no_counterpart
from .keras_images import images_to, rows_in_keras, rows_in_order

SIXTH = ("hard_sigmoid", 1 / 6, 0.5)
ACTIVATIONS = {  # the same functions by Keras' names, of its version 3
    "linear": "linear", "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "hard_sigmoid": SIXTH, "elu": "elu",
    "softsign": "softsign", "softplus": "softplus", "gelu": "gelu", "silu": "silu", "swish": "silu",
}  # fmt: skip
THERE = {value: key for key, value in reversed(ACTIVATIONS.items())} | {"identity": "linear"}
MERGES = {"concat": "concat", "sum": "sum", "ave": "average", "mul": "product"}
RECURRENT = {"SimpleRNN": RNN, "GRU": GRU, "LSTM": LSTM}
POOLS = {"GlobalAveragePooling1D": "mean", "GlobalMaxPooling1D": "max"}
PLAIN = {"go_backwards": False, "return_state": False, "time_major": False, "seed": None}


@dataclass(frozen=True)
class Described:
    """A layer of Keras.

    Attributes
    ----------
    kind : str
        The name of its class.
    config : dict
    weights : list of numpy.ndarray
        In the order of ``get_weights``.
    images : tuple of three or None
        (channels, height, width) of the images whose numbers a Dense reads.
    """

    kind: str
    config: dict
    weights: list
    images: tuple | None = None

    def error(self, expected):
        """A ConversionError about the layer; expected: the end of the sentence."""
        return ConversionError(f"layer {self.config.get('name')!r} ({self.kind}): expected {expected}")

    def arrays(self, *counts):
        """The weights, if there are as many as one of the counts."""
        if len(self.weights) not in counts:
            raise self.error(f"{' or '.join(map(str, counts))} weights, got {len(self.weights)}")
        return self.weights


def activation_from(layer, name, plain="linear", key="activation"):
    """The activation function that a configuration names."""
    value = layer.config.get(key, plain)
    if isinstance(value, dict):
        value = value.get("config") if isinstance(value.get("config"), str) else value.get("class_name")
    if value not in ACTIVATIONS:
        raise layer.error(f"a function of {', '.join(ACTIVATIONS)}, got {key}={value!r}")
    return ACTIVATIONS[value]


def activation_after(described, old):
    """[(Activation, {})] of a layer of images that has one inside, [] of any other."""
    spec = _aged(activation_from(described, described.kind), old)
    return [] if spec == ACTIVATIONS["linear"] else [(Activation(spec), {})]


def layers_from(described, old):
    """[(Layer, {name: array}), ...] of one layer of Keras; old: whether of Keras 2, whose hard_sigmoid is another one."""
    kind, config = described.kind, described.config
    if kind == "InputLayer" or kind in ("Dropout", "SpatialDropout1D") and not config.get("rate"):
        return []
    if kind == "TimeDistributed":
        inner = config["layer"]
        found = Described(inner["class_name"], inner["config"], described.weights)
        if found.kind not in ("Dense", "Activation", "Dropout"):
            raise described.error(f"a Dense, Activation or Dropout inside, got {found.kind}")
        return layers_from(found, old)
    if kind in RECURRENT or kind == "Bidirectional":
        return _recurrent_from(described, old)
    if kind == "Dense":
        kernel, *bias = described.arrays(1, 2)
        bias = bias[0] if bias else np.zeros(kernel.shape[1], kernel.dtype)
        kernel = kernel if described.images is None else rows_in_order(kernel, described.images)
        spec = _aged(activation_from(described, kind), old)
        return [(Dense(kernel.shape[1], spec), {"weight": kernel.T, "bias": bias})]
    if kind == "Embedding":
        if config.get("mask_zero"):
            raise described.error("mask_zero=False; lengths= or a Ragged leaves padding out")
        (table,) = described.arrays(1)
        return [(Embedding(*table.shape), {"weight": table})]
    if kind == "Activation":
        return [(Activation(_aged(activation_from(described, kind), old)), {})]
    if kind == "Dropout":
        return [(Dropout(float(config["rate"])), {})]
    if kind in POOLS:
        if config.get("data_format", "channels_last") != "channels_last" or config.get("keepdims"):
            raise described.error("data_format='channels_last' and keepdims=False")
        return [(Pool(POOLS[kind]), {})]
    raise described.error("a layer that numbarnn has")


def _aged(spec, old):
    """The function, of Keras 2 where it was another one."""
    return "hard_sigmoid" if old and spec == SIXTH else spec


def _recurrent_from(described, old):
    """The recurrent layer, with Last where one step is returned."""
    config, inner, weights = described.config, described, [described.weights]
    options = {}
    if described.kind == "Bidirectional":
        made, back = config["layer"], config.get("backward_layer")
        if config.get("merge_mode") not in MERGES or made.get("class_name") not in RECURRENT:
            raise described.error(
                f"merge_mode of {', '.join(MERGES)} and an RNN, GRU or LSTM, got {config.get('merge_mode')!r}"
            )
        same = ("units", "activation", "recurrent_activation", "reset_after", "use_bias")
        if back and any(back["config"].get(key) != made["config"].get(key) for key in same):
            raise described.error("two directions that are alike")
        middle = len(described.weights) // 2
        weights = [described.weights[:middle], described.weights[middle:]]
        inner = Described(made["class_name"], made["config"], weights[0])
        options = {"bidirectional": True, "merge": MERGES[config["merge_mode"]]}
    kind, config = inner.kind, inner.config
    for key, value in PLAIN.items():
        if config.get(key, value) != value and key != "seed":
            raise described.error(f"{key}={value!r}, got {config[key]!r}")
    options["activation"] = _aged(activation_from(inner, kind, "tanh"), old)
    if kind != "SimpleRNN":
        options["gate_activation"] = _aged(activation_from(inner, kind, "sigmoid", "recurrent_activation"), old)
    if kind == "LSTM":
        options["output_activation"] = options["activation"]
    if kind == "GRU":
        options["reset"] = "after" if config.get("reset_after", True) else "before"
    options["input_dropout"] = float(config.get("dropout", 0))
    options["recurrent_dropout"] = float(config.get("recurrent_dropout", 0))
    arrays = {}
    for own, end in zip(weights, ("l0", "l0_reverse")):
        arrays |= _arrays_from(Described(kind, described.config, own), options.get("reset"), end)
    try:
        layer = RECURRENT[kind](config["units"], **options)
    except ValueError as error:
        raise described.error(f"options that numbarnn has together ({error})") from None
    return [(layer, arrays), *([] if config.get("return_sequences", False) else [(Last(), {})])]


def _arrays_from(described, reset, end):
    """{name: array} of one direction."""
    kernel, recurrent, *bias = described.arrays(2, 3)
    columns = kernel.shape[1]
    bias = bias[0] if bias else np.zeros(columns, kernel.dtype)
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    if both.shape != (2, columns) or (bias.ndim == 2) != (reset == "after") and len(described.weights) == 3:
        raise described.error(f"a bias of shape {(2, columns) if reset == 'after' else (columns,)}, got {bias.shape}")
    order = _swapped if described.kind == "GRU" else lambda array: array
    named = {"weight_ih": kernel.T, "weight_hh": recurrent.T, "bias_ih": both[0], "bias_hh": both[1]}
    return {f"{name}_{end}": order(array) for name, array in named.items()}


def _swapped(array):
    """The first two of three blocks of rows in the other order: r z n and z r h."""
    first, second, third = np.split(array, 3)
    return np.concatenate([second, first, third])


def described_of(net):
    """[Described, ...] of the layers of a network."""
    params, found, images, flat = carried_parameters(net), [], None, None
    for index, layer in enumerate(net.layers):
        where, kind = f"layers[{index}]", type(layer)
        if images is not None and kind not in (Activation, Dropout) and not isinstance(layer, OfImages):
            found.append(Described("Flatten", {}, []))
            images, flat = None, images
        own = {name.partition(".")[2]: array for name, array in params.items() if name.startswith(f"{index}.")}
        if kind in (RNN, GRU, LSTM):
            found += _recurrent_to(where, layer, own)
        elif isinstance(layer, OfImages) and net._stepwise and (images is not None or not index):
            found += images_to(where, layer, own, Described)
            images = layer.output_shape
        elif kind is Flatten:
            continue
        elif kind is Dense:
            kernel = own["weight"].T if flat is None else rows_in_keras(own["weight"].T, flat)
            config = {"units": layer.units, "activation": _named(where, layer.activation)}
            found.append(Described("Dense", config, [kernel.copy("C"), own["bias"].copy()], flat))
            flat = None
        elif kind is Embedding:
            config = {"input_dim": layer.vocabulary, "output_dim": layer.size}
            found.append(Described("Embedding", config, [own["weight"].copy("C")]))
        elif kind is Activation:
            found.append(Described("Activation", {"activation": _named(where, layer.name)}, []))
        elif kind is Dropout:
            found.append(Described("Dropout", {"rate": layer.rate}, []))
        elif kind is Pool:
            found.append(Described(next(key for key, each in POOLS.items() if each == layer.kind), {}, []))
        elif isinstance(layer, Last) and index and isinstance(net.layers[index - 1], Recurrent):
            config = found[-1].config
            (config["layer"]["config"] if "layer" in config else config)["return_sequences"] = False
        else:
            raise no_counterpart(where, layer, "Keras")
    if images is not None or flat is not None:
        raise ConversionError(
            f"layers[{index}]: expected a Dense after images, whose numbers Keras has in another order, got none"
        )
    return found


def _named(where, spec):
    """Keras' name of an activation function."""
    if spec not in THERE:
        raise ConversionError(f"{where}: expected an activation function that Keras has, got {spec!r}")
    return THERE[spec]


def _recurrent_to(where, layer: Layer, own):
    """The layers of Keras that a recurrent layer is, one for each stacked layer."""
    kind = next(name for name, each in RECURRENT.items() if each is type(layer))
    names = ["hidden", "layers", "bidirectional", "activation", "dropout", "input_dropout", "recurrent_dropout", "merge"]
    names += ["connectivity"]
    names += {"SimpleRNN": [], "GRU": ["reset", "gate_activation"], "LSTM": ["gate_activation"]}[kind]
    values = {"output_activation": (layer.activation,)} if kind == "LSTM" else {}
    expect_carried(where, layer, "Keras", *names, **values)
    config = {"units": layer.hidden, "activation": _named(where, layer.activation), "return_sequences": True}
    config |= {"dropout": layer.input_dropout, "recurrent_dropout": layer.recurrent_dropout}
    if kind != "SimpleRNN":
        config["recurrent_activation"] = _named(where, layer.gate_activation)
    if kind == "GRU":
        config["reset_after"] = layer.reset == "after"
    found = []
    for stacked in range(layer.layers):
        weights = [array for end in layer.suffixes(stacked) for array in _arrays_to(kind, config, own, end)]
        if layer.bidirectional:
            merge = next(key for key, value in MERGES.items() if value == layer.merge)
            inner = {"class_name": kind, "config": dict(config)}
            found.append(Described("Bidirectional", {"layer": inner, "merge_mode": merge}, weights))
        else:
            found.append(Described(kind, dict(config), weights))
        if layer.dropout and stacked < layer.layers - 1:
            found.append(Described("Dropout", {"rate": layer.dropout}, []))
    return found


def _arrays_to(kind, config, own, end):
    """Keras' weights of one direction; where it has one bias, the sum of two."""
    order = _swapped if kind == "GRU" else lambda array: array
    first, second = order(own[f"bias_ih_{end}"]), order(own[f"bias_hh_{end}"])
    bias = np.stack([first, second]) if config.get("reset_after") else first + second
    return [order(own[f"weight_ih_{end}"]).T.copy("C"), order(own[f"weight_hh_{end}"]).T.copy("C"), bias]
