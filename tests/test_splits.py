"""However the work is split, over rows of the batch or over hidden units, results have the same bits."""

import numba
import pytest
from checks import same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, random_case

from numbarnn.cpu import launch, threads

UNLIKE = ("rnn-tanh", "gru-after", "gru-before", "lstm")


def results(case, split_bytes, count, monkeypatch):
    """Everything forward and backward return, with units split from so many bytes of weights on."""
    monkeypatch.setattr(threads, "SPLIT_BYTES", split_bytes)
    launch._forward_plans.cache_clear()
    launch._backward_plans.cache_clear()
    numba.set_num_threads(count)
    y, state, tape = case.forward()
    found = case.backward(tape)
    return y.copy(), state, found.params.flat, found.x.copy(), found.state


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", UNLIKE)
def test_the_same_bits(kind, dtype, monkeypatch):
    monkeypatch.setattr(threads, "MAX_SPLIT_ROWS", 3)

    @given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 200), st.integers(1, 2), st.booleans())
    def check(steps, batch, hidden, layers, bidirectional):
        layer = KINDS[kind](hidden, layers=layers, bidirectional=bidirectional)
        case = random_case(layer, steps, batch, 3, dtype=dtype)
        expected = results(case, 1 << 40, 1, monkeypatch)
        for count in (1, 2, 3):
            assert same_bits(results(case, 0, count, monkeypatch), expected)

    check()
    monkeypatch.undo()
    launch._forward_plans.cache_clear()
    launch._backward_plans.cache_clear()
