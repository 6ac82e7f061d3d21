"""Python begins with this in programs of `run.py`, and in those that they start: their CuPy is the emulator's."""

import importlib.abc
import importlib.util
import sys
from pathlib import Path


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        """Where CuPy comes from."""
        return importlib.util.spec_from_loader(name, self) if name == "cupy" else None

    def create_module(self, spec):
        """Start the emulator: numbarnn asks for CuPy before it does anything on a GPU."""
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        try:
            import emulator
        finally:
            del sys.path[0]
        return emulator.start()

    def exec_module(self, module):
        """Nothing: it has been run."""


sys.meta_path.insert(0, _Finder())
