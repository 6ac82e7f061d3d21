"""Networks to and from other libraries, a module each, imported when it is asked for: `audio`, `keras`, `onnx`, `torch`."""

import importlib

MODULES = ("audio", "keras", "onnx", "torch")


def __getattr__(name):
    if name in MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *MODULES})
