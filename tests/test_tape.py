"""A tape that keeps less gives the same bits, and holds what its formula says."""

import numba
import numpy as np
import pytest
from checks import as_tuple, same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, random_case

import numbarnn as nr
from numbarnn.cpu import sizes

UNLIKE = ("rnn-tanh", "gru-after", "gru-before", "lstm", "lstm-projected")
WAYS = st.one_of(
    st.just({"tape": "states"}),
    st.just({"checkpoints": "sqrt"}),
    st.builds(dict, checkpoints=st.integers(1, 40)),
)


def results(case, **way):
    """Everything forward and backward return, as one tuple."""
    y, state, tape = case.layer.forward(case.parameters, case.x, case.state, layout=case.layout, **way)
    found = case.layer.backward(tape, case.dy, case.dstate)
    return y.copy(), state, found.params.flat, found.x.copy(), found.state


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", UNLIKE)
def test_the_same_bits(kind, dtype, monkeypatch, fresh_plans):
    monkeypatch.setattr(sizes, "BACKWARD_ROWS", 6)  # many segments in short sequences

    @given(
        WAYS, st.integers(1, 30), st.integers(1, 4), st.integers(1, 20), st.integers(1, 2), st.booleans(), st.integers(1, 3)
    )
    def check(way, steps, batch, hidden, layers, bidirectional, threads):
        layer = KINDS[kind](hidden, layers=layers, bidirectional=bidirectional)
        case = random_case(layer, steps, batch, 3, dtype=dtype)
        expected = results(case)
        numba.set_num_threads(threads)
        assert same_bits(results(case, **way), expected)

    check()


@pytest.mark.parametrize("way", [{"tape": "states"}, {"checkpoints": 3}], ids=str)
def test_a_tape_serves_twice_and_adds_up(way):
    case = random_case(nr.LSTM(5), 700, 2, 3)
    _, _, tape = case.layer.forward(case.parameters, case.x, **way)
    first = case.layer.backward(tape, case.dy)
    twice = case.layer.backward(tape, case.dy, into=first.params.copy(), accumulate=True)
    again = case.layer.backward(tape, case.dy)
    assert same_bits(first.params.flat, again.params.flat)
    np.testing.assert_allclose(twice.params.flat, 2 * first.params.flat, rtol=1e-12)


def test_changing_the_parameters_after_forward_changes_nothing():
    for way in ({}, {"tape": "states"}, {"checkpoints": 2}):
        case = random_case(nr.GRU(5), 600, 2, 3)
        expected = results(case, **way)
        y, _, tape = case.layer.forward(case.parameters, case.x, case.state, **way)
        case.parameters.flat[:] = 7
        found = case.layer.backward(tape, case.dy, case.dstate)
        assert same_bits(found.params.flat, expected[2])


def bytes_of(kind, **way):
    layer = KINDS[kind](64)
    p = layer.init(8, dtype="float32")
    return layer.forward(p, np.zeros((4096, 2, 8), np.float32), **way)[2].nbytes


@pytest.mark.parametrize(
    "kind, states, saved", [("lstm", 2, 4), ("gru-after", 1, 4), ("gru-before", 1, 3), ("rnn-tanh", 1, 0)]
)
def test_bytes(kind, states, saved):
    step = 4 * 2 * 64
    operand = 1 if kind == "gru-before" else 0
    slots = 4 if kind in ("lstm", "gru-after") else 3 if kind == "gru-before" else 1
    weights = 4 * (8 + 64 + 64) * slots * 64
    assert 0 <= bytes_of(kind) - step * (4098 * states + 4096 * (saved + operand)) <= weights
    assert 0 <= bytes_of(kind, tape="states") - step * 4098 * states <= 2 * weights
    assert 0 <= bytes_of(kind, checkpoints=8) - step * 8 * states <= 2 * weights


def test_training_takes_the_same_steps():
    x, y = nr.windows(np.sin(np.arange(80, dtype=np.float32) / 3), 24)
    found = []
    for way in ({}, {"tape": "states"}, {"checkpoints": "sqrt"}):
        net = nr.Network([nr.GRU(6, layers=2), nr.Activation("relu"), nr.LSTM(4), nr.Last(), nr.Dense(1)], 1, seed=0)
        net.fit(x, y, epochs=2, batch_size=20, progress=False, **way)
        found.append(net.params.flat.copy())
    assert same_bits(found[0], found[1]) and same_bits(found[0], found[2])


def test_bad_arguments():
    layer = nr.GRU(3)
    p, x = layer.init(1), np.zeros((4, 1, 1), np.float32)
    with pytest.raises(nr.UnknownNameError, match="tape.*'states'"):
        layer.forward(p, x, tape="state")
    with pytest.raises(ValueError, match="tape.*checkpoints"):
        layer.forward(p, x, tape="states", checkpoints=2)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="checkpoints.*got"):
            layer.forward(p, x, checkpoints=wrong)
    for wrong in ("square", 2.5):
        with pytest.raises((TypeError, ValueError), match="checkpoints.*got"):
            layer.forward(p, x, checkpoints=wrong)


def test_the_final_state_with_checkpoints():
    case = random_case(nr.LSTM(4, layers=2, bidirectional=True), 9, 2, 3)
    _, expected, _ = case.forward()
    y, state, tape = case.layer.forward(case.parameters, case.x, case.state, checkpoints=2)
    assert same_bits(as_tuple(state), as_tuple(expected))
    assert y.shape == (9, 2, 8)
