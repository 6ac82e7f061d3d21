"""Python calls and files on the way from a call to the kernel, when everything has run before, and microseconds."""

import collections
import gc
import sys
from pathlib import Path

import numpy as np

import numbarnn
from numbarnn import LSTM, Embedding, Network

from . import call_times

PACKAGE = f"{Path(numbarnn.__file__).parent}/"


def calls_of(function, times=3):
    """{file of the package: Python calls} of the last of several calls of a function without arguments."""
    found = collections.Counter()

    def count(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            found[frame.f_code.co_filename.removeprefix(PACKAGE)] += 1

    for _ in range(times):
        kept = None  # what a call before has returned: to give it up is no part of a call
        found.clear()
        before, collects = sys.getprofile(), gc.isenabled()
        gc.disable()  # what others have left behind is no part of a call either
        sys.setprofile(count)
        try:
            kept = function()
        finally:
            sys.setprofile(before)
            if collects:
                gc.enable()
    del kept
    return dict(found)


def forward(layer=None, steps=20, batch=4, channels=3):
    """A function that calls forward of a layer, LSTM(16) by default."""
    layer = LSTM(16) if layer is None else layer
    p, x = layer.init(channels, seed=0), np.zeros((steps, batch, channels), np.float32)
    return lambda: layer.forward(p, x)


def backward():
    """A function that calls backward of LSTM(16)."""
    layer = LSTM(16)
    run = forward(layer)
    run()  # the first tape is one that has no other after it
    y, _, tape = run()
    return lambda: layer.backward(tape, y)


def predict():
    """A function that calls predict of a network of LSTM(16)."""
    network, x = Network([LSTM(16)], channels=3, seed=0), np.zeros((20, 4, 3), np.float32)
    return lambda: network.predict(x)


def step():
    """A function that takes a step of a stream of LSTM(16)."""
    layer, x = LSTM(16), np.zeros((4, 3), np.float32)
    stream = layer.stream(layer.init(3, seed=0), batch=4)
    return lambda: stream.step(x)


def step_of_indices():
    """A function that takes a step of a stream of indices, through an embedding and LSTM(16)."""
    stream, x = Network([Embedding(9, 3), LSTM(16)], seed=0).stream(4), np.arange(4)
    return lambda: stream.step(x)


def run():
    """The calls of a layer's forward and backward, a network's prediction and a stream's step, and `call_times`."""
    made = {"LSTM.forward": forward, "LSTM.backward": backward, "Network.predict": predict, "Stream.step": step}
    made["Stream.step of indices"] = step_of_indices
    return {"calls": {name: calls_of(make()) for name, make in made.items()}, **call_times.run()}


def table(result):
    """The result as lines of Markdown."""
    rows = [f"| {name} | {sum(files.values())} | {len(files)} |" for name, files in result["calls"].items()]
    return "\n".join(["| call | Python calls | files |", "|---|---|---|", *rows, "", *call_times.table(result)])
