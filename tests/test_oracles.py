"""The slow NumPy layers against their own definitions: lengths and resets, cells, and one option by another."""

import numpy as np
import oracles
import pytest
from checks import as_tuple, like
from hypothesis import given
from hypothesis import strategies as st

CASES = {
    "rnn": ("RNN", {}),
    "rnn-clip": ("RNN", {"activation": ("leaky_relu", 0.2), "clip": 0.5}),
    "gru": ("GRU", {"reset": "before"}),
    "lstm": ("LSTM", {"peepholes": True, "clip": 1.0}),
    "lstm-projection": ("LSTM", {"projection": 2, "coupled": True}),
    "mgu": ("MGU", {}),
    "indrnn": ("IndRNN", {}),
    "leaky": ("LeakyRNN", {"rate": 0.3, "form": "inside", "learned": True}),
}


def case_of(name, seed, hidden=3, steps=6, batch=4, channels=2, **options):
    """(layer, parameters, x, initial state) with normal numbers in float64."""
    kind, given_options = CASES[name]
    layer = oracles.described(kind, hidden, **(given_options | options))
    random = np.random.default_rng(seed)
    p = oracles.random_parameters(layer, channels, random, "float64")
    return layer, p, random.standard_normal((steps, batch, channels)), oracles.random_state(layer, batch, random, "float64")


def one(state, index, size=1):
    """The part of a state that belongs to one sequence."""
    return like(state, [s[:, index : index + size] for s in as_tuple(state)])


def close(a, b):
    """Assert that two arrays, or tuples of them, are the same but for rounding."""
    for x, y in zip(as_tuple(a), as_tuple(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_lengths_and_resets_are_separate_runs(name, bidirectional):
    @given(st.integers(0, 2**16), st.lists(st.integers(0, 6), min_size=4, max_size=4), st.floats(0, 1))
    def check(seed, lengths, often):
        layer, p, x, state = case_of(name, seed, bidirectional=bidirectional)
        reset = np.random.default_rng(seed).random(x.shape[:2]) < often
        x[np.arange(6)[:, None] >= lengths] = np.nan
        cells = {"cells": isinstance(state, tuple)}
        y, final, *c = oracles.run(layer, p, x, state, lengths=lengths, reset=reset, **cells)
        for n, length in enumerate(lengths):
            borders = [0, *(t for t in range(1, length) if reset[t, n]), length]
            start = one(state, n)
            finals = [start]
            for a, b in zip(borders, borders[1:]):
                if a < b:
                    part, reached, *through = oracles.run(layer, p, x[a:b, n : n + 1], start, **cells)
                    close(tuple(v[a:b, n : n + 1] for v in (y, *c)), (part, *through))
                    finals.append(reached)
            finals = finals[1:] or finals
            for value, first, last in zip(as_tuple(one(final, n)), as_tuple(finals[0]), as_tuple(finals[-1])):
                close(value[0], last[0])
                close(value[1:], first[1:])
            assert all((v[length:, n] == 0).all() for v in (y, *c))

    check()


@pytest.mark.parametrize("name", CASES)
def test_stacked_layers_are_layers_in_a_row(name):
    layer, p, x, state = case_of(name, 1, layers=2, bidirectional=True)
    single = oracles.described(type(layer).__name__, **(vars(layer) | {"layers": 1}))
    lengths = [6, 0, 3, 5]
    y = x
    for index in range(2):
        part = {key.replace(f"l{index}", "l0"): value for key, value in p.items() if f"l{index}" in key}
        initial = like(state, [s[2 * index : 2 * index + 2] for s in as_tuple(state)])
        y, final = oracles.run(single, part, y, initial, lengths=lengths)
    expected, reached = oracles.run(layer, p, x, state, lengths=lengths)
    close(y, expected)
    close(final, like(state, [s[2:] for s in as_tuple(reached)]))


def test_cells_are_those_of_every_step():
    layer, p, x, state = case_of("lstm", 2)
    _, _, c = oracles.run(layer, p, x, state, cells=True)
    for t in range(len(x)):
        close(c[t], oracles.run(layer, p, x[: t + 1], state)[1][1][0])


@pytest.mark.parametrize("name", oracles.ACTIVATIONS)
def test_kinks_are_where_the_slope_is_not_continuous(name):
    function, defaults, kinks = oracles.ACTIVATIONS[name]
    a = np.linspace(-4, 4, 8001) + 1e-5
    curvature = np.abs(np.diff(function(a, *defaults), 2)) / 1e-6
    there = np.zeros(len(curvature), bool)
    for kink in kinks(*defaults):
        there |= np.abs(a[1:-1] - kink) < 2e-3
    assert curvature[~there].max() < 2.1
    if name not in ("softsign", "elu"):  # there the slope is continuous, and the curvature jumps
        assert all(curvature[np.abs(a[1:-1] - kink) < 2e-3].max() > 90 for kink in kinks(*defaults))


def test_clip_limits_every_gate():
    layer, p, x, state = case_of("lstm", 3, clip=1e-15)
    y, (h, c) = oracles.run(layer, p, 100 * x[:1], state)
    close(c, 0.5 * state[1])
    close(h, 0.5 * np.tanh(c))


def test_coupled_gates_are_a_forget_gate_of_opposite_sign():
    layer, p, x, state = case_of("lstm", 4, coupled=True, clip=None)
    free = oracles.described("LSTM", 3, peepholes=True)
    q = {}
    for name, value in p.items():
        i, *rest = np.split(value, 2 if name.startswith("peephole") else 3)
        q[name] = np.concatenate([i, -i, *rest])
    close(oracles.run(layer, p, x, state)[0], oracles.run(free, q, x, state)[0])


def test_projection_by_the_identity_is_none():
    layer, p, x, state = case_of("lstm", 5)
    projected = oracles.described("LSTM", 3, peepholes=True, clip=1.0, projection=3)
    close(oracles.run(projected, p | {"weight_hr_l0": np.eye(3)}, x, state)[0], oracles.run(layer, p, x, state)[0])


def test_mgu_is_a_gru_with_one_gate():
    layer, p, x, state = case_of("mgu", 6)
    w, r = ([value[:3], -value[:3], value[3:]] for value in (p["weight_ih_l0"], p["weight_hh_l0"]))
    b = p["bias_ih_l0"] + p["bias_hh_l0"]
    q = {"weight_ih_l0": np.concatenate(w), "weight_hh_l0": np.concatenate(r), "bias_ih_l0": np.r_[b[:3], -b[:3], b[3:]]}
    close(oracles.run(layer, p, x, state), oracles.run(oracles.described("GRU", 3, reset="before"), q, x, state))


def test_indrnn_is_an_rnn_with_a_diagonal_matrix():
    layer, p, x, state = case_of("indrnn", 7)
    full = p | {"weight_hh_l0": np.diag(p["weight_hh_l0"])}
    close(oracles.run(layer, p, x, state), oracles.run(oracles.described("RNN", 3, activation="relu"), full, x, state))


def test_leaky_layers_without_a_leak_are_plain():
    layer, p, x, state = case_of("leaky", 8, learned=False, form="outside", rate=1.0)
    close(oracles.run(layer, p, x, state), oracles.run(oracles.described("RNN", 3), p, x, state))
    inside = oracles.described("LeakyRNN", 3, rate=(1.0, 1.0, 1.0), form="inside")
    y, _ = oracles.run(oracles.described("RNN", 3), p, x, np.tanh(state))
    close(np.tanh(oracles.run(inside, p, x, state)[0]), y)


def test_leaky_rate():
    layer, p, x, state = case_of("leaky", 9, learned=False, form="outside", rate=(0.0, 0.5, 1.0))
    y = oracles.run(layer, p, x[:1], state)[0][0]
    f = np.tanh(x[0] @ p["weight_ih_l0"].T + state[0] @ p["weight_hh_l0"].T + p["bias_ih_l0"] + p["bias_hh_l0"])
    close(y, np.stack([state[0][:, 0], (state[0] + f)[:, 1] / 2, f[:, 2]], axis=1))
    learned = p | {"rate_l0": np.array([0.0, 0.5, 1.0])}
    close(oracles.run(oracles.described("LeakyRNN", 3, rate=9.0), learned, x[:1], state)[0][0], y)
