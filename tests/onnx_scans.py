"""Recurrent layers that ONNX has no operator for: a Scan of their equations."""

from dataclasses import dataclass

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
