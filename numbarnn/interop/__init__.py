"""Networks and other libraries, a module each, imported when it is used: `audio`, `keras`, `onnx`, `sklearn`, `torch`."""

import importlib

MODULES = ("audio", "keras", "onnx", "sklearn", "torch")


def __getattr__(name):
    if name in MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *MODULES})
