"""Python calls and files on the way from a layer's call to the kernel, when everything has run before."""

import collections
import sys
from pathlib import Path

import numpy as np

import numbarnn
from numbarnn import LSTM, Network

PACKAGE = f"{Path(numbarnn.__file__).parent}/"


def calls_of(function, times=3):
    """{file of the package: Python calls} of the last of several calls of a function without arguments."""
    found = collections.Counter()

    def count(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            found[frame.f_code.co_filename.removeprefix(PACKAGE)] += 1

    kept = []  # what a call before has returned: to give it up is no part of a call
    for _ in range(times):
        found.clear()
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            kept.append(function())
        finally:
            sys.setprofile(before)
    return dict(found)


def forward(layer=None, steps=20, batch=4, channels=3):
    """A function that calls forward of a layer, LSTM(16) by default."""
    layer = LSTM(16) if layer is None else layer
    p, x = layer.init(channels, seed=0), np.zeros((steps, batch, channels), np.float32)
    return lambda: layer.forward(p, x)


def run():
    """The calls of a layer's forward and backward, a network's prediction and a stream's step."""
    layer, x = LSTM(16), np.zeros((20, 4, 3), np.float32)
    p = layer.init(3, seed=0)
    y, _, tape = layer.forward(p, x)
    network, stream = Network([layer], channels=3, seed=0), layer.stream(p, batch=4)
    return {
        "calls": {
            "LSTM.forward": calls_of(forward()),
            "LSTM.backward": calls_of(lambda: layer.backward(tape, y)),
            "Network.predict": calls_of(lambda: network.predict(x)),
            "Stream.step": calls_of(lambda: stream.step(x[0])),
        }
    }


def table(result):
    """The result as lines of Markdown."""
    rows = [f"| {name} | {sum(files.values())} | {len(files)} |" for name, files in result["calls"].items()]
    return "\n".join(["| call | Python calls | files |", "|---|---|---|", *rows])
