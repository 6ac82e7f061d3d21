"""A network's files in C and Fortran, written into a folder."""

import os
from pathlib import Path

from ..arrays.conversion import numbers_like
from ..arrays.descriptor import checked_dtype
from ..files.container import checked_path
from ..files.drafts import write_whole
from .layers import add_layer
from .names import checked_name
from .source import Source
from .texts import texts


def export(net, folder, name="net", dtype=None):
    """Write the files of a network; see `Network.export_c`."""
    folder, name = Path(checked_path(folder, "folder")), checked_name(name)
    dtype = net.dtype if dtype is None else checked_dtype("dtype", dtype)
    written = {folder / f"{name}.{ending}": text for ending, text in texts_of(net, name, dtype).items()}
    os.makedirs(folder, exist_ok=True)
    for path, text in written.items():
        write_whole(path, text.encode("ascii"))
    return tuple(written)


def texts_of(net, name, dtype):
    """{ending: text} of the files of a network."""
    net = net.to("cpu")
    net.params.check_finite()
    source = Source(name, dtype)
    source.channels = net.channels
    for index, (layer, p) in enumerate(zip(net.layers, net.split(numbers_like("params", net.params.flat, dtype)))):
        add_layer(source, index, layer, p)
    about = f"{name}: {', '.join(map(repr, net.layers))}; {dtype.name}"
    vocabulary = net.layers[0].vocabulary if net.takes_indices else None
    return texts(source, about, net.channels, vocabulary)
