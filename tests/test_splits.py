"""However the work is split, over rows of the batch or over hidden units, results have the same bits."""

import numba
import pytest
from checks import as_tuple, like, same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, random_case

from numbarnn.cpu import sizes, threads

UNLIKE = ("rnn-tanh", "gru-after", "gru-before", "lstm", "lstm-projected")


def results(case, count):
    """Everything forward and backward return, on so many threads."""
    numba.set_num_threads(count)
    y, state, tape = case.forward()
    found = case.backward(tape)
    return y.copy(), state, found.params.flat, found.x.copy(), found.state


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", UNLIKE)
def test_the_same_bits(kind, dtype, monkeypatch, fresh_plans):
    monkeypatch.setattr(threads, "MAX_SPLIT_ROWS", 3)

    monkeypatch.setattr(sizes, "FACTOR_BYTES", 1)  # LEAST_COLUMNS at a time

    def split_from(nbytes, columns):
        monkeypatch.setattr(threads, "SPLIT_BYTES", nbytes)
        monkeypatch.setattr(sizes, "LEAST_COLUMNS", columns)
        fresh_plans()

    @given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 200), st.integers(1, 2), st.booleans(), st.integers(1, 70))
    def check(steps, batch, hidden, layers, bidirectional, columns):
        layer = KINDS[kind](hidden, layers=layers, bidirectional=bidirectional)
        case = random_case(layer, steps, batch, 3, dtype=dtype)
        split_from(1 << 40, 1000)
        expected = results(case, 1)
        split_from(0, columns)
        for count in (1, 2, 3):
            assert same_bits(results(case, count), expected)
        last = like(case.state, [part[:, -1:] for part in as_tuple(case.state)])
        assert same_bits(layer(case.parameters, case.x[:, -1:], last)[0].copy(), expected[0][:, -1:].copy())

    check()
