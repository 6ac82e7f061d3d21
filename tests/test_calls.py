"""How many Python calls there are from a call of the library to the kernel: counted, so that no clock decides."""

import gc

import numpy as np
import pytest

from benchmarks.calls import backward, calls_of, forward, predict, step, step_of_indices
from numbarnn import LSTM


@pytest.mark.parametrize("make, calls, files", [(forward, 22, 9), (backward, 24, 11), (predict, 17, 9), (step, 9, 6)])
def test_a_warm_call_is_few_calls_in_few_files(make, calls, files):
    found = calls_of(make())
    assert sum(found.values()) <= calls, found
    assert len(found) <= files, found


def test_a_step_of_indices_is_no_more_calls_than_one_of_numbers():
    assert sum(calls_of(step_of_indices()).values()) == sum(calls_of(step()).values())


def test_a_forward_that_is_too_large_to_be_prepared():
    # Sizes of its own: where another layer's equal cell has made the plan, the two are compared, twice.  Two calls are what
    # it takes to let other threads run Python while it computes.
    found = calls_of(forward(LSTM(19), steps=500, batch=20))
    assert sum(found.values()) <= 76, found
    assert len(found) <= 25, found


def test_calls_whose_tapes_are_all_kept():
    kept, run = [], forward(LSTM(19), steps=23, batch=5)
    found = [sum(calls_of(lambda: kept.append(run()), times=1).values()) for _ in range(10)]
    assert max(found[6:]) <= 76, found
    assert len({tape.stack[0].h.ctypes.data for _, _, tape in kept}) == 10
    assert all(np.array_equal(tape.stack[0].outputs.array, y) for y, _, tape in kept)


def test_what_others_leave_behind_is_not_counted():
    def leaves_a_cycle():
        cycle = [tapes.pop()]  # its lease ends when the cycle is collected: that is a call of the library
        cycle.append(cycle)
        del cycle
        return run()

    run, other = forward(), forward(LSTM(3))
    expected, thresholds = sum(calls_of(run).values()), gc.get_threshold()
    tapes = [other()[2] for _ in range(8)]
    gc.set_threshold(1, 1, 1)
    try:
        assert sum(calls_of(leaves_a_cycle).values()) == expected
    finally:
        gc.set_threshold(*thresholds)
