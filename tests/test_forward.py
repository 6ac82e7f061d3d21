"""Forward against the slow NumPy layers."""

import numpy as np
import oracles
import pytest
from checks import as_tuple, same_bits
from hypothesis import given
from strategies import HIDDEN, KINDS, as_tnc, cases, random_case

TOLERANCE = {"float64": 2e-14, "float32": 1e-5}


def check_forward(case, tolerance):
    """Assert that outputs and final state are the oracle's, in units of the largest number among them or 1."""
    y, state, _ = case.forward()
    expected = oracles.run(case.layer, case.parameters, case.x, case.state)
    found = (as_tnc(y, case.layout), *as_tuple(state))
    for a, b in zip(found, (expected[0], *as_tuple(expected[1])), strict=True):
        assert a.shape == b.shape and a.dtype == case.parameters.dtype
        assert np.abs(a - b).max() <= tolerance * max(1, np.abs(b).max())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", KINDS)
def test_any_case(kind, dtype):
    @given(cases(kind, dtype))
    def check(case):
        check_forward(case, TOLERANCE[dtype])

    check()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_depth_and_direction(kind, layers, bidirectional):
    layer = KINDS[kind](4, layers=layers, bidirectional=bidirectional)
    check_forward(random_case(layer, 4, 3, 2, layout="cnt", strides="reversed"), TOLERANCE["float64"])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hidden", [*HIDDEN, 100, 513])
@pytest.mark.parametrize("kind", KINDS)
def test_every_size(kind, hidden, dtype):
    for steps, batch, channels in ((1, 1, 1), (3, 2, 40), (2, 131, 3)):
        check_forward(random_case(KINDS[kind](hidden), steps, batch, channels, dtype=dtype), 4 * TOLERANCE[dtype])


@pytest.mark.parametrize("kind", KINDS)
def test_long_sequences_go_through_many_chunks(kind):
    check_forward(random_case(KINDS[kind](5, bidirectional=True), 300, 3, 2), 10 * TOLERANCE["float64"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_is_forward_without_a_tape(kind):
    @given(cases(kind))
    def check(case):
        x = case.arranged(case.x)
        y, state, _ = case.layer.forward(case.parameters, x, case.state, layout=case.layout)
        assert same_bits(case.layer(case.parameters, x, case.state, layout=case.layout), (y, state))

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_final_state_is_the_last_output(kind):
    case = random_case(KINDS[kind](5, layers=2, bidirectional=True), 6, 3, 2)
    y, state, _ = case.forward()
    h = as_tuple(state)[0]
    width = h.shape[-1]
    assert same_bits(h[2].copy(), y[-1, :, :width].copy())
    assert same_bits(h[3].copy(), y[0, :, width:].copy())


@pytest.mark.parametrize("kind", KINDS)
def test_no_state_is_a_state_of_zeros(kind):
    case = random_case(KINDS[kind](5, layers=2), 4, 3, 2)
    zeros = tuple(np.zeros_like(s) for s in as_tuple(case.state))
    given_zeros = case.layer(case.parameters, case.x, zeros if len(zeros) == 2 else zeros[0])
    assert same_bits(case.layer(case.parameters, case.x), given_zeros)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_given_is_modified(kind):
    case = random_case(KINDS[kind](5, layers=2), 4, 3, 2)
    arrays = (case.parameters.flat, case.x, *as_tuple(case.state))
    before = tuple(a.copy() for a in arrays)
    for a in arrays:
        a.flags.writeable = False
    case.forward()
    assert same_bits(before, arrays)


def test_saturated_gates_stay_exact():
    case = random_case(KINDS["lstm"](4), 5, 2, 2)
    case.parameters.flat[...] *= 200
    check_forward(case, TOLERANCE["float64"])
