"""Where the tests keep compiled kernels: a folder named after the library's sources."""

import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path


def package_folder():
    """The folder of the package that `import numbarnn` would find; nothing is imported."""
    return Path(importlib.util.find_spec("numbarnn").origin).parent


def sources_hash(folder):
    """A short hash of every Python file under `folder`."""
    digest = hashlib.sha256(str(Path.home()).encode())
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def use():
    """Point Numba's cache at these sources' folder, unless NUMBA_CACHE_DIR is set; call before importing numba."""
    folder = Path(tempfile.gettempdir()) / f"numbarnn-kernels-{sources_hash(package_folder())}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(folder))
    return Path(os.environ["NUMBA_CACHE_DIR"])
