"""Arrays by name in the files of other programs: safetensors, and NumPy's npz.  Nothing in a file is executed."""

import io
import math
import os
import zipfile
import zlib

import numpy as np

from ..errors import FileFormatError
from .container import arrays_of, checked_path, open_file, opened, safetensors_library
from .drafts import write_whole

ENDINGS = (".safetensors", ".npz")
DAMAGED = (  # what zipfile and NumPy raise of a damaged archive in memory
    zipfile.BadZipFile, zlib.error, ArithmeticError, EOFError, LookupError, NotImplementedError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError,
)  # fmt: skip


def _ending(argument, path):
    """The ending of a path, which says what kind of file it is."""
    ending = os.path.splitext(path)[1]
    if ending not in ENDINGS:
        raise ValueError(f"{argument}: expected a file that ends in {' or '.join(ENDINGS)}, got {path!r}")
    return ending


def read_arrays(path, argument="path"):
    """{name: array} of a file, new; errors call the path `argument`.

    No more memory is taken than the size of the file allows for.

    Raises
    ------
    FileFormatError
        If the file is not what its ending says, or was damaged.
    OSError
        If it cannot be read.
    ImportError
        For a safetensors file without the package safetensors.
    """
    path = checked_path(path, argument)
    if _ending(argument, path) == ".safetensors":
        with opened(path, "a safetensors file") as file:
            return arrays_of(path, file)
    with open(path, "rb", opener=open_file) as file:
        contents = file.read()
    try:
        with zipfile.ZipFile(io.BytesIO(contents)) as archive:
            return {info.filename.removesuffix(".npy"): _member(archive, info) for info in archive.infolist()}
    except DAMAGED as error:
        raise FileFormatError(f"{path}: expected an npz file of NumPy, got a damaged or foreign one ({error})") from None


def _member(archive, info):
    """One array of an npz file, whose header is compared with the bytes that there are."""
    with archive.open(info) as member:
        contents = member.read(info.file_size)  # deflate makes at most a thousand bytes of one
    stream = io.BytesIO(contents)
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read_header is None:
        raise ValueError(f"{info.filename} is of version {version}")
    shape, fortran, dtype = read_header(stream)
    rest = len(contents) - stream.tell()
    if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize != rest:
        raise ValueError(f"{info.filename}: {dtype} of shape {shape} in {rest} bytes")
    array = np.frombuffer(contents, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), order="C")


def write_arrays(path, arrays):
    """Write arrays into a file whose ending says its kind, whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written; an old file is then as it was.
    ImportError
        For a safetensors file without the package safetensors.
    """
    path = checked_path(path)
    if _ending("path", path) == ".safetensors":
        write_whole(path, safetensors_library().numpy.save(arrays))
        return
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    write_whole(path, stream.getvalue())
