"""Weights that are zero in most places: lists of what is not zero give the bits of the whole matrix."""

import numba
import numpy as np
import pytest
from checks import same_bits
from hypothesis import given, settings
from hypothesis import strategies as st

import numbarnn as nr
from numbarnn.cpu import sparse

LAYERS = {
    "LeakyRNN": lambda hidden: nr.LeakyRNN(hidden, rate=0.3),
    "GRU": lambda hidden: nr.GRU(hidden, reset="before"),  # whose candidate has a product of its own
    "both directions": lambda hidden: nr.LeakyRNN(hidden, rate=0.3, bidirectional=True),
}


def weights(p, density, full=0, seed=0):
    """Fill the recurrent weights, of which a part is not zero, and all those to the first `full` units."""
    random = np.random.default_rng(seed)
    for name in p.names:
        if "weight_hh" in name:
            shape = p[name].shape
            there = random.random(shape) < np.where(np.arange(shape[0]) < full, 1, density)[:, None]
            p[name][...] = np.where(there, random.standard_normal(shape), -0.0) / np.sqrt(0.1 * shape[1])


def listed(layer, p):
    """How many blocks of recurrent weights have lists in a stream of the layer, and how many there are; (0, 0) without."""
    tape = layer.stream(p)._layers[0][1].stack[0]
    size, found = tape.size, []
    for name, numbers in sparse.lists(size).items():
        if name in tape.plans.tape.offsets:
            memory = tape.block[tape.plans.tape.offsets[name] :][: numbers * size.dtype.itemsize].view(np.int64)
            blocks = -(-size.padded // (sparse.lanes_of(size.dtype) * max(1, 4 // size.cell.slots)))
            found += [memory[block * len(memory) // blocks] for block in range(blocks)]
    return int(sum(found)), len(found)


def bits(layer, p, x, state):
    y, final = layer(p, x, state)
    return y.copy(), final.copy()


def with_and_without(monkeypatch, call):
    """What a call returns, and what it does where no weight has lists."""
    found = call()
    with monkeypatch.context() as patch:
        patch.setattr(sparse, "pays", lambda size, keep: False)
        return found, call()


@given(
    st.sampled_from(list(LAYERS)), st.one_of(st.integers(182, 270), st.integers(513, 600)),
    st.sampled_from(("float32", "float64")), st.sampled_from((0.0, 0.001, 0.02, 0.06)), st.sampled_from((0, 20)),
    st.integers(0, 999), st.sampled_from((None, np.nan, np.inf, -np.inf)),
)  # fmt: skip
@settings(deadline=None, max_examples=30)
def test_the_same_bits(kind, hidden, dtype, density, full, seed, wrong):
    layer, random = LAYERS[kind](hidden), np.random.default_rng(seed)
    p = layer.init(2, seed=0, dtype=dtype)
    weights(p, density, full, seed)
    x = random.standard_normal((sparse.STEPS, 1, 2)).astype(dtype)
    state = random.standard_normal((layer.directions, 1, hidden)).astype(dtype)
    if wrong is not None:
        state[0, 0, seed % hidden] = wrong
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        for one, other in zip(*with_and_without(patch, lambda: bits(layer, p, x, state))):
            assert same_bits(one, other)


@pytest.mark.parametrize("kind", ["LeakyRNN", "GRU"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lists_are_made_where_zeros_are(kind, dtype):
    layer = LAYERS[kind](600)
    p = layer.init(2, seed=0, dtype=dtype)
    assert listed(layer, p) == (0, 0)
    weights(p, 0.01)
    some, blocks = listed(layer, p)
    assert some == blocks > 0
    weights(p, 0.01, full=70)
    some, blocks = listed(layer, p)
    assert 0 < some < blocks


def reservoir(dtype="float64", hidden=200):
    connected = nr.Connectivity(density=0.03, spectral_radius=0.9)
    return nr.Network([nr.LeakyRNN(hidden, 0.5, connectivity=connected), nr.Dense(1)], 1, dtype, seed=0)


def test_weights_that_change_between_calls():
    """A call that was prepared looks at the weights again, and so does a training's forward."""
    layer = nr.LeakyRNN(200, 0.5)
    p, x = layer.init(1, seed=0, dtype="float64"), np.random.default_rng(0).standard_normal((80, 1, 1))
    for seed, (density, full) in enumerate(((0.02, 0), (0.02, 0), (1.0, 0), (0.0, 0), (0.02, 20), (1.0, 0), (0.03, 0))):
        weights(p, density, full, seed)
        r, h = p["weight_hh_l0"], np.zeros(200)
        found = layer(p, x)[0][:, 0]
        for t in range(80):
            drive = p["weight_ih_l0"] @ x[t, 0] + p["bias_ih_l0"] + p["bias_hh_l0"]
            h = 0.5 * h + 0.5 * np.tanh(drive + r @ h)
            np.testing.assert_allclose(found[t], h, rtol=0, atol=1e-9)
            h = found[t]  # a chaotic network leaves no digit to compare after some steps


@pytest.mark.parametrize("count", [1, 2])
def test_streams_compiled_steps_and_readouts(monkeypatch, count):
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    x = np.random.default_rng(0).standard_normal((100, 1, 1))

    def call():
        net = reservoir()
        net.fit_readout(x, np.sin(x), 1e-6, warmup=10)
        stream, step = net.stream(), net.compiled_step()
        y, state, work = np.empty((100, 1)), step.initial_state(), step.workspace()
        for t in range(100):
            step(x[t, 0], state, y[t], work)
        learned = nr.RecursiveLeastSquares(reservoir()).run(x[:, 0], np.sin(x[:, 0]))
        return net.params.flat.copy(), stream.run(x), stream.step(x[0]), y, state, learned

    for one, other in zip(*with_and_without(monkeypatch, call)):
        assert same_bits(one, other)


def test_the_gradient_of_a_sparse_network(monkeypatch):
    """Forward has the bits of the whole matrix, and so has backward, with all that is kept and with checkpoints."""
    x = np.random.default_rng(0).standard_normal((80, 1, 1))

    def call(**keep):
        net = reservoir()
        y, _, tape = net.forward(x, **keep)
        return y.copy(), net.backward(tape, np.cos(y)).params.flat

    (y, gradient), expected = with_and_without(monkeypatch, call)
    assert same_bits(y, expected[0]) and same_bits(gradient, expected[1])
    for keep in ({"tape": "states"}, {"checkpoints": 3}):
        assert all(map(same_bits, call(**keep), expected))
    assert listed(reservoir().layers[0], reservoir().split(reservoir().params.flat)[0])[0] > 0
