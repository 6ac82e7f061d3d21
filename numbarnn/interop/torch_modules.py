"""PyTorch's modules as layers, and layers as modules.  Importing this imports PyTorch."""

import math

import numpy as np
import torch
from torch import nn

from ..errors import ConversionError, DTypeError, LayoutError, ShapeError
from ..layers.base import Layer
from ..layers.convolution import Conv2d
from ..layers.dense import Activation, Dense
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding
from ..layers.gru import GRU
from ..layers.images import Flatten, OfImages, pair_of
from ..layers.last import Last, LastStep
from ..layers.lstm import LSTM
from ..layers.over_time import Pool
from ..layers.pooling import AvgPool2d, MaxPool2d
from ..layers.recurrent import Recurrent
from ..layers.rnn import RNN
from ..network import Network
from .carried import carried_parameters, no_counterpart

FLOATS = {torch.float32: "float32", torch.float64: "float64"}
IDENTITY = "linear", "identity"
RECURRENT = {nn.RNN: "rnn", nn.GRU: "gru", nn.LSTM: "lstm"}


class Row(nn.Sequential):
    """Modules in a row, of which recurrent ones pass their outputs on, and not their states."""

    def forward(self, x):
        """The output of the last module."""
        for module in self:
            x = module(x)
            x = x[0] if isinstance(x, tuple) else x
        return x


class DenseModule(nn.Linear):
    """A Linear with an activation function after it: the `Dense` of a network."""

    def __init__(self, channels, units, activation):
        super().__init__(channels, units)
        self.activation = activation

    def forward(self, x):
        """``f(W x + b)``."""
        return self.activation(super().forward(x))


class OfSteps(nn.Module):
    """What makes one output, (N, C), of a sequence: `Last`, `LastStep` and `Pool`."""

    def __init__(self, layer, axis):
        super().__init__()
        self.layer, self.axis = layer, axis

    def forward(self, x):
        """From (T, N, C) or (N, T, C) to (N, C)."""
        if isinstance(self.layer, Pool):
            return x.mean(self.axis) if self.layer.kind == "mean" else x.amax(self.axis)
        if getattr(self.layer, "directions", None) != 2:
            return x.select(self.axis, -1)
        forward, backward = x.chunk(2, -1)
        return torch.cat([forward.select(self.axis, -1), backward.select(self.axis, 0)], -1)

    def extra_repr(self):
        """What the module shows of itself."""
        return repr(self.layer)


class OfRows:
    """A module of images whose input and output are rows of numbers, as layers have them."""

    image_shape = None

    def forward(self, x):
        """From rows (..., C) of images to rows of the images that come out."""
        return super().forward(x.reshape(-1, *self.image_shape)).reshape(*x.shape[:-1], -1)


class RowsConv2d(OfRows, nn.Conv2d):
    """`Conv2d` of rows."""


class RowsAvgPool2d(OfRows, nn.AvgPool2d):
    """`AvgPool2d` of rows."""


class RowsMaxPool2d(OfRows, nn.MaxPool2d):
    """`MaxPool2d` of rows."""


OF_ROWS = {Conv2d: RowsConv2d, AvgPool2d: RowsAvgPool2d, MaxPool2d: RowsMaxPool2d}


def _leaky(slope=0.01):
    return nn.LeakyReLU(slope)


def _hard_sigmoid(alpha=0.2, beta=0.5):
    return nn.Hardsigmoid() if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5 else None


ACTIVATIONS = {  # a name of `Activation`: a function of alpha and beta, which returns None for those that PyTorch has not
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": _leaky,
    "thresholded_relu": lambda alpha=1.0: nn.Threshold(alpha, 0.0),
    "hard_sigmoid": _hard_sigmoid,
    "elu": lambda alpha=1.0: nn.ELU(alpha),
    "softsign": nn.Softsign,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
    "linear": nn.Identity,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
SPECS = {  # a class of modules: a function of one that returns the activation, or None where there is none such
    nn.ReLU: lambda m: "relu",
    nn.Tanh: lambda m: "tanh",
    nn.Sigmoid: lambda m: "sigmoid",
    nn.LeakyReLU: lambda m: ("leaky_relu", m.negative_slope),
    nn.Threshold: lambda m: ("thresholded_relu", m.threshold) if m.value == 0 else None,
    nn.Hardsigmoid: lambda m: ("hard_sigmoid", 1 / 6, 0.5),
    nn.ELU: lambda m: ("elu", m.alpha),
    nn.Softsign: lambda m: "softsign",
    nn.Softplus: lambda m: "softplus" if m.beta == 1 and m.threshold >= 20 else None,  # from where on it is x in float32
    nn.Identity: lambda m: "identity",
    nn.GELU: lambda m: "gelu" if m.approximate == "none" else None,
    nn.SiLU: lambda m: "silu",
}


def activation_module(where, spec):
    """The module of an activation function."""
    name, *numbers = spec if isinstance(spec, tuple) else (spec,)
    make = ACTIVATIONS.get(name) if isinstance(name, str) else None
    module = make(*numbers) if make else None
    if module is None:
        raise ConversionError(f"{where}: expected an activation function that PyTorch has, got {spec!r}")
    return module


def module_of(net):
    """See `torch.to_module`; the layers are those that PyTorch has."""
    if net.layout not in ("tnc", "ntc"):
        raise LayoutError(
            f"net: expected a network of layout 'tnc' or 'ntc', as PyTorch's modules have it, got {net.layout!r}"
        )
    found = Row()
    for index, (layer, channels) in enumerate(zip(net.layers, net._inputs)):
        found.append(_module(f"layers[{index}]", layer, channels, net.layout))
    found.to(getattr(torch, net.dtype.name))
    params = carried_parameters(net)
    with torch.no_grad():
        for name, tensor in found.named_parameters():
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(params[name])))
    return found


def _module(where, layer, channels, layout):
    """The module of a layer, in PyTorch's dtype, with parameters of its own."""
    kind = type(layer)
    if isinstance(layer, Recurrent):
        options = {"num_layers": layer.layers, "bidirectional": layer.bidirectional, "dropout": layer.dropout}
        options["batch_first"] = layout == "ntc"
        if kind is RNN:
            options["nonlinearity"] = layer.activation
        if kind is LSTM:
            options["proj_size"] = layer.projection or 0
        return getattr(nn, kind.__name__)(channels, layer.hidden, **options)
    if kind is Dense:
        if layer.activation in IDENTITY:
            return nn.Linear(channels, layer.units)
        return DenseModule(channels, layer.units, activation_module(where, layer.activation))
    if kind is Activation:
        return activation_module(where, layer.name)
    if kind is Embedding:
        return nn.Embedding(layer.vocabulary, layer.size)
    if kind is Dropout:
        return nn.Dropout(layer.rate)
    if kind is Flatten:
        return nn.Identity()  # images are rows
    if kind in (Last, LastStep, Pool) and getattr(layer, "merge", "concat") == "concat":
        return OfSteps(layer, layout.index("t"))
    if isinstance(layer, OfImages) and kind in OF_ROWS:
        sizes = {"kernel_size": layer.kernel, "stride": layer.stride, "padding": layer.padding}
        if kind is Conv2d:
            sizes |= {"in_channels": layer.shape[0], "out_channels": layer.filters}
        module = OF_ROWS[kind](**sizes)
        module.image_shape = layer.shape
        return module
    raise no_counterpart(where, layer, "PyTorch")


def network_of(module, channels, layout):
    """See `torch.from_module`."""
    if isinstance(module, nn.Module):
        parts = list(_parts("module", module))
    elif isinstance(module, (list, tuple)):
        parts = [part for index, each in enumerate(module) for part in _parts(f"module[{index}]", each)]
    else:
        raise TypeError(f"module: expected a torch.nn.Module, or a list of them, got {type(module).__name__}")
    if not parts:
        raise ValueError("module: expected at least one part, got none")
    layers, arrays = [], {}
    shape = isinstance(channels, tuple)  # whether what comes is an image
    for index, (where, part) in enumerate(parts):
        layer = part if isinstance(part, Layer) else _layer(where, part, shape)
        shape = isinstance(layer, OfImages) or (shape and layer.channelwise and not isinstance(layer, Flatten))
        layers.append(layer)
        if isinstance(part, nn.Module):
            arrays |= {f"{index}.{name}": (f"{where}.{name}", tensor) for name, tensor in part.named_parameters()}
        elif layer.weights(1):
            raise ConversionError(f"{where}: expected a layer without parameters beside modules, got {layer!r}")
    modules = [part for _, part in parts if isinstance(part, nn.Module)]
    channels = _channels(modules) if channels is None else channels
    net = Network(layers, channels, _dtype(arrays), _layout(parts) if layout is None else layout)
    _copy_in(net, arrays)
    return net


def _parts(where, module):
    """(path, module or layer) of each part of a module; the parts of a Sequential come one by one."""
    if isinstance(module, Layer):
        yield where, module
        return
    if not isinstance(module, nn.Module):
        raise TypeError(f"{where}: expected a torch.nn.Module or a layer, got {type(module).__name__}")
    hooks = module._forward_hooks or module._forward_pre_hooks
    if hooks or "forward" in vars(module):
        raise ConversionError(f"{where}: expected a module without hooks and with its class's forward, got {_short(module)}")
    if isinstance(module, nn.Sequential) and type(module).forward in (nn.Sequential.forward, Row.forward):
        for name, child in module._modules.items():  # `named_children` leaves out a module that has been there before
            yield from _parts(f"{where}.{name}", child)
        return
    yield where, module


def _short(module):
    return repr(module) if next(module.children(), None) is None else type(module).__qualname__


def _layer(where, module, of_images):
    """The layer of a module without parts; of_images: whether the module before it gives images."""
    kind = type(module)
    if kind in RECURRENT:
        return _recurrent(where, module)
    if kind is nn.Linear:
        return Dense(module.out_features)
    if kind is DenseModule:
        return Dense(module.out_features, _layer(f"{where}.activation", module.activation, False).name)
    if kind in SPECS:
        spec = SPECS[kind](module)
        if spec is not None:
            return Activation(spec)
    if kind is nn.Embedding and module.max_norm is None:
        return Embedding(module.num_embeddings, module.embedding_dim)
    if kind is nn.Dropout and module.p < 1:
        return Dropout(module.p)
    if kind is OfSteps:
        layer = module.layer
        return Last() if isinstance(layer, Last) else layer  # told of directions by the network
    if kind is nn.Flatten and of_images and (module.start_dim, module.end_dim) == (1, -1):
        return Flatten()
    layer = _image_layer(module)
    if layer is not None:
        return layer
    if next(module.children(), None) is not None:
        raise ConversionError(
            f"{where}: expected an nn.Sequential or a module that numbarnn has as a layer, got {kind.__qualname__}, with a"
            " forward of its own; from_module([m.rnn, nr.Last(), m.head]) says in which order forward calls its parts"
        )
    raise ConversionError(f"{where}: expected a module that numbarnn has as a layer, got {module!r}")


def _recurrent(where, module):
    options = {"layers": module.num_layers, "bidirectional": module.bidirectional}
    if module.num_layers > 1:
        if module.dropout >= 1:
            raise ConversionError(f"{where}: expected dropout less than 1, got {module!r}")
        options["dropout"] = float(module.dropout)
    if type(module) is nn.RNN:
        return RNN(module.hidden_size, module.nonlinearity, **options)
    if type(module) is nn.GRU:
        return GRU(module.hidden_size, **options)
    return LSTM(module.hidden_size, projection=module.proj_size or None, **options)


def _image_layer(module):
    """The layer of images that a module is, or None."""
    shape, kind = getattr(module, "image_shape", None), type(module)
    if kind in (nn.Conv2d, RowsConv2d):
        plain = module.groups == 1 and set(pair_of(module.dilation)) == {1} and module.padding_mode == "zeros"
        if plain and not isinstance(module.padding, str):
            return Conv2d(module.out_channels, module.kernel_size, module.stride, module.padding, shape=shape)
    if kind in (nn.AvgPool2d, RowsAvgPool2d):
        if not module.ceil_mode and (module.count_include_pad or not any(pair_of(module.padding))):
            if module.divisor_override is None:
                return AvgPool2d(module.kernel_size, module.stride, module.padding, shape=shape)
    if kind in (nn.MaxPool2d, RowsMaxPool2d):
        if not module.ceil_mode and not module.return_indices and set(pair_of(module.dilation)) == {1}:
            return MaxPool2d(module.kernel_size, module.stride, module.padding, shape=shape)
    return None


def _channels(modules):
    """The channels of the input, where the first module that knows says so; None for an Embedding."""
    for module in modules:
        if isinstance(module, nn.Embedding):
            return None
        if isinstance(module, OfRows):
            return module.image_shape
        for name in ("input_size", "in_features"):
            if hasattr(module, name):
                return getattr(module, name)
        if isinstance(module, nn.Conv2d):
            return None
    return None


def _layout(parts):
    """The layout that recurrent modules have in common."""
    found = {"ntc" if m.batch_first else "tnc": where for where, m in parts if type(m) in RECURRENT}
    found |= {"tn"[m.axis] + "nt"[m.axis] + "c": where for where, m in parts if type(m) is OfSteps}
    if len(found) > 1:
        raise LayoutError(f"{found['ntc']}: expected batch_first as in {found['tnc']}, got the other one")
    return next(iter(found), "tnc")


def _dtype(arrays):
    """The dtype that the parameters have in common."""
    found = {}
    for name, tensor in arrays.values():
        found.setdefault(tensor.dtype, name)
    for name, tensor in arrays.values():
        if tensor.is_meta:
            raise ConversionError(f"{name}: expected a parameter with numbers, got one on the device 'meta'")
    other = [dtype for dtype in found if dtype not in FLOATS]
    if other:
        raise DTypeError(f"{found[other[0]]}: expected float32 or float64, got {other[0]}")
    if len(found) > 1:
        (first, _), (dtype, name) = list(found.items())[:2]
        raise DTypeError(f"{name}: expected {first} like the parameters before, got {dtype}")
    return FLOATS[next(iter(found), torch.float32)]


def _copy_in(net, arrays):
    """Copy tensors into the parameters of a new network; biases that are not there are zero."""
    for name in net.params.names:
        if name not in arrays:
            net.params[name][...] = 0
            continue
        where, tensor = arrays[name]
        found, view = tensor.detach().cpu().numpy(), net.params[name]
        if found.shape != view.shape:
            raise ShapeError(f"{where}: expected shape {view.shape}, as the parts before it have it, got {found.shape}")
        view[...] = found
