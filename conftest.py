"""Modules of other libraries are collected, for their examples, where these are installed."""

from importlib.util import find_spec

LIBRARIES = {
    "numbarnn/interop/aeon.py": "aeon",
    "numbarnn/interop/sktime.py": "sktime",
    "numbarnn/interop/torch_modules.py": "torch",
}
collect_ignore = [path for path, library in LIBRARIES.items() if find_spec(library) is None]
