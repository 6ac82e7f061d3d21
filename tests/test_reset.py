"""A reset ends a sequence and starts it afresh: the same as cutting it there by hand."""

from dataclasses import replace

import numpy as np
import pytest
from checks import as_tuple, check_gradients, check_runs, only, results, run_alone, same_bits
from hypothesis import given
from strategies import KINDS, ragged_cases, random_case

import numbarnn as nr
from numbarnn.cpu import sizes

UNLIKE = ("rnn-tanh", "gru-after", "gru-before", "lstm")


def at(*places, steps=6, batch=3):
    """An array (T, N), True at the places."""
    reset = np.zeros((steps, batch), bool)
    for place in places:
        reset[place] = True
    return reset


CUTS = at((2, 0), (4, 0), (3, 1))  # three pieces, two, and one


def small(layer, reset=CUTS):
    """A case of three sequences with resets."""
    return random_case(layer, 6, 3, 2, reset=reset)


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("kind", UNLIKE)
def test_a_reset_is_a_cut_by_hand(kind, with_lengths):
    @given(ragged_cases(kind, with_lengths=with_lengths, with_resets=True))
    def check(case):
        check_runs(case)

    check()


@pytest.mark.parametrize("way", [{"tape": "states"}, {"checkpoints": "sqrt"}, {"checkpoints": 3}], ids=str)
@pytest.mark.parametrize("kind", UNLIKE)
def test_a_tape_that_keeps_less(kind, way, monkeypatch, fresh_plans):
    monkeypatch.setattr(sizes, "BACKWARD_ROWS", 6)

    @given(ragged_cases(kind, with_resets=True, max_steps=20, max_batch=4))
    def check(case):
        assert same_bits(results(case, **way)[:5], results(case)[:5])

    check()


@pytest.mark.parametrize("kind", UNLIKE)
def test_layouts_and_strides_agree(kind):
    @given(ragged_cases(kind, with_resets=True))
    def check(case):
        assert same_bits(results(case), results(case.plain()))

    check()


@pytest.mark.parametrize("kind", UNLIKE)
def test_backward_is_the_derivative(kind):
    @given(ragged_cases(kind, "float64", with_resets=True, merges=False))
    def check(case):
        check_gradients(case, directions=1)

    check()


@pytest.mark.parametrize("kind", UNLIKE)
def test_the_final_state_is_that_of_the_last_piece_and_in_reverse_of_the_first(kind):
    case = small(KINDS[kind](5, bidirectional=True))
    _, state, *_ = results(case)
    for found, last, first in zip(
        *(as_tuple(s) for s in (state, run_alone(case, 0, 4, 6)[1], run_alone(case, 0, 0, 2)[1])), strict=True
    ):
        assert same_bits(found[0, 0], last[0, 0]) and same_bits(found[1, 0], first[1, 0])


@pytest.mark.parametrize("kind", UNLIKE)
def test_every_piece_starts_from_the_initial_state(kind):
    case = small(KINDS[kind](5))
    _, _, _, _, dstate, *_ = results(case)
    pieces = [run_alone(case, 0, start, end)[4] for start, end in ((0, 2), (2, 4), (4, 6))]
    for found, *parts in zip(as_tuple(dstate), *map(as_tuple, pieces), strict=True):
        np.testing.assert_allclose(found[:, 0], sum(parts)[:, 0], rtol=1e-12)
        assert all(part.any() for part in parts)


@pytest.mark.parametrize("kind", UNLIKE)
def test_no_derivative_passes_a_reset(kind):
    case = small(KINDS[kind](5, layers=2))
    dy = case.dy.copy()
    dy[:4, 0] = 0
    _, _, _, dx, *_ = results(replace(case, dy=dy))
    assert not dx[:4, 0].any() and dx[4:, 0].all() and dx[:, 1:].all()


@pytest.mark.parametrize("kind", UNLIKE)
def test_no_derivative_passes_a_reset_in_reverse(kind):
    case = small(KINDS[kind](5, layers=2, bidirectional=True))
    dy = case.dy.copy()
    dy[2:, 0] = 0
    dstate = tuple(np.zeros_like(d) for d in as_tuple(case.dstate))
    _, _, _, dx, *_ = results(replace(case, dy=dy, dstate=dstate if len(dstate) == 2 else dstate[0]))
    assert not dx[2:, 0].any() and dx[:2, 0].all()


def test_nothing_is_reset_at_the_first_step_or_past_the_end():
    case = random_case(nr.LSTM(5, bidirectional=True), 6, 3, 2, lengths=np.array([4, 0, 6]))
    expected = results(case)
    assert same_bits(results(replace(case, reset=at(0, (4, 0), (5, 0), (3, 1)))), expected)
    uniform = replace(case, lengths=None)
    assert same_bits(results(replace(uniform, reset=at(0))), results(uniform))


def test_a_reset_at_every_step():
    case = small(nr.GRU(5, bidirectional=True), at(slice(None)))
    y, _, tape = case.forward()
    steps = [case.layer(case.parameters, x[None], case.state)[0] for x in case.x]
    assert same_bits(y, np.concatenate(steps))
    assert case.backward(tape).x.all()


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64])
def test_a_reset_is_true_and_false_or_1_and_0(dtype):
    case = small(nr.RNN(5))
    given_ = case.reset.astype(dtype)
    given_.flags.writeable = False
    assert same_bits(results(replace(case, reset=given_)), results(case))
    assert same_bits(results(replace(case, reset=np.asfortranarray(given_))), results(case))
    assert same_bits(results(replace(case, reset=given_.tolist())), results(case))


def test_a_sequence_does_not_know_of_the_resets_of_others():
    case = small(nr.LSTM(5, bidirectional=True))
    y, _, _, dx, *_ = results(case)
    alone = results(replace(only(case, [2]), reset=None))
    assert same_bits((y[:, [2]].copy(), dx[:, [2]].copy()), (alone[0], alone[3]))


def test_a_stream_that_is_set_back():
    layer = nr.GRU(5)
    case = random_case(layer, 6, 1, 2, reset=at((2, 0), (4, 0), batch=1), with_state=False)
    stream, y = layer.stream(case.parameters), case.forward()[0]
    for t in range(6):
        if case.reset[t, 0]:
            stream.state = None
        assert same_bits(stream.step(case.x[t]).copy(), y[t])
