"""Data files: a folder of them, checked against their checksums, and downloaded where they are not there."""

import contextlib
import gzip
import hashlib
import os
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from ..engine.cache_folders import user_caches
from ..errors import ChecksumError, DataNotFoundError

VARIABLE = "NUMBARNN_DATA"


@dataclass(frozen=True)
class DataFile:
    """A file of data and where it comes from.

    Attributes
    ----------
    name : str
        In the folder of data.
    checksum : str
        ``"sha256:..."`` or ``"md5:..."``.
    url : str
    content : str, optional
        The checksum of what gzip has compressed: a file that is there may have been compressed by someone else.
    """

    name: str
    checksum: str
    url: str
    content: str | None = None

    def check(self, path):
        """Raise ChecksumError unless a file that is there is this one."""
        if self.content is None:
            check(path, self.checksum)
        else:
            _expect(path, self.content, digest(unpacked(path), self.content.partition(":")[0]), ", unpacked")


def folder() -> Path:
    """The folder of data files: the environment's ``NUMBARNN_DATA``, else one in the user's cache."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser()
    caches = user_caches()
    if caches is None:
        raise DataNotFoundError(f"{VARIABLE}: expected the folder of data, got nothing, and there is no home")
    return caches / "numbarnn"


def unpacked(path):
    """What gzip has compressed to a file; ChecksumError, saying why, if it cannot be had."""
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ChecksumError(f"{path}: expected a file that gzip can unpack; {error}") from error


def digest(content, kind):
    """``"kind:..."`` of some bytes."""
    return f"{kind}:{hashlib.new(kind, content, usedforsecurity=False).hexdigest()}"


def checksum(path, kind):
    """``"kind:..."`` of a file."""
    return digest(Path(path).read_bytes(), kind)


def check(path, expected):
    """Raise ChecksumError unless the file has the checksum."""
    _expect(path, expected, checksum(path, expected.partition(":")[0]))


def _expect(path, expected, found, when=""):
    """Raise ChecksumError unless a checksum is the one that is expected."""
    if found != expected:
        raise ChecksumError(
            f"{path}: expected a file with the checksum {expected}{when}, got {found}; it is left as it is: move it away to"
            " have it downloaded again"
        )


def fetch(file: DataFile) -> Path:
    """The path of a data file: one in `folder` if its checksum is right, else it is downloaded there by pooch.

    Raises
    ------
    ChecksumError
        For another file of that name, there or at its address; nothing is deleted, overwritten or half written.
    DataNotFoundError
        If it is not there and cannot be downloaded: no pooch, no network, no room.
    """
    path = folder() / file.name
    if path.is_file():
        file.check(path)
        return path
    try:
        import pooch
    except ImportError:
        raise _not_found(file, path, "pooch, which downloads it, is not installed (numbarnn[datasets])") from None
    try:
        pooch.get_logger().setLevel("WARNING")
        pooch.retrieve(file.url, file.checksum, path.name, path.parent)  # it appears whole or not at all
    except OSError as error:  # of requests, too
        raise _not_found(file, path, f"downloading it failed: {type(error).__name__}: {error}") from error
    except ValueError as error:
        raise ChecksumError(f"{file.url}: expected a file with the checksum {file.checksum}; {error}") from error
    return path


def _not_found(file, path, why):
    """The error for a file that is not on disk and cannot be downloaded; why: the reason, in words."""
    return DataNotFoundError(
        f"{file.name}: expected at {path}, not found there, and {why}. To get it, download {file.url} to that folder, or set"
        f" {VARIABLE} to a folder that has it"
    )


@contextlib.contextmanager
def written(path):
    """Write a file that appears whole or not at all: the context is a path to write to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as draft:
        target = Path(draft) / path.name
        yield target
        os.replace(target, path)
