"""What was saved, as it was: networks, graphs, layers and parameters from files."""

import os
from collections.abc import Iterable

from .arrays.devices import backend
from .errors import DTypeError, ShapeError, flag
from .files.container import read_file
from .files.written import Reading
from .graph import Graph
from .layers.base import Layer
from .network import Network
from .parameters import Parameters


def load(
    path: str | os.PathLike,
    into: Network | Graph | Parameters | None = None,
    trusted: Iterable = (),
    device: str = "cpu",
    extra: bool = False,
) -> Network | Graph | Parameters | tuple:
    """What a file holds that ``save`` has written, to the bit as it was.

    No code in the file is executed: it holds numbers, and a description in the words of this library.

    Parameters
    ----------
    path : str or os.PathLike
    into : Network, Graph or Parameters, optional
        Copy the file's parameters into these (is modified), and return it; all parts must have the same names, shapes and
        dtype.  The file's layers are not looked at.
    trusted : sequence of class or function
        Your own that the file may name: cells, layers, functions.  Classes are called with the arguments that the file has
        for them.  A dict by import path, ``{"module:Name": Name}``, has those that have been renamed since.
    device : {"cpu", "cuda"}
        Where the parameters lie afterwards, wherever they were when they were saved.
    extra : bool
        Give the pair (network, dict) of a network, or a graph, and of what was saved with it by
        ``net.save(path, extra=...)``.

    Returns
    -------
    Network, Graph, Parameters, or (Layer, Parameters)
        What was saved; of a training its network.

    Raises
    ------
    FileFormatError
        For a file that is of another program, truncated, damaged, or of a newer version.
    TrustError
        For a class or function of your own that is not trusted; it says which.
    ShapeError, DTypeError
        For parameters that do not go into `into`; it says which.
    OSError
        If the file cannot be read.
    ImportError
        Without the package safetensors (``numbarnn[files]``).

    Examples
    --------
    >>> import numbarnn as nr, os, tempfile
    >>> layer = nr.LSTM(4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "layer.safetensors")
    ...     layer.save(path, layer.init(channels=2, seed=0))
    ...     layer, p = nr.load(path)
    ...     again = nr.load(path, into=layer.init(channels=2, seed=1))
    >>> layer, bool((p.flat == again.flat).all())
    (LSTM(hidden=4), True)
    """
    backend(device)
    if into is not None and not isinstance(into, (Network, Graph, Parameters)):
        raise TypeError(f"into: expected a Network, a Graph, Parameters or None, got {type(into).__name__}")
    extra = flag("extra", extra)
    if extra and into is not None:
        raise ValueError("extra: expected False beside into, got True")
    arrays, description = read_file(path)
    read = Reading(path, arrays, trusted)
    if into is not None:
        _copy_into(into if isinstance(into, Parameters) else into.params, Parameters._of_file(read, description))
        return into
    if "network" in description or "graph" in description:
        network = network_of(read, description, device)
        return (network, _extra_of(read, description)) if extra else network
    if extra:
        raise read.error("network", "a network beside which something was saved, got none")
    if "layer" not in description:
        return Parameters._of_file(read, description).to(device)
    params, layer = Parameters._of_file(read, description), read("layer", description["layer"])
    if not isinstance(layer, Layer):
        raise read.error("layer", f"a layer, got {layer!r:.200}")
    if not layer.has_parameters(params):
        raise read.error("parameters", f"the parameters of {layer!r}, got {params!r}")
    return layer, params.to(device)


def network_of(read, description, device):
    """The Network or the Graph of a file, on a device."""
    return (Graph if "graph" in description else Network)._of_file(read, description).to(device)


def _extra_of(read, description):
    """What was saved with a network, by name."""
    found = read("extra", description.get("extra", {}))
    if not isinstance(found, dict):
        raise read.error("extra", f"parts by name, got {found!r:.200}")
    return found


def _copy_into(own, found):
    """Copy parameters that were found in a file, if they have the same parts; else ShapeError, saying what differs."""
    there, here = ({w.name: w.shape for w in params.weights} for params in (found, own))
    differ = [f"{name}: {shape} there, {here[name]} here" for name, shape in there.items() if here.get(name, shape) != shape]
    differ += [f"{name} {shape}: there alone" for name, shape in there.items() if name not in here]
    differ += [f"{name} {shape}: here alone" for name, shape in here.items() if name not in there]
    if differ:
        raise ShapeError(f"into: expected the parts of the file; these differ: {'; '.join(differ)}")
    if found.dtype != own.dtype:
        raise DTypeError(f"into: expected {found.dtype} like the file, got {own.dtype}")
    own.check_writable("into")
    for name, view in found.items():
        own[name] = view
