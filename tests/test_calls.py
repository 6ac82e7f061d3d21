"""How many Python calls there are from a layer's call to the kernel: counted, so that no clock decides."""

from benchmarks.calls import calls_of, forward
from numbarnn import LSTM


def test_a_warm_forward_is_few_calls_in_few_files():
    found = calls_of(forward(LSTM(19), steps=23, batch=5))  # sizes of its own: a plan found by an equal cell compares it, twice
    assert found["cpu/recurrent.py"] == 1, "the kernel itself"
    assert sum(found.values()) <= 60, found
    assert len(found) <= 20, found
