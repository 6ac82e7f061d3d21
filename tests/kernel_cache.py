"""Where the tests keep compiled kernels: one folder for all, since an entry is found by the contents of its sources."""

import getpass
import importlib.util
import os
import tempfile
from pathlib import Path


def package_folder():
    """The folder of the package that `import numbarnn` would find; nothing is imported."""
    return Path(importlib.util.find_spec("numbarnn").origin).parent


def use():
    """Point Numba's cache at the tests' folder, unless NUMBA_CACHE_DIR is set; call before importing numba."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"numbarnn-kernels-{getpass.getuser()}"))
    return Path(os.environ["NUMBA_CACHE_DIR"])
