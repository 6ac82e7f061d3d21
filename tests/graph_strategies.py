"""Graphs of every shape, generated: nodes that read one another in all ways there are, and inputs for them."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import numbarnn as nr

BATCH, STEPS = 3, {"a": 4, "b": 4, "k": 2}  # a and b may be joined, and k with neither


@dataclass
class GraphCase:
    """A graph, inputs and states for it, and the other arguments of its call."""

    net: nr.Graph
    inputs: dict
    options: dict
    state: dict


def _cell(random):
    hidden = int(random.integers(2, 4))
    return [
        lambda: nr.GRU(hidden),
        lambda: nr.LSTM(hidden),
        lambda: nr.RNN(hidden, layers=2),
        lambda: nr.GRU(hidden, bidirectional=True),
        lambda: nr.GRU(hidden, learned_state=True),
    ][random.integers(5)]()


class _Drawing:
    """Nodes that are added one after the other, each to what is there."""

    def __init__(self, random):
        self.random, self.nodes = random, {}
        self.channels = {"a": 2, "b": 1, "k": 2, "s": 3}  # of all values
        self.axis = {"a": "a", "b": "a", "k": "k", "s": None}  # which values can be joined
        self.cells = {}  # nodes of one recurrent layer

    def pick(self, names):
        return names[self.random.integers(len(names))]

    def reads(self, axis):
        """One value with steps along an axis, or several, and perhaps one without."""
        there = [name for name, own in self.axis.items() if own == axis]
        found = [self.pick(there) for _ in range(self.random.integers(1, 3))]
        rest = [name for name, own in self.axis.items() if own is None]
        if axis is not None and self.random.random() < 0.5:
            found.insert(int(self.random.integers(len(found) + 1)), self.pick(rest))
        return found

    def put(self, layers, reads, channels, axis, state=None):
        name = f"n{len(self.nodes)}"
        self.nodes[name] = nr.Node(layers, reads, state)
        self.channels[name], self.axis[name] = channels, axis
        return name

    def dense(self):
        axis = self.pick(["a", "k", None])
        row = [nr.Dense(2, "tanh")] if self.random.random() < 0.7 else [nr.Dropout(0.3), nr.Dense(2, "tanh")]
        self.put(row, self.reads(axis), 2, axis)

    def last(self):
        axis = self.pick(["a", "k"])
        joined = self.put(nr.Dense(2), self.reads(axis), 2, axis)
        two = any(cell.bidirectional for cell in self.cells.values())  # a Dense behind two directions mixes them
        self.put([self.pick([nr.LastStep() if two else nr.Last(), nr.Pool("mean")]), nr.Dense(3)], joined, 3, None)

    def recurrent(self):
        axis, layer, state = self.pick(["a", "k"]), _cell(self.random), None
        way = self.random.integers(3)
        if way == 1 and self.cells:
            state = self.pick(list(self.cells))
            layer = self.cells[state]
        elif way == 2:
            size = layer.layers * layer.directions * sum(layer.state_widths)
            state = self.put(nr.Dense(size, "tanh"), self.reads(None), size, None)
        name = self.put(layer, self.reads(axis), layer.output_channels(1), axis, state)
        self.cells[name] = layer

    def shared(self):
        owners = [name for name, node in self.nodes.items() if not isinstance(node.layers, str)]
        if owners:
            owner = self.pick(owners)
            node = self.nodes[owner]
            size = sum(self.channels[read] for read in node.reads)
            fit = [name for name in self.channels if self.channels[name] == size and self.axis[name] is not None]
            if fit and not any(layer.leaves_one for layer in node.layers):
                read = self.pick(fit)
                name = self.put(owner, read, self.channels[owner], self.axis[read])
                if owner in self.cells:
                    self.cells[name] = self.cells[owner]


def _graph(random):
    drawing = _Drawing(random)
    for _ in range(int(random.integers(2, 6))):
        drawing.pick([drawing.dense, drawing.last, drawing.recurrent, drawing.recurrent, drawing.shared])()
    if not drawing.nodes:
        drawing.recurrent()
    nodes = drawing.nodes
    needed = {name for node in nodes.values() for name in (*node.reads, node.state)}
    outputs = [name for name in nodes if name not in needed or random.random() < 0.3]
    inputs = {"a": 2, "b": nr.Input(1), "k": 2, "s": nr.Input(3, steps=False)}
    inputs = {name: each for name, each in inputs.items() if name in needed}
    layout = drawing.pick(["tnc", "ntc", "cnt"])
    return nr.Graph(inputs, nodes, outputs, dtype="float64", layout=layout, seed=int(random.integers(1000)))


def _inputs(net, random, kind):
    """(inputs, other arguments) of a call: padded, with lengths or where sequences start afresh, or Ragged."""
    arrays, lengths, reset = {}, {}, {}
    afresh = random.random((max(STEPS.values()), BATCH)) < 0.4
    for name, each in net.inputs.items():
        if not each.steps:
            letters = net.layout.replace("t", "")
            array = random.standard_normal((BATCH, each.channels))
            arrays[name] = array.transpose(["nc".index(letter) for letter in letters])
            continue
        steps = STEPS[name]
        own = np.array([steps, 1, steps - 1])
        array = random.standard_normal((steps, BATCH, each.channels))
        if kind == "ragged":
            arrays[name] = nr.Ragged.of([array[:length, n] for n, length in enumerate(own)])
            continue
        arrays[name] = array.transpose(["tnc".index(letter) for letter in net.layout])
        if kind == "lengths":
            lengths[name] = own
        if kind == "reset":
            reset[name] = afresh[:steps]  # the same in inputs that are joined
    return arrays, {name: each for name, each in (("lengths", lengths), ("reset", reset)) if each}


def graph_case(seed, kind):
    """A GraphCase that follows from a seed; kind: "plain", "lengths", "reset" or "ragged"."""
    random = np.random.default_rng(seed)
    net = _graph(random)
    net.params.flat[...] += 0.1 * random.standard_normal(len(net.params))  # no bias is zero
    inputs, options = _inputs(net, random, kind)
    if random.random() < 0.5:
        options["seed"] = 5
    state = {}
    for label, part in net._stateful.items():
        layer = part.layer
        if random.random() < 0.5:
            lead = layer.layers * layer.directions, BATCH
            arrays = tuple(random.standard_normal((*lead, width)) for width in layer.state_widths)
            state[label] = arrays if len(arrays) > 1 else arrays[0]
    return GraphCase(net, inputs, options, state)


@st.composite
def graph_cases(draw):
    """Generated graphs with their inputs."""
    return graph_case(draw(st.integers(0, 10**6)), draw(st.sampled_from(["plain", "lengths", "reset", "ragged"])))
