"""Layers on the device: the numbers of the CPU's layers, and the derivatives that finite differences say."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from checks import ROUTES, as_tuple, check_gradients, routed, same_bits
from device_layer import DeviceLayer, to_device, to_host
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import KINDS, LAYOUTS, OTHER_KINDS, layers, random_case, resets

import numbarnn as nr
from numbarnn.cuda import gradients, plans, recurrent
from numbarnn.cuda.device import SIMULATED

FEW = settings(max_examples=3)
ALL_KINDS = (
    KINDS
    | OTHER_KINDS
    | {"lstm-normalized": partial(nr.LSTM, normalized=True), "gru-normalized": partial(nr.GRU, normalized=True)}
)


def results(case, subject=None):
    """All that forward and backward return, as NumPy arrays."""
    y, state, tape, *cells = case.forward(subject, **({} if case.dcells is None else {"cells": True}))
    found = case.backward(tape, subject)
    return y, *as_tuple(state), found.params.flat, found.x, *as_tuple(found.state), *cells


def check_parity(case):
    """Assert that device and CPU agree; NaN and infinity nowhere."""
    for on_cpu, on_device in zip(results(case), results(case, DeviceLayer(case.layer)), strict=True):
        largest = np.abs(on_cpu).max(initial=0) + np.abs(on_device).max(initial=0)
        tolerance = 1e-12 if on_cpu.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(on_device, on_cpu, rtol=0, atol=tolerance * largest)


@st.composite
def small_cases(draw, kind, dtype="float64"):
    """A case that a simulator has the time for: of any depth, direction, layout, lengths, with resets."""
    of_kind = layers(kind, 2, (1, 2, 3, 9)) if kind in KINDS | OTHER_KINDS else st.builds(ALL_KINDS[kind], st.just(3))
    layer = draw(of_kind)
    steps, batch = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    # What is normalized does not depend on the size of a single channel: dx is then what rounding leaves of large numbers.
    channels = draw(st.integers(2 if "normalized" in kind else 1, 3))
    return random_case(
        layer, steps, batch, channels, seed=draw(st.integers(0, 2**16)), with_state=draw(st.booleans()),
        with_dcells=layer.cell.states > 1 and draw(st.booleans()), dtype=dtype, layout=draw(st.sampled_from(LAYOUTS)),
        strides=draw(st.sampled_from(["contiguous", "sliced"])),
        lengths=draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch)),
        reset=draw(st.none() | resets(steps, batch)),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_device_and_cpu_agree(kind):
    @FEW
    @given(small_cases(kind))
    def check(case):
        check_parity(case)

    check()


@pytest.mark.parametrize("kind", ["rnn-tanh", "gru-after", "lstm"])
def test_float32(kind):
    check_parity(random_case(ALL_KINDS[kind](5, bidirectional=True), 3, 3, 2, dtype="float32"))


LENGTHS = np.array([2, 0, 1])
OPTIONS = {
    "zoneout": (nr.LSTM(3, zoneout=(0.3, 0.2)), None),
    "zoneout-noise-ragged": (nr.GRU(3, zoneout=0.3, noise=0.1), LENGTHS),
    "recurrent-dropout": (nr.LSTM(3, layers=2, recurrent_dropout=0.3, dropout=0.3, input_dropout=0.2), LENGTHS),
    "recurrent-dropout-wide": (nr.LSTM(17, recurrent_dropout=0.3), None),  # four gated slots: the deepest product there is
    "weight-drop": (nr.RNN(3, weight_drop=0.5), None),
    "connectivity": (nr.RNN(3, connectivity=nr.Connectivity(mask=1 - np.eye(3), signs=[1, 1, -1])), None),
    "residual-average": (nr.RNN(3, layers=2, residual=True, merge="average", bidirectional=True), LENGTHS),
    "product": (nr.GRU(3, merge="product", bidirectional=True), LENGTHS),
    "learned-state": (nr.LSTM(3, learned_state=True, bidirectional=True), LENGTHS),
    "clip": (nr.RNN(3, clip=0.5), None),
    "decay": (nr.LSTM(3, decay=True, learned_state=True), LENGTHS),
    "decay-stacked": (nr.GRU(2, layers=2, bidirectional=True, decay=True), LENGTHS),
    "activations": (nr.LSTM(3, gate_activation="hard_sigmoid", activation=("leaky_relu", 0.1)), None),
    "gelu": (nr.RNN(3, activation="gelu"), None),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options(option):
    layer, lengths = OPTIONS[option]
    case = random_case(layer, 2, 3, 2, lengths=lengths, with_state=not layer.learned_state)
    masks = layer.draw(2, 3, 2, seed=1, dtype="float64") if layer.random else None
    check_parity(replace(case, masks=masks))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gaps(lengths):
    check_parity(random_case(nr.GRUD(3, mean=(0.5, -0.5), past=True), 2, 3, 6, lengths=lengths))


def test_the_same_seed_draws_the_same_everywhere():
    layer = nr.GRU(3, zoneout=0.5, dropout=0.5, layers=2)
    p, x = layer.init(2, dtype="float64"), np.random.default_rng(0).standard_normal((3, 2, 2))
    y, _ = layer(p, x, seed=7)
    found, _ = layer(p.to("cuda"), to_device(x), seed=7)
    np.testing.assert_allclose(to_host(found), y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_backward_is_the_derivative(kind):
    case = random_case(ALL_KINDS[kind](3), 2, 2, 1, lengths=[2, 1])
    assert check_gradients(case, DeviceLayer(case.layer), directions=1) == 3


@pytest.mark.parametrize("route", [*ROUTES, "cells"])
def test_every_way_a_gradient_comes_in(route):
    case = random_case(nr.LSTM(2, bidirectional=True), 2, 2, 1, with_dcells=route == "cells")
    check_gradients(routed(case, route), DeviceLayer(case.layer), directions=1)


def teams(**changes):
    """`plans.teams_of` with some of what it decides changed."""
    decide = plans.teams_of

    def decide_otherwise(size, slots, depth, weights):
        found = decide(size, slots, depth, weights)
        found = found._replace(**changes)
        units, tile, abreast = -(-size.hidden // found.splits), found.tile, found.abreast
        if size.cell.normalized_values:
            abreast = 1  # its kernels have one group of rows at a time
        shared = plans.exchange(units, slots, depth) * abreast + found.on_chip * weights * units
        return found._replace(
            units=units, abreast=abreast, tiles=-(-size.batch // tile), together=found.splits == 1 and found.together,
            shared_bytes=shared * size.dtype.itemsize,
        )  # fmt: skip

    return decide_otherwise


WAYS = {
    "weights in memory": {"on_chip": False},
    "two blocks a team": {"splits": 2},
    "three blocks a team, weights in memory": {"splits": 3, "on_chip": False},
    "one team for all rows": {"tile": 8},
    "two groups of rows abreast": {"tile": 8, "abreast": 2},
    "two blocks a team, three groups abreast, one of them empty": {"splits": 2, "tile": 12, "abreast": 3},
    "a launch for each step": {"together": False},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["gru-before", "lstm-projected", "lstm-normalized"])
def test_a_result_has_the_same_bits_whoever_computes_it(kind, way, monkeypatch):
    case = random_case(ALL_KINDS[kind](5), 2, 6, 2, lengths=[2, 1, 2, 0, 2, 1])
    before = results(case, DeviceLayer(case.layer))
    monkeypatch.setattr(plans, "teams_of", teams(**WAYS[way]))
    assert same_bits(results(case, DeviceLayer(case.layer)), before)


@pytest.mark.parametrize("kind", ["gru-after", "lstm"])
def test_a_sequence_has_the_bits_it_has_alone(kind):
    case = random_case(ALL_KINDS[kind](3, bidirectional=True), 3, 5, 2, with_state=False, lengths=[3, 1, 0, 2, 3])
    layer, p = DeviceLayer(case.layer), case.parameters
    y, _, _ = layer.forward(p, case.x, lengths=case.lengths)
    for n, length in enumerate(case.lengths):
        assert not y[length:, n].any()
        if length:
            alone, _, _ = layer.forward(p, np.ascontiguousarray(case.x[:length, n : n + 1]))
            assert same_bits(np.ascontiguousarray(y[:length, n : n + 1]), alone)


@pytest.mark.parametrize("kind", ["gru-before", "lstm"])
def test_states_alone_give_the_same_bits(kind):
    case = random_case(ALL_KINDS[kind](3, layers=2, bidirectional=True), 2, 3, 2, lengths=[2, 0, 1])
    layer = DeviceLayer(case.layer)
    _, _, whole = case.forward(layer)
    _, _, states = case.forward(layer, tape="states")
    assert states.nbytes < whole.nbytes
    expected, found = case.backward(whole, layer), case.backward(states, layer)
    assert same_bits(found.params.flat, expected.params.flat) and same_bits(found.x, expected.x)


def test_padding_is_not_read():
    case = random_case(nr.GRU(3), 3, 3, 2, lengths=[3, 1, 0])
    poisoned = replace(case, x=case.x.copy(), dy=case.dy.copy())
    for n, length in enumerate(case.lengths):
        poisoned.x[length:, n] = poisoned.dy[length:, n] = np.nan
    layer = DeviceLayer(case.layer)
    assert same_bits(results(poisoned, layer), results(case, layer))


def test_accumulated_gradients_are_sums():
    case = random_case(nr.LSTM(3, learned_state=True), 2, 2, 2, with_state=False)
    layer, p, x = case.layer, case.parameters.to("cuda"), to_device(case.x)
    _, _, tape = layer.forward(p, x)
    into = layer.backward(tape, to_device(case.dy)).params
    once = to_host(into).flat
    layer.backward(tape, to_device(case.dy), into=into, accumulate=True)
    np.testing.assert_allclose(to_host(into).flat, 2 * once, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", [nr.Dense(3, "relu"), nr.Dense(3, "silu"), nr.Activation("gelu"), nr.Last()], ids=repr)
@pytest.mark.parametrize("lengths", [None, [2, 0, 1]])
def test_layers_without_memory(layer, lengths):
    random = np.random.default_rng(0)
    p, x = layer.init(2, dtype="float64"), random.standard_normal((2, 3, 2))
    y, tape = layer.forward(p, x, lengths=lengths)
    found, on_device = layer.forward(p.to("cuda"), to_device(x), lengths=lengths)
    dy = random.standard_normal(y.shape)
    g, found_g = layer.backward(tape, dy), layer.backward(on_device, to_device(dy))
    for a, b in ((y, found), (g.x, found_g.x), (g.params.flat, found_g.params.flat)):
        np.testing.assert_allclose(to_host(b), a, rtol=0, atol=1e-12)


def scaled(load):
    """A function that loads a tuple of numbers, each too small by a thousandth."""
    return lambda *place: tuple(0.999 * value for value in load(*place))


def without_last_row(run):
    """Sums over rows, less the last of them."""
    return lambda real, call, *args: run(real, call._replace(rows=call.rows - 1), *args)


def without_last_product(run):
    """Products over rows, less the last of them in the first one."""

    def wrong(real, call, places, products, arrays):
        (first, *which), *others = products
        run(real, call, places, [(first._replace(depth=first.depth - 1), *which), *others], arrays)

    return wrong


MUTANTS = {  # what backward alone calls, and what stands in its place
    "recurrent.load_saved": scaled(recurrent.load_saved),
    "recurrent.load_dstate": scaled(recurrent.load_dstate),
    "recurrent.add_output": lambda cell, real, dstate, dy, where: dstate,
    "recurrent.gate_adjoint_step": lambda *args: None,
    "gradients.sum_together": without_last_row(gradients.sum_together),
    "gradients.sum_together-product": without_last_product(gradients.sum_together),
    "gradients.previous_rows": lambda packing, direction, rows=gradients.previous_rows: rows(packing, 1 - direction),
    "launch.copy_to_rows": lambda described, block, at: block.fill(0),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_finite_differences_see_a_wrong_backward(mutant, monkeypatch):
    if mutant.startswith("recurrent.") and not SIMULATED:
        pytest.skip("a compiled kernel keeps the functions that it was made of")
    layer = nr.LSTM(2, recurrent_dropout=0.5) if "gate" in mutant else nr.LSTM(2, peepholes=True)
    case = random_case(layer, 2, 2, 1, lengths=[2, 1])
    if layer.random:
        case = replace(case, masks=layer.draw(2, 2, 1, seed=3, dtype="float64"))

    class Wrong(DeviceLayer):
        def backward(self, *args, **options):
            with monkeypatch.context() as patched:
                patched.setattr(f"numbarnn.cuda.{mutant.partition('-')[0]}", MUTANTS[mutant])
                return super().backward(*args, **options)

    check_gradients(case, DeviceLayer(layer), directions=2)
    with pytest.raises(AssertionError, match="times the error allowed"):
        check_gradients(case, Wrong(layer), directions=2)


@pytest.mark.parametrize("kind", [nr.GRU, nr.LSTM])
def test_numbers_whose_squares_overflow(kind):
    case = random_case(kind(3, normalized=True), 2, 3, 2, dtype="float32")
    case.x[:, 1:] *= np.float32(1e25)
    y, _ = case.layer(case.parameters, case.x, case.state)
    found, _, _ = DeviceLayer(case.layer).forward(case.parameters, case.x, case.state)
    np.testing.assert_allclose(found, y, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lengths", [None, [3, 0, 1]], ids=["uniform", "ragged"])
@pytest.mark.parametrize("kind", ["lstm", "gru-before", "gru-normalized"])
def test_gates_on_the_device(kind, lengths):
    layer = ALL_KINDS[kind](3)
    case = random_case(layer, 3, 3, 2, seed=1, lengths=lengths)
    expected = layer.gates(case.parameters, case.x, case.state, lengths=lengths)
    found = layer.gates(case.parameters.to("cuda"), to_device(case.x), to_device(case.state), lengths=lengths)
    for name, values in expected.items():
        np.testing.assert_allclose(to_host(found[name]), values, rtol=0, atol=1e-12)
