"""A batch of equal lengths answers what a ragged one answers, with the same numbers."""

import numpy as np
import pytest

import numbarnn as nr
from numbarnn.arrays.packing import Packing, Uniform, packing_of
from numbarnn.layers.recurrence import MOST_WORKS


@pytest.mark.parametrize("steps, batch", [(1, 1), (5, 3), (4, 1), (1, 6)])
def test_a_uniform_batch_is_a_packing_of_equal_lengths(steps, batch):
    uniform = packing_of(steps, batch)
    packing = Packing(np.arange(batch), np.zeros(batch, int), np.full(batch, steps), batch, steps)
    assert uniform == packing_of(steps, batch, np.full(batch, steps)) == Uniform(steps, batch)
    assert uniform.uniform and not packing.uniform
    for name in ("steps", "batch", "rows", "total", "sequences"):
        assert getattr(uniform, name) == getattr(packing, name), name
    assert np.array_equal(uniform.places, packing.places) and np.array_equal(uniform.lengths, packing.lengths)
    rows, h = np.arange(uniform.rows), np.arange((steps + 2) * batch)
    for first in (False, True):
        for numbers, a, b in zip((np.arange(batch), rows), uniform.end_rows(first), packing.end_rows(first)):
            assert np.array_equal(numbers[a], numbers[b])
        assert np.array_equal(h[uniform.initial_rows(first)], h[packing.initial_rows(first)])
        assert np.array_equal(h[uniform.final_rows(first)], h[packing.final_rows(first)])
    for count in range(1, steps + 1):
        assert uniform.blocks(1, count + 1) == packing.blocks(1, count + 1)
        assert uniform.most_rows(count) == packing.most_rows(count)
        assert uniform.most_blocks(count) == packing.most_blocks(count)
    array = np.random.default_rng(0).standard_normal((steps, batch, 2))
    assert np.array_equal(uniform.of_steps(array).reshape(packing.shape(2)), packing.of_steps(array))
    spread = np.broadcast_to(uniform.of_sequences(array[0]), uniform.shape(2))
    assert np.array_equal(spread.reshape(packing.shape(2)), packing.of_sequences(array[0]))
    assert np.array_equal(uniform.summed(array), packing.summed(array))


def test_it_answers_everything_but_what_only_runs_have():
    packing = Packing(np.arange(2), np.zeros(2, int), np.array([3, 1]), 2, 3)
    missing = {name for name in dir(packing) if not name.startswith("_")} - set(dir(Uniform(3, 2)))
    assert missing == {"start", "length", "ends", "runs_of_sequences"}


def test_lengths_that_come_again_are_one_packing_whose_work_is_kept():
    lengths, x = np.array([3, 0, 5, 1]), np.random.default_rng(0).standard_normal((5, 4, 2))
    layer = nr.GRU(3, layers=2)
    p = layer.init(2, dtype="float64")
    found = []
    for _ in range(4):
        y, _, tape = layer.forward(p, x, lengths=lengths)
        found.append((y, layer.backward(tape, y).params.flat, tape.stack[0].packing))
        lengths = lengths.copy()
    packing = found[0][2]
    assert all(each[2] is packing for each in found) and len(packing.works) == 2  # of each stacked layer
    for y, gradient, _ in found[1:]:
        assert np.array_equal(y, found[0][0]) and np.array_equal(gradient, found[0][1])
    assert packing_of(6, 4, lengths) is not packing and packing_of(5, 4, lengths[::-1]) is not packing
    lengths[0] = 4
    assert np.array_equal(packing_of(5, 4, lengths).lengths, lengths) and np.array_equal(packing.lengths, [3, 0, 5, 1])


def test_the_work_kept_for_the_same_lengths_is_bounded():
    lengths, x = np.array([2, 1]), np.ones((2, 2, 1))
    for hidden in range(1, MOST_WORKS + 3):
        layer = nr.RNN(hidden)
        layer(layer.init(1, dtype="float64"), x, lengths=lengths)
    assert 0 < len(packing_of(2, 2, lengths).works) <= MOST_WORKS
