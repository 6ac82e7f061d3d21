"""Writes exports.npz: models that both of PyTorch's exporters make, and what PyTorch computes, read by test_interop_onnx.py.

The newer exporter takes the package onnxscript.  What it writes about the source of each node is left out.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

HERE = Path(__file__).parent


class LastOfOutputs(nn.Module):
    """The last step of the outputs, as most write it."""

    def __init__(self, kind):
        super().__init__()
        self.rnn, self.head = kind(3, 4, num_layers=2, bidirectional=True, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        y, _ = self.rnn(x)
        return self.head(y[:, -1])


class FinalStates(nn.Module):
    """The final states of both directions, of indices."""

    def __init__(self):
        super().__init__()
        self.table, self.rnn, self.head = nn.Embedding(10, 3), nn.LSTM(3, 4, bidirectional=True), nn.Linear(8, 2)

    def forward(self, x):
        _, (h, _) = self.rnn(self.table(x))
        return nn.functional.gelu(self.head(torch.cat([h[-2], h[-1]], 1)))


class WithState(nn.Module):
    """States in and out."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(3, 4, num_layers=2), nn.Linear(4, 2)

    def forward(self, x, h):
        y, h = self.rnn(x, h)
        return self.head(y), h


BATCHES, STEPS = {0: "n", 1: "t"}, {0: "t", 1: "n"}
CASES = {  # a module, its arguments and their axes of any length
    "lstm": (lambda: LastOfOutputs(nn.LSTM), lambda: [torch.randn(2, 5, 3)], [BATCHES]),
    "gru": (lambda: LastOfOutputs(nn.GRU), lambda: [torch.randn(2, 5, 3)], [BATCHES]),
    "indices": (FinalStates, lambda: [torch.randint(0, 10, (5, 2))], [STEPS]),
    "state": (WithState, lambda: [torch.randn(5, 2, 3), torch.randn(2, 2, 4)], [STEPS, {1: "n"}]),
}


def exported(module, arguments, axes, dynamo):
    """The bytes of the model of a module."""
    names = ["x", "h"][: len(arguments)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        if dynamo:
            options = {"dynamic_shapes": tuple(axes), "external_data": False, "verbose": False}
        else:
            options = {"dynamic_axes": dict(zip(names, axes)), "opset_version": 17}
        torch.onnx.export(module, tuple(arguments), path, dynamo=dynamo, input_names=names, **options)
        model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
    for each in model.graph.node:
        each.ClearField("doc_string")
    return model.SerializeToString()


def main():
    """Write the file."""
    torch.manual_seed(0)
    found = {}
    for name, (make, arguments, axes) in CASES.items():
        module, given = make().eval(), arguments()
        results = module(*given)
        results = results if isinstance(results, tuple) else (results,)
        arrays = {"x": given[0], "y": results[0]} | ({"h": given[1], "final": results[1]} if len(given) > 1 else {})
        for exporter in ("script", "dynamo"):
            try:
                contents = exported(module, given, axes, exporter == "dynamo")
            except Exception as error:  # it fails on some modules
                print(f"{name} {exporter}: {type(error).__name__}", file=sys.stderr)
                continue
            found[f"{name}.{exporter}"] = np.frombuffer(contents, np.uint8)
            found |= {f"{name}.{exporter}.{key}": value.detach().numpy() for key, value in arrays.items()}
    np.savez_compressed(HERE / "exports.npz", **found)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
