"""Backward against finite differences: every cell, depth, direction and layout, each way a gradient can come in."""

import numpy as np
import pytest
from checks import ROUTES, as_tnc, as_tuple, check_gradients, like, routed, same_bits
from hypothesis import given
from strategies import KINDS, cases, random_case

KIND_ROUTES = [(kind, route) for kind in KINDS for route in ROUTES if route != "final c" or kind.startswith("lstm")]


@pytest.mark.parametrize("kind, route", KIND_ROUTES)
def test_backward_is_the_derivative(kind, route):
    @given(cases(kind))
    def check(case):
        check_gradients(routed(case, route), directions=1)

    check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_every_depth_and_direction(kind, layers, bidirectional):
    layer = KINDS[kind](4, layers=layers, bidirectional=bidirectional)
    told = [check_gradients(random_case(layer, 4, 3, 2, seed=seed), directions=3) for seed in range(3)]
    assert max(told) == 3


@pytest.mark.parametrize("kind", ["rnn-tanh", "gru-after", "gru-before", "lstm", "lstm-projected"])
@pytest.mark.parametrize("hidden", [64, 100, 513])
def test_large_layers(kind, hidden):
    assert check_gradients(random_case(KINDS[kind](hidden), 3, 2, 3), directions=1) == 3


@pytest.mark.parametrize("kind", ["lstm", "lstm-projected"])
def test_many_chunks_of_steps_and_tasks(kind):
    assert check_gradients(random_case(KINDS[kind](3, bidirectional=True), 40, 70, 2), directions=1) == 3


@pytest.fixture(params=KINDS)
def case(request):
    """A bidirectional case of two layers."""
    layer = KINDS[request.param](5, layers=2, bidirectional=True)
    return random_case(layer, 4, 3, 2, seed=1, layout="ntc", strides="sliced")


def test_the_ways_add_up(case):
    _, _, tape = case.forward()
    whole = case.backward(tape)
    parts = [routed(case, "outputs").backward(tape), case.layer.backward(tape, None, case.dstate)]
    for a, b in zip(_arrays(whole), zip(*map(_arrays, parts), strict=True), strict=True):
        np.testing.assert_allclose(sum(b), a, rtol=0, atol=1e-13 * np.abs(a).max())


def _arrays(gradients):
    return gradients.params.flat, gradients.x, *as_tuple(gradients.state)


def test_backward_repeats_and_changes_nothing(case):
    x, dy = case.arranged(case.x), case.arranged(case.dy)
    y, _, tape = case.layer.forward(case.parameters, x, case.state, layout=case.layout)
    before = [a.copy() for a in (x, y, dy, case.parameters.flat, *as_tuple(case.dstate), *as_tuple(case.state))]
    first = case.layer.backward(tape, dy, case.dstate)
    kept = [a.copy() for a in _arrays(first)]
    second = case.layer.backward(tape, dy, case.dstate)
    after = (x, y, dy, case.parameters.flat, *as_tuple(case.dstate), *as_tuple(case.state))
    assert same_bits(tuple(before), tuple(a.copy() for a in after))
    assert same_bits(tuple(kept), _arrays(first))
    assert same_bits(tuple(kept), _arrays(second))


def test_tape_does_not_read_the_parameters_again(case):
    _, _, tape = case.forward()
    expected = case.backward(tape)
    case.parameters.flat[...] = np.nan
    assert same_bits(_arrays(expected), _arrays(case.backward(tape)))


def test_results_outlive_later_calls(case):
    y, state, tape = case.forward()
    called, last = case.layer(case.parameters, case.arranged(case.x), case.state, layout=case.layout)
    gradients = case.backward(tape)
    results = (y, called, *as_tuple(state), *as_tuple(last), *_arrays(gradients))
    copies = tuple(a.copy() for a in results)
    del tape
    for seed in range(8):
        other = random_case(case.layer, 4, 3, 2, seed=seed)
        _, _, tape = other.forward()
        other.backward(tape)
        del tape
    assert same_bits(copies, results)


def test_without_the_gradient_of_x(case):
    _, _, tape = case.forward()
    expected, found = case.backward(tape), case.backward(tape, need_x=False)
    assert found.x is None
    assert same_bits(found.params.flat, expected.params.flat)
    assert same_bits(found.state, expected.state)


def test_into_overwrites(case):
    _, _, tape = case.forward()
    expected = case.backward(tape).params.flat
    into = case.parameters.copy()
    into.flat[...] = np.nan
    found = case.backward(tape, into=into)
    assert found.params is into
    assert same_bits(into.flat, expected)


def test_into_accumulates(case):
    _, _, tape = case.forward()
    expected = case.backward(tape).params.flat
    into = case.parameters.copy()
    case.backward(tape, into=into, accumulate=True)
    np.testing.assert_allclose(into.flat, case.parameters.flat + expected, rtol=0, atol=1e-14 * np.abs(expected).max())


def test_gradients_have_the_shape_of_what_they_are_of(case):
    y, state, tape = case.forward()
    gradients = case.backward(tape)
    assert gradients.x.shape == case.arranged(case.x).shape
    assert as_tnc(gradients.x, case.layout).shape == case.x.shape
    assert gradients.params.weights == case.parameters.weights
    assert [s.shape for s in as_tuple(gradients.state)] == [s.shape for s in as_tuple(state)]


def test_no_loss_has_no_gradient(case):
    _, _, tape = case.forward()
    assert not any(a.any() for a in _arrays(case.layer.backward(tape, None)))
    zeros = like(case.dstate, [np.zeros_like(d) for d in as_tuple(case.dstate)])
    assert not any(a.any() for a in _arrays(case.layer.backward(tape, case.arranged(0 * case.dy), zeros)))
