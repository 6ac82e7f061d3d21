"""Networks to and from other libraries: `interop.torch`, each a module that is imported when it is asked for."""

import importlib

MODULES = ("torch",)


def __getattr__(name):
    if name in MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *MODULES})
