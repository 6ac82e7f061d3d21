"""PyTorch: modules and state dicts to networks, and back.

Parameters have PyTorch's names, shapes and orders of gates (r, z, n of a GRU; i, f, g, o of an LSTM), so that numbers are
copied, never computed.  PyTorch itself is needed for modules and ``.pt`` files alone.
"""

import io
import os
import re
from collections.abc import Iterable

import numpy as np

from ..descriptions import keywords
from ..errors import ConversionError, ShapeError, known_name, several
from ..files.arrays import write_arrays
from ..files.container import checked_path
from ..files.drafts import write_whole
from ..layers.base import Layer
from ..layers.convolution import Conv2d
from ..layers.dense import Dense
from ..layers.embedding import Embedding
from ..layers.gru import GRU
from ..layers.images import OfImages
from ..layers.lstm import LSTM
from ..layers.recurrent import Recurrent
from ..layers.rnn import RNN
from ..network import Network
from ..parameters import Parameters
from .carried import carried_parameters, expect_carried, expect_unconstrained, no_counterpart
from .torch_states import needs_torch, read, text

ANY = (
    "hidden",
    "layers",
    "bidirectional",
    "dropout",
    "connectivity",
)  # what PyTorch's recurrent modules carry
BIAS = re.compile(r"bias(_[ih]h_l\d+(_reverse)?)?$")


def from_module(module: object, channels: int | tuple[int, int, int] | None = None, layout: str | None = None) -> Network:
    """The Network that a PyTorch module is, with a copy of its parameters.

    RNN, GRU and LSTM become layers, and so do Linear, Embedding, Conv2d, MaxPool2d, AvgPool2d, Flatten, Dropout and the
    activation functions that `Activation` lists; of a recurrent module in a Sequential the outputs are passed on.  Biases of
    a module with ``bias=False`` are zero.  The network predicts what the module does.  What only its training knows stays
    behind: parameters that two modules share become two copies, and those without ``requires_grad`` and the row of
    ``padding_idx`` are trained as the others.

    Parameters
    ----------
    module : torch.nn.Module or sequence of them
        A module of one of these kinds, or an ``nn.Sequential``.  Of a class with a ``forward`` of its own, its parts in the
        order in which forward calls them, with layers of numbarnn where forward does something else:
        ``[m.rnn, nr.Last(), m.head]``.  It is not modified.
    channels : int or tuple of three, optional
        Channels C of the input; of images (channels, height, width).  It may be left out where the first module says so.
    layout : str, optional
        The order of the axes, as in `Network`.  By default ``"ntc"`` for recurrent modules with ``batch_first=True``, else
        ``"tnc"``.

    Returns
    -------
    Network
        Of the module's dtype, float32 or float64.

    Raises
    ------
    ConversionError
        For a module, or an option of one, that has no counterpart; it names the module by its path.
    DTypeError
        If the parameters are not all float32, or all float64.
    ShapeError
        If modules do not fit onto one another.
    ImportError
        Without PyTorch.

    Examples
    --------
    ::

        gru, head = torch.nn.GRU(3, 8, batch_first=True), torch.nn.Linear(8, 2)
        net = nr.interop.torch.from_module([gru, nr.Last(), head])
        # Network([GRU(hidden=8), Last(), Dense(units=2)], channels=3, dtype='float32', layout='ntc')
    """
    return needs_torch().network_of(module, channels, layout)


def to_module(net: Network) -> object:
    """The PyTorch module that a network is, with a copy of its parameters.

    A ``torch.nn.Sequential``: module ``k`` is layer k, so that its state dict has the names of ``net.params``.  Its input
    and output are what the network reads and predicts, images as rows of numbers.  It returns outputs, no states, and is in
    training mode, as a new module is.  Of a `Connectivity` it has the recurrent weights that follow from it: training the
    module keeps neither its mask nor its signs.

    Parameters
    ----------
    net : Network
        Its layout is ``"tnc"`` or ``"ntc"``.

    Returns
    -------
    torch.nn.Sequential

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that PyTorch does not have; it names the layer.
    ImportError
        Without PyTorch.

    Examples
    --------
    ::

        net = nr.Network([nr.LSTM(4), nr.Last(), nr.Dense(1)], channels=2)
        module = nr.interop.torch.to_module(net)
        module(torch.from_numpy(x))  # what net.predict(x) gives
    """
    _check_layers(net)
    return needs_torch().module_of(net)


def load(net: Network, source: object, modules: Iterable[str] | None = None) -> Network:
    """Copy the parameters of a state dict into a network; returns the network.

    Parameters
    ----------
    net : Network
        Its parameters are overwritten (modified), or after an error as they were.
    source : dict, str or os.PathLike
        A state dict or a file of one; see `read`.
    modules : sequence of str, optional
        What the state dict calls the module of each layer that has parameters, in the order of the layers, as in
        ``["encoder.rnn", "head"]``; other modules' parts are left aside.  By default a module is called as its layer is,
        by its number, and each part of the state dict must have its place.

    Returns
    -------
    Network
        `net` itself.

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that PyTorch does not have, and for a `Connectivity` with a mask, signs or density,
        which would be applied to the weights once more.
    ShapeError
        If a part is missing, has no place, or has another shape; it is named.  Only biases may be missing, all of a module
        with ``bias=False``: they become 0.
    DTypeError
        If a part has another dtype than the network.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=2, seed=0)
    >>> state = nr.interop.torch.state_dict(net, ["rnn", "head"])
    >>> sorted(state)[:2]
    ['head.bias', 'head.weight']
    >>> other = nr.Network(net.layers, channels=2, seed=1)
    >>> nr.interop.torch.load(other, state, ["rnn", "head"]) is other
    True
    >>> np.array_equal(other.params.flat, net.params.flat)
    True
    """
    _check_layers(net)
    expect_unconstrained(net, "PyTorch")
    arrays, names = read(source), _names(net, modules)
    biased = {_module(there) for here, there in names.items() if BIAS.search(here) and there in arrays}
    found = {}
    for here, there in names.items():
        if there in arrays:
            found[here] = arrays[there]
        elif BIAS.search(here) and _module(there) not in biased:
            found[here] = np.zeros(net.params[here].shape, net.dtype)
        else:
            raise ShapeError(f"source: expected {there!r} of shape {net.params[here].shape}, got {_listed(arrays)}")
    left = sorted(set(arrays) - set(names.values())) if modules is None else []
    if left:
        raise ShapeError(f"source: expected {_listed(names.values())}, got also {_listed(left)}")
    net.params.update(found)
    return net


def _module(name):
    """The module of a part of a state dict."""
    return name.rpartition(".")[0]


def _listed(names):
    names = sorted(names)
    return ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"


def state_dict(net: Network, modules: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The parameters of a network as a state dict of PyTorch: copies, by name.

    Recurrent weights are those that the cells see, with the mask and the signs of a `Connectivity` applied.

    Parameters
    ----------
    net : Network
    modules : sequence of str, optional
        What the module of each layer with parameters is called, as in `load`; by default the layer's number.

    Returns
    -------
    dict of str to numpy.ndarray
        Contiguous; ``module.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()})`` reads it.

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that PyTorch does not have.
    """
    _check_layers(net)
    params = carried_parameters(net)
    return {there: params[here].copy("C") for here, there in _names(net, modules).items()}


def save(net: Network, path: str | os.PathLike, modules: Iterable[str] | None = None) -> None:
    """Write the parameters of a network into a file as a state dict of PyTorch.

    Parameters
    ----------
    net : Network
    path : str or os.PathLike
        A file ``.safetensors``, ``.npz``, or ``.pt`` and ``.pth``, which PyTorch writes; written whole or not at all, an old
        file is replaced.
    modules : sequence of str, optional
        As in `state_dict`.

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that PyTorch does not have.
    OSError
        If the file cannot be written; an old one is then as it was.
    """
    state = state_dict(net, modules)
    if isinstance(path, (str, os.PathLike)) and os.path.splitext(path)[1] in (".pt", ".pth"):
        needs_torch()
        import torch

        stream = io.BytesIO()
        torch.save({name: torch.from_numpy(array) for name, array in state.items()}, stream)
        write_whole(checked_path(path), stream.getvalue())
    else:
        write_arrays(path, state)


def _names(net, modules):
    """{name in the network: name in the state dict}."""
    indices = [index for index, own in enumerate(net.split(net.params.flat)) if own.names]
    called = [str(index) for index in indices]
    if modules is not None:
        called = [text("modules", name) for name in several("modules", modules, "the name of each module, in a list")]
        if len(called) != len(indices):
            raise ValueError(
                f"modules: expected {len(indices)} names, one for each layer that has parameters, got {len(called)}"
            )
        if len(set(called)) < len(called):
            raise ValueError(f"modules: expected names of their own, got {called!r}")
    prefix = dict(zip(map(str, indices), called))
    found = {}
    for name in net.params.names:
        index, _, part = name.partition(".")
        found[name] = f"{prefix[index]}.{part}" if prefix[index] else part
    return found


def layer_of(source: object, module: str = "", activation: str = "tanh") -> tuple[Layer, Parameters]:
    """The layer of a module in a state dict, told from the names and shapes of its parts, and its parameters.

    Parameters
    ----------
    source : dict, str or os.PathLike
        A state dict or a file of one; see `read`.
    module : str
        What the module is called in it; ``""`` for a state dict of one module alone.
    activation : {"tanh", "relu"}
        Of an RNN, about which a state dict says nothing.

    Returns
    -------
    layer : RNN, GRU, LSTM, or Dense
        A matrix named ``weight`` makes a Dense.
    p : Parameters
        Copies.

    Raises
    ------
    ConversionError
        If its parts belong to no such module.
    TypeError, DTypeError
        If they are not all float32, or all float64.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> state = {"rnn.weight_ih_l0": np.ones((8, 3)), "rnn.weight_hh_l0": np.ones((8, 2))}
    >>> nr.interop.torch.layer_of(state, "rnn")
    (LSTM(hidden=2), Parameters(56 float64: weight_ih_l0 8x3, weight_hh_l0 8x2, bias_ih_l0 8, bias_hh_l0 8))
    """
    known_name("activation", activation, ("tanh", "relu"))
    prefix = f"{module}." if text("module", module) else ""
    arrays = {name[len(prefix) :]: array for name, array in read(source).items() if name.startswith(prefix)}
    shapes = {name: array.shape for name, array in arrays.items()}
    layer, channels = _layer_of_shapes(module, shapes, activation)
    dtype = next(iter(arrays.values())).dtype
    p = layer.init(channels, seed=0, dtype=dtype.name)
    p.flat.fill(0)
    missing = [name for name in p.names if name not in arrays and not name.startswith("bias")]
    left = sorted(set(arrays) - set(p.names))
    if missing or left:
        raise ConversionError(
            f"module {module!r}: expected the parts of {layer!r}, {_listed(p.names)}, got {_listed(shapes)}"
        )
    p.update(arrays)
    return layer, p


def _layer_of_shapes(module, shapes, activation):
    """(layer, channels) that parts of these shapes belong to."""
    if set(shapes) - {"bias"} == {"weight"} and len(shapes["weight"]) == 2:
        units, channels = shapes["weight"]
        return Dense(units), channels
    first = shapes.get("weight_ih_l0", ()), shapes.get("weight_hh_l0", ())
    if [len(shape) for shape in first] == [2, 2] and min(map(min, first)) > 0:
        (rows, channels), (_, width) = first
        projection = width if "weight_hr_l0" in shapes else None
        hidden = shapes["weight_hr_l0"][-1] if projection else width
        gates = rows // hidden if hidden and rows % hidden == 0 else 0
        layers = sum(re.fullmatch(r"weight_ih_l\d+", name) is not None for name in shapes)
        options = {"layers": layers, "bidirectional": "weight_ih_l0_reverse" in shapes}
        if gates == 4:
            return LSTM(hidden, projection=projection, **options), channels
        if projection is None and gates in (1, 3):
            return (RNN(hidden, activation, **options) if gates == 1 else GRU(hidden, **options)), channels
    raise ConversionError(
        f"module {module!r}: expected weight_ih_l0 and weight_hh_l0 of an RNN, GRU or LSTM, or a matrix weight, got "
        + (", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())[:8]) or "none")
    )


def _check_layers(net):
    """Raise unless `net` is a network whose layers PyTorch has."""
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a Network, got {type(net).__name__}")
    for index, layer in enumerate(net.layers):
        where, kind = f"layers[{index}]", type(layer)
        if kind is RNN:
            expect_carried(where, layer, "PyTorch", *ANY, activation=("tanh", "relu"))
        elif kind is GRU:
            expect_carried(where, layer, "PyTorch", *ANY)
        elif kind is LSTM:
            expect_carried(where, layer, "PyTorch", *ANY, "projection")
        elif isinstance(layer, Recurrent) or (layer.weights(net._inputs[index]) and kind not in (Dense, Embedding, Conv2d)):
            raise no_counterpart(where, layer, "PyTorch")
        elif isinstance(layer, OfImages):
            layer.check_shape()


keywords.guard(globals(), ("from_module", "layer_of", "load", "read", "save", "state_dict", "to_module"))
