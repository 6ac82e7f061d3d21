"""Slow recurrent layers in NumPy, from the papers' equations; they share no code with the library.

Parameters are a mapping from PyTorch's names to arrays of PyTorch's shapes: ``weight_ih_l0`` is (G * H, I), its gates
in the order r z n (GRU) or i f g o (LSTM).
"""

import numpy as np


def sigmoid(a):
    """Logistic function."""
    return 1 / (1 + np.exp(-a))


ACTIVATIONS = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda a: np.maximum(a, 0),
    "identity": lambda a: a,
}


def rnn_step(f):
    """Elman (1990): ``h' = f(W x + b + R h + d)``."""

    def step(x, state, w, r, b, d, record):
        a = x @ w.T + b + state[0] @ r.T + d
        record.append(a)
        return (f(a),)

    return step


def gru_step(reset):
    """Cho et al. (2014), eq. 5-8, the reset gate after the recurrent product or before it."""

    def step(x, state, w, r, b, d, record):
        h = state[0]
        wr, wz, wn = (x @ part.T for part in np.split(w, 3))
        rr, rz, rn = np.split(r, 3)
        br, bz, bn = np.split(b, 3)
        dr, dz, dn = np.split(d, 3)
        reset_gate = sigmoid(wr + br + h @ rr.T + dr)
        update = sigmoid(wz + bz + h @ rz.T + dz)
        if reset == "after":
            candidate = np.tanh(wn + bn + reset_gate * (h @ rn.T + dn))
        else:
            candidate = np.tanh(wn + bn + (reset_gate * h) @ rn.T + dn)
        return ((1 - update) * candidate + update * h,)

    return step


def lstm_step(x, state, w, r, b, d, record):
    """Gers et al. (2000): ``c' = f c + i g``, ``h' = o tanh(c')``."""
    h, c = state
    i, f, g, o = np.split(x @ w.T + b + h @ r.T + d, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def step_of(layer):
    """(step function, number of states) of a layer's description."""
    name = type(layer).__name__
    if name == "RNN":
        return rnn_step(ACTIVATIONS[layer.activation]), 1
    if name == "GRU":
        return gru_step(layer.reset), 1
    return lstm_step, 2


def run(layer, parameters, x, state=None, record=None):
    """``(y, state)`` of a stack of layers on x (T, N, C); `record` collects the pre-activations of an RNN."""
    step, states = step_of(layer)
    record = [] if record is None else record
    directions = 2 if layer.bidirectional else 1
    shape = (layer.layers * directions, x.shape[1], layer.hidden)
    if state is None:
        state = tuple(np.zeros(shape) for _ in range(states))
    elif states == 1:
        state = (state,)
    final = []
    y = np.asarray(x, np.float64)
    for index in range(layer.layers):
        halves = []
        for direction in range(directions):
            suffix = f"l{index}" + ("_reverse" if direction else "")
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [np.asarray(parameters[f"{name}_{suffix}"], np.float64) for name in names]
            now = tuple(np.asarray(s[index * directions + direction], np.float64) for s in state)
            outputs = [None] * len(y)
            for t in reversed(range(len(y))) if direction else range(len(y)):
                now = step(y[t], now, *weights, record)
                outputs[t] = now[0]
            halves.append(np.stack(outputs))
            final.append(now)
        y = np.concatenate(halves, axis=2)
    final = tuple(np.stack(parts) for parts in zip(*final, strict=True))
    return y, final[0] if states == 1 else final


def kinks(layer, parameters, x, state=None):
    """The sign pattern of every pre-activation of a relu layer; None for a smooth layer."""
    if getattr(layer, "activation", None) != "relu":
        return None
    record = []
    run(layer, parameters, x, state, record)
    return np.concatenate([a.ravel() for a in record]) > 0
