"""The cells beside RNN, GRU and LSTM, and the LSTM's variants: against the slow NumPy layers, gradients, bitwise laws."""

from dataclasses import replace

import numba
import numpy as np
import oracles
import pytest
from checks import ROUTES, as_tuple, check_gradients, routed, same_bits
from hypothesis import given
from strategies import OTHER_KINDS, as_tnc, cases, ragged_cases, random_case, states_of
from test_invariants import only, per_sequence, results

import numbarnn as nr

KIND_ROUTES = [(kind, route) for kind in OTHER_KINDS for route in ROUTES if route != "final c" or kind.startswith("lstm")]


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_against_the_oracle(kind):
    @given(ragged_cases(kind, dtype="float64"))
    def check(case):
        y, state, *_ = case.forward()
        expected, final = oracles.run(case.layer, case.parameters, case.x, case.state, lengths=case.lengths)
        for a, b in zip((as_tnc(y, case.layout), *as_tuple(state)), (expected, *as_tuple(final)), strict=True):
            assert a.shape == b.shape
            assert np.abs(a - b).max(initial=0) <= 2e-14 * max(1, np.abs(b).max(initial=0))

    check()


@pytest.mark.parametrize("kind, route", KIND_ROUTES)
def test_backward_is_the_derivative(kind, route):
    @given(cases(kind, max_layers=2))
    def check(case):
        check_gradients(routed(case, route), directions=1)

    check()


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_backward_with_lengths_and_cells(kind):
    @given(ragged_cases(kind, dtype="float64"))
    def check(case):
        check_gradients(case, directions=1)

    check()


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_threads_agree_and_a_sequence_alone_is_the_sequence_in_a_batch(kind):
    for hidden, batch in ((5, 7), (100, 131)):
        case = random_case(OTHER_KINDS[kind](hidden, layers=2, bidirectional=hidden < 100), 3, batch, 3)
        found = []
        for threads in (1, 2, 3):
            numba.set_num_threads(threads)
            found.append(results(case))
        assert same_bits(found[0], found[1]) and same_bits(found[0], found[2])
        together = per_sequence(case)
        for samples in ([0], [batch - 1, 1]):
            some = per_sequence(only(case, samples))
            assert same_bits(tuple(a[:, samples].copy() for a in together), tuple(a.copy() for a in some))


@pytest.mark.parametrize("way", [{"tape": "states"}, {"checkpoints": 3}], ids=str)
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_smaller_tape_gives_the_same_bits(kind, way):
    uniform = random_case(OTHER_KINDS[kind](5, bidirectional=True), 700, 2, 3)
    for case in (uniform, replace(uniform, lengths=np.array([690, 251]))):
        whole, less = case.forward()[2], case.forward(**way)[2]
        assert less.nbytes < whole.nbytes or not case.layer.cell.saved
        assert same_bits(case.backward(whole).params.flat, case.backward(less).params.flat)


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_step_by_step(kind):
    case = random_case(OTHER_KINDS[kind](5, layers=2, residual=True, learned_state=True), 4, 3, 2, with_state=False)
    y, state = case.layer(case.parameters, case.x)
    stream = case.layer.stream(case.parameters, 3)
    assert same_bits(np.array([stream.step(x) for x in case.x]), y.copy())
    assert same_bits(as_tuple(stream.state), as_tuple(state))
    stream.state = None
    assert same_bits(stream.step(case.x[0]), y[0].copy())


@pytest.mark.parametrize("make", [nr.RNN, nr.GRU, nr.LSTM])
def test_no_gradient_where_a_gate_is_clipped(make):
    told = [check_gradients(random_case(make(5, clip=0.5, layers=2), 4, 3, 2, seed=seed)) for seed in range(5)]
    assert max(told) == 3
    layer = make(5, clip=1e-12)  # nothing but the limits: no input counts
    case = random_case(layer, 3, 2, 2, seed=1)
    assert not case.backward(case.forward()[2]).x.any()


def test_a_clip_that_is_never_reached_changes_nothing():
    for make in (nr.RNN, nr.GRU, nr.LSTM):
        case = random_case(make(5), 4, 3, 2)
        clipped = make(5, clip=1e6)
        assert same_bits(clipped(case.parameters, case.x)[0].copy(), make(5)(case.parameters, case.x)[0].copy())


@pytest.mark.parametrize("form", ["outside", "inside"])
def test_rates_of_a_leaky_layer(form):
    rates = (0.1, 0.5, 0.9)
    fixed, learned = (nr.LeakyRNN(3, rates, form, learned=learned) for learned in (False, True))
    p, q = fixed.init(2, dtype="float64"), learned.init(2, dtype="float64")
    assert "rate_l0" not in p and same_bits(q["rate_l0"].copy(), np.array(rates))
    x = np.random.default_rng(0).standard_normal((5, 2, 2))
    y = fixed(p, x)[0].copy()
    assert same_bits(y, learned(q, x)[0].copy())
    one = nr.LeakyRNN(3, 0.5, form, learned=True)
    r = one.init(2, dtype="float64")
    _, _, tape = one.forward(r, x)
    r3 = nr.LeakyRNN(3, (0.5,) * 3, form, learned=True)
    g = r3.backward(r3.forward(r3.init(2, dtype="float64"), x)[2], y).params["rate_l0"]
    np.testing.assert_allclose(one.backward(tape, y).params["rate_l0"], [g.sum()], rtol=1e-13)


def test_full_leak_is_no_leak():
    leaky, plain = nr.LeakyRNN(4, rate=1.0), nr.RNN(4)
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    p = plain.init(3, dtype="float64")
    assert same_bits(leaky(nr.Parameters(p.flat, leaky.weights(3)), x)[0].copy(), plain(p, x)[0].copy())


def test_the_forget_bias_is_where_it_starts():
    for bias in (0.0, 2.5):
        p = nr.LSTM(3, forget_bias=bias).init(2)
        assert same_bits(p["bias_ih_l0"].copy(), np.repeat(np.float32([0, bias, 0, 0]), 3))


@pytest.mark.parametrize(
    "bad, error, fragments",
    [
        (lambda: nr.LSTM(4, peepholes=1), TypeError, ["peepholes", "True or False", "1"]),
        (lambda: nr.LSTM(4, coupled="yes"), TypeError, ["coupled", "True or False", "'yes'"]),
        (lambda: nr.LSTM(4, forget_bias=np.nan), ValueError, ["forget_bias", "finite number", "nan"]),
        (lambda: nr.GRU(4, clip=0), ValueError, ["clip", "> 0", "0"]),
        (lambda: nr.GRU(4, clip=np.inf), ValueError, ["clip", "finite", "inf"]),
        (lambda: nr.GRU(4, clip="1"), TypeError, ["clip", "'1'", "str"]),
        (lambda: nr.GRU(4, merge="mean"), nr.UnknownNameError, ["merge", "'mean'", "'average'"]),
        (lambda: nr.GRU(4, residual=None), TypeError, ["residual", "True or False", "None"]),
        (lambda: nr.GRU(4, residual=True), ValueError, ["residual", "False with one layer", "True"]),
        (lambda: nr.RNN(4, merge="sum"), ValueError, ["merge", "'concat' with one direction", "'sum'"]),
        (lambda: nr.LSTM(4, coupled=True, forget_bias=2.0), ValueError, ["forget_bias", "coupled", "2.0"]),
        (lambda: nr.LeakyRNN(4, form="between"), nr.UnknownNameError, ["form", "'between'", "'inside', 'outside'"]),
        (lambda: nr.LeakyRNN(4, rate=(0.1, 0.2)), nr.ShapeError, ["rate", "4", "2"]),
        (lambda: nr.LeakyRNN(4, rate=np.nan), ValueError, ["rate", "finite", "nan"]),
        (lambda: nr.LeakyRNN(4, rate="slow"), TypeError, ["rate", "'slow'"]),
    ],
)
def test_named_error(bad, error, fragments):
    with pytest.raises(error) as raised:
        bad()
    assert all(fragment in str(raised.value) for fragment in fragments), raised.value


def test_states():
    assert [states_of(OTHER_KINDS[kind](2)) for kind in ("mgu", "lstm-peepholes")] == [1, 2]
