"""Ragged batches: each sequence has the bits it has alone, and what lies behind it neither enters nor comes out."""

from dataclasses import replace

import numba
import numpy as np
import pytest
from checks import as_tuple, check_gradients, check_runs, only, results, routed, same_bits
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, STRIDES, ragged_cases, random_case

import numbarnn as nr
from numbarnn.cpu import recurrent, sizes, threads

UNLIKE = ("rnn-tanh", "gru-after", "gru-before", "lstm")
WAYS = ({}, {"tape": "states"}, {"checkpoints": "sqrt"}, {"checkpoints": 2}, {"checkpoints": 40})


def small(layer, lengths=(4, 0, 2, 3), dtype="float64", **fields):
    """A small case with lengths, one of them 0."""
    return random_case(layer, 4, len(lengths), 3, dtype=dtype, lengths=np.array(lengths), **fields)


def beyond(case):
    """(T, N): what lies past the lengths."""
    return np.arange(len(case.x))[:, None] >= case.lengths


def ragged(tnc, lengths):
    """The sequences of a padded (T, N, C) array as a Ragged."""
    return nr.Ragged.of([tnc[:length, n] for n, length in enumerate(lengths)])


def first_results(found):
    """Without the cells, which a tape of checkpoints does not give."""
    return found[:5]


@pytest.mark.parametrize("kind", UNLIKE)
def test_a_batch_is_its_sequences_one_at_a_time(kind):
    @given(ragged_cases(kind))
    def check(case):
        check_runs(case)

    check()


@pytest.mark.parametrize("kind", UNLIKE)
def test_padding_is_never_read(kind):
    @given(ragged_cases(kind))
    def check(case):
        arrays = {name: getattr(case, name) for name in ("x", "dy", "dcells")}
        poisoned = {n: a if a is None else np.where(beyond(case)[..., None], np.nan, a) for n, a in arrays.items()}
        poisoned = {n: a if a is None else a.astype(case.x.dtype) for n, a in poisoned.items()}
        assert same_bits(results(replace(case, **poisoned)), results(case))

    check()


@pytest.mark.parametrize("kind", UNLIKE)
def test_layouts_and_strides_agree(kind):
    @given(ragged_cases(kind))
    def check(case):
        assert same_bits(results(case), results(case.plain()))

    check()


@pytest.mark.parametrize("kind", UNLIKE)
def test_the_order_of_the_batch(kind):
    @given(ragged_cases(kind, with_state=True), st.randoms(use_true_random=False))
    def check(case, random):
        order = list(range(len(case.lengths)))
        random.shuffle(order)
        y, state, _, dx, dstate, *cells = results(case)
        moved_y, moved_state, _, moved_dx, moved_dstate, *moved_cells = results(only(case, order))
        found = (y, dx, *as_tuple(state), *as_tuple(dstate), *cells)
        moved = (moved_y, moved_dx, *as_tuple(moved_state), *as_tuple(moved_dstate), *moved_cells)
        assert same_bits(tuple(a[:, order].copy() for a in found), tuple(a.copy() for a in moved))

    check()


@pytest.mark.parametrize("kind", UNLIKE)
def test_a_call_without_a_tape(kind):
    @given(ragged_cases(kind))
    def check(case):
        y, state, _ = case.forward()
        found = case.layer(case.parameters, case.arranged(case.x), case.state, case.lengths, case.layout)
        assert same_bits(found, (y, state))

    check()


@pytest.mark.parametrize("way", WAYS[1:], ids=str)
@pytest.mark.parametrize("kind", UNLIKE)
def test_a_tape_that_keeps_less(kind, way, monkeypatch, fresh_plans):
    monkeypatch.setattr(sizes, "BACKWARD_ROWS", 6)  # many segments in short sequences

    @given(ragged_cases(kind, max_steps=20, max_batch=5), st.integers(1, 3))
    def check(case, count):
        expected = results(case)
        numba.set_num_threads(count)
        assert same_bits(first_results(results(case, **way)), first_results(expected))

    check()


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("kind", UNLIKE)
def test_chunks_of_few_steps(kind, rows, monkeypatch, fresh_plans):
    monkeypatch.setattr(sizes, "BACKWARD_ROWS", rows)
    monkeypatch.setattr(sizes, "FORWARD_ROWS", rows)

    @given(ragged_cases(kind))
    def check(case):
        check_runs(case)

    check()


@pytest.mark.parametrize("split_bytes", [1 << 40, 0], ids=["rows", "units"])
@pytest.mark.parametrize("kind", UNLIKE)
def test_threads_and_splits(kind, split_bytes, monkeypatch, fresh_plans):
    cases = [
        small(KINDS[kind](hidden, layers=2, bidirectional=True), (4, 0, 2, 3, 1, 4, 3), dtype=dtype)
        for hidden in (3, 130)
        for dtype in ("float64", "float32")
    ]
    numba.set_num_threads(1)
    expected = [results(case) for case in cases]
    monkeypatch.setattr(threads, "SPLIT_BYTES", split_bytes)
    monkeypatch.setattr(threads, "MAX_SPLIT_ROWS", 3)
    fresh_plans()
    for count in (1, 2, 3):
        numba.set_num_threads(count)
        for case, known in zip(cases, expected, strict=True):
            assert same_bits(results(case), known)


@pytest.mark.parametrize("kind", UNLIKE)
def test_many_sequences_and_long_tails(kind):
    lengths = np.random.default_rng(0).integers(0, 9, 131)
    lengths[77] = 200
    case = random_case(KINDS[kind](5, bidirectional=True), 200, 131, 3, lengths=lengths)
    y, _, _, dx, *_ = results(case)
    alone_y, _, _, alone_dx, *_ = results(replace(only(case, [77]), lengths=None))
    assert same_bits((y[:, [77]].copy(), dx[:, [77]].copy()), (alone_y, alone_dx))
    assert not y[beyond(case)].any() and not dx[beyond(case)].any()
    numba.set_num_threads(1)
    assert same_bits(results(case)[0], y)


@pytest.mark.parametrize("kind", UNLIKE)
def test_length_0_is_the_initial_state(kind):
    case = small(KINDS[kind](5, layers=2, bidirectional=True))
    _, state, _, _, dstate, *_ = results(case)
    for found, given_ in ((state, case.state), (dstate, case.dstate)):
        for a, b in zip(as_tuple(found), as_tuple(given_), strict=True):
            assert same_bits(a[:, 1].copy(), b[:, 1].copy())


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kind", UNLIKE)
def test_no_steps_at_all(kind, way):
    case = small(KINDS[kind](5, bidirectional=True), (0, 0, 0))
    y, state, gradient, dx, dstate, *_ = results(case, **way)
    assert y.shape == (4, 3, 10) and dx.shape == (4, 3, 3)
    assert not y.any() and not dx.any() and not gradient.any()
    assert same_bits((state, dstate), (case.state, case.dstate))
    _, _, tape = case.forward(**way)
    into = case.parameters.copy()
    case.backward(tape, into=into, accumulate=True)
    assert same_bits(into.flat, case.parameters.flat)
    case.backward(tape, into=into)
    assert not into.flat.any()


@pytest.mark.parametrize("kind", UNLIKE)
def test_lengths_of_all_steps_change_nothing(kind):
    @given(ragged_cases(kind, with_lengths=False))
    def check(case):
        steps, batch, _ = case.x.shape
        assert same_bits(results(replace(case, lengths=np.full(batch, steps))), results(case))

    check()


@pytest.mark.parametrize("kind", UNLIKE)
def test_one_sequence(kind):
    for length in (0, 1, 3, 4):
        check_runs(small(KINDS[kind](9, bidirectional=True), (length,)))


def test_one_sequence_without_a_batch_axis():
    case = small(nr.GRU(5, bidirectional=True), (3,))
    y, state, tape = case.layer.forward(case.parameters, case.x[:, 0], case.state, lengths=[3])
    found = case.layer.backward(tape, case.dy[:, 0], case.dstate)
    expected = results(case)
    assert y.shape == (4, 10) and found.x.shape == (4, 3)
    assert same_bits((y[:, None], state, found.params.flat, found.x[:, None], found.state), expected)


@pytest.mark.parametrize(
    "convert",
    [list, tuple, np.int32, np.uint8, lambda a: np.repeat(a, 2)[::-2][::-1]],
    ids=["list", "tuple", "int32", "uint8", "strided"],
)
def test_lengths_of_any_kind(convert):
    case = small(nr.LSTM(5))
    assert same_bits(results(replace(case, lengths=convert(case.lengths))), results(case))


def test_lengths_are_neither_changed_nor_read_again():
    case = small(nr.GRU(5))
    expected = results(case)
    case.lengths.flags.writeable = False
    assert same_bits(results(case), expected)
    lengths = case.lengths.copy()
    y, _, tape = replace(case, lengths=lengths).forward()
    lengths[:] = 1
    assert same_bits(case.backward(tape).params.flat, expected[2])


def test_inputs_in_read_only_memory():
    case = small(nr.LSTM(5), with_dcells=True)
    expected = results(case)
    for array in (case.x, case.dy, case.dcells, *case.state, *case.dstate):
        array.flags.writeable = False
    assert same_bits(results(case), expected)


def test_a_tape_serves_twice_and_adds_up():
    case = small(nr.GRU(5, layers=2))
    for way in WAYS:
        _, _, tape = case.forward(**way)
        first = case.backward(tape)
        again = case.backward(tape, into=first.params.copy(), accumulate=True)
        assert same_bits(again.x, first.x)
        np.testing.assert_allclose(again.params.flat, 2 * first.params.flat, rtol=1e-12)
        assert case.backward(tape, need_x=False).x is None


@pytest.mark.parametrize("kind", UNLIKE)
def test_backward_is_the_derivative(kind):
    @given(ragged_cases(kind, "float64", merges=False))
    def check(case):
        check_gradients(case, directions=1)

    check()


@pytest.mark.parametrize("route", ["cells", "all"])
@pytest.mark.parametrize("with_lengths", [False, True])
def test_the_derivative_of_every_c(with_lengths, route):
    @given(ragged_cases("lstm", "float64", with_lengths, merges=False))
    def check(case):
        dcells = np.random.default_rng(0).standard_normal(case.dy.shape)
        check_gradients(routed(replace(case, dcells=dcells), route), directions=1)

    check()


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("lengths", [(4, 0, 2, 3), (0, 0, 0)], ids=str)
def test_a_learned_state(lengths, way):
    case = small(nr.LSTM(5, bidirectional=True, learned_state=True), lengths, with_state=False)
    learned = {name: value for name, value in case.parameters.items() if name.startswith("initial")}
    for seed, value in enumerate(learned.values()):
        value[...] = np.random.default_rng(seed).standard_normal(5)
    state = tuple(np.stack([v for name, v in learned.items() if name.startswith(f"initial_{m}")])[:, None] for m in "hc")
    state = tuple(np.repeat(part, len(lengths), axis=1) for part in state)
    found, expected = results(case, **way), results(replace(case, state=state), **way)
    assert same_bits((*found[:2], *found[3:5]), (*expected[:2], *expected[3:5]))
    for d, suffix in enumerate(("l0", "l0_reverse")):
        for m, dstate in zip("hc", found[4], strict=True):
            at = case.parameters.offset(f"initial_{m}_{suffix}")
            np.testing.assert_allclose(found[2][at : at + 5], dstate[d].sum(axis=0), rtol=1e-14)


def test_cells_are_the_c_of_every_step():
    layer = nr.LSTM(5, layers=2)
    case = random_case(layer, 4, 3, 2)
    y, state, tape, cells = case.forward(cells=True)
    assert same_bits(layer(case.parameters, case.x, case.state, cells=True), (y, state, cells))
    for steps in range(1, 5):
        _, (_, c) = layer(case.parameters, case.x[:steps], case.state)
        assert same_bits(cells[steps - 1].copy(), c[1])


def test_c_past_the_end_is_0():
    case = small(nr.LSTM(5, bidirectional=True))
    _, (_, c), cells = case.layer(case.parameters, case.x, case.state, case.lengths, cells=True)
    assert not cells[beyond(case)].any()
    for n in (0, 2, 3):
        assert same_bits(cells[case.lengths[n] - 1, n, :5].copy(), c[0, n])
        assert same_bits(cells[0, n, 5:].copy(), c[1, n])


def test_lengths_compile_nothing():
    for kind in UNLIKE:
        case = small(KINDS[kind](3))
        results(replace(case, lengths=None))
        before = len(recurrent.forward_task.compiled), len(recurrent.backward_task.compiled)
        results(case)
        results(replace(case, lengths=None, reset=np.eye(4, dtype=bool)))
        assert (len(recurrent.forward_task.compiled), len(recurrent.backward_task.compiled)) == before


@pytest.mark.parametrize("kind", UNLIKE)
def test_ragged_is_padded(kind):
    @given(ragged_cases(kind))
    def check(case):
        case = case.plain()
        lengths = case.lengths
        y, state, gradient, dx, dstate, *cells = results(case)
        x, dy = ragged(case.x, lengths), ragged(case.dy, lengths)
        extra = {} if case.dcells is None else {"dcells": ragged(case.dcells, lengths)}
        found, last, tape, *cs = case.layer.forward(case.parameters, x, case.state, cells=bool(cells))
        found_gradients = case.layer.backward(tape, dy, case.dstate, **extra)
        pairs = [(found, y), (found_gradients.x, dx), *zip(cs, cells, strict=True)]
        for mine, padded in pairs:
            assert np.array_equal(mine.offsets, x.offsets)
            assert same_bits(mine.data, ragged(padded, lengths).data)
        assert same_bits(last, state) and same_bits(found_gradients.state, dstate)
        assert same_bits(found_gradients.params.flat, gradient)

    check()


@pytest.mark.parametrize("strides", ["fortran", "sliced", "reversed"])
def test_ragged_at_any_strides(strides):
    case = small(nr.GRU(5))
    x = ragged(case.x, case.lengths)
    again = nr.Ragged(STRIDES[strides](x.data), x.offsets)
    assert same_bits(case.layer(case.parameters, again)[0].data, case.layer(case.parameters, x)[0].data)


def test_ragged_of_equal_lengths_is_an_array():
    case = small(nr.LSTM(5, bidirectional=True), (4, 4, 4))
    y, state = case.layer(case.parameters, ragged(case.x, case.lengths), case.state)
    expected, last = case.layer(case.parameters, case.x, case.state)
    assert same_bits(np.stack(list(y), 1), expected.copy()) and same_bits(state, last)
