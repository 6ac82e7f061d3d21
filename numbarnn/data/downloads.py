"""Data files: a folder of them, checked against their checksums, and downloaded where they are not there."""

import contextlib
import hashlib
import os
import tempfile
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
    """

    name: str
    checksum: str
    url: str


def folder() -> Path:
    """The folder of data files: the environment's ``NUMBARNN_DATA``, else one in the user's cache."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser()
    caches = user_caches()
    if caches is None:
        raise DataNotFoundError(f"{VARIABLE}: expected the folder of data, got nothing, and there is no home")
    return caches / "numbarnn"


def checksum(path, kind):
    """``"kind:..."`` of a file."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"


def check(path, expected):
    """Raise ChecksumError unless the file has the checksum."""
    found = checksum(path, expected.partition(":")[0])
    if found != expected:
        raise ChecksumError(
            f"{path}: expected a file with the checksum {expected}, got {found}; it is left as it is: move it away to have"
            " it downloaded again"
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
        check(path, file.checksum)
        return path
    try:
        import pooch
    except ImportError:
        raise _not_found(file, path, "pooch, which downloads it, is not installed (numbarnn[datasets])") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as draft:  # the file appears whole or not at all
            pooch.get_logger().setLevel("WARNING")
            downloaded = pooch.retrieve(file.url, None, file.name, draft)
            found = checksum(downloaded, file.checksum.partition(":")[0])
            if found != file.checksum:
                raise ChecksumError(f"{file.url}: expected a file with the checksum {file.checksum}, got {found}; not kept")
            os.replace(downloaded, path)
    except (OSError, ValueError) as error:  # of requests, too
        if isinstance(error, ChecksumError):
            raise
        raise _not_found(file, path, f"downloading it failed: {type(error).__name__}: {error}") from error
    return path


def _not_found(file, path, why):
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
