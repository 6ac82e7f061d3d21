"""Keras: models, files and lists of weights to networks, and back.

Files are read by h5py alone; Keras itself is needed for models in memory.
"""

import os
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..descriptions import keywords
from ..errors import ConversionError, ShapeError, several
from ..graph import Graph
from ..layers.embedding import Embedding
from ..layers.images import Flatten, OfImages
from ..network import Network
from .carried import expect_unconstrained
from .keras_files import is_row, layers_of, read_model
from .keras_graphs import graph_of
from .keras_images import KINDS, Images
from .keras_layers import Described, activation_after, described_of, layers_from


def load(path: str | os.PathLike) -> Network | Graph:
    """The Network or Graph that a file of Keras holds, ``.keras`` or ``.h5``, with its parameters to the bit, without Keras.

    Its layers are SimpleRNN, GRU and LSTM, Bidirectional, Dense, Embedding, Activation, Dropout, TimeDistributed
    of these, GlobalAveragePooling1D and GlobalMaxPooling1D; Conv2D, pooling of images, ZeroPadding2D and Flatten.  Where
    Keras has one bias it is ``bias_ih``, and ``bias_hh`` is 0.  Images are rows with the channels first:
    ``images.transpose(0, 3, 1, 2).reshape(len(images), -1)`` of those that Keras takes.

    Layers in a row become a Network.  A functional model of Keras 3 that is no row becomes a Graph: several inputs and
    outputs, Concatenate, Add, Subtract and Average, layers that are called several times, RepeatVector beside what has
    steps, and ``initial_state`` from ``return_state=True`` of another layer or from what others compute.  Inputs and nodes
    have the names of the layers.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    Network or Graph
        Of layout ``"ntc"``, as Keras has its arrays.

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that has no counterpart; it names the layer.
    FileFormatError
        If it is no such file, was truncated or damaged; nothing in it is executed.  But HDF5's own library, written in C,
        reads it, and some damage ends the process there: read what you do not trust in a process of its own.
    OSError
        If the file cannot be read.
    ImportError
        Without the package h5py (``numbarnn[keras]``).
    """
    return _found(*read_model(path))


def from_model(model: object) -> Network | Graph:
    """The Network or Graph that a model of Keras 3 is, with a copy of its parameters; see `load` for the layers.

    Parameters
    ----------
    model : keras.Sequential or keras.Model

    Returns
    -------
    Network or Graph
        Of layout ``"ntc"``.

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that has no counterpart; it names the layer.
    """
    if not (hasattr(model, "get_config") and hasattr(model, "layers")):
        raise TypeError(f"model: expected a model of Keras, got {type(model).__name__}")
    config = {"class_name": type(model).__name__, "config": model.get_config()}
    weights = {layer.name: [np.asarray(array) for array in layer.get_weights()] for layer in model.layers}
    described = [Described(kind, own, weights.get(name, [])) for kind, own, name in layers_of(config)]
    return _found(config, described, False)


def to_model(net: Network) -> object:
    """The ``keras.Sequential`` that a network is, with a copy of its parameters, in the backend that Keras has.

    Stacked layers become one layer each.  Where Keras has one bias it is the sum of both, rounded.

    Parameters
    ----------
    net : Network
        Of layout ``"ntc"``.

    Returns
    -------
    keras.Sequential

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that Keras does not have; it names the layer.
    ImportError
        Without Keras.
    """
    described = _described(net)
    if net.layout != "ntc":
        raise ConversionError(f"net: expected layout 'ntc', as Keras has it, got {net.layout!r}")
    try:
        import keras
    except ImportError:
        raise ImportError("keras: expected Keras, which is not installed: pip install keras") from None
    shape = (None,) if net.takes_indices else (net.channels,) if net._stepwise else (None, net.channels)
    if isinstance(net.layers[0], OfImages):
        channels, height, width = net.layers[0].shape
        shape = height, width, channels
    layers = [keras.layers.Input(shape, dtype="int32" if net.takes_indices else net.dtype.name)]
    for each in described:
        config = dict(each.config)
        if "layer" in config:
            inner = config["layer"]
            config["layer"] = getattr(keras.layers, inner["class_name"])(**inner["config"], dtype=net.dtype.name)
        layers.append(getattr(keras.layers, each.kind)(**config, dtype=net.dtype.name))
    model = keras.Sequential(layers)
    model.set_weights([array for each in described for array in each.weights])
    return model


def weights(net: Network) -> list[np.ndarray]:
    """The parameters of a network as the list that ``model.set_weights`` of Keras takes.

    Where Keras has one bias it is the sum of both, rounded.  Recurrent weights are those that the cells see, with the mask
    and the signs of a `Connectivity` applied.

    Parameters
    ----------
    net : Network

    Returns
    -------
    list of numpy.ndarray
        Copies, in the order of the layers.

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that Keras does not have; it names the layer.

    Examples
    --------
    >>> import numbarnn as nr
    >>> net = nr.Network([nr.LSTM(4), nr.Last(), nr.Dense(1)], channels=2, layout="ntc", seed=0)
    >>> [array.shape for array in nr.interop.keras.weights(net)]
    [(2, 16), (4, 16), (16,), (4, 1), (1,)]
    """
    return [array for each in _described(net) for array in each.weights]


def set_weights(net: Network, arrays: Iterable[np.ndarray]) -> Network:
    """Copy a list of weights, as ``model.get_weights()`` of Keras has it, into a network; returns the network.

    Parameters
    ----------
    net : Network
        Its parameters are overwritten (modified), or after an error as they were.
    arrays : sequence of numpy.ndarray

    Returns
    -------
    Network
        `net` itself.

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that Keras does not have, and for a `Connectivity` with a mask, signs or density,
        which would be applied to the weights once more; it names the layer.
    ShapeError, DTypeError
        If there are more or fewer arrays, or one has another shape or dtype.

    Examples
    --------
    >>> import numpy as np, numbarnn as nr
    >>> net = nr.Network([nr.GRU(4), nr.Dense(1)], channels=2, layout="ntc", seed=0)
    >>> other = nr.Network(net.layers, channels=2, layout="ntc", seed=1)
    >>> other = nr.interop.keras.set_weights(other, nr.interop.keras.weights(net))
    >>> np.array_equal(net.params.flat, other.params.flat)
    True
    """
    described = _described(net)
    expect_unconstrained(net, "Keras")
    arrays = list(several("arrays", arrays, "an array for each weight, in a list"))
    shapes = [array.shape for each in described for array in each.weights]
    for index, array in enumerate(arrays):
        if not isinstance(array, np.ndarray):
            raise TypeError(f"arrays[{index}]: expected a numpy.ndarray, got {type(array).__name__}")
    if [array.shape for array in arrays] != shapes:
        raise ShapeError(f"arrays: expected shapes {shapes}, got {[array.shape for array in arrays]}")
    rest = iter(arrays)
    filled = [replace(each, weights=[next(rest) for _ in each.weights]) for each in described]
    found = [own for each in filled for _, own in _layers_with_weights(each) if own]
    names = [[name for name in net.params.names if name.startswith(f"{k}.")] for k in range(len(net.layers))]
    rest = iter(found)
    update = {}
    for layer, own in zip(net.layers, names):
        for stacked in range(getattr(layer, "layers", 1) if own else 0):
            part = {name.replace("_l0", f"_l{stacked}"): array for name, array in next(rest).items()}
            update |= {f"{own[0].partition('.')[0]}.{name}": array for name, array in part.items()}
    net.params.update(update)
    return net


def _layers_with_weights(described):
    """[(Layer, {name: array})] of a layer of Keras that has been made of a network's; without what has no parameters."""
    if described.kind == "Conv2D":
        weight, bias = described.weights
        return [(None, {"weight": weight.transpose(3, 2, 0, 1), "bias": bias})]
    return layers_from(described, False) if described.weights else []


def _described(net):
    """The layers of a network in Keras' words."""
    if not isinstance(net, Network):
        raise TypeError(f"net: expected a Network, got {type(net).__name__}")
    return described_of(net)


def _found(config, described, old):
    """The Network or Graph of a configuration and its layers."""
    if is_row(config):
        return _network_of(described, old)
    layers = {each.config["name"]: each for each in described}
    try:
        return graph_of(config["config"], layers)
    except ConversionError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConversionError(f"model: expected a configuration as Keras 3 has it ({error})") from error


def _network_of(described, old):
    """The Network of layers of Keras."""
    found, images, shape = [], Images(), None
    for each in described:
        try:
            shape = shape or images.begin(each)
            if each.kind in KINDS:
                found += [*images.layer(each), *activation_after(each, old)]
            elif each.kind == "Flatten" and images.shape is not None:
                images.flatten(each)
                found.append((Flatten(), {}))
            else:
                found += layers_from(images.expect_rows(each), old)
        except ConversionError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise each.error(f"a configuration and weights as Keras has them ({error})") from None
    if not found:
        raise ConversionError("model: expected at least one layer, got none")
    layers, arrays = zip(*found)
    if images.shape is not None or images.flat is not None:
        raise ConversionError("model: expected a Dense after images, whose numbers Keras has in another order, got none")
    channels = shape
    if shape is None and not isinstance(layers[0], Embedding):
        first = next((own for own in arrays if own), None)
        if first is None:
            raise ConversionError("model: expected at least one layer with weights, got none")
        channels = first.get("weight", first.get("weight_ih_l0")).shape[1]
    dtypes = {array.dtype.name for own in arrays for array in own.values()}
    if len(dtypes) != 1 or not dtypes <= {"float32", "float64"}:
        raise ConversionError(f"model: expected weights that are all float32 or all float64, got {sorted(dtypes)}")
    net = Network(layers, channels, dtypes.pop(), "ntc")
    net.params.update({f"{index}.{name}": array for index, own in enumerate(arrays) for name, array in own.items()})
    return net


keywords.guard(globals(), ("from_model", "load", "set_weights", "to_model", "weights"))
