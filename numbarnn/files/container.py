"""The file: arrays by name, and a description, in the safetensors format.

`safetensors` reads and writes it; looked at here, before and after, is what that leaves open: how much memory a header may
take, dtypes that NumPy does not have, shapes that it cannot make, and what the description says.
"""

import contextlib
import errno
import json
import math
import os
import stat

from ..errors import FileFormatError
from .drafts import write_whole

OWN = "a file that numbarnn has saved"
KEY = "numbarnn"  # in the metadata of the file: the description
VERSION = 1  # of the description; a file of a newer one is refused
DTYPES = {  # safetensors' name of each dtype that a file may hold
    "F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip
AXES = 32  # that every NumPy can make
HEADER = 1 << 20  # bytes of a header, at most, or a part of the file's: what is made of it takes some times as much
PART = 16


def write_file(path, arrays, description):
    """Write arrays and their description into one file, whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
    arrays : dict of str to numpy.ndarray
        In the host's memory, of any strides; floats of 16 to 64 bits, integers or bool.
    description : dict
        What JSON holds, without NaN and infinity.  Many numbers belong into arrays: with the names of all arrays it may take
        1 MiB, or a sixteenth of the file.

    Raises
    ------
    ImportError
        Without the package safetensors.
    OSError
        If the file cannot be written; an old one is then as it was.
    """
    path, library = checked_path(path), safetensors_library()
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES.values():
            raise TypeError(f"{name}: expected numbers that a file holds ({', '.join(DTYPES.values())}), got {array.dtype}")
    text = text_of(description)
    arrays = {name: array if array.flags.c_contiguous else array.copy("C") for name, array in arrays.items()}
    contents = library.numpy.save(arrays, metadata={KEY: text})
    header = int.from_bytes(contents[:8], "little")
    if header > _most(len(contents)):
        raise ValueError(f"description: expected at most {_most(len(contents)):,} bytes of text, got {header:,}")
    write_whole(path, contents)


def read_file(path):
    """(arrays, description) of a file that `write_file` has written; arrays by name, new.

    Nothing in the file is executed, and no more memory is taken than its size asks for.

    Raises
    ------
    ImportError
        Without the package safetensors.
    FileFormatError
        If it is no such file, was damaged, or is of a newer version.
    OSError
        If it cannot be read.
    """
    with opened(checked_path(path), OWN) as file:
        description = description_in(path, file.metadata() or {})
        return arrays_of(path, file), description


@contextlib.contextmanager
def opened(path, expected):
    """A safetensors file whose header is believable, opened; what is wrong with it, then and inside, a FileFormatError.

    expected : str
        What the error says was expected.
    """
    library = safetensors_library()
    _check_header(path, expected)
    try:
        with library.safe_open(path, framework="np") as file:
            yield file
    except (OSError, MemoryError, FileFormatError):
        raise
    except Exception as error:  # SafetensorError, and what NumPy says of what that has let pass
        raise FileFormatError(f"{path}: expected {expected}, got a damaged one ({error})") from None


def arrays_of(path, file):
    """{name: array} of an opened file, new."""
    return {name: _array(path, name, file) for name in file.keys()}  # noqa: SIM118 (no dict)


def checked_path(path, argument="path"):
    """`path` as text, if it names a file; else TypeError or ValueError that names the argument."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{argument}: expected a str or an os.PathLike, got {path!r} ({type(path).__name__})")
    if not os.fspath(path):
        raise ValueError(f"{argument}: expected the name of a file, got ''")
    return os.fspath(path)


def safetensors_library():
    """The package safetensors; ImportError, saying how to get it, if it is not there."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError("files: expected safetensors, which is not installed: pip install numbarnn[files]") from None
    return safetensors


def _most(size):
    """Bytes that the header of a file of this size may take."""
    return max(HEADER, size // PART)


def _check_header(path, expected):
    """Raise unless `path` is a file and its header, by its own account, is no longer than a header may be."""
    with open(path, "rb", opener=open_file) as file:
        size, start = os.fstat(file.fileno()).st_size, file.read(8)
    header = int.from_bytes(start, "little")
    if len(start) < 8 or header > size - 8:
        found = f"one that ends after {size:,} bytes" if len(start) == 8 else f"{size} bytes"
        raise FileFormatError(f"{path}: expected {expected}, got a truncated or foreign one, {found}")
    if header > _most(size):
        raise FileFormatError(
            f"{path}: expected {expected}, with a header of at most {_most(size):,} bytes, got one of {header:,}"
        )


def open_file(path, flags):
    """`os.open` of a file, and of nothing that would be waited for."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    if is_folder:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise FileFormatError(f"{path}: expected a file on a disk, got a device or a pipe")


def _array(path, name, file):
    """One array of an open file, if NumPy can make it."""
    part = file.get_slice(name)
    dtype, shape = part.get_dtype(), part.get_shape()
    if str(dtype) not in DTYPES or len(shape) > AXES or math.prod(max(1, length) for length in shape) >= 1 << 59:
        raise FileFormatError(f"{path}: {name}: expected an array that NumPy has, got {dtype} of shape {tuple(shape)}")
    array = file.get_tensor(name)
    return array if array.flags.writeable else array.copy()


def text_of(description):
    """What a file's metadata hold of a description."""
    return json.dumps({"version": VERSION, **description}, allow_nan=False, separators=(",", ":"))


def description_in(path, metadata):
    """The description in a file's metadata."""
    text = metadata.get(KEY)
    if text is None:
        raise FileFormatError(f"{path}: expected a file that numbarnn has saved, got one of another program")
    try:
        found = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: expected a description in JSON, got a damaged one ({error})") from None
    version = found.get("version") if isinstance(found, dict) else None
    if type(version) is not int or version < 1:
        raise FileFormatError(f"{path}: expected a description with a version, got {text[:80]!r}")
    if version > VERSION:
        raise FileFormatError(
            f"{path}: expected a file of version {VERSION} or older, got version {version}: a newer numbarnn has saved it"
        )
    return found


def _refused(constant):
    raise ValueError(f"{constant} is no JSON")
