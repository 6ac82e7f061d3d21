"""Recurrent layers that ONNX has no operator for, a Scan of their equations, and models of them."""

import json
from dataclasses import dataclass

import numpy as np
import onnx

import numbarnn as nr

LAYERS = {
    "projection": ("LSTM", {"projection": 2}),
    "projection, peepholes": ("LSTM", {"projection": 2, "peepholes": True, "bidirectional": True, "layers": 2}),
    "normalized LSTM": ("LSTM", {"normalized": True, "bidirectional": True}),
    "normalized GRU": ("GRU", {"normalized": True, "layers": 2}),
    "MGU": ("MGU", {"bidirectional": True, "clip": 0.5}),
    "IndRNN": ("IndRNN", {"layers": 2}),
    "LeakyRNN": ("LeakyRNN", {"rate": 0.3}),
    "LeakyRNN, of rates": ("LeakyRNN", {"rate": (0.1, 0.2, 0.3, 0.4), "form": "inside", "bidirectional": True}),
    "LeakyRNN, learned": ("LeakyRNN", {"rate": 0.5, "learned": True}),
    "residual": ("GRU", {"layers": 3, "residual": True}),
    "residual of two directions": ("LSTM", {"layers": 2, "residual": True, "bidirectional": True}),
    "residual and merged": ("RNN", {"layers": 2, "residual": True, "bidirectional": True, "merge": "sum"}),
    "gelu": ("RNN", {"activation": "gelu"}),
    "silu": ("GRU", {"activation": "silu", "reset": "before"}),
}


@dataclass(frozen=True)
class OwnCell(nr.Cell):
    """``h' = (1 - z) h + z tanh(W x + R (z h))`` for large sums, ``h / 2`` for small ones; ``z = s(W x + b)``."""

    gates = ("z", "n")
    slots, saved = 2, 0
    input_slots = input_gates = (0, 1)
    recurrent_slots = recurrent_gates = ()
    gated_slots = gated_gates = (1,)

    def gate(self, pre, state, per_unit):
        return pre, nr.elementary.sigmoid(pre[0]) * state[0]

    def forward(self, pre, state, per_unit):
        z = nr.elementary.sigmoid(pre[0])
        h = (1 - z) * state[0] + z * nr.elementary.tanh(pre[1])
        return (nr.elementary.where(abs(pre[1]) < 0.3, state[0] / 2, h),), ()


@dataclass(frozen=True, repr=False)
class OwnLayer(nr.Recurrent):
    hidden: int
    layers: int = 1
    bidirectional: bool = False

    @property
    def cell(self):
        return OwnCell()


def has_scan(model):
    return any(each.op_type == "Scan" for each in model.graph.node)


def nodes_of(graph):
    """All nodes, those inside others too."""
    for each in graph.node:
        yield each
        for attribute in each.attribute:
            if attribute.HasField("g"):
                yield from nodes_of(attribute.g)


def same(net, other):
    """Whether two networks or graphs have the same structure, and the same parameters to the bit."""
    attributes = ["layers", "channels"] if isinstance(net, nr.Network) else ["inputs", "nodes", "outputs"]
    return (
        type(net) is type(other)
        and all(getattr(net, name) == getattr(other, name) for name in ["layout", "dtype", "device", *attributes])
        and net.params.weights == other.params.weights
        and net.params.flat.tobytes() == other.params.flat.tobytes()
    )


def small():
    """A network of which three Scans are made, one with a connectivity, and its model."""
    connectivity = nr.Connectivity(np.tri(3))
    layers = [nr.LeakyRNN(3, rate=0.25, bidirectional=True), nr.Dropout(0.5), nr.GRU(3, connectivity=connectivity, clip=2.0)]
    net = nr.Network([*layers, nr.Last()], channels=2, seed=0)
    return net, nr.interop.onnx.to_model(net)


def description_of(model):
    return json.loads(model.metadata_props[0].value)


def with_description(model, description):
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    changed.metadata_props[0].value = description if isinstance(description, str) else json.dumps(description)
    return changed
