"""``python -m numbarnn.compile``: the cache of kernels, filled for the image of a container or for a cluster."""

import argparse
import ast
import sys
from dataclasses import MISSING, fields

import numbarnn

from ..arrays.descriptor import DTYPES
from ..errors import nearest
from ..layers.base import Layer
from ..training.losses import ALIASES, LOSSES
from ..training.optimizers import OPTIMIZERS
from .ahead import compile

SIZES = dict.fromkeys(("hidden", "units", "vocabulary", "size"), 4)  # those left out: no kernel depends on them
LAYERS = {
    name: value
    for name, value in ((name, getattr(numbarnn, name)) for name in numbarnn.__all__)
    if isinstance(value, type) and issubclass(value, Layer)
}


def layer(text):
    """The layer that is written so: ``GRU``, ``GRU(reset='before')``; sizes may be left out."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Name):
            call = ast.Call(call, [], [])
        name = call.func.id
        arguments = [ast.literal_eval(value) for value in call.args]
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, AttributeError):
        raise argparse.ArgumentTypeError(f"expected a layer such as GRU or \"GRU(reset='before')\", got {text!r}") from None
    try:
        if name not in LAYERS:
            raise nearest("layer", name, LAYERS)
        required = [field.name for field in fields(LAYERS[name]) if field.default is MISSING and field.init]
        left_out = {field: SIZES[field] for field in required[len(arguments) :] if field in SIZES}
        return LAYERS[name](*arguments, **{**left_out, **keywords})
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m numbarnn.compile",
        description="Compile kernels ahead of time and keep them on disk, in the folder that NUMBA_CACHE_DIR names.",
    )
    parser.add_argument("layers", metavar="LAYER", nargs="+", type=layer, help="GRU, LSTM, \"GRU(reset='before')\", ...")
    names = [dtype.name for dtype in DTYPES]
    parser.add_argument("--dtype", nargs="+", choices=names, default=["float32"], help="(default float32)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--inference", dest="work", action="store_const", const="inference", help="for predictions alone")
    kind.add_argument("--training", dest="work", action="store_const", const="training", help="for training alone")
    losses = sorted({*LOSSES, *ALIASES})
    parser.add_argument("--loss", nargs="+", choices=losses, default=["mse"], help="of trainings (default mse)")
    parser.add_argument("--optimizer", nargs="+", choices=sorted(OPTIMIZERS), default=["adam"], help="(default adam)")
    parser.add_argument("--channels", metavar="C", type=int, help="of the input, where a layer needs a certain number")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="processes that compile at once (default 1)")
    return parser, parser.parse_args()


def main():
    """Compile, and print what was; the exit status, 1 if something could not be kept."""
    parser, options = arguments()
    try:
        done = compile(
            options.layers, options.channels, options.dtype, options.work or "both", options.loss, options.optimizer,
            options.jobs,
        )  # fmt: skip
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        parser.error(str(error))
    print(done)
    return int(any(kernel.file is None for kernel in done.kernels))


if __name__ == "__main__":
    sys.exit(main())
