"""The same layer in PyTorch: reference numbers for the vectors and for the live comparison."""

import numpy as np
import torch
from checks import as_tuple, like
from strategies import KINDS
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

SUPPORTED = tuple(kind for kind in KINDS if kind in ("rnn-tanh", "rnn-relu", "gru-after", "lstm", "lstm-projected"))


def twin(layer, parameters):
    """The layer in PyTorch, with the same parameters; PyTorch has none of the other options."""
    name = type(layer).__name__
    plain = {"clip": None, "peepholes": False, "coupled": False, "reset": "after", "gate_activation": "sigmoid"}
    plain |= {"output_activation": "tanh"} | ({} if name == "RNN" else {"activation": "tanh"})
    assert all(getattr(layer, option, value) == value for option, value in plain.items()), layer
    options = {"num_layers": layer.layers, "bidirectional": layer.bidirectional, "dtype": torch.float64}
    if parameters.dtype == np.float32:
        options["dtype"] = torch.float32
    if name == "RNN":
        options["nonlinearity"] = layer.activation
    if getattr(layer, "projection", None):
        options["proj_size"] = layer.projection
    channels = parameters["weight_ih_l0"].shape[1]
    module = getattr(torch.nn, name)(channels, layer.hidden, **options)
    with torch.no_grad():
        for key, value in parameters.items():
            getattr(module, key).copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return module


def results(case):
    """{name: array} of outputs, final state and the gradients of everything, PyTorch's names for the parameters'.

    A case may have `lengths` (N,).
    """
    module = twin(case.layer, case.parameters)
    x = torch.from_numpy(case.x.copy()).requires_grad_()
    state = tuple(torch.from_numpy(s.copy()).requires_grad_() for s in as_tuple(case.state))
    lengths = getattr(case, "lengths", None)
    if lengths is None:
        y, final = module(x, like(case.state, state))
    else:  # all of them 1 or more: PyTorch refuses 0
        packed = pack_padded_sequence(x, torch.as_tensor(np.asarray(lengths)), enforce_sorted=False)
        packed, final = module(packed, like(case.state, state))
        y, _ = pad_packed_sequence(packed, total_length=len(x))
    loss = (y * torch.from_numpy(case.dy)).sum()
    for value, derivative in zip(as_tuple(final), as_tuple(case.dstate), strict=True):
        loss = loss + (value * torch.from_numpy(derivative)).sum()
    loss.backward()
    found = {"y": y, "dx": x.grad}
    for letter, value, start in zip("hc", as_tuple(final), state, strict=False):
        found |= {letter: value, f"d{letter}": start.grad}
    found |= {f"d_{name}": value.grad for name, value in module.named_parameters()}
    return {name: value.detach().numpy() for name, value in found.items()}
