"""Without an initial state the state is zeros: products with it are skipped, and no bit changes."""

from unittest.mock import patch

import numpy as np
import pytest
from checks import as_tuple
from hypothesis import given, settings
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.cpu import launch

CELLS = {
    "rnn": lambda **options: nr.RNN(19, **options),
    "gru": lambda **options: nr.GRU(19, **options),
    "gru-before": lambda **options: nr.GRU(19, reset="before", **options),
    "lstm": lambda **options: nr.LSTM(19, **options),
    "lstm-projected": lambda **options: nr.LSTM(19, projection=7, **options),
    "lstm-normalized": lambda **options: nr.LSTM(19, normalized=True, **options),
}
CHANNELS = 3


def all_of(found):
    """All arrays of results, one after the other, some of them in tuples."""
    return np.concatenate([np.ravel(part) for each in found for part in as_tuple(each)])


def both(layer, x, lengths=None, reset=None, dy=None, spoil=None, **kept):
    """All that a layer makes of x: from no state, and from zeros."""
    p, found = layer.init(CHANNELS, seed=1, dtype=x.dtype), []
    if spoil is not None:
        p["weight_hh_l0"][0, 0] = spoil
    for zeros in (False, True):
        state = None
        if zeros:
            state = [np.zeros_like(part) for part in as_tuple(found[0][1])]
            state = tuple(state) if len(state) > 1 else state[0]
        y, final, tape = layer.forward(p, x, state, lengths=lengths, reset=reset, **kept)
        own = np.random.default_rng(2).standard_normal(y.shape).astype(x.dtype) if dy is None else dy(y)
        g = layer.backward(tape, own)
        found.append((y, final, g.params.flat, g.x, g.state))
    return found


def check_same(found):
    """Every bit of what two calls found, NaN where NaN is."""
    absent, zeros = map(all_of, found)
    assert np.array_equal(absent, zeros, equal_nan=True)
    return absent


@pytest.mark.parametrize("name", CELLS)
@settings(deadline=None, max_examples=25)
@given(
    steps=st.sampled_from((1, 2, 7, 40)), batch=st.sampled_from((1, 2, 5, 30, 300)), two=st.booleans(),
    dtype=st.sampled_from(("float32", "float64")), seed=st.integers(0, 99),
    ragged=st.sampled_from((None, "lengths", "reset")), kept=st.sampled_from(({}, {"tape": "states"}, {"checkpoints": 3})),
)  # fmt: skip
def test_no_state_is_a_state_of_zeros_to_the_bit(name, steps, batch, two, dtype, seed, ragged, kept):
    random = np.random.default_rng(seed)
    lengths = random.integers(0, steps + 1, batch) if ragged == "lengths" else None
    reset = random.random((steps, batch)) < 0.2 if ragged == "reset" else None
    x = random.standard_normal((steps, batch, CHANNELS)).astype(dtype)
    assert np.isfinite(check_same(both(CELLS[name](bidirectional=two), x, lengths, reset, **kept))).all()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("kept", [{}, {"checkpoints": 3}])
@pytest.mark.parametrize("spoil", [np.inf, np.nan])
@pytest.mark.parametrize("steps", [1, 2, 40])
def test_recurrent_weights_that_are_not_finite_are_seen_at_the_first_step(name, kept, spoil, steps):
    x = np.random.default_rng(0).standard_normal((steps, 5, CHANNELS)).astype(np.float32)
    with patch.object(nr.Parameters, "_check_finite", lambda *arguments: None):
        for _ in range(2):  # the second time they may lie packed in memory that is used again
            found = both(CELLS[name](), x, spoil=spoil, **kept)
            check_same(found)
            assert not np.isfinite(found[0][0][0]).all()


@pytest.mark.parametrize("name", CELLS)
def test_derivatives_that_are_not_finite_at_the_first_step_reach_the_gradient(name):
    layer = CELLS[name](bidirectional=True)
    x = np.random.default_rng(0).standard_normal((4, 3, CHANNELS)).astype(np.float32)
    p = layer.init(CHANNELS, seed=1)
    gradients = []
    for state in (False, True):
        zeros = layer.forward(p, x)[1]
        zeros = tuple(map(np.zeros_like, zeros)) if isinstance(zeros, tuple) else np.zeros_like(zeros)
        _, _, tape = layer.forward(p, x, zeros if state else None, tape="states")
        dy = np.zeros((4, 3, layer.output_channels(CHANNELS)), np.float32)
        dy[[0, -1]] = np.inf
        described = tape.batch.describe("dy", dy, dy.shape[-1], dy.dtype)
        gradient = p.zeros()
        tape.adjoint(described, False, gradient, False).fill()
        gradients.append(gradient.flat)
    assert not np.isfinite(gradients[0]).all()
    assert np.array_equal(*gradients, equal_nan=True)


def test_the_products_with_a_state_that_nobody_gave_are_left_out():
    layer, random = nr.RNN(19), np.random.default_rng(0)
    p, x = layer.init(CHANNELS, seed=1), random.standard_normal((4, 3, CHANNELS)).astype(np.float32)
    y, _, tape = layer.forward(p, x, tape="states")
    (kernels,) = tape.stack
    dy = tape.batch.describe("dy", random.standard_normal(y.shape).astype(np.float32), 19, x.dtype)
    gradient = p.zeros()
    adjoint = tape.adjoint(dy, True, gradient, False)
    adjoint.fill()
    expected = gradient.flat.copy()
    kernels.h[:3] = 1e3  # where the initial state lies
    tape.fill()
    adjoint.fill()
    assert np.array_equal(kernels.h[3:15].reshape(y.shape), y)
    assert np.array_equal(gradient.flat, expected)
    tape.start(None)
    kept = adjoint.stack[0].dinitial[0].copy()
    adjoint.spare()
    adjoint.fill()
    assert np.array_equal(gradient.flat, expected) and adjoint.stack[0].dinitial == []
    assert not np.array_equal(adjoint.stack[0]._dinitial[0], kept)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("lengths", [None, np.array([2, 5, 0, 4, 1])])
def test_a_training_finds_the_gradient_that_backward_gives(name, lengths):
    random = np.random.default_rng(0)
    x, y = (random.standard_normal((5, 5, c)).astype(np.float32) for c in (CHANNELS, 38))
    net = nr.Network([CELLS[name](), CELLS[name](bidirectional=True)], channels=CHANNELS, seed=0)
    if name == "lstm-projected":
        y = y[..., :14]
    _, gradient = net.loss_and_gradient(net.params.flat, x, y, lengths=lengths, loss="mse")
    gradient = gradient.copy()
    output, _, tape = net.forward(x, lengths=lengths)
    dy = np.zeros_like(output)
    counts = np.full(5, 5) if lengths is None else lengths
    for n, count in enumerate(counts):
        dy[:count, n] = 2 * (output[:count, n] - y[:count, n]) / (counts.sum() * y.shape[2])
    found = net.backward(tape, dy).params.flat
    assert np.abs(found - gradient).max() <= 4 * np.finfo(np.float32).eps * np.abs(found).max()  # of dy, rounded otherwise


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_a_training_goes_on_from_the_states_that_it_carries(name):
    random = np.random.default_rng(0)
    x, y = random.standard_normal((12, 2, CHANNELS)), random.standard_normal((12, 2, 1))
    net = nr.Network([CELLS[name](), nr.Dense(1)], channels=CHANNELS, dtype="float64", seed=0)
    whole = [net.loss_and_gradient(net.params.flat, x[:6], y[:6])[1].copy()]
    _, state = net(x[:6])
    _, _, tape = net.forward(x[6:], state)
    output = net(x[6:], state)[0]
    whole.append(net.backward(tape, 2 * (output - y[6:]) / output.size).params.flat.copy())
    seen = []

    class Seen(nr.SGD):
        """Remembers the gradients."""

        def update(self, flat, previous, gradient, memory, step, rate, scale):
            seen.append(gradient.copy())

    net.fit(x, y, "mse", Seen(0.1), 2, 2, progress=False, carry=True, steps=6)
    for found, expected in zip(seen, whole * 2):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)
    assert len(seen) == 4


def test_the_kernels_read_where_the_state_is_given_anew():
    layer = nr.GRU(19)
    p, x = layer.init(CHANNELS, seed=1), np.ones((3, 2, CHANNELS), np.float32)
    state = np.full((1, 2, 19), 0.5, np.float32)
    y, _, tape = layer.forward(p, x, tape="states")
    given, _ = layer(p, x, state)
    tape.start([state[:, None]])
    tape.fill()
    assert np.array_equal(tape.stack[0].outputs.array.reshape(given.shape), given)
    tape.start(None)
    tape.fill()
    assert np.array_equal(tape.stack[0].outputs.array.reshape(y.shape), y)
    assert isinstance(tape.stack[0], launch.Tape)
