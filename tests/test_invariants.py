"""What must not change a single bit: layouts, strides, threads, the batch a sequence is in, where it is cut."""

from dataclasses import replace

import numba
import numpy as np
import pytest
from checks import as_tuple, only, same_bits
from hypothesis import given
from strategies import KINDS, as_tnc, cases, random_case

UNLIKE = ["rnn-relu", "gru-after", "gru-before", "lstm", "lstm-projected"]
DTYPES = ["float64", "float32"]


def results(case):
    """Everything forward and backward return, x and dy in T, N, C order."""
    y, state, tape = case.forward()
    gradients = case.backward(tape)
    outputs = as_tnc(y, case.layout).copy(), *as_tuple(state)
    return *outputs, gradients.params.flat, as_tnc(gradients.x, case.layout).copy(), *as_tuple(gradients.state)


def per_sequence(case):
    """Outputs, final state, dL/dx and dL/d(initial state), the sequence's axis second in each."""
    y, state, tape = case.forward()
    gradients = case.backward(tape)
    return y, *as_tuple(state), gradients.x, *as_tuple(gradients.state)


@pytest.mark.parametrize("kind", KINDS)
def test_layouts_and_strides_agree(kind):
    @given(cases(kind))
    def check(case):
        assert same_bits(results(case), results(case.plain()))

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [1, 5, 100, 513])
@pytest.mark.parametrize("kind", UNLIKE)
def test_thread_counts_agree(kind, hidden, dtype):
    layer = KINDS[kind](hidden, bidirectional=hidden < 100)
    for steps, batch in ((1, 1), (3, 7), (2, 131)):
        case = random_case(layer, steps, batch, 3, dtype=dtype)
        found = []
        for threads in (1, 2, 3):
            numba.set_num_threads(threads)
            found.append(results(case))
        assert same_bits(found[0], found[1]) and same_bits(found[0], found[2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_alone_is_the_sequence_in_a_batch(kind):
    @given(cases(kind))
    def check(case):
        if case.state is None:
            case = replace(case, state=case.dstate)
        case = case.plain()
        together = per_sequence(case)
        for n in {0, case.x.shape[1] - 1}:
            alone = per_sequence(only(case, [n]))
            assert same_bits(tuple(a[:, [n]].copy() for a in together), tuple(a.copy() for a in alone))

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [1, 5, 100])
@pytest.mark.parametrize("kind", UNLIKE)
def test_any_batch_composition(kind, hidden, dtype):
    case = random_case(KINDS[kind](hidden, layers=2, bidirectional=True), 4, 131, 3, dtype=dtype)
    together = per_sequence(case)
    for samples in ([0], [130], [64, 63, 65], list(range(99))):
        some = per_sequence(only(case, samples))
        assert same_bits(tuple(a[:, samples].copy() for a in together), tuple(a.copy() for a in some))


@pytest.mark.parametrize("kind", KINDS)
def test_splitting_a_sequence_is_one_call(kind):
    @given(cases(kind))
    def check(case):
        case = replace(case, layer=replace(case.layer, bidirectional=False)).plain()
        case = random_case(case.layer, *case.x.shape, seed=1, x=case.x)
        y, state = case.layer(case.parameters, case.x, case.state)
        for cut in range(1, len(case.x)):
            first, carried = case.layer(case.parameters, case.x[:cut], case.state)
            second, last = case.layer(case.parameters, case.x[cut:], carried)
            assert same_bits(np.concatenate([first, second]), y.copy())
            assert same_bits(last, state)

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [1, 100, 513])
@pytest.mark.parametrize("kind", UNLIKE)
def test_splitting_a_long_sequence(kind, hidden, dtype):
    case = random_case(KINDS[kind](hidden), 130, 3, 2, dtype=dtype)
    y, state = case.layer(case.parameters, case.x, case.state)
    for cut in (1, 33, 129):
        first, carried = case.layer(case.parameters, case.x[:cut], case.state)
        second, last = case.layer(case.parameters, case.x[cut:], carried)
        assert same_bits(np.concatenate([first, second]), y.copy())
        assert same_bits(last, state)


@pytest.mark.parametrize("layout", ["tnc", "ntc", "tc", "ct"])
@pytest.mark.parametrize("kind", UNLIKE)
def test_a_sequence_without_a_batch_axis(kind, layout):
    case = random_case(KINDS[kind](5, bidirectional=True), 4, 1, 3)
    expected = case.layer(case.parameters, case.x, case.state)
    x, dy = (a[:, 0].T if layout == "ct" else a[:, 0] for a in (case.x, case.dy))
    y, state, tape = case.layer.forward(case.parameters, x, case.state, layout=layout)
    assert y.ndim == 2
    assert same_bits((y.T if layout == "ct" else y).copy(), expected[0][:, 0].copy())
    assert same_bits(state, expected[1])
    gradients = case.layer.backward(tape, dy, case.dstate)
    whole = case.backward(case.forward()[2])
    assert same_bits((gradients.x.T if layout == "ct" else gradients.x).copy(), whole.x[:, 0].copy())
    assert same_bits(gradients.params.flat, whole.params.flat)


@pytest.mark.parametrize("kind", UNLIKE)
def test_inputs_in_read_only_memory(kind):
    case = random_case(KINDS[kind](5), 4, 3, 2)
    expected = results(case)
    for array in (case.x, case.dy, case.parameters.flat, *as_tuple(case.state), *as_tuple(case.dstate)):
        array.flags.writeable = False
    assert same_bits(results(case), expected)
