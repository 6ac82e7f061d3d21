"""ONNX: networks written as models, and models read as networks.  The package onnx is imported when it is needed."""

import os
from collections.abc import Iterable

from ...descriptions import keywords
from ...errors import ConversionError, flag, integer
from ...files.container import checked_path
from ...files.drafts import write_whole
from ...files.written import checked_trusted
from ...graph import Graph
from ...network import Network
from .backend import Backend
from .described import described as _described
from .described import of_description as _of_description
from .files import model_of as _model_of
from .files import onnx_library as _onnx_library
from .loading import load_model as _load_model
from .writing import OPSETS
from .writing import model_of as _written


def to_model(net: Network | Graph, lengths: bool = False, opset: int = 17) -> object:
    """The ONNX model that a network or graph is, with its parameters.

    The graph reads ``x``, laid out like the network's input, of any number of steps and sequences, and gives ``y``.  For
    each recurrent layer, number k of the network, it may be given ``k.initial_h``, of an LSTM ``k.initial_c`` too, which are
    zeros or the learned state by default, and gives ``k.final_h`` and ``k.final_c``, all (L * D, N, H).  Networks without
    recurrent layers and `Last` read rows (N, C).  The model is of the network's dtype.

    The model of a `Graph` calls inputs and outputs what the graph calls them, and states by the names of its nodes,
    ``encoder.initial_h``; layers that start from others have no initial states as inputs.

    ONNX's own RNN, GRU and LSTM stand for the layers that they can say.  Any other recurrent layer is a Scan over the steps,
    with the cell's equations inside: projections, normalization, zoneout (its mean), `MGU`, `IndRNN`, `LeakyRNN`,
    `GRUD`, decays of the state, connectivity, other activation functions and cells of your own.  onnxruntime runs it.  Such
    a model holds a description of the network beside its nodes, from which `load` makes the same network again.

    Parameters
    ----------
    net : Network or Graph
    lengths : bool
        Whether the model reads ``lengths`` too, (N,) int32: the steps of each sequence; of a graph for each input with
        steps, ``past.lengths``.
    opset : int
        The version of ONNX's operators, 14 to 22.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that ONNX does not have; it names the layer.
    ImportError
        Without the package onnx (``numbarnn[onnx]``).
    """
    if not isinstance(net, (Network, Graph)):
        raise TypeError(f"net: expected a Network or a Graph, got {type(net).__name__}")
    lengths = flag("lengths", lengths)
    opset = integer("opset", opset, f"an opset of ONNX from {OPSETS[0]} to {OPSETS[-1]}")
    if opset not in OPSETS:
        raise ConversionError(f"opset: expected one of ONNX's from {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    _onnx_library()
    return _described(_written(net, lengths, int(opset)), net, lengths, int(opset))


def save(net: Network | Graph, path: str | os.PathLike, lengths: bool = False, opset: int = 17) -> None:
    """Write a network or graph into a file as an ONNX model; see `to_model`.

    Parameters
    ----------
    net : Network or Graph
    path : str or os.PathLike
        Written whole or not at all; an old file is replaced.
    lengths : bool
        Whether the model reads ``lengths`` too.
    opset : int
        The version of ONNX's operators, 14 to 22.

    Raises
    ------
    ConversionError
        For a layer, or an option of one, that ONNX does not have; it names the layer.
    OSError
        If the file cannot be written; an old one is then as it was.
    ImportError
        Without the package onnx (``numbarnn[onnx]``).

    Examples
    --------
    >>> import numbarnn as nr, os, tempfile
    >>> net = nr.Network([nr.GRU(4), nr.Last(), nr.Dense(1)], channels=2, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.onnx")
    ...     nr.interop.onnx.save(net, path)
    ...     again = nr.interop.onnx.load(path)
    >>> again
    Network([GRU(hidden=4), Last(), Dense(units=1)], channels=2, dtype='float32', layout='tnc')
    >>> bool((again.params.flat == net.params.flat).all())
    True
    """
    path, model = checked_path(path), to_model(net, lengths, opset)
    write_whole(path, model.SerializeToString())


def load(model: object, output: str | None = None, trusted: Iterable = ()) -> Network | Graph:
    """The Network or Graph that an ONNX model is, with its parameters to the bit.

    Its nodes are RNN, GRU and LSTM, MatMul, Add and Gemm, activation functions, Gather of a table, Dropout, Conv, pooling,
    and what stands between them without computing anything: Transpose, Reshape, Squeeze, Unsqueeze, Slice, Split, Concat,
    Gather, Flatten, Cast, Identity.  States are no outputs of a network: a call of it has them anyway.  Equal recurrent
    layers one after the other become one of stacked layers, with ``residual=True`` where each adds what it reads.  A layer
    in reverse becomes one of two directions, whose forward one is 0, merged by their sum.

    Layers in a row become a Network, anything else a Graph, with the names that the model has for its inputs and outputs:
    several inputs and outputs, values side by side, an input repeated at each step, layers that start from the state of
    another or from numbers that others compute.  Layers with equal parameters share them.  The sum or difference of two
    values, some channels, numbers for each channel and BatchNormalization become a `Dense` with these constants.

    A model with a Scan is the network of the description that `save` has put into it, if the model is the one that `save`
    writes of this network: every node and every number is compared.  The names of values inside it may differ.

    Parameters
    ----------
    model : str, os.PathLike, bytes or onnx.ModelProto
        Of opset 7 to 24.
    output : str, optional
        The only value that is wanted, such as what a Softmax reads; by default all outputs that are no states.  The nodes
        are then read without a description.
    trusted : sequence of class or function
        Your own that a description may name, as in `numbarnn.load`.

    Returns
    -------
    Network or Graph
        Its layout is the order of the axes of the inputs.

    Raises
    ------
    ConversionError
        For a node, or an attribute of one, that has no counterpart; it names the node.  For a model that differs from its
        description; it names where.
    FileFormatError
        If it is no model, was truncated or damaged.
    TrustError
        For a description that names a class or function of your own that is not trusted; it says which.
    OSError
        If the file cannot be read.
    ImportError
        Without the package onnx (``numbarnn[onnx]``).
    """
    if output is not None and not isinstance(output, str):
        raise TypeError(f"output: expected the name of a value or None, got {output!r} ({type(output).__name__})")
    trusted = checked_trusted(trusted)
    model, where = _model_of(model)
    found = None if output else _of_description(model, where, trusted)
    return _load_model(model, where, output) if found is None else found


keywords.guard(globals(), ("load", "save", "to_model"))

__all__ = ["Backend", "load", "save", "to_model"]
