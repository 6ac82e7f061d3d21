"""Models of Keras whose layers are no row, as graphs: what each call of a layer reads is in their configuration."""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import ConversionError, renamed
from ..graph import Graph
from ..graphs.description import Input, Node
from ..layers.dense import Activation, Dense
from ..layers.last import Last
from ..layers.recurrent import Recurrent
from .keras_layers import layers_from

SUMS = ("Add", "Average", "Subtract")


@dataclass(frozen=True)
class Value:
    """What a call of a layer has given.

    Attributes
    ----------
    names : tuple of str
        Of inputs and nodes, side by side.
    node : str
        The node whose recurrent layer has reached a state that this is a part of, or empty.
    part : int
        Which part, as Keras orders them.
    repeated : bool
        Whether the same numbers stand at each step.
    last : bool
        Whether it is the last step of what a node gives.
    """

    names: tuple = ()
    node: str = ""
    part: int = 0
    repeated: bool = False
    last: bool = False


def graph_of(config, described):
    """The Graph of a functional model; config: its configuration, described: {name: Described}."""
    return _Reading(config, described).graph()


class _Reading:
    """A model that is read call by call, each after those whose outputs it reads."""

    def __init__(self, config, described):
        self.described, self.nodes, self.arrays, self.inputs = described, {}, {}, {}
        self.values, self.constants = {}, set()  # by (layer, call, output); arrays that are no weights of the model
        self.first, self.outputs = config["input_layers"], config["output_layers"]
        self.indices = {
            name
            for each in config["layers"]
            if each["class_name"] == "Embedding"
            for call in each["inbound_nodes"]
            for name, _, _ in _tensors(call["args"])
        }
        left = [(each["config"]["name"], at, call) for each in config["layers"] for at, call in _calls(each)]
        while left:
            ready = [entry for entry in left if all(source in self.values for source in _tensors(entry[2]))]
            if not ready:
                raise ConversionError(f"layer {left[0][0]!r}: expected inputs that other layers give, got {left[0][2]}")
            for name, at, call in ready:
                self._call(self.described[name], name, at, call)
            left = [entry for entry in left if not any(entry is each for each in ready)]

    def graph(self):
        """The Graph."""
        outputs = []
        for entry in self.outputs if isinstance(self.outputs[0], list) else [self.outputs]:
            name = self._single(self.values[tuple(entry)], entry[0])
            if name in self.inputs or name in outputs:
                name = self._add(f"{entry[0]}_output", Node(Activation("linear"), name))
            outputs.append(name)
        dtypes = {array.dtype.name for name, array in self.arrays.items() if name not in self.constants}
        if len(dtypes) != 1 or not dtypes <= {"float32", "float64"}:
            raise ConversionError(f"model: expected weights that are all float32 or all float64, got {sorted(dtypes)}")
        dtype = dtypes.pop()
        first = self.first if isinstance(self.first[0], list) else [self.first]
        inputs = {_plain(entry[0]): self.inputs[_plain(entry[0])] for entry in first}
        with renamed(nodes="model", inputs="model", outputs="model"):
            net = Graph(inputs, self.nodes, outputs, dtype, "ntc")
        net.params.update({name: array.astype(dtype) for name, array in self.arrays.items()})
        return net

    def _call(self, layer, name, at, call):
        """Read one call of a layer."""
        kind = layer.kind
        if kind == "InputLayer":
            self.inputs[_plain(name)] = self._input(layer, name)
            self.values[name, 0, 0] = Value((_plain(name),))
            return
        given = [self.values[source] for source in _tensors(call["args"])]
        others = {key: _tensors(value) for key, value in call.get("kwargs", {}).items() if _tensors(value)}
        start = [self.values[source] for source in others.pop("initial_state", [])]
        if len(given) > 1 and layer.kind in ("SimpleRNN", "GRU", "LSTM", "Bidirectional"):
            given, start = given[:1], given[1:]  # the state may be given beside the input
        if others:
            raise layer.error(f"no tensors but inputs and initial_state, got {', '.join(others)}")
        if kind == "Concatenate":
            self._expect_last_axis(layer, call)
            repeated = all(value.repeated for value in given)
            value = Value(tuple(n for each in given for n in self._names(layer, each)), repeated=repeated)
        elif kind in SUMS:
            value = self._sum(layer, name, at, call, given)
        elif kind == "RepeatVector":
            value = replace(Value(self._names(layer, given[0])), repeated=True)
        else:
            if len(given) != 1:
                raise layer.error(f"a layer that numbarnn has, of one input, got {len(given)}")
            (source,) = given
            self._layer(layer, name, at, source, start)
            return
        self.values[name, at, 0] = value

    def _input(self, layer, name):
        """The Input that an InputLayer is."""
        shape = layer.config.get("batch_shape") or layer.config.get("batch_input_shape") or ()
        if name in self.indices:
            return Input(None, len(shape) == 2)
        if len(shape) not in (2, 3) or shape[-1] is None:
            raise layer.error(f"(batch, channels) or (batch, steps, channels), with channels that are known, got {shape}")
        return Input(shape[-1], len(shape) == 3)

    def _add(self, wanted, node):
        """Add a node under a name that nothing else has."""
        name, count = _plain(wanted), 1
        while name in self.nodes or name in self.inputs:
            count += 1
            name = f"{_plain(wanted)}_{count}"
        self.nodes[name] = node
        return name

    def _names(self, layer, value):
        """What a node reads for a value; a state that is h stands for the last step."""
        if value.last:
            return (self._last(*value.names),)
        if not value.node:
            return value.names
        recurrent = self.nodes[value.node].layers[-1]
        if value.part or recurrent.directions == 2:
            raise layer.error(f"h of one direction as a value, or a whole state as initial_state, got part {value.part}")
        return (self._last(value.node),)

    def _last(self, node):
        """The node that is the last step of one of a recurrent layer."""
        name = f"{node}_last"
        if name not in self.nodes:
            self.nodes[name] = Node(Last(), node)
        return name

    def _single(self, value, wanted):
        """The name of a value as one of a node's, or of an input."""
        names = self._names(self.described[wanted], value)
        if value.repeated:
            raise self.described[wanted].error("something that has steps beside what is repeated at each step")
        return names[0] if len(names) == 1 else self._add(f"{wanted}_joined", Node(Activation("linear"), names))

    def _expect_last_axis(self, layer, call):
        rank = len(_shapes(call["args"])[0])
        if layer.config.get("axis", -1) not in (-1, rank - 1):
            raise layer.error(f"axis -1, got {layer.config['axis']}")

    def _sum(self, layer, name, at, call, given):
        """A sum, which is a Dense of values side by side, whose weight has ones."""
        widths = {shape[-1] for shape in _shapes(call["args"])}
        factors = {"Add": [1] * len(given), "Average": [1 / len(given)] * len(given), "Subtract": [1, -1]}[layer.kind]
        if len(widths) != 1 or None in widths:
            raise layer.error(f"inputs of as many channels, got {sorted(map(str, widths))}")
        units, names = widths.pop(), [n for each in given for n in self._names(layer, each)]
        node = self._add(name if not at else f"{name}_{at}", Node(Dense(units), names))
        parts = [factor * np.eye(units) for factor in factors]
        if len(names) != len(given):
            raise layer.error("inputs that are not joined before")
        own = {f"{node}.weight": np.hstack(parts).astype(np.float32), f"{node}.bias": np.zeros(units, np.float32)}
        self.arrays |= own
        self.constants |= own.keys()
        return Value((node,))

    def _layer(self, layer, name, at, source, start):
        """A layer that is one of this library's, or some in a row."""
        states = _returns_states(layer)
        rows = layers_from(_without_states(layer), False)
        if not rows:  # such as a Dropout of rate 0
            self.values[name, at, 0] = source
            return
        layers, arrays = zip(*rows)
        if source.repeated and (isinstance(layers[0], Recurrent) or layers[0].takes_steps):
            raise layer.error("something that has steps beside what is repeated at each step")
        split = states and len(layers) > 1
        reads, first = self._names(layer, source), layers[:1] if split else layers
        state = self._state(layer, name, layers[0], start) if start else None
        if at and _plain(name) in self.nodes:
            node = self._add(f"{name}_{at}", Node(_plain(name), reads, state))
        else:
            node = self._add(name, Node(first, reads, state))
            for place, own in enumerate(arrays):
                label = node if len(first) == 1 else f"{node}.{place}"
                self.arrays |= {f"{label}.{key}": array for key, array in own.items()}
        self.values[name, at, 0] = Value((node,), repeated=source.repeated, last=split)
        if states:
            for part in range(layers[0].directions * layers[0].cell.states):
                self.values[name, at, part + 1] = Value(node=node, part=part)

    def _state(self, layer, name, recurrent, start):
        """The name of what a recurrent layer starts from."""
        parts, nodes = recurrent.directions * recurrent.cell.states, {value.node for value in start}
        if len(start) != parts:
            raise layer.error(f"{parts} parts of an initial state, got {len(start)}")
        if nodes != {""}:
            (node,) = nodes if len(nodes) == 1 else ("",)
            if not node or [value.part for value in start] != list(range(parts)):
                raise layer.error("an initial state that is all of the state of one layer")
            return node
        order = [part for state in range(recurrent.cell.states) for part in range(state, parts, recurrent.cell.states)]
        names = [n for part in order for n in self._names(layer, start[part])]
        return names[0] if len(names) == 1 else self._add(f"{name}_start", Node(Activation("linear"), names))


def _calls(layer):
    """[(which call, what it reads)] of a layer's configuration."""
    calls = layer["inbound_nodes"]
    return list(enumerate(calls)) if calls else [(0, {"args": []})]


def _tensors(value):
    """[(layer, call, output)] of all tensors in a configuration."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return [tuple(value["config"]["keras_history"])]
        value = list(value.values())
    return [found for each in value for found in _tensors(each)] if isinstance(value, (list, tuple)) else []


def _shapes(value):
    """The shapes of all tensors in a configuration."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return [value["config"]["shape"]]
        value = list(value.values())
    return [found for each in value for found in _shapes(each)] if isinstance(value, (list, tuple)) else []


def _plain(name):
    return name.replace(".", "_")


def _returns_states(layer):
    """Whether a layer returns its states too."""
    return bool(layer.config.get("layer", {"config": layer.config})["config"].get("return_state"))


def _without_states(layer):
    """A layer without its return_state."""
    if not _returns_states(layer):
        return layer
    config = dict(layer.config)
    for key in ("layer", "backward_layer"):
        if config.get(key):
            config[key] = config[key] | {"config": config[key]["config"] | {"return_state": False}}
    if "layer" not in config:
        config["return_state"] = False
    return replace(layer, config=config)
