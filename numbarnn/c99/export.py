"""A network's files in C and Fortran, written into a folder."""

import os
from pathlib import Path

from ..arrays.conversion import numbers_like
from ..arrays.descriptor import checked_dtype
from ..files.container import checked_path
from ..files.drafts import write_whole
from .names import checked_name
from .source import Source
from .texts import texts


def export(net, add, folder, name="net", dtype=None):
    """Write the files of a network or a graph, whose layers `add` adds to a Source; see `Network.export_c`."""
    folder, name = Path(checked_path(folder, "folder")), checked_name(name)
    dtype = net.dtype if dtype is None else checked_dtype("dtype", dtype)
    params, source = net.params.to("cpu"), Source(name, dtype)
    params.check_finite()
    own = net.split(numbers_like("params", params.flat, dtype))
    written = {folder / f"{name}.{ending}": text for ending, text in texts(source, *add(source, net, own)).items()}
    os.makedirs(folder, exist_ok=True)
    for path, text in written.items():
        write_whole(path, text.encode("ascii"))
    return tuple(written)
