"""Networks and other libraries, a module each that is imported when it is used; ``MODULES`` are their names."""

import importlib

MODULES = ("aeon", "audio", "keras", "onnx", "sklearn", "sktime", "torch")


def __getattr__(name):
    if name in MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *MODULES})
