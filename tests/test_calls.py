"""How many Python calls there are from a layer's call to the kernel: counted, so that no clock decides."""

from benchmarks.calls import calls_of, forward
from numbarnn import LSTM


def test_a_warm_forward_is_few_calls_in_few_files():
    layer = LSTM(19)  # sizes of its own: where another layer's equal cell has made the plan, the two are compared, twice
    found = calls_of(forward(layer, steps=23, batch=5))
    assert sum(found.values()) <= 64, found
    assert len(found) <= 24, found
