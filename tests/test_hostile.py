"""Every public function with hostile arguments: a typed error that names the argument, or the right result, nothing else."""

import inspect
import math
import re
import tempfile
import warnings
from dataclasses import fields, is_dataclass

import hostile
import numpy as np
import pytest
from hostile import (
    ARRAY,
    FLAG,
    FLOATS,
    INTEGER,
    NOT_NEGATIVE,
    NOTHING_ELSE,
    NUMBERS,
    POSITIVE,
    RATE,
    SAMPLES,
    SEED,
    SEQUENCES,
    SERIES,
    SIZE,
    STEPS,
    TEXT,
    WEIGHTS,
    WRONG,
    indices,
    integers,
    one_of,
    only,
    optional,
)  # fmt: skip
from matplotlib import pyplot

import numbarnn as nr

ERRORS = TypeError, ValueError, IndexError, nr.NonFiniteError, nr.DeviceError, FileNotFoundError
TEXTS = hostile.Kind("texts", lambda value, valid: hostile.ANYTHING if isinstance(value, (dict, tuple)) else WRONG)
SCHEDULE = hostile.Kind(
    "rate or schedule",
    lambda value, valid: (
        hostile.ANYTHING if callable(value) and not isinstance(value, type) else NOT_NEGATIVE.right(value, valid)
    ),
)
STRIPS = hostile.Kind("series or indices", hostile.series_or_indices, arrays=True)
STRENGTH = hostile.Kind("strength", lambda value, valid: hostile.ANYTHING if from_0_to_1(value) else WRONG)
CALLABLE = hostile.Kind("function", lambda value, valid: hostile.ANYTHING if callable(value) else WRONG)
LAYOUT = hostile.Kind("layout", lambda value, valid: WRONG)
SHARE = hostile.Kind(
    "share", lambda value, valid: POSITIVE.right(value, valid) if POSITIVE.right(value, valid) in (0.5, 1.0) else WRONG
)
ZERO = hostile.Kind("zero", lambda value, valid: 0 if hostile.COUNT.right(value, valid) == 0 else WRONG)
SEEDS = hostile.Kind("seeds", lambda value, valid: SEED.right(only_one(value), valid))
LEVELS = hostile.Kind("levels", lambda value, valid: several(value, lambda found: 0 < found[0] and found[-1] < 1))
SPREAD = hostile.Kind("spread", lambda value, valid: several(value, lambda found: min(found) > 0, one=True))
TWO = hostile.Kind("two numbers", lambda value, valid: several(value, lambda found: len(found) == 2 and min(found) > 0))
CHANNELS = hostile.Kind("channels of two", lambda value, valid: None if value is None else of_two(value))
CLASS_WEIGHTS = hostile.Kind("weights of classes", lambda value, valid: None if value is None else several(value, any))
DTYPE = one_of("float32", "float64")
SCHEME = one_of("glorot", "pytorch")
FUNCTION = one_of("tanh", "relu", "sigmoid")
LENGTHS = optional(integers(0, 4))
MISSING = {"missing": (None, optional(one_of("nan")))}
STEP_SIZE = optional(SIZE)
INDICES = integers(0, 2)
STARTS = hostile.Kind(  # an index for each sequence, or one for all
    "starts",
    lambda value, valid: INDICES.right(for_all(hostile.lent(value)), valid),
    arrays=True,
)
RANDOM = np.random.default_rng(0)


def several(value, right, one=False):
    """The tuple of numbers >= 0 that a sequence stands for, if it is `right`; with `one` a single number is, too."""
    if inspect.isgenerator(value):
        return hostile.ANYTHING
    if one and POSITIVE.right(value, 1.0) is not WRONG:
        return POSITIVE.right(value, 1.0)
    if isinstance(value, (str, bytes)) or not np.iterable(value):
        return WRONG
    found = [NOT_NEGATIVE.right(each, 1.0) for each in value]
    return WRONG if not found or any(each is WRONG for each in found) or not right(found) else tuple(found)


def for_all(value):
    """An index for each of three sequences, of one."""
    return np.full(3, value) if np.isscalar(value) or np.shape(value) == () else value


def from_0_to_1(value):
    """Whether a value is a number, or numbers, from 0 to 1."""
    try:
        found = np.asarray(value)
        return found.dtype.kind in "iuf" and found.ndim < 4 and bool(((found >= 0) & (found <= 1)).all())
    except (TypeError, ValueError):
        return False


def only_one(value):
    """The only one of a list or array, anything else as it is."""
    return value[0] if isinstance(value, (list, np.ndarray)) and np.shape(value) == (1,) else value


def of_two(value):
    """The channels, out of two, that an integer or several stand for."""
    many = isinstance(value, (list, tuple, set)) or (isinstance(value, np.ndarray) and value.ndim)
    found = [hostile.plain(each) for each in (value if many else [value])]
    right = found and all(type(each) is int and each in (0, 1) for each in found) and len({*found}) == len(found)
    return tuple(found) if right else WRONG


def numbers(*shape, dtype=np.float32):
    return RANDOM.standard_normal(shape).astype(dtype)


X, Y = numbers(4, 3, 2), numbers(3, 1)
RNN = nr.RNN(2)
P = RNN.init(2, seed=0)
OUT, STATE, TAPE = RNN.forward(P, X)
DENSE = nr.Dense(2)
Q = DENSE.init(2, seed=0)
DENSE_TAPE = DENSE.forward(Q, X)[1]
TABLE = nr.Embedding(5, 2)
T = TABLE.init(seed=0)
LOGITS, LABELS = numbers(3, 2), np.array([0, 1, 1])
RAGGED = nr.Ragged.of([numbers(2, 2), numbers(3, 2)])
LANGUAGE = nr.Network([TABLE, nr.RNN(3), nr.Dense(5)], seed=0)
VOCABULARY = nr.Vocabulary.of(["a b", "b c"])
HISTORY = nr.History([2.0, 1.0], [2.0, 1.5], [0.1, 0.1], [0.01, 0.01])


def network():
    """A new network, small and the same each time."""
    return nr.Network([nr.RNN(2), nr.Last(), nr.Dense(1)], channels=2, seed=0)


def one_step(step, x):
    """The outputs of a compiled step."""
    y = np.empty((3, step.outputs), np.float32)
    step(x, step.initial_state(), y, step.workspace())
    return y


def gone_back(step, x, state, dy):
    """The gradient of a compiled step."""
    gradient, dstate = np.zeros(step.gradient_size, np.float32), step.initial_state()
    step.adjoint(x, state, dy, dstate, None, gradient, step.workspace())
    return gradient


def exported(**arguments):
    """The text of a network's header in C."""
    with tempfile.TemporaryDirectory() as folder:
        return network().export_c(folder, **arguments)[0].read_text()


def graph(**arguments):
    """A new graph, small and the same each time; its two inputs are called as the arguments of `of_graph`."""
    nodes = {"h": nr.Node(nr.RNN(2), ["x", "static"]), "y": nr.Node([nr.Last(), nr.Dense(1)], "h")}
    return nr.Graph({"x": 2, "static": nr.Input(2, steps=False)}, nodes, ["y"], **arguments)


def stream_of_graph():
    """A stream of a graph of one input, new and the same each time."""
    return nr.Graph({"x": 2}, {"y": nr.Node([nr.RNN(2), nr.Dense(1)], "x")}, ["y"], seed=0).stream(batch=3)


def of_graph(x, static, lengths, **arguments):
    """What a graph makes of its inputs."""
    return graph(seed=0).predict({"x": x, "static": static}, lengths, **arguments)


def decoded(**arguments):
    """What a graph gives that feeds on its own output."""
    nodes = {"h": nr.Node(nr.RNN(2), "x"), "e": nr.Node(nr.Embedding(3, 2), "before"), "y": nr.Node(nr.Dense(3), ["e", "d"])}
    nodes["d"] = nr.Node(nr.RNN(2), "e", state="h")
    net = nr.Graph({"x": 2, "before": None}, nodes, ["y"], seed=0)
    return net.decode({"x": X}, feed="before", output="y", **arguments)


def trained_graph(x, static, y, **arguments):
    """What `fit` makes of a graph's parameters."""
    net = graph(seed=0)
    history = net.fit({"x": x, "static": static}, {"y": y}, **arguments)
    return net.params.flat, history.loss


def trained(**arguments):
    """What `fit` makes of a network's parameters."""
    net = network()
    history = net.fit(**{"x": X, "y": Y, "epochs": 1, "batch_size": 2, "progress": False} | arguments)
    return net.params.flat, history.loss


def trained_on(**arguments):
    """What a `Trainer` makes of a network's parameters."""
    net, trained = network(), {"epochs": 1, "batch_size": 2, "progress": False}
    own = {"loss", "optimizer", "updates", "clip", "accumulate", "seed", "tape", "checkpoints"}
    trainer = nr.Trainer(net, **{name: value for name, value in arguments.items() if name in own})
    history = trainer.fit(**{"x": X, "y": Y} | trained | {n: v for n, v in arguments.items() if n not in own})
    return net.params.flat, history.loss


def lines(function):
    """A function of the arguments of a plot: how many lines it draws."""

    def drawn(**arguments):
        try:
            return len(function(**arguments).lines)
        finally:
            pyplot.close("all")

    return drawn


def agreement(**arguments):
    """Whether finite differences of such steps agree with backward."""
    try:
        nr.testing.check_gradients(RNN, **arguments)
    except AssertionError:
        return False
    return True


RECURRENT = {
    "hidden": (2, SIZE),
    "layers": (2, SIZE),
    "bidirectional": (False, FLAG),
    "activation": ("tanh", FUNCTION),
    "dropout": (0.1, RATE),
    "input_dropout": (0.1, RATE),
    "recurrent_dropout": (0.1, RATE),
    "zoneout": (0.1, RATE),
    "weight_drop": (0.1, RATE),
    "noise": (0.1, NOT_NEGATIVE),
    "connectivity": (None, optional(NOTHING_ELSE)),
    "clip": (None, optional(POSITIVE)),
    "merge": ("concat", one_of("concat")),
    "residual": (False, FLAG),
    "learned_state": (False, FLAG),
}
WITHOUT_RECURRENT_DROPOUT = {name: way for name, way in RECURRENT.items() if name != "recurrent_dropout"}
GATED = {"gate_activation": ("sigmoid", FUNCTION)}
CALL = {
    "p": (P, NOTHING_ELSE),
    "x": (X, STEPS),
    "state": (STATE, optional(ARRAY)),
    "lengths": (np.array([4, 2, 3]), LENGTHS),
    "layout": ("tnc", LAYOUT),
    "seed": (None, SEED),
}
BACKWARD = {"need_x": (True, FLAG), "accumulate": (False, FLAG), "into": (None, optional(NOTHING_ELSE))}
INIT = {
    "channels": (2, SIZE),
    "seed": (0, SEED),
    "dtype": ("float32", DTYPE),
    "scheme": ("glorot", SCHEME),
    "device": ("cpu", one_of("cpu")),
}
OF_GRAPH = {"x": (X, NOTHING_ELSE), "static": (X[0], NOTHING_ELSE)}
FIT = {
    "x": (X, SAMPLES),
    "y": (Y, NUMBERS),
    "lengths": (np.array([4, 2, 3]), LENGTHS),
    "weights": (np.array([1, 2, 0.5], np.float32), optional(WEIGHTS)),
}
WAVE = np.sin(np.arange(6.0))[:, None]
LOSS = {"loss": ("mse", one_of("mse", "mae"))}

# name: (function, {argument: (valid value, kind)}).  Each name starts with the name of a public object.
CASES = {
    "RNN": (nr.RNN, RECURRENT),
    "GRU": (nr.GRU, RECURRENT | GATED | {"reset": ("after", one_of("after", "before"))}),
    "GRU, decay": (lambda **a: nr.GRU(2, **a), {"decay": (False, FLAG)}),
    "GRU, normalized": (lambda **a: nr.GRU(2, **a), {"normalized": (False, FLAG)}),
    "LSTM": (
        nr.LSTM,
        RECURRENT | GATED | {"peepholes": (False, FLAG), "coupled": (False, FLAG), "output_activation": ("tanh", FUNCTION)},
    ),
    "LSTM, projection": (lambda **a: nr.LSTM(4, **a), {"projection": (None, optional(SIZE))}),
    "MGU": (nr.MGU, WITHOUT_RECURRENT_DROPOUT | GATED),
    "LeakyRNN": (nr.LeakyRNN, RECURRENT | {"form": ("outside", one_of("outside", "inside")), "learned": (False, FLAG)}),
    "IndRNN": (
        nr.IndRNN,
        {name: way for name, way in WITHOUT_RECURRENT_DROPOUT.items() if name not in ("weight_drop", "connectivity")},
    ),
    "GRUD": (
        nr.GRUD,
        {
            name: way
            for name, way in (RECURRENT | GATED | {"past": (False, FLAG)}).items()
            if name not in ("layers", "bidirectional", "dropout", "input_dropout", "weight_drop", "connectivity")
        },
    ),
    "Dense": (nr.Dense, {"units": (2, SIZE), "activation": ("linear", FUNCTION)}),
    "Activation": (nr.Activation, {"name": ("tanh", FUNCTION)}),
    "Dropout": (nr.Dropout, {"rate": (0.5, RATE)}),
    "Conv2d": (nr.Conv2d, {"filters": (2, SIZE), "kernel": (3, SIZE), "stride": (1, SIZE)}),
    "Pool": (nr.Pool, {"kind": ("mean", one_of("mean", "max"))}),
    "AvgPool2d": (nr.AvgPool2d, {"kernel": (3, SIZE), "stride": (None, optional(SIZE))}),
    "MaxPool2d": (nr.MaxPool2d, {"kernel": (3, SIZE), "stride": (None, optional(SIZE))}),
    "Embedding": (nr.Embedding, {"vocabulary": (5, SIZE), "size": (2, SIZE)}),
    "Recurrent.init": (RNN.init, INIT),
    "Recurrent.__call__": (
        RNN.__call__,
        CALL
        | {
            "reset": (None, optional(NOTHING_ELSE)),
            "masks": (None, optional(NOTHING_ELSE)),
            "cells": (
                False,
                hostile.Kind(
                    "no c", lambda value, valid: False if isinstance(value, (bool, np.bool_)) and not value else WRONG
                ),
            ),
        },
    ),
    "Recurrent.forward": (
        lambda **a: RNN.forward(**a)[:2],
        CALL | {"tape": ("all", one_of("all", "states")), "checkpoints": (None, optional(SIZE))},
    ),
    "Recurrent.backward": (
        RNN.backward,
        {"tape": (TAPE, NOTHING_ELSE), "dy": (OUT, optional(ARRAY)), "dstate": (STATE, optional(ARRAY))} | BACKWARD,
    ),
    "Recurrent.jvp": (
        RNN.jvp,
        {
            "tape": (TAPE, NOTHING_ELSE),
            "dp": (P.flat, optional(ARRAY)),
            "dx": (X, optional(ARRAY)),
            "dstate": (STATE, optional(ARRAY)),
        },
    ),
    "Recurrent.draw": (
        nr.RNN(2, input_dropout=0.5).draw,
        {"steps": (4, SIZE), "batch": (3, SIZE), "channels": (2, SIZE), "seed": (0, SEED), "dtype": ("float32", DTYPE)},
    ),
    "Recurrent.stream": (
        lambda **a: RNN.stream(**a).step(X[0, :1] if a["batch"] == 1 else X[0]),
        {"p": (P, NOTHING_ELSE), "batch": (3, only(3)), "state": (STATE, optional(ARRAY))},
    ),
    "Dense.__call__": (
        DENSE.__call__,
        {"p": (Q, NOTHING_ELSE), "x": (X, STEPS), "layout": ("tnc", LAYOUT), "lengths": (np.array([4, 2, 3]), LENGTHS)},
    ),
    "Dense.backward": (DENSE.backward, {"tape": (DENSE_TAPE, NOTHING_ELSE), "dy": (OUT, ARRAY)} | BACKWARD),
    "Dense.jvp": (
        DENSE.jvp,
        {"tape": (DENSE_TAPE, NOTHING_ELSE), "dp": (Q.flat, optional(ARRAY)), "dx": (OUT, optional(ARRAY))},
    ),
    "Embedding.__call__": (
        TABLE.__call__,
        {"p": (T, NOTHING_ELSE), "x": (np.array([[0, 1], [4, 2]]), indices(4)), "layout": ("tnc", LAYOUT)},
    ),
    "Recurrent.compiled_step": (
        lambda **a: one_step(RNN.compiled_step(**a), X[0]),
        {"p": (P, NOTHING_ELSE), "batch": (3, only(3)), "adjoint": (False, FLAG)},
    ),
    "CompiledStep.__call__": (
        lambda **a: one_step(RNN.compiled_step(P, 3), **a),
        {"x": (X[0], ARRAY)},
    ),
    "CompiledStep.adjoint": (
        lambda **a: gone_back(RNN.compiled_step(P, 3, adjoint=True), **a),
        {"x": (X[0], ARRAY), "state": (np.zeros(6, np.float32), NOTHING_ELSE), "dy": (X[0], NOTHING_ELSE)},
    ),
    "CompiledStep.initial_adjoint": (
        lambda **a: RNN.compiled_step(P, 3, adjoint=True).initial_adjoint(gradient=np.zeros(len(P), np.float32), **a),
        {"dstate": (np.zeros(6, np.float32), NOTHING_ELSE)},
    ),
    "CompiledStep.states": (RNN.compiled_step(P, 3).states, {"state": (np.zeros(6, np.float32), NOTHING_ELSE)}),
    "Stream.step": (lambda **a: RNN.stream(P, 3).step(**a), {"x": (X[0], ARRAY)}),
    "Stream.run": (lambda **a: RNN.stream(P, 3).run(**a), {"x": (X, FLOATS)}),
    "GraphStream.step": (lambda x: stream_of_graph().step({"x": x}), {"x": (X[0], ARRAY)}),
    "GraphStream.run": (lambda x: stream_of_graph().run({"x": x}), {"x": (X, STEPS)}),
    "Stream.feed_back": (lambda **a: RNN.stream(P, 3).feed_back(**a), {"x": (X[0], ARRAY), "steps": (2, SIZE)}),
    "Network": (
        nr.Network,
        {
            "layers": ([RNN, nr.Last(), nr.Dense(1)], NOTHING_ELSE),
            "channels": (2, SIZE),
            "dtype": ("float32", DTYPE),
            "layout": ("tnc", LAYOUT),
            "device": ("cpu", one_of("cpu")),
            "seed": (0, SEED),
            "scheme": ("glorot", SCHEME),
        },
    ),
    "Network.predict": (lambda **a: network().predict(**a), {"x": (X, SAMPLES), "lengths": (np.array([4, 2, 3]), LENGTHS)}),
    "Network.loss": (lambda **a: network().loss(**a), FIT | LOSS),
    "Network.loss_and_gradient": (
        lambda **a: network().loss_and_gradient(**a),
        {"flat": (network().params.flat, ARRAY)} | FIT | LOSS,
    ),
    "Network.fit_readout": (
        lambda **a: [*network().fit_readout(**{"x": X, "y": Y, "penalty": 0.5} | a).values()],
        {"warmup": (0, ZERO), "chunk": (2, SIZE)} | FIT,
    ),
    "levenberg_marquardt": (
        lambda **a: tuple(nr.levenberg_marquardt(network(), **a)),
        {
            "x": (X, SAMPLES),
            "y": (Y, NUMBERS),
            "steps": (2, SIZE),
            "solver": (None, optional(one_of("jacobian", "products"))),
            "damping": (1e-3, POSITIVE),
        },
    ),
    "Network.jacobian": (
        lambda **a: network().jacobian(**a),
        {"flat": (network().params.flat, ARRAY), "x": (X, SAMPLES), "lengths": (np.array([4, 2, 3]), LENGTHS)},
    ),
    "Network.sample_gradients": (
        lambda **a: network().sample_gradients(**a),
        {"flat": (network().params.flat, ARRAY)} | FIT | LOSS,
    ),
    "Network.hvp": (
        lambda **a: network().hvp(**a),
        {"flat": (network().params.flat, ARRAY), "vector": (network().params.flat, ARRAY)} | FIT | LOSS,
    ),
    "Network.gauss_newton_product": (
        lambda **a: network().gauss_newton_product(**a),
        {"flat": (network().params.flat, ARRAY), "vector": (network().params.flat, ARRAY)} | FIT | LOSS,
    ),
    "Network.fit": (
        trained,
        FIT
        | LOSS
        | {
            "optimizer": ("adam", optional(one_of("adam", "sgd"))),
            "epochs": (1, SIZE),
            "batch_size": (2, SIZE),
            "shuffle": (True, FLAG),
            "seed": (0, SEED),
            "clip": (None, optional(POSITIVE)),
            "validation": (None, optional(NOTHING_ELSE)),
            "callbacks": ((), NOTHING_ELSE),
            "progress": (False, FLAG),
            "tape": ("all", one_of("all", "states")),
            "checkpoints": (None, optional(SIZE)),
            "comm": (None, optional(NOTHING_ELSE)),
            "shards": (None, optional(only(1, 2))),
            "carry": (False, NOTHING_ELSE),
            "feedback": (None, optional(NOTHING_ELSE)),
            "steps": (None, optional(NOTHING_ELSE)),
        },
    ),
    "Trainer": (
        trained_on,
        FIT
        | LOSS
        | {
            "optimizer": ("adam", optional(one_of("adam", "sgd"))),
            "epochs": (1, optional(SIZE)),
            "updates": (2, optional(SIZE)),
            "accumulate": (2, SIZE),
            "batch_size": (2, SIZE),
            "shuffle": (True, FLAG),
            "seed": (0, SEED),
            "clip": (None, optional(POSITIVE)),
            "validation": (None, optional(NOTHING_ELSE)),
            "callbacks": ((), NOTHING_ELSE),
            "progress": (False, FLAG),
            "tape": ("all", one_of("all", "states")),
            "checkpoints": (None, optional(SIZE)),
        },
    ),
    "Input": (nr.Input, {"channels": (2, optional(SIZE)), "steps": (True, FLAG)}),
    "Graph": (
        graph,
        {
            "dtype": ("float32", DTYPE),
            "layout": ("tnc", LAYOUT),
            "device": ("cpu", one_of("cpu")),
            "seed": (0, SEED),
            "scheme": ("glorot", SCHEME),
        },
    ),
    "Graph.transfer": (lambda **a: graph().transfer(**a), {"source": (graph(), NOTHING_ELSE)}),
    "Graph.to": (lambda **a: graph().to(**a), {"device": ("cpu", one_of("cpu"))}),
    "Graph.predict": (
        of_graph,
        {"x": (X, SAMPLES), "static": (X[0], SAMPLES), "lengths": (np.array([4, 2, 3]), LENGTHS)},
    ),
    "Graph.decode": (
        decoded,
        {
            "start": (np.array([0, 2, 1]), STARTS),
            "steps": (3, SIZE),
            "choose": ("argmax", optional(one_of("argmax"))),
            "stop": (None, optional(only(0, 1, 2))),
        },
    ),
    "Graph.jacobian": (
        lambda x, static, flat, **a: graph(seed=0).jacobian(flat, {"x": x, "static": static}, **a),
        {"flat": (graph(seed=0).params.flat, ARRAY)} | OF_GRAPH | {"lengths": (np.array([4, 2, 3]), LENGTHS)},
    ),
    "Graph.sample_gradients": (
        lambda x, static, y, flat: graph(seed=0).sample_gradients(flat, {"x": x, "static": static}, {"y": y}),
        {"flat": (graph(seed=0).params.flat, ARRAY), "y": (Y, NUMBERS)} | OF_GRAPH,
    ),
    "Graph.hvp": (
        lambda x, static, y, flat, vector: graph(seed=0).hvp(flat, {"x": x, "static": static}, {"y": y}, vector),
        {"flat": (graph(seed=0).params.flat, ARRAY), "vector": (graph(seed=0).params.flat, ARRAY), "y": (Y, NUMBERS)}
        | OF_GRAPH,
    ),
    "Graph.gauss_newton_product": (
        lambda x, static, y, flat, vector: graph(seed=0).gauss_newton_product(
            flat, {"x": x, "static": static}, {"y": y}, vector
        ),
        {"flat": (graph(seed=0).params.flat, ARRAY), "vector": (graph(seed=0).params.flat, ARRAY), "y": (Y, NUMBERS)}
        | OF_GRAPH,
    ),
    "Graph.fit": (
        trained_graph,
        {
            "x": (X, NOTHING_ELSE),
            "static": (X[0], NOTHING_ELSE),
            "y": (Y, NUMBERS),
            "epochs": (1, SIZE),
            "batch_size": (2, SIZE),
            "shuffle": (True, FLAG),
            "seed": (0, SEED),
            "clip": (None, optional(POSITIVE)),
            "progress": (False, FLAG),
        },
    ),
    "Network.compiled_step": (
        lambda **a: one_step(network().compiled_step(**a), X[0]),
        {"batch": (3, only(3)), "adjoint": (False, FLAG)},
    ),
    "Network.export_c": (exported, {"name": ("net", NOTHING_ELSE), "dtype": ("float64", optional(DTYPE))}),
    "Network.stream": (lambda **a: network().stream(**a).step(X[0]), {"batch": (3, only(3))}),
    "Network.to": (lambda **a: network().to(**a), {"device": ("cpu", one_of("cpu"))}),
    "Network.transfer": (lambda **a: network().transfer(**a), {"source": (network(), NOTHING_ELSE)}),
    "SGD": (nr.SGD, {"rate": (0.1, SCHEDULE), "momentum": (0.5, RATE), "nesterov": (True, FLAG)}),
    "RMSProp": (nr.RMSProp, {"rate": (0.1, SCHEDULE), "decay": (0.5, RATE), "epsilon": (1e-8, NOT_NEGATIVE)}),
    "Adam": (
        nr.Adam,
        {"rate": (0.1, SCHEDULE), "beta1": (0.9, RATE), "beta2": (0.99, RATE), "epsilon": (1e-8, NOT_NEGATIVE)},
    ),
    "AdamW": (nr.AdamW, {"rate": (0.1, SCHEDULE), "decay": (0.1, NOT_NEGATIVE)}),
    "RAdam": (nr.RAdam, {"rate": (0.1, SCHEDULE), "beta1": (0.9, RATE), "beta2": (0.99, RATE), "epsilon": (1e-8, POSITIVE)}),
    "Nadam": (nr.Nadam, {"rate": (0.1, SCHEDULE), "beta1": (0.9, RATE), "warming": (0.01, NOT_NEGATIVE)}),
    "constant": (nr.constant, {"rate": (0.1, NOT_NEGATIVE)}),
    "cosine": (nr.cosine, {"rate": (0.1, NOT_NEGATIVE), "final": (0.0, NOT_NEGATIVE)}),
    "exponential": (nr.exponential, {"rate": (0.1, POSITIVE), "final": (0.01, POSITIVE)}),
    "warmup": (nr.warmup, {"rate": (0.1, SCHEDULE), "updates": (3, SIZE)}),
    "reduce_on_plateau": (
        nr.reduce_on_plateau,
        {
            "rate": (0.1, NOT_NEGATIVE),
            "factor": (0.1, RATE),
            "patience": (3, SIZE),
            "least": (0.0, NOT_NEGATIVE),
            "min_delta": (0.0, NOT_NEGATIVE),
        },
    ),
    "EarlyStopping": (
        nr.EarlyStopping,
        {
            "patience": (3, SIZE),
            "min_delta": (0.0, NOT_NEGATIVE),
            "restore": (True, FLAG),
            "monitor": (None, optional(NOTHING_ELSE)),
            "mode": (None, optional(one_of("min", "max"))),
        },
    ),
    "Checkpoint": (
        nr.Checkpoint,
        {
            "path": ("folder", NOTHING_ELSE),
            "every": (1, SIZE),
            "unit": ("epoch", one_of("epoch", "update")),
            "keep_last": (1, SIZE),
            "keep_best": (False, FLAG),
            "monitor": (None, optional(NOTHING_ELSE)),
            "mode": (None, optional(one_of("min", "max"))),
        },
    ),
    "CSVLogger": (nr.CSVLogger, {"path": ("table.csv", NOTHING_ELSE)}),
    "Printer": (nr.Printer, {"seconds": (1.0, NOT_NEGATIVE)}),
    "MSE": (nr.MSE, MISSING),
    "HalfMSE": (nr.HalfMSE, MISSING),
    "MAE": (nr.MAE, MISSING),
    "Huber": (nr.Huber, {"delta": (1.0, POSITIVE)} | MISSING),
    "Quantile": (nr.Quantile, {"levels": ((0.1, 0.9), LEVELS)} | MISSING),
    "GaussianNLL": (nr.GaussianNLL, {"least": (0.1, POSITIVE), "full": (True, FLAG)} | MISSING),
    "GaussianNLL.distribution": (
        nr.GaussianNLL().distribution,
        {"prediction": (LOGITS, SEQUENCES), "layout": ("tnc", LAYOUT)},
    ),
    "PoissonNLL": (nr.PoissonNLL, {"full": (True, FLAG)} | MISSING),
    "NashSutcliffe": (nr.NashSutcliffe, {"spread": (2.0, optional(SPREAD))} | MISSING),
    "CrossEntropy": (
        nr.CrossEntropy,
        {
            "ignore_index": (None, optional(INTEGER)),
            "class_weights": ((1.0, 2.0), CLASS_WEIGHTS),
            "smoothing": (0.1, RATE),
        },
    ),
    "CrossEntropy.__call__": (nr.CrossEntropy(), {"prediction": (LOGITS, FLOATS), "target": (LABELS, integers(0, 1))}),
    "BinaryCrossEntropy.__call__": (
        nr.BinaryCrossEntropy(),
        {"prediction": (numbers(3, 1), FLOATS), "target": (LABELS, integers(0, 1))},
    ),
    "BinaryCrossEntropy": (nr.BinaryCrossEntropy, {"ignore_index": (None, optional(INTEGER))}),
    "loss": (nr.loss, {"name": ("mse", CALLABLE)}),
    "loss.mse": (
        nr.loss("mse"),
        {"prediction": (Y, ARRAY), "target": (Y + 1, ARRAY), "weights": (np.ones(3, np.float32), optional(WEIGHTS))},
    ),
    "loss.mae": (nr.loss("mae"), {"prediction": (Y, ARRAY), "target": (Y + 1, ARRAY)}),
    "loss.huber": (nr.loss("huber"), {"prediction": (Y, ARRAY), "target": (Y + 1, ARRAY)}),
    "accuracy": (
        nr.accuracy,
        {
            "prediction": (LOGITS, FLOATS),
            "target": (LABELS, integers(0, 1)),
            "lengths": (None, optional(NOTHING_ELSE)),
            "weights": (np.ones(3, np.float32), optional(WEIGHTS)),
        },
    ),
    "windows": (
        nr.windows,
        {
            "series": (numbers(9, 2), SERIES),
            "steps": (3, SIZE),
            "horizon": (None, optional(SIZE)),
            "stride": (1, SIZE),
            "targets": ([1, 0], CHANNELS),
            "layout": ("tnc", LAYOUT),
        },
    ),
    "observed": (
        nr.observed,
        {
            "values": (numbers(4, 3, 2), SERIES),
            "layout": ("tnc", LAYOUT),
            "times": (None, optional(NOTHING_ELSE)),
            "spans": (None, optional(NOTHING_ELSE)),
            "previous": (None, optional(NOTHING_ELSE)),
        },
    ),
    "observed, lengths": (lambda **a: nr.observed(X, **a), {"lengths": (np.array([4, 2, 3]), LENGTHS)}),
    "strips": (nr.strips, {"series": (numbers(9, 2), STRIPS), "count": (2, SIZE)}),
    "extrapolate": (
        lambda **a: nr.extrapolate(nr.Network([nr.RNN(2)], channels=2, seed=0), **a),
        {"start": (X[:, 0], SERIES), "steps": (2, SIZE), "stateful": (False, FLAG)},
    ),
    "extrapolate with known channels": (
        lambda **a: nr.extrapolate(nr.Network([nr.RNN(1)], channels=2, seed=0), **{"start": X, "steps": 3} | a),
        {"known": (numbers(3, 3, 1), SERIES), "stateful": (True, FLAG)},
    ),
    "sample": (
        lambda **a: nr.sample(LANGUAGE, **a),
        {
            "prompt": (np.array([0, 3, 1]), indices(4)),
            "length": (4, SIZE),
            "temperature": (1.0, NOT_NEGATIVE),
            "top_k": (2, optional(SIZE)),
            "top_p": (0.75, optional(SHARE)),
            "seed": (0, SEEDS),
            "vocabulary": (None, optional(NOTHING_ELSE)),
        },
    ),
    "RecursiveLeastSquares": (
        lambda **a: nr.RecursiveLeastSquares(nr.Network([nr.RNN(2), nr.Dense(1)], channels=1, seed=0), **a).run(WAVE, WAVE),
        {"penalty": (0.5, POSITIVE), "forgetting": (0.5, SHARE), "every": (2, SIZE)},
    ),
    "datasets.mackey_glass": (
        nr.datasets.mackey_glass,
        {"steps": (3, SIZE), "power": (2.0, POSITIVE), "start": (0.5, POSITIVE), "seed": (0, SEED)},
    ),
    "fit_many": (
        lambda **a: nr.fit_many(network(), seeds=(0, 1), **a).params,
        FIT
        | LOSS
        | {
            "optimizer": ("adamw", optional(one_of("adam", "adamw", "sgd"))),
            "bootstrap": (False, FLAG),
            "epochs": (1, SIZE),
            "batch_size": (2, SIZE),
            "shuffle": (True, FLAG),
            "clip": (None, optional(POSITIVE)),
            "validation": (None, optional(NOTHING_ELSE)),
            "stopping": (None, optional(NOTHING_ELSE)),
            "scheme": ("glorot", one_of("glorot", "pytorch")),
            "progress": (False, FLAG),
            "tape": ("all", one_of("all", "states")),
            "checkpoints": (None, optional(SIZE)),
            "comm": (None, optional(NOTHING_ELSE)),
        },
    ),
    "compile": (
        lambda **a: nr.compile(RNN, work="inference", **a).folder.name,
        {"channels": (2, optional(SIZE)), "dtype": (None, optional(one_of("float32")))},
    ),
    "Parameters": (nr.Parameters, {"flat": (P.flat, FLOATS), "weights": (P.weights, NOTHING_ELSE)}),
    "Parameters.update": (lambda **a: P.copy().update(**a), {"arrays": (P, NOTHING_ELSE)}),
    "interop.torch.layer_of": (
        nr.interop.torch.layer_of,
        {
            "source": (dict(RNN.init(2, seed=0).items()), NOTHING_ELSE),
            "module": ("", TEXT),
            "activation": ("tanh", one_of("tanh", "relu")),
        },
    ),
    "Parameters.__getitem__": (lambda **a: P[a["name"]], {"name": ("bias_ih_l0", NOTHING_ELSE)}),
    "Ragged": (nr.Ragged, {"data": (numbers(5, 2), FLOATS), "offsets": (np.array([0, 2, 5]), NOTHING_ELSE)}),
    "Connectivity": (
        nr.Connectivity,
        {"mask": (1 - np.eye(3), optional(NOTHING_ELSE)), "signs": ([1, 1, -1], optional(NOTHING_ELSE))},
    ),
    "Feedback": (
        nr.Feedback,
        {"forcing": (0.5, STRENGTH), "every": (3, optional(SIZE)), "missing": (False, FLAG)},
    ),
    "Connectivity, drawn": (
        lambda **a: nr.Connectivity(**{"signs": [1, 1, -1]} | a),
        {
            "density": (0.5, optional(SHARE)),
            "spectral_radius": (0.5, optional(POSITIVE)),
            "balanced": (False, FLAG),
            "input_scaling": (0.5, optional(POSITIVE)),
            "input_density": (0.5, optional(SHARE)),
        },
    ),
    "Connectivity, rank": (
        lambda **a: nr.Connectivity(**{"spectral_radius": 0.5} | a),
        {"rank": (2, optional(SIZE))},
    ),
    "padded": (
        nr.padded,
        {"sequences": (RAGGED, NOTHING_ELSE), "steps": (4, SIZE), "at": ("start", one_of("start", "end"))},
    ),
    "TensorDescriptor.of": (
        lambda **a: nr.TensorDescriptor.of(**a).strides and 0,
        {"array": (X, SEQUENCES), "layout": ("tnc", LAYOUT)},
    ),
    "Standardizer": (nr.Standardizer, {"mean": ((1.0, 2.0), TWO), "scale": ((1.0, 2.0), TWO)}),
    "Standardizer.of": (
        lambda **a: nr.Standardizer.of(**{"x": X} | a),
        {
            "lengths": (np.array([4, 2, 3]), LENGTHS),
            "layout": ("tnc", LAYOUT),
            "weights": (np.array([1, 2, 0.5], np.float32), optional(WEIGHTS)),
        },
    ),
    "Vocabulary": (nr.Vocabulary, {"entries": (["a"], TEXTS)}),
    "Vocabulary.of": (
        nr.Vocabulary.of,
        {"texts": (["a b", "b c"], TEXTS), "size": (None, optional(SIZE)), "least": (1, SIZE)},
    ),
    "Vocabulary.encode": (VOCABULARY.encode, {"text": ("a b", TEXT)}),
    "Ragged.of": (nr.Ragged.of, {"arrays": ([numbers(2, 2)], NOTHING_ELSE)}),
    "Vocabulary.encode_all": (VOCABULARY.encode_all, {"texts": (["a b"], TEXTS)}),
    "Vocabulary.decode": (VOCABULARY.decode, {"indices": (np.array([2, 3]), indices(4))}),
    "testing.check_gradients": (
        agreement,
        {
            "p": (RNN.init(2, seed=0, dtype="float64"), NOTHING_ELSE),
            "x": (X.astype(float), NOTHING_ELSE),
            "seed": (0, SEED),
            "directions": (1, SIZE),
            "step": (1e-3, POSITIVE),
            "tolerance": (1e-8, POSITIVE),
        },
    ),
    "dynamics.step_jacobian": (
        lambda **a: nr.dynamics.step_jacobian(RNN, RNN.init(2, seed=0), **{"state": STATE} | a),
        {"x": (X[0, 0], optional(ARRAY))},
    ),
    "dynamics.lyapunov": (
        lambda **a: nr.dynamics.lyapunov(RNN, RNN.init(2, seed=0), **{"x": X} | a).exponents,
        {
            "exponents": (2, optional(SIZE)),
            "every": (2, SIZE),
            "transient": (0, only(0, 1, 2, 3)),
            "settle": (0, only(0, 1, 2, 3)),
            "dt": (0.5, POSITIVE),
            "seed": (0, SEEDS),
            "layout": ("tnc", LAYOUT),
        },
    ),
    "dynamics.fixed_points": (
        lambda **a: nr.dynamics.fixed_points(RNN, RNN.init(2, seed=0), None, **{"starts": STATE} | a).states,
        {
            "tolerance": (None, optional(POSITIVE)),
            "slow": (1e-4, POSITIVE),
            "apart": (1e-3, POSITIVE),
            "iterations": (9, SIZE),
        },
    ),
    "dynamics.state_space_divergence": (
        lambda **a: nr.dynamics.state_space_divergence(**{"true": X, "generated": X[::-1]} | a),
        {
            "form": ("gaussian", one_of("binned", "gaussian")),
            "bins": (5, SIZE),
            "width": (0.5, POSITIVE),
            "samples": (4, SIZE),
            "seed": (0, SEED),
        },
    ),
    "dynamics.spectral_distance": (
        lambda **a: nr.dynamics.spectral_distance(**{"true": X, "generated": X[::-1]} | a),
        {"smoothing": (2.0, NOT_NEGATIVE)},
    ),
    "plot.history": (
        lines(nr.plot.history),
        {"history": (HISTORY, NOTHING_ELSE), "log": (True, FLAG), "ax": (None, optional(NOTHING_ELSE))},
    ),
    "plot.forecast": (
        lines(nr.plot.forecast),
        {"observed": (numbers(4), SERIES), "forecasts": (numbers(4, 3), SERIES), "ax": (None, optional(NOTHING_ELSE))},
    ),
    "plot.states": (
        lines(nr.plot.states),
        {"y": (X, SEQUENCES), "layout": ("tnc", LAYOUT), "sequence": (0, only(-1, 0, 1, 2))},
    ),
    "ActivationFunction": (
        nr.ActivationFunction,
        {"name": ("f", TEXT), "value": (abs, CALLABLE), "from_output": (False, FLAG)},
    ),
}

ALSO_CALLED = {"flat": ["parameter"]}

# Public names that take nothing of a user's, or are tested elsewhere by hand.
NO_ARGUMENTS = {
    "PerStep",
    "own_part",
    "load",
    "Cell",
    "Ensemble",
    "LeastSquaresFit",
    "Predictions",
    "Compiled",
    "Callback",
    "Node",
    "Flatten",
    "Last",
    "LastStep",
    "Gradients",
    "History",
    "RowGradient",
    "Optimizer",
}


def test_every_public_function_is_tried():
    tried = {re.split(r"\W", name)[0] for name in CASES}
    for name in nr.__all__:
        value = getattr(nr, name)
        if inspect.ismodule(value) or (inspect.isclass(value) and issubclass(value, BaseException)):
            continue
        assert name in tried | NO_ARGUMENTS, name


def alike(found, right):
    """Whether two results are the same: numbers to the bit, descriptions by their repr."""
    if isinstance(found, (tuple, list)):
        return len(found) == len(right) and all(map(alike, found, right))
    if isinstance(found, np.ndarray):
        return found.dtype == right.dtype and np.array_equal(found, right, equal_nan=True)
    if isinstance(found, nr.Parameters):
        return alike(found.flat, right.flat)
    if isinstance(found, nr.Gradients):
        return all(alike(getattr(found, name), getattr(right, name)) for name in ("params", "x", "state"))
    if isinstance(found, (nr.Network, nr.Graph)):
        return alike(found.params.flat, right.params.flat) and repr(found) == repr(right)
    if is_dataclass(found):
        return type(found) is type(right) and all(
            alike(getattr(found, f.name), getattr(right, f.name)) for f in fields(found)
        )
    if isinstance(found, dict):
        return found.keys() == right.keys() and all(alike(found[name], right[name]) for name in found)
    if isinstance(found, float) and isinstance(right, float):
        return found == right or math.isnan(found) and math.isnan(right)
    if type(found).__module__.startswith("numbarnn"):
        return type(found) is type(right)
    return type(found) is type(right) and found == right


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_argument_is_named_or_gives_the_right_result(name):
    function, arguments = CASES[name]
    valid = {argument: value for argument, (value, _) in arguments.items()}
    function(**valid)
    faults = []
    for argument, (value, kind) in arguments.items():
        names = [argument, *ALSO_CALLED.get(argument, ())]
        for label, make in kind.values(value).items():
            given, meant = make(), kind.right(make(), value)
            if given is value or isinstance(given, type(value)) and kind is NOTHING_ELSE:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    found = function(**valid | {argument: given})
                except ERRORS as error:
                    told = arguments if hostile.of_another_shape(label) else names
                    if not any(re.search(rf"(?<!\w){name}(?!\w)", str(error)) for name in told):
                        faults.append(f"{argument} = {label}: {type(error).__name__} does not name it: {error}")
                    continue
                except Exception as error:
                    faults.append(f"{argument} = {label}: {type(error).__name__}: {error}")
                    continue
            if meant is WRONG:
                faults.append(f"{argument} = {label}: accepted, gives {str(found)[:80]}")
            elif meant is not hostile.ANYTHING and not alike(found, function(**valid | {argument: meant})):
                faults.append(f"{argument} = {label}: not what {meant!r} gives, but {str(found)[:80]}")
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults)
